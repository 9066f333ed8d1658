//! The collector: batches of Segment messages as they are taken apart, and requests of `/v1/` with all their
//! content types and encodings, against a server over an embedded broker.
//!
//! Holds of every request: it is answered by one of the documented statuses, and what is told of its events
//! adds up. Behind the server is a ClickHouse in which there is no write key, so that none is needed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use api::{Collection, CollectorConfig, Config, Readiness, Server, batch_messages};
use embedded::kafka::Broker;
use event::{DecoderConfig, Door, PrivacyConfig, Reason};
use flate2::write::GzEncoder;
use hyper::header::{HeaderName, HeaderValue};
use prometheus::Registry;
use serde_json::{Map, Value};
use store::{ClickHouseConfig, Store, StoreMetrics};
use stream::{KafkaConfig, topics};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use verify::Definition;

use crate::decode;
use crate::network::{Client, DEADLINE, without_panic};

/// Inputs after which broker and server are started anew: what is sent is kept.
const INPUTS_PER_SERVER: usize = 500;
/// The longest body that is sent on: each of its events becomes a record, and it is not Kafka's time that is
/// looked at here.
const LONGEST_BODY: usize = 8 * 1024;
/// So few that lines are longer now and then.
const MOST_EVENT_BYTES: usize = 4 * 1024;
/// The most bytes that a message can have beside its own: what it takes over, twice, and the fields' names.
const MOST_TAKEN_OVER: usize = 1_100;
const LONGEST_DETAIL: usize = 400;
const STATUSES: [&str; 10] = [
    "200", "204", "400", "401", "403", "404", "405", "408", "413", "415",
];

/// The body of a batch.
pub fn segment_batch(data: &[u8]) -> String {
    let Ok(body) = std::str::from_utf8(data) else {
        return "not text".to_string();
    };
    let messages = match batch_messages(body) {
        Ok(messages) => messages,
        Err(rejection) => {
            decode::check_rejection(&rejection);
            return decode::kind_of(&rejection);
        }
    };
    assert_eq!(
        batch_messages(body).as_ref(),
        Ok(&messages),
        "the second answer is another"
    );
    // Of a body that is nested too deep there is no such value.
    let whole: Option<Value> = serde_json::from_str(body).ok();
    let originals = whole
        .as_ref()
        .map(|whole| whole["batch"].as_array().expect("it was read as one"));
    assert!(originals.is_none_or(|originals| originals.len() == messages.len()));
    let mut kind = "empty".to_string();
    for (number, message) in messages.iter().enumerate() {
        assert!(
            message.len() <= body.len() + MOST_TAKEN_OVER,
            "{} bytes",
            message.len()
        );
        if let Some(original) = originals.map(|originals| &originals[number]) {
            check_completed(original, message);
        }
        kind = decode::segment(message.as_bytes());
    }
    kind
}

/// A message is what it was but for what it takes over, and holds no key.
fn check_completed(original: &Value, message: &str) {
    let completed: Value = serde_json::from_str(message).expect("was JSON before");
    let (Some(original), Some(completed)) = (original.as_object(), completed.as_object()) else {
        assert_eq!(original, &completed);
        return;
    };
    let without = |object: &Map<String, Value>, names: &[&str]| {
        let mut object = object.clone();
        object.retain(|name, _| !names.contains(&name.as_str()));
        object
    };
    let own = ["sentAt", "context", "writeKey"];
    assert_eq!(without(original, &own), without(completed, &own), "{message}");
    let context = |object: &Map<String, Value>| object.get("context").and_then(Value::as_object).cloned();
    if let (Some(before), Some(after)) = (context(original), context(completed)) {
        assert_eq!(
            without(&before, &["groupId"]),
            without(&after, &["groupId"]),
            "{message}"
        );
    }
    assert_eq!(
        completed.contains_key("writeKey"),
        original.contains_key("writeKey")
    );
}

/// A POST: its path in the first line, then headers, an empty line and the body. A header `pack: gzip` or
/// `pack: zstd` has the body packed so.
pub fn collector_request(data: &[u8]) -> String {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let path = lines.next().unwrap_or_default();
    if !path.starts_with(b"/v1/") || !path.iter().all(u8::is_ascii_graphic) {
        return "no path".to_string();
    }
    let mut body = body[..body.len().min(LONGEST_BODY)].to_vec();
    let mut request = [
        b"POST ",
        path,
        b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
    ]
    .concat();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let (Ok(known), Ok(_)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            continue;
        };
        match known.as_str() {
            "pack" => {
                body = packed(value, &body);
                request.extend([b"Content-Encoding: ", value, b"\r\n"].concat());
            }
            // The target `http` has these.
            "content-length" | "transfer-encoding" | "connection" | "host" | "expect" | "upgrade" => {}
            _ => request.extend([name, b": ", value, b"\r\n"].concat()),
        }
    }
    request.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
    request.extend(&body);

    let answer = without_panic(|| {
        let mut place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
        let running = place.serving();
        let mut client = Client::connect(running.address);
        client.send(&request);
        client.read_to_end(DEADLINE)
    });
    check_answer(&answer)
}

fn packed(encoding: &[u8], body: &[u8]) -> Vec<u8> {
    match encoding {
        b"gzip" => {
            let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(body).expect("there is memory");
            gzip.finish().expect("there is memory")
        }
        b"zstd" => zstd::encode_all(body, 1).expect("there is memory"),
        _ => body.to_vec(),
    }
}

