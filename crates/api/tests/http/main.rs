//! The API as its clients meet it: over TCP, with the real engine behind it where data matter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod accounts;
mod data;
mod documented;
#[path = "../../../store/tests/engine/engine.rs"]
mod engine;
mod limits;
mod outcome;
mod page;
mod quiet;
mod readiness;
mod receipts;
mod support;
