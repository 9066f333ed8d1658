//! The whole pipeline over a filled topic: `ingest` and `aggregate` as processes of the command itself, the
//! embedded engines as processes of their own, so that the time and memory of each can be told.
//!
//! A run is over when everything is durably out: every record is folded into saved states, every event has
//! landed, and the newest score of every account has its last event in it. What follows, a row of each midnight
//! that each account has lived, is measured apart. It counts only if every day of every account is what the
//! workload's truth says.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use faults::cluster::{Cluster, Kafka, Role, Sql};
use faults::fill::{Filling, fill};
use serde::{Deserialize, Serialize};
use stream::{KafkaConfig, TopicSpec, topics};
use tests::wait_for;

use crate::workload::{Day, Truth, Workload};

/// Partitions of the raw topic.
pub const RAW_PARTITIONS: i32 = 4;
/// How long a run may take.
const DONE_WITHIN: Duration = Duration::from_secs(1_800);
/// Records that ingest has refused.
const REJECTED: &str = "mimamori_ingest_rejected_total";
/// Rows that the worker's inserts were answered for.
const INSERTED: &str = "mimamori_clickhouse_inserted_rows_total";
/// Evaluations of the worker.
const EVALUATIONS: &str = "mimamori_aggregate_evaluations_total";
/// How often ClickHouse is asked for the scores.
const SCORES_ASKED_AFTER: Duration = Duration::from_millis(1_500);
/// When no row of a midnight has come for so long, all are there.
const HISTORIES_END_AFTER: Duration = Duration::from_secs(5);
/// The group of the worker, as it is by default.
const GROUP: &str = "mimamori-aggregate";

/// What a process used.
#[derive(Clone, Debug, Serialize)]
pub struct Used {
    /// The process.
    pub name: &'static str,
    /// Seconds of processor time for a million records.
    pub cpu_per_million: f64,
    /// The most memory that it had resident, MiB.
    pub peak_mib: u64,
}

/// The rows of all midnights, which are made when everything else is done.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    /// Midnights of accounts.
    pub rows: u64,
    /// How long it took.
    pub seconds: f64,
    /// Seconds of processor time of all for a million midnights: an evaluation, a row of numbers, one of scores.
    pub cpu_per_million: f64,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Records read.
    pub records: u64,
    /// Different events among them, which is the rows that landed.
    pub rows: u64,
    /// Accounts that were scored.
    pub accounts: u64,
    /// Seconds until every event had landed.
    pub landed_s: f64,
    /// Seconds until all was durably out, the histories excepted.
    pub done_s: f64,
    /// `ingest`, `aggregate` and `clickhouse`; the broker's is not counted.
    pub used: Vec<Used>,
    /// What was made of the accounts' pasts afterwards.
    pub history: History,
    /// Bytes of `events` on disk for a row.
    pub bytes_per_event: f64,
    /// Bytes of an account's newest state on disk.
    pub bytes_per_state: f64,
}

impl Measured {
    /// Seconds of processor time of all three for a million records.
    pub fn cpu_per_million(&self) -> f64 {
        self.used.iter().map(|used| used.cpu_per_million).sum()
    }

    /// Records a second until every event had landed.
    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.landed_s
    }
}

/// Starts the engines in `folder`, with `config` for the roles, and fills the raw topic.
///
/// # Errors
/// An engine does not start or refuses a record.
pub async fn filled(folder: &Path, config: &str, workload: Workload) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(folder, Kafka::Embedded, config).await?;
    fill_raw(cluster.kafka_address(), workload).await?;
    Ok(cluster)
}

/// Fills the raw topic of a Kafka, which it makes.
///
/// # Errors
/// The topic cannot be made or a record is refused.
pub async fn fill_raw(brokers: &str, workload: Workload) -> anyhow::Result<()> {
    let topic = TopicSpec::new(topics::RAW, RAW_PARTITIONS);
    stream::ensure_topics(&KafkaConfig::at(brokers), &[topic]).await?;
    let records = workload.events().map(|event| Filling {
        key: Some(event.account_id()),
        payload: event.json().into_bytes(),
    });
    fill(brokers, topics::RAW, records).await?;
    Ok(())
}

