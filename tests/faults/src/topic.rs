//! Topics as they are, looked at by a client of our own that belongs to no group.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

/// How long one request, or the next record, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that looks.
pub struct Topics {
    brokers: String,
}

impl Topics {
    /// At these bootstrap addresses.
    pub fn new(brokers: &str) -> Topics {
        Topics {
            brokers: brokers.to_owned(),
        }
    }

    fn client(&self, group: &str) -> anyhow::Result<BaseConsumer> {
        let client = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_uncommitted")
            .set("allow.auto.create.topics", "false")
            .create()?;
        Ok(client)
    }

    /// First offset and end of each partition; nothing when there is no such topic.
    pub async fn spans(&self, topic: &str) -> anyhow::Result<HashMap<i32, (i64, i64)>> {
        let client = self.client("faults")?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || spans(&client, &topic)).await?
    }

    /// Records that a group has not committed.
    pub async fn lag(&self, group: &str, topic: &str) -> anyhow::Result<i64> {
        let client = self.client(group)?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || {
            let spans = spans(&client, &topic)?;
            let mut partitions = TopicPartitionList::new();
            for partition in spans.keys() {
                partitions.add_partition(&topic, *partition);
            }
            let committed = client.committed_offsets(partitions, PATIENCE)?;
            let mut lag = 0;
            for element in committed.elements() {
                let (first, end) = spans
                    .get(&element.partition())
                    .context("a partition that was asked for")?;
                let done = match element.offset() {
                    Offset::Offset(offset) => offset,
                    _ => *first,
                };
                lag += end - done;
            }
            Ok(lag)
        })
        .await?
    }

    /// Reads a topic from its first record to what is its end now, and shows each record to `see`.
    pub async fn read<T, F>(&self, topic: &str, mut to: T, mut see: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut T, i32, i64, &[u8]) -> anyhow::Result<()> + Send + 'static,
    {
        let client = self.client("faults")?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut left = spans(&client, &topic)?;
            left.retain(|_, (first, end)| end > first);
            let mut assigned = TopicPartitionList::new();
            for partition in left.keys() {
                assigned.add_partition_offset(&topic, *partition, Offset::Beginning)?;
            }
            client.assign(&assigned)?;
            let mut heard_at = Instant::now();
            while !left.is_empty() {
                match client.poll(Duration::from_millis(100)) {
                    Some(Ok(message)) => {
                        heard_at = Instant::now();
                        let Some((_, end)) = left.get(&message.partition()) else {
                            continue;
                        };
                        let is_last = message.offset() + 1 >= *end;
                        see(
                            &mut to,
                            message.partition(),
                            message.offset(),
                            message.payload().unwrap_or_default(),
                        )?;
                        if is_last {
                            left.remove(&message.partition());
                        }
                    }
                    Some(Err(error)) if is_final(&error) => return Err(error.into()),
                    Some(Err(_)) | None if heard_at.elapsed() > PATIENCE => {
                        bail!("nothing more of {topic} came within {PATIENCE:?}, partitions left: {left:?}")
                    }
                    Some(Err(_)) | None => {}
                }
            }
            Ok(to)
        })
        .await?
    }

    /// Refuses a topic that holds something already: what is counted would not be this run's.
    pub async fn ensure_new(&self, topics: &[&str]) -> anyhow::Result<()> {
        for topic in topics {
            let spans = self.spans(topic).await?;
            let held: i64 = spans.values().map(|(first, end)| end - first).sum();
            ensure!(
                held == 0,
                "topic {topic} at {} holds {held} records: give a Kafka that is new",
                self.brokers
            );
        }
        Ok(())
    }
}

fn spans(client: &BaseConsumer, topic: &str) -> anyhow::Result<HashMap<i32, (i64, i64)>> {
    let metadata = client.fetch_metadata(Some(topic), PATIENCE)?;
    let mut spans = HashMap::new();
    for topic in metadata.topics().iter().filter(|found| found.error().is_none()) {
        for partition in topic.partitions() {
            let span = client.fetch_watermarks(topic.name(), partition.id(), PATIENCE)?;
            spans.insert(partition.id(), span);
        }
    }
    Ok(spans)
}

fn is_final(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    code.is_none_or(|code| matches!(code, RDKafkaErrorCode::Fatal | RDKafkaErrorCode::AutoOffsetReset))
}
