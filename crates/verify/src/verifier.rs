//! Asking the tables what they hold and the events what they say, in batches of bounded size.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::Store;

use crate::compare::{self, Difference, Row};
use crate::sql::{self, Target, text};
use crate::{Definition, Error};

/// Events that one query looks at, each once for every row that covers it; an account that has more is
/// looked at alone.
const EVENTS_PER_QUERY: u64 = 300_000;

/// Accounts that one query looks at.
const ACCOUNTS_PER_QUERY: usize = 250;

/// Rows that one query computes.
const ROWS_PER_QUERY: usize = 500;

/// Which accounts are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One.
    Account(String),
    /// So many, chosen by the seed.
    Sample(u64, u64),
    /// All.
    All,
}

/// Which rows of the accounts are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// The newest.
    Newest,
    /// The newest at or before an instant, milliseconds.
    At(i64),
    /// Every row there is.
    Every,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// Accounts looked at.
    pub accounts: u64,
    /// Evaluations compared, each a row of `account_metrics` and one of `account_scores`.
    pub evaluations: u64,
    /// Rows of `account_daily` compared.
    pub days: u64,
    /// Evaluations passed over, since another configuration made them.
    pub of_another_model: u64,
    /// Everything that differs.
    pub differences: Vec<Difference>,
}

/// Computes numbers and scores again from the raw events, and compares them with the stored ones.
pub struct Verifier {
    pub(crate) store: Store,
    pub(crate) definition: Definition,
}

/// An account and about how many events it has.
#[derive(Debug, Clone, Deserialize)]
struct Listed {
    account_id: String,
    events: u64,
}

/// An evaluation as the two tables hold it.
#[derive(Debug, Default)]
struct Stored {
    metrics: Option<Row>,
    scores: Option<Row>,
}

type Key = (String, i64);

impl Verifier {
    /// A verifier of what is in `store`, by `definition`.
    pub fn new(store: Store, definition: Definition) -> Verifier {
        Verifier { store, definition }
    }

