//! The aggregate worker: folds the accepted events into accounts, scores them, and lands everything
//! in ClickHouse.
//!
//! What holds, whenever the process is killed: an event is in `events` once, and an account's state
//! is the work of exactly the events up to its offset. It follows from the order of a checkpoint
//! (events, then what is derived from them, then the states, then the checkpoint, then the commit to
//! Kafka) and from what a new owner does: it begins at the checkpoint, folds what lies above each
//! account's offset, and inserts only what has not landed.
//!
//! - [`Core`] is the whole of it as a state machine without IO: what comes in, what is to be done next;
//!   `partition` keeps the accounts of one partition and decides what is folded, evaluated and due;
//! - `worker` turns the wheel, `outlet` does what the core wants done, `upstream` says whether events
//!   are still on their way.

mod action;
mod config;
mod continuity;
mod core;
mod history;
mod metrics;
mod outlet;
mod partition;
pub mod planted;
mod rebuild;
mod rows;
mod upstream;
mod worker;

pub use crate::core::{Core, CoreError, Incoming, Outlook};
pub use action::{Action, Answer, Insert, Lane, Rows, SetAside};
pub use config::Config;
pub use history::Lives;
pub use metrics::Metrics;
pub use partition::{History, HistoryRequest};
pub use rebuild::{RebuildError, RebuildOptions, RebuildPlan, RebuildWiring, Rebuilding, Rebuilt};
pub use upstream::UpstreamConfig;
pub use worker::{Error, Wiring, run};

#[allow(
    clippy::disallowed_methods,
    reason = "a worker is an edge: here is where the wall clock is read"
)]
fn wall_ms() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |elapsed| {
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    })
}
