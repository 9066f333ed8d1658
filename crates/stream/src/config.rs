//! The section `[kafka]`: where the broker is, and every bound and deadline of the client.
//!
//! What mimamori's guarantees rest on (acknowledgement, idempotence, commits, the partitioner, the
//! assignment) cannot be set through `properties`: such a name is refused, not ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How to reach Kafka. Every field has a default, so that an empty section is a local broker.
///
/// With TLS and a password:
/// ```toml
/// [kafka]
/// brokers = "kafka-1.example:9093,kafka-2.example:9093"
/// [kafka.properties]
/// "security.protocol" = "SASL_SSL"
/// "sasl.mechanisms" = "SCRAM-SHA-512"    # or PLAIN, SCRAM-SHA-256
/// "sasl.username" = "mimamori"
/// "sasl.password" = "file:/run/secrets/kafka-password"
/// "ssl.ca.location" = "/etc/ssl/kafka-ca.pem"
/// ```
/// With OAUTHBEARER, `oauth_token_file` names the token in place of user and password.
#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Bootstrap addresses, `host:port`, separated by commas. Default `127.0.0.1:9092`.
    pub brokers: String,
    /// Name under which the broker logs and limits this client. Default `mimamori`.
    pub client_id: String,
    /// Handed to librdkafka as they are: `security.protocol`, `sasl.*`, `ssl.*`, `broker.address.family`
    /// and so on. A value `file:PATH` is read from that file (for secrets). Names that mimamori sets
    /// itself are refused. Default: none.
    pub properties: BTreeMap<String, String>,
    /// File that holds the OAUTHBEARER token (a JWT with `exp` and `sub`); it is read again before the
    /// token runs out, so an agent may renew it in place. Needs `sasl.mechanisms = "OAUTHBEARER"` in
    /// `properties`. Default: none.
    pub oauth_token_file: Option<PathBuf>,
    /// How long a start waits for a broker to answer, in milliseconds. Default 5000.
    pub connect_timeout_ms: u64,
    /// Deadline of one request to a broker, in milliseconds. Default 10000.
    pub request_timeout_ms: u64,
    /// Without a heartbeat for this long a consumer loses its partitions, in milliseconds; a killed
    /// worker's partitions move on after it. Default 15000.
    pub session_timeout_ms: u64,
    /// Interval of heartbeats, in milliseconds; at most a third of the session timeout. Members learn of
    /// a rebalance by them, so it is also how long a partition may wait to move. Default 1000.
    pub heartbeat_interval_ms: u64,
    /// How long an owner may take to finish what it holds of a partition that moves to another member,
    /// in milliseconds; must be under two thirds of the session timeout. Default 5000.
    pub revoke_deadline_ms: u64,
    /// How often the ends of the owned partitions are asked for, in milliseconds. Default 1000.
    pub lag_interval_ms: u64,
    /// A role that has had no answer of a broker for this long is not ready, in milliseconds; at least three
    /// times `lag_interval_ms` is waited. Default 10000.
    pub silent_after_ms: u64,
    /// Bound of what a consumer fetches ahead of its owner, in KiB, over all its partitions. Default 16384.
    pub prefetch_kib: u32,
    /// How long the producer tries to deliver a record before it reports failure, in milliseconds.
    /// Default 60000.
    pub delivery_timeout_ms: u64,
    /// How long the producer waits to fill a batch, in milliseconds. Default 5.
    pub linger_ms: u64,
    /// Compression of produced batches: `none`, `lz4`, `zstd`. Default `lz4`: about the ratio that
    /// matters on small events at a fraction of zstd's processor time, on both ends.
    pub compression: Compression,
    /// Bound of records that wait for acknowledgement in a producer. Default 100000.
    pub producer_queue_records: u32,
    /// Bound of what waits for acknowledgement in a producer, in KiB. Default 65536.
    pub producer_queue_kib: u32,
    /// Largest record that the producer takes, in bytes; the topic's `max.message.bytes` has the last
    /// word. Default 4194304.
    pub max_record_bytes: u32,
    /// Replicas of the topics that mimamori creates; -1 leaves it to the broker. With 3 or more their
    /// `min.insync.replicas` is 2, so that what is acknowledged is on two brokers at least. Default -1.
    pub topic_replication: i32,
}

