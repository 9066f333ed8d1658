//! What the API and the page read of accounts. Every answer counts an account once, whatever the
//! merges have or have not done yet.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{Error, Store};
use crate::rows::{AccountRow, Driver, MetricsRow, ScoresRow};

/// Which accounts to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountQuery {
    /// Only accounts whose id or name contains this, whatever its case.
    pub search: Option<String>,
    /// Only this band.
    pub band: Option<String>,
    /// Only this stage.
    pub stage: Option<String>,
    /// Only this segment.
    pub segment: Option<String>,
    /// Only this touch tier.
    pub tier: Option<String>,
    /// Only accounts of this owner.
    pub owner: Option<String>,
    /// What to sort by.
    pub sort: SortKey,
    /// Largest first.
    pub descending: bool,
    /// How many at most.
    pub limit: u32,
    /// How many to pass over.
    pub offset: u32,
}

/// What a list of accounts can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are those of the columns")]
pub enum SortKey {
    ChurnRisk,
    Health,
    Activity,
    Adoption,
    Ttv,
    Sentiment,
    Support,
    Expansion,
    Mrr,
    Name,
    AccountId,
    DaysSinceLastLogin,
    EvaluatedAt,
}

impl SortKey {
    fn expression(self) -> &'static str {
        match self {
            SortKey::ChurnRisk => "s.churn_risk",
            SortKey::Health => "s.health",
            SortKey::Activity => "s.activity",
            SortKey::Adoption => "s.adoption",
            SortKey::Ttv => "s.ttv",
            SortKey::Sentiment => "s.sentiment",
            SortKey::Support => "s.support",
            SortKey::Expansion => "s.expansion",
            SortKey::Mrr => "a.mrr",
            SortKey::Name => "lowerUTF8(coalesce(a.name, s.account_id))",
            SortKey::AccountId => "s.account_id",
            SortKey::DaysSinceLastLogin => "m.days_since_last_login",
            SortKey::EvaluatedAt => "s.evaluated_at",
        }
    }
}

/// An account in a list.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct AccountSummary {
    pub account_id: String,
    pub name: Option<String>,
    pub plan: Option<String>,
    pub segment: Option<String>,
    pub owner: Option<String>,
    pub mrr: Option<f64>,
    pub currency: Option<String>,
    pub tier: String,
    pub stage: String,
    pub stage_since: Option<i64>,
    pub band: String,
    pub health: Option<f64>,
    pub ttv: Option<f64>,
    pub activity: Option<f64>,
    pub adoption: Option<f64>,
    pub sentiment: Option<f64>,
    pub support: Option<f64>,
    pub expansion: Option<f64>,
    pub churn_risk: Option<f64>,
    pub confidence: f64,
    pub drivers: Vec<Driver>,
    pub logins_7d: Option<u32>,
    pub logins_28d: Option<u32>,
    pub active_users_28d: Option<u32>,
    pub seats: Option<u32>,
    pub days_since_last_login: Option<i32>,
    pub usage_trend: Option<f64>,
    pub onboarding_state: Option<String>,
    pub ttv_days: Option<f64>,
    pub ttv_running_days: Option<f64>,
    pub evaluated_at: i64,
}

/// One page of a list of accounts.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountPage {
    /// How many accounts match in all.
    pub total: u64,
    /// What matches when neither band nor stage is asked for: the counts of the choices that remain.
    pub groups: Vec<AccountGroup>,
    /// Those of this page.
    pub accounts: Vec<AccountSummary>,
}

/// How many accounts of one band, stage and currency there are, and what they are worth.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
pub struct AccountGroup {
    /// The band.
    pub band: String,
    /// The stage.
    pub stage: String,
    /// The currency of the contracts; `None` where it is not known.
    pub currency: Option<String>,
    /// How many accounts.
    pub accounts: u64,
    /// The sum of their monthly recurring revenue, in `currency`; `None` where none is known.
    pub mrr: Option<f64>,
}

/// The scores that an account had at the end of a day, or so far on the last one.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
pub struct HealthOfDay {
    /// The account.
    pub account_id: String,
    /// The day, UTC, counted from 1970-01-01.
    pub day: u16,
    /// Its health, 0–100; `None` when unknown.
    pub health: Option<f64>,
    /// Its probability of churn; `None` when unknown.
    pub churn_risk: Option<f64>,
}

/// Which of an account's evaluations to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// From this instant on, milliseconds; `None` = from the first.
    pub from: Option<i64>,
    /// Before this instant, milliseconds; `None` = to the newest.
    pub until: Option<i64>,
    /// Only the rows of midnights (UTC), or only the others; `None` = both.
    pub daily: Option<bool>,
    /// Only the newest evaluation of each interval of so many seconds, counted from the epoch;
    /// 0 = every evaluation.
    pub step_seconds: u32,
    /// How many at most; the newest are kept.
    pub limit: u32,
}

