//! Apache Kafka itself, one broker or three, started and harmed through `deploy/local/kafka`.
//!
//! Where Apache Kafka cannot be had (Maven's repository does not answer), starting it ends in
//! [`NotToBeHad`], which callers tell apart from a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tests::{free_ports, wait_for};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::info;

/// The exit code of `deploy/local/kafka` that stands for [`NotToBeHad`].
const NOT_TO_BE_HAD: i32 = 3;
/// How often other ports are tried.
const TRIES: u32 = 5;
/// How long replicas may take to be in step again.
const IN_STEP_WITHIN: Duration = Duration::from_secs(120);
/// How long brokers are left in peace before the next is killed, and how long one stays away, in
/// milliseconds.
const PEACE_MS: std::ops::Range<u64> = 3_000..12_000;
const AWAY_MS: std::ops::Range<u64> = 500..14_000;
/// Of so many times two of three brokers are killed at once.
const TWO_ONE_IN: u32 = 4;

/// Why Apache Kafka was not tried.
#[derive(Debug)]
pub struct NotToBeHad(String);

impl std::fmt::Display for NotToBeHad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotToBeHad {}

/// What `deploy/local/kafka` says of one broker.
#[derive(Clone, Debug, Deserialize)]
pub struct Broker {
    /// Its number, from 1.
    pub broker: u32,
    /// Whether it says that it takes part.
    pub answering: bool,
    /// Memory that it occupies, MB.
    pub rss_mb: Option<u64>,
}

#[derive(Deserialize)]
struct Status {
    bootstrap: String,
    version: String,
    brokers: Vec<Broker>,
}

/// A running Apache Kafka. All of its brokers are killed when this is dropped, or when this process
/// ends without a word.
pub struct Apache {
    folder: PathBuf,
    bootstrap: String,
    version: String,
    brokers: u32,
}

impl Apache {
    /// Has Maven fetch Apache Kafka unless it has.
    ///
    /// # Errors
    /// [`NotToBeHad`] when it cannot.
    pub async fn fetch() -> anyhow::Result<()> {
        ask::<serde_json::Value>(&["fetch"], None).await.map(drop)
    }

