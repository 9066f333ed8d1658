//! Dead letters: deliveries that nobody tries any more, and how they are tried again.
//!
//! A replay is a new row of the delivery, with the next attempt's number, that says that it waits. So
//! what is replayed twice waits once, and a worker that delivers it meanwhile writes a row with a higher
//! number, which wins.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{Error, Store};
use crate::rows::DeliveryRow;

/// The most deliveries that one query looks at.
const PAGE: u32 = 500;

/// A delivery that failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The alert's change.
    pub alert_id: String,
    /// The destination's name.
    pub destination: String,
    /// The attempts made.
    pub attempt: u32,
    /// Of the last answer; none when there was none.
    pub http_status: Option<u16>,
    /// When it was given up, milliseconds.
    pub at: i64,
    /// Why.
    pub error: String,
    /// Of the alert.
    pub episode_id: String,
    /// Of the alert; empty for a summary.
    pub account_id: String,
    /// Of the alert.
    pub rule: String,
    /// Of the alert.
    pub change: String,
    /// Whether its body was kept, so that it can be replayed.
    pub replayable: bool,
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Only those to this destination.
    pub destination: Option<String>,
    /// Only those of this rule.
    pub rule: Option<String>,
    /// Only those about this account.
    pub account_id: Option<String>,
    /// Only those of this alert.
    pub alert_id: Option<String>,
    /// Only those given up at or after this time, milliseconds.
    pub since: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

/// The newest row about a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct DeliveryState {
    /// The alert's change.
    pub alert_id: String,
    /// Of the alert.
    pub episode_id: String,
    /// The destination's name.
    pub destination: String,
    /// Of the row.
    pub attempt: u32,
    /// As in the table.
    pub status: String,
    /// As in the table.
    pub error: String,
    /// Empty when it is not kept.
    pub body: String,
    /// As in the table.
    pub variant: String,
    /// As in the table.
    pub reference: String,
}

/// What became of a wish to replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// It is tried again now.
    Replayed,
    /// It was waiting for an attempt already.
    Waiting,
    /// Refused: the receiver has it.
    Delivered,
    /// Refused: the receiver has a later change of the same episode, and would take this one for newer.
    Overtaken,
    /// Refused: its body was not kept.
    NoBody,
    /// Refused: it is none of deliveries that failed (held, suppressed, in a digest…).
    NotFailed,
}

impl Replay {
    /// As in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Replay::Replayed => "replayed",
            Replay::Waiting => "waiting",
            Replay::Delivered => "delivered",
            Replay::Overtaken => "overtaken",
            Replay::NoBody => "no_body",
            Replay::NotFailed => "not_failed",
        }
    }

    /// Whether the delivery is on its way.
    pub fn is_under_way(self) -> bool {
        matches!(self, Replay::Replayed | Replay::Waiting)
    }
}

/// A delivery that was asked for, and what became of the wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayedDelivery {
    /// The alert's change.
    pub alert_id: String,
    /// The destination's name.
    pub destination: String,
    /// What became of it.
    pub outcome: Replay,
}

/// Where a change stands in its episode: by time, and of the same time by what can only come after.
#[derive(Debug, Clone, Row, Deserialize)]
struct Place {
    alert_id: String,
    at: i64,
    rank: u8,
}

/// The newest row of each delivery, whatever parts of the table have been merged.
const NEWEST: &str = "alert_id, destination, toUInt32(max(attempt)) AS last_attempt,
    any(episode_id) AS episode, toString(argMax(status, (attempt, version))) AS last_status,
    argMax(http_status, (attempt, version)) AS last_http, argMax(at, (attempt, version)) AS last_at,
    argMax(error, (attempt, version)) AS last_error, argMax(body, (attempt, version)) AS last_body,
    toString(argMax(variant, (attempt, version))) AS last_variant,
    argMax(reference, (attempt, version)) AS last_reference";

impl Store {
    /// The dead letters, those given up last first, and how many there are in all.
    pub async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<(Vec<DeadLetter>, u64), Error> {
        #[derive(Row, Deserialize)]
        struct Counted {
            letters: u64,
        }
        let counted: Vec<Counted> = self
            .fetch("count the dead letters", false, |client| {
                select_dead(client, query, "count() AS letters", "")
            })
            .await?;
        let letters = self.letters(query, "at DESC").await?;
        Ok((letters, counted.first().map_or(0, |counted| counted.letters)))
    }

