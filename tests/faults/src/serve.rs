//! The embedded engines as processes of their own, so that they can be killed. They end when they are
//! told to (SIGTERM), or when whoever started them is gone.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use embedded::{clickhouse, kafka};
use tokio::signal::unix::{SignalKind, signal};

/// Which engine.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Engine {
    /// The Kafka log.
    Kafka,
    /// ClickHouse.
    Clickhouse,
}

/// What is served, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Which engine.
    pub engine: Engine,
    /// Folder of its data.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Where it listens.
    #[arg(long)]
    pub listen: SocketAddr,
    /// Time between syncs of the Kafka log, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub fsync_ms: u64,
}

/// Serves until the end.
pub async fn serve(arguments: ServeArgs) -> anyhow::Result<()> {
    match arguments.engine {
        Engine::Kafka => {
            let broker = kafka::start(kafka::Config {
                listen: arguments.listen,
                data_dir: arguments.data_dir,
                fsync_interval: Duration::from_millis(arguments.fsync_ms),
                ..kafka::Config::default()
            })
            .await?;
            told_to_end().await?;
            broker.shutdown().await?;
        }
        Engine::Clickhouse => {
            let library = tokio::task::spawn_blocking(|| {
                clickhouse::obtain_library(&clickhouse::CacheConfig::from_environment(), &mut |_| {})
            });
            let engine = clickhouse::start(clickhouse::Config {
                listen: arguments.listen,
                data_dir: arguments.data_dir,
                library: library.await.context("fetching the ClickHouse engine")??,
                ..clickhouse::Config::default()
            })
            .await?;
            told_to_end().await?;
            engine.shutdown().await?;
        }
    }
    Ok(())
}

async fn told_to_end() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = closed => {}
    }
    Ok(())
}
