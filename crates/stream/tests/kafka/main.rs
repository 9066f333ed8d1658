//! The client against a broker over TCP: librdkafka's mock cluster, and the embedded broker for what
//! the mock does not speak.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod consumer;
mod layout;
mod producer;
mod reader;
mod support;
mod topics;
