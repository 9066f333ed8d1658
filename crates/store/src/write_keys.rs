//! Write keys: who may send events over HTTP.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{Error, Store};

/// A row of `write_keys`. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct WriteKeyRow {
    pub key_id: String,
    pub version: u64,
    pub key_hash: String,
    pub source: String,
    pub kind: String,
    pub rate_limit: u32,
    pub daily_quota: u64,
    pub created_at: i64,
    pub revoked_at: Option<i64>,
}

/// How many events of a source have landed.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct SourceCount {
    /// The source.
    pub source: String,
    /// Its events.
    pub events: u64,
}

impl Store {
    /// Every write key there has been, oldest first, those that were revoked included. Not asked again
    /// when it fails: the caller has an older answer.
    pub async fn write_keys(&self) -> Result<Vec<WriteKeyRow>, Error> {
        self.fetch("read the write keys", false, |client| {
            client.query("SELECT ?fields FROM write_keys FINAL ORDER BY created_at, key_id")
        })
        .await
    }

    /// Adds a write key, or replaces the row of the same id and a lower version.
    pub async fn save_write_key(&self, key: &WriteKeyRow) -> Result<(), Error> {
        let token = format!("{}-{}", key.key_id, key.version);
        self.insert("write_keys", &token, std::slice::from_ref(key)).await
    }

    /// How many events of each of `sources` were received at or after `since` (milliseconds).
    pub async fn events_of_sources(&self, sources: &[String], since: i64) -> Result<Vec<SourceCount>, Error> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        self.fetch("count the events of sources", false, |client| {
            client
                .query(
                    "SELECT toString(source) AS source, uniqExact(account_id, event_id) AS events FROM events
                     WHERE source IN ? AND received_at >= fromUnixTimestamp64Milli(?, 'UTC')
                     GROUP BY source ORDER BY source",
                )
                .bind(sources)
                .bind(since)
        })
        .await
    }
}
