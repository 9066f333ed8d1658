//! What the breaker holds, and what people ask the alert workers for.
//!
//! Only the worker that owns an account's partition moves the rows of its held deliveries. Whoever
//! releases or drops a hold says so in `alert_holds` and leaves a request; the workers look for
//! requests, and at their start read all holds.

use std::sync::atomic::{AtomicU64, Ordering};

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{Error, Store};
use crate::dead_letters::DeliveryState;

/// A row of `alert_holds_versions`. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct HoldRow {
    pub hold_id: String,
    pub name: String,
    pub status: String,
    pub since: i64,
    pub at: i64,
    pub accounts: u32,
    pub accounts_total: u64,
    pub destinations: Vec<String>,
    pub summary: String,
    pub version: u64,
}

/// The status of a hold that holds.
pub const TRIPPED: &str = "tripped";

/// How a hold ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEnd {
    /// What it held is told.
    Released,
    /// What it held is not told.
    Dropped,
}

impl HoldEnd {
    /// As in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            HoldEnd::Released => "released",
            HoldEnd::Dropped => "dropped",
        }
    }
}

impl HoldRow {
    /// What the row of a delivery that it holds gives as its `error`.
    pub fn reason(&self) -> String {
        format!("held by {} ({})", self.name, self.hold_id)
    }

    /// Whether it still holds.
    pub fn is_tripped(&self) -> bool {
        self.status == TRIPPED
    }
}

/// The names among those that have tripped which somebody means by `asked`: the name itself, or what
/// follows its `rule:` or `cause:`. More than one when a rule and a cause have the same.
pub fn tripped_names(holds: &[HoldRow], asked: &str) -> Vec<String> {
    let tripped = holds.iter().filter(|hold| hold.is_tripped());
    let names: std::collections::BTreeSet<&str> = tripped.map(|hold| hold.name.as_str()).collect();
    if names.contains(asked) {
        return vec![asked.to_string()];
    }
    let is_meant = |name: &&&str| name.split_once(':').is_some_and(|(_, rest)| rest == asked);
    names.iter().filter(is_meant).map(ToString::to_string).collect()
}

/// How many alerts wait under one reason, of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct HeldCount {
    /// [`HoldRow::reason`] of the hold.
    pub reason: String,
    /// The alerts' rule.
    pub rule: String,
    /// Alerts, each counted once however many destinations it waits for.
    pub alerts: u64,
    /// Their accounts.
    pub accounts: u64,
}

/// The opening of an episode.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Opening {
    /// The account.
    pub account_id: String,
    /// The rule.
    pub rule: String,
    /// The input of the strongest driver; empty when there is none.
    pub cause: String,
    /// When the newest was found, milliseconds.
    pub at: i64,
}

/// What people ask for, as far as it can be told without reading more.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Requests {
    /// `replay` or `holds`.
    pub what: String,
    /// Of a replay.
    pub destination: String,
    /// When the newest was made, milliseconds.
    pub newest_at: i64,
    /// How many there are.
    pub count: u64,
}

/// Partitions of `mimamori.alerts`, by which accounts are shared among workers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owned {
    /// The partitions.
    pub partitions: Vec<i32>,
    /// How many there are in all.
    pub partition_count: i32,
}

/// The most openings that are read to know how many accounts are in trouble already.
const MOST_OPENINGS: u32 = 200_000;

impl Store {
    /// Every hold there has been, the newest first. Not asked again when it fails.
    pub async fn holds(&self) -> Result<Vec<HoldRow>, Error> {
        self.read_holds(false).await
    }

    /// [`Store::holds`], asked again for as long as it takes.
    pub async fn holds_whatever_it_takes(&self) -> Result<Vec<HoldRow>, Error> {
        self.read_holds(true).await
    }

    async fn read_holds(&self, patient: bool) -> Result<Vec<HoldRow>, Error> {
        self.fetch("read the holds", patient, |client| {
            client.query("SELECT ?fields FROM alert_holds_versions FINAL ORDER BY since DESC, hold_id")
        })
        .await
    }

    /// Writes a hold, or a newer version of it, and tells the workers.
    pub async fn save_hold(&self, hold: &HoldRow) -> Result<(), Error> {
        let written = std::slice::from_ref(hold);
        let version = i64::try_from(hold.version).unwrap_or(i64::MAX);
        self.insert("alert_holds_versions", &token(&hold.hold_id, version), written)
            .await?;
        self.request("holds", "", hold.at).await
    }

