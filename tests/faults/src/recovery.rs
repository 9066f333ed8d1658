//! How long a killed `aggregate` takes until it works again, with many accounts' state to read.
//!
//! The worker that is killed is the only one, so that nothing goes on until the broker has missed its
//! heartbeats (the group's session) and the worker, started again at once, has read all states. A stop in
//! order leaves the group by itself: it is measured too, and tells what is left without the session.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use tests::wait_for;

use crate::cluster::{Cluster, Kafka, Role};
use crate::fill::{Filling, fill};
use crate::process::Process;
use crate::sent::{Act, Sent, account_id, id};
use crate::topic::Topics;
use crate::wall_ms;

const RAW: &str = "usage.events";
const EVENTS: &str = "mimamori.events";
const WORKER: &str = "aggregate-1";
/// Accounts that get a fresh event: enough that every partition has some.
const FRESH: u32 = 128;
const PARTITIONS: usize = 16;
/// How long the filling may take to be folded, scored and saved.
const FILLED_WITHIN: Duration = Duration::from_secs(1_800);
/// How long a recovery may take.
const RECOVERED_WITHIN: Duration = Duration::from_secs(600);
/// The pause between two looks while time is taken.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct RecoveryArgs {
    /// Accounts whose state is to be read.
    #[arg(long, default_value_t = 200_000)]
    pub accounts: u32,
    /// Events of each.
    #[arg(long, default_value_t = 5)]
    pub events: u32,
    /// The group's session timeout in milliseconds; the default is mimamori's.
    #[arg(long, default_value_t = 15_000)]
    pub session_ms: u64,
    /// What all chance is drawn from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// `embedded`, or the bootstrap addresses of a Kafka whose topics are new.
    #[arg(long, default_value = "embedded")]
    pub kafka: Kafka,
    /// Keep logs and data when all is well, too.
    #[arg(long)]
    pub keep: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Summary {
    accounts: u64,
    events: u64,
    session_ms: u64,
    /// Bytes of the saved states, as the worker reads them.
    state_bytes: u64,
    /// Bytes of their table on ClickHouse's disk.
    state_bytes_on_disk: u64,
    /// Memory of the worker before it was killed, MiB.
    memory_mib: u64,
    /// Memory of the worker after it had recovered, now and at most, MiB.
    memory_after_mib: (u64, u64),
    killed: Recovered,
    stopped: Recovered,
}

/// Seconds from the end of the worker, which is started again at once.
#[derive(Clone, Debug, Serialize)]
pub struct Recovered {
    /// Until the group gave it partitions; after a kill, the session timeout is in it.
    pub until_assigned: f64,
    /// Until every partition was taken over: checkpoint and states are read.
    pub until_taken_over: f64,
    /// Until events of every partition that were sent after the end have landed.
    pub until_landed: f64,
    /// Until they are scored, and the scores written (`aggregate.write_after_ms`).
    pub until_scored: f64,
}

impl Recovered {
    fn line(&self, how: &str) -> String {
        format!(
            "{how}: partitions given after {:.2} s, states read after {:.2} s, fresh events landed after {:.2} s \
             and scored after {:.2} s",
            self.until_assigned, self.until_taken_over, self.until_landed, self.until_scored
        )
    }
}

impl Summary {
    /// For people.
    pub fn lines(&self) -> String {
        let (now, most) = self.memory_after_mib;
        format!(
            "{} accounts, {} events; states {:.1} MB, {:.1} MB on disk; worker {} MiB, {now} after (at most {most})\n\
             {} (of it the session: up to {:.0} s)\n{}",
            self.accounts,
            self.events,
            self.state_bytes as f64 / 1e6,
            self.state_bytes_on_disk as f64 / 1e6,
            self.memory_mib,
            self.killed.line("kill -9"),
            self.session_ms as f64 / 1e3,
            self.stopped.line("stopped in order"),
        )
    }

    /// The times after a `kill -9`.
    pub fn killed(&self) -> &Recovered {
        &self.killed
    }
}

