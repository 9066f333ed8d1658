//! The collector: events over HTTP, from Segment's SDKs, as CloudEvents and as plain JSON.
//!
//! What is kept true here:
//!
//! - A success is answered only after the broker has acknowledged what became of every event of the
//!   request: the accepted event in `mimamori.events`, or the rejected original in `mimamori.rejected`.
//!   A request that is answered otherwise may be sent again; an event that comes twice counts once.
//! - What is bad about one event is answered with its place, its reason and what would be right, and
//!   does not touch the others.
//! - What all requests together hold is bounded ([`budget`]); beyond it they are refused before they are
//!   read on. No body unfolds beyond its bound, and a stream of lines is read only as fast as the broker
//!   acknowledges.
//! - A write key opens nothing but this, and nothing else opens this, save on loopback while there has
//!   never been a key.
//! - What a client sends is never logged.

mod body;
mod budget;
mod config;
mod cors;
mod handlers;
mod line_stream;
mod lines;
mod meter;
mod metrics;
mod outcome;
mod outlet;
mod refusal;
mod segment;
mod unpack;
mod window;
mod write_keys;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use event::{Door, Reason, Rejection, Violations};
use prometheus::Registry;
use store::Store;
use stream::{KafkaConfig, TopicSpec, check_broker, ensure_topics};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub use config::CollectorConfig;
pub(crate) use outcome::Outcome;
pub use write_keys::{NewWriteKey, WriteKeyKind};

use budget::Budget;
use metrics::CollectorMetrics;
use outlet::Outlet;
use write_keys::WriteKeys;

use crate::readiness::Readiness;
use crate::server::Error;

/// The pause between two tries to find the broker and its topics.
const PREPARE_EVERY: Duration = Duration::from_secs(1);

/// What the collector works with.
pub struct Collection {
    /// Its bounds.
    pub config: CollectorConfig,
    /// What every event goes through on its way in.
    pub door: Door,
    /// The most bytes that one event may take, as it was sent.
    pub max_event_bytes: usize,
    /// Where Kafka is.
    pub kafka: KafkaConfig,
    /// The topics that are made when they are missing.
    pub topics: Vec<TopicSpec>,
}

pub(crate) struct Collector {
    config: CollectorConfig,
    door: Door,
    max_event_bytes: usize,
    keys: WriteKeys,
    budget: Budget,
    outlet: Outlet,
    metrics: CollectorMetrics,
    state: AtomicU8,
}

/// What became of an event.
#[derive(Clone, Copy)]
enum Became {
    /// It goes on, and differs so from the tracking plan of its source.
    Accepted(Violations),
    Rejected(Reason),
}

/// No broker has shown the topics yet.
const AWAY: u8 = 0;
/// What is sent is acknowledged, as far as is known.
const WELL: u8 = 1;
/// What was sent last has not been acknowledged in time.
const SILENT: u8 = 2;

impl Collector {
    /// A collector that may be open while there are no keys, if `may_be_open`.
    pub(crate) fn new(
        collection: &Collection,
        may_be_open: bool,
        registry: &Registry,
    ) -> Result<Arc<Collector>, Error> {
        let config = collection.config.clone();
        if let Some(problem) = config.problem() {
            return Err(Error::Collector(problem));
        }
        let mut kafka = collection.kafka.clone();
        // A record that nobody waits for any more must not hold its place for long, and the queue takes
        // whatever the budget lets through.
        kafka.delivery_timeout_ms = kafka.delivery_timeout_ms.min(config.ack_timeout_ms);
        kafka.linger_ms = config.linger_ms;
        let least_kib = u32::try_from(config.max_in_flight_bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let least_records = u32::try_from(config.max_in_flight_records).unwrap_or(u32::MAX);
        kafka.producer_queue_kib = kafka.producer_queue_kib.max(least_kib);
        kafka.producer_queue_records = kafka.producer_queue_records.max(least_records);
        let outlet = Outlet::new(kafka).map_err(|error| Error::Collector(error.to_string()))?;
        Ok(Arc::new(Collector {
            door: collection.door.clone(),
            max_event_bytes: collection.max_event_bytes,
            keys: WriteKeys::new(may_be_open && config.open_on_loopback),
            budget: Budget::new(&config),
            outlet,
            metrics: CollectorMetrics::register(registry)?,
            state: AtomicU8::new(AWAY),
            config,
        }))
    }

    /// The routes, without the bounds of the API's own.
    pub(crate) fn routes<S: Clone + Send + Sync + 'static>(self: &Arc<Self>) -> Router<S> {
        handlers::routes()
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(self.clone(), cors::cors))
            .with_state(self.clone())
    }

    /// What works in the background for as long as the set lives: reading the keys, and finding the
    /// broker at first.
    pub(crate) fn work(self: &Arc<Self>, store: Store, topics: Vec<TopicSpec>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let collector = self.clone();
        tasks.spawn(async move {
            let mut told = false;
            loop {
                match collector.keys.refresh(&store).await {
                    Ok(()) => told = false,
                    Err(error) if !told => {
                        warn!(%error, "cannot read the write keys; those known stay in force");
                        told = true;
                    }
                    Err(_) => {}
                }
                tokio::time::sleep(collector.config.key_refresh()).await;
            }
        });
        let collector = self.clone();
        tasks.spawn(async move {
            loop {
                collector.look_for_broker(&topics).await;
                tokio::time::sleep(PREPARE_EVERY).await;
            }
        });
        tasks
    }

    /// With what of the collector must be true for the process to be ready.
    pub(crate) fn readiness(self: &Arc<Self>, readiness: Readiness) -> Readiness {
        let collector = self.clone();
        readiness.check("collector", move || {
            match collector.state.load(Ordering::Relaxed) {
                WELL => Ok(()),
                AWAY => Err("waiting for the Kafka broker's first answer".to_owned()),
                _ => Err("Kafka has not acknowledged the last events in time".to_owned()),
            }
        })
    }

    /// Finds the broker at first, and again after it has not acknowledged: without a request nobody else
    /// would notice that it is back.
    async fn look_for_broker(&self, topics: &[TopicSpec]) {
        let state = self.state.load(Ordering::Relaxed);
        let found = match state {
            AWAY => ensure_topics(self.outlet.kafka(), topics).await,
            SILENT => check_broker(self.outlet.kafka()).await,
            _ => return,
        };
        match found {
            Ok(()) => {
                let _ = self
                    .state
                    .compare_exchange(state, WELL, Ordering::Relaxed, Ordering::Relaxed);
                info!("the collector takes events at /v1/");
            }
            Err(error) => warn!(%error, "the collector waits for the broker"),
        }
    }

    fn is_away(&self) -> bool {
        self.state.load(Ordering::Relaxed) == AWAY
    }

    fn acknowledged(&self, became: Became, source: &str, took: Duration) {
        self.state.store(WELL, Ordering::Relaxed);
        self.metrics.count(became, source, took);
    }

    fn unacknowledged(&self) {
        self.state.store(SILENT, Ordering::Relaxed);
    }

    fn too_large(&self, bytes: usize) -> Rejection {
        Rejection {
            reason: Reason::EventTooLarge,
            detail: format!(
                "the event has {bytes} bytes: {} are allowed",
                self.max_event_bytes
            ),
        }
    }
}

/// The clock on the wall, in milliseconds since the epoch.
#[allow(
    clippy::disallowed_methods,
    reason = "the edge where the time of receipt enters"
)]
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
