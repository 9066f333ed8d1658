//! The collector as its clients meet it: over TCP, with the embedded broker and engine behind it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod actions;
mod bodies;
mod documented;
mod door;
#[path = "../../../store/tests/engine/engine.rs"]
mod engine;
mod keys;
mod malformed;
mod outages;
mod sdks;
mod streams;
mod support;
