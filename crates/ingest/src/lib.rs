//! The ingest worker: raw events in, validated and re-keyed events out.
//!
//! What this crate keeps true:
//!
//! - The offset of a raw record is committed only when the broker has acknowledged what became of
//!   it (the accepted event, or the rejected original) and of every record before it in its
//!   partition. So no record is lost whatever dies; after a crash some are sent twice, and the
//!   event's id tells the copies apart downstream.
//! - No record is skipped, and none stops the worker: one that cannot be decoded goes to
//!   `mimamori.rejected` as it came, with the reason; one that the broker refuses is sent again
//!   until it is taken.
//! - An account's events go to one partition of `mimamori.events`, whatever partition and key they
//!   had before.
//! - What is in flight is bounded in records and in bytes; beyond it consumption waits.

mod config;
pub mod in_flight;
mod metrics;
mod outgoing;
mod worker;

pub use config::Config;
pub use metrics::Outcome;
pub use outgoing::source;

use prometheus::Registry;
use std::pin::Pin;
use std::time::Instant;
use stream::KafkaConfig;
use tokio::sync::watch;

/// Why the worker ended, or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The section `[ingest]` cannot be used.
    #[error("ingest: {0}")]
    Config(String),
    /// Kafka cannot be worked with.
    #[error(transparent)]
    Stream(#[from] stream::Error),
    /// A metric could not be registered: another ingest worker uses the registry.
    #[error("ingest: metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Whether the worker does its work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Readiness {
    /// The broker has not answered yet, or the worker has ended.
    #[default]
    Away,
    /// It is connected, and what it sends is being acknowledged.
    Ready,
    /// What it sent has not been acknowledged for `stall_ms`: it consumes at most until `max_in_flight`
    /// is full, and goes on by itself when the broker does.
    Stalled {
        /// Since when the oldest record waits.
        since: Instant,
        /// How many wait.
        records: usize,
    },
    /// No broker has answered for `kafka.silent_after_ms`; it goes on by itself when one does.
    Silent {
        /// When the last one did.
        since: Instant,
    },
}

impl Readiness {
    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        *self == Readiness::Ready
    }

    /// Why it is not ready.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Readiness::Ready => Ok(()),
            Readiness::Away => Err("waiting for the Kafka broker's first answer".to_owned()),
            Readiness::Stalled { since, records } => Err(format!(
                "Kafka has acknowledged nothing for {} s, {records} records wait: consumption waits with them",
                since.elapsed().as_secs()
            )),
            Readiness::Silent { since } => Err(format!(
                "no Kafka broker has answered for {} s: nothing is consumed until one does",
                since.elapsed().as_secs()
            )),
        }
    }
}

/// What the worker works with.
pub struct Wiring {
    /// Where Kafka is.
    pub kafka: KafkaConfig,
    /// Where metrics are declared.
    pub registry: Registry,
    /// What the worker says of itself.
    pub ready: watch::Sender<Readiness>,
    /// Becomes true when the worker is to stop.
    pub shutdown: watch::Receiver<bool>,
}

/// Runs until `shutdown` holds `true` (or its sender is gone), then sends what is in flight, commits
/// and leaves the group, within `drain_timeout_ms` and 2 s.
///
/// A broker that is away is waited for, at the start as later; `ready` says so.
///
/// # Errors
/// When the configuration cannot be used, and when Kafka refuses for good (no permission, a fatal
/// error of the client).
///
/// The future comes boxed, so that its code is made here, once, and not in each crate that awaits it.
pub fn run(config: Config, wiring: Wiring) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
    Box::pin(run_until_stopped(config, wiring))
}

async fn run_until_stopped(config: Config, wiring: Wiring) -> Result<(), Error> {
    let Wiring {
        kafka,
        registry,
        ready,
        shutdown,
    } = wiring;
    let result = worker::run(config, kafka, &registry, &ready, shutdown).await;
    ready.send_replace(Readiness::Away);
    result
}