/// An event on an account's timeline.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct TimelineEvent {
    pub event_id: String,
    pub user_id: String,
    pub r#type: String,
    pub name: String,
    pub occurred_at: i64,
    pub received_at: i64,
    pub source: String,
    pub properties: String,
}

/// The first and the last millisecond that `DateTime64(3)` can tell apart from its neighbours.
const EARLIEST: i64 = -2_208_988_800_000;
const LATEST: i64 = 10_413_791_999_999;

const LIST_FROM: &str = "FROM scores_newest AS s FINAL
     LEFT JOIN (SELECT * FROM accounts_versions FINAL) AS a ON a.account_id = s.account_id
     LEFT JOIN (SELECT * FROM metrics_newest FINAL) AS m ON m.account_id = s.account_id
     WHERE (? = '' OR positionCaseInsensitiveUTF8(s.account_id, ?) > 0
            OR positionCaseInsensitiveUTF8(coalesce(a.name, ''), ?) > 0)
       AND (? = '' OR coalesce(a.segment, '') = ?) AND (? = '' OR s.tier = ?)
       AND (? = '' OR coalesce(a.owner, '') = ?)";

const BAND_AND_STAGE: &str = "AND (? = '' OR s.band = ?) AND (? = '' OR s.stage = ?)";

fn bind_filters(query: clickhouse::query::Query, filters: &AccountQuery) -> clickhouse::query::Query {
    let search = filters.search.as_deref().unwrap_or("");
    let segment = filters.segment.as_deref().unwrap_or("");
    let tier = filters.tier.as_deref().unwrap_or("");
    let owner = filters.owner.as_deref().unwrap_or("");
    let mut bound = query.bind(search).bind(search).bind(search);
    for value in [segment, tier, owner] {
        bound = bound.bind(value).bind(value);
    }
    bound
}

fn bind_band_and_stage(query: clickhouse::query::Query, filters: &AccountQuery) -> clickhouse::query::Query {
    let band = filters.band.as_deref().unwrap_or("");
    let stage = filters.stage.as_deref().unwrap_or("");
    query.bind(band).bind(band).bind(stage).bind(stage)
}

/// Whether a group is of the band and the stage that are asked for.
fn is_asked_for(group: &AccountGroup, filters: &AccountQuery) -> bool {
    let band_fits = filters.band.as_ref().is_none_or(|band| *band == group.band);
    let stage_fits = filters.stage.as_ref().is_none_or(|stage| *stage == group.stage);
    band_fits && stage_fits
}

impl Store {
    /// A page of accounts with their newest scores.
    pub async fn accounts(&self, filters: &AccountQuery) -> Result<AccountPage, Error> {
        let groups: Vec<AccountGroup> = self
            .fetch("count the accounts", false, |client| {
                let statement = format!(
                    "SELECT s.band AS band, s.stage AS stage, a.currency AS currency, count() AS accounts,
                            sum(a.mrr) AS mrr
                     {LIST_FROM} GROUP BY band, stage, currency ORDER BY band, stage, currency"
                );
                bind_filters(client.query(&statement), filters)
            })
            .await?;
        let direction = if filters.descending { "DESC" } else { "ASC" };
        let statement = format!(
            "SELECT s.account_id AS account_id, a.name AS name, a.plan AS plan, a.segment AS segment, a.owner AS owner,
                    a.mrr AS mrr, a.currency AS currency, s.tier AS tier, s.stage AS stage,
                    a.stage_since AS stage_since, s.band AS band,
                    s.health AS health, s.ttv AS ttv, s.activity AS activity, s.adoption AS adoption,
                    s.sentiment AS sentiment, s.support AS support, s.expansion AS expansion,
                    s.churn_risk AS churn_risk, s.confidence AS confidence, s.drivers AS drivers,
                    m.logins_7d AS logins_7d, m.logins_28d AS logins_28d, m.active_users_28d AS active_users_28d,
                    m.seats AS seats, m.days_since_last_login AS days_since_last_login,
                    m.usage_trend AS usage_trend, m.onboarding_state AS onboarding_state,
                    m.ttv_days AS ttv_days, m.ttv_running_days AS ttv_running_days, s.evaluated_at AS evaluated_at
             {LIST_FROM} {BAND_AND_STAGE}
             ORDER BY {} {direction} NULLS LAST, account_id LIMIT ? OFFSET ?
             SETTINGS join_use_nulls = 1",
            filters.sort.expression()
        );
        let accounts = self
            .fetch("list the accounts", false, |client| {
                bind_band_and_stage(bind_filters(client.query(&statement), filters), filters)
                    .bind(filters.limit)
                    .bind(filters.offset)
            })
            .await?;
        let matching = groups.iter().filter(|group| is_asked_for(group, filters));
        Ok(AccountPage {
            total: matching.map(|group| group.accounts).sum(),
            groups,
            accounts,
        })
    }

