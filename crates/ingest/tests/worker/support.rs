//! A broker with the topics, a worker, and readers of what came out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use embedded::kafka::Broker;
use event::{Event, wire};
use ingest::{Config, Error, Readiness};
use prometheus::Registry;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use stream::{
    ConsumerEvent, ConsumerEvents, ConsumerHandle, ConsumerMetrics, ConsumerOptions, KafkaConfig, Producer,
    Record, StartFrom, TopicSpec, consume, ensure_topics, topics,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Nothing that is waited for takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub const RAW_PARTITIONS: i32 = 4;

pub struct Bed {
    pub broker: Broker,
    pub folder: TempDir,
    pub producer: Producer,
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

pub async fn bed() -> Bed {
    bed_of(topics::all(16)).await
}

/// With these bounds of a record in the raw topic and in that of rejects.
pub async fn bed_with(raw_bytes: usize, rejected_bytes: usize) -> Bed {
    let mut specs = topics::all(16);
    for spec in &mut specs {
        let bytes = match spec.name.as_str() {
            topics::RAW => raw_bytes,
            topics::REJECTED => rejected_bytes,
            _ => continue,
        };
        spec.config = vec![("max.message.bytes".to_owned(), bytes.to_string())];
    }
    bed_of(specs).await
}

async fn bed_of(mut specs: Vec<TopicSpec>) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), None).await;
    let kafka = kafka(&broker);
    specs[0].partitions = RAW_PARTITIONS;
    ensure_topics(&kafka, &specs).await.unwrap();
    let producer = Producer::new(&kafka).unwrap();
    Bed {
        broker,
        folder,
        producer,
    }
}

pub fn kafka(broker: &Broker) -> KafkaConfig {
    KafkaConfig {
        lag_interval_ms: 100,
        ..KafkaConfig::at(broker.address().to_string())
    }
}

impl Bed {
    pub fn kafka(&self) -> KafkaConfig {
        kafka(&self.broker)
    }

    /// Sends raw records and waits until all are acknowledged.
    pub async fn send(&self, payloads: impl IntoIterator<Item = String>) {
        send(&self.producer, payloads).await;
    }

    pub fn worker(&self) -> Worker {
        worker(Config::default(), self.kafka())
    }

    pub fn committed(&self) -> i64 {
        committed(&self.kafka())
    }
}

pub async fn send(producer: &Producer, payloads: impl IntoIterator<Item = String>) {
    let mut deliveries = Vec::new();
    for (number, payload) in payloads.into_iter().enumerate() {
        // A key as a product app may choose it: nothing to do with the account.
        let key = format!("request-{number}");
        let sent = producer
            .send_waiting(topics::RAW, Some(key.as_bytes()), payload.as_bytes(), &[])
            .await;
        deliveries.push(sent.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

/// The sum over the partitions of what the worker's group has committed of the raw topic.
pub fn committed(kafka: &KafkaConfig) -> i64 {
    let asker: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", Config::default().group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..RAW_PARTITIONS {
        list.add_partition(topics::RAW, partition);
    }
    let list = asker.committed_offsets(list, Duration::from_secs(10)).unwrap();
    list.elements()
        .iter()
        .map(|element| match element.offset() {
            Offset::Offset(next) => next,
            _ => 0,
        })
        .sum()
}

/// A worker that runs.
pub struct Worker {
    pub task: JoinHandle<Result<(), Error>>,
    pub shutdown: watch::Sender<bool>,
    pub ready: watch::Receiver<Readiness>,
    pub registry: Registry,
}

pub fn worker(config: Config, kafka: KafkaConfig) -> Worker {
    let registry = Registry::new();
    let (shutdown, stopping) = watch::channel(false);
    let (ready_sender, ready) = watch::channel(Readiness::default());
    let task = {
        let registry = registry.clone();
        tokio::spawn(async move {
            ingest::run(
                config,
                ingest::Wiring {
                    kafka,
                    registry,
                    ready: ready_sender,
                    shutdown: stopping,
                },
            )
            .await
        })
    };
    Worker {
        task,
        shutdown,
        ready,
        registry,
    }
}

impl Worker {
    pub async fn stop(self) {
        self.shutdown.send_replace(true);
        let ended = tokio::time::timeout(Duration::from_secs(5), self.task).await;
        ended.expect("it stops within 5 s").unwrap().unwrap();
    }

    /// The sum of a metric over the labels that contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.into_iter().flat_map(|family| family.get_metric());
        metrics
            .filter(|metric| label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label))
            .map(|metric| metric.get_gauge().get_value() + metric.get_counter().get_value())
            .sum()
    }
}

/// Reads a topic from its beginning.
pub struct Reader {
    _handle: ConsumerHandle,
    events: ConsumerEvents,
    pub records: Vec<Record>,
}

impl Reader {
    pub fn of(topic: &str, kafka: &KafkaConfig) -> Reader {
        let metrics = ConsumerMetrics::register(&Registry::new(), "reader").unwrap();
        let group = format!("reader-of-{topic}");
        let (handle, events) = consume(
            kafka,
            ConsumerOptions::new(group, topic, StartFrom::Committed),
            metrics,
        )
        .unwrap();
        Reader {
            _handle: handle,
            events,
            records: Vec::new(),
        }
    }

    /// Reads on until `enough`.
    pub async fn until(&mut self, what: &str, mut enough: impl FnMut(&[Record]) -> bool) -> &[Record] {
        let deadline = Instant::now() + PATIENCE;
        while !enough(&self.records) {
            let event = tokio::time::timeout_at(deadline, self.events.recv()).await;
            match event.unwrap_or_else(|_| panic!("not in time: {what}; {} records", self.records.len())) {
                Some(ConsumerEvent::Records(records)) => self.records.extend(records),
                Some(_) => {}
                None => panic!("the reader ended"),
            }
        }
        &self.records
    }

    /// How often each event id came out, once `count` different ones have.
    pub async fn ids(&mut self, count: usize) -> BTreeMap<String, usize> {
        self.until(&format!("{count} ids"), |records| ids(records).len() >= count)
            .await;
        ids(&self.records)
    }
}

pub fn decode(record: &Record) -> Event {
    wire::decode(&record.payload).unwrap()
}

fn ids(records: &[Record]) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for record in records {
        *ids.entry(decode(record).event_id).or_default() += 1;
    }
    ids
}

/// A login that happened an hour before now.
pub fn login(id: usize, account: &str) -> String {
    let at = now_ms() - 3_600_000;
    format!(
        r#"{{"event_id":"e{id}","account_id":"{account}","user_id":"u","type":"login","occurred_at":{at}}}"#
    )
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test plays the product app, which has a clock"
)]
pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
