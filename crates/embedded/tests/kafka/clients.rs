//! Producing, reading and asking, by librdkafka.

use std::time::{Duration, Instant};

use embedded::kafka::{Fault, On, start};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::{
    DEADLINE, assert_each_once, broker, client, config, count_of, create_topic, eventually, producer,
    read_topic, send,
};

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_whatever_their_compression() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        create_topic(broker.address(), &topic, 4, &[]).await;
        let producer = producer(
            broker.address(),
            &[("compression.codec", codec), ("linger.ms", "20")],
        );
        send(&producer, &topic, 0..2_000).await;
        let found = read_topic(broker.address(), &topic, 4, 2_000);
        assert_each_once(&found, 0..2_000);
        let bytes: u64 = walk(&folder.path().join("topics").join(&topic));
        assert_eq!(codec == "none", bytes > 20_000, "{codec}: {bytes} bytes are kept");
    }
    broker.shutdown().await.unwrap();
}

/// Bytes of the log files under a topic's folder.
fn walk(folder: &std::path::Path) -> u64 {
    let mut bytes = 0;
    for partition in std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if partition.is_dir() {
            let logs = std::fs::read_dir(partition).unwrap().map(|entry| entry.unwrap());
            bytes += logs.map(|log| log.metadata().unwrap().len()).sum::<u64>();
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producer_whose_answers_are_lost_stores_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    create_topic(broker.address(), "once", 4, &[]).await;
    create_topic(broker.address(), "twice", 4, &[]).await;
    for (topic, idempotent) in [("once", "true"), ("twice", "false")] {
        let settings = [
            ("enable.idempotence", idempotent),
            ("linger.ms", "1"),
            ("retry.backoff.ms", "20"),
        ];
        let producer = producer(broker.address(), &settings);
        send(&producer, topic, 0..10).await;
        broker.faults().inject(On::Produce, Fault::DropAnswer, 5);
        send(&producer, topic, 10..1_000).await;
        assert_eq!(broker.faults().remaining(On::Produce), 0);
    }
    assert_eq!(count_of(broker.address(), "once", 4), 1_000);
    assert_each_once(&read_topic(broker.address(), "once", 4, 1_000), 0..1_000);
    // The same faults do double the records of a producer that is not idempotent.
    assert!(count_of(broker.address(), "twice", 4) > 1_000);
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_get_over_a_leader_that_moves_a_slow_answer_and_a_closed_connection() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    create_topic(broker.address(), "t", 2, &[]).await;
    let producer = producer(
        broker.address(),
        &[("enable.idempotence", "true"), ("retry.backoff.ms", "20")],
    );
    for fault in [
        Fault::NotLeader,
        Fault::Close,
        Fault::Delay(Duration::from_millis(300)),
    ] {
        broker.faults().inject(On::Produce, fault, 2);
        broker.faults().inject(On::Fetch, fault, 2);
    }
    for round in 0..10 {
        send(&producer, "t", round * 50..round * 50 + 50).await;
    }
    assert_eq!(broker.faults().remaining(On::Produce), 0);
    // A reader may have all records before it has met the last fault; the next one meets it.
    for _ in 0..2 {
        assert_each_once(&read_topic(broker.address(), "t", 2, 500), 0..500);
    }
    assert_eq!(broker.faults().remaining(On::Fetch), 0);
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_fetch_is_answered_as_soon_as_a_record_comes() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    create_topic(broker.address(), "t", 1, &[]).await;
    let settings = [("group.id", "unused"), ("fetch.wait.max.ms", "20000")];
    let consumer: BaseConsumer = client(broker.address(), &settings).create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset("t", 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&assignment).unwrap();
    let producer = producer(broker.address(), &[("linger.ms", "0")]);
    send(&producer, "t", 0..1).await;
    consumer.poll(DEADLINE).unwrap().unwrap();
    // From here on the consumer's fetch waits.
    let reader = tokio::task::spawn_blocking(move || {
        consumer.poll(DEADLINE).unwrap().unwrap();
        Instant::now()
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let sent = Instant::now();
    send(&producer, "t", 1..2).await;
    let took = reader.await.unwrap() - sent;
    assert!(took < Duration::from_secs(2), "the record came after {took:?}");
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    create_topic(broker.address(), "t", 1, &[]).await;
    let producer = producer(broker.address(), &[]);
    for number in 0..100i64 {
        let record = FutureRecord::<(), _>::to("t")
            .payload("x")
            .timestamp(1_000_000 + number * 1_000);
        producer.send(record, DEADLINE).await.unwrap();
    }
    let consumer: BaseConsumer = client(broker.address(), &[("group.id", "unused")])
        .create()
        .unwrap();
    for (time, offset) in [
        (0, Offset::Offset(0)),
        (1_000_000, Offset::Offset(0)),
        (1_041_999, Offset::Offset(42)),
        (1_042_000, Offset::Offset(42)),
        (1_099_001, Offset::End),
    ] {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset("t", 0, Offset::Offset(time)).unwrap();
        let found = consumer.offsets_for_times(asked, DEADLINE).unwrap();
        assert_eq!(found.elements()[0].offset(), offset, "at {time}");
    }
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_grown_described_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let address = broker.address();
    create_topic(
        address,
        "t",
        3,
        &[("retention.ms", "12345"), ("max.message.bytes", "2000")],
    )
    .await;
    let admin: AdminClient<DefaultClientContext> = client(address, &[]).create().unwrap();
    let options = AdminOptions::new();

    let described = admin
        .describe_configs(&[ResourceSpecifier::Topic("t")], &options)
        .await
        .unwrap();
    let described = described[0].as_ref().unwrap().entry_map();
    assert_eq!(described["retention.ms"].value.as_deref(), Some("12345"));
    assert_eq!(described["segment.bytes"].value.as_deref(), Some("67108864"));

    let producer = producer(address, &[]);
    let large = "x".repeat(3_000);
    let refused = producer
        .send(FutureRecord::<(), _>::to("t").payload(&large), DEADLINE)
        .await
        .unwrap_err()
        .0;
    assert_eq!(
        refused.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageSizeTooLarge)
    );

    let grown = admin
        .create_partitions(&[NewPartitions::new("t", 5)], &options)
        .await
        .unwrap();
    assert_eq!(grown[0], Ok("t".to_owned()));
    let shrunk = admin
        .create_partitions(&[NewPartitions::new("t", 4)], &options)
        .await
        .unwrap();
    assert!(shrunk[0].is_err());
    let record = FutureRecord::<(), _>::to("t").payload("x").partition(4);
    eventually("the producer knows the new partition", || {
        producer
            .client()
            .fetch_metadata(Some("t"), DEADLINE)
            .unwrap()
            .topics()[0]
            .partitions()
            .len()
            == 5
    })
    .await;
    producer.send(record, DEADLINE).await.unwrap();
    broker.shutdown().await.unwrap();

    let broker = crate::support::broker(folder.path()).await;
    assert_eq!(count_of(broker.address(), "t", 5), 1);
    let admin: AdminClient<DefaultClientContext> = client(broker.address(), &[]).create().unwrap();
    assert_eq!(
        admin.delete_topics(&["t"], &options).await.unwrap()[0],
        Ok("t".to_owned())
    );
    assert!(admin.delete_topics(&["t"], &options).await.unwrap()[0].is_err());
    assert!(!folder.path().join("topics/t").exists());
    create_topic(broker.address(), "t", 1, &[]).await;
    assert_eq!(count_of(broker.address(), "t", 1), 0);
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_made_by_asking_only_where_that_is_allowed() {
    for allowed in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let broker = start(embedded::kafka::Config {
            auto_create_topics: allowed,
            ..config(folder.path())
        });
        let broker = broker.await.unwrap();
        let producer = producer(broker.address(), &[("message.timeout.ms", "3000")]);
        let sent = producer
            .send(FutureRecord::<(), _>::to("new").payload("x"), DEADLINE)
            .await;
        assert_eq!(sent.is_ok(), allowed, "{sent:?}");
        assert_eq!(folder.path().join("topics/new/3").exists(), allowed);
        broker.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let producer = producer(broker.address(), &[("transactional.id", "t1")]);
    let began = Instant::now();
    let refused = tokio::task::spawn_blocking(move || producer.init_transactions(DEADLINE));
    let refused = refused.await.unwrap().unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "took {:?}",
        began.elapsed()
    );
    let KafkaError::Transaction(error) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        error.code(),
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
        "{error:?}"
    );
    broker.shutdown().await.unwrap();
}
