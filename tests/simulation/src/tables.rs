//! A ClickHouse of the simulated world: tables with versions, and an insert-deduplication window.

use std::collections::{BTreeMap, VecDeque};

use aggregate::{Action, Answer, Insert, Rows};
use store::{
    AlertRow, Checkpoint, DailyRow, EventRow, HistoricEvent, MetricsRow, ScoresRow, SeenEvent, StateRow,
};

/// Tokens that a table remembers.
const REMEMBERED_TOKENS: usize = 1_000;

#[derive(Default)]
pub(crate) struct Tables {
    /// Every row that was ever inserted, and not dropped by its token.
    pub(crate) events: Vec<EventRow>,
    pub(crate) states: BTreeMap<(i32, String), StateRow>,
    pub(crate) checkpoints: BTreeMap<i32, Checkpoint>,
    pub(crate) daily: BTreeMap<(String, u16), DailyRow>,
    pub(crate) metrics: BTreeMap<(String, i64), MetricsRow>,
    pub(crate) scores: BTreeMap<(String, i64), ScoresRow>,
    pub(crate) alerts: BTreeMap<String, AlertRow>,
    tokens: VecDeque<String>,
    /// Rows of states and checkpoints that came too late to count.
    pub(crate) outdated: usize,
    pub(crate) repeated_inserts: usize,
}

impl Tables {
    pub(crate) fn insert(&mut self, insert: &Insert) {
        if self.tokens.contains(&insert.token) {
            self.repeated_inserts += 1;
            return;
        }
        self.tokens.push_back(insert.token.clone());
        if self.tokens.len() > REMEMBERED_TOKENS {
            self.tokens.pop_front();
        }
        match &insert.rows {
            Rows::Events(rows) => self.events.extend(rows.iter().cloned()),
            Rows::States(rows) => {
                for row in rows {
                    let key = (row.partition, row.account_id.clone());
                    self.outdated += keep_newest(&mut self.states, key, row, |row| row.version);
                }
            }
            Rows::Checkpoints(rows) => {
                for row in rows {
                    self.outdated +=
                        keep_newest(&mut self.checkpoints, row.partition, row, |row| row.version);
                }
            }
            Rows::Daily(rows) => {
                for row in rows {
                    let key = (row.account_id.clone(), row.day);
                    keep_newest(&mut self.daily, key, row, |row| row.version);
                }
            }
            Rows::Metrics(rows) => {
                for row in rows {
                    let key = (row.account_id.clone(), row.evaluated_at);
                    keep_newest(&mut self.metrics, key, row, |row| row.version);
                }
            }
            Rows::Scores(rows) => {
                for row in rows {
                    let key = (row.account_id.clone(), row.evaluated_at);
                    keep_newest(&mut self.scores, key, row, |row| row.version);
                }
            }
            Rows::Alerts(rows) => {
                for row in rows {
                    keep_newest(&mut self.alerts, row.alert_id.clone(), row, |row| row.version);
                }
            }
            // What accounts and users are called is not looked at.
            Rows::Users(_) | Rows::Accounts(_) => {}
        }
    }

    /// Answers what only reads.
    pub(crate) fn read(&self, action: &Action) -> Option<Answer> {
        match action {
            Action::ReadCheckpoint(number) => Some(Answer::Checkpoint(self.checkpoints.get(number).cloned())),
            Action::ReadStates(number) => {
                let states = self.states.values().filter(|row| row.partition == *number);
                Some(Answer::States(states.cloned().collect()))
            }
            Action::ReadLanded { number, from } => {
                let mut offsets: Vec<i64> = self
                    .events
                    .iter()
                    .filter(|row| row.kafka_partition == *number && row.kafka_offset >= *from)
                    .map(|row| row.kafka_offset)
                    .collect();
                offsets.sort_unstable();
                offsets.dedup();
                Some(Answer::Landed(offsets))
            }
            Action::LookUp(pairs) => {
                let is_asked = |row: &&EventRow| {
                    pairs
                        .iter()
                        .any(|(account, id)| row.account_id == *account && row.event_id == *id)
                };
                let seen = self.events.iter().filter(is_asked).map(|row| SeenEvent {
                    account_id: row.account_id.clone(),
                    event_id: row.event_id.clone(),
                    kafka_partition: row.kafka_partition,
                    kafka_offset: row.kafka_offset,
                });
                Some(Answer::Seen(seen.collect()))
            }
            Action::ReadAgain { accounts, from } => {
                let mut rows: Vec<EventRow> = self
                    .distinct_events()
                    .into_iter()
                    .filter(|row| accounts.contains(&row.account_id) && row.occurred_at >= *from)
                    .collect();
                rows.sort_by(|a, b| (&a.account_id, a.kafka_offset).cmp(&(&b.account_id, b.kafka_offset)));
                Some(Answer::Events(rows))
            }
            _ => None,
        }
    }

    /// One row a key, as the table gives them: of rows with the same key the one inserted last.
    pub(crate) fn distinct_events(&self) -> Vec<EventRow> {
        let mut rows: BTreeMap<(&str, &str), &EventRow> = BTreeMap::new();
        for row in &self.events {
            rows.insert((&row.account_id, &row.event_id), row);
        }
        rows.into_values().cloned().collect()
    }

    /// The events of these accounts in the order in which histories read them.
    pub(crate) fn histories(&self, accounts: &[String]) -> Vec<HistoricEvent> {
        let mut rows: Vec<EventRow> = self
            .distinct_events()
            .into_iter()
            .filter(|row| accounts.contains(&row.account_id))
            .collect();
        rows.sort_by(|a, b| {
            let key = |row: &EventRow| {
                let happened_at = row.occurred_at.min(row.received_at);
                (row.account_id.clone(), happened_at, row.event_id.clone())
            };
            key(a).cmp(&key(b))
        });
        rows.into_iter()
            .map(|row| HistoricEvent {
                account_id: row.account_id,
                event_id: row.event_id,
                user_id: row.user_id,
                r#type: row.r#type,
                name: row.name,
                occurred_at: row.occurred_at,
                received_at: row.received_at,
                properties: row.properties,
                kafka_offset: row.kafka_offset,
            })
            .collect()
    }
}

/// Keeps the row of the highest version, and of two with the same the later one; 1 when it was outdated.
fn keep_newest<K: Ord, T: Clone>(
    rows: &mut BTreeMap<K, T>,
    key: K,
    row: &T,
    version: impl Fn(&T) -> u64,
) -> usize {
    let is_outdated = rows.get(&key).is_some_and(|known| version(known) > version(row));
    if !is_outdated {
        rows.insert(key, row.clone());
    }
    usize::from(is_outdated)
}
