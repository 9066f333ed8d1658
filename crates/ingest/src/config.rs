//! The section `[ingest]`: which events are accepted, and the bounds of the worker.

use event::{DecoderConfig, Door, NameRule, PlanConfig, PrivacyConfig};
use serde::{Deserialize, Serialize};
use stream::topics;

use crate::Error;

/// What a secret begins with that is in a file.
const FILE: &str = "file:";
/// Stands for a key that is in a file, where only the rest is looked at.
const UNREAD: &str = "a key that was not read yet";

/// How raw events are taken in. Every field has a default.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The topic of raw events. Default `usage.events`.
    pub topic: String,
    /// The consumer group. Default `mimamori-ingest`.
    pub group: String,
    /// The most bytes that one event may take, as it was sent. Default 32768.
    pub max_event_bytes: usize,
    /// How many days before its receipt an event may have occurred; 0 = any number. Default 400.
    pub max_age_days: u32,
    /// How many hours after its receipt an event may claim to have occurred. Default 24.
    pub max_future_hours: u32,
    /// Event names of Segment's `track` and types of CloudEvents that mean `login`. Default
    /// `Signed In`, `Logged In`, `login`.
    pub login_names: Vec<String>,
    /// What other event names mean; comes before `login_names`. Default none.
    pub names: Vec<NameRule>,
    /// The tracking plans: what each source is to send, and what becomes of anything else. Default none.
    pub plans: Vec<PlanConfig>,
    /// Fields that are dropped or replaced by a pseudonym before an event goes on. Default none.
    pub privacy: PrivacyConfig,
    /// An event counts as received at the timestamp of its Kafka record, so that a backlog does not
    /// shift it, if that lies at most this many days back; further back it is taken for a time that
    /// the producer made up, and the clock counts. Default 14, which is beyond common retention.
    pub trust_timestamp_days: u32,
    /// Records that wait for the broker's acknowledgement at most. Default 20000.
    pub max_in_flight: usize,
    /// Raw bytes that wait for the broker's acknowledgement at most. Default 67108864 (64 MiB).
    pub max_in_flight_bytes: usize,
    /// How long the oldest record may wait for its acknowledgement before the worker says that it is not
    /// ready, in milliseconds. Default 10000.
    pub stall_ms: u64,
    /// How long stopping waits for what is in flight, in milliseconds. Default 2500.
    pub drain_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Config {
        let decoder = DecoderConfig::default();
        Config {
            topic: topics::RAW.to_owned(),
            group: "mimamori-ingest".to_owned(),
            max_event_bytes: decoder.max_event_bytes,
            max_age_days: decoder.max_age_days,
            max_future_hours: decoder.max_future_hours,
            login_names: decoder.login_names,
            names: decoder.names,
            plans: Vec::new(),
            privacy: PrivacyConfig::default(),
            trust_timestamp_days: 14,
            max_in_flight: 20_000,
            max_in_flight_bytes: 64 << 20,
            stall_ms: 10_000,
            drain_timeout_ms: 2_500,
        }
    }
}

impl Config {
    /// The rules of acceptance; the HTTP collector applies the same ones.
    pub fn decoder(&self) -> DecoderConfig {
        DecoderConfig {
            max_event_bytes: self.max_event_bytes,
            max_age_days: self.max_age_days,
            max_future_hours: self.max_future_hours,
            login_names: self.login_names.clone(),
            names: self.names.clone(),
        }
    }

    /// What every event goes through on its way in, over Kafka as over HTTP. Reads the key of the
    /// pseudonyms from its file, if it is in one.
    ///
    /// # Errors
    /// [`Error::Config`] names the field, or the file.
    pub fn door(&self) -> Result<Door, Error> {
        let key = match self.privacy.key.strip_prefix(FILE) {
            None => self.privacy.key.clone(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Error::Config(format!("privacy.key: cannot read {path}: {error}")))?,
        };
        self.door_with(key.trim_end().as_bytes())
    }

    /// Says what cannot be used, without a look at the file of the key.
    ///
    /// # Errors
    /// [`Error::Config`] names the field.
    pub fn validate(&self) -> Result<(), Error> {
        if self.max_in_flight == 0 || self.max_in_flight_bytes == 0 {
            let problem = "max_in_flight and max_in_flight_bytes must be over 0";
            return Err(Error::Config(problem.to_owned()));
        }
        let key = if self.privacy.key.starts_with(FILE) {
            UNREAD
        } else {
            &self.privacy.key
        };
        self.door_with(key.as_bytes()).map(drop)
    }

    fn door_with(&self, key: &[u8]) -> Result<Door, Error> {
        Door::new(self.decoder(), &self.plans, &self.privacy, key)
            .map_err(|error| Error::Config(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_is_the_default_and_an_unknown_key_an_error() {
        let config: Config = serde_json::from_str("{}").unwrap();
        assert_eq!(
            (config.topic.as_str(), config.group.as_str()),
            ("usage.events", "mimamori-ingest")
        );
        config.validate().unwrap();
        assert!(serde_json::from_str::<Config>(r#"{"max_age":3}"#).is_err());
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let config = Config {
            max_in_flight: 0,
            ..Config::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("max_in_flight")
        );
        let config = Config {
            max_event_bytes: 0,
            ..Config::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("max_event_bytes")
        );
    }

    #[test]
    fn the_key_of_the_pseudonyms_may_be_in_a_file_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let section = |key: &str| -> Config {
            serde_json::from_value(serde_json::json!({
                "privacy": { "key": key, "pseudonymise": ["user_id"] }
            }))
            .unwrap()
        };
        let config = section(&format!("file:{}", path.display()));
        config.validate().unwrap();
        let missing = config.door().err().unwrap().to_string();
        assert!(
            missing.contains("privacy.key") && missing.contains("key"),
            "{missing}"
        );
        std::fs::write(&path, "short\n").unwrap();
        assert!(config.door().err().unwrap().to_string().contains("16 bytes"));
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        let user = |config: &Config| {
            let payload =
                br#"{"event_id":"1","account_id":"a","user_id":"u","type":"login","occurred_at":1}"#;
            config
                .door()
                .unwrap()
                .take(payload, &[], 1, "t")
                .event
                .unwrap()
                .user_id
        };
        assert_eq!(user(&config), user(&section("0123456789abcdef")));
        assert!(!format!("{:?}", section("0123456789abcdef")).contains("0123456789"));
    }
}