    /// What is known of one account; `None` when no event of it has been accepted.
    pub async fn account(&self, account_id: &str) -> Result<Option<AccountRow>, Error> {
        let mut rows: Vec<AccountRow> = self
            .fetch("read the account", false, |client| {
                client
                    .query("SELECT ?fields FROM accounts_versions FINAL WHERE account_id = ?")
                    .bind(account_id)
            })
            .await?;
        Ok(rows.pop())
    }

    /// The newest scores of one account.
    pub async fn latest_scores(&self, account_id: &str) -> Result<Option<ScoresRow>, Error> {
        let mut rows = self.score_rows("scores_newest", account_id, 1).await?;
        Ok(rows.pop())
    }

    /// The scores of one account over time, newest first.
    pub async fn score_history(&self, account_id: &str, limit: u32) -> Result<Vec<ScoresRow>, Error> {
        self.score_rows("scores_versions", account_id, limit).await
    }

    /// The evaluations of one account that `query` asks for, newest first.
    pub async fn sampled_scores(
        &self,
        account_id: &str,
        query: &HistoryQuery,
    ) -> Result<Vec<ScoresRow>, Error> {
        let sampled = if query.step_seconds == 0 {
            String::new()
        } else {
            format!(
                "LIMIT 1 BY intDiv(toUnixTimestamp(evaluated_at), {})",
                query.step_seconds
            )
        };
        let statement = format!(
            "SELECT ?fields FROM scores_versions FINAL
             WHERE account_id = ? AND evaluated_at >= fromUnixTimestamp64Milli(?)
               AND evaluated_at < fromUnixTimestamp64Milli(?) AND is_daily IN ?
             ORDER BY evaluated_at DESC {sampled} LIMIT ?"
        );
        self.fetch("read the scores", false, |client| {
            client
                .query(&statement)
                .bind(account_id)
                .bind(query.from.unwrap_or(EARLIEST).clamp(EARLIEST, LATEST))
                .bind(query.until.unwrap_or(LATEST).clamp(EARLIEST, LATEST))
                .bind(query.daily.map_or(vec![true, false], |daily| vec![daily]))
                .bind(query.limit)
        })
        .await
    }

    /// How the given accounts stood at the end of each day from `from` (milliseconds) on, by account
    /// and day; days without an evaluation are left out.
    pub async fn health_by_day(&self, account_ids: &[String], from: i64) -> Result<Vec<HealthOfDay>, Error> {
        if account_ids.is_empty() {
            return Ok(Vec::new());
        }
        self.fetch("read the scores by day", false, |client| {
            client
                .query(
                    "SELECT account_id, day, newest.1 AS health, newest.2 AS churn_risk
                     FROM
                     (
                         SELECT account_id, toDate(evaluated_at) AS day,
                                argMax((health, churn_risk), (evaluated_at, version)) AS newest
                         FROM scores_versions
                         WHERE account_id IN ? AND evaluated_at >= fromUnixTimestamp64Milli(?)
                         GROUP BY account_id, day
                     )
                     ORDER BY account_id, day",
                )
                .bind(account_ids)
                .bind(from.clamp(EARLIEST, LATEST))
        })
        .await
    }

    async fn score_rows(&self, table: &str, account_id: &str, limit: u32) -> Result<Vec<ScoresRow>, Error> {
        let statement = format!(
            "SELECT ?fields FROM {table} FINAL WHERE account_id = ? ORDER BY evaluated_at DESC LIMIT ?"
        );
        self.fetch("read the scores", false, |client| {
            client.query(&statement).bind(account_id).bind(limit)
        })
        .await
    }

    /// The newest numbers of one account.
    pub async fn latest_metrics(&self, account_id: &str) -> Result<Option<MetricsRow>, Error> {
        let mut rows: Vec<MetricsRow> = self
            .fetch("read the numbers", false, |client| {
                client
                    .query("SELECT ?fields FROM metrics_newest FINAL WHERE account_id = ?")
                    .bind(account_id)
            })
            .await?;
        Ok(rows.pop())
    }

    /// What an account's people did, newest first.
    pub async fn timeline(&self, account_id: &str, limit: u32) -> Result<Vec<TimelineEvent>, Error> {
        // Mostly the newest lie in the newest months, which are partitions of the table. What is known of the last
        // event may be some seconds old, which makes the bound earlier.
        let newest = "AND occurred_at >= (SELECT max(last_event_at) FROM accounts_versions WHERE account_id = ?) \
                      - toIntervalDay(31)";
        for bound in [newest, ""] {
            let found: Vec<TimelineEvent> = self
                .fetch("read the timeline", false, |client| {
                    let statement = format!(
                        "SELECT event_id, user_id, type, name, occurred_at, received_at, source, properties
                         FROM events WHERE account_id = ? {bound}
                         ORDER BY occurred_at DESC, event_id LIMIT 1 BY event_id LIMIT ?"
                    );
                    let query = client.query(&statement).bind(account_id);
                    let query = if bound.is_empty() {
                        query
                    } else {
                        query.bind(account_id)
                    };
                    query.bind(limit)
                })
                .await?;
            if bound.is_empty() || found.len() >= limit as usize {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }
}
