//! What can go wrong between us and Kafka.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// An error of this crate. Each names what was wrong, where, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The section `[kafka]` of the configuration cannot be used.
    #[error("kafka.{field}: {problem}")]
    Config {
        /// The field of the section.
        field: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// No broker answered in time.
    #[error(
        "no Kafka broker answers at {brokers} within {seconds} s: start it, or set kafka.brokers to where it \
         listens ({reason})"
    )]
    NoBroker {
        /// The addresses that were tried.
        brokers: String,
        /// How long we waited, in seconds.
        seconds: f64,
        /// librdkafka's last word on it.
        reason: String,
    },
    /// A topic could not be created or looked up.
    #[error("topic {topic}: {reason}")]
    Topic {
        /// The topic's name.
        topic: String,
        /// What the broker said.
        reason: String,
    },
    /// A topic has another number of partitions than its spec demands.
    #[error(
        "topic {topic} has {found} partitions, {asked} are asked for: set the asked number to {found}, or rebuild \
         the state for the new one"
    )]
    PartitionCount {
        /// The topic's name.
        topic: String,
        /// The partitions that it has.
        found: i32,
        /// The partitions that were asked for.
        asked: i32,
    },
    /// The producer holds as many records as it may; wait for deliveries, then send again.
    #[error("the producer's queue is full: wait for deliveries, or raise kafka.producer_queue_records")]
    QueueFull,
    /// A record is larger than the client or the broker takes. Sending it again cannot help.
    #[error("a record of {bytes} bytes for topic {topic} is too large: raise max.message.bytes of the topic")]
    TooLarge {
        /// The topic's name.
        topic: String,
        /// Bytes of key and value.
        bytes: usize,
    },
    /// A record was not acknowledged; it may or may not have landed. Sending it again is right.
    #[error("a record for topic {topic} was not acknowledged: {reason}")]
    Delivery {
        /// The topic's name.
        topic: String,
        /// What librdkafka said.
        reason: String,
    },
    /// The producer is broken for good (its idempotent session ended); make a new one and send what
    /// it had not acknowledged again.
    #[error("the producer cannot go on: {reason}")]
    ProducerFatal {
        /// What librdkafka said.
        reason: String,
    },
    /// The offset that a partition was to start at is not in the log (any more).
    #[error("the start offset is not in the log: {reason}; rebuild the state of that partition")]
    OffsetOutOfRange {
        /// What librdkafka said; names topic, partition and offset.
        reason: String,
    },
    /// The consumer cannot go on.
    #[error("the consumer of topic {topic} in group {group} cannot go on: {reason}")]
    Consumer {
        /// The topic's name.
        topic: String,
        /// The consumer group.
        group: String,
        /// What librdkafka said.
        reason: String,
    },
    /// A metric could not be registered: two workers of one role share a registry.
    #[error("metrics: {0}")]
    Metrics(String),
    /// Anything else that the client library refuses.
    #[error("kafka client: {0}")]
    Client(String),
}

impl From<KafkaError> for Error {
    fn from(error: KafkaError) -> Error {
        match error {
            KafkaError::ClientConfig(_, problem, key, value) => Error::Config {
                field: format!("properties.{key}"),
                problem: format!("{problem} (value {value:?})"),
            },
            other => Error::Client(other.to_string()),
        }
    }
}

/// Whether librdkafka says that a record can never be taken because of its size.
pub(crate) fn is_too_large(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
    )
}
