//! What a digest is made of: deliveries whose newest row says `digest`, and those that were taken into
//! one.
//!
//! A delivery is in a digest when its newest row says `digested` and names the digest as its reference.
//! One that names a digest of which there is no row was left behind by a worker that died in between;
//! it waits as much as the others do.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{Error, Store};

/// Which deliveries wait for a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestQuery {
    /// The destination's name.
    pub destination: String,
    /// The digest that is to be made.
    pub digest_id: String,
    /// Only those that were put off before this time, milliseconds.
    pub before: i64,
    /// Rows at most.
    pub limit: u32,
}

/// A delivery that waits for a digest.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct AwaitingDigest {
    /// The alert's change.
    pub alert_id: String,
    /// Its episode.
    pub episode_id: String,
    /// The variant that the account was put into.
    pub variant: String,
    /// Of its newest row.
    pub attempt: u32,
}

/// An episode in a digest, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct DigestedEpisode {
    /// The body of its last change that is in the digest.
    pub body: String,
    /// 0 when it is open, 1 when it has ended and was told of before, 2 when it began and ended since
    /// the digest before.
    pub state: u8,
    /// Episodes in the digest.
    pub episodes: u64,
    /// Those of state 0.
    pub open: u64,
    /// Those of state 2.
    pub passed: u64,
}

impl Store {
    /// The deliveries to one destination that a digest is to take in and has not.
    pub async fn awaiting_digest(&self, query: &DigestQuery) -> Result<Vec<AwaitingDigest>, Error> {
        self.fetch("read what waits for a digest", true, |client| {
            client
                .query(
                    "SELECT alert_id, last_episode AS episode_id, last_variant AS variant, last_attempt AS attempt
                     FROM
                     (
                         SELECT alert_id, max(attempt) AS last_attempt,
                                argMax(status, (attempt, version)) AS last_status,
                                argMax(reference, (attempt, version)) AS last_reference,
                                argMax(episode_id, (attempt, version)) AS last_episode,
                                argMax(variant, (attempt, version)) AS last_variant,
                                toUnixTimestamp64Milli(minIf(at, status = 'digest')) AS put_off_at
                         FROM deliveries_versions
                         WHERE destination = ?
                           AND alert_id IN (SELECT alert_id FROM deliveries_versions
                                            WHERE destination = ? AND status = 'digest')
                         GROUP BY alert_id
                     )
                     WHERE put_off_at < ?
                       AND (last_status = 'digest'
                            OR (last_status = 'digested' AND last_reference != ?
                                AND last_reference NOT IN (SELECT alert_id FROM deliveries_versions
                                                           WHERE destination = ? AND startsWith(alert_id, 'dg_'))))
                     ORDER BY put_off_at, alert_id
                     LIMIT ?",
                )
                .bind(&query.destination)
                .bind(&query.destination)
                .bind(query.before)
                .bind(&query.digest_id)
                .bind(&query.destination)
                .bind(query.limit)
        })
        .await
    }

    /// The episodes that a digest has taken in: the open ones first, the gravest and newest of them
    /// first, then those that ended, and last those that began and ended in between. At most `limit`,
    /// and with each how many there are in all.
    pub async fn digested_episodes(
        &self,
        destination: &str,
        digest_id: &str,
        limit: u32,
    ) -> Result<Vec<DigestedEpisode>, Error> {
        self.fetch("read what a digest has taken in", true, |client| {
            client
                .query(
                    "SELECT last_body AS body, state, count() OVER () AS episodes,
                            countIf(state = 0) OVER () AS open, countIf(state = 2) OVER () AS passed
                     FROM
                     (
                         SELECT episode, argMax(told, (changed_at, rank)) AS last_body,
                                max(changed_at) AS last_at,
                                toUInt8(multiIf(max(rank) < 2, 0, min(rank) > 0, 1, 2)) AS state
                         FROM
                         (
                             SELECT alert_id, told,
                                    JSONExtractString(told, 'data', 'episode_id') AS episode,
                                    parseDateTime64BestEffortOrZero(
                                        JSONExtractString(told, 'timestamp'), 3, 'UTC') AS changed_at,
                                    transform(JSONExtractString(told, 'data', 'change'),
                                        ['opened', 'escalated', 'acknowledged'], [0, 1, 1], 2) AS rank
                             FROM
                             (
                                 SELECT alert_id, argMaxIf(body, (attempt, version), body != '') AS told,
                                        argMax(status, (attempt, version)) AS last_status,
                                        argMax(reference, (attempt, version)) AS last_reference
                                 FROM deliveries_versions
                                 WHERE destination = ?
                                   AND alert_id IN (SELECT alert_id FROM deliveries_versions
                                                    WHERE destination = ? AND reference = ?)
                                 GROUP BY alert_id
                             )
                             WHERE last_status = 'digested' AND last_reference = ?
                         )
                         GROUP BY episode
                     )
                     ORDER BY state,
                              transform(JSONExtractString(last_body, 'data', 'severity'),
                                  ['critical', 'warning'], [0, 1], 2),
                              last_at DESC, episode
                     LIMIT ?",
                )
                .bind(destination)
                .bind(destination)
                .bind(digest_id)
                .bind(digest_id)
                .bind(limit)
        })
        .await
    }

    /// How many deliveries to one destination wait for a digest.
    pub async fn count_awaiting_digest(&self, destination: &str) -> Result<u64, Error> {
        #[derive(Row, Deserialize)]
        struct Count {
            waiting: u64,
        }
        let counted: Vec<Count> = self
            .fetch("count what waits for a digest", true, |client| {
                client
                    .query(
                        "SELECT countIf(last_status = 'digest') AS waiting
                         FROM
                         (
                             SELECT alert_id, argMax(status, (attempt, version)) AS last_status
                             FROM deliveries_versions
                             WHERE destination = ?
                               AND alert_id IN (SELECT alert_id FROM deliveries_versions
                                                WHERE destination = ? AND status = 'digest')
                             GROUP BY alert_id
                         )",
                    )
                    .bind(destination)
                    .bind(destination)
            })
            .await?;
        Ok(counted.first().map_or(0, |count| count.waiting))
    }
}
