use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Section `[clickhouse]`: where the database is and how long to wait for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouseConfig {
    /// The HTTP interface. Default `http://127.0.0.1:8123`.
    pub url: String,
    /// The database; created when it is missing. Default `mimamori`.
    pub database: String,
    /// The user. Default `default`.
    pub user: String,
    /// The password, or `file:PATH`. Default none.
    pub password: String,
    /// Seconds that one attempt of an insert may take before the next; the server, too, drops one that
    /// takes longer. Must be shorter than `kafka.session_timeout_ms`: a worker that was stopped while it
    /// wrote must have ended that write before another one owns its partitions. Default 10.
    pub insert_timeout_seconds: u64,
    /// Seconds that one query may take; the server, too, gives up one that takes longer. Default 60.
    pub query_timeout_seconds: u64,
    /// Seconds that a start waits for the server to answer. Default 5.
    pub connect_timeout_seconds: u64,
    /// Seconds between the tries of an insert that the server could not take: the first pause; it
    /// doubles up to `retry_max_seconds`. Default 0.2.
    pub retry_seconds: f64,
    /// The longest pause between two tries, in seconds. Default 5.
    pub retry_max_seconds: f64,
    /// Seconds without an answer after which the server is asked whether it is there at all, and that it
    /// has to say so. Once it is back, what was sent to it before is sent again at once. Default 2.
    pub sign_of_life_seconds: f64,
    /// Whether what goes to the server and comes back is compressed with LZ4. Default: unless the server is on
    /// the same machine, as its address says.
    pub compress: Option<bool>,
    /// Further ClickHouse settings, sent with every request. Those that inserts rest on, such as
    /// `async_insert`, stay as mimamori needs them.
    pub settings: BTreeMap<String, String>,
}

impl Default for ClickHouseConfig {
    fn default() -> Self {
        ClickHouseConfig {
            url: "http://127.0.0.1:8123".to_string(),
            database: "mimamori".to_string(),
            user: "default".to_string(),
            password: String::new(),
            insert_timeout_seconds: 10,
            query_timeout_seconds: 60,
            connect_timeout_seconds: 5,
            retry_seconds: 0.2,
            retry_max_seconds: 5.0,
            sign_of_life_seconds: 2.0,
            compress: None,
            settings: BTreeMap::new(),
        }
    }
}

impl ClickHouseConfig {
    /// What cannot be worked with: the field and what would be right.
    pub fn problem(&self) -> Option<String> {
        let whole = [
            ("insert_timeout_seconds", self.insert_timeout_seconds),
            ("query_timeout_seconds", self.query_timeout_seconds),
            ("connect_timeout_seconds", self.connect_timeout_seconds),
        ];
        if let Some((name, _)) = whole.iter().find(|(_, seconds)| *seconds == 0) {
            return Some(format!("clickhouse.{name}: is 0: give at least 1"));
        }
        let broken = [
            ("retry_seconds", self.retry_seconds),
            ("retry_max_seconds", self.retry_max_seconds),
            ("sign_of_life_seconds", self.sign_of_life_seconds),
        ];
        let usable = 0.01..=3600.0;
        let (name, seconds) = broken.iter().find(|(_, seconds)| !usable.contains(seconds))?;
        Some(format!("clickhouse.{name}: is {seconds}: give 0.01 to 3600"))
    }

    /// Whether traffic with a server at `url` is compressed.
    pub(crate) fn compresses(&self, url: &str) -> bool {
        self.compress.unwrap_or_else(|| !is_loopback(url))
    }

    pub(crate) fn insert_timeout(&self) -> Duration {
        Duration::from_secs(self.insert_timeout_seconds)
    }

    pub(crate) fn query_timeout(&self) -> Duration {
        Duration::from_secs(self.query_timeout_seconds)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_seconds)
    }

    pub(crate) fn sign_of_life(&self) -> Duration {
        Duration::try_from_secs_f64(self.sign_of_life_seconds).unwrap_or(Duration::from_secs(2))
    }

    /// The pause before try number `attempt` + 1, counted from 1.
    pub(crate) fn pause_after(&self, attempt: u32) -> Duration {
        let doubled = self.retry_seconds * 2f64.powi(attempt.saturating_sub(1).min(30) as i32);
        Duration::try_from_secs_f64(doubled.min(self.retry_max_seconds)).unwrap_or(Duration::from_secs(5))
    }
}

/// Whether an address is one of the machine itself.
fn is_loopback(url: &str) -> bool {
    match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_would_let_nothing_through_is_named() {
        assert_eq!(ClickHouseConfig::default().problem(), None);
        let config = ClickHouseConfig {
            sign_of_life_seconds: 0.0,
            ..ClickHouseConfig::default()
        };
        assert!(
            config
                .problem()
                .unwrap()
                .starts_with("clickhouse.sign_of_life_seconds: ")
        );
        let config = ClickHouseConfig {
            query_timeout_seconds: 0,
            ..ClickHouseConfig::default()
        };
        assert!(
            config
                .problem()
                .unwrap()
                .starts_with("clickhouse.query_timeout_seconds: ")
        );
    }

    #[test]
    fn what_stays_on_the_machine_is_not_compressed_unless_told() {
        let mut config = ClickHouseConfig::default();
        for near in [
            "http://127.0.0.1:8123",
            "http://localhost:8123/",
            "http://[::1]:1",
        ] {
            assert!(!config.compresses(near), "{near}");
        }
        for far in ["http://clickhouse:8123", "https://10.0.0.7", "http://127.example"] {
            assert!(config.compresses(far), "{far}");
        }
        config.compress = Some(true);
        assert!(config.compresses("http://localhost:8123"));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let config = ClickHouseConfig::default();
        assert_eq!(config.pause_after(1), Duration::from_millis(200));
        assert_eq!(config.pause_after(2), Duration::from_millis(400));
        assert_eq!(config.pause_after(60), Duration::from_secs(5));
    }
}