    /// Ends the holds of this name that have tripped, and gives them back as they are now. Their
    /// deliveries are moved by the workers that own them.
    pub async fn end_holds(&self, name: &str, end: HoldEnd, now: i64) -> Result<Vec<HoldRow>, Error> {
        let mut ended = Vec::new();
        for hold in self.holds().await? {
            if hold.name != name || !hold.is_tripped() {
                continue;
            }
            let version = hold.version.max(u64::try_from(now).unwrap_or(0)) + 1;
            let hold = HoldRow {
                status: end.as_str().to_string(),
                at: now,
                version,
                ..hold
            };
            self.save_hold(&hold).await?;
            ended.push(hold);
        }
        Ok(ended)
    }

    /// How many alerts are held, by hold and rule; of these partitions, or of all.
    pub async fn held_counts(&self, owned: Option<&Owned>) -> Result<Vec<HeldCount>, Error> {
        let (all, owned) = (owned.is_none(), owned.cloned().unwrap_or_default());
        self.fetch("count the held deliveries", owned.partition_count > 0, |client| {
            client
                .query(
                    "SELECT last_error AS reason, JSONExtractString(last_body, 'data', 'rule') AS rule,
                            uniqExact(alert_id) AS alerts, uniqExact(account) AS accounts
                     FROM
                     (
                         SELECT alert_id, destination, toString(argMax(status, (attempt, version))) AS last_status,
                                argMax(error, (attempt, version)) AS last_error,
                                argMax(body, (attempt, version)) AS last_body,
                                JSONExtractString(last_body, 'data', 'account_id') AS account
                         FROM deliveries_versions
                         WHERE (alert_id, destination) IN
                             (SELECT alert_id, destination FROM deliveries_versions WHERE status = 'held')
                         GROUP BY alert_id, destination
                     )
                     WHERE last_status = 'held'
                           AND (? OR toInt32(kafkaMurmurHash(account) % ?) IN ?)
                     GROUP BY reason, rule ORDER BY reason, rule",
                )
                .bind(all)
                .bind(owned.partition_count.max(1))
                .bind(&owned.partitions)
        })
        .await
    }

    /// Deliveries of these partitions that wait under `reason`, whole episodes side by side.
    pub async fn held_deliveries(
        &self,
        reason: &str,
        owned: &Owned,
        limit: u32,
    ) -> Result<Vec<DeliveryState>, Error> {
        self.fetch("read the held deliveries", true, |client| {
            client
                .query(
                    "SELECT alert_id, episode AS episode_id, toString(destination) AS destination,
                            last_attempt AS attempt, last_status AS status, last_error AS error,
                            last_body AS body, last_variant AS variant, last_reference AS reference
                     FROM
                     (
                         SELECT alert_id, destination, toUInt32(max(attempt)) AS last_attempt,
                                any(episode_id) AS episode,
                                toString(argMax(status, (attempt, version))) AS last_status,
                                argMax(error, (attempt, version)) AS last_error,
                                argMax(body, (attempt, version)) AS last_body,
                                toString(argMax(variant, (attempt, version))) AS last_variant,
                                argMax(reference, (attempt, version)) AS last_reference
                         FROM deliveries_versions
                         WHERE (alert_id, destination) IN
                             (SELECT alert_id, destination FROM deliveries_versions
                              WHERE status = 'held' AND error = ?)
                         GROUP BY alert_id, destination
                     )
                     WHERE last_status = 'held' AND last_error = ?
                           AND toInt32(kafkaMurmurHash(
                               JSONExtractString(last_body, 'data', 'account_id')) % ?) IN ?
                     ORDER BY episode_id, alert_id, destination LIMIT ?",
                )
                .bind(reason)
                .bind(reason)
                .bind(owned.partition_count.max(1))
                .bind(&owned.partitions)
                .bind(limit)
        })
        .await
    }

