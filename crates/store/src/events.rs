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

/// A local day of an account, and where it begins and ends (milliseconds, the end excluded).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "described as a whole")]
pub struct DayBounds {
    pub account_id: String,
    pub day: u16,
    pub begins_at: i64,
    pub ends_at: i64,
}

/// The numbers of a day, counted from the raw events.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
#[allow(missing_docs, reason = "the columns are those of account_daily")]
pub struct CountedDay {
    pub account_id: String,
    pub day: u16,
    pub logins: u32,
    pub events: u32,
    pub active_users: u32,
    pub feature_uses: Vec<(String, u64)>,
}

/// Days asked in one query by [`Store::count_days`].
const DAYS_PER_QUERY: usize = 5_000;

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

    /// Counts days of accounts from the landed events; a day without any is left out.
    pub async fn count_days(&self, days: &[DayBounds]) -> Result<Vec<CountedDay>, Error> {
        let mut counted = Vec::new();
        for chunk in days.chunks(DAYS_PER_QUERY) {
            let accounts: Vec<&str> = chunk.iter().map(|bounds| bounds.account_id.as_str()).collect();
            let numbers: Vec<u16> = chunk.iter().map(|bounds| bounds.day).collect();
            let begins: Vec<i64> = chunk.iter().map(|bounds| bounds.begins_at).collect();
            let ends: Vec<i64> = chunk.iter().map(|bounds| bounds.ends_at).collect();
            let mut distinct = accounts.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let rows: Vec<CountedDay> = self
                .fetch("count days from the events", true, |client| {
                    client
                        .query(
                            "SELECT wanted.account_id AS account_id, wanted.day AS day,
                                    toUInt32(countIf(type = 'login')) AS logins, toUInt32(count()) AS events,
                                    toUInt32(uniqExactIf(user_id, user_id != '' AND type IN ('login', 'feature')))
                                        AS active_users,
                                    CAST(sumMapIf(
                                        map(toString(name), if(JSONHas(properties, 'count'),
                                                               JSONExtractUInt(properties, 'count'), 1)),
                                        type = 'feature'), 'Map(String, UInt64)') AS feature_uses
                             FROM
                             (
                                 SELECT account_id, user_id, type, name, properties,
                                        toUnixTimestamp64Milli(occurred_at) AS at
                                 FROM events FINAL WHERE account_id IN ?
                             ) AS had
                             ASOF JOIN
                             (
                                 SELECT one.1 AS account_id, toUInt16(one.2) AS day, toInt64(one.3) AS begins_at,
                                        toInt64(one.4) AS ends_at
                                 FROM (SELECT arrayJoin(arrayZip(?, ?, ?, ?)) AS one)
                             ) AS wanted ON had.account_id = wanted.account_id AND had.at >= wanted.begins_at
                             WHERE had.at < wanted.ends_at
                             GROUP BY account_id, day",
                        )
                        .bind(&distinct)
                        .bind(&accounts)
                        .bind(&numbers)
                        .bind(&begins)
                        .bind(&ends)
                })
                .await?;
            counted.extend(rows);
        }
        Ok(counted)
    }

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
