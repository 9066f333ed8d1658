//! Waiting until all that was sent is landed, scored and told; and what can be asked only then.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tests::wait_for;

use super::{ALERTS, EVENTS, RAW, RULE};
use crate::cluster::{Cluster, Sql};
use crate::oracle::alerts::Alert;
use crate::oracle::logs::{self, Takeovers};
use crate::oracle::{Problems, alerts};
use crate::producer::Ledger;
use crate::receiver::Receiver;
use crate::sent::{Act, Sent, account_id, id};
use crate::topic::Topics;
use crate::wall_ms;

/// How long the groups may take to read what is left.
const LAG_WITHIN: Duration = Duration::from_secs(240);
/// How long after it alerts may take to be told, and scores to be right.
pub const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// How long after that the histories of accounts whose past changed may take to be stated, one after the
/// other on a machine that does other things besides.
const RESTATED_WITHIN: Duration = Duration::from_secs(180);
/// How long a fresh event may take to a score.
const FRESH_WITHIN: Duration = Duration::from_secs(30);

/// Waits until every group has read everything, every event has landed, the episodes are those that
/// the tickets make, and every change was told.
///
/// # Errors
/// What is not so in time.
pub async fn wait(
    cluster: &mut Cluster,
    topics: &Topics,
    ledger: &Ledger,
    receiver: &Receiver,
) -> anyhow::Result<()> {
    wait_until_read(cluster, topics).await?;
    let sql = cluster.sql();
    wait_for("rest of the alerts", TOLD_WITHIN, || async {
        let in_table = alerts::read(&sql).await?;
        let untold = in_table
            .iter()
            .filter(|alert| !receiver.has(&alert.alert_id))
            .count();
        ensure!(untold == 0, "{untold} changes are not told");
        follow_the_tickets(&in_table, ledger)?;
        let undelivered = sql
            .count(
                "SELECT count() FROM alerts WHERE alert_id NOT IN \
                 (SELECT alert_id FROM deliveries WHERE status = 'delivered')",
            )
            .await?;
        ensure!(
            undelivered == 0,
            "{undelivered} changes have no row that they were delivered"
        );
        Ok(Some(()))
    })
    .await
}

/// Waits until every role is ready and every group has read everything.
///
/// # Errors
/// What is not so in time.
pub async fn wait_until_read(cluster: &mut Cluster, topics: &Topics) -> anyhow::Result<()> {
    for name in cluster.names() {
        cluster.wait_ready(&name).await?;
    }
    for (group, topic) in [
        ("mimamori-ingest", RAW),
        ("mimamori-aggregate", EVENTS),
        ("mimamori-alert", ALERTS),
    ] {
        let what = format!("end of {topic}");
        wait_for(&what, LAG_WITHIN, || async {
            let lag = topics.lag(group, topic).await?;
            ensure!(lag == 0, "{group} is {lag} records behind");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

/// The open episodes are those that the tickets make.
///
/// # Errors
/// How many differ.
pub fn follow_the_tickets(in_table: &[Alert], ledger: &Ledger) -> anyhow::Result<()> {
    let left_open = ledger.left_open.iter();
    let open: HashSet<String> = left_open.map(|account| account_id(*account)).collect();
    let found = alerts::open(in_table, RULE);
    let differ = found.symmetric_difference(&open).count();
    ensure!(
        differ == 0,
        "{differ} accounts have an episode too many or too few"
    );
    Ok(())
}

/// `mimamori verify --all`: every stored number is what the events say. The last histories may be on
/// their way, so it has a while to become so.
pub async fn verify(cluster: &Cluster, problems: &mut Problems) -> anyhow::Result<()> {
    let verified = wait_for("clean `verify --all`", RESTATED_WITHIN, || async {
        let output = cluster.command("verify").arg("--all").output().await?;
        ensure!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Some(()))
    })
    .await;
    if let Err(error) = verified {
        problems.add(
            "stored numbers that are not what the events say",
            format!("{error:#}"),
        );
    }
    Ok(())
}

/// One more event has to come through to a score.
pub async fn fresh_event(
    cluster: &Cluster,
    ledger: &mut Ledger,
    problems: &mut Problems,
) -> anyhow::Result<()> {
    let number = ledger.sent.len();
    let fresh = Sent {
        account: 0,
        occurred_at: wall_ms(),
        act: Act::Login(1),
    };
    ledger.sent.push(fresh);
    ledger.acknowledged.push(1);
    ledger.records += 1;
    ledger.acknowledged_records += 1;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.kafka_address())
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .create()?;
    let payload = fresh.content(number).json();
    let record: FutureRecord<'_, [u8], _> = FutureRecord::to(RAW).payload(&payload);
    let sent = producer.send(record, Duration::from_secs(10)).await;
    sent.map_err(|(error, _)| error)
        .context("cannot send a fresh event")?;

    let sql = cluster.sql();
    let (account, id) = (account_id(fresh.account), id(number));
    let covered = format!(
        "SELECT count() FROM account_scores_latest AS scores, events WHERE events.event_id = '{id}' \
         AND scores.account_id = '{account}' AND events.account_id = '{account}' \
         AND scores.cut_offset >= events.kafka_offset"
    );
    let scored = wait_for("score of a fresh event", FRESH_WITHIN, || async {
        Ok((sql.count(&covered).await? > 0).then_some(()))
    });
    if let Err(error) = scored.await {
        problems.add(
            "fresh events that are not scored",
            format!("{id} of {account}: {error:#}"),
        );
    }
    Ok(())
}

/// What the logs say of recoveries and panics, and how much memory the workers have had.
pub fn look_at_processes(
    cluster: &mut Cluster,
    problems: &mut Problems,
) -> anyhow::Result<(Takeovers, BTreeMap<String, u64>)> {
    let mut takeovers = Takeovers::default();
    let mut memory = BTreeMap::new();
    for name in cluster.names() {
        let process = cluster.role(&name)?;
        let lines = logs::read(process.log(), problems)?;
        let taken = logs::takeovers(&lines);
        takeovers.count += taken.count;
        takeovers.replayed += taken.replayed;
        memory.insert(name, process.memory_kib()?.most / 1024);
    }
    Ok((takeovers, memory))
}

/// Looks for rows of `events` that are there more than once, before a merge drops them.
pub struct DoubledRows {
    most: Arc<AtomicU64>,
    looking: tokio::task::JoinHandle<()>,
}

impl DoubledRows {
    /// Ends the looking and returns the most that were ever seen.
    pub fn finish(self) -> u64 {
        self.looking.abort();
        self.most.load(Ordering::Relaxed)
    }
}

/// Begins to look.
pub fn watch_doubled_rows(sql: Sql) -> DoubledRows {
    let most = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&most);
    let looking = tokio::spawn(async move {
        let doubled = "SELECT count() - uniqExact(account_id, event_id) FROM events \
                       WHERE received_at > now() - INTERVAL 1 MINUTE";
        loop {
            // A server that is busy is asked again.
            if let Ok(count) = sql.count(doubled).await {
                seen.fetch_max(count, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    DoubledRows { most, looking }
}
