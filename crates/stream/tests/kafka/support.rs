//! What the tests share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use embedded::kafka::Broker;
use prometheus::Registry;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, TopicPartitionList};
use stream::{
    ConsumerEvent, ConsumerEvents, ConsumerHandle, ConsumerMetrics, ConsumerOptions, KafkaConfig, Producer,
    Record, StartFrom, TopicSpec, consume, ensure_topics,
};
use tempfile::TempDir;

/// Nothing that is waited for takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The group of every member.
pub const GROUP: &str = "group";

pub type Cluster = MockCluster<'static, DefaultProducerContext>;

/// librdkafka's mock: for errors on demand. Its groups take seconds to form.
pub fn mock(topic: &str, partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(topic, partitions, 1).unwrap();
    cluster
}

pub fn mock_config(cluster: &Cluster) -> KafkaConfig {
    config_at(&cluster.bootstrap_servers())
}

/// The embedded broker in a folder of its own.
pub struct Bed {
    pub broker: Broker,
    pub folder: TempDir,
}

pub async fn bed(topic: &str, partitions: i32) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), None).await;
    let bed = Bed { broker, folder };
    ensure_topics(&bed.config(), &[TopicSpec::new(topic, partitions)])
        .await
        .unwrap();
    bed
}

impl Bed {
    pub fn config(&self) -> KafkaConfig {
        config_at(&self.broker.address().to_string())
    }
}

pub async fn broker(folder: &Path, listen: Option<SocketAddr>) -> Broker {
    let config = embedded::kafka::Config {
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        data_dir: folder.to_owned(),
        auto_create_topics: false,
        ..embedded::kafka::Config::default()
    };
    embedded::kafka::start(config).await.unwrap()
}

fn config_at(brokers: &str) -> KafkaConfig {
    KafkaConfig {
        lag_interval_ms: 100,
        ..KafkaConfig::at(brokers)
    }
}

pub fn join(config: &KafkaConfig, topic: &str, start: StartFrom) -> Member {
    join_with(config, ConsumerOptions::new(GROUP, topic, start))
}

pub fn join_with(config: &KafkaConfig, options: ConsumerOptions) -> Member {
    let registry = Registry::new();
    let metrics = ConsumerMetrics::register(&registry, "test").unwrap();
    let (handle, events) = consume(config, options, metrics).unwrap();
    Member {
        handle,
        events,
        registry,
    }
}

/// A consumer with its queue.
pub struct Member {
    pub handle: ConsumerHandle,
    pub events: ConsumerEvents,
    pub registry: Registry,
}

impl Member {
    pub async fn next(&mut self) -> ConsumerEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("an event in time").expect("the consumer lives")
    }

    pub async fn assigned(&mut self) -> Vec<i32> {
        match self.next().await {
            ConsumerEvent::Assigned(partitions) => partitions,
            other => panic!("expected an assignment, got {other:?}"),
        }
    }

    /// Waits for so many records, and expects nothing else.
    pub async fn records(&mut self, count: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count {
            match self.next().await {
                ConsumerEvent::Records(batch) => records.extend(batch),
                other => panic!("expected records, got {other:?}"),
            }
        }
        records
    }

    /// The sum of a gauge or counter over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let values = family.into_iter().flat_map(|family| family.get_metric());
        values
            .map(|metric| metric.get_gauge().get_value() + metric.get_counter().get_value())
            .sum()
    }
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends `count` records, numbered from `from` in their values, spread over the partitions by key.
pub async fn fill(config: &KafkaConfig, topic: &str, partitions: i32, from: usize, count: usize) {
    let producer = Producer::new(config).unwrap();
    let mut deliveries = Vec::new();
    for number in from..from + count {
        let key = format!("key-{}", number % 97);
        deliveries.push(
            producer
                .send_waiting(
                    topic,
                    Some(key.as_bytes()),
                    number.to_string().as_bytes(),
                    &[("n", key.as_bytes())],
                )
                .await
                .unwrap(),
        );
    }
    for delivery in deliveries {
        let (partition, _) = delivery.await.unwrap();
        assert!(partition < partitions);
    }
}

/// The highest next offset of each partition.
pub fn next_offsets(records: &[Record]) -> Vec<(i32, i64)> {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for record in records {
        let offset = next.entry(record.partition).or_default();
        *offset = record.offset.max(*offset - 1) + 1;
    }
    next.into_iter().collect()
}

pub fn values(records: &[Record]) -> Vec<usize> {
    let mut values: Vec<usize> = records
        .iter()
        .map(|record| std::str::from_utf8(&record.payload).unwrap().parse().unwrap())
        .collect();
    values.sort_unstable();
    values
}

/// What the group has committed of a partition.
pub fn committed(config: &KafkaConfig, topic: &str, partition: i32) -> Option<i64> {
    let asker: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &config.brokers)
        .set("group.id", GROUP)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let list = asker.committed_offsets(list, Duration::from_secs(10)).unwrap();
    list.elements()[0].offset().to_raw().filter(|offset| *offset >= 0)
}
