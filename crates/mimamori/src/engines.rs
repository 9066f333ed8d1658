//! The embedded Kafka log and ClickHouse that `up` starts when no server is named.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use embedded::{clickhouse, kafka};
use tracing::warn;

use crate::config::EmbeddedConfig;
use crate::output::Progress;

/// How long each engine may take to stop.
const STOP_WITHIN: Duration = Duration::from_millis(2_500);

/// What was started.
#[derive(Default)]
pub struct Engines {
    broker: Option<kafka::Broker>,
    clickhouse: Option<clickhouse::Engine>,
}

impl Engines {
    /// Starts the Kafka log and returns its address.
    pub async fn start_kafka(&mut self, config: &EmbeddedConfig) -> anyhow::Result<String> {
        let hours = config.kafka_retention_hours;
        let broker = kafka::start(kafka::Config {
            listen: config.kafka_listen,
            data_dir: config.data_dir.join("kafka"),
            fsync_interval: Duration::from_millis(config.kafka_fsync_ms),
            retention_age: (hours > 0).then(|| Duration::from_secs(hours * 3600)),
            retention_bytes: (config.kafka_retention_bytes > 0).then_some(config.kafka_retention_bytes),
            ..kafka::Config::default()
        })
        .await?;
        let address = broker.address().to_string();
        self.broker = Some(broker);
        Ok(address)
    }

    /// Fetches the ClickHouse engine where it is not there yet, starts it and returns its URL.
    pub async fn start_clickhouse(
        &mut self,
        config: &EmbeddedConfig,
        password: &str,
    ) -> anyhow::Result<String> {
        let library = obtain_library().await?;
        let engine = clickhouse::start(clickhouse::Config {
            listen: config.clickhouse_listen,
            data_dir: config.data_dir.join("clickhouse"),
            library,
            password: (!password.is_empty()).then(|| password.to_string()),
            max_memory_bytes: config.clickhouse_max_memory_bytes,
            ..clickhouse::Config::default()
        })
        .await?;
        let url = engine.url();
        self.clickhouse = Some(engine);
        Ok(url)
    }

    /// Stops what was started.
    pub async fn shutdown(self) {
        let stop_clickhouse = async {
            let Some(engine) = self.clickhouse else { return };
            match tokio::time::timeout(STOP_WITHIN, engine.shutdown()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "clickhouse did not stop cleanly"),
                Err(_) => warn!("clickhouse did not stop in time"),
            }
        };
        let stop_kafka = async {
            let Some(broker) = self.broker else { return };
            match tokio::time::timeout(STOP_WITHIN, broker.shutdown()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "the kafka log did not stop cleanly"),
                Err(_) => warn!("the kafka log did not stop in time"),
            }
        };
        tokio::join!(stop_clickhouse, stop_kafka);
    }
}

async fn obtain_library() -> anyhow::Result<std::path::PathBuf> {
    let fetching = tokio::task::spawn_blocking(|| {
        let cache = clickhouse::CacheConfig::from_environment();
        let mut shown: Option<Progress> = None;
        let library = clickhouse::obtain_library(&cache, &mut |progress| {
            let what = match progress.phase {
                clickhouse::Phase::Waiting => "waiting for another process to fetch the ClickHouse engine",
                clickhouse::Phase::Downloading => "fetching the ClickHouse engine, once",
                clickhouse::Phase::Unpacking => "verifying and unpacking the ClickHouse engine",
            };
            shown.get_or_insert_with(|| Progress::new(what, true)).set(
                what,
                progress.done,
                progress.total.unwrap_or(0),
            );
        });
        if let Some(shown) = shown {
            shown.finish();
        }
        library
    });
    Ok(fetching.await.context("fetching the ClickHouse engine")??)
}

/// Makes the data folder, so that the first error about it names it.
pub fn make_data_dir(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))
}
