//! Making topics, and life with the embedded broker: rebalances in the middle of the stream, a
//! broker that restarts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use embedded::kafka::{Fault, On};
use stream::{ConsumerEvent, Error, KafkaConfig, Producer, StartFrom, TopicSpec, ensure_topics, topics};

use crate::support::{Bed, Member, PATIENCE, bed, broker, eventually, fill, join, values};

#[tokio::test(flavor = "multi_thread")]
async fn missing_topics_are_made_and_existing_ones_are_left() {
    let bed = bed("another", 1).await;
    let config = bed.config();
    ensure_topics(&config, &topics::all(16)).await.unwrap();
    // Served at once: all partitions have a leader.
    let producer = Producer::new(&config).unwrap();
    for topic in [topics::RAW, topics::EVENTS, topics::ALERTS, topics::REJECTED] {
        producer
            .send(topic, Some(b"k"), b"v", &[])
            .unwrap()
            .await
            .unwrap();
    }
    ensure_topics(&config, &topics::all(16)).await.unwrap();

    match ensure_topics(&config, &topics::all(8)).await {
        Err(Error::PartitionCount {
            topic,
            found: 16,
            asked: 8,
        }) => assert_eq!(topic, topics::EVENTS),
        other => panic!("the count must match where the state depends on it: {other:?}"),
    }
    // Where it does not matter, what exists is good enough.
    ensure_topics(&config, &[TopicSpec::new(topics::RAW, 3)])
        .await
        .unwrap();
    let (partition, offset) = producer
        .send(topics::EVENTS, Some(b"k"), b"v", &[])
        .unwrap()
        .await
        .unwrap();
    assert_eq!(offset, 1, "nothing was made anew (partition {partition})");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_and_go_lose_and_double_nothing() {
    const PARTITIONS: i32 = 6;
    let bed = bed("t", PARTITIONS).await;
    let config = bed.config();

    let producing = {
        let config = config.clone();
        tokio::spawn(async move {
            for from in (0..6_000).step_by(200) {
                fill(&config, "t", PARTITIONS, from, 200).await;
            }
        })
    };
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    let mut first = join(&config, "t", StartFrom::Committed);
    take(&mut first, &mut seen, 500).await;
    let mut second = join(&config, "t", StartFrom::Committed);
    let mut third = join(&config, "t", StartFrom::Committed);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while seen.len() < 4_000 {
        assert!(tokio::time::Instant::now() < deadline, "{} of 4000", seen.len());
        tokio::select! {
            event = first.events.recv() => handle(&first, event, &mut seen),
            event = second.events.recv() => handle(&second, event, &mut seen),
            event = third.events.recv() => handle(&third, event, &mut seen),
        }
    }
    assert!(!second.handle.assigned().is_empty() && !third.handle.assigned().is_empty());
    // Each leaves with everything it took committed.
    first.handle.shutdown().await;
    third.handle.shutdown().await;
    take(&mut second, &mut seen, 6_000).await;
    producing.await.unwrap();
    assert_eq!(seen.len(), 6_000);
    let twice = seen.values().filter(|count| **count > 1).count();
    assert_eq!(twice, 0, "drained and committed before they moved");
    assert_eq!(second.handle.assigned().len(), 6);
}

async fn take(member: &mut Member, seen: &mut BTreeMap<usize, usize>, until: usize) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while seen.len() < until {
        let event = tokio::time::timeout_at(deadline, member.events.recv()).await;
        handle(
            member,
            event.unwrap_or_else(|_| panic!("{} of {until}", seen.len())),
            seen,
        );
    }
}

fn handle(member: &Member, event: Option<ConsumerEvent>, seen: &mut BTreeMap<usize, usize>) {
    match event {
        Some(ConsumerEvent::Records(records)) => {
            for value in values(&records) {
                *seen.entry(value).or_default() += 1;
            }
            member.handle.commit(&crate::support::next_offsets(&records));
        }
        Some(ConsumerEvent::Revoked { drained, .. }) => drained.send(()).unwrap(),
        Some(ConsumerEvent::Assigned(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_broker_keeps_the_group_going() {
    let Bed {
        broker: first,
        folder,
    } = bed("t", 2).await;
    let config = KafkaConfig {
        lag_interval_ms: 100,
        ..KafkaConfig::at(first.address().to_string())
    };
    fill(&config, "t", 2, 0, 100).await;
    let mut seen = BTreeMap::new();
    let mut member = join(&config, "t", StartFrom::Committed);
    take(&mut member, &mut seen, 100).await;

    let address = first.address();
    first.shutdown().await.unwrap();
    // Sent into the void, delivered after.
    let producer = Producer::new(&config).unwrap();
    let delivery = producer.send("t", Some(b"k"), b"100", &[]).unwrap();
    let _second = broker(folder.path(), Some(address)).await;
    delivery.await.unwrap();

    let deadline = tokio::time::Instant::now() + PATIENCE;
    while seen.len() < 101 {
        match tokio::time::timeout_at(deadline, member.events.recv())
            .await
            .unwrap()
        {
            Some(ConsumerEvent::Lost(_)) => {}
            event => handle(&member, event, &mut seen),
        }
    }
    eventually("caught up", || {
        (0..2).all(|partition| member.handle.lag(partition) == Some(0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_the_append_does_not_double_a_record() {
    let bed = bed("t", 1).await;
    let config = bed.config();
    let producer = Producer::new(&config).unwrap();
    producer.send("t", None, b"0", &[]).unwrap().await.unwrap();
    bed.broker.faults().inject(On::Produce, Fault::DropAnswer, 3);
    for expected in 1..5 {
        let (_, offset) = producer.send("t", None, b"v", &[]).unwrap().await.unwrap();
        assert_eq!(offset, expected);
    }
    assert_eq!(
        bed.broker.faults().remaining(On::Produce),
        0,
        "the fault did strike"
    );
    producer.flush(Duration::from_secs(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_name_that_is_no_text_stops_nobody() {
    let Bed {
        broker: first,
        folder,
    } = bed("t", 1).await;
    let config = KafkaConfig::at(first.address().to_string());
    let producer = Producer::new(&KafkaConfig {
        compression: stream::Compression::None,
        ..config
    })
    .unwrap();
    let headers: &[(&str, &[u8])] = &[("good", b"1"), ("to-be-broken", b"2")];
    producer.send("t", None, b"0", headers).unwrap().await.unwrap();
    drop(producer);
    first.shutdown().await.unwrap();
    assert!(
        break_header(folder.path(), b"to-be-broken"),
        "the record is in a file"
    );

    let second = broker(folder.path(), None).await;
    let config = KafkaConfig::at(second.address().to_string());
    let mut member = join(&config, "t", StartFrom::Committed);
    member.assigned().await;
    let records = member.records(1).await;
    assert_eq!(records[0].headers, [("good".to_owned(), b"1".to_vec())]);
    fill(&config, "t", 1, 1, 1).await;
    assert_eq!(values(&member.records(1).await), [1]);
}

/// Makes a header's name invalid in the broker's files, as a client in another language could send
/// it. The checksum is corrected: the record batch is right, only the name is not.
fn break_header(folder: &Path, name: &[u8]) -> bool {
    /// Where a record batch keeps the checksum of all that follows it.
    const CHECKSUM: std::ops::Range<usize> = 17..21;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if break_header(&path, name) {
                return true;
            }
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
            bytes[at] = 0xff;
            let checksum = crc32c::crc32c(&bytes[CHECKSUM.end..]);
            bytes[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
            std::fs::write(&path, bytes).unwrap();
            return true;
        }
    }
    false
}