/// Fills, kills and measures in a folder of its own, which is kept when something fails.
pub async fn run(arguments: &RecoveryArgs) -> anyhow::Result<Summary> {
    let folder = crate::cluster::run_folder("recovery")?;
    let ended = run_in(folder.path(), arguments).await;
    if ended.is_err() || arguments.keep {
        let kept = folder.keep();
        eprintln!("logs, data and configuration are in {}", kept.display());
    }
    ended
}

async fn run_in(folder: &Path, arguments: &RecoveryArgs) -> anyhow::Result<Summary> {
    let session_ms = arguments.session_ms;
    let insert_seconds = session_ms * 2 / 3_000;
    let config = format!(
        "[kafka]\nsession_timeout_ms = {session_ms}\nrevoke_deadline_ms = 3000\n\
         [clickhouse]\ninsert_timeout_seconds = {insert_seconds}\n"
    );
    let mut cluster = Cluster::start(folder, arguments.kafka.clone(), &config).await?;
    let topics = Topics::new(cluster.kafka_address());
    topics.ensure_new(&[RAW, EVENTS]).await?;
    cluster.add(Role::Aggregate, WORKER)?;
    cluster.add(Role::Ingest, "ingest-1")?;
    cluster.wait_ready(WORKER).await?;
    cluster.wait_ready("ingest-1").await?;

    let (accounts, of_each) = (arguments.accounts, arguments.events);
    eprintln!("filling {accounts} accounts with {of_each} events each");
    let mut rng = fastrand::Rng::with_seed(arguments.seed);
    let mut filling = Vec::new();
    for number in 0..accounts * of_each {
        filling.push(Sent {
            account: number % accounts,
            occurred_at: wall_ms(),
            act: Act::Mixed(rng.u64(..)),
        });
    }
    let events = filling.len() as u64;
    send(cluster.kafka_address(), filling, 0).await?;
    wait_filled(&cluster, &topics, u64::from(accounts), events).await?;

    let sql = cluster.sql();
    let state_bytes = sql
        .count("SELECT sum(length(state)) FROM account_state FINAL")
        .await?;
    let state_bytes_on_disk = sql
        .count("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'mimamori' AND table = 'account_state'")
        .await?;
    let memory_mib = cluster.role(WORKER)?.memory_kib()?.now / 1024;

    eprintln!("killing the worker");
    let killed = recover(&mut cluster, arguments, events, End::Kill).await?;
    let memory = cluster.role(WORKER)?.memory_kib()?;
    eprintln!("stopping the worker in order");
    let stopped = recover(&mut cluster, arguments, events + u64::from(FRESH), End::Stop).await?;
    Ok(Summary {
        accounts: u64::from(accounts),
        events,
        session_ms,
        state_bytes,
        state_bytes_on_disk,
        memory_mib,
        memory_after_mib: (memory.now / 1024, memory.most / 1024),
        killed,
        stopped,
    })
}

/// Waits until everything is folded, scored and in saved states.
async fn wait_filled(cluster: &Cluster, topics: &Topics, accounts: u64, events: u64) -> anyhow::Result<()> {
    let sql = cluster.sql();
    wait_for("events of all accounts", FILLED_WITHIN, || async {
        let landed = sql.count("SELECT count() FROM events").await?;
        ensure!(landed == events, "{landed} of {events} events have landed");
        Ok(Some(()))
    })
    .await?;
    wait_for("scores of all accounts", FILLED_WITHIN, || async {
        let scored = sql.count("SELECT count() FROM account_scores_latest").await?;
        ensure!(scored == accounts, "{scored} of {accounts} accounts are scored");
        let saved = sql
            .count("SELECT uniqExact(account_id) FROM account_state")
            .await?;
        ensure!(saved == accounts, "{saved} of {accounts} states are saved");
        // The commit follows the checkpoint.
        let lag = topics.lag("mimamori-aggregate", EVENTS).await?;
        ensure!(lag == 0, "aggregate is {lag} records behind");
        Ok(Some(()))
    })
    .await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Stop,
}

