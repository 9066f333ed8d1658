//! One run of one peer: on a broker that was filled once, with a group, a folder and a ClickHouse that nobody
//! has used before.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use benches::answer;
use benches::pipeline;
use benches::worker::Worker;
use benches::workload::{Truth, Workload};
use faults::cluster::{self, Cluster, Kafka};
use stream::topics;
use tempfile::TempDir;
use tokio::process::Command;

use crate::install::Installed;
use crate::roster::{ClickHouse, Peer, Program};

/// A peer may load what it needs for so long, and write its answer and end.
const AROUND_WITHIN: Duration = Duration::from_secs(180);
/// No peer makes anything like the rows of the accounts' midnights.
const MIMAMORI: &str = "[aggregate]\nhistory_days = 1\n";

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Until the answer was complete; of mimamori, until every event had landed.
    pub seconds: f64,
    /// Of mimamori: until every account was scored and every state saved.
    pub settled_seconds: Option<f64>,
    /// Seconds of processor time for a million records, ClickHouse's among it, the broker's not.
    pub cpu_per_million: f64,
    /// The most memory that was resident, ClickHouse's among it, MiB.
    pub peak_mib: f64,
    /// Days of accounts.
    pub days: u64,
    /// Days of accounts that are not what the truth says.
    pub wrong: u64,
}

/// What became of a peer.
#[derive(Debug)]
pub struct Outcome {
    /// Who.
    pub peer: &'static Peer,
    /// Its version, as it says itself.
    pub version: Option<String>,
    /// Its runs.
    pub runs: Vec<Figures>,
    /// Why there are no more of them.
    pub failed: Option<String>,
    installed: Option<Installed>,
}

impl Outcome {
    /// Before its first run.
    pub fn begun(peer: &'static Peer, installed: anyhow::Result<Installed>) -> Outcome {
        let mut outcome = Outcome {
            peer,
            version: None,
            runs: Vec::new(),
            failed: None,
            installed: None,
        };
        match installed {
            Ok(installed) => outcome.installed = Some(installed),
            Err(error) => outcome.fail(&error.context("not installed")),
        }
        outcome
    }

