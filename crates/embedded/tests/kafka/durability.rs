//! Restarts, crashes, torn files, retention, and who may hold a folder.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use embedded::kafka::{Config, Error, start};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{
    DEADLINE, assert_each_once, broker, client, config, count_of, create_topic, eventually, producer,
    read_topic, send,
};

/// The folder and the address of a broker that a test runs as a process of its own.
const CHILD_FOLDER: &str = "KAFKA_TEST_CHILD_FOLDER";
const CHILD_ADDRESS: &str = "KAFKA_TEST_CHILD_ADDRESS";
const READY: &str = "broker listens on ";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that other tests start and kill"]
async fn child() {
    let folder = std::env::var(CHILD_FOLDER).expect("started by another test");
    let listen = std::env::var(CHILD_ADDRESS).unwrap().parse().unwrap();
    let broker = start(Config {
        listen,
        ..config(Path::new(&folder))
    })
    .await
    .unwrap();
    println!("\n{READY}{}", broker.address());
    std::future::pending::<()>().await;
}

/// A broker in another process; killed when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &Path, listen: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::child", "--ignored", "--nocapture"])
            .env(CHILD_FOLDER, folder)
            .env(CHILD_ADDRESS, listen)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix(READY)?.to_owned()));
        let address = ready.expect("the broker's process ended early").parse().unwrap();
        Process { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: the process has no say in it.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_has_every_acknowledged_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path(), "127.0.0.1:0");
    let address = process.address;
    create_topic(address, "t", 4, &[("segment.bytes", "200000")]).await;
    let settings = [
        ("enable.idempotence", "true"),
        ("linger.ms", "2"),
        ("reconnect.backoff.ms", "20"),
        ("reconnect.backoff.max.ms", "200"),
        ("retry.backoff.ms", "50"),
    ];
    let producer: FutureProducer = producer(address, &settings);
    const RECORDS: u32 = 30_000;
    let padding = "x".repeat(80);
    let sender = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for number in 0..RECORDS {
            let value = format!("{number} {padding}");
            let record = FutureRecord::<(), _>::to("t")
                .payload(&value)
                .partition((number % 4) as i32);
            acknowledged.push((
                number,
                producer.send_result(record).map_err(|(error, _)| error).unwrap(),
            ));
            if number % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let mut places = Vec::new();
        for (number, delivery) in acknowledged {
            let delivery = delivery.await.unwrap().unwrap();
            places.push(((delivery.partition, delivery.offset), number));
        }
        places
    });
    for kill in 1..=4 {
        let enough = kill * i64::from(RECORDS) / 6;
        tokio::task::block_in_place(|| {
            let began = Instant::now();
            while count_of(address, "t", 4) < enough {
                assert!(began.elapsed() < DEADLINE, "the producer stands still");
            }
        });
        assert!(
            !sender.is_finished(),
            "the producer was done before the last kill"
        );
        drop(process);
        process = Process::start(folder.path(), &address.to_string());
    }
    let places = sender.await.unwrap();
    let found = read_topic(address, "t", 4, RECORDS as usize);
    assert_eq!(
        count_of(address, "t", 4),
        i64::from(RECORDS),
        "records were doubled"
    );
    for (place, number) in places {
        assert_eq!(
            found[&place].split(' ').next(),
            Some(number.to_string().as_str()),
            "at {place:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_held_by_one_broker_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = broker(folder.path()).await;
    let second = start(config(folder.path()))
        .await
        .err()
        .expect("two brokers on one folder");
    assert!(
        matches!(&second, Error::InUse { folder: named } if named == folder.path()),
        "{second}"
    );
    first.shutdown().await.unwrap();

    let process = Process::start(folder.path(), "127.0.0.1:0");
    let second = start(config(folder.path()))
        .await
        .err()
        .expect("two processes on one folder");
    assert!(
        second.to_string().contains(&folder.path().display().to_string()),
        "{second}"
    );
    drop(process);
    broker(folder.path()).await.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_named() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = broker(folder.path()).await;
    let listen = first.address();
    let second = start(Config {
        listen,
        ..config(other.path())
    })
    .await
    .err()
    .expect("two on one address");
    assert!(second.to_string().contains(&listen.to_string()), "{second}");
    first.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_costs_only_what_was_never_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    {
        let broker = broker(folder.path()).await;
        create_topic(broker.address(), "t", 1, &[]).await;
        send(&producer(broker.address(), &[]), "t", 0..100).await;
        broker.shutdown().await.unwrap();
    }
    let log = folder.path().join("topics/t/0/00000000000000000000.log");
    let start_of_a_batch = std::fs::read(&log).unwrap()[..200].to_vec();
    std::fs::OpenOptions::new()
        .append(true)
        .open(&log)
        .unwrap()
        .write_all(&start_of_a_batch)
        .unwrap();
    let broker = broker(folder.path()).await;
    send(&producer(broker.address(), &[]), "t", 100..150).await;
    assert_each_once(&read_topic(broker.address(), "t", 1, 150), 0..150);
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_topic_lets_its_oldest_records_go() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(Config {
        retention_interval: Duration::from_millis(50),
        ..config(folder.path())
    })
    .await
    .unwrap();
    let address = broker.address();
    create_topic(
        address,
        "t",
        1,
        &[("segment.bytes", "20000"), ("retention.bytes", "60000")],
    )
    .await;
    let producer = producer(address, &[("batch.num.messages", "100")]);
    send(&producer, "t", 0..10_000).await;
    let consumer: BaseConsumer = client(address, &[("group.id", "unused")]).create().unwrap();
    let bounds = || consumer.fetch_watermarks("t", 0, DEADLINE).unwrap();
    eventually("old records go", || bounds().0 > 0).await;
    eventually("the folder shrinks", || {
        let files = std::fs::read_dir(folder.path().join("topics/t/0"))
            .unwrap()
            .map(|file| file.unwrap());
        let logs = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "log"));
        logs.map(|log| log.metadata().unwrap().len()).sum::<u64>() < 90_000
    })
    .await;
    let (low, high) = bounds();
    assert_eq!(high, 10_000);
    let found = read_topic(address, "t", 1, (high - low) as usize);
    assert_eq!(found.values().next(), Some(&low.to_string()));
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_takes_less_than_two_seconds_with_clients_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    create_topic(broker.address(), "t", 16, &[]).await;
    let producer = producer(broker.address(), &[]);
    send(&producer, "t", 0..1_000).await;
    let settings = [("group.id", "g"), ("fetch.wait.max.ms", "20000")];
    let consumer: BaseConsumer = client(broker.address(), &settings).create().unwrap();
    consumer.subscribe(&["t"]).unwrap();
    eventually("the consumer is in", || {
        consumer.poll(Duration::from_millis(20));
        consumer.assignment().unwrap().count() == 16
    })
    .await;
    let began = Instant::now();
    broker.shutdown().await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "took {took:?}");
}
