//! Faults against the real thing: Kafka, ClickHouse and mimamori's roles as processes of their own that
//! are killed, stopped or cut off, and an oracle that counts what came of it.
//!
//! `cargo run -p faults -- --help` lists what can be done to them.

pub mod alert_kills;
pub mod apache;
pub mod cluster;
pub mod fill;
pub mod kill_loop;
pub mod oracle;
pub mod outages;
pub mod process;
pub mod producer;
pub mod proxy;
pub mod receiver;
pub mod recovery;
pub mod sent;
pub mod serve;
pub mod topic;

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness is an edge: events happen and are sent now"
)]
pub fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