    /// Runs it once more, unless it has failed before.
    pub async fn run(&mut self, field: &Field, turn: usize) {
        let (None, Some(installed)) = (&self.failed, self.installed.clone()) else {
            return;
        };
        let ran = match installed {
            Installed::Mimamori => field.run_mimamori().await,
            Installed::Program(program, arguments) => {
                let mut command = Command::new(program);
                command.args(arguments);
                field.run_peer(self.peer, command, turn).await
            }
        };
        match ran {
            Ok((version, figures)) => {
                self.version = Some(version);
                self.runs.push(figures);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// How it stands, in a line.
    pub fn last(&self) -> String {
        if let Some(failed) = &self.failed {
            return failed.clone();
        }
        let Some(run) = self.runs.last() else {
            return "not run".to_owned();
        };
        format!(
            "{:.1} s, {:.2} CPU-s per million, {:.0} MiB, {} of {} days wrong",
            run.seconds, run.cpu_per_million, run.peak_mib, run.wrong, run.days
        )
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.failed = Some(format!("{error:#}"));
    }
}

/// What all runs share: the filled topic and the truth about it.
pub struct Field {
    workload: Workload,
    truth: Truth,
    within: Duration,
    broker: Cluster,
    /// The broker's; it goes when this is dropped.
    _folder: TempDir,
}

impl Field {
    /// Starts the broker and fills its topic.
    ///
    /// # Errors
    /// The broker does not start or refuses a record.
    pub async fn prepare(workload: Workload, within: Duration) -> anyhow::Result<Field> {
        eprintln!("filling the topic with {} records", workload.records);
        let folder = cluster::run_folder("peers")?;
        let mut broker = pipeline::filled(folder.path(), "", workload).await?;
        // Each run that wants one has its own.
        broker.clickhouse.kill().await?;
        Ok(Field {
            workload,
            truth: workload.truth(),
            within,
            broker,
            _folder: folder,
        })
    }

    /// mimamori leaves its marks in its broker, so it gets one of its own, with the same records.
    async fn run_mimamori(&self) -> anyhow::Result<(String, Figures)> {
        let folder = cluster::run_folder("peers-mimamori")?;
        let mut cluster = pipeline::filled(folder.path(), MIMAMORI, self.workload).await?;
        let measured = pipeline::run(&mut cluster, self.workload, &self.truth).await?;
        // Reading the days is counted for the others, too.
        let before = cluster.clickhouse.cpu()?;
        let read = "SELECT account_id, day, events, logins, active_users, toJSONString(feature_uses) \
                    FROM account_daily FORMAT Null";
        cluster.sql().query(read).await?;
        let reading = cluster.clickhouse.cpu()? - before;
        let figures = Figures {
            seconds: measured.landed_s,
            settled_seconds: Some(measured.done_s),
            cpu_per_million: measured.cpu_per_million() + self.per_million(reading),
            peak_mib: measured.used.iter().map(|used| used.peak_mib as f64).sum(),
            days: self.days(),
            // It is no run when there are any.
            wrong: 0,
        };
        Ok((env!("CARGO_PKG_VERSION").to_owned(), figures))
    }

    async fn run_peer(
        &self,
        peer: &Peer,
        mut command: Command,
        turn: usize,
    ) -> anyhow::Result<(String, Figures)> {
        let folder = cluster::run_folder("peers-run")?;
        let clickhouse = self.clickhouse(peer, folder.path()).await?;
        let answer = folder.path().join("answer.tsv");
        let state = folder.path().join("state");
        std::fs::create_dir(&state)?;
        command
            .args(["--brokers", self.broker.kafka_address()])
            .args(["--topic", topics::RAW])
            .args(["--records", &self.workload.records.to_string()])
            .args(["--group", &format!("peers-{}-{turn}", peer.name)])
            .args(["--answer".as_ref(), answer.as_os_str()])
            .args(["--folder".as_ref(), state.as_os_str()])
            .current_dir(folder.path());
        if let Some(cluster) = &clickhouse {
            command.args([
                "--clickhouse",
                &format!("http://{}", cluster.clickhouse_address()),
            ]);
        }
        let log = folder.path().join("log");
        let measured = self.measure(command, clickhouse.as_ref(), &log).await;
        let (version, figures) = measured.with_context(|| end_of(&log))?;
        let found = answer::read(&answer).with_context(|| end_of(&log))?;
        let figures = Figures {
            wrong: self.truth.differences(&found),
            ..figures
        };
        Ok((version, figures))
    }

    async fn measure(
        &self,
        command: Command,
        clickhouse: Option<&Cluster>,
        log: &Path,
    ) -> anyhow::Result<(String, Figures)> {
        let mut worker = Worker::start(command, log)?;
        let version = worker.says("ready", AROUND_WITHIN).await?;
        let served = |cluster: &Cluster| cluster.clickhouse.cpu();
        let served_before = clickhouse.map(served).transpose()?;
        let before = worker.used()?;
        let began = Instant::now();
        worker.go_on().await?;
        worker.says("done", self.within).await?;
        let seconds = began.elapsed().as_secs_f64();
        let after = worker.used()?;
        let mut cpu = after.cpu.saturating_sub(before.cpu);
        let mut peak_bytes = after.peak_bytes;
        if let (Some(cluster), Some(before)) = (clickhouse, served_before) {
            cpu += served(cluster)?.saturating_sub(before);
            peak_bytes += cluster.clickhouse.memory_kib()?.most * 1024;
        }
        worker.go_on().await?;
        worker.ends(AROUND_WITHIN).await?;
        ensure!(seconds > 0.0, "no time has passed");
        let figures = Figures {
            seconds,
            settled_seconds: None,
            cpu_per_million: self.per_million(cpu),
            peak_mib: peak_bytes as f64 / f64::from(1 << 20),
            days: self.days(),
            wrong: 0,
        };
        Ok((version, figures))
    }

    /// A ClickHouse server of its own, for those that speak to one.
    async fn clickhouse(&self, peer: &Peer, folder: &Path) -> anyhow::Result<Option<Cluster>> {
        let Program::Python { clickhouse, .. } = &peer.program else {
            return Ok(None);
        };
        if *clickhouse != ClickHouse::Served {
            return Ok(None);
        }
        let kafka = Kafka::At(self.broker.kafka_address().to_owned());
        let cluster = Cluster::start(&folder.join("clickhouse"), kafka, "").await?;
        Ok(Some(cluster))
    }

    fn per_million(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.workload.records as f64 * 1e6
    }

    fn days(&self) -> u64 {
        self.truth.days.len() as u64
    }
}

/// The last line that a peer said on standard error.
fn end_of(log: &Path) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let last = log.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing").trim().to_owned()
}
