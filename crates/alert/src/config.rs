//! Section `[alert]`: where alerts go, and every bound and deadline on the way.
//!
//! [`Config::endpoints`] is the only way to a destination that can be sent to, so one that exists has a
//! usable address, secret and bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::address::{self, Refused};
use crate::breaker::BreakerConfig;
use crate::lane::CircuitLimits;
use crate::schedule::{STANDARD_PAUSES, Schedule, ScheduleError};
use crate::signature::{Secret, SecretError};

/// Section `[alert]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where alerts go. Default none: alerts are recorded and sent nowhere.
    pub destinations: Vec<Destination>,
    /// The consumer group. Default `mimamori-alert`.
    pub group: String,
    /// The pause before each attempt of a delivery, in seconds; as many attempts as there are pauses.
    /// Default 0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400.
    pub retry_seconds: Vec<f64>,
    /// Each pause is lengthened by up to this share of itself, from 0 to 1. Default 0.2.
    pub retry_jitter: f64,
    /// The longest time that a receiver may ask for with `Retry-After`, in seconds. Default 3600.
    pub retry_after_max_seconds: u64,
    /// An alert that could not be sent within so many seconds is put down in ClickHouse as pending, so
    /// that its offset can be committed. Default 2.
    pub set_aside_seconds: f64,
    /// How often, in seconds and at most, deliveries that wait in ClickHouse alone are looked for once
    /// one of them is due. Default 1.
    pub reload_seconds: f64,
    /// Alerts that may be between Kafka and the committed offset, over all partitions. Default 10000.
    pub max_uncommitted: usize,
    /// Rows about deliveries that wait to be written. Default 2000.
    pub recorder_queue: usize,
    /// How long a stop, or a partition that moves on, waits for requests under way, in seconds. Those
    /// that take longer are cut and made again. Default 1.
    pub drain_seconds: f64,
    /// Failures in a row without a sign of life (no answer, or a 5xx) after which nothing is sent to a
    /// destination for a while but a probe; 0 never stops. Default 5.
    pub circuit_failures: u32,
    /// How long that while is at first, in seconds; each probe that fails doubles it. Default 30.
    pub circuit_seconds: f64,
    /// The longest while between two probes, in seconds. Default 600.
    pub circuit_max_seconds: f64,
    /// How often the worker looks for what people ask for (replays, releases), in seconds. Default 1.
    pub look_seconds: f64,
    /// When one rule or one cause would alert about so many accounts that one summary goes out instead.
    pub breaker: BreakerConfig,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            destinations: Vec::new(),
            group: "mimamori-alert".to_string(),
            retry_seconds: STANDARD_PAUSES.to_vec(),
            retry_jitter: 0.2,
            retry_after_max_seconds: 3_600,
            set_aside_seconds: 2.0,
            reload_seconds: 1.0,
            max_uncommitted: 10_000,
            recorder_queue: 2_000,
            drain_seconds: 1.0,
            circuit_failures: 5,
            circuit_seconds: 30.0,
            circuit_max_seconds: 600.0,
            look_seconds: 1.0,
            breaker: BreakerConfig::default(),
        }
    }
}

/// One of `[[alert.destinations]]`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Destination {
    /// A name of its own, 1 to 64 of `a-z A-Z 0-9 . _ -`; deliveries are recorded under it. Required.
    pub name: String,
    /// What listens there. Default `webhook`.
    pub kind: Kind,
    /// The address to post to, `https://` or `http://`. Required.
    pub url: String,
    /// The key to sign with: `whsec_` and base64 of 24 to 64 bytes, or `file:PATH`. Required.
    pub secret: String,
    /// Whether the address may lie in a private, loopback or link-local network. Default false.
    pub allow_private_addresses: bool,
    /// Seconds that one attempt may take, the connection included. Default 20.
    pub timeout_seconds: f64,
    /// Requests under way at one time. Default 16.
    pub concurrency: usize,
    /// Requests begun in a second; 0 is no limit. Default 200.
    pub rate_per_second: f64,
    /// Deliveries that wait in memory; more wait in ClickHouse alone. Default 2000.
    pub queue: usize,
    /// Further headers, such as `Authorization`; a value may be `file:PATH`. Default none.
    pub headers: BTreeMap<String, String>,
    /// An HTTP proxy to go through. It then looks names up itself, so `allow_private_addresses` must be
    /// set. Default none; the environment's proxy is never used.
    pub proxy: String,
}

/// What listens at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Anything that takes Standard Webhooks.
    Webhook,
}