impl Default for KafkaConfig {
    fn default() -> KafkaConfig {
        KafkaConfig {
            brokers: "127.0.0.1:9092".to_owned(),
            client_id: "mimamori".to_owned(),
            properties: BTreeMap::new(),
            oauth_token_file: None,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 10_000,
            session_timeout_ms: 15_000,
            heartbeat_interval_ms: 1_000,
            revoke_deadline_ms: 5_000,
            lag_interval_ms: 1_000,
            silent_after_ms: 10_000,
            prefetch_kib: 16_384,
            delivery_timeout_ms: 60_000,
            linger_ms: 5,
            compression: Compression::Lz4,
            producer_queue_records: 100_000,
            producer_queue_kib: 65_536,
            max_record_bytes: 4_194_304,
            topic_replication: -1,
        }
    }
}

/// Compression of produced batches.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As they are.
    None,
    /// LZ4: fast on both ends.
    Lz4,
    /// Zstandard: smaller, at more processor time.
    Zstd,
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

impl fmt::Debug for KafkaConfig {
    /// Secrets among the properties are masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<&str, &str> = self
            .properties
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str(),
                    if is_secret_property(name) {
                        "***"
                    } else {
                        value.as_str()
                    },
                )
            })
            .collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("properties", &properties)
            .field("oauth_token_file", &self.oauth_token_file)
            .finish_non_exhaustive()
    }
}

/// Whether the value of a librdkafka property must not be shown.
pub fn is_secret_property(name: &str) -> bool {
    name.contains("password")
        || name.contains("secret")
        || name.ends_with(".pem")
        || name == "sasl.oauthbearer.config"
}

/// What our promises rest on, and what has a field of its own in [`KafkaConfig`]: name, and what to
/// use in its place (empty: nothing, it is fixed).
const RESERVED: &[(&str, &str)] = &[
    ("acks", ""),
    ("allow.auto.create.topics", ""),
    ("api.version.request", ""),
    ("auto.commit.interval.ms", ""),
    ("auto.offset.reset", ""),
    ("bootstrap.servers", "kafka.brokers"),
    ("client.id", "kafka.client_id"),
    ("compression.codec", "kafka.compression"),
    ("compression.type", "kafka.compression"),
    ("delivery.report.only.error", ""),
    ("delivery.timeout.ms", "kafka.delivery_timeout_ms"),
    ("enable.auto.commit", ""),
    ("enable.auto.offset.store", ""),
    ("enable.idempotence", ""),
    ("enable.partition.eof", ""),
    ("enable.sasl.oauthbearer.unsecure.jwt", ""),
    ("fetch.max.bytes", "kafka.prefetch_kib"),
    ("group.id", ""),
    ("group.instance.id", ""),
    ("group.protocol", ""),
    ("heartbeat.interval.ms", "kafka.heartbeat_interval_ms"),
    ("isolation.level", ""),
    ("linger.ms", "kafka.linger_ms"),
    ("log.queue", ""),
    ("max.in.flight", ""),
    ("max.in.flight.requests.per.connection", ""),
    ("max.poll.interval.ms", ""),
    ("message.max.bytes", "kafka.max_record_bytes"),
    ("message.timeout.ms", "kafka.delivery_timeout_ms"),
    ("metadata.broker.list", "kafka.brokers"),
    ("partition.assignment.strategy", ""),
    ("partitioner", ""),
    ("queue.buffering.max.kbytes", "kafka.producer_queue_kib"),
    ("queue.buffering.max.messages", "kafka.producer_queue_records"),
    ("queue.buffering.max.ms", "kafka.linger_ms"),
    ("queued.max.messages.kbytes", "kafka.prefetch_kib"),
    ("receive.message.max.bytes", ""),
    ("request.required.acks", ""),
    ("request.timeout.ms", "kafka.request_timeout_ms"),
    ("session.timeout.ms", "kafka.session_timeout_ms"),
    ("socket.timeout.ms", "kafka.request_timeout_ms"),
    ("test.mock.num.brokers", ""),
    ("transactional.id", ""),
];

