//! A broker, a database and workers for one test.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use alert::{BreakerConfig, Config, Destination, Error, Wiring};
use embedded::kafka::Broker;
use health::AlertChange;
use prometheus::Registry;
use prost::Message as _;
use store::{ClickHouseConfig, DeliveryRow, Store, StoreMetrics};
use stream::{KafkaConfig, Membership, Producer, TopicSpec, ensure_topics, topics};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::engine;
use crate::receiver::SECRET;

/// Nothing that is waited for takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub const AT: i64 = 1_795_309_323_000;

pub fn alert(account: &str, change: &str, at: i64) -> AlertChange {
    AlertChange {
        alert_id: format!("al-{account}-{change}"),
        episode_id: format!("ep-{account}"),
        account_id: account.into(),
        rule: "login_drop".into(),
        severity: "critical".into(),
        change: change.into(),
        at: AT + at,
        reason: "logins fell by half".into(),
        reason_ja: "ログインが半減しました".into(),
        payload: r#"{"health":31.5,"drivers":[{"input":"logins_7d","points":-12.25}]}"#.into(),
        caused_by_received_at: 0,
    }
}

pub async fn store(name: &str) -> Store {
    let metrics = StoreMetrics::register(&Registry::new()).unwrap();
    let config = ClickHouseConfig {
        url: engine::url(),
        database: format!("alert_test_{name}"),
        ..ClickHouseConfig::default()
    };
    let store = Store::new(config, metrics);
    store.migrate().await.unwrap();
    store
}

/// A destination on loopback.
pub fn destination(port: u16) -> Destination {
    Destination {
        name: "cs-team".into(),
        url: format!("http://127.0.0.1:{port}/hooks"),
        secret: SECRET.into(),
        allow_private_addresses: true,
        timeout_seconds: 5.0,
        ..Destination::default()
    }
}

pub struct Bed {
    name: String,
    broker: Broker,
    producer: Producer,
    pub store: Store,
    _folder: TempDir,
}

impl Bed {
    pub async fn new(name: &str) -> Bed {
        let folder = tempfile::tempdir().unwrap();
        let broker = broker(folder.path()).await;
        let kafka = KafkaConfig::at(broker.address().to_string());
        ensure_topics(&kafka, &[TopicSpec::new(topics::ALERTS, 4)])
            .await
            .unwrap();
        Bed {
            name: name.to_string(),
            producer: Producer::new(&kafka).unwrap(),
            broker,
            store: store(name).await,
            _folder: folder,
        }
    }

    fn kafka(&self) -> KafkaConfig {
        KafkaConfig::at(self.broker.address().to_string())
    }

    pub async fn produce(&self, changes: &[AlertChange]) {
        for change in changes {
            self.produce_bytes(&change.account_id, &change.encode_to_vec())
                .await;
        }
    }

    pub async fn produce_bytes(&self, key: &str, value: &[u8]) {
        let sent = self
            .producer
            .send(topics::ALERTS, Some(key.as_bytes()), value, &[])
            .unwrap();
        timeout(PATIENCE, sent).await.unwrap().unwrap();
    }

    /// Starts a worker without a breaker and waits until it takes part.
    pub async fn worker(&self, destinations: Vec<Destination>) -> Worker {
        self.worker_with(Config {
            destinations,
            breaker: BreakerConfig {
                share: 0.0,
                ..BreakerConfig::default()
            },
            ..Config::default()
        })
        .await
    }

    /// The same with another configuration, but for the pauses.
    pub async fn worker_with(&self, config: Config) -> Worker {
        let config = Config {
            retry_seconds: vec![0.0, 0.2, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8],
            circuit_failures: 0,
            look_seconds: 0.1,
            ..config
        };
        let (membership, mut joined) = watch::channel(Membership::Away);
        let (stop, shutdown) = watch::channel(false);
        let registry = Registry::new();
        let wiring = Wiring {
            kafka: self.kafka(),
            store: self.store.clone(),
            registry: registry.clone(),
            membership,
            shutdown,
        };
        let running = tokio::spawn(alert::run(config, wiring));
        let joined = timeout(PATIENCE, joined.wait_for(|membership| membership.check().is_ok())).await;
        joined.expect("the worker joins").expect("the worker goes on");
        Worker {
            stop,
            running,
            registry,
        }
    }

