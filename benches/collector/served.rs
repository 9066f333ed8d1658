//! What is measured, in processes of its own: the collector, and the broker behind it. They are this very
//! program, told to serve, and end when whoever started them closes their standard input.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use api::{Collection, CollectorConfig, Config, Readiness, Server};
use clap::ValueEnum;
use event::{DecoderConfig, Door};
use prometheus::Registry;
use store::{ClickHouseConfig, Store, StoreMetrics};
use stream::{KafkaConfig, TopicReader, topics};
use tokio::sync::watch;
use tracing_subscriber::filter::LevelFilter;
use verify::Definition;

use crate::load;

/// Where the events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sink {
    /// Nowhere: they are decoded, checked and encoded, and acknowledged at once.
    Null,
    /// To the embedded broker.
    Broker,
}

impl Sink {
    pub fn name(self) -> &'static str {
        match self {
            Sink::Null => "null",
            Sink::Broker => "broker",
        }
    }
}

/// Which process to be.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Part {
    /// The api role's server.
    Collector {
        /// The broker's address; without one the events go nowhere.
        #[arg(long)]
        brokers: Option<String>,
    },
    /// The embedded broker.
    Broker {
        /// Its folder.
        #[arg(long)]
        data_dir: PathBuf,
    },
}

/// Serves until standard input ends; the address is the first line of standard output.
pub fn serve(part: &Part) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::ERROR)
        .with_writer(std::io::stderr)
        .init();
    // As the command mimamori has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        match part {
            Part::Collector { brokers } => collect(brokers.as_deref()).await,
            Part::Broker { data_dir } => keep(data_dir.clone()).await,
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

async fn collect(brokers: Option<&str>) -> anyhow::Result<()> {
    // The table of write keys is not there, and the trial does without.
    let nowhere = ClickHouseConfig {
        url: "http://127.0.0.1:1".to_owned(),
        ..ClickHouseConfig::default()
    };
    let registry = Registry::new();
    let store = Store::new(nowhere, StoreMetrics::register(&registry)?);
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        ..Config::default()
    };
    let sink = match brokers {
        Some(_) => api::Sink::Broker,
        None => api::Sink::Nowhere,
    };
    let collection = Collection {
        config: CollectorConfig::default(),
        door: Door::default(),
        max_event_bytes: DecoderConfig::default().max_event_bytes,
        kafka: KafkaConfig::at(brokers.unwrap_or("127.0.0.1:1")),
        topics: topics::all(topics::DEFAULT_PARTITIONS),
    };
    let server = Server::bind(config).await?.collecting_on_trial(collection, sink);
    println!("{}", server.address());
    let (stop, stopped) = watch::channel(false);
    let served = server.run(store, Definition::default(), registry, Readiness::new(), stopped);
    tokio::spawn(async move {
        told_to_end().await;
        stop.send_replace(true);
    });
    Ok(served.await?)
}

async fn keep(data_dir: PathBuf) -> anyhow::Result<()> {
    let broker = embedded::kafka::start(embedded::kafka::Config {
        listen: "127.0.0.1:0".parse().context("an address")?,
        data_dir,
        auto_create_topics: false,
        ..embedded::kafka::Config::default()
    })
    .await?;
    println!("{}", broker.address());
    told_to_end().await;
    broker.shutdown().await?;
    Ok(())
}

async fn told_to_end() {
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = closed.await;
}

/// A process that ends when this is dropped.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(arguments: &[&str]) -> anyhow::Result<Process> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .arg("serve")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse();
        let address = address.with_context(|| format!("serve {arguments:?} told no address"))?;
        Ok(Process { child, address })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The embedded broker.
pub struct Broker(Process);

impl Broker {
    pub fn start(data_dir: &Path) -> anyhow::Result<Broker> {
        let data_dir = data_dir.to_str().context("the folder's name is text")?;
        let process = Process::start(&["broker", "--data-dir", data_dir]);
        process.map(Broker).context("the broker")
    }

    /// How many accepted events it holds.
    pub fn records(&self) -> anyhow::Result<u64> {
        let kafka = KafkaConfig::at(self.0.address.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let reader = runtime.block_on(TopicReader::open(&kafka, "bench", topics::EVENTS))?;
        Ok(reader.spans().iter().map(stream::Span::len).sum())
    }
}

/// The collector, ready to take events.
pub struct Collector(Process);

impl Collector {
    pub fn start(broker: Option<&Broker>) -> anyhow::Result<Collector> {
        let brokers = broker.map(|broker| broker.0.address.to_string());
        let process = match &brokers {
            Some(brokers) => Process::start(&["collector", "--brokers", brokers]),
            None => Process::start(&["collector"]),
        };
        let process = process.context("the collector")?;
        load::wait_until_ready(process.address)?;
        Ok(Collector(process))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The processor time of all its threads so far, the system's on its behalf among it.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        faults::process::cpu(self.0.child.id())
    }

    /// The most memory that it had resident.
    pub fn peak_bytes(&self) -> anyhow::Result<u64> {
        Ok(faults::process::memory_kib(self.0.child.id())?.most * 1024)
    }
}
