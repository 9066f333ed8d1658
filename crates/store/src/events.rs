use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Error, Store};
use crate::rows::EventRow;

/// Pairs asked in one query by [`Store::seen_events`].
const PAIRS_PER_QUERY: usize = 5_000;

/// An event that `events` holds, and where it stands in the topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Row, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct SeenEvent {
    pub account_id: String,
    pub event_id: String,
    pub kafka_partition: i32,
    pub kafka_offset: i64,
}

#[derive(Row, Deserialize)]
struct OffsetRow {
    kafka_offset: i64,
}

impl Store {
    /// Lands accepted events of one partition of the topic.
    pub async fn insert_events(&self, token: &str, rows: &[EventRow]) -> Result<(), Error> {
        self.insert("events", token, rows).await
    }

    /// The offsets at or above `from` of one partition of the topic that have landed, ascending.
    pub async fn landed_offsets(&self, partition: i32, from: i64) -> Result<Vec<i64>, Error> {
        let rows: Vec<OffsetRow> = self
            .fetch("read the landed offsets", true, |client| {
                client
                    .query(
                        "SELECT DISTINCT kafka_offset FROM events
                         WHERE kafka_partition = ? AND kafka_offset >= ? ORDER BY kafka_offset",
                    )
                    .bind(partition)
                    .bind(from)
            })
            .await?;
        Ok(rows.into_iter().map(|row| row.kafka_offset).collect())
    }

    /// Which of the given events, as pairs of account and event id, have landed.
    pub async fn seen_events(&self, pairs: &[(String, String)]) -> Result<Vec<SeenEvent>, Error> {
        let mut seen = Vec::new();
        for chunk in pairs.chunks(PAIRS_PER_QUERY) {
            let mut accounts: Vec<&str> = chunk.iter().map(|(account, _)| account.as_str()).collect();
            accounts.sort_unstable();
            accounts.dedup();
            let ids: Vec<&str> = chunk.iter().map(|(_, id)| id.as_str()).collect();
            let rows: Vec<SeenEvent> = self
                .fetch("look up late events", true, |client| {
                    client
                        .query(
                            "SELECT account_id, event_id, kafka_partition, kafka_offset FROM events
                             WHERE account_id IN ? AND event_id IN ?",
                        )
                        .bind(&accounts)
                        .bind(&ids)
                })
                .await?;
            seen.extend(rows);
        }
        Ok(seen)
    }
}
