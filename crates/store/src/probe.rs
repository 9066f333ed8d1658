//! What the server does with an insert that it gets twice, found out by doing it.

use std::hash::{BuildHasher, Hasher, RandomState};

use clickhouse::Row;
use serde::Deserialize;
use tracing::{info, warn};

use crate::client::{Error, Store};
use crate::rows::EventRow;

/// What the server guarantees about inserts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsertGuarantee {
    /// The server's version.
    pub version: String,
    /// The engine of `events`, such as `ReplacingMergeTree`.
    pub engine: String,
    /// Whether rows that are inserted a second time with their token are dropped at once. If not, they
    /// are there twice until the table's parts are merged, for whoever reads without `FINAL`.
    pub deduplicates: bool,
}

#[derive(Row, Deserialize)]
struct ServerRow {
    version: String,
    engine: String,
}

#[derive(Row, Deserialize)]
struct CountRow {
    rows: u64,
}

/// Scratch tables of processes that ended before they dropped them.
const LEFT_BEHIND: &str = "SELECT name FROM system.tables
     WHERE database = currentDatabase() AND startsWith(name, 'insert_probe_')
       AND metadata_modification_time < now() - INTERVAL 1 HOUR";

#[derive(Row, Deserialize)]
struct NameRow {
    name: String,
}

impl Store {
    /// Inserts one row twice with one token into a scratch table that is made like `events`, and sees
    /// how many rows there are. Says in the log and in `mimamori_clickhouse_deduplicates_inserts` what
    /// was found.
    ///
    /// # Errors
    /// When the server cannot be reached or the scratch table cannot be made; `events` must be there.
    pub async fn probe(&self) -> Result<InsertGuarantee, Error> {
        let mut about: Vec<ServerRow> = self
            .fetch("read about the server", false, |client| {
                client.query(
                    "SELECT version() AS version, engine FROM system.tables
                     WHERE database = currentDatabase() AND name = 'events'",
                )
            })
            .await?;
        let Some(ServerRow { version, engine }) = about.pop() else {
            return Err(Error::Refused {
                url: self.url().to_string(),
                action: "describe the table events".to_string(),
                reason: "there is none; run `mimamori migrate`".to_string(),
            });
        };
        let left_behind: Vec<NameRow> = self
            .fetch("look for scratch tables", false, |client| {
                client.query(LEFT_BEHIND)
            })
            .await?;
        for NameRow { name } in left_behind {
            self.execute("drop a scratch table", &format!("DROP TABLE IF EXISTS {name}"))
                .await?;
        }
        // Any number that no other process has: several may start at once.
        let number = RandomState::new().build_hasher().finish();
        let table = format!("insert_probe_{number:016x}");
        self.execute("make a scratch table", &format!("CREATE TABLE {table} AS events"))
            .await?;
        let counted = self.insert_twice(&table).await;
        self.execute("drop a scratch table", &format!("DROP TABLE IF EXISTS {table}"))
            .await?;
        self.metrics.forget(&table);
        let deduplicates = counted? == 1;
        self.metrics.deduplicates.set(i64::from(deduplicates));
        if deduplicates {
            info!(
                version,
                engine, "ClickHouse drops inserts that it has had already"
            );
        } else {
            warn!(
                version,
                engine,
                "ClickHouse keeps an insert that it gets a second time: after an answer that was lost, events \
                 may be there twice until their parts are merged; what reads with FINAL, as mimamori's views \
                 do, counts them once"
            );
        }
        Ok(InsertGuarantee {
            version,
            engine,
            deduplicates,
        })
    }

    async fn insert_twice(&self, table: &str) -> Result<u64, Error> {
        let row = EventRow {
            event_id: "probe".to_string(),
            account_id: "probe".to_string(),
            ..EventRow::default()
        };
        for _ in 0..2 {
            self.insert(table, "probe", std::slice::from_ref(&row)).await?;
        }
        let counted: Vec<CountRow> = self
            .fetch("count the rows of a scratch table", false, |client| {
                client.query(&format!("SELECT count() AS rows FROM {table}"))
            })
            .await?;
        Ok(counted.into_iter().map(|counted| counted.rows).sum())
    }
}
