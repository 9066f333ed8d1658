//! How many records a second the embedded broker takes in and gives out, and what that costs it.
//!
//! `cargo run --release -p embedded --example kafka_throughput [RECORDS]` starts the broker as a process
//! of its own, sends records of 250 bytes through librdkafka into 16 partitions, reads them all back, and
//! prints records and broker CPU seconds of both ways (the latter from `/proc`, on Linux).

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use embedded::kafka::{Config, start};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const TOPIC: &str = "throughput";
const PARTITIONS: i32 = 16;
const RECORD_BYTES: usize = 250;
const DEADLINE: Duration = Duration::from_secs(120);

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        Some(word) if word == "serve" => serve(PathBuf::from(arguments.next().ok_or("no folder")?)),
        Some(records) => measure(records.parse()?),
        None => measure(2_000_000),
    }
}

#[tokio::main]
async fn serve(data_dir: PathBuf) -> Outcome {
    let listen = "127.0.0.1:0".parse()?;
    let broker = start(Config {
        listen,
        data_dir,
        default_partitions: PARTITIONS,
        ..Config::default()
    })
    .await?;
    println!("{}", broker.address());
    std::future::pending::<()>().await;
    Ok(())
}

fn measure(records: usize) -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut broker = Command::new(std::env::current_exe()?)
        .arg("serve")
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let outcome = run(&mut broker, records);
    broker.kill()?;
    broker.wait()?;
    outcome
}

fn run(broker: &mut Child, records: usize) -> Outcome {
    let mut address = String::new();
    BufReader::new(broker.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    let address = address.trim();

    for (way, codec, idempotent) in [("plain", "none", "true"), ("lz4", "lz4", "true")] {
        let topic = format!("{TOPIC}-{way}");
        let before = cpu_seconds(broker);
        let began = Instant::now();
        send(address, &topic, records, codec, idempotent)?;
        report(
            &format!("in, {way}"),
            records,
            began.elapsed(),
            cpu_seconds(broker) - before,
        );

        let before = cpu_seconds(broker);
        let began = Instant::now();
        receive(address, &topic, records)?;
        report(
            &format!("out, {way}"),
            records,
            began.elapsed(),
            cpu_seconds(broker) - before,
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.id())).unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or("unknown");
    println!("broker's peak memory: {}", peak.trim());
    Ok(())
}

fn report(what: &str, records: usize, took: Duration, cpu: f64) {
    let rate = records as f64 / took.as_secs_f64();
    let per_core = records as f64 / cpu;
    println!(
        "{what:<10} {records} records in {:6.2} s: {rate:>9.0}/s; broker {cpu:5.2} CPU-s: {per_core:>9.0}/s a core",
        took.as_secs_f64(),
    );
}

fn send(address: &str, topic: &str, records: usize, codec: &str, idempotent: &str) -> Outcome {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("enable.idempotence", idempotent)
        .set("compression.codec", codec)
        .set("linger.ms", "20")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "500000")
        .create()?;
    // Half of each record is the same in all, as in JSON; half is not.
    let mut payload = vec![b'x'; RECORD_BYTES];
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    for number in 0..records {
        for byte in &mut payload[..RECORD_BYTES / 2] {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (noise >> 56) as u8;
        }
        let partition = (number / 1_000) as i32 % PARTITIONS;
        let mut record = BaseRecord::<(), _>::to(topic)
            .payload(&payload)
            .partition(partition);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    record = returned;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
    Ok(producer.flush(DEADLINE)?)
}

fn receive(address: &str, topic: &str, records: usize) -> Outcome {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "2000000")
        .set("queued.max.messages.kbytes", "65536")
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut received = 0;
    while received < records {
        consumer.poll(DEADLINE).ok_or("the records stopped coming")??;
        received += 1;
    }
    Ok(())
}

/// CPU seconds that a process has used so far; 0 where `/proc` does not tell.
fn cpu_seconds(process: &Child) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}