fn check_answer(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    // Of a head that the server does not take there is no more.
    if status == "431" {
        return status.to_string();
    }
    assert!(STATUSES.contains(&status), "{text}");
    if body.is_empty() {
        return status.to_string();
    }
    let told: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    let Some(errors) = told["errors"].as_array().filter(|_| told["accepted"].is_u64()) else {
        assert_ne!(status, "200", "{text}");
        let kind = told["type"].as_str().unwrap_or_default();
        return format!("{status} {}", kind.rsplit(':').next().unwrap_or_default());
    };
    let number = |name: &str| told[name].as_u64().unwrap_or(0);
    let listed = errors.len() as u64 + number("errors_left_out");
    assert_eq!(listed, number("rejected"), "{text}");
    let mut before = None;
    for error in errors {
        let index = error["index"].as_u64().expect("is a number");
        assert!(before.is_none_or(|before| before < index), "not in order: {text}");
        assert!(index < number("acknowledged_until"), "{text}");
        before = Some(index);
        let reason = error["reason"].as_str().expect("is a text");
        assert!(
            Reason::ALL.iter().any(|known| known.as_str() == reason),
            "{reason}"
        );
        let detail = error["detail"].as_str().expect("is a text");
        assert!(
            detail.len() <= LONGEST_DETAIL && !detail.chars().any(char::is_control),
            "{detail:?}"
        );
    }
    let first = errors
        .first()
        .map_or("", |error| error["reason"].as_str().unwrap_or_default());
    let some = |count: u64| if count > 0 { "some" } else { "none" };
    format!("{status} accepted {} {first}", some(number("accepted")))
}

static PLACE: Mutex<Place> = Mutex::new(Place(None));

struct Place(Option<Running>);

struct Running {
    address: SocketAddr,
    inputs: usize,
    // In the order in which they go: the server and the broker before their runtime and folder.
    _stop: watch::Sender<bool>,
    _broker: Broker,
    _runtime: Runtime,
    _folder: TempDir,
}

impl Place {
    fn serving(&mut self) -> &Running {
        if self
            .0
            .as_ref()
            .is_none_or(|running| running.inputs == INPUTS_PER_SERVER)
        {
            self.0 = None;
        }
        let running = self.0.get_or_insert_with(start);
        running.inputs += 1;
        running
    }
}

fn start() -> Running {
    let folder = tempfile::tempdir().expect("a folder can be had");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be had");
    let broker = embedded::kafka::Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: folder.path().join("kafka"),
        auto_create_topics: false,
        fsync_interval: Duration::from_secs(3600),
        ..embedded::kafka::Config::default()
    };
    let broker = runtime
        .block_on(embedded::kafka::start(broker))
        .expect("the broker starts");
    let listen = "127.0.0.1:0".to_string();
    let server = runtime.block_on(Server::bind(Config {
        listen,
        ..Config::default()
    }));
    // What is in the corpus must not grow too old.
    let decoder = DecoderConfig {
        max_event_bytes: MOST_EVENT_BYTES,
        max_age_days: 0,
        ..DecoderConfig::default()
    };
    let door = Door::new(decoder, &[], &PrivacyConfig::default(), &[]);
    let server = server.expect("a port can be had").collecting(Collection {
        config: CollectorConfig::default(),
        door: door.expect("there is nothing in it to be wrong"),
        max_event_bytes: MOST_EVENT_BYTES,
        kafka: KafkaConfig::at(broker.address().to_string()),
        topics: topics::all(1),
    });
    let address = server.address();
    let metrics = StoreMetrics::register(&Registry::new()).expect("the registry is new");
    let clickhouse = ClickHouseConfig {
        url: format!("http://{}", without_write_keys()),
        ..ClickHouseConfig::default()
    };
    let store = Store::new(clickhouse, metrics);
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(server.run(
        store,
        Definition::default(),
        Registry::new(),
        Readiness::new(),
        stopped,
    ));
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        let mut client = Client::connect(address);
        client.send(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]");
        let answer = client.read_to_end(DEADLINE);
        if answer.starts_with(b"HTTP/1.1 200") {
            break;
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            std::time::Instant::now() < deadline,
            "the collector takes no events: {answer}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Running {
        address,
        inputs: 0,
        _stop: stop,
        _broker: broker,
        _runtime: runtime,
        _folder: folder,
    }
}

/// A server that answers every query as ClickHouse does where the table `write_keys` has no rows.
fn without_write_keys() -> SocketAddr {
    static STARTED: Mutex<Option<SocketAddr>> = Mutex::new(None);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    *started.get_or_insert_with(|| {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be had");
        let address = listener.local_addr().expect("it has one");
        std::thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                std::thread::spawn(move || answer_all(peer));
            }
        });
        address
    })
}

fn answer_all(mut peer: TcpStream) {
    // Names and types of the columns, each with its length before it.
    let columns = [
        ("key_id", "String"),
        ("version", "UInt64"),
        ("key_hash", "String"),
        ("source", "String"),
        ("kind", "LowCardinality(String)"),
        ("rate_limit", "UInt32"),
        ("daily_quota", "UInt64"),
        ("created_at", "DateTime64(3, 'UTC')"),
        ("revoked_at", "Nullable(DateTime64(3, 'UTC'))"),
    ];
    let mut answer = vec![columns.len() as u8];
    let names = columns.iter().map(|(name, _)| name);
    for text in names.chain(columns.iter().map(|(_, kind)| kind)) {
        answer.push(text.len() as u8);
        answer.extend(text.bytes());
    }
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            match peer.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => read.extend(&buffer[..count]),
            }
            continue;
        };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        while read.len() < end + 4 + length {
            match peer.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => read.extend(&buffer[..count]),
            }
        }
        read.drain(..end + 4 + length);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        if peer.write_all(&[head.as_bytes(), &answer].concat()).is_err() {
            return;
        }
    }
}
