//! How far another consumer group is behind, asked from outside of it.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::config::KafkaConfig;
use crate::context::Context;
use crate::error::Error;

/// Asks how many records of a topic a group has not committed. It is no member of the group.
#[derive(Clone)]
pub struct GroupLag {
    consumer: Arc<BaseConsumer<Context>>,
    topic: String,
    timeout: Duration,
}

impl GroupLag {
    /// For this group and topic.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration cannot be used.
    pub fn new(config: &KafkaConfig, group: &str, topic: &str) -> Result<GroupLag, Error> {
        let mut client = config.client()?;
        client.set("group.id", group).set("enable.auto.commit", "false");
        let consumer = client.create_with_context(Context::new(config))?;
        Ok(GroupLag {
            consumer: Arc::new(consumer),
            topic: topic.to_owned(),
            timeout: Duration::from_millis(config.request_timeout_ms),
        })
    }

    /// Records between the group's committed offsets and the ends of the partitions; a partition of
    /// which nothing was committed counts whole.
    ///
    /// # Errors
    /// [`Error::Client`] when the broker does not answer in time.
    pub async fn read(&self) -> Result<i64, Error> {
        let asked = self.clone();
        let read = tokio::task::spawn_blocking(move || asked.read_blocking());
        read.await
            .map_err(|error| Error::Client(format!("reading the lag: {error}")))?
    }

    fn read_blocking(&self) -> Result<i64, Error> {
        // Serves the callbacks: errors, and the token of OAUTHBEARER.
        while self.consumer.poll(Duration::ZERO).is_some() {}
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), self.timeout)?;
        let mut partitions = TopicPartitionList::new();
        for topic in metadata
            .topics()
            .iter()
            .filter(|topic| topic.name() == self.topic)
        {
            for partition in topic.partitions() {
                partitions.add_partition(&self.topic, partition.id());
            }
        }
        let committed = self.consumer.committed_offsets(partitions, self.timeout)?;
        let mut lag = 0;
        for element in committed.elements() {
            let (first, end) =
                self.consumer
                    .fetch_watermarks(&self.topic, element.partition(), self.timeout)?;
            let done = match element.offset() {
                Offset::Offset(offset) => offset.max(first),
                _ => first,
            };
            lag += (end - done).max(0);
        }
        Ok(lag)
    }
}