impl KafkaConfig {
    /// The same client, at other addresses. For tests and for `--kafka-brokers`.
    pub fn at(brokers: impl Into<String>) -> KafkaConfig {
        KafkaConfig {
            brokers: brokers.into(),
            ..KafkaConfig::default()
        }
    }

    /// Says what cannot be used, without asking any broker.
    pub fn validate(&self) -> Result<(), Error> {
        self.client().map(drop)
    }

    /// How long a start waits for a broker.
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Deadline of one request.
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// What every client shares.
    pub(crate) fn client(&self) -> Result<ClientConfig, Error> {
        self.check_bounds()?;
        let mut client = ClientConfig::new();
        for (name, value) in &self.properties {
            if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
                let problem = if instead.is_empty() {
                    "mimamori's guarantees rest on its own setting: remove it".to_owned()
                } else {
                    format!("set {instead} in its place")
                };
                return Err(Error::Config {
                    field: format!("properties.{name}"),
                    problem,
                });
            }
            client.set(name, resolve(name, value)?);
        }
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("socket.timeout.ms", self.request_timeout_ms.to_string())
            .set("message.max.bytes", self.max_record_bytes.to_string())
            // A broker that comes back is found within a second or so, not within librdkafka's ten.
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set_log_level(RDKafkaLogLevel::Info);
        // librdkafka checks names and values when it makes its own copy.
        client.create_native_config()?;
        Ok(client)
    }

    /// The producer: acknowledged by all replicas, idempotent, and with the one partitioner.
    pub(crate) fn producer(&self) -> Result<ClientConfig, Error> {
        let mut client = self.client()?;
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", self.linger_ms.to_string())
            .set("compression.type", self.compression.name())
            .set(
                "queue.buffering.max.messages",
                self.producer_queue_records.to_string(),
            )
            .set("queue.buffering.max.kbytes", self.producer_queue_kib.to_string())
            .set(
                "request.timeout.ms",
                self.request_timeout_ms.min(self.delivery_timeout_ms).to_string(),
            )
            .set("message.timeout.ms", self.delivery_timeout_ms.to_string());
        Ok(client)
    }

    /// A consumer of a group. `reset` is what happens to a partition without a usable offset.
    pub(crate) fn consumer(&self, group: &str, reset: &str) -> Result<ClientConfig, Error> {
        let mut client = self.client()?;
        let fetch_bytes = (u64::from(self.prefetch_kib) * 1024).max(u64::from(self.max_record_bytes));
        client
            .set("group.id", group)
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", reset)
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("session.timeout.ms", self.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", self.heartbeat_interval_ms.to_string())
            .set("queued.max.messages.kbytes", self.prefetch_kib.to_string())
            // librdkafka waits a whole second by default before it refills a full queue.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.max.bytes", fetch_bytes.to_string())
            .set("receive.message.max.bytes", (fetch_bytes + 1_048_576).to_string());
        Ok(client)
    }

    fn check_bounds(&self) -> Result<(), Error> {
        let refuse = |field: &str, problem: String| {
            Err(Error::Config {
                field: field.to_owned(),
                problem,
            })
        };
        if self.brokers.trim().is_empty() {
            return refuse("brokers", "is empty: give host:port".to_owned());
        }
        if self.heartbeat_interval_ms * 3 > self.session_timeout_ms {
            return refuse(
                "heartbeat_interval_ms",
                format!(
                    "must be at most a third of session_timeout_ms ({})",
                    self.session_timeout_ms
                ),
            );
        }
        if self.revoke_deadline_ms * 3 > self.session_timeout_ms * 2 {
            return refuse(
                "revoke_deadline_ms",
                format!(
                    "must be at most two thirds of session_timeout_ms ({})",
                    self.session_timeout_ms
                ),
            );
        }
        let prefetch = 64..=1_048_576;
        if !prefetch.contains(&self.prefetch_kib) {
            return refuse(
                "prefetch_kib",
                format!("must be within {} to {}", prefetch.start(), prefetch.end()),
            );
        }
        if self.lag_interval_ms == 0 {
            return refuse("lag_interval_ms", "must be over 0".to_owned());
        }
        let asks_oauth = ["sasl.mechanisms", "sasl.mechanism"].iter().any(|name| {
            self.properties
                .get(*name)
                .is_some_and(|value| value.eq_ignore_ascii_case("OAUTHBEARER"))
        });
        if asks_oauth && self.oauth_token_file.is_none() {
            return refuse(
                "oauth_token_file",
                "is needed by sasl.mechanisms = OAUTHBEARER".to_owned(),
            );
        }
        Ok(())
    }
}

