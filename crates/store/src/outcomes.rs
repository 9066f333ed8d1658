//! What became of the accounts that were alarmed about: the rows of `alert_outcomes`, summed up.
//!
//! They are read from `alert_outcomes_of`, which the view `alert_outcomes` is made of, too: it is told what is
//! asked for, so that no more is read of the alerts and the scores than that.

use clickhouse::Row;
use jiff::Timestamp;
use serde::Deserialize;

use crate::client::{Error, Store};

/// After how many days an outcome is looked at: those that `alert_outcomes` has columns of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutcomeDays {
    /// A week.
    Seven,
    /// A month.
    #[default]
    Thirty,
    /// Two months.
    Sixty,
}

impl OutcomeDays {
    /// All, shortest first.
    pub const ALL: [OutcomeDays; 3] = [OutcomeDays::Seven, OutcomeDays::Thirty, OutcomeDays::Sixty];

    /// How many days.
    pub fn days(self) -> u32 {
        match self {
            OutcomeDays::Seven => 7,
            OutcomeDays::Thirty => 30,
            OutcomeDays::Sixty => 60,
        }
    }
}

/// Which outcomes to sum up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutcomeQuery {
    /// Only this rule.
    pub rule: Option<String>,
    /// Only episodes that opened then or later, milliseconds.
    pub since: Option<i64>,
    /// After how many days.
    pub days: OutcomeDays,
}

/// The accounts of a rule, arm and variant. Each account counts once a rule, as its first episode of the
/// time asked for.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct OutcomeGroup {
    /// The rule.
    pub rule: String,
    /// `at_risk` or `opportunity`.
    pub kind: String,
    /// `told`, `held_out`, `shadow`, or nothing where it reached nobody.
    pub arm: String,
    /// Of the rule; empty when it has none.
    pub variant: String,
    /// Accounts.
    pub accounts: u64,
    /// Their episodes, the first ones and all later ones.
    pub episodes: u64,
    /// Accounts whose days have passed.
    pub due: u64,
    /// Of them, those that had recovered.
    pub recovered: u64,
    /// Of those, the ones that a person declared to have.
    pub declared: u64,
    /// Of those due, the ones that had not churned.
    pub retained: u64,
    /// Of those due, the ones whose health is known at both ends.
    pub health_changes: u64,
    /// Mean of the points of health that those gained.
    pub health_change_mean: f64,
    /// Sum of the squares of what the points are away from their mean.
    pub health_change_squares: f64,
}

/// The last instant that a `DateTime64(3)` can hold, milliseconds.
const LAST_INSTANT: i64 = 10_413_791_999_999;

/// An instant as ClickHouse reads one in UTC; those that it cannot hold are the first or the last it can.
fn instant(at: i64) -> String {
    let at = Timestamp::from_millisecond(at.clamp(0, LAST_INSTANT)).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

impl Store {
    /// The outcomes, by rule, arm and variant.
    pub async fn outcome_groups(&self, wanted: &OutcomeQuery) -> Result<Vec<OutcomeGroup>, Error> {
        let days = wanted.days.days();
        // Neither name comes from outside.
        let statement = format!(
            "SELECT rule, any(kind) AS kind, arm, variant, count() AS accounts, sum(of_account) AS episodes,
                    count(has_recovered) AS due, countIf(ifNull(has_recovered, false)) AS recovered,
                    countIf(ifNull(has_recovered, false) AND resolution = 'declared') AS declared,
                    countIf(ifNull(has_stayed, false)) AS retained,
                    count(health_change) AS health_changes,
                    ifNull(avg(health_change), 0) AS health_change_mean,
                    ifNull(varPopStable(health_change), 0) * health_changes AS health_change_squares
             FROM
             (
                 SELECT rule, kind, arm, variant, resolution, recovered_{days}d AS has_recovered,
                        retained_{days}d AS has_stayed, health_{days}d - health_at_opening AS health_change,
                        count() OVER (PARTITION BY rule, account_id) AS of_account
                 FROM alert_outcomes_of(since = ?, rule = ?, days = [{days}])
                 ORDER BY opened_at, episode_id
                 LIMIT 1 BY rule, account_id
             )
             GROUP BY rule, arm, variant
             ORDER BY rule, arm, variant"
        );
        self.fetch("read the outcomes of alerts", false, |client| {
            client
                .query(&statement)
                .bind(instant(wanted.since.unwrap_or(0)))
                .bind(wanted.rule.as_deref().unwrap_or(""))
        })
        .await
    }

    /// Up to when the outcomes are known, milliseconds: the newest evaluation. `None` before the first.
    pub async fn outcomes_known_until(&self) -> Result<Option<i64>, Error> {
        #[derive(Row, Deserialize)]
        struct Newest {
            at: i64,
        }
        let newest: Vec<Newest> = self
            .fetch("read the newest evaluation", false, |client| {
                client.query(
                    "SELECT toUnixTimestamp64Milli(least(max(evaluated_at), now64(3))) AS at
                     FROM scores_newest HAVING count() > 0",
                )
            })
            .await?;
        Ok(newest.first().map(|newest| newest.at))
    }
}
