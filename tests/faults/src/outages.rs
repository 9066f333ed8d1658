//! Outages: ClickHouse and Kafka fail in one way after the other while product apps go on sending; then the
//! oracle. Of each outage it is measured how soon the workers say so, how much memory they take, and how
//! soon they work again when it is over.
//!
//! The roles run with the defaults, since these have to do; only the scores are written more often, so that
//! it is the recovery that is measured and not their pause.

mod measure;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tracing::info;

use crate::cluster::{Cluster, Kafka, Role};
use crate::kill_loop::settle;
use crate::oracle::alerts::Told;
use crate::oracle::events::Landed;
use crate::oracle::{Problems, alerts, events};
use crate::producer::{Load, Producing};
use crate::proxy::{Fault, Proxy};
use crate::receiver::{Receiver, SECRET};
use crate::topic::Topics;
pub use measure::Measured;

/// The rule whose episodes follow the tickets.
const RULE: &str = "open_ticket";
const RAW: &str = "usage.events";
const EVENTS: &str = "mimamori.events";
/// Accounts that live in the present.
const WATCHED: u32 = 40;
/// After a longer one the backlog comes first, and how soon that is read depends on the machine.
const SHORT: Duration = Duration::from_secs(15);
/// `kafka.session_timeout_ms` by default, in seconds.
const SESSION: f64 = 15.0;
/// The most memory that a worker may take, MiB, in builds of either profile.
const MOST_MEMORY_MIB: u64 = 512;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outage {
    /// ClickHouse answers every request with 500.
    Answers500,
    /// ClickHouse takes requests and never answers them.
    Hangs,
    /// ClickHouse does what it is asked, and its answers are lost.
    DropsAnswers,
    /// ClickHouse does what it is asked, and its answers are cut in half.
    CutsAnswers,
    /// ClickHouse's answers come a few bytes at a time.
    Trickles,
    /// Nobody listens at ClickHouse's address.
    Refuses,
    /// ClickHouse's disk is full.
    DiskFull,
    /// The process of ClickHouse stands still (SIGSTOP) and goes on where it stood.
    StandsStill,
    /// The process of ClickHouse is killed, and started again later.
    IsKilled,
    /// Kafka is killed and started again at once.
    KafkaRestarts,
    /// Kafka is killed, and started again later.
    KafkaIsGone,
}

impl Outage {
    /// Its name on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no variant is skipped");
        value.get_name().to_owned()
    }

    fn fault(self) -> Option<Fault> {
        Some(match self {
            Outage::Answers500 => Fault::Answer500,
            Outage::Hangs => Fault::Hang,
            Outage::DropsAnswers => Fault::DropAnswer,
            Outage::CutsAnswers => Fault::CutAnswer,
            Outage::Trickles => Fault::Trickle,
            Outage::Refuses => Fault::Refuse,
            Outage::DiskFull => Fault::DiskFull,
            _ => return None,
        })
    }

    /// Whether it is Kafka that fails.
    pub fn is_of_kafka(self) -> bool {
        matches!(self, Outage::KafkaRestarts | Outage::KafkaIsGone)
    }

    fn lasts(self, arguments: &OutagesArgs) -> Duration {
        let long = Duration::from_secs_f64(arguments.minutes_down * 60.0);
        match self {
            Outage::Refuses | Outage::Hangs => long,
            Outage::KafkaRestarts => Duration::ZERO,
            Outage::KafkaIsGone => (long / 3).max(Duration::from_secs(20)),
            // It is asked for a sign of life after two seconds, and has two to give it.
            Outage::StandsStill => (long / 3).max(Duration::from_secs(6)),
            _ => (long / 3).max(Duration::from_secs(4)),
        }
    }
}

/// What is done.
#[derive(Clone, Debug, clap::Args)]
pub struct OutagesArgs {
    /// `embedded`, `apache`, `apache3`, or the bootstrap addresses of a Kafka whose topics are new; the
    /// latter is not killed.
    #[arg(long, default_value = "embedded")]
    pub kafka: Kafka,
    /// Only these outages.
    #[arg(long)]
    pub only: Vec<Outage>,
    /// How long ClickHouse refuses and hangs; other outages last a third of it.
    #[arg(long, default_value_t = 3.0)]
    pub minutes_down: f64,
    /// How soon after a short outage events must land and a fresh one be scored, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub recovered_within: f64,
    /// Records a second.
    #[arg(long, default_value_t = 1_500)]
    pub rate: u32,
    /// Accounts; 40 of them have tickets that open and are resolved all the time.
    #[arg(long, default_value_t = 120)]
    pub accounts: u32,
    /// What is sent is drawn from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep logs and data when all is well, too.
    #[arg(long)]
    pub keep: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// One for each outage, in order.
    pub outages: Vec<Measured>,
    events_sent: u64,
    events_acknowledged: u64,
    landed: Landed,
    /// The most rows beyond one an event that were ever seen in `events`.
    doubled_rows_seen: u64,
    told: Told,
    /// The most memory that a worker had, MiB.
    most_memory_mib: BTreeMap<String, u64>,
    seconds: f64,
}