    /// The rows of all deliveries, by alert and attempt: alert, attempt, status, HTTP status.
    pub async fn deliveries(&self) -> Vec<(String, u64, String, Option<u64>)> {
        let text = self
            .ask(
                "SELECT alert_id, attempt, status, http_status FROM deliveries WHERE attempt > 0
                 ORDER BY alert_id, attempt FORMAT JSONCompactEachRow",
            )
            .await;
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The newest status of each alert.
    pub async fn newest(&self) -> BTreeMap<String, String> {
        let text = self
            .ask(
                "SELECT alert_id, argMax(status, attempt) FROM deliveries GROUP BY alert_id
                 FORMAT JSONCompactEachRow",
            )
            .await;
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    async fn ask(&self, query: &'static str) -> String {
        let answer = reqwest::Client::new()
            .post(format!("{}/?database=alert_test_{}", engine::url(), self.name))
            .body(query)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        answer.text().await.unwrap()
    }

    /// Waits until so many alerts have this status, by their newest rows.
    pub async fn wait_for_status(&self, count: usize, status: &str) {
        let reached = async {
            loop {
                let ids = self.store.held_counts(None).await.unwrap();
                let held = ids.iter().map(|count| count.alerts).sum::<u64>() as usize;
                let newest: std::collections::BTreeMap<_, _> = self
                    .deliveries()
                    .await
                    .into_iter()
                    .map(|(alert_id, _, status, _)| (alert_id, status))
                    .collect();
                let others = newest.values().filter(|found| *found == status).count();
                if (status == "held" && held == count) || others == count {
                    return;
                }
            }
        };
        if timeout(PATIENCE, reached).await.is_err() {
            panic!("{status}: {:#?}", self.deliveries().await);
        }
    }

    /// Waits until the newest rows of so many alerts have this status.
    pub async fn wait_for(&self, count: usize, status: &str) {
        let reached = async {
            loop {
                let rows = self.deliveries().await;
                let newest: BTreeMap<_, _> = rows
                    .into_iter()
                    .map(|(alert_id, _, status, _)| (alert_id, status))
                    .collect();
                if newest.len() == count && newest.values().all(|found| found == status) {
                    return;
                }
            }
        };
        if timeout(PATIENCE, reached).await.is_err() {
            panic!("{:#?}", self.deliveries().await);
        }
    }
}

async fn broker(folder: &Path) -> Broker {
    let config = embedded::kafka::Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.to_owned(),
        auto_create_topics: false,
        ..embedded::kafka::Config::default()
    };
    embedded::kafka::start(config).await.unwrap()
}

pub struct Worker {
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), Error>>,
    pub registry: Registry,
}

impl Worker {
    /// Tells it to stop and says how long that took.
    pub async fn stop(self) -> Duration {
        let begun = std::time::Instant::now();
        self.stop.send_replace(true);
        timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
        begun.elapsed()
    }

    /// Ends it in the middle of whatever it does.
    pub async fn kill(self) {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
    }

    /// The value of a metric's first sample.
    pub fn counter(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0.0, |family| {
            family
                .get_metric()
                .iter()
                .map(|m| m.get_counter().get_value())
                .sum()
        })
    }
}

/// A row that says that an alert waits.
pub fn waiting_row(change: &AlertChange, body: String, attempt: u32, due: i64) -> DeliveryRow {
    DeliveryRow {
        alert_id: change.alert_id.clone(),
        destination: "cs-team".into(),
        attempt,
        status: "retrying".into(),
        http_status: None,
        at: change.at,
        duration_ms: 1,
        error: "answered 500".into(),
        next_attempt_at: Some(due),
        body,
        episode_id: change.episode_id.clone(),
        variant: String::new(),
        reference: String::new(),
        version: 1,
    }
}
