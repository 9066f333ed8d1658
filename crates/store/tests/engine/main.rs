//! What the crate does against the real engine: every migration, insert, query and view.
//!
//! One engine serves all tests of this process, each with a database of its own. To test against a
//! server that runs already, give its address in `MIMAMORI_TEST_CLICKHOUSE_URL`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dead_letters;
mod digests;
mod engine;
mod episodes;
mod faulty;
mod harness;
mod holds;
mod inserts;
mod journey;
mod migrations;
mod numbers;
mod outcomes;
mod probe;
mod queries;
mod rebuild;
mod replay;
mod rows;
mod views;
mod workers;
