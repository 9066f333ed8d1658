use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{Error, Store};
use crate::rows::{AccountRow, DailyRow, MetricsRow, ScoresRow, StateRow, UserRow};

/// Up to where a partition of the topic is done: a row of `checkpoints`.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The partition.
    pub partition: i32,
    /// Epoch of the worker in the upper 24 bits, a counter below.
    pub version: u64,
    /// Every offset below has landed and is folded into saved states.
    pub next_offset: i64,
    /// The newest `occurred_at` read, milliseconds.
    pub watermark: i64,
    /// How many partitions the topic had.
    pub partitions: i32,
    /// When it was written, milliseconds.
    pub saved_at: i64,
    /// Saved states that the partition had; 0 when it is not known.
    pub accounts: u64,
}

impl Store {
    /// The newest checkpoint of a partition; `None` when there has never been one.
    pub async fn checkpoint(&self, partition: i32) -> Result<Option<Checkpoint>, Error> {
        let mut rows: Vec<Checkpoint> = self
            .fetch("read the checkpoint", true, |client| {
                client
                    .query(
                        "SELECT partition, version, next_offset, watermark, partitions, saved_at, accounts
                         FROM checkpoints FINAL WHERE partition = ?",
                    )
                    .bind(partition)
            })
            .await?;
        Ok(rows.pop())
    }

    /// How many partitions the topic had when the last checkpoint of any partition was written;
    /// `None` when there is no checkpoint.
    pub async fn checkpointed_partitions(&self) -> Result<Option<i32>, Error> {
        #[derive(Row, Deserialize)]
        struct CountRow {
            partitions: i32,
        }
        let mut rows: Vec<CountRow> = self
            .fetch("read the checkpoints", true, |client| {
                client.query("SELECT partitions FROM checkpoints FINAL ORDER BY saved_at DESC LIMIT 1")
            })
            .await?;
        Ok(rows.pop().map(|row| row.partitions))
    }

    /// Writes a checkpoint. What it vouches for must have been inserted before.
    pub async fn insert_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let token = format!("checkpoint-{}-{}", checkpoint.partition, checkpoint.version);
        self.insert("checkpoints", &token, std::slice::from_ref(checkpoint))
            .await
    }

    /// Writes the checkpoints of several partitions. What they vouch for must have been inserted before.
    pub async fn insert_checkpoints(&self, token: &str, checkpoints: &[Checkpoint]) -> Result<(), Error> {
        self.insert("checkpoints", token, checkpoints).await
    }

    /// The newest state of every account of a partition.
    pub async fn states(&self, partition: i32) -> Result<Vec<StateRow>, Error> {
        self.fetch("read the account states", true, |client| {
            client
                .query(
                    "SELECT partition, account_id, version, offset, state, saved_at
                     FROM account_state FINAL WHERE partition = ?",
                )
                .bind(partition)
        })
        .await
    }

    /// Saves account states.
    pub async fn insert_states(&self, token: &str, rows: &[StateRow]) -> Result<(), Error> {
        self.insert("account_state", token, rows).await
    }

    /// Writes current attributes of accounts.
    pub async fn insert_accounts(&self, token: &str, rows: &[AccountRow]) -> Result<(), Error> {
        self.insert("accounts_versions", token, rows).await
    }

    /// Writes current attributes of users.
    pub async fn insert_users(&self, token: &str, rows: &[UserRow]) -> Result<(), Error> {
        self.insert("users_versions", token, rows).await
    }

    /// Writes the daily numbers of accounts.
    pub async fn insert_daily(&self, token: &str, rows: &[DailyRow]) -> Result<(), Error> {
        self.insert("account_daily_versions", token, rows).await
    }

    /// Writes what evaluations found: the numbers, and the scores made of them.
    pub async fn insert_evaluations(
        &self,
        token: &str,
        metrics: &[MetricsRow],
        scores: &[ScoresRow],
    ) -> Result<(), Error> {
        self.insert("metrics_versions", token, metrics).await?;
        self.insert("scores_versions", token, scores).await
    }
}
