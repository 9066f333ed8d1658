use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{Error, Store};
use crate::rows::{AlertRow, DeliveryRow};

/// A delivery whose last attempt failed and that is to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct PendingDelivery {
    /// The alert's change.
    pub alert_id: String,
    /// The destination's name.
    pub destination: String,
    /// The attempts made so far.
    pub attempt: u32,
    /// When the next one is due, milliseconds.
    pub next_attempt_at: i64,
    /// The body to send.
    pub body: String,
}

/// A delivery that is to be tried (again), with its place among the others.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct WaitingDelivery {
    /// The alert's change.
    pub alert_id: String,
    /// The attempts made so far.
    pub attempt: u32,
    /// Those of them from before it was replayed or released, which its schedule does not count.
    pub uncounted: u32,
    /// When the next one is due, milliseconds.
    pub next_attempt_at: i64,
    /// The body to send.
    pub body: String,
    /// The partition of `mimamori.alerts` that the account's key leads to.
    pub partition: i32,
    /// When the oldest waiting change of the same episode is due, milliseconds.
    pub episode_due_at: i64,
}

/// What became of one change of an episode at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct EpisodeDelivery {
    /// The episode.
    pub episode_id: String,
    /// The change.
    pub alert_id: String,
    /// The destination's name; empty for what concerns none.
    pub destination: String,
    /// Of the newest row.
    pub status: String,
    /// The variant that the account was put into.
    pub variant: String,
}

/// Which waiting deliveries to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingQuery {
    /// The destination's name.
    pub destination: String,
    /// The partitions of `mimamori.alerts` whose accounts are asked for.
    pub partitions: Vec<i32>,
    /// How many partitions `mimamori.alerts` has.
    pub partition_count: i32,
    /// Rows at most.
    pub limit: u32,
}

impl Store {
    /// Writes changes of alerts.
    pub async fn insert_alerts(&self, token: &str, rows: &[AlertRow]) -> Result<(), Error> {
        self.insert("alerts_versions", token, rows).await
    }

    /// Writes attempts to deliver.
    pub async fn insert_deliveries(&self, token: &str, rows: &[DeliveryRow]) -> Result<(), Error> {
        self.insert("deliveries_versions", token, rows).await
    }

    /// The deliveries whose newest attempt says `retrying`.
    pub async fn pending_deliveries(&self) -> Result<Vec<PendingDelivery>, Error> {
        self.fetch("read the pending deliveries", true, |client| {
            client.query(
                "SELECT alert_id, destination, last_attempt AS attempt,
                        toUnixTimestamp64Milli(assumeNotNull(next_at)) AS next_attempt_at, last_body AS body
                 FROM
                 (
                     SELECT alert_id, destination, max(attempt) AS last_attempt,
                            argMax(status, attempt) AS last_status,
                            argMax(next_attempt_at, attempt) AS next_at,
                            argMax(body, attempt) AS last_body
                     FROM deliveries_versions FINAL
                     GROUP BY alert_id, destination
                 )
                 WHERE last_status = 'retrying' AND isNotNull(next_at)
                 ORDER BY next_attempt_at",
            )
        })
        .await
    }

