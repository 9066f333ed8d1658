//! `mimamori up`

use std::path::Path;

use serde_json::json;
use tokio::sync::watch;
use tracing::{error, info};

use crate::cli::{Format, UpArgs};
use crate::config::Loaded;
use crate::demo::{self, Demo};
use crate::engines::{self, Engines};
use crate::roles::{Role, Roles};
use crate::{output, shutdown};

pub async fn run(file: Option<&Path>, args: UpArgs, format: Option<Format>) -> anyhow::Result<()> {
    let (stop, shutdown) = shutdown::watch_signals()?;
    let mut loaded = Loaded::read(file)?;
    super::apply(&args.servers, &mut loaded);
    let embedded = &mut loaded.config.embedded;
    if let Some(data_dir) = args.data_dir {
        embedded.data_dir = data_dir;
    }
    embedded.kafka_listen = args.kafka_listen.unwrap_or(embedded.kafka_listen);
    embedded.clickhouse_listen = args.clickhouse_listen.unwrap_or(embedded.clickhouse_listen);
    loaded.config.resolve_secrets()?;
    let embedded = loaded.config.embedded.clone();
    engines::make_data_dir(&embedded.data_dir)?;
    let demo = find_demo(args.demo, &mut loaded)?;

    // A server that is named is used, unless the name is only that of the embedded one.
    let kafka_listen = embedded.kafka_listen.to_string();
    let clickhouse_listen = format!("http://{}", embedded.clickhouse_listen);
    let embeds_kafka = !loaded.names_brokers || loaded.config.kafka.brokers == kafka_listen;
    let url = loaded.config.clickhouse.url.trim_end_matches('/');
    let embeds_clickhouse = !loaded.names_clickhouse || url == clickhouse_listen;

    let mut roles = Roles::prepare(loaded).await?;
    let mut engines = Engines::default();
    let started = start(
        &mut engines,
        &mut roles,
        &embedded,
        embeds_kafka,
        embeds_clickhouse,
    );
    let started = tokio::select! {
        started = started => started,
        () = shutdown::asked(shutdown.clone()) => {
            engines.shutdown().await;
            return Ok(());
        }
    };
    if let Err(failed) = started {
        engines.shutdown().await;
        return Err(failed);
    }

    tell(
        &roles,
        &embedded.data_dir,
        embeds_kafka,
        embeds_clickhouse,
        demo.is_some(),
        format,
    )?;
    let demo = demo.filter(|_| args.demo).map(|demo| {
        let kafka = roles.config().kafka.clone();
        tokio::spawn(live_demo(
            demo,
            embedded.data_dir.clone(),
            kafka,
            shutdown.clone(),
        ))
    });
    let ended = roles.run(&Role::ALL, stop, shutdown).await;
    if let Some(demo) = demo {
        demo.abort();
    }
    engines.shutdown().await;
    info!("stopped");
    ended
}

/// Starts the engines that are wanted and sees to it that everything the roles need is there.
async fn start(
    engines: &mut Engines,
    roles: &mut Roles,
    embedded: &crate::config::EmbeddedConfig,
    embeds_kafka: bool,
    embeds_clickhouse: bool,
) -> anyhow::Result<()> {
    if embeds_kafka {
        let brokers = engines.start_kafka(embedded).await?;
        roles.connect(Some(brokers), None);
    }
    if embeds_clickhouse {
        let password = roles.config().clickhouse.password.clone();
        let url = engines.start_clickhouse(embedded, &password).await?;
        roles.connect(None, Some(url));
    }
    roles.prepare_servers(&Role::ALL).await
}

/// The demo of the data folder, begun if it is asked for. Its customers are judged by what fits them
/// unless `[health]` is configured.
fn find_demo(asked: bool, loaded: &mut Loaded) -> anyhow::Result<Option<Demo>> {
    let data_dir = &loaded.config.embedded.data_dir;
    let mut demo = Demo::find(data_dir)?;
    if demo.is_none() && asked {
        demo = Some(Demo::begin(data_dir, super::wall_ms())?);
    }
    if demo.is_some() && !loaded.names_health {
        loaded.config.health = demo::health();
    }
    Ok(demo)
}

async fn live_demo(
    demo: Demo,
    data_dir: std::path::PathBuf,
    kafka: stream::KafkaConfig,
    shutdown: watch::Receiver<bool>,
) {
    if let Err(failed) = demo.run(data_dir, kafka, shutdown).await {
        error!(
            error = format!("{failed:#}"),
            "the demo's customers have fallen silent"
        );
    }
}

fn tell(
    roles: &Roles,
    data_dir: &Path,
    embeds_kafka: bool,
    embeds_clickhouse: bool,
    is_demo: bool,
    format: Option<Format>,
) -> anyhow::Result<()> {
    let config = roles.config();
    let page = format!("http://{}/", roles.api_address());
    let kafka = &config.kafka.brokers;
    let clickhouse = &config.clickhouse.url;
    let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_path_buf());
    let destinations: Vec<&str> = config
        .alert
        .destinations
        .iter()
        .map(|destination| destination.name.as_str())
        .collect();
    let found = json!({
        "page": page, "kafka": kafka, "kafka_embedded": embeds_kafka, "clickhouse": clickhouse,
        "clickhouse_embedded": embeds_clickhouse, "data_dir": data_dir, "demo": is_demo, "destinations": destinations,
    });
    output::result(format, &found, || {
        let kind = |embeds: bool| if embeds { "embedded" } else { "server" };
        let told = if destinations.is_empty() {
            "nobody yet: add [[alert.destinations]] to mimamori.toml".to_string()
        } else {
            destinations.join(", ")
        };
        format!(
            "\n  mimamori is up\n\n  page        {page}\n  kafka       {kafka} ({}), topic {}\n  \
             clickhouse  {clickhouse} ({}), database {}\n  data        {}\n  alerts      {told}\n\n  Ctrl-C stops\n",
            kind(embeds_kafka),
            config.ingest.topic,
            kind(embeds_clickhouse),
            config.clickhouse.database,
            data_dir.display(),
        )
    })
}
