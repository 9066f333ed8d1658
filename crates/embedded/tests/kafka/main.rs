//! The embedded broker as its clients see it: through librdkafka, through sockets, and from a process
//! that is killed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clients;
mod durability;
mod groups;
mod hostile;
mod support;
