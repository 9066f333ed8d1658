//! Sending against a broker: librdkafka's mock cluster, which speaks the protocol over TCP.

#![allow(clippy::unwrap_used, reason = "all of this file is tests, the helpers too")]

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use simulate::{Config, Kind, live, send, send_live, simulate};
use stream::{KafkaConfig, Producer};
use tokio::sync::watch;

/// 2026-11-20T03:00:00Z.
const UNTIL: i64 = 1_795_143_600_000;
const PARTITIONS: i32 = 3;
const TOPIC: &str = "usage.events";
/// Nothing that is waited for takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    cluster
}

fn producer(cluster: &MockCluster<'_, DefaultProducerContext>) -> Producer {
    Producer::new(&KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        ..KafkaConfig::default()
    })
    .unwrap()
}

/// So many records of the topic: keys and payloads.
fn read(cluster: &MockCluster<'_, DefaultProducerContext>, count: usize) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "reader")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions
            .add_partition_offset(TOPIC, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let began = Instant::now();
    let mut records = Vec::new();
    while records.len() < count {
        assert!(
            began.elapsed() < PATIENCE,
            "{} of {count} records came",
            records.len()
        );
        if let Some(record) = consumer.poll(Duration::from_millis(200)) {
            let record = record.unwrap();
            records.push((
                record.key().map(<[u8]>::to_vec),
                record.payload().unwrap().to_vec(),
            ));
        }
    }
    records
}

#[tokio::test]
async fn all_of_a_simulation_arrives_with_the_keys_that_were_meant() {
    let cluster = cluster();
    let config = Config {
        accounts: 4,
        months: 1,
        ..Config::demo(UNTIL)
    };
    let expected: Vec<_> = simulate(&config).unwrap().collect();
    let (_stop, shutdown) = watch::channel(false);

    let mut simulation = simulate(&config).unwrap();
    let mut told = Vec::new();
    let mut progress = |sent: u64, total: u64| told.push((sent, total));
    let summary = send(
        &mut simulation,
        &producer(&cluster),
        TOPIC,
        None,
        &mut progress,
        shutdown,
    )
    .await
    .unwrap();
    assert!(summary.complete);
    assert_eq!(summary.sent, expected.len() as u64);
    let events = expected
        .iter()
        .filter(|emission| emission.kind == Kind::Event)
        .count() as u64;
    assert_eq!(summary.distinct, events);
    assert_eq!(told.last(), Some(&(summary.sent, summary.sent)));
    assert!(told.iter().all(|(sent, total)| sent <= total));
    let accounts: BTreeSet<&str> = expected
        .iter()
        .map(|emission| emission.account_id.as_str())
        .collect();
    assert_eq!(summary.accounts, accounts.len() as u64);

    let count = |records: Vec<(Option<Vec<u8>>, Vec<u8>)>| {
        let mut counted: HashMap<_, u32> = HashMap::new();
        for record in records {
            *counted.entry(record).or_default() += 1;
        }
        counted
    };
    let meant = expected
        .iter()
        .map(|emission| (emission.key().map(<[u8]>::to_vec), emission.payload.clone()))
        .collect();
    assert!(count(read(&cluster, expected.len())) == count(meant));
}

#[tokio::test]
async fn a_rate_is_kept_and_a_shutdown_ends_it() {
    let cluster = cluster();
    let config = Config {
        accounts: 20,
        months: 1,
        ..Config::demo(UNTIL)
    };
    let mut simulation = simulate(&config).unwrap();
    let (stop, shutdown) = watch::channel(false);
    let (rate, enough) = (2_000.0, 2_000);
    let began = Instant::now();
    let mut progress = |_: u64, _: u64| {
        if began.elapsed().as_secs_f64() * rate >= f64::from(enough) {
            stop.send_replace(true);
        }
    };
    let producer = producer(&cluster);
    let sending = send(
        &mut simulation,
        &producer,
        TOPIC,
        Some(rate),
        &mut progress,
        shutdown,
    );
    let summary = tokio::time::timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert!(!summary.complete);
    assert!(
        summary.sent as f64 <= rate * summary.seconds + 10.0,
        "{summary:?}"
    );
    assert!(summary.sent >= 1_000, "{summary:?}");
    // What was counted has landed.
    read(&cluster, summary.sent as usize);
}

#[tokio::test]
async fn a_broker_that_is_away_is_an_error_that_names_the_topic() {
    let cluster = cluster();
    cluster.broker_down(1).unwrap();
    let config = KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        delivery_timeout_ms: 1_000,
        ..KafkaConfig::default()
    };
    let mut simulation = simulate(&Config {
        accounts: 1,
        months: 1,
        ..Config::demo(UNTIL)
    })
    .unwrap();
    let (_stop, shutdown) = watch::channel(false);
    let producer = Producer::new(&config).unwrap();
    let mut unheard = |_: u64, _: u64| {};
    let sending = send(&mut simulation, &producer, TOPIC, None, &mut unheard, shutdown);
    let failed = tokio::time::timeout(PATIENCE, sending)
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(failed.sent, 0);
    assert!(
        failed
            .to_string()
            .starts_with("sending to topic usage.events failed after 0 records: "),
        "{failed}"
    );
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_broker_that_is_away() {
    let cluster = cluster();
    cluster.broker_down(1).unwrap();
    let mut simulation = simulate(&Config {
        accounts: 20,
        months: 1,
        ..Config::demo(UNTIL)
    })
    .unwrap();
    let (stop, shutdown) = watch::channel(false);
    let producer = producer(&cluster);
    let mut progress = |_: u64, _: u64| _ = stop.send_replace(true);
    let sending = send(
        &mut simulation,
        &producer,
        TOPIC,
        Some(100_000.0),
        &mut progress,
        shutdown,
    );
    let summary = tokio::time::timeout(Duration::from_secs(5), sending)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((summary.sent, summary.complete), (0, false));
}

#[tokio::test]
async fn a_live_simulation_sends_what_the_clock_has_reached() {
    let cluster = cluster();
    let config = Config {
        accounts: 10,
        months: 1,
        ..Config::demo(UNTIL)
    };
    let mut expected = live(&config, UNTIL).unwrap();
    // The clock jumps six hours each time it is read, until a day has passed.
    let clock = AtomicI64::new(UNTIL);
    let (stop, shutdown) = watch::channel(false);
    let mut simulation = live(&config, UNTIL).unwrap();
    let now_ms = || {
        let now = clock.fetch_add(6 * 3_600_000, Ordering::Relaxed) + 6 * 3_600_000;
        if now >= UNTIL + 86_400_000 {
            stop.send_replace(true);
        }
        now.min(UNTIL + 86_400_000)
    };
    let producer = producer(&cluster);
    let sent = send_live(&mut simulation, &producer, TOPIC, now_ms, shutdown)
        .await
        .unwrap();
    let due = expected.due(UNTIL + 86_400_000);
    // The shutdown comes with the last reading of the clock: what is due by then may be cut short, no more.
    let before = due
        .iter()
        .filter(|emission| emission.arrives_at <= UNTIL + 64_800_000)
        .count() as u64;
    assert!(before > 0);
    assert!(
        (before..=due.len() as u64).contains(&sent),
        "{before} {sent} {}",
        due.len()
    );
    read(&cluster, sent as usize);
}
