//! The worker against the embedded broker.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod malformed;
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use embedded::kafka::{Fault, On};
use ingest::{Config, Readiness};
use stream::{KafkaConfig, Outgoing, Producer, topics};

use support::{
    RAW_PARTITIONS, Reader, bed, bed_with, broker, committed, decode, eventually, kafka, login, now_ms, send,
    worker,
};

/// Accounts whose murmur2 hashes Kafka's own tests publish.
const ACCOUNTS: &[(&str, i32)] = &[
    ("21", -973_932_308),
    ("foobar", -790_332_482),
    ("a-little-bit-long-string", -985_981_536),
    ("a-little-bit-longer-string", -1_486_304_829),
    ("abc", 479_470_107),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_events_go_to_its_one_partition_whatever_key_they_had() {
    let bed = bed().await;
    let worker = bed.worker();
    let count = 500;
    bed.send((0..count).map(|id| login(id, ACCOUNTS[id % ACCOUNTS.len()].0)))
        .await;

    let mut events = Reader::of(topics::EVENTS, &bed.kafka());
    let ids = events.ids(count).await;
    assert!(
        ids.values().all(|times| *times == 1),
        "nothing went wrong, so nothing came twice"
    );
    for record in &events.records {
        let event = decode(record);
        let (_, hash) = ACCOUNTS
            .iter()
            .find(|(account, _)| *account == event.account_id)
            .unwrap();
        assert_eq!(
            record.partition,
            (hash & 0x7fff_ffff) % 16,
            "{}",
            event.account_id
        );
        assert_eq!(record.key.as_deref(), Some(event.account_id.as_bytes()));
        assert_eq!(event.source, topics::RAW);
        assert!((now_ms() - event.received_at).abs() < 60_000);
    }
    eventually("all is committed", || bed.committed() == count as i64).await;
    assert!(worker.metric("mimamori_ingest_events_total", "accepted") == count as f64);
    assert!(worker.ready.borrow().is_ready());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_invalid_is_kept_as_it_came_with_its_reason() {
    let bed = bed().await;
    let worker = bed.worker();
    let too_old = now_ms() - 401 * 86_400_000;
    let bad: &[(&[u8], &str)] = &[
        (b"{ not json", "not_json"),
        (b"\xff\xfe", "not_utf8"),
        (br#"{"hello":1}"#, "unknown_format"),
        (
            br#"{"event_id":"1","account_id":"a","type":"dance","occurred_at":1}"#,
            "invalid_type",
        ),
        (
            br#"{"event_id":"1","type":"login","occurred_at":1}"#,
            "missing_field",
        ),
        (b"", "not_json"),
    ];
    let old = format!(r#"{{"event_id":"1","account_id":"a","type":"login","occurred_at":{too_old}}}"#);
    let big = vec![b' '; 900_000];
    let mut expected: BTreeMap<(i32, i64), (Vec<u8>, &str)> = BTreeMap::new();
    for (payload, reason) in bad
        .iter()
        .copied()
        .chain([(old.as_bytes(), "too_old"), (&big, "event_too_large")])
    {
        let headers: &[(&str, &[u8])] = &[("source", b"crm"), ("trace", b"\x00\x01")];
        let delivery = bed
            .producer
            .send(topics::RAW, Some(b"their-key"), payload, headers)
            .unwrap();
        expected.insert(delivery.await.unwrap(), (payload.to_vec(), reason));
    }
    // Among them, one that is fine.
    bed.send([login(0, "a")]).await;

    let mut rejected = Reader::of(topics::REJECTED, &bed.kafka());
    let records = rejected
        .until("every reject", |records| records.len() >= expected.len())
        .await
        .to_vec();
    for record in &records {
        let header = |name: &str| {
            let found = record.headers.iter().find(|(header, _)| header == name);
            String::from_utf8(found.unwrap_or_else(|| panic!("no header {name}")).1.clone()).unwrap()
        };
        let place = (
            header("source_partition").parse().unwrap(),
            header("source_offset").parse().unwrap(),
        );
        let (payload, reason) = expected.remove(&place).expect("each once");
        assert_eq!(header("reason"), reason);
        assert_eq!(record.payload, payload, "{reason}");
        assert_eq!(record.key.as_deref(), Some(b"their-key".as_slice()));
        assert_eq!(header("source_topic"), topics::RAW);
        assert!(!header("detail").is_empty());
        assert_eq!(header("original.trace"), "\u{0}\u{1}");
    }
    let mut events = Reader::of(topics::EVENTS, &bed.kafka());
    assert_eq!(events.ids(1).await.len(), 1);
    eventually("rejects are committed as well", || bed.committed() == 9).await;
    assert!(worker.metric("mimamori_ingest_events_total", "crm") == 8.0);
    assert!(worker.metric("mimamori_ingest_rejected_total", "not_json") == 2.0);
    assert!(worker.metric("mimamori_ingest_rejected_total", "too_old") == 1.0);
    worker.stop().await;
}

/// Whoever made the topics made the one of rejects the narrower one.
#[tokio::test(flavor = "multi_thread")]
async fn a_reject_that_is_too_large_itself_is_cut_and_holds_nothing_up() {
    let bed = bed_with(2_000_000, 1_000_000).await;
    let worker = bed.worker();
    let noise = noise(1_200_000);
    let many: Vec<(&str, &[u8])> = noise.chunks(16).map(|value| ("h", value)).collect();
    let one = [("baggage", noise.as_slice())];
    let (key, value): (&[u8], &[u8]) = (b"key", b"not json");
    let poison = [
        (key, noise.as_slice(), [].as_slice()),
        (key, value, one.as_slice()),
        (key, value, many.as_slice()),
        (&noise[..700_000], &noise[700_000..], &[]),
    ];
    let mut sent = BTreeMap::new();
    for (key, payload, headers) in poison {
        let delivery = bed.producer.send(topics::RAW, Some(key), payload, headers);
        sent.insert(delivery.unwrap().await.unwrap(), payload.to_vec());
    }
    let mut good = Vec::new();
    for partition in 0..RAW_PARTITIONS {
        good.push((partition, login(good.len(), "a")));
    }
    for (partition, payload) in &good {
        let record = Outgoing {
            topic: topics::RAW,
            partition: Some(*partition),
            payload: payload.as_bytes(),
            ..Outgoing::default()
        };
        bed.producer.send_record(&record).unwrap().await.unwrap();
    }

    let mut events = Reader::of(topics::EVENTS, &bed.kafka());
    assert_eq!(events.ids(good.len()).await.len(), good.len());
    let all = (sent.len() + good.len()) as i64;
    eventually("everything is committed", || bed.committed() == all).await;
    let mut rejected = Reader::of(topics::REJECTED, &bed.kafka());
    let records = rejected
        .until("every reject", |records| records.len() >= sent.len())
        .await;
    for record in records {
        let header = |name: &str| {
            let found = record.headers.iter().find(|(header, _)| header == name);
            String::from_utf8(found.unwrap_or_else(|| panic!("no header {name}")).1.clone()).unwrap()
        };
        let place = (
            header("source_partition").parse().unwrap(),
            header("source_offset").parse().unwrap(),
        );
        let payload = sent.remove(&place).expect("each once");
        assert!(payload.starts_with(&record.payload));
        assert!(!record.payload.is_empty());
        assert_eq!(header("original_bytes"), payload.len().to_string());
        assert!(record.payload.len() < 300_000 && record.headers.len() < 10);
    }
    assert!(sent.is_empty(), "every one is kept");
    worker.stop().await;
}

/// Bytes that no compression makes fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_produce_and_commit_loses_nothing() {
    let bed = bed().await;
    let count = 2_000;
    bed.send((0..count).map(|id| login(id, &format!("account-{}", id % 50))))
        .await;
    // Whatever it commits gets lost.
    bed.broker
        .faults()
        .inject(On::OffsetCommit, Fault::Close, u32::MAX);
    let first = bed.worker();
    let mut events = Reader::of(topics::EVENTS, &bed.kafka());
    events.ids(count).await;
    // In the middle of its work, without a word.
    first.task.abort();
    assert_eq!(bed.committed(), 0);

    let second = bed.worker();
    let repeated = |records: &[stream::Record]| records.len() >= count + count / 2;
    events
        .until("the second works off the same records", repeated)
        .await;
    bed.broker.faults().clear();
    bed.send((count..count + 10).map(|id| login(id, "after"))).await;
    let ids = events.ids(count + 10).await;
    eventually("all is committed now", || bed.committed() == count as i64 + 10).await;
    assert_eq!(ids.len(), count + 10, "no id is missing and none is made up");
    let twice = ids.values().filter(|times| **times > 1).count();
    assert!(twice > 0, "else the crash came too late to prove anything");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_while_nothing_can_be_delivered() {
    let bed = bed().await;
    let count = 300;
    bed.send((0..count).map(|id| login(id, &format!("account-{id}"))))
        .await;
    bed.broker.faults().inject(On::Produce, Fault::Close, u32::MAX);
    // The client gives up on a record after a second, and so the worker must send it again.
    let kafka = KafkaConfig {
        delivery_timeout_ms: 1_000,
        ..bed.kafka()
    };
    let mut worker = worker(
        Config {
            stall_ms: 1_500,
            ..Config::default()
        },
        kafka,
    );
    eventually("all is in flight", || {
        worker.metric("mimamori_ingest_in_flight", "") == count as f64
    })
    .await;
    eventually("and was sent again", || {
        worker.metric("mimamori_ingest_resent_total", "") >= count as f64
    })
    .await;
    let why = worker
        .ready
        .wait_for(|ready| !ready.is_ready())
        .await
        .unwrap()
        .check();
    let why = why.unwrap_err();
    assert!(
        why.starts_with("Kafka has acknowledged nothing for ")
            && why.contains(&format!("{count} records wait")),
        "{why}"
    );
    assert_eq!(bed.committed(), 0);
    assert!(worker.metric("mimamori_ingest_events_total", "") == 0.0);

    bed.broker.faults().clear();
    let mut events = Reader::of(topics::EVENTS, &bed.kafka());
    assert_eq!(events.ids(count).await.len(), count);
    eventually("all is committed", || bed.committed() == count as i64).await;
    worker.ready.wait_for(Readiness::is_ready).await.unwrap();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_commits_all_that_it_sent() {
    let bed = bed().await;
    let count = 20_000;
    bed.send((0..count).map(|id| login(id, &format!("account-{}", id % 997))))
        .await;
    let first = bed.worker();
    let sent = |worker: &support::Worker| worker.metric("mimamori_ingest_events_total", "accepted");
    eventually("in the middle", || sent(&first) > 1_000.0).await;
    first.stop().await;
    let middle = bed.committed();
    assert!(middle > 1_000, "{middle}");

    let second = bed.worker();
    let mut events = Reader::of(topics::EVENTS, &bed.kafka());
    let ids = events.ids(count).await;
    eventually("all is committed", || bed.committed() == count as i64).await;
    assert!(
        ids.values().all(|times| *times == 1),
        "nothing sent was left uncommitted"
    );
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_the_work_and_hand_over_without_a_double() {
    let bed = bed().await;
    let first = bed.worker();
    let producing = {
        let producer = bed.producer.clone();
        tokio::spawn(async move {
            for from in (0..8_000).step_by(400) {
                send(
                    &producer,
                    (from..from + 400).map(|id| login(id, &format!("account-{}", id % 97))),
                )
                .await;
            }
        })
    };
    let sent = |worker: &support::Worker| worker.metric("mimamori_ingest_events_total", "accepted");
    eventually("the first works", || sent(&first) > 400.0).await;
    let second = bed.worker();
    eventually("the second has its part", || {
        second.metric("mimamori_consumer_partitions", "") == 2.0
    })
    .await;
    producing.await.unwrap();
    bed.send((8_000..8_100).map(|id| login(id, "late"))).await;
    let mut events = Reader::of(topics::EVENTS, &bed.kafka());
    let ids = events.ids(8_100).await;
    eventually("all is committed", || bed.committed() == 8_100).await;
    assert!(sent(&second) > 0.0);
    assert!(
        ids.values().all(|times| *times == 1),
        "drained before the partitions moved"
    );
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_waited_for() {
    let first_broker = bed().await;
    let address = first_broker.broker.address();
    let kafka = KafkaConfig {
        lag_interval_ms: 200,
        ..kafka(&first_broker.broker)
    };
    first_broker.send((0..100).map(|id| login(id, "a"))).await;
    let mut worker = worker(
        Config {
            stall_ms: 1_000,
            ..Config::default()
        },
        kafka.clone(),
    );
    let mut events = Reader::of(topics::EVENTS, &kafka);
    events.ids(100).await;
    let support::Bed {
        broker: first,
        folder,
        producer,
    } = first_broker;
    eventually("all is committed", || committed(&kafka) == 100).await;
    first.shutdown().await.unwrap();
    // Nothing is in flight, and still it is told.
    let why = worker
        .ready
        .wait_for(|ready| !ready.is_ready())
        .await
        .unwrap()
        .check();
    let why = why.unwrap_err();
    assert!(why.starts_with("no Kafka broker has answered for "), "{why}");
    let waiting = producer
        .send(topics::RAW, None, login(100, "a").as_bytes(), &[])
        .unwrap();

    let _again = broker(folder.path(), Some(address)).await;
    waiting.await.unwrap();
    events.ids(101).await;
    eventually("all is committed", || committed(&kafka) == 101).await;
    worker.ready.wait_for(Readiness::is_ready).await.unwrap();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_starts_and_stops_without_any_broker() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let kafka = KafkaConfig {
        connect_timeout_ms: 500,
        ..KafkaConfig::at(free.to_string())
    };
    let mut worker = worker(Config::default(), kafka);
    let became_ready = worker.ready.wait_for(Readiness::is_ready);
    let waited = tokio::time::timeout(Duration::from_secs(1), became_ready)
        .await
        .is_err();
    assert!(waited, "it lives, and is not ready");
    let why = worker.ready.borrow().check().unwrap_err();
    assert!(why.contains("waiting for the Kafka broker"), "{why}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_that_cannot_be_the_receipt_is_not_believed() {
    let bed = bed().await;
    let worker = bed.worker();
    let raw: rdkafka::producer::FutureProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", bed.kafka().brokers)
        .create()
        .unwrap();
    let now = now_ms();
    let (yesterday, years_ago, tomorrow) = (now - 86_400_000, now - 900 * 86_400_000, now + 86_400_000);
    for (id, timestamp) in [yesterday, years_ago, tomorrow].into_iter().enumerate() {
        let payload = format!(
            r#"{{"event_id":"e{id}","account_id":"a","type":"login","occurred_at":{}}}"#,
            now - 2 * 86_400_000
        );
        let record: rdkafka::producer::FutureRecord<'_, [u8], _> =
            rdkafka::producer::FutureRecord::to(topics::RAW)
                .payload(&payload)
                .timestamp(timestamp);
        raw.send(record, Duration::from_secs(5)).await.unwrap();
    }
    let mut events = Reader::of(topics::EVENTS, &bed.kafka());
    events.ids(3).await;
    for record in &events.records {
        let event = decode(record);
        if event.event_id == "e0" {
            assert_eq!(event.received_at, yesterday, "a backlog is not shifted");
        } else {
            assert!((event.received_at - now).abs() < 60_000, "{}", event.event_id);
        }
    }
    worker.stop().await;
}

/// Not a proof but a number: `cargo test --release -p ingest -- --ignored --nocapture throughput`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn throughput() {
    let bed = bed().await;
    let count = 500_000;
    let producer = Producer::new(&bed.kafka()).unwrap();
    send(
        &producer,
        (0..count).map(|id| login(id, &format!("account-{}", id % 5_000))),
    )
    .await;
    let began = std::time::Instant::now();
    let worker = bed.worker();
    let done = || worker.metric("mimamori_ingest_events_total", "accepted");
    eventually("all", || done() >= count as f64).await;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{count} events in {seconds:.2} s: {:.0} a second",
        count as f64 / seconds
    );
    worker.stop().await;
}
