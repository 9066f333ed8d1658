//! Synthetic customers of a B2B subscription product, with a known truth: for the demo, for tests and for benches.
//!
//! [`simulate`] draws the lives of N accounts over M months (trials, fast and slow onboarding, steady use, seasons,
//! growth, trouble, fading, churn, recovery) and yields their events in native JSON, in the order in which they
//! arrive, with the noise of the real world: duplicates, late events, records that are keyed wrongly or malformed.
//! [`Simulation::truth`] says what each account's life really is. [`live`] goes on with the same accounts in real
//! time. [`send`] and [`send_live`] put either into a Kafka topic.
//!
//! What this crate keeps true:
//! - The same [`Config`] gives the same bytes, on every machine. It reads no clock and no other chance than its seed.
//! - No event is dated or arrives after the end, and none arrives before it occurred.
//! - Those who churn after fading fade *before* they churn; after it they are silent, but for [`CHURN_GRACE_MS`].
//! - Noise changes nothing about the lives.
//! - What is held in memory depends on the number of accounts, not on the number of events.

#![warn(missing_docs)]

mod archetype;
mod calendar;
mod config;
mod draw;
mod engine;
mod life;
mod names;
mod render;
mod rhythm;
mod rng;
mod schedule;
mod script;
mod send;
mod simulation;
mod truth;

pub use archetype::{Archetype, Onboarding, Segment};
pub use config::{Config, ConfigError};
pub use names::{ADVANCED_FEATURES, FEATURES, KEY_FEATURES, MILESTONES, STICKY_ACTIONS, VALUE_EVENT};
pub use send::{SendError, Summary, send, send_live};
pub use simulation::{
    CHURN_GRACE_MS, Emission, Kind, LATE_AFTER_MS, LiveSimulation, MAX_DUE, Simulation, live, simulate,
};
pub use truth::{AccountTruth, TRUTH_COLUMNS, write_truth};
