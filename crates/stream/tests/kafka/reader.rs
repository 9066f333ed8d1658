//! Looking at a topic from outside of any group.

use std::time::Duration;

use stream::{KafkaConfig, Outgoing, Producer, Record, Scan, Span, StartFrom, TopicReader};

use crate::support::{GROUP, PATIENCE, bed, committed, fill, join, values};

async fn all(mut scan: Scan) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(batch) = tokio::time::timeout(PATIENCE, scan.next())
        .await
        .unwrap()
        .unwrap()
    {
        records.extend(batch);
    }
    records
}

async fn send(producer: &Producer, outgoing: Outgoing<'_>) -> (i32, i64) {
    producer.send_record(&outgoing).unwrap().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_ends_where_the_topic_ended_when_it_was_opened() {
    let bed = bed("t", 3).await;
    fill(&bed.config(), "t", 3, 0, 3_000).await;
    let reader = TopicReader::open(&bed.config(), GROUP, "t").await.unwrap();
    fill(&bed.config(), "t", 3, 3_000, 500).await;

    let scan = reader.read(reader.spans()).unwrap();
    assert_eq!(scan.total(), 3_000);
    let records = all(scan).await;
    assert_eq!(values(&records), (0..3_000).collect::<Vec<_>>());
    for partition in 0..3 {
        let offsets: Vec<i64> = records
            .iter()
            .filter(|record| record.partition == partition)
            .map(|record| record.offset)
            .collect();
        assert!(
            !offsets.is_empty() && offsets.is_sorted(),
            "partition {partition}"
        );
    }
    assert_eq!(records[0].headers[0].0, "n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_takes_no_part_in_the_group_whose_name_it_uses() {
    let bed = bed("t", 2).await;
    fill(&bed.config(), "t", 2, 0, 100).await;
    let mut member = join(&bed.config(), "t", StartFrom::Committed);
    assert_eq!(member.assigned().await, [0, 1]);
    member.records(100).await;

    let reader = TopicReader::open(&bed.config(), GROUP, "t").await.unwrap();
    assert_eq!(all(reader.read(reader.spans()).unwrap()).await.len(), 100);
    fill(&bed.config(), "t", 2, 100, 10).await;
    assert_eq!(values(&member.records(10).await), (100..110).collect::<Vec<_>>());
    assert_eq!(member.metric("mimamori_consumer_rebalances_total"), 1.0);
    assert_eq!(committed(&bed.config(), "t", 0), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_records_are_read_in_the_order_asked_for_and_what_is_not_there_is_left_out() {
    let bed = bed("t", 2).await;
    let producer = Producer::new(&bed.config()).unwrap();
    for (partition, count) in [(0, 20), (1, 5)] {
        for number in 0..count {
            let value = format!("{partition}:{number}");
            let outgoing = Outgoing {
                topic: "t",
                partition: Some(partition),
                payload: value.as_bytes(),
                ..Outgoing::default()
            };
            assert_eq!(send(&producer, outgoing).await, (partition, number));
        }
    }
    let reader = TopicReader::open(&bed.config(), GROUP, "t").await.unwrap();
    let ends: Vec<(i64, i64)> = reader.spans().iter().map(|span| (span.first, span.end)).collect();
    assert_eq!(ends, [(0, 20), (0, 5)]);
    let one = |partition, offset| Span {
        partition,
        first: offset,
        end: offset + 1,
    };
    let asked = [one(0, 19), one(0, 3), one(1, 4), one(1, 77), one(0, 4), one(0, 3)];
    let found = all(reader.read(&asked).unwrap()).await;
    let of = |partition: i32| -> Vec<String> {
        found
            .iter()
            .filter(|record| record.partition == partition)
            .map(|record| String::from_utf8(record.payload.clone()).unwrap())
            .collect()
    };
    assert_eq!(of(0), ["0:19", "0:3", "0:4", "0:3"]);
    assert_eq!(of(1), ["1:4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_since_a_time_begins_with_the_first_record_of_it() {
    let bed = bed("t", 2).await;
    let producer = Producer::new(&bed.config()).unwrap();
    for number in 0..10_i64 {
        let value = number.to_string();
        let outgoing = Outgoing {
            topic: "t",
            partition: Some(i32::from(number >= 8)),
            timestamp_ms: Some(1_000_000 + number * 1_000),
            payload: value.as_bytes(),
            ..Outgoing::default()
        };
        send(&producer, outgoing).await;
    }
    let reader = TopicReader::open(&bed.config(), GROUP, "t").await.unwrap();
    for (since, expected) in [
        (i64::MIN, 0..10),
        (1_000_000, 0..10),
        (1_004_001, 5..10),
        (1_009_000, 9..10),
        (1_009_001, 10..10),
    ] {
        let spans = reader.since(since).await.unwrap();
        let records = all(reader.read(&spans).unwrap()).await;
        assert_eq!(values(&records), expected.collect::<Vec<_>>(), "since {since}");
        let timed = records.iter().all(|record| record.timestamp_ms >= Some(since));
        assert!(timed, "since {since}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_owner_makes_the_reading_wait_and_one_that_is_gone_ends_it() {
    let bed = bed("t", 1).await;
    let producer = Producer::new(&bed.config()).unwrap();
    let value = vec![b'x'; 256 * 1024];
    let mut deliveries = Vec::new();
    for _ in 0..160 {
        deliveries.push(producer.send_waiting("t", None, &value, &[]).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    // Longer than the reader is patient with the broker: waiting for the owner does not count.
    let config = KafkaConfig {
        request_timeout_ms: 1_000,
        ..bed.config()
    };
    let reader = TopicReader::open(&config, GROUP, "t").await.unwrap();
    let mut scan = reader.read(reader.spans()).unwrap();
    let mut read = 0;
    let mut largest = 0;
    let begun = std::time::Instant::now();
    while let Some(batch) = scan.next().await.unwrap() {
        if begun.elapsed() < Duration::from_millis(1_500) {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        largest = largest.max(batch.len());
        read += batch.len();
    }
    assert_eq!(read, 160);
    assert!(largest <= 5, "{largest} records of 256 KiB in a batch");

    // The test would not end if the reading did not: the runtime waits for it.
    let mut scan = reader.read(reader.spans()).unwrap();
    assert!(scan.next().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_and_a_broker_that_goes_away_are_told() {
    let bed = bed("t", 1).await;
    let missing = TopicReader::open(&bed.config(), GROUP, "other").await;
    let missing = missing.unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("topic other: the broker has no such topic"),
        "{missing}"
    );

    fill(&bed.config(), "t", 1, 0, 10).await;
    let config = KafkaConfig {
        request_timeout_ms: 1_000,
        ..bed.config()
    };
    let reader = TopicReader::open(&config, GROUP, "t").await.unwrap();
    bed.broker.shutdown().await.unwrap();
    let mut scan = reader.read(reader.spans()).unwrap();
    let gone = tokio::time::timeout(PATIENCE, scan.next())
        .await
        .unwrap()
        .unwrap_err();
    assert!(gone.to_string().contains("kafka.request_timeout_ms"), "{gone}");
}
