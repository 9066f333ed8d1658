//! What a rebuild asks and does: its own record, the events that can no longer be found in the log, the
//! accounts and what is known of them, and the removal of what it replaces.
//!
//! The partition of an account is `kafkaMurmurHash(account_id) % partitions`, as the producers have it.
//! A row of `events` is *in place* while the record that it was made of stands in the log where the row
//! says; any other has partition and offset -1 once [`Store::detach_events`] is done.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{Error, Store};
use crate::events::SeenEvent;
use crate::replay::HistoricEvent;
use crate::rows::StateRow;
use crate::state::Checkpoint;

/// The pause between two looks whether a change of rows is done.
const LOOK_EVERY: tokio::time::Duration = tokio::time::Duration::from_millis(100);

/// A row of `rebuilds`. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct Rebuild {
    pub started_at: i64,
    pub version: u64,
    pub model_hash: String,
    pub since: Option<i64>,
    pub partitions: i32,
    pub first_version: u64,
    pub next_offsets: Vec<i64>,
    pub watermarks: Vec<i64>,
    pub done_until: String,
    pub accounts: u64,
    pub events: u64,
    pub days: u64,
    pub rows: u64,
    pub finished_at: Option<i64>,
}

/// How the topic is laid out, and which of the landed events its log still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// How many partitions it has.
    pub partitions: i32,
    /// Of each partition the offset from which on the log does not hold what the rows were made of.
    pub limits: Vec<i64>,
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Row, Deserialize)]
pub struct Extent {
    /// Accounts with an event.
    pub accounts: u64,
    /// Events, where some may be counted twice.
    pub events: u64,
}

/// What is folded of an account.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct AccountExtent {
    /// The account.
    pub account_id: String,
    /// Its partition.
    pub partition: i32,
    /// When its first event happened, milliseconds.
    pub first_at: i64,
}

/// A change of an alert episode that was told.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct ToldChange {
    pub account_id: String,
    pub episode_id: String,
    pub rule: String,
    pub severity: String,
    pub change: String,
    pub at: i64,
    /// When the episode opened, milliseconds, where the change says so.
    pub opened_at: Option<i64>,
}

/// A day of an account that has a row; `day` counts days since 1970-01-01.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct StoredDay {
    pub account_id: String,
    pub day: u16,
}

#[derive(Row, Deserialize)]
struct Counted {
    count: u64,
}

impl Store {
    /// The rebuild that was begun last, finished or not.
    pub async fn newest_rebuild(&self) -> Result<Option<Rebuild>, Error> {
        let mut rows: Vec<Rebuild> = self
            .fetch("read the rebuilds", true, |client| {
                client.query("SELECT ?fields FROM rebuilds FINAL ORDER BY started_at DESC LIMIT 1")
            })
            .await?;
        Ok(rows.pop())
    }

    /// The rebuild that stands unfinished. Until it is finished, states and rows of accounts that it has
    /// not come to are not to be relied on, and nobody may fold.
    pub async fn unfinished_rebuild(&self) -> Result<Option<Rebuild>, Error> {
        let newest = self.newest_rebuild().await?;
        Ok(newest.filter(|rebuild| rebuild.finished_at.is_none()))
    }

    /// Saves how far a rebuild is.
    pub async fn save_rebuild(&self, token: &str, rebuild: &Rebuild) -> Result<(), Error> {
        self.insert("rebuilds", token, std::slice::from_ref(rebuild))
            .await
    }

