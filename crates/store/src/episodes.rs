//! Episodes of alerts as they stand: which are open, and what people did about them.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Error, Store};

/// An episode of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct EpisodeRow {
    /// Its id.
    pub episode_id: String,
    /// The account that it is about.
    pub account_id: String,
    /// The rule's name.
    pub rule: String,
    /// Its severity now: `info`, `warning` or `critical`.
    pub severity: String,
    /// When it opened, milliseconds; that may lie long before anybody was told.
    pub opened_at: i64,
    /// The newest change that says how bad it is …
    pub alert_id: String,
    /// … `opened` or `escalated`; empty when neither was told …
    pub change: String,
    /// … when it was found, milliseconds, …
    pub at: i64,
    /// … why, in English, …
    pub reason: String,
    /// … and in Japanese, …
    pub reason_ja: String,
    /// … and the data of its webhook: a JSON object.
    pub payload: String,
    /// Whether it is over: it ended, or its rule has opened another since.
    pub is_over: bool,
}

/// Something that people did about an episode.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct ActionRow {
    /// The episode.
    pub episode_id: String,
    /// What: `acknowledged`, `snoozed`, `resolved`, `noted`, or any other name.
    pub name: String,
    /// When, milliseconds.
    pub at: i64,
    /// What was said with it: a JSON object as text, or empty.
    pub properties: String,
}

impl Store {
    /// The episodes that are open, the critical ones first and of those the newest, of one account or of
    /// all.
    pub async fn open_episodes(&self, account: Option<&str>, limit: u32) -> Result<Vec<EpisodeRow>, Error> {
        let query = format!(
            "SELECT * FROM ({})
             WHERE NOT is_over
             ORDER BY severity = 'critical' DESC, opened_at DESC, episode_id LIMIT ?",
            episodes("? = '' OR account_id = ?")
        );
        self.fetch("read the open alerts", false, |client| {
            client
                .query(&query)
                .bind(account.unwrap_or(""))
                .bind(account.unwrap_or(""))
                .bind(limit)
        })
        .await
    }

    /// The episode of that id, or the one that a change of that id belongs to.
    pub async fn episode(&self, id: &str) -> Result<Option<EpisodeRow>, Error> {
        let query = format!(
            "WITH (SELECT (any(account_id), any(rule), any(episode_id)) FROM alerts_versions
                   WHERE alert_id = ? OR episode_id = ?) AS asked
             SELECT * FROM ({}) WHERE episode_id = asked.3",
            episodes("account_id = asked.1 AND rule = asked.2")
        );
        let rows: Vec<EpisodeRow> = self
            .fetch("read the alert", false, |client| {
                client.query(&query).bind(id).bind(id)
            })
            .await?;
        Ok(rows.into_iter().next())
    }

    /// What people did about some episodes of some accounts: of each kind of action the newest, and the
    /// first acknowledgement.
    pub async fn actions_on(&self, accounts: &[&str], episodes: &[&str]) -> Result<Vec<ActionRow>, Error> {
        if episodes.is_empty() {
            return Ok(Vec::new());
        }
        self.fetch("read what people did", false, |client| {
            client
                .query(
                    "SELECT episode_id, name, at, properties FROM
                     (
                         SELECT JSONExtractString(properties, 'episode_id') AS episode_id, name, properties, event_id,
                                toUnixTimestamp64Milli(least(occurred_at, received_at)) AS at
                         FROM events FINAL WHERE account_id IN ? AND type = 'action'
                     )
                     WHERE episode_id IN ?
                     ORDER BY if(name = 'acknowledged', at, -at), event_id LIMIT 1 BY episode_id, name",
                )
                .bind(accounts)
                .bind(episodes)
        })
        .await
    }
}

/// The query for the episodes whose changes meet the condition. One that is not the newest of its rule and
/// account is over, whatever was told of it: a rule that is taken out of force ends its episodes silently.
fn episodes(condition: &str) -> String {
    format!(
        "SELECT episode_id, account_id, toString(rule) AS rule, severity, opened_at, last.1 AS alert_id,
                last.2 AS change, last.3 AS at, last.4 AS reason, last.5 AS reason_ja, last.6 AS payload,
                toBool(has_ended OR place > 1) AS is_over
         FROM
         (
             SELECT *, row_number() OVER (PARTITION BY account_id, rule ORDER BY opened_at DESC, last.3 DESC) AS place
             FROM
             (
                 SELECT account_id, rule, episode_id,
                        min(toUnixTimestamp64Milli(ifNull(parseDateTime64BestEffortOrNull(
                            JSONExtractString(payload, 'opened_at'), 3, 'UTC'), changed.at))) AS opened_at,
                        max(change IN ('resolved', 'retracted')) AS has_ended,
                        toString(argMax(severity, (changed.at, change = 'escalated'))) AS severity,
                        argMaxIf((alert_id, toString(change), toUnixTimestamp64Milli(changed.at), reason, reason_ja, payload),
                                 (changed.at, change = 'escalated'), change IN ('opened', 'escalated')) AS last
                 FROM alerts_versions AS changed FINAL
                 WHERE {condition}
                 GROUP BY account_id, rule, episode_id
             )
         )"
    )
}
