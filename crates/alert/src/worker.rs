//! Joins the engine to Kafka: records in, offsets out.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use health::AlertChange;
use prometheus::Registry;
use prost::Message as _;
use store::Store;
use stream::{
    ConsumerEvent, ConsumerEvents, ConsumerHandle, ConsumerMetrics, ConsumerOptions, KafkaConfig, Membership,
    Record, StartFrom, TopicSpec, consume, topics,
};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Endpoint};
use crate::destination::{Means, Sender};
use crate::engine::{Arrival, Bounds, Engine, Stopped};
use crate::lane::{Lane, Limits};
use crate::metrics::AlertMetrics;
use crate::recorder::Ledger;
use crate::schedule::Schedule;

/// How long a batch waits to fill: an alert is worth more soon than in company.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// The pause before a broker that was away is asked again.
const BROKER_PAUSE: Duration = Duration::from_secs(1);

/// Why the worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The section `[alert]` cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A destination's HTTP client cannot be made.
    #[error("alert.destinations {name:?}: cannot make its client: {reason}")]
    Client {
        /// The destination.
        name: String,
        /// What the client library said.
        reason: String,
    },
    /// Kafka.
    #[error(transparent)]
    Stream(#[from] stream::Error),
    /// ClickHouse refused what it was asked.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The metrics are registered already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A defect: something that must not happen did.
    #[error("{0}")]
    Broken(String),
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Error {
        match stopped {
            Stopped::Ledger(error) => Error::Store(error),
            Stopped::Panicked(_) => Error::Broken(stopped.to_string()),
        }
    }
}

/// What the worker works with.
pub struct Wiring {
    /// Where Kafka is.
    pub kafka: KafkaConfig,
    /// Where ClickHouse is; its tables are there.
    pub store: Store,
    /// Where metrics are declared.
    pub registry: Registry,
    /// What the worker says of its part in its group.
    pub membership: watch::Sender<Membership>,
    /// Becomes true when the worker is to stop.
    pub shutdown: watch::Receiver<bool>,
}

/// Delivers alerts until `wiring.shutdown` says stop. Requests under way then have
/// `drain_seconds` to end; what is not done goes on at the next start.
///
/// # Errors
/// Whatever cannot get better by waiting: a configuration, a table that is missing. A broker, a
/// ClickHouse or a destination that is away is waited for.
///
/// The future comes boxed, so that its code is made here, once, and not in each crate that awaits it.
pub fn run(config: Config, wiring: Wiring) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
    Box::pin(run_until_stopped(config, wiring))
}

async fn run_until_stopped(config: Config, wiring: Wiring) -> Result<(), Error> {
    let Wiring {
        kafka,
        store,
        registry,
        membership,
        mut shutdown,
    } = wiring;
    let endpoints = config.endpoints()?;
    let policy = config.policy()?;
    announce(&endpoints);
    let metrics = AlertMetrics::register(&registry)?;
    let consumer_metrics = ConsumerMetrics::register(&registry, "alert")?;
    let clock = Clock::wall();
    let mut lanes = Vec::with_capacity(endpoints.len());
    let schedule = config.schedule().map_err(ConfigError::from)?;
    let means = Means {
        telling: Arc::new(config.telling()?),
        retry_after_cap: Duration::from_secs(config.retry_after_max_seconds),
        clock: clock.clone(),
    };
    for endpoint in endpoints {
        lanes.push(lane(&config, &schedule, endpoint, &means)?);
    }
    let bounds = Bounds {
        max_uncommitted: config.max_uncommitted,
        recorder_queue: config.recorder_queue,
        drain: Duration::from_secs_f64(config.drain_seconds),
        breaker: config.breaker.clone(),
        look: Duration::from_secs_f64(config.look_seconds),
    };
    // Made before the engine: with a topic that cannot be had nothing is begun.
    let partition_count = tokio::select! {
        count = partition_count(&kafka) => count?,
        _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
    };
    info!(partition_count, topic = topics::ALERTS, "waiting for alerts");
    let mut options = ConsumerOptions::new(&config.group, topics::ALERTS, StartFrom::Committed);
    options.batch_wait = BATCH_WAIT;
    let (handle, events) = consume(&kafka, options, consumer_metrics)?;
    let (engine, failure) = Engine::start(store, policy, lanes, bounds, metrics.clone(), clock);
    let fence = handle.clone();
    engine.fenced_by(move |partition| fence.is_owned(partition));
    let mut worker = Worker {
        engine,
        failure,
        handle: handle.clone(),
        kafka,
        metrics,
        membership,
        shutdown,
    };
    let ended = worker.turn(events).await;
    worker.membership.send_replace(Membership::Away);
    if ended.is_ok() {
        let owned = worker.handle.assigned();
        worker.engine.release(&owned).await;
        worker.commit();
    }
    drop(worker);
    handle.shutdown().await;
    ended
}

fn announce(endpoints: &[Endpoint]) {
    if endpoints.is_empty() {
        info!("no destination is configured, alerts are sent nowhere; add one under [[alert.destinations]]");
    }
    for endpoint in endpoints {
        let (host, kind) = (endpoint.settings.host(), endpoint.kind.as_str());
        info!(destination = endpoint.name, kind, host, "alerts are sent");
        if endpoint.settings.is_in_the_clear() && !endpoint.allow_private_addresses {
            warn!(
                destination = endpoint.name,
                "the connection is not encrypted, whoever is on the way can read the alerts"
            );
        }
    }
}