/// Reads `file:PATH`; any other value stands for itself.
fn resolve(name: &str, value: &str) -> Result<String, Error> {
    let Some(path) = value.strip_prefix("file:") else {
        return Ok(value.to_owned());
    };
    match std::fs::read_to_string(path) {
        Ok(content) => Ok(content.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(Error::Config {
            field: format!("properties.{name}"),
            problem: format!("cannot read {path}: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::default();
        config.properties.insert(name.to_owned(), value.to_owned());
        config
    }

    #[test]
    fn the_defaults_are_usable() {
        let config = KafkaConfig::default();
        config.validate().unwrap();
        config.producer().unwrap().create_native_config().unwrap();
        config
            .consumer("g", "earliest")
            .unwrap()
            .create_native_config()
            .unwrap();
    }

    #[test]
    fn what_our_guarantees_rest_on_cannot_be_set() {
        for (name, _) in RESERVED {
            let error = with(name, "1").validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let error = with("linger.ms", "9").validate().unwrap_err().to_string();
        assert_eq!(
            error,
            "kafka.properties.linger.ms: set kafka.linger_ms in its place"
        );
    }

    #[test]
    fn every_reserved_name_is_one_that_librdkafka_knows() {
        let native = ClientConfig::new().create_native_config().unwrap();
        for (name, _) in RESERVED {
            // Topic-level names are not in the global list; they are told apart by being settable.
            let known = native.get(name).is_ok()
                || ClientConfig::new().set(*name, "1").create_native_config().is_ok()
                || [
                    "partitioner",
                    "compression.codec",
                    "auto.offset.reset",
                    "compression.type",
                ]
                .contains(name);
            assert!(known, "{name}");
        }
    }

    #[test]
    fn an_unknown_property_is_an_error_that_names_it() {
        let error = with("securty.protocol", "SSL")
            .validate()
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("kafka.properties.securty.protocol"), "{error}");
    }

    #[test]
    fn a_secret_may_be_a_file_and_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\n").unwrap();
        let mut config = with("sasl.password", &format!("file:{}", file.path().display()));
        assert_eq!(config.client().unwrap().get("sasl.password"), Some("hush"));
        config
            .properties
            .insert("sasl.password".to_owned(), "hush".to_owned());
        assert!(!format!("{config:?}").contains("hush"));
        let error = with("sasl.password", "file:/nowhere/at/all")
            .validate()
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot read /nowhere/at/all"), "{error}");
    }

    #[test]
    fn bounds_that_break_the_session_are_refused() {
        let config = KafkaConfig {
            revoke_deadline_ms: 14_000,
            ..KafkaConfig::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .starts_with("kafka.revoke_deadline_ms")
        );
        let config = KafkaConfig {
            heartbeat_interval_ms: 6_000,
            ..KafkaConfig::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .starts_with("kafka.heartbeat_interval_ms")
        );
    }

    #[test]
    fn unknown_fields_of_the_section_are_errors() {
        assert!(serde_json::from_str::<KafkaConfig>(r#"{"broker":"x"}"#).is_err());
        let config: KafkaConfig = serde_json::from_str(r#"{"brokers":"x:1","compression":"zstd"}"#).unwrap();
        assert_eq!(
            (config.brokers.as_str(), config.compression),
            ("x:1", Compression::Zstd)
        );
    }
}
