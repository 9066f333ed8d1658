//! The HTTP API, the page, and the collector of events.
//!
//! Four things hold here. Nothing but loopback is listened on without an API key. Every answer that is
//! not a success is a problem document (RFC 9457) that says what to do. What is unknown is `null`,
//! never 0. And no request waits or grows without a bound: connections, requests at work, time, body
//! and page size are all limited by [`Config`].

mod account;
mod accounts;
mod actions;
mod alerts;
mod answer;
mod collect;
mod config;
mod dead_letters;
mod drivers;
mod guard;
mod holds;
mod journey;
mod keys;
mod numbers;
mod observe;
mod openapi;
mod outcome;
mod page;
mod params;
mod problem;
mod readiness;
mod receipt;
mod router;
mod schemas;
mod server;
mod times;
mod wishes;
mod words;

#[doc(hidden)]
pub use collect::Sink;
pub use collect::{Collection, CollectorConfig, NewWriteKey, WriteKeyKind, batch_messages};
pub use config::{ApiKey, Config};
pub use readiness::Readiness;
pub use server::{Error, Server, run};