fn lane(
    config: &Config,
    schedule: &Schedule,
    endpoint: Endpoint,
    means: &Means,
) -> Result<(Lane, Sender), Error> {
    let name = endpoint.name.clone();
    let limits = Limits {
        destination: name.clone(),
        queue: endpoint.queue,
        concurrency: endpoint.concurrency,
        rate_per_second: endpoint.rate_per_second,
        schedule: schedule.clone(),
        set_aside: Duration::from_secs_f64(config.set_aside_seconds),
        reload_pause: Duration::from_secs_f64(config.reload_seconds),
        circuit: config.circuit(),
    };
    let sender = Sender::new(&endpoint, means).map_err(|error| Error::Client {
        name,
        reason: error.to_string(),
    })?;
    Ok((Lane::new(limits), sender))
}

/// How many partitions `mimamori.alerts` has; it is made when it is missing. Waits for the broker.
async fn partition_count(kafka: &KafkaConfig) -> Result<i32, stream::Error> {
    let mut spec = TopicSpec::new(topics::ALERTS, topics::DEFAULT_PARTITIONS);
    for known in topics::all(topics::DEFAULT_PARTITIONS) {
        if known.name == topics::ALERTS {
            spec = known;
        }
    }
    let asked = spec.partitions;
    spec.partitions_must_match = true;
    let specs = [spec];
    loop {
        match stream::ensure_topics(kafka, &specs).await {
            Ok(()) => return Ok(asked),
            Err(stream::Error::PartitionCount { found, .. }) => return Ok(found),
            Err(error @ stream::Error::NoBroker { .. }) => {
                warn!(%error, "cannot look up the topic of the alerts, trying again");
                tokio::time::sleep(BROKER_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

struct Worker<L> {
    engine: Engine<L>,
    failure: oneshot::Receiver<Stopped>,
    handle: ConsumerHandle,
    kafka: KafkaConfig,
    metrics: AlertMetrics,
    membership: watch::Sender<Membership>,
    shutdown: watch::Receiver<bool>,
}

impl<L: Ledger> Worker<L> {
    async fn turn(&mut self, mut events: ConsumerEvents) -> Result<(), Error> {
        let mut shutdown = self.shutdown.clone();
        loop {
            // Whoever could say stop is gone, or has said it: either way this is the end.
            let event = tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
                stopped = failed(&mut self.failure) => return Err(stopped.into()),
                () = self.engine.progress() => None,
                event = events.recv() => match event {
                    Some(event) => Some(event),
                    None => return Ok(()),
                },
            };
            if let Some(event) = event {
                tokio::select! {
                    biased;
                    _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
                    stopped = failed(&mut self.failure) => return Err(stopped.into()),
                    handled = handle_event(&self.engine, &self.handle, &self.kafka, &self.metrics, &self.membership, event) => handled?,
                }
            }
            self.commit();
        }
    }

    fn commit(&self) {
        let positions = self.engine.take_moved();
        if !positions.is_empty() {
            self.handle.commit(&positions);
        }
    }
}

async fn failed(failure: &mut oneshot::Receiver<Stopped>) -> Stopped {
    match failure.await {
        Ok(stopped) => stopped,
        // The engine holds the tasks as long as it lives, so they have not ended.
        Err(_) => std::future::pending().await,
    }
}

async fn handle_event<L: Ledger>(
    engine: &Engine<L>,
    handle: &ConsumerHandle,
    kafka: &KafkaConfig,
    metrics: &AlertMetrics,
    membership: &watch::Sender<Membership>,
    event: ConsumerEvent,
) -> Result<(), Error> {
    match event {
        ConsumerEvent::Assigned(partitions) => {
            let partition_count = partition_count(kafka).await?;
            info!(
                ?partitions,
                partition_count, "delivering the alerts of partitions"
            );
            engine.assign(&partitions, partition_count);
            membership.send_replace(Membership::Joined(handle.clone()));
        }
        ConsumerEvent::Records(records) => {
            let arrivals = records.iter().map(|record| arrival(record, metrics)).collect();
            engine.submit(arrivals).await?;
        }
        ConsumerEvent::Revoked { partitions, drained } => {
            engine.release(&partitions).await;
            handle.commit(&engine.take_moved());
            engine.forget(&partitions);
            info!(?partitions, "gave partitions away");
            // Gone after the deadline: then nobody waits.
            let _late = drained.send(());
        }
        ConsumerEvent::Lost(partitions) => {
            warn!(?partitions, "lost partitions; some deliveries may be made twice");
            engine.forget(&partitions);
        }
        ConsumerEvent::Failed(error) => return Err(error.into()),
    }
    Ok(())
}

fn arrival(record: &Record, metrics: &AlertMetrics) -> Arrival {
    let change = match AlertChange::decode(record.payload.as_slice()) {
        Ok(change) if !change.alert_id.is_empty() && !change.account_id.is_empty() => Some(change),
        Ok(_) => {
            pass_over(record, metrics, "it names no alert or no account");
            None
        }
        Err(error) => {
            pass_over(record, metrics, &error.to_string());
            None
        }
    };
    Arrival {
        partition: record.partition,
        offset: record.offset,
        change,
    }
}

fn pass_over(record: &Record, metrics: &AlertMetrics, reason: &str) {
    let Record {
        partition, offset, ..
    } = record;
    error!(
        partition,
        offset, reason, "passing over a record that is no alert"
    );
    metrics.undecodable.inc();
}