/// Starts `aggregate` and, once it stands ready, `ingest`; waits until all is durably out, and holds it against
/// the truth. Making the tables is not counted; the two roles are, from their start.
///
/// # Errors
/// A process ends, the run takes too long, or what came of it is wrong.
pub async fn run(cluster: &mut Cluster, workload: Workload, truth: &Truth) -> anyhow::Result<Measured> {
    let accounts = truth.accounts();
    // It makes the tables, which it finds at every other start.
    cluster.add(Role::Aggregate, "aggregate")?;
    cluster.wait_ready("aggregate").await?;
    let clickhouse_before = cluster.clickhouse.cpu()?;
    let began = Instant::now();
    cluster.add(Role::Ingest, "ingest")?;
    let sql = cluster.sql();
    let shown = &*cluster;
    // The worker is asked how far it is, not ClickHouse, whose answers would be in its figure.
    let told = |metric: &'static str, labels: &'static str, expected: u64| async move {
        let told = shown.metric("aggregate", metric, labels).await?.unwrap_or(0.0) as u64;
        ensure!(told >= expected, "{told} of {expected} in {metric}");
        Ok(Some(()))
    };
    let rejected = wait_for("every event in ClickHouse", DONE_WITHIN, || async {
        let rejected = shown.metric("ingest", REJECTED, "").await?.unwrap_or(0.0);
        if rejected > 0.0 {
            return Ok(Some(rejected));
        }
        told(INSERTED, "\"events\"", truth.events).await?;
        Ok(Some(0.0))
    })
    .await?;
    ensure!(
        rejected == 0.0,
        "{rejected} records were rejected, which are events in truth"
    );
    let landed_s = began.elapsed().as_secs_f64();
    wait_for("every account evaluated", DONE_WITHIN, || {
        told(EVALUATIONS, "", accounts)
    })
    .await?;
    wait_for("every score and every saved state", DONE_WITHIN, || async {
        // Costs ClickHouse about as much as the rows of a thousand accounts.
        tokio::time::sleep(SCORES_ASKED_AFTER).await;
        let saved = sql
            .count("SELECT sum(next_offset) FROM checkpoints FINAL")
            .await?;
        ensure!(
            saved == workload.records,
            "{saved} of {} records are in saved states",
            workload.records
        );
        let scored = sql.count(SCORED).await?;
        ensure!(scored == accounts, "{scored} of {accounts} accounts are scored");
        Ok(Some(()))
    })
    .await?;
    let done_s = began.elapsed().as_secs_f64();

    let per_million = |cpu: Duration| cpu.as_secs_f64() / workload.records as f64 * 1e6;
    let mut used = Vec::new();
    for name in ["ingest", "aggregate"] {
        let process = cluster.role(name)?;
        used.push(Used {
            name,
            cpu_per_million: per_million(process.cpu()?),
            peak_mib: process.memory_kib()?.most / 1024,
        });
    }
    used.push(Used {
        name: "clickhouse",
        cpu_per_million: per_million(cluster.clickhouse.cpu()?.saturating_sub(clickhouse_before)),
        peak_mib: cluster.clickhouse.memory_kib()?.most / 1024,
    });

    let history = history(cluster, &sql).await?;
    let rows = sql.count("SELECT count() FROM events FINAL").await?;
    ensure!(rows == truth.events, "{rows} rows of {} events", truth.events);
    let differences = truth.differences(&days(&sql).await?);
    ensure!(differences == 0, "{differences} days of accounts are wrong");
    Ok(Measured {
        records: workload.records,
        rows,
        accounts,
        landed_s,
        done_s,
        used,
        history,
        bytes_per_event: per_row(&sql, "events").await?,
        bytes_per_state: per_row(&sql, "account_state").await?,
    })
}

/// Waits until no more rows of midnights come; what they cost.
async fn history(cluster: &mut Cluster, sql: &Sql) -> anyhow::Result<History> {
    let began = Instant::now();
    let before = cpu(cluster)?;
    let inserted = || async {
        let rows = cluster.metric("aggregate", INSERTED, "\"metrics_versions\"");
        anyhow::Ok(rows.await?.unwrap_or(0.0))
    };
    let mut rows = inserted().await?;
    let mut grown_at = Instant::now();
    while grown_at.elapsed() < HISTORIES_END_AFTER {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = inserted().await?;
        if now > rows {
            (rows, grown_at) = (now, Instant::now());
        }
    }
    let used = cpu(cluster)?.saturating_sub(before);
    let rows = sql
        .count("SELECT count() FROM account_metrics WHERE is_daily")
        .await?;
    Ok(History {
        rows,
        seconds: (grown_at - began).as_secs_f64(),
        cpu_per_million: used.as_secs_f64() / rows as f64 * 1e6,
    })
}

/// Processor time of ingest, aggregate and ClickHouse.
///
/// # Errors
/// One of them has ended.
pub fn cpu_of_each(cluster: &mut Cluster) -> anyhow::Result<[(&'static str, Duration); 3]> {
    Ok([
        ("ingest", cluster.role("ingest")?.cpu()?),
        ("aggregate", cluster.role("aggregate")?.cpu()?),
        ("clickhouse", cluster.clickhouse.cpu()?),
    ])
}

fn cpu(cluster: &mut Cluster) -> anyhow::Result<Duration> {
    Ok(cpu_of_each(cluster)?.iter().map(|(_, used)| *used).sum())
}

/// Accounts whose newest score has their last event in it.
const SCORED: &str = "SELECT count() FROM \
     (SELECT account_id, max(kafka_offset) AS last FROM events GROUP BY account_id) AS landed \
     INNER JOIN account_scores_latest AS scores USING account_id WHERE cut_offset >= last";

/// Bytes on disk for a row that counts.
async fn per_row(sql: &Sql, table: &str) -> anyhow::Result<f64> {
    sql.query(&format!("OPTIMIZE TABLE {table} FINAL")).await?;
    let asked = format!(
        "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts \
         WHERE active AND database = currentDatabase() AND table = '{table}'"
    );
    let answer = sql.query(&asked).await?;
    answer
        .parse()
        .with_context(|| format!("{asked} answered {answer:?}"))
}

#[derive(Deserialize)]
struct DayRow(
    String,
    i64,
    u64,
    u64,
    u64,
    std::collections::BTreeMap<String, u64>,
);

/// The days of all accounts, as mimamori has them.
async fn days(sql: &Sql) -> anyhow::Result<HashMap<(String, i64), Day>> {
    let asked = "SELECT account_id, toInt64(toUInt16(day)), events, logins, active_users, feature_uses \
                 FROM account_daily";
    let rows: Vec<DayRow> = sql.rows(asked).await?;
    let days = rows
        .into_iter()
        .map(|DayRow(account_id, day, events, logins, users, features)| {
            let counted = Day {
                events,
                logins,
                users,
                features,
            };
            ((account_id, day), counted)
        });
    Ok(days.collect())
}

/// Records of `mimamori.events` that the worker has not committed.
///
/// # Errors
/// The broker does not answer.
pub async fn lag(cluster: &Cluster) -> anyhow::Result<i64> {
    let topics = faults::topic::Topics::new(cluster.kafka_address());
    topics.lag(GROUP, stream::topics::EVENTS).await
}