impl Default for Destination {
    fn default() -> Destination {
        Destination {
            name: String::new(),
            kind: Kind::Webhook,
            url: String::new(),
            secret: String::new(),
            allow_private_addresses: false,
            timeout_seconds: 20.0,
            concurrency: 16,
            rate_per_second: 200.0,
            queue: 2_000,
            headers: BTreeMap::new(),
            proxy: String::new(),
        }
    }
}

impl fmt::Debug for Destination {
    /// The secret and the values of the headers are masked, and so is what an address may carry of a
    /// password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("allow_private_addresses", &self.allow_private_addresses)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What is wrong with the section `[alert]`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number that is out of its range.
    #[error("alert.{field}: {problem}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The schedule of retries.
    #[error("alert.{0}")]
    Schedule(#[from] ScheduleError),
    /// A destination.
    #[error("alert.destinations {name:?}: {problem}")]
    Destination {
        /// Its name.
        name: String,
        /// What is wrong with it and what to do.
        problem: DestinationProblem,
    },
}

/// What is wrong with a destination.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationProblem {
    /// The name.
    #[error("a name is 1 to 64 of a-z A-Z 0-9 . _ -")]
    Name,
    /// Two have the same name.
    #[error("there are two of that name, give each its own")]
    Twice,
    /// Not an address.
    #[error("url: {0}")]
    Url(String),
    /// An address that it may not have.
    #[error("url: {0}")]
    Address(#[from] Refused),
    /// Not a secret.
    #[error("secret {0}")]
    Secret(#[from] SecretError),
    /// A file that cannot be read.
    #[error("{field}: cannot read {path}: {reason}")]
    File {
        /// The field that names the file.
        field: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A number that is out of its range.
    #[error("{field} must be {range}")]
    Range {
        /// The field.
        field: &'static str,
        /// The permitted range.
        range: &'static str,
    },
    /// A header that cannot be sent or that is ours.
    #[error("header {0:?}: {1}")]
    Header(String, &'static str),
    /// A proxy that cannot be used.
    #[error("proxy: {0}")]
    Proxy(String),
}

/// A destination that can be sent to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub name: String,
    pub url: Url,
    pub secret: Secret,
    pub allow_private_addresses: bool,
    pub timeout: Duration,
    pub concurrency: usize,
    pub rate_per_second: f64,
    pub queue: usize,
    pub headers: HeaderMap,
    pub proxy: Option<String>,
}

impl Config {
    /// Says what cannot be used; reads the files that secrets and headers name, and sends nothing.
    ///
    /// # Errors
    /// [`ConfigError`] with the field and what to do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.endpoints().map(drop)
    }

    pub(crate) fn schedule(&self) -> Result<Schedule, ScheduleError> {
        Schedule::try_new(&self.retry_seconds, self.retry_jitter)
    }

    pub(crate) fn circuit(&self) -> CircuitLimits {
        CircuitLimits {
            failures: self.circuit_failures,
            pause: Duration::from_secs_f64(self.circuit_seconds),
            longest: Duration::from_secs_f64(self.circuit_max_seconds),
        }
    }

    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>, ConfigError> {
        self.schedule()?;
        let out_of_range = |field: &str, problem: &str| {
            Err(ConfigError::Field {
                field: field.to_string(),
                problem: problem.to_string(),
            })
        };
        if self.group.is_empty() {
            return out_of_range("group", "is empty: give the consumer group a name");
        }
        for (field, value) in [
            ("set_aside_seconds", self.set_aside_seconds),
            ("reload_seconds", self.reload_seconds),
            ("drain_seconds", self.drain_seconds),
            ("circuit_seconds", self.circuit_seconds),
            ("look_seconds", self.look_seconds),
        ] {
            if !(0.01..=3_600.0).contains(&value) {
                return out_of_range(field, "must be from 0.01 to 3600");
            }
        }
        if !(self.circuit_seconds..=86_400.0).contains(&self.circuit_max_seconds) {
            return out_of_range("circuit_max_seconds", "must be from circuit_seconds to 86400");
        }
        if let Some((field, problem)) = self.breaker.problem() {
            return out_of_range(field, problem);
        }
        if self.max_uncommitted == 0 || self.recorder_queue == 0 {
            return out_of_range("max_uncommitted and alert.recorder_queue", "must be over 0");
        }
        let mut names = BTreeSet::new();
        let mut endpoints = Vec::with_capacity(self.destinations.len());
        for destination in &self.destinations {
            let endpoint = destination.endpoint().and_then(|endpoint| {
                if names.insert(endpoint.name.clone()) {
                    Ok(endpoint)
                } else {
                    Err(DestinationProblem::Twice)
                }
            });
            endpoints.push(endpoint.map_err(|problem| ConfigError::Destination {
                name: destination.name.clone(),
                problem,
            })?);
        }
        Ok(endpoints)
    }
}

impl Destination {
    fn endpoint(&self) -> Result<Endpoint, DestinationProblem> {
        let speaks = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(speaks) {
            return Err(DestinationProblem::Name);
        }
        let secret = Secret::parse(&resolve("secret", &self.secret)?)?;
        if !(0.01..=300.0).contains(&self.timeout_seconds) {
            return Err(out_of_range("timeout_seconds", "from 0.01 to 300"));
        }
        if !(1..=1_000).contains(&self.concurrency) {
            return Err(out_of_range("concurrency", "from 1 to 1000"));
        }
        if !(0.0..=1_000_000.0).contains(&self.rate_per_second) {
            return Err(out_of_range("rate_per_second", "from 0 (no limit) to 1000000"));
        }
        if !(1..=100_000).contains(&self.queue) {
            return Err(out_of_range("queue", "from 1 to 100000"));
        }
        Ok(Endpoint {
            name: self.name.clone(),
            url: self.address()?,
            secret,
            allow_private_addresses: self.allow_private_addresses,
            timeout: Duration::from_secs_f64(self.timeout_seconds),
            concurrency: self.concurrency,
            rate_per_second: self.rate_per_second,
            queue: self.queue,
            headers: self.header_map()?,
            proxy: self.proxy_address()?,
        })
    }

    fn address(&self) -> Result<Url, DestinationProblem> {
        let url = Url::parse(&self.url).map_err(|error| {
            DestinationProblem::Url(format!(
                "{error}: give an address such as https://cs.example/hooks"
            ))
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(DestinationProblem::Url(format!(
                "{} is not https or http",
                url.scheme()
            )));
        }
        let Some(host) = url.host_str() else {
            return Err(DestinationProblem::Url("it names no host".to_string()));
        };
        if !self.allow_private_addresses {
            address::check_literal(host)?;
        }
        Ok(url)
    }

    fn header_map(&self) -> Result<HeaderMap, DestinationProblem> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let refuse = |reason| DestinationProblem::Header(name.clone(), reason);
            let parsed: HeaderName = name.parse().map_err(|_| refuse("is not a header's name"))?;
            if parsed.as_str().starts_with("webhook-") || OWN_HEADERS.contains(&parsed.as_str()) {
                return Err(refuse("is set by mimamori, remove it"));
            }
            let text = resolve("headers", value)?;
            let mut value =
                HeaderValue::from_str(text.trim()).map_err(|_| refuse("its value cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(parsed, value);
        }
        Ok(headers)
    }

    fn proxy_address(&self) -> Result<Option<String>, DestinationProblem> {
        if self.proxy.is_empty() {
            return Ok(None);
        }
        if !self.allow_private_addresses {
            let reason =
                "it looks names up itself, so the addresses cannot be checked: set allow_private_addresses";
            return Err(DestinationProblem::Proxy(reason.to_string()));
        }
        match Url::parse(&self.proxy) {
            Ok(url) if url.scheme() == "http" && url.has_host() => Ok(Some(self.proxy.clone())),
            _ => Err(DestinationProblem::Proxy(
                "give an address such as http://proxy.example:3128".to_string(),
            )),
        }
    }
}

/// What the request itself decides.
const OWN_HEADERS: [&str; 7] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "user-agent",
];

fn out_of_range(field: &'static str, range: &'static str) -> DestinationProblem {
    DestinationProblem::Range { field, range }
}

/// The text itself, or that of the file which `file:PATH` names.
fn resolve(field: &'static str, text: &str) -> Result<String, DestinationProblem> {
    match text.strip_prefix("file:") {
        None => Ok(text.to_string()),
        Some(path) => std::fs::read_to_string(path).map_err(|reason| DestinationProblem::File {
            field,
            path: path.to_string(),
            reason,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn destination(change: impl FnOnce(&mut Destination)) -> Destination {
        let mut destination = Destination {
            name: "cs-team".into(),
            url: "https://cs.example/hooks".into(),
            secret: SECRET.into(),
            ..Destination::default()
        };
        change(&mut destination);
        destination
    }

    fn problem(change: impl FnOnce(&mut Destination)) -> String {
        let config = Config {
            destinations: vec![destination(change)],
            ..Config::default()
        };
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let config: Config = serde_json::from_str(
            r#"{"destinations":[{"name":"cs-team","kind":"webhook","url":"https://cs.example/hooks",
                "secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","allow_private_addresses":false}]}"#,
        )
        .unwrap();
        config.validate().unwrap();
        assert_eq!(config.destinations[0], destination(|_| {}));
    }

    #[test]
    fn unknown_fields_are_errors() {
        assert!(serde_json::from_str::<Config>(r#"{"destination":[]}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"destinations":[{"link":"x"}]}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"destinations":[{"kind":"pigeon"}]}"#).is_err());
    }

    #[test]
    fn what_cannot_be_sent_to_is_refused_with_its_name_and_field() {
        assert!(problem(|d| d.name = "a b".into()).contains("a name is"));
        assert!(problem(|d| d.url = "cs.example".into()).contains("\"cs-team\": url"));
        assert!(problem(|d| d.url = "ftp://cs.example/".into()).contains("not https or http"));
        assert!(problem(|d| d.secret = String::new()).contains("secret must begin with whsec_"));
        assert!(problem(|d| d.secret = "whsec_c2hvcnQ=".into()).contains("holds 5"));
        assert!(problem(|d| d.timeout_seconds = 0.0).contains("timeout_seconds"));
        assert!(problem(|d| d.timeout_seconds = f64::NAN).contains("timeout_seconds"));
        assert!(problem(|d| d.concurrency = 0).contains("concurrency"));
        assert!(problem(|d| d.queue = 0).contains("queue"));
        assert!(problem(|d| d.proxy = "http://proxy:3128".into()).contains("allow_private_addresses"));
        let with_header = |name: &str, value: &str| {
            let (name, value) = (name.to_string(), value.to_string());
            problem(move |d| d.headers = BTreeMap::from([(name, value)]))
        };
        assert!(with_header("Webhook-Id", "x").contains("is set by mimamori"));
        assert!(with_header("content-type", "x").contains("is set by mimamori"));
        assert!(with_header("x y", "x").contains("not a header's name"));
        assert!(with_header("authorization", "a\nb").contains("cannot be sent"));
    }

    #[test]
    fn a_number_out_of_its_range_is_refused_with_its_field() {
        let problem = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(problem(|c| c.circuit_max_seconds = 29.0).contains("alert.circuit_max_seconds"));
        assert!(problem(|c| c.circuit_seconds = f64::NAN).contains("alert.circuit_seconds"));
        assert!(problem(|c| c.look_seconds = 0.0).contains("alert.look_seconds"));
        assert!(
            problem(|c| c.breaker.share = 20.0).contains("alert.breaker.share: must be from 0 (off) to 1")
        );
        assert!(problem(|c| c.breaker.min_accounts = 0).contains("alert.breaker.min_accounts"));
        assert!(problem(|c| c.breaker.window_minutes = f64::INFINITY).contains("window_minutes"));
    }

    #[test]
    fn private_addresses_need_permission_however_they_are_written() {
        for url in [
            "http://127.0.0.1:9000/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest",
        ] {
            let found = problem(|d| d.url = url.into());
            assert!(found.contains("set allow_private_addresses"), "{url}: {found}");
            let permitted = destination(|d| {
                d.url = url.into();
                d.allow_private_addresses = true;
            });
            assert!(permitted.endpoint().is_ok(), "{url}");
        }
    }

    #[test]
    fn two_destinations_of_one_name_are_refused() {
        let config = Config {
            destinations: vec![destination(|_| {}), destination(|_| {})],
            ..Config::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("two of that name")
        );
    }

    #[test]
    fn a_secret_may_lie_in_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{SECRET}").unwrap();
        let path = file.path().display().to_string();
        let endpoint = destination(|d| d.secret = format!("file:{path}"))
            .endpoint()
            .unwrap();
        assert_eq!(endpoint.secret, Secret::parse(SECRET).unwrap());
        assert!(problem(|d| d.secret = "file:/nonexistent/secret".into()).contains("/nonexistent/secret"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = Config {
            destinations: vec![destination(|d| {
                d.url = "https://user:pass@cs.example/hooks".into();
                d.headers = BTreeMap::from([("authorization".into(), "Bearer t0ken".into())]);
            })],
            ..Config::default()
        };
        let printed = format!("{config:?} {:?}", config.endpoints().unwrap()[0].headers);
        for secret in ["whsec_", "pass", "t0ken"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
