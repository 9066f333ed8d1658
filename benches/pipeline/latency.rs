//! How soon after an event its account is scored, while events come at a steady rate.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use benches::pipeline;
use benches::quantile::Histogram;
use faults::cluster::Cluster;
use faults::wall_ms;
use serde::Serialize;
use serde_json::json;
use stream::{KafkaConfig, Outgoing, Producer, topics};
use tests::wait_for;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// From the receipt of an event to the evaluation that answers it.
const EVENT_TO_SCORE: &str = "mimamori_event_to_score_seconds";
/// Events are sent in portions, so often.
const PORTION_EVERY: Duration = Duration::from_millis(5);
/// Sent at the rate before anything is measured.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long what was sent may take to be folded.
const FOLDED_WITHIN: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// Events a second that were asked for.
    pub rate: u32,
    /// Events a second that were sent.
    pub sent_per_second: f64,
    /// Evaluations that answered events.
    pub evaluations: u64,
    /// From the receipt of an event to the evaluation that answers it, in milliseconds.
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    /// Seconds of processor time for a million events, of each.
    pub cpu_per_million: BTreeMap<&'static str, f64>,
}

/// Sends events of now to random accounts and asks `aggregate` how long they took.
pub async fn measure(
    cluster: &mut Cluster,
    accounts: usize,
    rate: u32,
    seconds: u64,
) -> anyhow::Result<Latency> {
    let producer = Producer::new(&KafkaConfig::at(cluster.kafka_address()))?;
    let mut sender = Sender {
        producer,
        rng: fastrand::Rng::with_seed(1),
        accounts,
        sent: 0,
    };
    sender.send(rate, WARM_UP).await?;
    let before = histogram(cluster).await?;
    let (cpu_before, sent_before) = (pipeline::cpu_of_each(cluster)?, sender.sent);
    let began = Instant::now();
    sender.send(rate, Duration::from_secs(seconds)).await?;
    let sent = sender.sent - sent_before;
    let sent_per_second = sent as f64 / began.elapsed().as_secs_f64();
    let cluster_ref = &*cluster;
    wait_for("everything folded", FOLDED_WITHIN, || async {
        let lag = pipeline::lag(cluster_ref).await?;
        ensure!(lag < i64::from(rate), "{lag} records are left");
        Ok(Some(()))
    })
    .await?;
    let seen = histogram(cluster).await?.since(&before);
    let cpu_after = pipeline::cpu_of_each(cluster)?;
    let cpu_per_million = cpu_before
        .iter()
        .zip(cpu_after)
        .map(|((name, before), (_, after))| (*name, (after - *before).as_secs_f64() / sent as f64 * 1e6));
    let quantile = |quantile| seen.quantile_ms(quantile).context("nothing was evaluated");
    Ok(Latency {
        rate,
        sent_per_second,
        evaluations: seen.count(),
        p50_ms: quantile(0.5)?,
        p90_ms: quantile(0.9)?,
        p99_ms: quantile(0.99)?,
        cpu_per_million: cpu_per_million.collect(),
    })
}

async fn histogram(cluster: &Cluster) -> anyhow::Result<Histogram> {
    let (_, metrics) = cluster.get("aggregate", "/metrics").await?;
    Ok(Histogram::read(&metrics, EVENT_TO_SCORE))
}

struct Sender {
    producer: Producer,
    rng: fastrand::Rng,
    accounts: usize,
    sent: u64,
}

impl Sender {
    async fn send(&mut self, rate: u32, long: Duration) -> anyhow::Result<()> {
        let mut ticks = interval(PORTION_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let began = Instant::now();
        let mut sent = 0_u64;
        while began.elapsed() < long {
            ticks.tick().await;
            let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            for _ in sent..due {
                self.send_one().await?;
            }
            sent = due;
        }
        Ok(())
    }

    async fn send_one(&mut self) -> anyhow::Result<()> {
        let account = format!("account-{:06}", self.rng.usize(..self.accounts));
        let feature = simulate::FEATURES[self.rng.usize(..simulate::FEATURES.len())];
        let event = json!({
            "event_id": format!("live-{}-{}", self.sent, self.rng.u64(..)),
            "account_id": account,
            "user_id": format!("{account}-{}", self.rng.u8(..10)),
            "type": "feature",
            "name": feature,
            "occurred_at": wall_ms(),
        });
        let payload = event.to_string();
        let outgoing = Outgoing {
            topic: topics::RAW,
            key: Some(account.as_bytes()),
            payload: payload.as_bytes(),
            ..Outgoing::default()
        };
        // Whether it is taken shows in the end; nobody waits for each one.
        drop(self.producer.send_record_waiting(&outgoing).await?);
        self.sent += 1;
        Ok(())
    }
}
