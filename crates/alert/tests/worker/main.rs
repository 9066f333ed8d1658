//! The worker between a real broker, the real engine and a receiver that checks signatures with
//! another implementation.
//!
//! To test against a ClickHouse that runs already, give its address in `MIMAMORI_TEST_CLICKHOUSE_URL`.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod bed;
mod deliver;
mod digest;
#[path = "../../../store/tests/engine/engine.rs"]
mod engine;
mod flood;
mod ledger;
mod receiver;
