use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// Seconds that one insert may take before it is tried again. Default 30.
    pub insert_timeout_seconds: u64,
    /// Seconds that one query may take. Default 60.
    pub query_timeout_seconds: u64,
    /// Seconds that a start waits for the server to answer. Default 5.
    pub connect_timeout_seconds: u64,
    /// Seconds between the tries of an insert that the server could not take: the first pause; it
    /// doubles up to `retry_max_seconds`. Default 0.2.
    pub retry_seconds: f64,
    /// The longest pause between two tries, in seconds. Default 5.
    pub retry_max_seconds: f64,
    /// Further ClickHouse settings, sent with every request.
    pub settings: BTreeMap<String, String>,
}

impl Default for ClickHouseConfig {
    fn default() -> Self {
        ClickHouseConfig {
            url: "http://127.0.0.1:8123".to_string(),
            database: "mimamori".to_string(),
            user: "default".to_string(),
            password: String::new(),
            insert_timeout_seconds: 30,
            query_timeout_seconds: 60,
            connect_timeout_seconds: 5,
            retry_seconds: 0.2,
            retry_max_seconds: 5.0,
            settings: BTreeMap::new(),
        }
    }
}

impl ClickHouseConfig {
    pub(crate) fn insert_timeout(&self) -> Duration {
        Duration::from_secs(self.insert_timeout_seconds)
    }

    pub(crate) fn query_timeout(&self) -> Duration {
        Duration::from_secs(self.query_timeout_seconds)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_seconds)
    }

    /// The pause before try number `attempt` + 1, counted from 1.
    pub(crate) fn pause_after(&self, attempt: u32) -> Duration {
        let doubled = self.retry_seconds * 2f64.powi(attempt.saturating_sub(1).min(30) as i32);
        Duration::try_from_secs_f64(doubled.min(self.retry_max_seconds)).unwrap_or(Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let config = ClickHouseConfig::default();
        assert_eq!(config.pause_after(1), Duration::from_millis(200));
        assert_eq!(config.pause_after(2), Duration::from_millis(400));
        assert_eq!(config.pause_after(60), Duration::from_secs(5));
    }
}
