use bytes::Bytes;
use clickhouse::Row;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::client::{Error, Store};
use crate::native::Block;
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

/// Accounts asked in one query by [`Store::events_since`].
const ACCOUNTS_PER_QUERY: usize = 200;

impl Store {
    /// The landed events of some accounts that occurred at `from` (milliseconds) or later, in the order
    /// in which they were accepted within each account.
    pub async fn events_since(&self, accounts: &[String], from: i64) -> Result<Vec<EventRow>, Error> {
        let mut events = Vec::new();
        for chunk in accounts.chunks(ACCOUNTS_PER_QUERY) {
            let rows: Vec<EventRow> = self
                .fetch("read events again", true, |client| {
                    client
                        .query(
                            "SELECT event_id, account_id, user_id, type, name, occurred_at, received_at, source,
                                    properties, kafka_partition, kafka_offset
                             FROM events FINAL
                             WHERE account_id IN ? AND occurred_at >= fromUnixTimestamp64Milli(?)
                             ORDER BY account_id, kafka_offset",
                        )
                        .bind(chunk)
                        .bind(from)
                })
                .await?;
            events.extend(rows);
        }
        Ok(events)
    }

    /// Lands accepted events: month after month, each in an insert of its own, since the server takes the
    /// rows of one partition of the table together or not at all, but not those of several. The same
    /// events in the same order make the same inserts.
    pub async fn insert_events(&self, token: &str, rows: &[EventRow]) -> Result<(), Error> {
        let months: Vec<i32> = rows.iter().map(|row| month_of(row.occurred_at)).collect();
        let mut different = months.clone();
        different.sort_unstable();
        different.dedup();
        for month in different {
            let of_month: Vec<&EventRow> = rows
                .iter()
                .zip(&months)
                .filter_map(|(row, found)| (*found == month).then_some(row))
                .collect();
            self.insert_block(
                "events",
                &format!("{token}-{month}"),
                of_month.len(),
                block(&of_month),
            )
            .await?;
        }
        Ok(())
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

/// The rows as the server takes them in at the least cost.
fn block(rows: &[&EventRow]) -> Bytes {
    const COLUMNS: usize = 11;
    let bytes = |row: &&EventRow| {
        let texts = row.event_id.len() + row.account_id.len() + row.user_id.len() + row.r#type.len();
        // The numbers, and the length of each text.
        texts + row.name.len() + row.source.len() + row.properties.len() + 28 + 9
    };
    let bytes = rows.iter().map(bytes).sum::<usize>() + 1_000;
    let mut block = Block::new(COLUMNS, rows.len(), bytes);
    block.texts("event_id", rows.iter().map(|row| row.event_id.as_str()));
    block.texts("account_id", rows.iter().map(|row| row.account_id.as_str()));
    block.texts("user_id", rows.iter().map(|row| row.user_id.as_str()));
    block.texts("type", rows.iter().map(|row| row.r#type.as_str()));
    block.texts("name", rows.iter().map(|row| row.name.as_str()));
    block.instants("occurred_at", rows.iter().map(|row| row.occurred_at));
    block.instants("received_at", rows.iter().map(|row| row.received_at));
    block.texts("source", rows.iter().map(|row| row.source.as_str()));
    block.texts("properties", rows.iter().map(|row| row.properties.as_str()));
    block.int32s("kafka_partition", rows.iter().map(|row| row.kafka_partition));
    block.int64s("kafka_offset", rows.iter().map(|row| row.kafka_offset));
    block.finish()
}

/// The partition of `events` that an instant (milliseconds) belongs to, such as 202611. Instants that the
/// column cannot hold have one of their own.
fn month_of(instant: i64) -> i32 {
    let Ok(instant) = jiff::Timestamp::from_millisecond(instant) else {
        return 0;
    };
    let day = instant.to_zoned(TimeZone::UTC).date();
    i32::from(day.year()) * 100 + i32::from(day.month())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_utc() {
        assert_eq!(month_of(0), 197_001);
        assert_eq!(month_of(-1), 196_912);
        assert_eq!(month_of(1_796_083_199_999), 202_611);
        assert_eq!(month_of(1_796_083_200_000), 202_612);
        assert_eq!(month_of(i64::MAX), 0);
    }
}
