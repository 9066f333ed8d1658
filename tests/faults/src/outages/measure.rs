//! What one outage is like for the workers, and how they come out of it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;
use tests::wait_for;
use tokio::time::Instant;

use super::{Outage, WATCHED};
use crate::cluster::{Cluster, Sql};
use crate::producer::Producing;
use crate::sent::{account_id, id};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a role may take to say whether it is ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// How long a recovery is waited for, backlog included.
const RECOVERY_WITHIN: Duration = Duration::from_secs(300);

/// The head of the table that [`Measured::line`] makes.
pub const HEAD: &str =
    "outage             down s  told after  waited s  lands after  scored after  caught up  memory, MiB";

/// What was measured of an outage. Times are seconds; those of the recovery begin when the server is back.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    #[serde(skip)]
    pub(super) outage: Outage,
    /// What failed.
    pub name: String,
    /// For how long.
    pub seconds_down: f64,
    /// From its beginning until `/readyz` of every role that needs what failed said so.
    pub told_after: Option<f64>,
    /// What it said.
    pub told: String,
    /// The most that `mimamori_clickhouse_waiting_seconds` said.
    pub waiting_seconds: f64,
    /// Until events land again.
    pub progress_after: Option<f64>,
    /// Until the first event that was acknowledged after the return is in a score.
    pub scored_after: Option<f64>,
    /// Until nobody is behind any more.
    pub caught_up_after: Option<f64>,
    /// The most memory that each worker had during the outage and the recovery, MiB.
    pub memory_mib: BTreeMap<String, u64>,
}

impl Measured {
    /// A row of a table for people.
    pub fn line(&self) -> String {
        let seconds = |found: Option<f64>| found.map_or("never".to_owned(), |found| format!("{found:.1}"));
        let memory: Vec<String> = self
            .memory_mib
            .iter()
            .map(|(name, mib)| format!("{name} {mib}"))
            .collect();
        format!(
            "{:<18} {:>6.0}  {:>10}  {:>8.1}  {:>11}  {:>12}  {:>9}  {}",
            self.name,
            self.seconds_down,
            seconds(self.told_after),
            self.waiting_seconds,
            seconds(self.progress_after),
            seconds(self.scored_after),
            seconds(self.caught_up_after),
            memory.join(", "),
        )
    }

    fn note_memory(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        for name in cluster.names() {
            let process = cluster.role(&name)?;
            ensure!(process.is_running(), "{name} ended\n{}", process.end_of_log(20));
            let mib = process.memory_kib()?.now / 1024;
            let most = self.memory_mib.entry(name).or_default();
            *most = mib.max(*most);
        }
        Ok(())
    }
}

/// Waits until every role is ready, nobody is behind, and events are acknowledged.
pub async fn wait_until_well(cluster: &mut Cluster, producing: &Producing, rate: u32) -> anyhow::Result<()> {
    for name in cluster.names() {
        cluster.wait_ready(&name).await?;
    }
    let acknowledged = producing.acknowledged();
    wait_for("events that come through", RECOVERY_WITHIN, || async {
        ensure!(!producing.has_failed(), "the producer ended by itself");
        let is_well = producing.acknowledged() > acknowledged && is_caught_up(cluster, rate).await;
        Ok(is_well.then_some(()))
    })
    .await
}

/// Looks on for as long as the outage lasts.
pub async fn during(outage: Outage, lasts: Duration, cluster: &mut Cluster) -> anyhow::Result<Measured> {
    let mut measured = Measured {
        outage,
        name: outage.name(),
        seconds_down: lasts.as_secs_f64(),
        told_after: None,
        told: String::new(),
        waiting_seconds: 0.0,
        progress_after: None,
        scored_after: None,
        caught_up_after: None,
        memory_mib: BTreeMap::new(),
    };
    // Ingest knows nothing of ClickHouse.
    let workers: &[&str] = if outage.is_of_kafka() {
        &["ingest", "aggregate", "alert"]
    } else {
        &["aggregate"]
    };
    let began = Instant::now();
    while began.elapsed() < lasts {
        measured.note_memory(cluster)?;
        let mut told = Vec::new();
        for worker in workers {
            let asked = tokio::time::timeout(ANSWER_WITHIN, cluster.get(worker, "/readyz")).await;
            if let Ok(Ok((503, body))) = asked {
                told.push(body);
            }
        }
        if told.len() == workers.len() {
            measured.told_after.get_or_insert(began.elapsed().as_secs_f64());
        }
        if !told.is_empty() {
            measured.told = told.join(" ");
        }
        let waiting = cluster.metric("aggregate", "mimamori_clickhouse_waiting_seconds", "");
        if let Ok(Ok(Some(waiting))) = tokio::time::timeout(ANSWER_WITHIN, waiting).await {
            measured.waiting_seconds = waiting.max(measured.waiting_seconds);
        }
        let next = (began + lasts).min(Instant::now() + LOOK_EVERY);
        tokio::time::sleep_until(next).await;
    }
    Ok(measured)
}

/// Looks on until all is well again.
pub async fn after(
    mut measured: Measured,
    cluster: &mut Cluster,
    producing: &Producing,
    rate: u32,
) -> anyhow::Result<Measured> {
    let began = Instant::now();
    let first_fresh = producing.sent();
    let landed_before = landed(cluster).await;
    let sql = cluster.sql();
    let mut fresh = None;
    while began.elapsed() < RECOVERY_WITHIN {
        measured.note_memory(cluster)?;
        let now = |measured: &mut Option<f64>| {
            measured.get_or_insert(began.elapsed().as_secs_f64());
        };
        if measured.progress_after.is_none() && landed(cluster).await > landed_before {
            now(&mut measured.progress_after);
        }
        if fresh.is_none() {
            fresh = producing.acknowledged_from(first_fresh, |sent| sent.account < WATCHED);
        }
        if let Some((number, account)) = fresh
            && measured.scored_after.is_none()
            && is_scored(&sql, number, account).await
        {
            now(&mut measured.scored_after);
        }
        if measured.caught_up_after.is_none() && is_caught_up(cluster, rate).await {
            now(&mut measured.caught_up_after);
        }
        let is_over = measured.progress_after.is_some()
            && measured.scored_after.is_some()
            && measured.caught_up_after.is_some();
        if is_over {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(measured)
}

/// Events that the worker has landed in its life.
async fn landed(cluster: &Cluster) -> f64 {
    let metric = "mimamori_clickhouse_inserted_rows_total";
    let found = cluster.metric("aggregate", metric, "table=\"events\"").await;
    found.ok().flatten().unwrap_or(0.0)
}

/// Whether both groups are at most as far behind as they are while all is well.
async fn is_caught_up(cluster: &Cluster, rate: u32) -> bool {
    for role in ["ingest", "aggregate"] {
        let lag = cluster.metric(role, "mimamori_consumer_lag", "").await;
        let is_read = lag.is_ok_and(|lag| lag.is_some_and(|lag| lag < 2.0 * f64::from(rate)));
        if !is_read {
            return false;
        }
    }
    true
}

async fn is_scored(sql: &Sql, number: usize, account: u32) -> bool {
    let (account, id) = (account_id(account), id(number));
    let covered = format!(
        "SELECT count() FROM account_scores_latest AS scores, events WHERE events.event_id = '{id}' \
         AND scores.account_id = '{account}' AND events.account_id = '{account}' \
         AND scores.cut_offset >= events.kafka_offset"
    );
    sql.count(&covered).await.is_ok_and(|count| count > 0)
}