    /// The newest checkpoint of every partition that has one.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>, Error> {
        self.fetch("read the checkpoints", true, |client| {
            client.query("SELECT ?fields FROM checkpoints FINAL ORDER BY partition")
        })
        .await
    }

    /// The greatest version of any row that a worker has written.
    pub async fn newest_version(&self) -> Result<u64, Error> {
        let tables = [
            "checkpoints",
            "account_state",
            "accounts_versions",
            "users_versions",
            "account_daily_versions",
            "metrics_versions",
            "scores_versions",
        ];
        let each = tables.map(|table| format!("SELECT max(version) AS newest FROM {table}"));
        let query = format!("SELECT max(newest) AS count FROM ({})", each.join(" UNION ALL "));
        let rows: Vec<Counted> = self
            .fetch("read the newest version", true, |client| client.query(&query))
            .await?;
        Ok(rows.first().map_or(0, |row| row.count))
    }

    /// How many accounts and events there are; an account of which only the team's actions are known is none.
    pub async fn extent(&self) -> Result<Extent, Error> {
        let rows: Vec<Extent> = self
            .fetch("count the events", true, |client| {
                client.query(
                    "SELECT uniqExactIf(account_id, type != 'action') AS accounts, count() AS events FROM events",
                )
            })
            .await?;
        Ok(rows.first().copied().unwrap_or_default())
    }

    /// Landed events of a partition at offsets from `from` to before `to`, ascending: those with the
    /// greatest offset in each of `shares` equal shares of the stretch, where there are any.
    pub async fn events_spread(
        &self,
        partition: i32,
        from: i64,
        to: i64,
        shares: i64,
    ) -> Result<Vec<SeenEvent>, Error> {
        self.fetch("look up where events stand", true, |client| {
            client
                .query(
                    "SELECT last.1 AS account_id, last.2 AS event_id, last.3 AS kafka_partition, last.4 AS kafka_offset
                     FROM
                     (
                         SELECT argMax((account_id, event_id, kafka_partition, kafka_offset), kafka_offset) AS last
                         FROM events
                         WHERE kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?
                         GROUP BY intDiv((kafka_offset - ?) * ?, ?)
                     )
                     ORDER BY kafka_offset",
                )
                .bind(partition)
                .bind(from)
                .bind(to)
                .bind(from)
                .bind(shares.max(1))
                .bind((to - from).max(1))
        })
        .await
    }

    /// How many landed events of a partition stand at offsets from `from` to before `to`.
    pub async fn count_landed(&self, partition: i32, from: i64, to: i64) -> Result<u64, Error> {
        let rows: Vec<Counted> = self
            .fetch("count landed events", true, |client| {
                client
                    .query(
                        "SELECT uniqExact(kafka_offset) AS count FROM events
                         WHERE kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?",
                    )
                    .bind(partition)
                    .bind(from)
                    .bind(to)
            })
            .await?;
        Ok(rows.first().map_or(0, |row| row.count))
    }

    /// How many rows [`Store::detach_events`] would change.
    pub async fn count_out_of_place(&self, layout: &Layout) -> Result<u64, Error> {
        let query = format!(
            "SELECT count() AS count FROM events WHERE {}",
            out_of_place(layout)
        );
        let rows: Vec<Counted> = self
            .fetch("count events that the log does not hold", true, |client| {
                client.query(&query)
            })
            .await?;
        Ok(rows.first().map_or(0, |row| row.count))
    }

    /// Gives partition and offset -1 to the events that cannot be found in the log where they say: their
    /// account has another partition in this layout, or the log does not hold them.
    pub async fn detach_events(&self, layout: &Layout) -> Result<(), Error> {
        let change = format!(
            "ALTER TABLE events UPDATE kafka_partition = -1, kafka_offset = -1 WHERE {}",
            out_of_place(layout)
        );
        self.change_rows("events", &change).await
    }

    /// Waits until changes of the rows of `events` that were begun by anybody are done.
    pub async fn events_settled(&self) -> Result<(), Error> {
        self.rows_changed("events").await
    }

    /// The newest time at which an event happened that is folded of each partition, milliseconds, given
    /// the offset that each is folded up to; 0 when there is none.
    pub async fn folded_until(&self, next_offsets: &[i64]) -> Result<Vec<i64>, Error> {
        #[derive(Row, Deserialize)]
        struct Newest {
            partition: i32,
            newest: i64,
        }
        let rows: Vec<Newest> = self
            .fetch("find the newest events", true, |client| {
                client
                    .query(
                        "WITH toInt32(kafkaMurmurHash(account_id) % ?) AS partition
                         SELECT partition, max(toUnixTimestamp64Milli(least(occurred_at, received_at))) AS newest
                         FROM events WHERE kafka_offset < arrayElement(?, partition + 1) AND type != 'action'
                         GROUP BY partition",
                    )
                    .bind(next_offsets.len())
                    .bind(next_offsets)
            })
            .await?;
        let mut until = vec![0; next_offsets.len()];
        for row in rows {
            if let Some(slot) = usize::try_from(row.partition)
                .ok()
                .and_then(|at| until.get_mut(at))
            {
                *slot = row.newest;
            }
        }
        Ok(until)
    }

    /// The accounts behind `after` that have an event of their own, in their order, `most` of them at most.
    pub async fn accounts_of_events(&self, after: &str, most: u64) -> Result<Vec<String>, Error> {
        #[derive(Row, Deserialize)]
        struct Named {
            account_id: String,
        }
        let rows: Vec<Named> = self
            .fetch("list the accounts", true, |client| {
                client
                    .query(
                        "SELECT account_id FROM events WHERE account_id > ? AND type != 'action'
                         GROUP BY account_id ORDER BY account_id LIMIT ?",
                    )
                    .with_setting("optimize_aggregation_in_order", "1")
                    .bind(after)
                    .bind(most)
            })
            .await?;
        Ok(rows.into_iter().map(|row| row.account_id).collect())
    }

    /// Partition and beginning of accounts, given the offset that each partition is folded up to; those
    /// of which nothing is folded are left out.
    pub async fn account_extents(
        &self,
        accounts: &[String],
        next_offsets: &[i64],
    ) -> Result<Vec<AccountExtent>, Error> {
        self.fetch("find where accounts begin", true, |client| {
            client
                .query(
                    "WITH toInt32(kafkaMurmurHash(account_id) % ?) AS number
                     SELECT account_id, any(number) AS partition,
                            min(toUnixTimestamp64Milli(least(occurred_at, received_at))) AS first_at
                     FROM events
                     WHERE account_id IN ? AND kafka_offset < arrayElement(?, number + 1) AND type != 'action'
                     GROUP BY account_id ORDER BY account_id",
                )
                .bind(next_offsets.len())
                .bind(accounts)
                .bind(next_offsets)
        })
        .await
    }

    /// Every landed `account` event of some accounts, each once, by account: what they say of themselves,
    /// their time zone among it.
    pub async fn account_statements(&self, accounts: &[String]) -> Result<Vec<HistoricEvent>, Error> {
        self.fetch("read what accounts say of themselves", true, |client| {
            client
                .query(
                    "SELECT ?fields FROM events FINAL
                     WHERE account_id IN ? AND type = 'account' ORDER BY account_id",
                )
                .bind(accounts)
        })
        .await
    }

    /// The newest state of each of some accounts, whatever partition it was saved under.
    pub async fn newest_states(&self, accounts: &[String]) -> Result<Vec<StateRow>, Error> {
        self.fetch("read the account states", true, |client| {
            client
                .query(
                    "SELECT ?fields FROM account_state
                     WHERE account_id IN ? ORDER BY account_id, version DESC LIMIT 1 BY account_id",
                )
                .bind(accounts)
        })
        .await
    }

    /// Every change of an alert that was told about some accounts, by account, then by when it was found.
    pub async fn told_changes(&self, accounts: &[String]) -> Result<Vec<ToldChange>, Error> {
        self.fetch("read what was alerted about", true, |client| {
            client
                .query(
                    "SELECT account_id, episode_id, rule, severity, change, at,
                            parseDateTime64BestEffortOrNull(JSONExtractString(payload, 'opened_at'), 3, 'UTC') AS opened_at
                     FROM alerts_versions FINAL WHERE account_id IN ? ORDER BY account_id, at, alert_id",
                )
                .bind(accounts)
        })
        .await
    }

    /// The days of some accounts that have a row with events, by account and day.
    pub async fn stored_days(&self, accounts: &[String]) -> Result<Vec<StoredDay>, Error> {
        self.fetch("read the stored days", true, |client| {
            client
                .query(
                    "SELECT account_id, day FROM account_daily_versions FINAL
                     WHERE account_id IN ? AND events > 0 ORDER BY account_id, day",
                )
                .bind(accounts)
        })
        .await
    }

    /// Removes the account states of lower versions.
    pub async fn remove_states_before(&self, version: u64) -> Result<(), Error> {
        let change = format!("ALTER TABLE account_state DELETE WHERE version < {version}");
        self.change_rows("account_state", &change).await
    }

    /// How many accounts have a state in each of so many partitions.
    pub async fn count_states(&self, partitions: i32) -> Result<Vec<u64>, Error> {
        #[derive(Row, Deserialize)]
        struct States {
            partition: i32,
            count: u64,
        }
        let rows: Vec<States> = self
            .fetch("count the account states", true, |client| {
                client.query(
                    "SELECT partition, uniqExact(account_id) AS count FROM account_state GROUP BY partition",
                )
            })
            .await?;
        let mut counts = vec![0; usize::try_from(partitions).unwrap_or(0)];
        for row in rows {
            if let Some(slot) = usize::try_from(row.partition)
                .ok()
                .and_then(|at| counts.get_mut(at))
            {
                *slot = row.count;
            }
        }
        Ok(counts)
    }

    /// Removes the checkpoints of partitions that there are no more.
    pub async fn remove_checkpoints_from(&self, partition: i32) -> Result<(), Error> {
        let change = format!("ALTER TABLE checkpoints DELETE WHERE partition >= {partition}");
        self.change_rows("checkpoints", &change).await
    }

    /// Changes rows and waits until it is done; a large table may take longer than a query may.
    async fn change_rows(&self, table: &str, change: &str) -> Result<(), Error> {
        self.client
            .query_raw(change)
            .with_setting("mutations_sync", "0")
            .execute()
            .await
            .map_err(|error| self.error(&format!("change rows of {table}"), error))?;
        self.rows_changed(table).await
    }

    async fn rows_changed(&self, table: &str) -> Result<(), Error> {
        #[derive(Row, Deserialize)]
        struct Unfinished {
            count: u64,
            left: i64,
            reason: String,
        }
        let mut moved_at = tokio::time::Instant::now();
        let mut last_left = i64::MAX;
        loop {
            let rows: Vec<Unfinished> = self
                .fetch("see whether rows are changed", true, |client| {
                    client
                        .query(
                            "SELECT count() AS count, sum(parts_to_do) AS left, max(latest_fail_reason) AS reason
                             FROM system.mutations
                             WHERE database = currentDatabase() AND table = ? AND NOT is_done",
                        )
                        .bind(table)
                })
                .await?;
            let Some(row) = rows.first().filter(|row| row.count > 0) else {
                return Ok(());
            };
            if row.left < last_left {
                last_left = row.left;
                moved_at = tokio::time::Instant::now();
            }
            // The server tries again by itself; what does not get better is told.
            if !row.reason.is_empty() && moved_at.elapsed() >= self.config.query_timeout() {
                return Err(Error::Refused {
                    url: self.config.url.clone(),
                    action: format!("change rows of {table}"),
                    reason: row.reason.clone(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The condition of events that cannot be found in the log where they say.
fn out_of_place(layout: &Layout) -> String {
    let limits: Vec<String> = layout.limits.iter().map(i64::to_string).collect();
    let partitions = layout.partitions;
    // What lies outside the array counts as 0.
    format!(
        "kafka_partition >= 0 AND (kafka_partition != toInt32(kafkaMurmurHash(account_id) % {partitions})
         OR kafka_offset >= arrayElement([{}]::Array(Int64), kafka_partition + 1))",
        limits.join(", ")
    )
}
