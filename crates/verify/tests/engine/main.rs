//! The SQL against the real engine: small lives whose numbers are worked out by hand from
//! `docs/numbers.md`, in the comments beside them.
//!
//! To test against a server that runs already, give its address in `MIMAMORI_TEST_CLICKHOUSE_URL`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../store/tests/engine/engine.rs"]
mod engine;
mod life;
mod people;
mod proof;
mod scores;
mod stages;
mod use_of;
mod zones;
