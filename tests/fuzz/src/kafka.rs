//! The embedded Kafka log: requests as any client may send them, and batches of records.
//!
//! The broker answers or hangs up, and serves the next client; it keeps to its bounds whatever a request
//! claims.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use embedded::kafka::{Broker, Config};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::network::{Client, DEADLINE, PATIENCE, without_panic};

/// Inputs after which a new broker is started on an empty folder: what they make is kept.
const INPUTS_PER_BROKER: usize = 250;

/// The topic that there always is.
pub(crate) const TOPIC: &str = "t";

/// Its partitions: enough that an answer of all of them, many times, would be told.
const PARTITIONS: i32 = 64;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;

struct Running {
    address: SocketAddr,
    inputs: usize,
    // In the order in which they go: the broker before its runtime and its folder.
    _broker: Broker,
    _runtime: Runtime,
    _folder: TempDir,
}

/// A request, without the length before it.
pub fn kafka_request(data: &[u8]) -> String {
    without_panic(|| {
        let broker = broker();
        let mut client = Client::connect(broker.address);
        let answer = ask(&mut client, data, PATIENCE);
        client.hang_up();
        let mut other = Client::connect(broker.address);
        let alive = ask(&mut other, &metadata(), DEADLINE);
        assert!(alive.is_some(), "the broker answers no more");
        let key = data.first_chunk().map_or(-1, |key| i16::from_be_bytes(*key));
        match answer {
            Some(answer) => format!("call {key} answered, {} bytes", answer.len().next_power_of_two()),
            None => format!("call {key} not answered"),
        }
    })
}

/// A batch of records, whose length and checksum are set right; it is produced, looked for by time, and
/// fetched.
pub fn kafka_records(data: &[u8]) -> String {
    let mut batch = data.to_vec();
    mend(&mut batch);
    without_panic(|| {
        let broker = broker();
        let mut client = Client::connect(broker.address);
        let produced = ask(&mut client, &produce(&batch), DEADLINE);
        // Behind the correlation, the topic's name, and the partition stands the error.
        let error = produced
            .as_deref()
            .and_then(|answer| answer.get(19..21)?.first_chunk());
        let error = error.map(|error| i16::from_be_bytes(*error));
        let stamp = |at: usize| {
            let bytes = batch.get(at..at + 8).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(0, |bytes| i64::from_be_bytes(*bytes))
        };
        let (base, newest) = (stamp(27), stamp(35));
        for time in [-1, -2, -3, 0, base, base.saturating_add(1), newest, i64::MAX] {
            assert!(
                ask(&mut client, &list_offsets(time), DEADLINE).is_some(),
                "no answer about {time}"
            );
        }
        assert!(
            ask(&mut client, &fetch(), DEADLINE).is_some(),
            "nothing can be fetched"
        );
        match error {
            Some(error) => format!("error {error}"),
            None => "not answered".to_string(),
        }
    })
}

/// Sends a request and reads its answer, if one comes within `patience`.
fn ask(client: &mut Client, request: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let length = u32::try_from(request.len()).expect("inputs are short");
    let frame = [&length.to_be_bytes(), request].concat();
    if !client.send(&frame) {
        return None;
    }
    let length = client.read_exactly(4, patience)?;
    let length = u32::from_be_bytes(*length.first_chunk()?);
    client.read_exactly(length as usize, DEADLINE)
}

/// The broker; a new one every now and then.
fn broker() -> MutexGuard<'static, BrokerPlace> {
    static BROKER: Mutex<BrokerPlace> = Mutex::new(BrokerPlace(None));
    let mut place = BROKER.lock().unwrap_or_else(PoisonError::into_inner);
    if place
        .0
        .as_ref()
        .is_none_or(|running| running.inputs == INPUTS_PER_BROKER)
    {
        place.0 = None;
        place.0 = Some(start());
    }
    if let Some(running) = &mut place.0 {
        running.inputs += 1;
    }
    place
}

struct BrokerPlace(Option<Running>);

impl std::ops::Deref for BrokerPlace {
    type Target = Running;

    fn deref(&self) -> &Running {
        self.0.as_ref().expect("one was started")
    }
}

fn start() -> Running {
    let folder = tempfile::tempdir().expect("a folder can be had");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be had");
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: folder.path().join("kafka"),
        default_partitions: 4,
        auto_create_topics: false,
        fsync_interval: Duration::from_secs(3600),
        group_first_delay: Duration::from_millis(1),
        ..Config::default()
    };
    let broker = runtime
        .block_on(embedded::kafka::start(config))
        .expect("the broker starts");
    let address = broker.address();
    let mut client = Client::connect(address);
    assert!(
        ask(&mut client, &create_topic(), DEADLINE).is_some(),
        "the topic cannot be made"
    );
    Running {
        address,
        inputs: 0,
        _broker: broker,
        _runtime: runtime,
        _folder: folder,
    }
}

/// Sets length and checksum of a batch right, and that it is one of format 2.
fn mend(batch: &mut [u8]) {
    const CHECKED_FROM: usize = 21;
    if batch.len() < CHECKED_FROM {
        return;
    }
    let length = batch.len() as u32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    let checksum = crc32c::crc32c(&batch[CHECKED_FROM..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}

/// A request under construction, in the old form of fixed lengths.
struct Request(Vec<u8>);

impl Request {
    fn new(key: i16, version: i16) -> Request {
        Request(Vec::new()).i16(key).i16(version).i32(1).text("fuzz")
    }

    fn i8(mut self, number: i8) -> Request {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i16(mut self, number: i16) -> Request {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i32(mut self, number: i32) -> Request {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i64(mut self, number: i64) -> Request {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn text(mut self, text: &str) -> Request {
        self.0.extend((text.len() as i16).to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Request {
        self.0.extend((bytes.len() as i32).to_be_bytes());
        self.0.extend(bytes);
        self
    }
}

fn create_topic() -> Vec<u8> {
    // One topic of many partitions, no assignments, no settings; 30 s; really.
    let topic = Request::new(CREATE_TOPICS, 2)
        .i32(1)
        .text(TOPIC)
        .i32(PARTITIONS)
        .i16(1);
    topic.i32(0).i32(0).i32(30_000).i8(0).0
}

fn produce(batch: &[u8]) -> Vec<u8> {
    // No transaction; acknowledged by all; 30 s; one topic, one partition.
    let request = Request::new(PRODUCE, 3)
        .i16(-1)
        .i16(-1)
        .i32(30_000)
        .i32(1)
        .text(TOPIC);
    request.i32(1).i32(0).bytes(batch).0
}

fn list_offsets(time: i64) -> Vec<u8> {
    let request = Request::new(LIST_OFFSETS, 1).i32(-1).i32(1).text(TOPIC);
    request.i32(1).i32(0).i64(time).0
}

fn fetch() -> Vec<u8> {
    // Nobody's replica; no wait; from any bytes up to 1 MiB; one topic, one partition from its start.
    let request = Request::new(FETCH, 4)
        .i32(-1)
        .i32(0)
        .i32(0)
        .i32(1 << 20)
        .i8(0)
        .i32(1)
        .text(TOPIC);
    request.i32(1).i32(0).i64(0).i32(1 << 20).0
}

fn metadata() -> Vec<u8> {
    Request::new(METADATA, 1).i32(1).text(TOPIC).0
}
