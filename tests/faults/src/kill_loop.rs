//! The kill loop: product apps send at full rate while roles are killed (`kill -9`) and stopped past
//! their session (SIGSTOP, SIGCONT) at random moments; then the oracle.
//!
//! The seed draws what is sent and who is harmed when. The machine's own timing it cannot draw, so a
//! failure may take a few runs of its seed to come back.

pub(crate) mod chaos;
pub(crate) mod settle;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::apache::BrokerKills;
use crate::cluster::{Cluster, Kafka, Role};
use crate::oracle::alerts::Told;
use crate::oracle::events::Landed;
use crate::oracle::{Problems, alerts, events};
use crate::producer::{Load, Producing};
use crate::receiver::{Receiver, SECRET};
use crate::topic::Topics;
use chaos::Chaos;

/// The rule whose episodes follow the tickets.
pub(crate) const RULE: &str = "open_ticket";
pub(crate) const RAW: &str = "usage.events";
pub(crate) const EVENTS: &str = "mimamori.events";
pub(crate) const ALERTS: &str = "mimamori.alerts";
pub(crate) const REJECTED: &str = "mimamori.rejected";

/// What the loop does.
#[derive(Clone, Debug, clap::Args)]
pub struct KillLoopArgs {
    /// How often a process is killed; besides it, one is stopped for every four that are killed.
    #[arg(long, default_value_t = 30)]
    pub kills: u32,
    /// What all chance is drawn from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// `embedded`; `apache` or `apache3`, one broker or three, which are killed in turn; or the bootstrap
    /// addresses of a Kafka whose topics are new.
    #[arg(long, default_value = "embedded")]
    pub kafka: Kafka,
    /// Records a second.
    #[arg(long, default_value_t = 2_000)]
    pub rate: u32,
    /// Accounts; 40 of them have tickets that open and are resolved all the time.
    #[arg(long, default_value_t = 120)]
    pub accounts: u32,
    /// Milliseconds between two kills, on average.
    #[arg(long, default_value_t = 4_000)]
    pub every_ms: u64,
    /// Without a heartbeat for so long a worker loses its partitions; Apache Kafka's least by default.
    #[arg(long, default_value_t = 6_000)]
    pub session_ms: u64,
    /// Keep logs and data when all is well, too.
    #[arg(long)]
    pub keep: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Summary {
    seed: u64,
    /// `kill -9`, by process.
    kills: BTreeMap<String, u32>,
    /// SIGSTOP past the session, by process.
    stops: BTreeMap<String, u32>,
    /// `kill -9` of brokers of Apache Kafka, by broker.
    broker_kills: BTreeMap<u32, u32>,
    events_sent: u64,
    events_acknowledged: u64,
    /// Records, ids that were sent again included.
    records_acknowledged: u64,
    /// Records of `mimamori.events`.
    records_accepted: u64,
    /// Records of `mimamori.events` beyond those of the raw topic: what ingest sent again after a kill.
    duplicates_provoked: u64,
    /// Events that had landed and were folded again after a kill.
    replayed: u64,
    /// Partitions taken over by an `aggregate`.
    takeovers: u64,
    landed: Landed,
    /// The most rows beyond one an event that were ever seen in `events` at a time.
    doubled_rows_seen: u64,
    told: Told,
    /// The most memory that a worker had, MiB.
    most_memory_mib: BTreeMap<String, u64>,
    seconds_of_harm: f64,
    /// From the last event until everything had landed and was told.
    seconds_to_settle: f64,
    seconds: f64,
}

impl Summary {
    /// How often brokers of Apache Kafka were killed.
    pub fn broker_kills(&self) -> u32 {
        self.broker_kills.values().sum()
    }