    /// Compares the rows of the accounts, and all their daily rows, with the events. `progress` is
    /// told how many accounts of how many are done. Accounts that differ are looked at once more, as
    /// the rows of a running pipeline move.
    ///
    /// # Errors
    /// [`Error::NoSuchAccount`] and [`Error::NoRow`] for one account; [`Error::Store`] when ClickHouse
    /// does not answer.
    pub async fn verify(
        &self,
        scope: &Scope,
        rows: Rows,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Report, Error> {
        let accounts = self.accounts(scope).await?;
        let mut report = Report::default();
        for chunk in chunks(&accounts, ACCOUNTS_PER_QUERY, |account| account.events) {
            progress(report.accounts, accounts.len() as u64);
            let ids: Vec<String> = chunk.iter().map(|account| account.account_id.clone()).collect();
            let mut found = self.check(&ids, rows).await?;
            if let (Scope::Account(account), 0) = (scope, found.evaluations + found.of_another_model) {
                return Err(Error::NoRow(account.clone()));
            }
            let differing: BTreeSet<String> = found
                .differences
                .iter()
                .map(|difference| difference.account_id.clone())
                .collect();
            if !differing.is_empty() {
                let again: Vec<String> = differing.into_iter().collect();
                found.differences = self.check(&again, rows).await?.differences;
            }
            report.accounts += found.accounts;
            report.evaluations += found.evaluations;
            report.days += found.days;
            report.of_another_model += found.of_another_model;
            report.differences.extend(found.differences);
        }
        progress(report.accounts, accounts.len() as u64);
        Ok(report)
    }

    /// # Errors
    /// [`Error::NoSuchAccount`] when nothing names the account.
    pub(crate) async fn must_exist(&self, account_id: &str) -> Result<(), Error> {
        let scope = Scope::Account(account_id.to_string());
        self.accounts(&scope).await.map(drop)
    }

    async fn accounts(&self, scope: &Scope) -> Result<Vec<Listed>, Error> {
        let (filter, sampled) = match scope {
            Scope::All => (String::new(), String::new()),
            Scope::Account(id) => (format!("WHERE account_id = {}", text(id)), String::new()),
            Scope::Sample(count, seed) => (
                String::new(),
                format!("ORDER BY cityHash64(account_id, {seed}) LIMIT {count}"),
            ),
        };
        let mut listed: Vec<Listed> = self
            .rows(
                "list the accounts",
                &format!(
                    "SELECT account_id, sum(counted) AS events FROM
                    (
                        SELECT account_id, countIf(type != 'action') AS counted FROM events {filter} GROUP BY account_id
                        UNION ALL
                        SELECT account_id, 0 FROM account_scores_latest {filter}
                    ) GROUP BY account_id {sampled}"
                ),
            )
            .await?;
        if let (Scope::Account(id), true) = (scope, listed.is_empty()) {
            return Err(Error::NoSuchAccount(id.clone()));
        }
        listed.sort_unstable_by(|one, other| one.account_id.cmp(&other.account_id));
        Ok(listed)
    }

    /// Compares everything of some accounts.
    async fn check(&self, accounts: &[String], rows: Rows) -> Result<Report, Error> {
        let mut report = Report {
            accounts: accounts.len() as u64,
            ..Report::default()
        };
        let stored = self.stored(accounts, rows).await?;
        let mut targets = Vec::new();
        for ((account_id, evaluated_at), row) in &stored {
            let (Some(metrics), Some(scores)) = (&row.metrics, &row.scores) else {
                report.differences.push(half(account_id, row));
                continue;
            };
            if self.is_of_another_model(scores) {
                report.of_another_model += 1;
                continue;
            }
            targets.push(target(account_id, *evaluated_at, metrics)?);
        }
        let mut uncovered: BTreeSet<Key> = targets.iter().map(key_of).collect();
        let zoned = self.zoned(targets, None).await?;
        for batch in chunks(&zoned, ROWS_PER_QUERY, |(_, events)| *events) {
            let batch: Vec<Target> = batch.iter().map(|(target, _)| target.clone()).collect();
            for (key, computed) in self.evaluated(&batch, None).await? {
                uncovered.remove(&key);
                let Some(row) = stored.get(&key) else { continue };
                let (Some(metrics), Some(scores)) = (&row.metrics, &row.scores) else {
                    continue;
                };
                report.evaluations += 1;
                for (table, column, stored, recomputed) in
                    compare::evaluation(&self.definition, metrics, scores, &computed)
                {
                    report.differences.push(Difference {
                        account_id: key.0.clone(),
                        table,
                        at: instant(scores),
                        column,
                        stored,
                        recomputed,
                    });
                }
            }
        }
        for key in uncovered {
            report.evaluations += 1;
            let scores = stored.get(&key).and_then(|row| row.scores.as_ref());
            report.differences.push(Difference {
                account_id: key.0,
                table: "account_scores",
                at: scores.map(instant).unwrap_or_default(),
                column: "row".to_string(),
                stored: Value::from("an evaluation"),
                recomputed: Value::Null,
            });
        }
        let folded = self.check_days(accounts, &mut report).await?;
        if !matches!(rows, Rows::At(_)) {
            let evaluated: BTreeSet<&String> = stored.keys().map(|(account, _)| account).collect();
            for account_id in folded.into_iter().filter(|account| !evaluated.contains(account)) {
                report.differences.push(Difference {
                    account_id,
                    table: "account_scores",
                    at: String::new(),
                    column: "row".to_string(),
                    stored: Value::Null,
                    recomputed: Value::from("an evaluation"),
                });
            }
        }
        Ok(report)
    }

    /// Compares all daily rows of some accounts, and tells which of the accounts have events that are
    /// folded for good.
    async fn check_days(&self, accounts: &[String], report: &mut Report) -> Result<BTreeSet<String>, Error> {
        let everything = accounts.iter().map(|account_id| Target {
            account_id: account_id.clone(),
            evaluated_at: i64::MAX,
            cut_offset: i64::MAX,
            segment_stickiness: None,
            zone: String::new(),
        });
        let zones: Vec<(String, String)> = self
            .zoned(everything.collect(), None)
            .await?
            .into_iter()
            .map(|(target, _)| (target.account_id, target.zone))
            .collect();
        let mut stored = self
            .days(&format!(
                "SELECT * FROM account_daily WHERE account_id IN ({})",
                list(accounts)
            ))
            .await?;
        let computed = match zones.as_slice() {
            [] => BTreeMap::new(),
            zones => self.days(&sql::daily_rows(zones)).await?,
        };
        let folded = computed.keys().map(|(account, _)| account.clone()).collect();
        for ((account_id, day), row) in computed {
            report.days += 1;
            let held = stored.remove(&(account_id.clone(), day.clone()));
            let differing = match &held {
                Some(held) => compare::day(held, &row),
                None => vec![("row".to_string(), Value::Null, Value::Object(row))],
            };
            for (column, stored, recomputed) in differing {
                report.differences.push(Difference {
                    account_id: account_id.clone(),
                    table: "account_daily",
                    at: day.clone(),
                    column,
                    stored,
                    recomputed,
                });
            }
        }
        for ((account_id, day), row) in stored {
            report.days += 1;
            report.differences.push(Difference {
                account_id,
                table: "account_daily",
                at: day,
                column: "row".to_string(),
                stored: Value::Object(row),
                recomputed: Value::Null,
            });
        }
        Ok(folded)
    }

    async fn days(&self, sql: &str) -> Result<BTreeMap<(String, String), Row>, Error> {
        let rows: Vec<Row> = self.rows("read the days", sql).await?;
        rows.into_iter()
            .map(|row| Ok(((word(&row, "account_id")?, word(&row, "day")?), row)))
            .collect()
    }

    /// The stored evaluations of some accounts.
    async fn stored(&self, accounts: &[String], rows: Rows) -> Result<BTreeMap<Key, Stored>, Error> {
        let mut found: BTreeMap<Key, Stored> = BTreeMap::new();
        for table in ["account_metrics", "account_scores"] {
            let accounts = list(accounts);
            let (of, filter) = match rows {
                Rows::Newest => (format!("{table}_latest"), String::new()),
                Rows::Every => (table.to_string(), String::new()),
                Rows::At(at) => (
                    table.to_string(),
                    format!(
                        " AND evaluated_at <= fromUnixTimestamp64Milli({at}) \
                         ORDER BY evaluated_at DESC LIMIT 1 BY account_id"
                    ),
                ),
            };
            let sql = format!(
                "SELECT *, toUnixTimestamp64Milli(evaluated_at) AS evaluated_ms FROM {of} \
                 WHERE account_id IN ({accounts}){filter}"
            );
            let answered: Vec<Row> = self.rows("read the stored rows", &sql).await?;
            for row in answered {
                let key = (word(&row, "account_id")?, whole(&row, "evaluated_ms")?);
                let stored = found.entry(key).or_default();
                if table == "account_metrics" {
                    stored.metrics = Some(row);
                } else {
                    stored.scores = Some(row);
                }
            }
        }
        Ok(found)
    }

    /// The newest stored evaluation of an account, at or before `at` when that is given, as its
    /// metrics and its scores.
    pub(crate) async fn newest(
        &self,
        account_id: &str,
        at: Option<i64>,
    ) -> Result<Option<(i64, Row, Row)>, Error> {
        let rows = at.map_or(Rows::Newest, Rows::At);
        let stored = self.stored(&[account_id.to_string()], rows).await?;
        Ok(stored.into_iter().rev().find_map(|((_, evaluated_at), row)| {
            let (metrics, scores) = row.metrics.zip(row.scores)?;
            Some((evaluated_at, metrics, scores))
        }))
    }

    pub(crate) fn is_of_another_model(&self, scores: &Row) -> bool {
        scores.get("model_hash").and_then(Value::as_str) != Some(&self.definition.model_hash)
    }

    /// Gives each target its account's zone and tells how many events it covers; a target that covers
    /// none is left out.
    pub(crate) async fn zoned(
        &self,
        targets: Vec<Target>,
        known_at: Option<i64>,
    ) -> Result<Vec<(Target, u64)>, Error> {
        #[derive(Deserialize)]
        struct Zoned {
            account_id: String,
            evaluated_at: i64,
            events: u64,
            zone: String,
        }
        let mut zoned = Vec::new();
        for batch in targets.chunks(ROWS_PER_QUERY) {
            let sql = sql::zones(&self.definition.timezone, batch, known_at);
            let answered: Vec<Zoned> = self.rows("find the time zones", &sql).await?;
            let mut found: BTreeMap<Key, (u64, String)> = answered
                .into_iter()
                .map(|one| ((one.account_id, one.evaluated_at), (one.events, one.zone)))
                .collect();
            for target in batch {
                if let Some((events, zone)) = found.remove(&key_of(target)) {
                    let target = Target {
                        zone,
                        ..target.clone()
                    };
                    zoned.push((target, events));
                }
            }
        }
        Ok(zoned)
    }

    /// What the events say of some rows.
    pub(crate) async fn evaluated(
        &self,
        targets: &[Target],
        known_at: Option<i64>,
    ) -> Result<Vec<(Key, Row)>, Error> {
        let sql = sql::evaluations(&self.definition, targets, known_at);
        let rows: Vec<Row> = self.rows("compute the numbers from the events", &sql).await?;
        rows.into_iter()
            .map(|row| Ok(((word(&row, "account_id")?, whole(&row, "evaluated_at")?), row)))
            .collect()
    }

    async fn rows<T: DeserializeOwned>(&self, action: &str, sql: &str) -> Result<Vec<T>, Error> {
        let answered = self.store.json_rows(action, sql).await?;
        answered
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_str(line).map_err(Error::Answer))
            .collect()
    }
}

