//! The client against a broker: librdkafka's mock cluster, which speaks the protocol over TCP.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod consumer;
mod producer;
mod support;
