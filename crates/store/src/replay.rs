//! Reading histories again: the events of accounts in the order of their happening.
//!
//! A history may be longer than memory: events come one by one, and the server sorts the events of only
//! a few accounts at a time.

use clickhouse::Row;
use clickhouse::query::RowCursor;
use serde::Deserialize;

use crate::client::{Error, Store};

/// Accounts whose events are sorted by one query of [`Store::account_events`].
const ACCOUNTS_PER_QUERY: usize = 500;

/// Bytes that a sort may hold in the server's memory before it goes on on disk.
const SORTED_IN_MEMORY: &str = "268435456";

/// An event of an account's history: what folding it needs, and its offset, which says whether a row
/// covers it.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct HistoricEvent {
    pub account_id: String,
    pub event_id: String,
    pub user_id: String,
    pub r#type: String,
    pub name: String,
    pub occurred_at: i64,
    pub received_at: i64,
    pub properties: String,
    pub kafka_offset: i64,
}

/// The events of some accounts, one account after another; see [`Store::account_events`].
pub struct AccountEvents {
    store: Store,
    accounts: Vec<String>,
    asked: usize,
    until: Option<i64>,
    cursor: Option<RowCursor<HistoricEvent>>,
}

impl AccountEvents {
    /// The next event; `None` after the last.
    ///
    /// # Errors
    /// When the server cannot be reached, does not answer within `query_timeout_seconds` or refuses.
    /// What was read stays valid; to go on, begin again with the account that was being read.
    pub async fn next(&mut self) -> Result<Option<HistoricEvent>, Error> {
        loop {
            let Some(cursor) = &mut self.cursor else {
                let from = self.asked;
                let to = self.accounts.len().min(from + ACCOUNTS_PER_QUERY);
                if from == to {
                    return Ok(None);
                }
                self.cursor = Some(self.store.read_history(&self.accounts[from..to], self.until)?);
                self.asked = to;
                continue;
            };
            let read = tokio::time::timeout(self.store.config.query_timeout(), cursor.next()).await;
            let read = read.unwrap_or(Err(clickhouse::error::Error::TimedOut));
            match read.map_err(|error| self.store.error("read the history", error))? {
                Some(event) => return Ok(Some(event)),
                None => self.cursor = None,
            }
        }
    }
}

impl Store {
    /// Every landed event of `accounts` that was received by `until` (milliseconds; `None` = every
    /// one), each once, by account, then by when it happened (`occurred_at`, or `received_at` when that
    /// is earlier), then by event id.
    pub fn account_events(&self, accounts: &[String], until: Option<i64>) -> AccountEvents {
        let mut accounts = accounts.to_vec();
        accounts.sort_unstable();
        accounts.dedup();
        AccountEvents {
            store: self.clone(),
            accounts,
            asked: 0,
            until,
            cursor: None,
        }
    }

    fn read_history(
        &self,
        accounts: &[String],
        until: Option<i64>,
    ) -> Result<RowCursor<HistoricEvent>, Error> {
        self.client
            .query(
                "SELECT ?fields FROM events FINAL
                 WHERE account_id IN ? AND (NOT ? OR received_at <= fromUnixTimestamp64Milli(?))
                 ORDER BY account_id, least(occurred_at, received_at), event_id",
            )
            .with_setting("max_bytes_before_external_sort", SORTED_IN_MEMORY)
            .bind(accounts)
            .bind(until.is_some())
            .bind(until.unwrap_or(0))
            .fetch()
            .map_err(|error| self.error("read the history", error))
    }
}