    async fn letters(&self, query: &DeadLetterQuery, order: &str) -> Result<Vec<DeadLetter>, Error> {
        let columns = "alert_id, toString(destination) AS destination, last_attempt AS attempt,
            last_http AS http_status, toUnixTimestamp64Milli(last_at) AS at, last_error AS error,
            episode AS episode_id, account AS account_id, told_rule AS rule,
            JSONExtractString(last_body, 'data', 'change') AS change, last_body != '' AS replayable";
        let end = format!("ORDER BY {order}, alert_id, destination LIMIT ?");
        self.fetch("read the dead letters", false, |client| {
            select_dead(client, query, columns, &end).bind(query.limit)
        })
        .await
    }

    /// Every row of a delivery of an alert, the newest version of each attempt, by destination and attempt.
    pub async fn deliveries_of(&self, alert_id: &str) -> Result<Vec<DeliveryRow>, Error> {
        self.fetch("read the deliveries of an alert", false, |client| {
            client
                .query(
                    "SELECT ?fields FROM deliveries_versions FINAL WHERE alert_id = ?
                     ORDER BY destination, attempt",
                )
                .bind(alert_id)
        })
        .await
    }

    /// Where the deliveries of these episodes stand, all destinations and changes of each.
    pub async fn deliveries_of_episodes(&self, episode_ids: &[String]) -> Result<Vec<DeliveryState>, Error> {
        self.delivery_states("episode_id", episode_ids, true).await
    }

    async fn delivery_states(
        &self,
        column: &str,
        ids: &[String],
        patient: bool,
    ) -> Result<Vec<DeliveryState>, Error> {
        let mut states = Vec::new();
        for page in ids.chunks(PAGE as usize) {
            let found: Vec<DeliveryState> = self
                .fetch("read where deliveries stand", patient, |client| {
                    client
                        .query(&format!(
                            "SELECT alert_id, episode AS episode_id, toString(destination) AS destination,
                                    last_attempt AS attempt, last_status AS status, last_error AS error,
                                    last_body AS body, last_variant AS variant, last_reference AS reference
                             FROM
                             (
                                 SELECT {NEWEST} FROM deliveries_versions WHERE {column} IN ?
                                 GROUP BY alert_id, destination
                             )
                             ORDER BY episode_id, alert_id, destination"
                        ))
                        .bind(page)
                })
                .await?;
            states.extend(found);
        }
        Ok(states)
    }

    /// Replays the dead letters of these alerts, at one destination or at all that they failed at; what
    /// became of each. An alert that has no delivery there is not in the answer.
    pub async fn replay(
        &self,
        alert_ids: &[String],
        destination: Option<&str>,
        now: i64,
    ) -> Result<Vec<ReplayedDelivery>, Error> {
        let mut replayed = Vec::new();
        for page in alert_ids.chunks(PAGE as usize) {
            let states = self.delivery_states("alert_id", page, false).await?;
            let asked: Vec<DeliveryState> = states
                .into_iter()
                .filter(|state| destination.is_none_or(|name| name == state.destination))
                .collect();
            replayed.extend(self.replay_page(asked, now).await?);
        }
        let destinations: BTreeSet<&str> = replayed
            .iter()
            .filter(|delivery| delivery.outcome.is_under_way())
            .map(|delivery| delivery.destination.as_str())
            .collect();
        for destination in destinations {
            self.request("replay", destination, now).await?;
        }
        Ok(replayed)
    }

    /// Replays every dead letter that `query` finds, whatever its limit, those given up first first. What
    /// fails again meanwhile is not replayed twice.
    pub async fn replay_all(
        &self,
        query: &DeadLetterQuery,
        now: i64,
    ) -> Result<Vec<ReplayedDelivery>, Error> {
        let mut replayed = Vec::new();
        let mut seen = BTreeSet::new();
        let mut refused = 0;
        loop {
            let limit = PAGE + refused;
            let letters = self
                .letters(
                    &DeadLetterQuery {
                        limit,
                        ..query.clone()
                    },
                    "at",
                )
                .await?;
            let mut by_destination: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for letter in letters {
                if seen.insert((letter.alert_id.clone(), letter.destination.clone())) {
                    let ids = by_destination.entry(letter.destination).or_default();
                    ids.push(letter.alert_id);
                }
            }
            if by_destination.is_empty() {
                return Ok(replayed);
            }
            for (destination, alert_ids) in by_destination {
                let page = self.replay(&alert_ids, Some(&destination), now).await?;
                let left = page.iter().filter(|delivery| !delivery.outcome.is_under_way());
                refused += u32::try_from(left.count()).unwrap_or(u32::MAX);
                replayed.extend(page);
            }
        }
    }