    /// For people.
    pub fn lines(&self) -> String {
        let kills: u32 = self.kills.values().sum();
        let stops: u32 = self.stops.values().sum();
        format!(
            "seed {}: {kills} kills {:?}, {stops} stops {:?}, brokers killed {:?} in {:.0} s\n\
             {} events sent, {} acknowledged, {} landed ({} rows); {} records of them, {} in {EVENTS}\n\
             provoked: {} records sent twice by ingest, {} events folded again by aggregate in {} takeovers, \
             {} doubled rows seen\n\
             {} alert changes of {} episodes, {} webhooks accepted, {} doubles dropped by their id\n\
             most memory, MiB: {:?}; settled in {:.1} s; {:.0} s in all",
            self.seed,
            self.kills,
            self.stops,
            self.broker_kills,
            self.seconds_of_harm,
            self.events_sent,
            self.events_acknowledged,
            self.landed.events,
            self.landed.rows,
            self.records_acknowledged,
            self.records_accepted,
            self.duplicates_provoked,
            self.replayed,
            self.takeovers,
            self.doubled_rows_seen,
            self.told.changes,
            self.told.episodes,
            self.told.webhooks,
            self.told.doubles_dropped,
            self.most_memory_mib,
            self.seconds_to_settle,
            self.seconds,
        )
    }
}

/// Runs the loop in a folder of its own, which is kept when something is wrong.
///
/// # Errors
/// Something cannot be run, or the oracle found something wrong: then all of it is in the error, with
/// the seed and the folder of the logs.
pub async fn run(arguments: &KillLoopArgs) -> anyhow::Result<Summary> {
    let folder = crate::cluster::run_folder("kill-loop")?;
    let ended = run_in(folder.path(), arguments).await;
    if ended.is_err() || arguments.keep {
        let kept = folder.keep();
        eprintln!("logs, data and configuration are in {}", kept.display());
    }
    ended.with_context(|| format!("the kill loop of seed {} failed", arguments.seed))
}

async fn run_in(folder: &Path, arguments: &KillLoopArgs) -> anyhow::Result<Summary> {
    let began = Instant::now();
    let receiver = Receiver::start(arguments.seed).await?;
    let mut cluster = Cluster::start(
        folder,
        arguments.kafka.clone(),
        &config(&receiver, arguments.session_ms),
    )
    .await?;
    let topics = Topics::new(cluster.kafka_address());
    topics.ensure_new(&[RAW, EVENTS, ALERTS, REJECTED]).await?;
    // The first makes topics and tables, the others find them.
    cluster.add(Role::Aggregate, "aggregate-1")?;
    cluster.wait_ready("aggregate-1").await?;
    cluster.add(Role::Aggregate, "aggregate-2")?;
    cluster.add(Role::Ingest, "ingest-1")?;
    cluster.add(Role::Ingest, "ingest-2")?;
    cluster.add(Role::Alert, "alert-1")?;
    for name in cluster.names() {
        cluster.wait_ready(&name).await?;
    }

    let load = Load {
        seed: arguments.seed,
        rate: arguments.rate,
        accounts: arguments.accounts,
        watched: 40.min(arguments.accounts),
        repeat_within: Duration::from_secs(180).min(expected(arguments) / 2),
    };
    let producing = Producing::start(cluster.kafka_address(), RAW, load)?;
    let doubled = settle::watch_doubled_rows(cluster.sql());
    let harm_began = Instant::now();
    let mut chaos = Chaos::new(arguments.seed, arguments.every_ms, arguments.session_ms);
    let apache = cluster.apache.clone();
    let broker_kills = apache.map(|apache| BrokerKills::begin(apache, arguments.seed));
    chaos.run(&mut cluster, arguments.kills, &producing).await?;
    let broker_kills = match broker_kills {
        Some(kills) => kills.finish().await?,
        None => BTreeMap::new(),
    };
    let seconds_of_harm = harm_began.elapsed().as_secs_f64();

    let mut ledger = producing.finish().await?;
    let settling = Instant::now();
    let mut problems = Problems::default();
    let settled = settle::wait(&mut cluster, &topics, &ledger, &receiver).await;
    let seconds_to_settle = settling.elapsed().as_secs_f64();
    if let Err(error) = settled {
        problems.add("it does not come to rest", format!("{error:#}"));
    }
    settle::verify(&cluster, &mut problems).await?;
    settle::fresh_event(&cluster, &mut ledger, &mut problems).await?;

    let accepted = events::read_accepted(&topics, EVENTS, &ledger, &mut problems).await?;
    for (partition, (first, end)) in topics.spans(REJECTED).await? {
        problems.check(end == first, "sound events that were rejected", || {
            format!("{} in partition {partition} of {REJECTED}", end - first)
        });
    }
    let sql = cluster.sql();
    let landed = events::check(&sql, &ledger, &accepted, arguments.accounts, &mut problems).await?;
    let in_table = alerts::read(&sql).await?;
    let told = alerts::check(
        &in_table,
        &receiver.webhooks(),
        RULE,
        &ledger.left_open,
        &mut problems,
    );
    for problem in receiver.problems() {
        problems.add("webhooks that are not as they should be", problem);
    }
    let (takeovers, most_memory_mib) = settle::look_at_processes(&mut cluster, &mut problems)?;

    let summary = Summary {
        seed: arguments.seed,
        kills: chaos.kills,
        stops: chaos.stops,
        broker_kills,
        events_sent: ledger.sent.len() as u64,
        events_acknowledged: ledger.acknowledged.iter().filter(|records| **records > 0).count() as u64,
        records_acknowledged: ledger.acknowledged_records,
        records_accepted: accepted.records,
        duplicates_provoked: accepted.records.saturating_sub(ledger.acknowledged_records),
        replayed: takeovers.replayed,
        takeovers: takeovers.count,
        landed,
        doubled_rows_seen: doubled.finish(),
        told,
        most_memory_mib,
        seconds_of_harm,
        seconds_to_settle,
        seconds: began.elapsed().as_secs_f64(),
    };
    for ended in &chaos.ended_by_themselves {
        problems.add("processes that ended by themselves", ended.clone());
    }
    judge(&summary, arguments, &ledger.failed_records, &mut problems);
    ensure!(problems.is_empty(), "{problems}{}", summary.lines());
    Ok(summary)
}

/// Kills from which on a run is long enough that episodes open and end between them: in a short one on a
/// slow machine the roles may be behind to the end, and then tell only of what is still so.
const KILLS_WITH_ENDS: u32 = 30;

/// A run in which nothing was doubled on the way proves nothing, and neither does one without alerts, nor
/// a long one in which none ended.
fn judge(summary: &Summary, arguments: &KillLoopArgs, failed_records: &u64, problems: &mut Problems) {
    let nothing = "the run proves nothing";
    problems.check(*failed_records == 0, "records that the broker never took", || {
        failed_records.to_string()
    });
    problems.check(summary.duplicates_provoked > 0, nothing, || {
        "ingest sent no record twice".to_owned()
    });
    problems.check(summary.replayed > 0, nothing, || {
        "aggregate folded no landed event again".to_owned()
    });
    problems.check(summary.told.changes > 0, nothing, || {
        "nobody was alerted about".to_owned()
    });
    let must_end = arguments.kills >= KILLS_WITH_ENDS;
    problems.check(summary.told.ended > 0 || !must_end, nothing, || {
        "no episode ended".to_owned()
    });
    problems.check(
        summary.landed.rows == summary.landed.events,
        "rows that are doubled",
        || format!("{} rows of {} events", summary.landed.rows, summary.landed.events),
    );
    problems.check(
        summary.doubled_rows_seen == 0,
        "rows that were doubled until they were merged",
        || summary.doubled_rows_seen.to_string(),
    );
}

fn expected(arguments: &KillLoopArgs) -> Duration {
    Duration::from_millis(arguments.every_ms * u64::from(arguments.kills))
}

fn config(receiver: &Receiver, session_ms: u64) -> String {
    let (roles, url) = (roles_config(session_ms), receiver.url());
    format!(
        r#"{roles}
[alert]
retry_seconds = [0, 0.2, 0.5, 1, 1, 2, 2, 2, 2, 2, 2, 2]

# Every account opens at once, and each is to be told.
[alert.breaker]
share = 0.0

[[alert.destinations]]
name = "receiver"
url = "{url}"
secret = "{SECRET}"
allow_private_addresses = true
timeout_seconds = 3
"#
    )
}

/// Everything but `[alert]`. Short intervals, so that kills fall into checkpoints, landings, evaluations
/// and deliveries; and the rule that follows the tickets.
pub(crate) fn roles_config(session_ms: u64) -> String {
    let heartbeat_ms = session_ms / 12;
    let revoke_ms = session_ms / 2;
    let insert_seconds = session_ms * 2 / 3_000;
    format!(
        r#"
[kafka]
session_timeout_ms = {session_ms}
heartbeat_interval_ms = {heartbeat_ms}
revoke_deadline_ms = {revoke_ms}
# A role that is started while the broker is away waits for it.
connect_timeout_ms = 120000

[clickhouse]
insert_timeout_seconds = {insert_seconds}

[health]
remember_ids_max = 256

[[health.rules]]
name = "{RULE}"
severity = "warning"
when = "open_tickets >= 1"
clear = "open_tickets == 0"
escalate = "open_tickets >= 2"
cooldown_days = 0.0

[aggregate]
partitions = 8
land_after_ms = 300
checkpoint_after_ms = 800
evaluate_after_ms = 300
write_after_ms = 1000
quiet_after_seconds = 2
remember_ids = 20000
"#
    )
}
