//! Events at a steady rate through all roles, tickets among them: how long from the append of the ticket
//! that opens an episode to the webhook about it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use benches::quantile::Histogram;
use faults::cluster::{Cluster, Kafka, Role, run_folder};
use serde::Serialize;
use stream::{KafkaConfig, Producer, topics};

use crate::receiver::Receiver;

/// The rule whose episodes follow the tickets.
const RULE: &str = "open_ticket";
/// The histogram of the alert role.
const HISTOGRAM: &str = "mimamori_event_to_delivery_seconds";
/// The load is handed out so often.
const TICK: Duration = Duration::from_millis(5);
/// How long the last webhooks may take.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Clone, Debug, clap::Args)]
pub struct LatencyArgs {
    /// Events a second.
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// Of them, tickets that are opened, each by an account of its own that has none open.
    #[arg(long, default_value_t = 20)]
    tickets: u32,
    /// Accounts.
    #[arg(long, default_value_t = 20_000)]
    accounts: u32,
    /// How long it is measured, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How long events come before, in seconds.
    #[arg(long, default_value_t = 20)]
    warm_up: u32,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Figures {
    events_a_second: f64,
    alerts: usize,
    /// By the clock of load and receiver, milliseconds.
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    most_ms: f64,
    /// By the alert role's histogram, from the receipt of the event to the receiver's answer, milliseconds.
    histogram_p50_ms: f64,
    histogram_p99_ms: f64,
    /// Cores that each process used.
    cores: HashMap<&'static str, f64>,
}

impl Figures {
    /// For people.
    pub fn line(&self) -> String {
        format!(
            "{:.0} events/s, {} alerts: p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, at most {:.0} ms; by the role's \
             histogram p50 {:.0} ms, p99 {:.0} ms; cores {:.2?}",
            self.events_a_second,
            self.alerts,
            self.p50_ms,
            self.p90_ms,
            self.p99_ms,
            self.most_ms,
            self.histogram_p50_ms,
            self.histogram_p99_ms,
            self.cores,
        )
    }
}

/// Measures.
pub async fn run(arguments: &LatencyArgs, keep: bool) -> anyhow::Result<Figures> {
    ensure!(
        arguments.tickets > 0 && arguments.tickets < arguments.rate,
        "of {} events a second {} cannot be tickets",
        arguments.rate,
        arguments.tickets
    );
    let tickets = arguments.tickets * (arguments.warm_up + arguments.seconds);
    ensure!(
        tickets <= arguments.accounts,
        "{tickets} tickets need as many accounts, there are {}",
        arguments.accounts
    );
    let folder = run_folder("delivery-latency")?;
    let receiver = Receiver::start(Duration::ZERO)?;
    let mut cluster = Cluster::start(folder.path(), Kafka::Embedded, &config(&receiver)).await?;
    for role in [Role::Aggregate, Role::Ingest, Role::Alert] {
        cluster.add(role, role.name())?;
        cluster.wait_ready(role.name()).await?;
    }
    let mut load = Load::new(cluster.kafka_address(), arguments)?;
    load.run(arguments.warm_up).await?;
    let warm = load.opened_at.len();
    let (before, cpu_before) = (histogram(&cluster).await?, cpu(&mut cluster)?);
    let began = Instant::now();
    load.run(arguments.seconds).await?;
    let took = began.elapsed().as_secs_f64();
    let cpu_after = cpu(&mut cluster)?;
    load.producer.flush(TOLD_WITHIN).await?;

    let expected = load.opened_at.len();
    let told = tests::wait_for("webhook about every ticket", TOLD_WITHIN, || async {
        let told = openings(&receiver);
        ensure!(told.len() >= expected, "{} of {expected}", told.len());
        Ok(Some(told))
    })
    .await?;
    let mut latencies = Vec::new();
    for (number, opened_at) in load.opened_at.iter().enumerate().skip(warm) {
        let account = account_id(number as u32);
        let came = told
            .get(&account)
            .with_context(|| format!("no webhook about {account}"))?;
        latencies.push(came.duration_since(*opened_at).as_secs_f64() * 1_000.0);
    }
    latencies.sort_by(f64::total_cmp);
    let rank = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let of_role = histogram(&cluster).await?.since(&before);
    let quantile = |share| of_role.quantile_ms(share).unwrap_or(f64::NAN);
    let cores = cpu_after
        .iter()
        .map(|(name, used)| (*name, (*used - cpu_before[name]).as_secs_f64() / took));
    let figures = Figures {
        events_a_second: f64::from(arguments.rate * arguments.seconds) / took,
        alerts: latencies.len(),
        p50_ms: rank(0.5),
        p90_ms: rank(0.9),
        p99_ms: rank(0.99),
        most_ms: rank(1.0),
        histogram_p50_ms: quantile(0.5),
        histogram_p99_ms: quantile(0.99),
        cores: cores.collect(),
    };
    if keep {
        eprintln!("kept: {}", folder.keep().display());
    }
    Ok(figures)
}

/// When the opening about each account came.
fn openings(receiver: &Receiver) -> HashMap<String, Instant> {
    let arrivals = receiver.arrivals().into_iter();
    let openings = arrivals.filter(|arrival| arrival.rule == RULE && arrival.change == "opened");
    openings.map(|arrival| (arrival.account_id, arrival.at)).collect()
}

async fn histogram(cluster: &Cluster) -> anyhow::Result<Histogram> {
    let (_, metrics) = cluster.get("alert", "/metrics").await?;
    Ok(Histogram::read(&metrics, HISTOGRAM))
}

fn cpu(cluster: &mut Cluster) -> anyhow::Result<HashMap<&'static str, Duration>> {
    let mut used = HashMap::new();
    for role in [Role::Aggregate, Role::Ingest, Role::Alert] {
        used.insert(role.name(), cluster.role(role.name())?.cpu()?);
    }
    used.insert("clickhouse", cluster.clickhouse.cpu()?);
    let kafka = cluster.kafka.as_ref().context("the broker is embedded")?;
    used.insert("kafka", kafka.cpu()?);
    Ok(used)
}