/// The row to compute again for a stored one.
pub(crate) fn target(account_id: &str, evaluated_at: i64, metrics: &Row) -> Result<Target, Error> {
    Ok(Target {
        account_id: account_id.to_string(),
        evaluated_at,
        cut_offset: whole(metrics, "cut_offset")?,
        segment_stickiness: metrics.get("segment_stickiness").and_then(Value::as_f64),
        zone: String::new(),
    })
}

/// When a row was evaluated, in RFC 3339.
pub(crate) fn instant(row: &Row) -> String {
    let told = row
        .get("evaluated_at")
        .and_then(Value::as_str)
        .unwrap_or_default();
    format!("{}Z", told.replace(' ', "T"))
}

fn key_of(target: &Target) -> Key {
    (target.account_id.clone(), target.evaluated_at)
}

/// The difference that one of the two tables has no row of an evaluation.
fn half(account_id: &str, row: &Stored) -> Difference {
    let empty = Row::new();
    let (table, other) = match &row.metrics {
        Some(metrics) => ("account_scores", metrics),
        None => ("account_metrics", row.scores.as_ref().unwrap_or(&empty)),
    };
    Difference {
        account_id: account_id.to_string(),
        table,
        at: instant(other),
        column: "row".to_string(),
        stored: Value::Null,
        recomputed: Value::from("an evaluation"),
    }
}

fn list(accounts: &[String]) -> String {
    let listed: Vec<String> = accounts.iter().map(|account| text(account)).collect();
    listed.join(", ")
}

fn word(row: &Row, column: &'static str) -> Result<String, Error> {
    let found = row.get(column).and_then(Value::as_str);
    found.map(str::to_string).ok_or(Error::NoColumn(column))
}

pub(crate) fn whole(row: &Row, column: &'static str) -> Result<i64, Error> {
    row.get(column)
        .and_then(Value::as_i64)
        .ok_or(Error::NoColumn(column))
}

/// Cuts items into runs of at most `most` and of about [`EVENTS_PER_QUERY`] events.
fn chunks<T>(items: &[T], most: usize, events: impl Fn(&T) -> u64) -> Vec<&[T]> {
    let mut cut = Vec::new();
    let mut from = 0;
    let mut held = 0;
    for (place, item) in items.iter().enumerate() {
        let is_full = place - from >= most || held + events(item) > EVENTS_PER_QUERY;
        if place > from && is_full {
            cut.push(&items[from..place]);
            from = place;
            held = 0;
        }
        held += events(item);
    }
    if from < items.len() {
        cut.push(&items[from..]);
    }
    cut
}
