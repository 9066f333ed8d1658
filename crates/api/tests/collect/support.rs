//! A broker, a database of keys, a server over both, and what came out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use api::{Collection, CollectorConfig, Config, NewWriteKey, Readiness, Server, WriteKeyKind};
use embedded::kafka::Broker;
use event::{DecoderConfig, Door, Event, wire};
use prometheus::Registry;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use store::{ClickHouseConfig, Store, StoreMetrics};
use stream::{KafkaConfig, Record, TopicReader, topics};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;
use verify::Definition;

use crate::engine;

/// Nothing that is waited for takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A collector at work, until it is dropped.
pub struct Bed {
    pub url: String,
    pub store: Store,
    pub registry: Registry,
    pub broker: Broker,
    pub client: Client,
    _stop: watch::Sender<bool>,
    _folder: TempDir,
}

pub async fn broker(folder: &Path) -> Broker {
    let config = embedded::kafka::Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.to_owned(),
        auto_create_topics: false,
        ..embedded::kafka::Config::default()
    };
    embedded::kafka::start(config).await.unwrap()
}

/// Keys are read anew so often that no test waits for them.
pub fn quick() -> CollectorConfig {
    CollectorConfig {
        key_refresh_ms: 50,
        ..CollectorConfig::default()
    }
}

pub async fn bed() -> Bed {
    bed_with(quick(), Config::default()).await
}

pub async fn bed_with(collector: CollectorConfig, api: Config) -> Bed {
    bed_of(collector, api, Door::default()).await
}

pub async fn bed_through(door: Door) -> Bed {
    bed_of(quick(), Config::default(), door).await
}

async fn bed_of(collector: CollectorConfig, api: Config, door: Door) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let config = ClickHouseConfig {
        url: engine::url(),
        database: format!("collect_{}", Uuid::new_v4().simple()),
        ..ClickHouseConfig::default()
    };
    let store = Store::new(config, StoreMetrics::register(&Registry::new()).unwrap());
    store.migrate().await.unwrap();
    let listen = "127.0.0.1:0".to_string();
    let server = Server::bind(Config { listen, ..api }).await.unwrap();
    let server = server.collecting(Collection {
        config: collector,
        door,
        max_event_bytes: DecoderConfig::default().max_event_bytes,
        kafka: KafkaConfig::at(broker.address().to_string()),
        topics: topics::all(4),
    });
    let url = format!("http://{}", server.address());
    let registry = Registry::new();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(server.run(
        store.clone(),
        Definition::default(),
        registry.clone(),
        Readiness::new(),
        stopped,
    ));
    let client = Client::builder().timeout(PATIENCE).build().unwrap();
    let bed = Bed {
        url,
        store,
        registry,
        broker,
        client,
        _stop: stop,
        _folder: folder,
    };
    eventually("readiness", async || {
        let answer = bed.client.get(format!("{}/readyz", bed.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    bed
}

impl Bed {
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.post(path).header("content-type", "application/json");
        read(request.body(body.to_string()).send().await.unwrap()).await
    }

    pub fn kafka(&self) -> KafkaConfig {
        KafkaConfig::at(self.broker.address().to_string())
    }

    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let reader = TopicReader::open(&self.kafka(), "test", topic).await.unwrap();
        let mut scan = reader.read(reader.spans()).unwrap();
        let mut records = Vec::new();
        while let Some(more) = scan.next().await.unwrap() {
            records.extend(more);
        }
        records
    }

    pub async fn accepted(&self) -> Vec<Event> {
        let records = self.records(topics::EVENTS).await;
        let decoded = records.iter().map(|record| {
            let event = wire::decode(&record.payload).unwrap();
            assert_eq!(
                record.key.as_deref(),
                Some(event.account_id.as_bytes()),
                "the key"
            );
            event
        });
        decoded.collect()
    }

    /// How often each event id was accepted.
    pub async fn accepted_ids(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for event in self.accepted().await {
            *ids.entry(event.event_id).or_default() += 1;
        }
        ids
    }

    /// The rejected originals, with their headers.
    pub async fn rejected(&self) -> Vec<(String, BTreeMap<String, String>)> {
        let records = self.records(topics::REJECTED).await;
        let told = records.into_iter().map(|record| {
            let headers = record
                .headers
                .into_iter()
                .map(|(name, value)| (name, String::from_utf8(value).unwrap()));
            (
                String::from_utf8_lossy(&record.payload).into_owned(),
                headers.collect(),
            )
        });
        told.collect()
    }

    pub async fn make_key(&self, source: &str, kind: WriteKeyKind, rate: u32, quota: u64) -> NewWriteKey {
        let made = NewWriteKey::make(source, kind, rate, quota, now_ms()).unwrap();
        self.store.save_write_key(&made.row).await.unwrap();
        eventually("the key's being known", async || {
            let answer = self.post("/v1/events").bearer_auth(&made.key).body("[]").send();
            let known = answer.await.unwrap().status() == 200;
            // While no key is known any is taken.
            let other = self.post("/v1/events").bearer_auth("wrong").body("[]").send();
            known && other.await.unwrap().status() == 401
        })
        .await;
        made
    }

    /// The sum of a metric over the labels that contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.into_iter().flat_map(|family| family.get_metric());
        metrics
            .filter(|metric| metric.get_label().iter().any(|pair| pair.value() == label))
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }
}

/// Status and body, which is JSON.
pub async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes);
    (
        status,
        body.unwrap_or_else(|_| panic!("{status} {}", String::from_utf8_lossy(&bytes))),
    )
}

/// A native event that occurred an hour before now.
pub fn login(id: usize) -> Value {
    json!({"event_id": format!("e{id}"), "account_id": "acme", "user_id": "u", "type": "login",
        "occurred_at": now_ms() - 3_600_000})
}

/// A message of Segment's that occurred an hour before now.
pub fn track(id: usize) -> Value {
    json!({"type": "track", "messageId": format!("m{id}"), "userId": "u", "event": "Report Exported",
        "context": {"groupId": "acme"}, "timestamp": now_ms() - 3_600_000})
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test plays the product app, which has a clock"
)]
pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap()
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