/// All as it is by default, but for a rule that a single event can trip, and for the breaker.
fn config(receiver: &Receiver) -> String {
    format!(
        r#"
[[health.rules]]
name = "{RULE}"
severity = "warning"
when = "open_tickets >= 1"
clear = "open_tickets == 0"

[alert.breaker]
share = 0.0

{}"#,
        receiver.destination("")
    )
}

fn account_id(number: u32) -> String {
    format!("account-{number:06}")
}

/// Product apps, at a steady rate.
struct Load {
    producer: Producer,
    arguments: LatencyArgs,
    rng: fastrand::Rng,
    sent: u64,
    /// When the ticket of each account was sent; the first account first.
    opened_at: Vec<Instant>,
}

impl Load {
    fn new(brokers: &str, arguments: &LatencyArgs) -> anyhow::Result<Load> {
        Ok(Load {
            producer: Producer::new(&KafkaConfig::at(brokers))?,
            arguments: arguments.clone(),
            rng: fastrand::Rng::with_seed(1),
            sent: 0,
            opened_at: Vec::new(),
        })
    }

    async fn run(&mut self, seconds: u32) -> anyhow::Result<()> {
        let rate = u64::from(self.arguments.rate);
        let every = rate / u64::from(self.arguments.tickets);
        let began = Instant::now();
        let (first, count) = (self.sent, rate * u64::from(seconds));
        while self.sent < first + count {
            let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
            while self.sent < first + due.min(count) {
                self.send(self.sent.is_multiple_of(every)).await?;
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    async fn send(&mut self, is_ticket: bool) -> anyhow::Result<()> {
        let number = self.sent;
        self.sent += 1;
        let now = faults::wall_ms();
        let (account, what) = if is_ticket {
            let account = u32::try_from(self.opened_at.len()).context("too many tickets")?;
            let what =
                format!(r#""type":"ticket","name":"opened","properties":{{"ticket_id":"t-{number}"}}"#);
            (account, what)
        } else {
            let account = self.rng.u32(..self.arguments.accounts);
            let user = self.rng.u32(..20);
            let what = match self.rng.u32(..3) {
                0 => format!(r#""type":"login","user_id":"u-{user}""#),
                _ => format!(
                    r#""type":"feature","name":"report.export","user_id":"u-{user}","properties":{{"rows":{}}}"#,
                    self.rng.u32(..900)
                ),
            };
            (account, what)
        };
        let account = account_id(account);
        let event =
            format!(r#"{{"event_id":"e-{number}","account_id":"{account}","occurred_at":{now},{what}}}"#);
        let at = Instant::now();
        // Whether it was acknowledged is seen by what comes of it.
        let _delivery = self
            .producer
            .send_waiting(topics::RAW, None, event.as_bytes(), &[])
            .await?;
        if is_ticket {
            self.opened_at.push(at);
        }
        Ok(())
    }
}