impl Summary {
    /// For people.
    pub fn lines(&self) -> String {
        let mut lines = measure::HEAD.to_owned();
        for outage in &self.outages {
            lines.push('\n');
            lines.push_str(&outage.line());
        }
        format!(
            "{lines}\n{} events sent, {} acknowledged, {} landed ({} rows, at most {} doubled meanwhile); {} alert \
             changes, {} webhooks, {} doubles dropped by their id\nmost memory, MiB: {:?}; {:.0} s in all",
            self.events_sent,
            self.events_acknowledged,
            self.landed.events,
            self.landed.rows,
            self.doubled_rows_seen,
            self.told.changes,
            self.told.webhooks,
            self.told.doubles_dropped,
            self.most_memory_mib,
            self.seconds,
        )
    }
}

/// Runs the outages in a folder of their own, which is kept when something is wrong.
///
/// # Errors
/// Something cannot be run, or something is wrong: then all of it is in the error.
pub async fn run(arguments: &OutagesArgs) -> anyhow::Result<Summary> {
    let folder = crate::cluster::run_folder("outages")?;
    let ended = run_in(folder.path(), arguments).await;
    if ended.is_err() || arguments.keep {
        let kept = folder.keep();
        eprintln!("logs, data and configuration are in {}", kept.display());
    }
    ended.context("the outages failed")
}

async fn run_in(folder: &Path, arguments: &OutagesArgs) -> anyhow::Result<Summary> {
    let began = Instant::now();
    let receiver = Receiver::start(arguments.seed).await?;
    let mut cluster = Cluster::start(folder, arguments.kafka.clone(), &config(&receiver)).await?;
    let topics = Topics::new(cluster.kafka_address());
    topics
        .ensure_new(&[RAW, EVENTS, "mimamori.alerts", "mimamori.rejected"])
        .await?;
    let proxy = Proxy::start(&cluster.clickhouse_address()).await?;
    let kafka = cluster.kafka_address().to_owned();
    for role in [Role::Aggregate, Role::Ingest, Role::Alert, Role::Api] {
        cluster.add_at(role, role.name(), &kafka, &proxy.address())?;
        cluster.wait_ready(role.name()).await?;
    }

    let load = Load {
        seed: arguments.seed,
        rate: arguments.rate,
        accounts: arguments.accounts,
        watched: WATCHED.min(arguments.accounts),
        repeat_within: Duration::from_secs(60),
    };
    let producing = Producing::start(&kafka, RAW, load)?;
    let doubled = settle::watch_doubled_rows(cluster.sql());
    let mut problems = Problems::default();
    let mut measured = Vec::new();
    for outage in chosen(arguments) {
        measure::wait_until_well(&mut cluster, &producing, arguments.rate).await?;
        let lasts = outage.lasts(arguments);
        info!(outage = outage.name(), seconds = lasts.as_secs_f64(), "outage");
        begin(outage, &mut cluster, &proxy).await?;
        let seen = measure::during(outage, lasts, &mut cluster).await?;
        end(outage, &mut cluster, &proxy).await?;
        let found = measure::after(seen, &mut cluster, &producing, arguments.rate).await?;
        info!("{}", found.line());
        judge(&found, arguments, &mut problems);
        measured.push(found);
    }

    let ledger = producing.finish().await?;
    if let Err(error) = settle::wait(&mut cluster, &topics, &ledger, &receiver).await {
        problems.add("it does not come to rest", format!("{error:#}"));
    }
    settle::verify(&cluster, &mut problems).await?;
    let accepted = events::read_accepted(&topics, EVENTS, &ledger, &mut problems).await?;
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
    let (_, most_memory_mib) = settle::look_at_processes(&mut cluster, &mut problems)?;

    let summary = Summary {
        outages: measured,
        events_sent: ledger.sent.len() as u64,
        events_acknowledged: ledger.acknowledged.iter().filter(|records| **records > 0).count() as u64,
        landed,
        doubled_rows_seen: doubled.finish(),
        told,
        most_memory_mib,
        seconds: began.elapsed().as_secs_f64(),
    };
    judge_all(&summary, ledger.failed_records, &mut problems);
    ensure!(problems.is_empty(), "{problems}{}", summary.lines());
    Ok(summary)
}

