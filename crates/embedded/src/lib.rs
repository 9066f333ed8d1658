//! The embedded engines: a Kafka-protocol log and ClickHouse over HTTP.

pub mod clickhouse;
pub mod kafka;