    /// The deliveries of which the newest row says `retrying`, by the due time of the oldest of their
    /// episode and within an episode in the order of its changes. The account, the episode and the
    /// time of the change are those that the body tells; a digest is an episode of its own and lies in
    /// partition 0, and a summary, which is about many accounts, lies where the first of its examples does.
    pub async fn waiting_deliveries(&self, query: &WaitingQuery) -> Result<Vec<WaitingDelivery>, Error> {
        self.fetch("read the waiting deliveries", true, |client| {
            client
                .query(
                    "SELECT alert_id, attempt, uncounted, next_attempt_at, body, partition,
                            first_value(next_attempt_at) OVER
                                (PARTITION BY episode ORDER BY changed_at, rank, alert_id) AS episode_due_at
                     FROM
                     (
                         SELECT alert_id, last_attempt AS attempt, last_body AS body,
                                toUInt32(if(ends = 0, 0, last_end + 1)) AS uncounted,
                                toUnixTimestamp64Milli(assumeNotNull(next_at)) AS next_attempt_at,
                                startsWith(alert_id, 'dg_') AS is_digest,
                                if(is_digest, alert_id, JSONExtractString(last_body, 'data', 'episode_id'))
                                    AS episode,
                                JSONExtractString(last_body, 'data', 'account_id') AS own_account,
                                if(own_account != '', own_account,
                                   JSONExtractString(last_body, 'data', 'examples', 1, 'account_id')) AS account,
                                if(is_digest, 0, toInt32(kafkaMurmurHash(account) % ?)) AS partition,
                                toUnixTimestamp64Milli(parseDateTime64BestEffortOrZero(
                                    JSONExtractString(last_body, 'timestamp'), 3, 'UTC')) AS changed_at,
                                transform(JSONExtractString(last_body, 'data', 'change'),
                                    ['opened', 'held', 'escalated', 'acknowledged'], [0, 0, 1, 1], 2) AS rank
                         FROM
                         (
                             SELECT alert_id, max(attempt) AS last_attempt,
                                    argMax(status, attempt) AS last_status,
                                    argMax(next_attempt_at, attempt) AS next_at,
                                    argMax(body, attempt) AS last_body,
                                    countIf(status != 'retrying') AS ends,
                                    maxIf(attempt, status != 'retrying') AS last_end
                             FROM deliveries_versions FINAL
                             WHERE destination = ?
                             GROUP BY alert_id
                         )
                         WHERE last_status = 'retrying' AND isNotNull(next_at)
                     )
                     WHERE partition IN ?
                     ORDER BY episode_due_at, episode, changed_at, rank, alert_id
                     LIMIT ?",
                )
                .bind(query.partition_count)
                .bind(&query.destination)
                .bind(&query.partitions)
                .bind(query.limit)
        })
        .await
    }

    /// Which of the given alert changes were already handed to `destination`, with whatever outcome.
    pub async fn attempted(&self, destination: &str, alert_ids: &[String]) -> Result<Vec<String>, Error> {
        #[derive(Row, Deserialize)]
        struct IdRow {
            alert_id: String,
        }
        if alert_ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<IdRow> = self
            .fetch("read the deliveries", true, |client| {
                client
                    .query("SELECT DISTINCT alert_id FROM deliveries_versions WHERE destination = ? AND alert_id IN ?")
                    .bind(destination)
                    .bind(alert_ids)
            })
            .await?;
        Ok(rows.into_iter().map(|row| row.alert_id).collect())
    }

    /// What `destination` called the first message of an episode that it called anything.
    pub async fn delivery_reference(
        &self,
        destination: &str,
        episode_id: &str,
    ) -> Result<Option<String>, Error> {
        #[derive(Row, Deserialize)]
        struct ReferenceRow {
            reference: String,
        }
        let rows: Vec<ReferenceRow> = self
            .fetch("read a reference", true, |client| {
                client
                    .query(
                        "SELECT reference FROM deliveries_versions
                         WHERE episode_id = ? AND destination = ? AND status = 'delivered'
                           AND reference != ''
                         ORDER BY at, version LIMIT 1",
                    )
                    .bind(episode_id)
                    .bind(destination)
            })
            .await?;
        Ok(rows.into_iter().next().map(|row| row.reference))
    }

    /// What became of the changes of these episodes, wherever they were to go.
    pub async fn episode_deliveries(&self, episode_ids: &[String]) -> Result<Vec<EpisodeDelivery>, Error> {
        if episode_ids.is_empty() {
            return Ok(Vec::new());
        }
        self.fetch("read the deliveries of episodes", true, |client| {
            client
                .query(
                    "SELECT episode_id, alert_id, destination, last_status AS status, last_variant AS variant
                     FROM
                     (
                         SELECT episode_id, alert_id, destination,
                                argMax(status, (attempt, version)) AS last_status,
                                argMax(variant, (attempt, version)) AS last_variant
                         FROM deliveries_versions
                         WHERE episode_id IN ?
                         GROUP BY episode_id, alert_id, destination
                     )
                     ORDER BY episode_id, alert_id, destination",
                )
                .bind(episode_ids)
        })
        .await
    }

    /// The newest changes of alerts, newest first, of one account or of all.
    pub async fn recent_alerts(&self, account: Option<&str>, limit: u32) -> Result<Vec<AlertRow>, Error> {
        self.fetch("read the alerts", false, |client| {
            client
                .query(
                    "SELECT alert_id, episode_id, account_id, rule, severity, change, at, reason, reason_ja, payload, version
                     FROM alerts_versions FINAL
                     WHERE ? = '' OR account_id = ? ORDER BY at DESC, alert_id LIMIT ?",
                )
                .bind(account.unwrap_or(""))
                .bind(account.unwrap_or(""))
                .bind(limit)
        })
        .await
    }
}
