//! Lives of accounts, told event by event.

use clickhouse::Client;
use jiff::Timestamp;
use prometheus::Registry;
use serde_json::Value;
use store::{ClickHouseConfig, EventRow, Store, StoreMetrics};
use tokio::sync::OnceCell;
use verify::{Definition, Known, Verifier};

use crate::engine;

/// Milliseconds of a time in RFC 3339.
pub fn ms(time: &str) -> i64 {
    let parsed: Timestamp = time.parse().unwrap_or_else(|error| panic!("{time}: {error}"));
    parsed.as_millisecond()
}

/// A store over a database of its own, with all tables and no rows.
pub async fn database(name: &str) -> Store {
    let database = format!("verify_test_{name}");
    let client = Client::default().with_url(engine::url());
    let drop = format!("DROP DATABASE IF EXISTS {database} SYNC");
    client.query(&drop).execute().await.unwrap();
    let store = store(database);
    store.migrate().await.unwrap();
    store
}

fn store(database: String) -> Store {
    let config = ClickHouseConfig {
        url: engine::url(),
        database,
        ..ClickHouseConfig::default()
    };
    Store::new(config, StoreMetrics::register(&Registry::new()).unwrap())
}

/// The database that lives share which do not look at the tables. Each test has a store of its own: the
/// connections of one end with the runtime of the test that opened them.
async fn shared() -> Store {
    const NAME: &str = "lives";
    static IS_MADE: OnceCell<()> = OnceCell::const_new();
    IS_MADE
        .get_or_init(|| async {
            database(NAME).await;
        })
        .await;
    store(format!("verify_test_{NAME}"))
}

/// The events of one account.
pub struct Life {
    account: String,
    events: Vec<EventRow>,
}

impl Life {
    pub fn of(account: &str) -> Life {
        Life {
            account: account.to_string(),
            events: Vec::new(),
        }
    }

    /// An account in a time zone, of which nothing else is known, since a time.
    pub fn in_zone(account: &str, zone: &str, since: &str) -> Life {
        Life::of(account).event(since, "account", "", "", &format!(r#"{{"timezone":"{zone}"}}"#))
    }

    /// Something that was received when it happened.
    pub fn event(self, at: &str, event_type: &str, name: &str, user: &str, properties: &str) -> Life {
        self.late(at, at, event_type, name, user, properties)
    }

    /// Something that was received at another time than it is said to have happened.
    pub fn late(
        mut self,
        at: &str,
        received_at: &str,
        event_type: &str,
        name: &str,
        user: &str,
        properties: &str,
    ) -> Life {
        let place = self.events.len() as i64;
        self.events.push(EventRow {
            event_id: format!("{}-{place}", self.account),
            account_id: self.account.clone(),
            user_id: user.to_string(),
            r#type: event_type.to_string(),
            name: name.to_string(),
            occurred_at: ms(at),
            received_at: ms(received_at),
            source: "test".to_string(),
            properties: properties.to_string(),
            kafka_partition: 0,
            kafka_offset: place,
        });
        self
    }

    pub fn login(self, at: &str, user: &str) -> Life {
        self.event(at, "login", "", user, "")
    }

    pub fn uses(self, at: &str, feature: &str, user: &str, count: u32) -> Life {
        self.event(at, "feature", feature, user, &format!(r#"{{"count":{count}}}"#))
    }

    pub fn contract(self, at: &str, name: &str, properties: &str) -> Life {
        self.event(at, "contract", name, "", properties)
    }

    /// Gives the newest event another id.
    pub fn with_id(mut self, id: &str) -> Life {
        self.events.last_mut().unwrap().event_id = id.to_string();
        self
    }

    pub fn id_of(&self, place: usize) -> &str {
        &self.events[place].event_id
    }

    pub async fn land(&self, store: &Store) {
        let token = format!("{}-{}", self.account, self.events.len());
        store.insert_events(&token, &self.events).await.unwrap();
    }

    /// What its events say at a time, by the defaults.
    pub async fn at(&self, at: &str) -> Numbers {
        self.by(Definition::default(), at).await
    }

    /// What its events say at a time, by a definition.
    pub async fn by(&self, definition: Definition, at: &str) -> Numbers {
        self.known_by(definition, at, "2299-01-01T00:00:00Z").await
    }

    pub async fn known_by(&self, definition: Definition, at: &str, known_at: &str) -> Numbers {
        let store = shared().await;
        self.land(&store).await;
        let verifier = Verifier::new(store, definition);
        Numbers(
            verifier
                .as_known(&self.account, ms(at), ms(known_at))
                .await
                .unwrap(),
        )
    }
}

/// What came out.
pub struct Numbers(pub Known);

impl Numbers {
    pub fn value(&self, name: &str) -> &Value {
        let known = self.0.inputs.get(name).or_else(|| self.0.scores.get(name));
        known.unwrap_or_else(|| panic!("there is no {name}"))
    }

    #[track_caller]
    pub fn is(&self, name: &str, expected: f64) -> &Numbers {
        let found = self.value(name).as_f64();
        let found = found.unwrap_or_else(|| panic!("{name} is {}, not {expected}", self.value(name)));
        assert!(
            (found - expected).abs() < 1e-9,
            "{name} is {found}, not {expected}"
        );
        self
    }

    #[track_caller]
    pub fn says(&self, name: &str, expected: &str) -> &Numbers {
        assert_eq!(self.value(name), &Value::from(expected), "{name}");
        self
    }

    #[track_caller]
    pub fn unknown(&self, names: &[&str]) -> &Numbers {
        for name in names {
            assert_eq!(self.value(name), &Value::Null, "{name}");
        }
        self
    }

    /// A driver's value, baseline and points.
    #[track_caller]
    pub fn driver(&self, score: &str, input: &str) -> (Option<f64>, Option<f64>, f64) {
        let drivers = self.0.contributions.as_array().unwrap();
        let found = drivers
            .iter()
            .find(|one| one["score"] == score && one["input"] == input)
            .unwrap_or_else(|| panic!("{input} does not drive {score}"));
        (
            found["value"].as_f64(),
            found["baseline"].as_f64(),
            found["points"].as_f64().unwrap(),
        )
    }
}
