//! A topic full of openings, one an account, and the alert role alone: deliveries a minute.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use faults::cluster::{Cluster, Kafka, Role, run_folder};
use health::AlertChange;
use prost::Message;
use serde::Serialize;
use stream::{KafkaConfig, Producer, topics};

use crate::receiver::Receiver;

/// How long all of it may take.
const DONE_WITHIN: Duration = Duration::from_secs(600);
/// How soon after the last webhook its row must be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// What is delivered.
#[derive(Clone, Debug, clap::Args)]
pub struct BacklogArgs {
    /// Alerts that wait in the topic.
    #[arg(long, default_value_t = 20_000)]
    alerts: usize,
    /// Milliseconds until the receiver answers.
    #[arg(long, default_value_t = 50)]
    answer_ms: u64,
}

/// What a destination may do at one time.
pub struct Limits {
    /// In the figures.
    pub name: &'static str,
    keys: &'static str,
}

/// The defaults, and what is left when the destination sets no bound that matters.
pub const LIMITS: [Limits; 2] = [
    Limits {
        name: "default limits",
        keys: "",
    },
    Limits {
        name: "no rate, 128 at a time",
        keys: "rate_per_second = 0\nconcurrency = 128",
    },
];

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Figures {
    limits: &'static str,
    alerts: usize,
    /// From the first webhook to the last.
    seconds: f64,
    deliveries_a_minute: f64,
    /// Processor seconds of the alert role for a thousand deliveries, its start included.
    cpu_per_thousand: f64,
    /// The same of ClickHouse.
    clickhouse_cpu_per_thousand: f64,
    /// The most memory that the alert role had resident, MiB.
    peak_mib: u64,
    /// Rows of `deliveries` for each alert.
    rows_per_alert: f64,
}

impl Figures {
    /// For people.
    pub fn line(&self) -> String {
        format!(
            "{}: {} alerts in {:.1} s, {:.0} a minute; {:.2} CPU s a thousand ({:.2} of ClickHouse), {} MiB at most, \
             {:.2} rows each",
            self.limits,
            self.alerts,
            self.seconds,
            self.deliveries_a_minute,
            self.cpu_per_thousand,
            self.clickhouse_cpu_per_thousand,
            self.peak_mib,
            self.rows_per_alert,
        )
    }
}

/// Measures.
pub async fn run(arguments: &BacklogArgs, limits: &Limits, keep: bool) -> anyhow::Result<Figures> {
    let folder = run_folder("delivery-backlog")?;
    let receiver = Receiver::start(Duration::from_millis(arguments.answer_ms))?;
    let config = format!(
        "[alert.breaker]\nshare = 0.0\n\n{}",
        receiver.destination(limits.keys)
    );
    let mut cluster = Cluster::start(folder.path(), Kafka::Embedded, &config).await?;
    let migrated = cluster.command("migrate").output().await?;
    ensure!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    fill(cluster.kafka_address(), arguments.alerts).await?;

    let clickhouse_before = cluster.clickhouse.cpu()?;
    cluster.add(Role::Alert, "alert")?;
    let count = arguments.alerts;
    let receiver = tokio::task::spawn_blocking(move || {
        receiver.wait_for(count, DONE_WITHIN)?;
        anyhow::Ok(receiver)
    })
    .await??;
    let sql = cluster.sql();
    tests::wait_for("row about every delivery", WRITTEN_WITHIN, || async {
        let written = sql
            .count("SELECT uniqExact(alert_id) FROM deliveries WHERE status = 'delivered'")
            .await?;
        ensure!(written >= count as u64, "{written} rows of {count}");
        Ok(Some(()))
    })
    .await?;

    let arrivals = receiver.arrivals();
    let ids: HashSet<&str> = arrivals.iter().map(|arrival| arrival.alert_id.as_str()).collect();
    ensure!(
        ids.len() == count && arrivals.len() == count,
        "{} webhooks came of {} alerts, {} were sent",
        arrivals.len(),
        ids.len(),
        count
    );
    let first = arrivals.first().context("nothing came")?.at;
    let last = arrivals.last().context("nothing came")?.at;
    let seconds = last.duration_since(first).as_secs_f64();
    let thousands = count as f64 / 1_000.0;
    let clickhouse = cluster.clickhouse.cpu()?.saturating_sub(clickhouse_before);
    let rows = sql.count("SELECT count() FROM deliveries").await?;
    let process = cluster.role("alert")?;
    let figures = Figures {
        limits: limits.name,
        alerts: count,
        seconds,
        deliveries_a_minute: count as f64 / seconds * 60.0,
        cpu_per_thousand: process.cpu()?.as_secs_f64() / thousands,
        clickhouse_cpu_per_thousand: clickhouse.as_secs_f64() / thousands,
        peak_mib: process.memory_kib()?.most / 1024,
        rows_per_alert: rows as f64 / count as f64,
    };
    if keep {
        eprintln!("kept: {}", folder.keep().display());
    }
    Ok(figures)
}

/// Fills the topic of the alerts, as `aggregate` would.
async fn fill(brokers: &str, count: usize) -> anyhow::Result<()> {
    let kafka = KafkaConfig::at(brokers);
    let specs: Vec<_> = topics::all(topics::DEFAULT_PARTITIONS)
        .into_iter()
        .filter(|spec| spec.name == topics::ALERTS)
        .collect();
    stream::ensure_topics(&kafka, &specs).await?;
    let producer = Producer::new(&kafka)?;
    let now = faults::wall_ms();
    let mut deliveries = Vec::with_capacity(count);
    for number in 0..count {
        let opening = opening(number, now);
        let key = Some(opening.account_id.as_bytes());
        let value = opening.encode_to_vec();
        deliveries.push(producer.send_waiting(topics::ALERTS, key, &value, &[]).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// With a payload of the usual size.
fn opening(number: usize, at: i64) -> AlertChange {
    let drivers: Vec<_> = (0..4)
        .map(|_| {
            serde_json::json!({
                "input": "usage_trend", "value": 0.142, "points": 2.73,
                "sentence": "feature use down 86% on the 28 days before",
                "sentence_ja": "機能利用が直前28日間より86%減少",
            })
        })
        .collect();
    let payload = serde_json::json!({
        "kind": "at_risk",
        "account": {
            "name": "株式会社銀河設計", "owner": "田中 翔", "plan": "standard", "segment": "mid",
            "stage": "adoption", "tier": "high", "mrr": 74400.0, "currency": "JPY",
        },
        "scores": {"health": 58.74, "band": "yellow", "churn_risk": 0.214, "confidence": 1.0},
        "metrics": {"usage_trend": 0.142, "days_to_renewal": 166, "open_tickets": 2, "logins_28d": 41},
        "drivers": drivers,
    });
    AlertChange {
        alert_id: format!("al_{number:032x}"),
        episode_id: format!("ep_{number:032x}"),
        account_id: format!("account-{number:06}"),
        rule: "falling_usage".to_owned(),
        severity: "warning".to_owned(),
        change: "opened".to_owned(),
        at,
        reason: "株式会社銀河設計: feature use down 86% on the 28 days before".to_owned(),
        reason_ja: "株式会社銀河設計：機能利用が直前28日間より86%減少".to_owned(),
        payload: payload.to_string(),
        caused_by_received_at: at,
    }
}