    /// Which of these episodes of these accounts are over.
    pub async fn ended_episodes(
        &self,
        account_ids: &[String],
        episode_ids: &[String],
    ) -> Result<Vec<String>, Error> {
        #[derive(Row, Deserialize)]
        struct Ended {
            episode_id: String,
        }
        if episode_ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Ended> = self
            .fetch("read which episodes are over", true, |client| {
                client
                    .query(
                        "SELECT DISTINCT episode_id FROM alerts_versions
                         WHERE account_id IN ? AND episode_id IN ? AND change IN ('resolved', 'retracted')",
                    )
                    .bind(account_ids)
                    .bind(episode_ids)
            })
            .await?;
        Ok(rows.into_iter().map(|row| row.episode_id).collect())
    }

    /// How many accounts there are in these partitions; within some percent.
    pub async fn accounts_of(&self, owned: &Owned) -> Result<u64, Error> {
        #[derive(Row, Deserialize)]
        struct Counted {
            accounts: u64,
        }
        let rows: Vec<Counted> = self
            .fetch("count the accounts", true, |client| {
                client
                    .query(
                        "SELECT uniqCombined(account_id) AS accounts FROM accounts_versions
                         WHERE toInt32(kafkaMurmurHash(account_id) % ?) IN ?",
                    )
                    .bind(owned.partition_count.max(1))
                    .bind(&owned.partitions)
            })
            .await?;
        Ok(rows.first().map_or(0, |counted| counted.accounts))
    }

    /// The openings in these partitions after a time, milliseconds.
    pub async fn openings_after(&self, after: i64, owned: &Owned) -> Result<Vec<Opening>, Error> {
        self.fetch("read the openings", true, |client| {
            client
                .query(
                    "SELECT account_id, toString(rule) AS rule,
                            JSONExtractString(payload, 'drivers', 1, 'input') AS cause,
                            toUnixTimestamp64Milli(max(at)) AS at
                     FROM alerts_versions AS told
                     WHERE change = 'opened' AND toUnixTimestamp64Milli(told.at) > ?
                           AND toInt32(kafkaMurmurHash(account_id) % ?) IN ?
                     GROUP BY account_id, rule, cause ORDER BY at DESC, account_id, rule, cause LIMIT ?",
                )
                .bind(after)
                .bind(owned.partition_count.max(1))
                .bind(&owned.partitions)
                .bind(MOST_OPENINGS)
        })
        .await
    }

    /// What has been asked for in the last days. Not asked again when it fails: the next look will do.
    pub async fn requests(&self) -> Result<Vec<Requests>, Error> {
        self.fetch("look for requests", false, |client| {
            client.query(
                "SELECT toString(what) AS what, destination,
                        toUnixTimestamp64Milli(max(requested_at)) AS newest_at, count() AS count
                 FROM alert_requests GROUP BY what, destination ORDER BY what, destination",
            )
        })
        .await
    }

    /// Leaves a request for the workers.
    pub(crate) async fn request(&self, what: &str, destination: &str, now: i64) -> Result<(), Error> {
        #[derive(Row, Serialize, Deserialize)]
        struct RequestRow {
            what: String,
            destination: String,
        }
        let row = RequestRow {
            what: what.to_string(),
            destination: destination.to_string(),
        };
        let token = token(&format!("{what} {destination}"), now);
        self.insert("alert_requests", &token, std::slice::from_ref(&row))
            .await
    }
}

/// A token that no other insert has: the same rows may have to be written again on purpose.
pub(crate) fn token(what: &str, now: i64) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{what} {now} {} {count}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_meant_by_its_name_with_or_without_what_it_is_of() {
        let hold = |name: &str, status: &str| HoldRow {
            hold_id: format!("hd {name}"),
            name: name.to_string(),
            status: status.to_string(),
            since: 0,
            at: 0,
            accounts: 0,
            accounts_total: 0,
            destinations: Vec::new(),
            summary: String::new(),
            version: 0,
        };
        let holds = [
            hold("rule:nps", TRIPPED),
            hold("cause:nps", TRIPPED),
            hold("rule:inactive", TRIPPED),
            hold("rule:inactive", TRIPPED),
            hold("rule:over", "released"),
        ];
        assert_eq!(tripped_names(&holds, "inactive"), ["rule:inactive"]);
        assert_eq!(tripped_names(&holds, "rule:nps"), ["rule:nps"]);
        assert_eq!(tripped_names(&holds, "nps"), ["cause:nps", "rule:nps"]);
        assert!(tripped_names(&holds, "over").is_empty());
        assert!(tripped_names(&holds, "").is_empty());
    }
}