/// Ends the worker, starts it again and takes the time. `first` is the number of the first fresh event.
async fn recover(
    cluster: &mut Cluster,
    arguments: &RecoveryArgs,
    first: u64,
    end: End,
) -> anyhow::Result<Recovered> {
    let worker = cluster.role(WORKER)?;
    let before = takeovers(worker);
    let mut began = Instant::now();
    match end {
        End::Kill => worker.kill().await?,
        End::Stop => {
            worker.terminate(Duration::from_secs(30)).await?;
            // What a stop takes is no part of the recovery.
            began = Instant::now();
        }
    }
    worker.start()?;
    let fresh: Vec<Sent> = (0..FRESH.min(arguments.accounts))
        .map(|place| Sent {
            account: place * (arguments.accounts / FRESH).max(1),
            occurred_at: wall_ms(),
            act: Act::Login(1),
        })
        .collect();
    let ids: Vec<(String, String)> = fresh
        .iter()
        .enumerate()
        .map(|(place, sent)| (id(first as usize + place), account_id(sent.account)))
        .collect();
    send(cluster.kafka_address(), fresh, first as usize).await?;

    let until_assigned = timed("partitions", began, async || {
        let owned = cluster
            .metric(WORKER, "mimamori_consumer_partitions", "role=\"aggregate\"")
            .await;
        Ok(owned.is_ok_and(|owned| owned.unwrap_or(0.0) > 0.0))
    })
    .await?;
    let worker = cluster.role(WORKER)?;
    let until_taken_over = timed("states", began, async || {
        Ok(takeovers(worker) >= before + PARTITIONS)
    })
    .await?;
    let sql = cluster.sql();
    let landed = landed_query(&ids);
    let are_landed = async || Ok(sql.count(&landed).await? == ids.len() as u64);
    let until_landed = timed("fresh events", began, are_landed).await?;
    let scored = scored_query(&ids);
    let are_scored = async || Ok(sql.count(&scored).await? == ids.len() as u64);
    let until_scored = timed("fresh scores", began, are_scored).await?;
    Ok(Recovered {
        until_assigned,
        until_taken_over,
        until_landed,
        until_scored,
    })
}

/// How often the worker's log says that a partition was taken over.
fn takeovers(worker: &Process) -> usize {
    let log = std::fs::read(worker.log()).unwrap_or_default();
    String::from_utf8_lossy(&log)
        .matches("partition taken over")
        .count()
}

/// How many of these events, by id and account, have landed.
fn landed_query(events: &[(String, String)]) -> String {
    let ids: Vec<String> = events.iter().map(|(id, _)| format!("'{id}'")).collect();
    let accounts: Vec<String> = events.iter().map(|(_, account)| format!("'{account}'")).collect();
    format!(
        "SELECT count() FROM events WHERE account_id IN ({}) AND event_id IN ({})",
        accounts.join(","),
        ids.join(",")
    )
}

/// How many of these events are covered by the newest score of their account.
fn scored_query(events: &[(String, String)]) -> String {
    let landed = landed_query(events).replace("count()", "account_id, kafka_offset");
    format!(
        "SELECT count() FROM ({landed}) AS fresh INNER JOIN account_scores_latest AS scores USING account_id \
         WHERE cut_offset >= kafka_offset"
    )
}

/// Seconds since `began` when `look` first says yes.
async fn timed<F>(what: &str, began: Instant, mut look: F) -> anyhow::Result<f64>
where
    F: AsyncFnMut() -> anyhow::Result<bool>,
{
    loop {
        if look().await? {
            return Ok(began.elapsed().as_secs_f64());
        }
        ensure!(
            began.elapsed() < RECOVERED_WITHIN,
            "no {what} within {RECOVERED_WITHIN:?}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Sends events, numbered from `first`, and waits until the broker has them all.
async fn send(brokers: &str, events: Vec<Sent>, first: usize) -> anyhow::Result<()> {
    let records = events.into_iter().enumerate().map(move |(place, sent)| Filling {
        key: None,
        payload: sent.content(first + place).json().into_bytes(),
    });
    fill(brokers, RAW, records).await?;
    Ok(())
}
