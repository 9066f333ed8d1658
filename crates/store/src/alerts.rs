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
