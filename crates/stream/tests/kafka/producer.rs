//! The partitioner, acknowledgement, and what a missing broker does.

use std::time::{Duration, Instant};

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use stream::{
    Error, KafkaConfig, NumberedProducer, Producer, Receipt, check_broker, librdkafka_features,
    librdkafka_version,
};

use crate::support::{bed, fill, mock as cluster, mock_config as config};

/// The hashes that Apache Kafka's own unit test of `Utils.murmur2` expects.
const VECTORS: &[(&str, i32)] = &[
    ("21", -973_932_308),
    ("foobar", -790_332_482),
    ("a-little-bit-long-string", -985_981_536),
    ("a-little-bit-longer-string", -1_486_304_829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
    ("abc", 479_470_107),
];

#[tokio::test]
async fn a_key_goes_where_kafkas_own_partitioner_puts_it() {
    for partitions in [3, 16, 61] {
        let topic = "placed";
        let cluster = cluster(topic, partitions);
        let producer = Producer::new(&config(&cluster)).unwrap();
        for &(key, hash) in VECTORS {
            let delivery = producer.send(topic, Some(key.as_bytes()), b"v", &[]).unwrap();
            let (partition, _) = delivery.await.unwrap();
            assert_eq!(
                partition,
                (hash & 0x7fff_ffff) % partitions,
                "{key} of {partitions}"
            );
        }
    }
}

#[tokio::test]
async fn a_delivery_tells_where_the_record_landed() {
    let cluster = cluster("t", 1);
    let producer = Producer::new(&config(&cluster)).unwrap();
    for expected in 0..3 {
        let delivery = producer.send("t", Some(b"k"), b"v", &[]).unwrap();
        assert_eq!(delivery.await.unwrap(), (0, expected));
    }
    producer.flush(Duration::from_secs(5)).await.unwrap();
    assert_eq!(producer.unacknowledged(), 0);
}

#[tokio::test]
async fn a_record_is_not_delivered_before_the_broker_says_so() {
    let cluster = cluster("t", 1);
    let producer = Producer::new(&KafkaConfig {
        delivery_timeout_ms: 2_000,
        ..config(&cluster)
    })
    .unwrap();
    // Connected, with an idempotent id.
    producer.send("t", None, b"first", &[]).unwrap().await.unwrap();
    cluster.broker_down(1).unwrap();
    let delivery = producer.send("t", None, b"second", &[]).unwrap();
    assert!(producer.flush(Duration::from_millis(200)).await.is_err());
    let Err(Error::Delivery { topic, reason }) = delivery.await else {
        panic!("nothing acknowledged it");
    };
    assert_eq!(topic, "t");
    assert!(reason.to_lowercase().contains("timed out"), "{reason}");
}

#[tokio::test]
async fn a_passing_refusal_is_retried_inside() {
    let cluster = cluster("t", 1);
    let producer = Producer::new(&config(&cluster)).unwrap();
    producer.send("t", None, b"first", &[]).unwrap().await.unwrap();
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 3];
    cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    let (_, offset) = producer.send("t", None, b"second", &[]).unwrap().await.unwrap();
    assert_eq!(offset, 1, "once, and behind the first");
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again_once_there_is_room() {
    let cluster = cluster("t", 1);
    let config = KafkaConfig {
        producer_queue_records: 10,
        ..config(&cluster)
    };
    let producer = Producer::new(&config).unwrap();
    producer.send("t", None, b"first", &[]).unwrap().await.unwrap();
    cluster.broker_down(1).unwrap();
    let deliveries: Vec<_> = (0..10)
        .map(|_| producer.send("t", None, b"v", &[]).unwrap())
        .collect();
    assert!(matches!(
        producer.send("t", None, b"v", &[]),
        Err(Error::QueueFull)
    ));
    cluster.broker_up(1).unwrap();
    let last = producer.send_waiting("t", None, b"last", &[]).await.unwrap();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(last.await.unwrap(), (0, 11));
}

#[tokio::test]
async fn a_record_that_can_never_be_taken_is_told_apart() {
    let cluster = cluster("t", 1);
    let config = KafkaConfig {
        max_record_bytes: 2_000,
        ..config(&cluster)
    };
    let producer = Producer::new(&config).unwrap();
    let refused = producer.send("t", None, &[0; 3_000], &[]).err();
    assert!(
        matches!(&refused, Some(Error::TooLarge { bytes: 3_000, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_missing_broker_is_named_with_what_to_do() {
    // A port that nothing listens on: bound, then let go.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = KafkaConfig {
        connect_timeout_ms: 700,
        ..KafkaConfig::at(free.to_string())
    };
    let began = Instant::now();
    let error = check_broker(&config).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let text = error.to_string();
    assert!(
        text.starts_with(&format!(
            "no Kafka broker answers at {free} within 0.7 s: start it"
        )),
        "{text}"
    );
    assert!(text.contains("refused"), "{text}");

    let cluster = cluster("t", 1);
    check_broker(&crate::support::mock_config(&cluster))
        .await
        .unwrap();
}

#[tokio::test]
async fn headers_keys_and_time_survive() {
    let bed = bed("t", 1).await;
    let config = bed.config();
    fill(&config, "t", 1, 0, 1).await;
    let mut member = crate::support::join(&config, "t", stream::StartFrom::Committed);
    assert_eq!(member.assigned().await, [0]);
    let record = member.records(1).await.remove(0);
    assert_eq!(record.key.as_deref(), Some(b"key-0".as_slice()));
    assert_eq!(record.headers, [("n".to_owned(), b"key-0".to_vec())]);
    assert_eq!((&*record.topic, record.partition, record.offset), ("t", 0, 0));
    assert!(record.timestamp_ms.is_some_and(|at| at > 1_600_000_000_000));
}

#[test]
fn tls_and_every_sasl_mechanism_are_compiled_in() {
    let features = librdkafka_features();
    for wanted in [
        "ssl",
        "sasl_plain",
        "sasl_scram",
        "sasl_oauthbearer",
        "lz4",
        "zstd",
        "gzip",
    ] {
        assert!(
            features.iter().any(|feature| feature == wanted),
            "{wanted} is not in {features:?}"
        );
    }
    let version = librdkafka_version();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    assert!(
        (numbers.next(), numbers.next()) >= (Some(2), Some(10)),
        "{version}"
    );
}

#[tokio::test]
async fn receipts_bear_the_numbers_of_their_records_and_say_what_became_of_them() {
    let cluster = cluster("t", 1);
    let producer = NumberedProducer::new(&KafkaConfig {
        delivery_timeout_ms: 2_000,
        max_record_bytes: 1_000,
        ..config(&cluster)
    })
    .unwrap();
    // Connected, with an idempotent id.
    producer.send(0, "t", None, b"first", &[]).unwrap();
    let first = producer.receipts().await;
    assert!(matches!(
        first.as_slice(),
        [Receipt {
            number: 0,
            outcome: Ok(())
        }]
    ));

    let large = producer.send(1, "t", None, &[0; 2_000], &[]);
    assert!(matches!(large, Err(Error::TooLarge { .. })), "{large:?}");

    cluster.broker_down(1).unwrap();
    for number in [7, 8] {
        producer
            .send(number, "t", Some(b"k"), b"v", &[("a", b"b")])
            .unwrap();
    }
    let mut failed = Vec::new();
    while failed.len() < 2 {
        failed.extend(producer.receipts().await);
    }
    let numbers: Vec<u64> = failed.iter().map(|receipt| receipt.number).collect();
    assert_eq!(numbers, [7, 8], "none of the one that was not taken");
    for receipt in &failed {
        assert!(
            matches!(receipt.outcome, Err(Error::Delivery { .. })),
            "{receipt:?}"
        );
    }
}
