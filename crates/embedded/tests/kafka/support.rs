//! A broker in a folder of its own, and clients for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use embedded::kafka::{Broker, Config, start};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Nothing in these tests takes longer.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn config(folder: &Path) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.to_owned(),
        default_partitions: 4,
        ..Config::default()
    }
}

pub async fn broker(folder: &Path) -> Broker {
    start(config(folder)).await.unwrap()
}

pub fn client(address: SocketAddr, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address.to_string());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

pub fn producer(address: SocketAddr, settings: &[(&str, &str)]) -> FutureProducer {
    client(address, settings).create().unwrap()
}

pub async fn create_topic(address: SocketAddr, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client(address, &[]).create().unwrap();
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    let made = admin.create_topics(&[topic], &AdminOptions::new()).await.unwrap();
    made[0]
        .as_ref()
        .unwrap_or_else(|error| panic!("topic {name}: {error:?}"));
}

/// Sends numbered records and waits for every acknowledgement.
pub async fn send(producer: &FutureProducer, topic: &str, numbers: std::ops::Range<u32>) {
    let mut waiting = Vec::new();
    for number in numbers {
        let (key, value) = (format!("k{}", number % 17), number.to_string());
        let record = FutureRecord::to(topic).key(&key).payload(&value);
        waiting.push(producer.send_result(record).map_err(|(error, _)| error).unwrap());
    }
    for delivery in waiting {
        delivery.await.unwrap().unwrap();
    }
}

/// Reads a topic from its beginning until `count` records have come, or fails at the deadline; gives the
/// values by partition and offset. Not a word of groups.
pub fn read_topic(
    address: SocketAddr,
    topic: &str,
    partitions: i32,
    count: usize,
) -> BTreeMap<(i32, i64), String> {
    let settings = [("group.id", "unused"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = client(address, &settings).create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut found = BTreeMap::new();
    let began = Instant::now();
    while found.len() < count {
        assert!(
            began.elapsed() < DEADLINE,
            "{} of {count} records of {topic} came",
            found.len()
        );
        if let Some(message) = poll(&consumer) {
            let before = found.insert((message.partition(), message.offset()), value_of(&message));
            assert_eq!(before, None, "an offset came twice");
        }
    }
    found
}

/// The next message, if one is there; a lost connection is the client's to mend.
pub fn poll(consumer: &BaseConsumer) -> Option<BorrowedMessage<'_>> {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
    match consumer.poll(Duration::from_millis(50))? {
        Ok(message) => Some(message),
        Err(KafkaError::MessageConsumption(AllBrokersDown | BrokerTransportFailure)) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The number of records in a topic, by its offsets.
pub fn count_of(address: SocketAddr, topic: &str, partitions: i32) -> i64 {
    let consumer: BaseConsumer = client(address, &[("group.id", "unused")]).create().unwrap();
    let count = |partition| {
        let (low, high) = consumer.fetch_watermarks(topic, partition, DEADLINE).unwrap();
        high - low
    };
    (0..partitions).map(count).sum()
}

pub fn value_of(message: &BorrowedMessage<'_>) -> String {
    String::from_utf8(message.payload().unwrap().to_vec()).unwrap()
}

/// Fails unless the values are exactly the numbers of the range, each once.
pub fn assert_each_once(found: &BTreeMap<(i32, i64), String>, numbers: std::ops::Range<u32>) {
    let mut values: Vec<u32> = found.values().map(|value| value.parse().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, numbers.collect::<Vec<_>>());
}

/// Waits until `reached` holds.
pub async fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < DEADLINE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
