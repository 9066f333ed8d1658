use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Error, Store};

/// What is usual in a segment: a row of `segment_baselines`.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct SegmentBaseline {
    /// The segment; empty for accounts without one.
    pub segment: String,
    /// When it was computed, milliseconds.
    pub computed_at: i64,
    /// The median stickiness of its accounts, 0–1.
    pub stickiness: f64,
    /// How many accounts it is the median of.
    pub accounts: u32,
}

impl Store {
    /// Computes the median stickiness of every segment over the newest numbers of its accounts that
    /// have not churned, and stores it as of `now` (milliseconds). A segment in which fewer than
    /// `least_accounts` have a stickiness gets none.
    pub async fn compute_segment_baselines(&self, now: i64, least_accounts: u32) -> Result<(), Error> {
        let computed = self
            .client
            .query(
                "INSERT INTO segment_baselines (computed_at, segment, stickiness, accounts)
                 SELECT fromUnixTimestamp64Milli(?, 'UTC'), coalesce(a.segment, '') AS segment,
                        if(count(m.stickiness) >= ?, quantileExact(0.5)(m.stickiness), NULL),
                        toUInt32(count(m.stickiness))
                 FROM accounts_versions AS a FINAL
                 JOIN (SELECT account_id, stickiness FROM metrics_newest FINAL) AS m
                   ON m.account_id = a.account_id
                 WHERE a.stage != 'churned'
                 GROUP BY segment",
            )
            .bind(now)
            .bind(least_accounts)
            .execute();
        let done = tokio::time::timeout(self.config.query_timeout(), computed).await;
        done.unwrap_or(Err(clickhouse::error::Error::TimedOut))
            .map_err(|error| self.error("compute what is usual in the segments", error))
    }

    /// What was computed last of each segment, by segment; segments that then had too few accounts are
    /// left out.
    pub async fn segment_baselines(&self) -> Result<Vec<SegmentBaseline>, Error> {
        self.fetch("read what is usual in the segments", true, |client| {
            client.query(
                "SELECT segment, computed_at, assumeNotNull(median) AS stickiness, accounts
                 FROM
                 (
                     SELECT segment, computed_at, stickiness AS median, accounts FROM segment_baselines
                     ORDER BY segment, computed_at DESC LIMIT 1 BY segment
                 )
                 WHERE isNotNull(median) ORDER BY segment",
            )
        })
        .await
    }
}
