use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::keys::ApiKeys;
use crate::server::Error;

/// Section `[api]`: where to listen, who may ask, and how much at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the API and the page. Anything but loopback needs an entry in `api_keys`.
    /// Default `127.0.0.1:8080`.
    pub listen: String,
    /// Who may ask: each a key, or `file:PATH` of a file with one key a line. When there is none,
    /// everybody who reaches the address may. Default none.
    pub api_keys: Vec<ApiKey>,
    /// Whether `/metrics` is answered without a key even when there are keys. Default false.
    pub metrics_without_key: bool,
    /// Host names, besides those of loopback, under which the API may be asked while there is no key:
    /// those of a proxy in front of it. Default none.
    pub allowed_hosts: Vec<String>,
    /// Seconds that one request may take. Default 30.
    pub request_timeout_seconds: u64,
    /// Seconds that a client may take to send the head of a request. Default 10.
    pub header_timeout_seconds: u64,
    /// Seconds that a stop waits for requests at work. Default 3.
    pub shutdown_timeout_seconds: u64,
    /// Bytes that the body of a request may have. Default 1048576.
    pub max_body_bytes: usize,
    /// Connections at once; further ones wait to be accepted. Default 1024.
    pub max_connections: usize,
    /// Requests at work at once; further ones are answered 503. Default 64.
    pub max_concurrent_requests: usize,
    /// Entries of a list when the request does not say how many. Default 50.
    pub page_size: u32,
    /// Most entries of a list that a request may ask for. Default 500.
    pub max_page_size: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: "127.0.0.1:8080".to_string(),
            api_keys: Vec::new(),
            metrics_without_key: false,
            allowed_hosts: Vec::new(),
            request_timeout_seconds: 30,
            header_timeout_seconds: 10,
            shutdown_timeout_seconds: 3,
            max_body_bytes: 1 << 20,
            max_connections: 1_024,
            max_concurrent_requests: 64,
            page_size: 50,
            max_page_size: 500,
        }
    }
}

impl Config {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_seconds)
    }

    pub(crate) fn shutdown_timeout(&self) -> Duration {
        Duration::from_secs(self.shutdown_timeout_seconds)
    }

    /// Checks what can be checked without listening.
    ///
    /// # Errors
    /// A bound of 0, a key that cannot be read or used, and an address that is not loopback while
    /// there is no key.
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(bound) = self.impossible_bound() {
            return Err(Error::ImpossibleBound(bound));
        }
        let host = self
            .listen
            .rsplit_once(':')
            .map_or(self.listen.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // A name is looked up when it is listened on, and then checked in the same way.
        let is_open = host.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback());
        if ApiKeys::read(&self.api_keys)?.is_empty() && is_open {
            return Err(Error::KeyWanted {
                listen: self.listen.clone(),
            });
        }
        Ok(())
    }

    /// The first bound that would let nothing through, with its name in the configuration.
    pub(crate) fn impossible_bound(&self) -> Option<&'static str> {
        let bounds = [
            ("request_timeout_seconds", self.request_timeout_seconds),
            ("header_timeout_seconds", self.header_timeout_seconds),
            ("max_connections", self.max_connections as u64),
            ("max_concurrent_requests", self.max_concurrent_requests as u64),
            ("page_size", u64::from(self.page_size)),
            ("max_page_size", u64::from(self.max_page_size)),
        ];
        let (name, _) = bounds.into_iter().find(|(_, value)| *value == 0)?;
        Some(name)
    }
}

/// A key, or `file:PATH`. Hidden from debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key as it stands in the configuration.
    pub fn new(text: impl Into<String>) -> ApiKey {
        ApiKey(text.into())
    }

    /// The key, or `file:PATH`.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.strip_prefix("file:") {
            Some(_) => formatter.write_str(&self.0),
            None => formatter.write_str("***"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_address_wants_a_key() {
        let at = |listen: &str, api_keys: Vec<ApiKey>| Config {
            listen: listen.to_string(),
            api_keys,
            ..Config::default()
        };
        for open in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"] {
            assert!(
                matches!(at(open, Vec::new()).validate(), Err(Error::KeyWanted { .. })),
                "{open}"
            );
            at(open, vec![ApiKey::new("k")]).validate().unwrap();
        }
        for own in ["127.0.0.1:8080", "[::1]:0", "localhost:1"] {
            at(own, Vec::new()).validate().unwrap();
        }
        let shut = Config {
            page_size: 0,
            ..Config::default()
        };
        assert!(matches!(
            shut.validate(),
            Err(Error::ImpossibleBound("page_size"))
        ));
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let config = Config {
            api_keys: vec![ApiKey::new("s3cret"), ApiKey::new("file:/run/key")],
            ..Config::default()
        };
        let shown = format!("{config:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("file:/run/key"), "{shown}");
    }

    #[test]
    fn a_key_that_is_not_known_is_refused() {
        let error = serde_json::from_str::<Config>(r#"{"listne":"127.0.0.1:1"}"#).unwrap_err();
        assert!(error.to_string().contains("listne"), "{error}");
    }

    #[test]
    fn a_bound_of_nothing_is_named() {
        let config = Config {
            max_concurrent_requests: 0,
            ..Config::default()
        };
        assert_eq!(config.impossible_bound(), Some("max_concurrent_requests"));
        assert_eq!(Config::default().impossible_bound(), None);
    }
}
