//! The aggregate worker: folds the accepted events into accounts, scores them, and lands everything
//! in ClickHouse.
//!
//! What holds, whenever the process is killed: an event is in `events` once, and an account's state
//! is the work of exactly the events up to its offset. It follows from the order of a checkpoint
//! (events, then what is derived from them, then the states, then the checkpoint, then the commit to
//! Kafka) and from what a new owner does: it begins at the checkpoint, folds what lies above each
//! account's offset, and inserts only what has not landed.
//!
//! - `partition` keeps the accounts of one partition and decides, without IO, what is
//!   folded, evaluated and due;
//! - `recover` reads a partition's past, `outlet` writes what it found, `upstream` says whether events
//!   are still on their way, `worker` turns the wheel.

mod config;
mod metrics;
mod outlet;
mod partition;
mod recover;
mod rows;
mod upstream;
mod worker;

pub use config::Config;
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