    async fn replay_page(&self, asked: Vec<DeliveryState>, now: i64) -> Result<Vec<ReplayedDelivery>, Error> {
        let overtaken = self.overtaken(&asked).await?;
        let mut rows = Vec::new();
        let mut replayed = Vec::new();
        for state in asked {
            let outcome = match state.status.as_str() {
                "delivered" => Replay::Delivered,
                "retrying" => Replay::Waiting,
                "failed" if state.body.is_empty() => Replay::NoBody,
                "failed" if overtaken.contains(&(state.alert_id.clone(), state.destination.clone())) => {
                    Replay::Overtaken
                }
                "failed" => Replay::Replayed,
                _ => Replay::NotFailed,
            };
            replayed.push(ReplayedDelivery {
                alert_id: state.alert_id.clone(),
                destination: state.destination.clone(),
                outcome,
            });
            if outcome == Replay::Replayed {
                rows.push(state.next_row("retrying", "to be replayed", Some(now), now));
            }
        }
        let token = crate::holds::token("replay", now);
        self.insert_deliveries(&token, &rows).await?;
        Ok(replayed)
    }

    /// Of those that failed the ones of which the destination has a later change of the same episode.
    async fn overtaken(&self, asked: &[DeliveryState]) -> Result<BTreeSet<(String, String)>, Error> {
        let failed: Vec<&DeliveryState> = asked
            .iter()
            .filter(|state| state.status == "failed" && !state.episode_id.is_empty())
            .collect();
        let episodes: BTreeSet<String> = failed.iter().map(|state| state.episode_id.clone()).collect();
        let episodes = Vec::from_iter(episodes);
        let others = self.delivery_states("episode_id", &episodes, false).await?;
        let delivered: Vec<&DeliveryState> = others
            .iter()
            .filter(|state| state.status == "delivered")
            .collect();
        if delivered.is_empty() {
            return Ok(BTreeSet::new());
        }
        let places: Vec<Place> = self
            .fetch("read the order of changes", false, |client| {
                client
                    .query(
                        "SELECT alert_id, toUnixTimestamp64Milli(max(at)) AS at,
                                toUInt8(transform(toString(any(change)),
                                    ['opened', 'escalated', 'acknowledged'], [0, 1, 1], 2)) AS rank
                         FROM alerts_versions WHERE episode_id IN ? GROUP BY alert_id",
                    )
                    .bind(&episodes)
            })
            .await?;
        let places: BTreeMap<&str, (i64, u8)> = places
            .iter()
            .map(|place| (place.alert_id.as_str(), (place.at, place.rank)))
            .collect();
        let place = |state: &DeliveryState| places.get(state.alert_id.as_str());
        let is_overtaken = |state: &DeliveryState| {
            delivered.iter().any(|other| {
                other.episode_id == state.episode_id
                    && other.destination == state.destination
                    && place(other) > place(state)
                    && place(state).is_some()
            })
        };
        Ok(failed
            .into_iter()
            .filter(|state| is_overtaken(state))
            .map(|state| (state.alert_id.clone(), state.destination.clone()))
            .collect())
    }
}

fn select_dead(
    client: &clickhouse::Client,
    query: &DeadLetterQuery,
    columns: &str,
    end: &str,
) -> clickhouse::query::Query {
    let mut asked = client.query(&format!(
        "SELECT {columns} FROM
         (
             SELECT {NEWEST}, JSONExtractString(last_body, 'data', 'account_id') AS account,
                    JSONExtractString(last_body, 'data', 'rule') AS told_rule
             FROM deliveries_versions
             WHERE (? = '' OR destination = ?) AND (? = '' OR alert_id = ?) AND (alert_id, destination) IN
                 (SELECT alert_id, destination FROM deliveries_versions WHERE status = 'failed')
             GROUP BY alert_id, destination
         )
         WHERE last_status = 'failed' AND (? = '' OR told_rule = ?) AND (? = '' OR account = ?)
               AND toUnixTimestamp64Milli(last_at) >= ? {end}"
    ));
    for text in [
        &query.destination,
        &query.alert_id,
        &query.rule,
        &query.account_id,
    ] {
        let text = text.as_deref().unwrap_or("");
        asked = asked.bind(text).bind(text);
    }
    asked.bind(query.since.unwrap_or(0))
}

impl DeliveryState {
    /// The row that follows: of the next attempt's number, written at `now`. It keeps the body when
    /// something is due.
    pub fn next_row(&self, status: &str, error: &str, due: Option<i64>, now: i64) -> DeliveryRow {
        DeliveryRow {
            alert_id: self.alert_id.clone(),
            destination: self.destination.clone(),
            attempt: self.attempt + 1,
            status: status.to_string(),
            http_status: None,
            at: now,
            duration_ms: 0,
            error: error.to_string(),
            next_attempt_at: due,
            body: due.map_or_else(String::new, |_| self.body.clone()),
            episode_id: self.episode_id.clone(),
            variant: self.variant.clone(),
            reference: self.reference.clone(),
            version: u64::try_from(now).unwrap_or(0),
        }
    }
}
