//! Kafka: the consumer thread, rebalances, the producer, topics and the partitioner.
//!
//! What this crate keeps true:
//!
//! - A consumer owns a thread of its own. librdkafka's callbacks only put a note into a list; they
//!   never block, never wait for the owner and never panic.
//! - Within one assignment of a partition the offsets handed to the owner strictly increase, and
//!   everything the owner sees (assignments, records, revocations) comes through one queue in the
//!   order in which it happened.
//! - A start or a commit that was decided under an earlier assignment of a partition is dropped:
//!   what the owner knew then may no longer be true.
//! - Memory is bounded: when the owner is slow the partitions are paused, while polling goes on so
//!   that the membership of the group lives.
//! - A key goes to the partition that Kafka's own Java client would choose (`murmur2`).
//! - A [`TopicReader`] looks at a topic from outside of any group: it joins none and commits nothing.
//!
//! Nothing here knows what is inside a record.

mod admin;
mod config;
mod consumer;
mod context;
mod copies;
mod error;
mod group_lag;
mod layout;
mod metrics;
mod numbered;
mod oauth;
mod producer;
mod reader;
mod record;
pub mod topics;

pub use admin::{TopicSpec, check_broker, ensure_topics, librdkafka_features, librdkafka_version};
pub use config::{Compression, KafkaConfig, is_secret_property};
pub use consumer::{
    ConsumerEvent, ConsumerEvents, ConsumerHandle, ConsumerOptions, EARLIEST, Membership, StartFrom, consume,
};
pub use error::Error;
pub use group_lag::GroupLag;
pub use layout::{group_members, grow_topic};
pub use metrics::ConsumerMetrics;
pub use numbered::{NumberedProducer, Receipt};
pub use producer::{Delivered, Delivery, Outgoing, Producer};
pub use reader::{Scan, Span, TopicReader};
pub use record::Record;