    /// Starts this many brokers with their data in a folder, and waits until they answer.
    ///
    /// # Errors
    /// [`NotToBeHad`] when Apache Kafka cannot be fetched; otherwise what the brokers said.
    pub async fn start(folder: &Path, brokers: u32) -> anyhow::Result<Apache> {
        let own = std::process::id().to_string();
        let count = brokers.to_string();
        let mut tries = 0;
        loop {
            tries += 1;
            let port = free_ports(u16::try_from(2 * brokers)?).to_string();
            let up = [
                "up",
                "--brokers",
                &count,
                "--port",
                &port,
                "--while-pid",
                &own,
                // As a careful operator sets it: a topic that nobody made is a mistake.
                "--set",
                "auto.create.topics.enable=false",
            ];
            match ask::<Status>(&up, Some(folder)).await {
                Ok(status) => {
                    info!(
                        version = status.version,
                        brokers,
                        bootstrap = status.bootstrap,
                        "Apache Kafka"
                    );
                    return Ok(Apache {
                        folder: folder.to_owned(),
                        bootstrap: status.bootstrap,
                        version: status.version,
                        brokers,
                    });
                }
                // Somebody else took one of the ports meanwhile.
                Err(error) if tries < TRIES && format!("{error:#}").contains("cannot listen") => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The addresses for clients.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The version of Apache Kafka.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How many brokers there are.
    pub fn brokers(&self) -> u32 {
        self.brokers
    }

    /// What each broker is like now.
    pub async fn status(&self) -> anyhow::Result<Vec<Broker>> {
        Ok(self.ask(&["status"]).await?.brokers)
    }

    /// `kill -9` of one broker.
    pub async fn kill(&self, broker: u32) -> anyhow::Result<()> {
        self.ask(&["kill", &broker.to_string()]).await.map(drop)
    }

    /// Starts a killed broker again and waits until it takes part.
    pub async fn start_again(&self, broker: u32) -> anyhow::Result<()> {
        self.ask(&["start", &broker.to_string()]).await.map(drop)
    }

    /// `kill -9` of all brokers.
    pub async fn kill_all(&self) -> anyhow::Result<()> {
        for broker in 1..=self.brokers {
            self.kill(broker).await?;
        }
        Ok(())
    }

    /// Starts all that do not run and waits until all take part.
    pub async fn start_all(&self) -> anyhow::Result<()> {
        self.ask(&["up"]).await.map(drop)
    }

    async fn ask(&self, arguments: &[&str]) -> anyhow::Result<Status> {
        ask(arguments, Some(&self.folder)).await
    }

    /// Waits until every replica of every partition is in step with its leader, so that one more broker
    /// can be spared.
    pub async fn wait_in_step(&self) -> anyhow::Result<()> {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("topic.metadata.refresh.interval.ms", "1000")
            .create()?;
        let client = Arc::new(client);
        wait_for("replicas in step", IN_STEP_WITHIN, || {
            let client = Arc::clone(&client);
            async move {
                let behind = tokio::task::spawn_blocking(move || {
                    let metadata = client.fetch_metadata(None, Duration::from_secs(5))?;
                    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
                    let behind = partitions.filter(|found| found.isr().len() < found.replicas().len());
                    anyhow::Ok(behind.count())
                })
                .await??;
                ensure!(behind == 0, "{behind} partitions have replicas that are behind");
                Ok(Some(()))
            }
        })
        .await
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let mut down = std::process::Command::new(script());
        down.args(["down", "--now", "--data-dir"]).arg(&self.folder);
        if let Err(error) = down.output() {
            tracing::error!(%error, "cannot run deploy/local/kafka");
        }
    }
}

fn script() -> PathBuf {
    tests::root().join("deploy/local/kafka")
}

async fn ask<T: DeserializeOwned>(arguments: &[&str], folder: Option<&Path>) -> anyhow::Result<T> {
    let mut command = Command::new(script());
    command
        .args(arguments)
        .args(["--format", "json"])
        .kill_on_drop(true);
    if let Some(folder) = folder {
        command.arg("--data-dir").arg(folder);
    }
    let output = command.output().await;
    let output = output.with_context(|| format!("cannot run {}: install Python 3", script().display()))?;
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(0) => serde_json::from_slice(&output.stdout).context("what deploy/local/kafka printed"),
        Some(NOT_TO_BE_HAD) => Err(NotToBeHad(words).into()),
        _ => bail!("deploy/local/kafka {}: {words}", arguments.join(" ")),
    }
}

/// Kills brokers in turn beside whatever else is done to the cluster, the next only when all replicas are
/// in step again.
pub struct BrokerKills {
    stop: watch::Sender<bool>,
    killing: JoinHandle<anyhow::Result<BTreeMap<u32, u32>>>,
}

impl BrokerKills {
    /// Begins.
    pub fn begin(apache: Arc<Apache>, seed: u64) -> BrokerKills {
        let (stop, stopped) = watch::channel(false);
        let killing = tokio::spawn(kill_in_turn(apache, seed, stopped));
        BrokerKills { stop, killing }
    }

    /// Ends with all brokers running and in step; how often each was killed.
    pub async fn finish(mut self) -> anyhow::Result<BTreeMap<u32, u32>> {
        self.stop.send_replace(true);
        (&mut self.killing).await?
    }
}

impl Drop for BrokerKills {
    fn drop(&mut self) {
        self.killing.abort();
    }
}

async fn kill_in_turn(
    apache: Arc<Apache>,
    seed: u64,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<BTreeMap<u32, u32>> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x6272_6f6b);
    let mut kills = BTreeMap::new();
    for broker in (1..=apache.brokers()).cycle() {
        let pause = Duration::from_millis(rng.u64(PEACE_MS));
        let told_to_end = tokio::time::timeout(pause, stopped.wait_for(|stop| *stop))
            .await
            .is_ok();
        if told_to_end {
            break;
        }
        let away = Duration::from_millis(rng.u64(AWAY_MS));
        let mut victims = vec![broker];
        // Without two of three nothing can be acknowledged; nothing may be lost, either.
        if apache.brokers() > 2 && rng.u32(..TWO_ONE_IN) == 0 {
            victims.push(broker % apache.brokers() + 1);
        }
        info!(?victims, away = away.as_secs_f64(), "killing brokers");
        let began = Instant::now();
        for victim in &victims {
            apache.kill(*victim).await?;
            *kills.entry(*victim).or_default() += 1;
        }
        tokio::time::sleep(away).await;
        for victim in &victims {
            apache.start_again(*victim).await?;
        }
        apache.wait_in_step().await?;
        let seconds = began.elapsed().as_secs_f64();
        info!(?victims, seconds, "brokers are back and in step");
    }
    Ok(kills)
}