fn chosen(arguments: &OutagesArgs) -> Vec<Outage> {
    let mut chosen = arguments.only.clone();
    if chosen.is_empty() {
        chosen = Outage::value_variants().to_vec();
    }
    if let Kafka::At(addresses) = &arguments.kafka {
        info!(
            addresses,
            "this Kafka is not ours to kill: its outages are left out"
        );
        chosen.retain(|outage| !outage.is_of_kafka());
    }
    chosen
}

async fn begin(outage: Outage, cluster: &mut Cluster, proxy: &Proxy) -> anyhow::Result<()> {
    match outage {
        Outage::StandsStill => cluster.clickhouse.stop(),
        Outage::IsKilled => cluster.clickhouse.kill().await,
        Outage::KafkaRestarts | Outage::KafkaIsGone => cluster.kill_kafka().await,
        _ => {
            proxy.set(outage.fault());
            Ok(())
        }
    }
}

/// Returns when the server is back.
async fn end(outage: Outage, cluster: &mut Cluster, proxy: &Proxy) -> anyhow::Result<()> {
    match outage {
        Outage::StandsStill => cluster.clickhouse.wake(),
        Outage::IsKilled => cluster.start_clickhouse().await,
        Outage::KafkaRestarts | Outage::KafkaIsGone => cluster.start_kafka().await,
        _ => {
            proxy.set(None);
            Ok(())
        }
    }
}

fn judge(found: &Measured, arguments: &OutagesArgs, problems: &mut Problems) {
    let name = &found.name;
    let slow = "recoveries that take too long";
    // After its return Apache Kafka waits for the members it remembers, who have given up and come anew,
    // until their session is over.
    let waits_for_members = found.outage.is_of_kafka() && !matches!(arguments.kafka, Kafka::Embedded);
    let more = if waits_for_members { SESSION } else { 0.0 };
    problems.check(
        found
            .progress_after
            .is_some_and(|after| after <= more + arguments.recovered_within),
        slow,
        || format!("{name}: events land again after {:?} s", found.progress_after),
    );
    // A killed broker of Apache Kafka takes longer to be back than it was down.
    if found.seconds_down <= SHORT.as_secs_f64() && !waits_for_members {
        problems.check(
            found
                .scored_after
                .is_some_and(|after| after <= arguments.recovered_within),
            slow,
            || format!("{name}: a fresh event is scored after {:?} s", found.scored_after),
        );
    }
    problems.check(found.caught_up_after.is_some(), slow, || {
        format!("{name}: the backlog is not read")
    });
    // What is over before anybody has tried anything cannot be noticed, and what is slow is not away.
    if !matches!(found.outage, Outage::KafkaRestarts | Outage::Trickles) {
        problems.check(
            found.told_after.is_some(),
            "outages that readyz does not tell of",
            || format!("{name}: {:?}", found.told),
        );
    }
    if !found.outage.is_of_kafka() && found.outage != Outage::Trickles {
        problems.check(
            found.waiting_seconds > 0.0,
            "outages that no metric tells of",
            || format!("{name}: mimamori_clickhouse_waiting_seconds was 0"),
        );
    }
}

fn judge_all(summary: &Summary, failed_records: u64, problems: &mut Problems) {
    problems.check(failed_records == 0, "records that the broker never took", || {
        failed_records.to_string()
    });
    problems.check(
        summary.landed.rows == summary.landed.events && summary.doubled_rows_seen == 0,
        "rows that are doubled",
        || {
            format!(
                "{} rows of {} events, {} doubled meanwhile",
                summary.landed.rows, summary.landed.events, summary.doubled_rows_seen
            )
        },
    );
    for (name, memory) in &summary.most_memory_mib {
        problems.check(*memory <= MOST_MEMORY_MIB, "memory without bound", || {
            format!("{name} took {memory} MiB")
        });
    }
}

fn config(receiver: &Receiver) -> String {
    let url = receiver.url();
    format!(
        r#"
[[health.rules]]
name = "{RULE}"
severity = "warning"
when = "open_tickets >= 1"
clear = "open_tickets == 0"
escalate = "open_tickets >= 2"
cooldown_days = 0.0

[aggregate]
write_after_ms = 1000

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
