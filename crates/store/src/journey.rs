//! Where all accounts stand on their way: time to value by cohort, stages, onboarding. Accounts that
//! have churned wait for nothing and are late with nothing.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Error, Store};

/// Whose time to value to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TtvQuery {
    /// Only this segment.
    pub segment: Option<String>,
    /// Only this plan.
    pub plan: Option<String>,
    /// How many of the accounts that wait to read at most; those that have waited longest.
    pub limit: u32,
}

/// Accounts that started in the same month, of the same segment and plan: a row of `ttv_cohorts`.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct TtvCohort {
    /// First day of the month (UTC), counted from 1970-01-01.
    pub start_month: u16,
    pub segment: Option<String>,
    pub plan: Option<String>,
    pub accounts: u64,
    pub reached: u64,
    pub waiting: u64,
    pub ttv_days_p25: Option<f64>,
    pub ttv_days_median: Option<f64>,
    pub ttv_days_p75: Option<f64>,
    pub ttv_days_p90: Option<f64>,
    pub waiting_days_median: Option<f64>,
}

/// An account that waits for its first value.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct WaitingAccount {
    pub account_id: String,
    pub name: Option<String>,
    pub owner: Option<String>,
    pub segment: Option<String>,
    pub plan: Option<String>,
    pub tier: String,
    pub stage: String,
    pub started_at: Option<i64>,
    pub ttv_running_days: f64,
    pub onboarding_state: Option<String>,
}

/// Whose journey to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JourneyQuery {
    /// Only this segment.
    pub segment: Option<String>,
    /// Only this touch tier.
    pub tier: Option<String>,
    /// Only accounts of this owner.
    pub owner: Option<String>,
    /// How many of the accounts that are late to read at most.
    pub limit: u32,
}

/// Where accounts stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// By stage and tier.
    pub stages: Vec<StageGroup>,
    /// By onboarding state; accounts without configured milestones are left out.
    pub onboarding: Vec<OnboardingGroup>,
    /// By milestone, in the order of the configuration.
    pub milestones: Vec<MilestoneGroup>,
    /// Whose onboarding is behind or has stalled: the stalled first, and then those that have waited
    /// longest for their next milestone.
    pub late: Vec<LateAccount>,
}

/// How many accounts of a stage and tier there are.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct StageGroup {
    /// The stage.
    pub stage: String,
    /// The touch tier.
    pub tier: String,
    /// How many accounts.
    pub accounts: u64,
    /// Mean of `days_in_stage`; `None` when it is known of none.
    pub mean_days_in_stage: Option<f64>,
}

/// How many accounts stand there with their onboarding.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct OnboardingGroup {
    /// `done`, `on_track`, `behind` or `stalled`.
    pub state: String,
    /// How many accounts.
    pub accounts: u64,
}

/// How far accounts are with a milestone.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct MilestoneGroup {
    /// The milestone.
    pub name: String,
    /// How many have reached it, those that have churned since included.
    pub done: u64,
    /// How many have not and are on track.
    pub on_track: u64,
    /// How many are behind with it.
    pub behind: u64,
    /// How many have stalled before it.
    pub stalled: u64,
    /// Median days from the step before to it, of those that reached it.
    pub dwell_days_median: Option<f64>,
    /// How many wait for it next.
    pub next_of: u64,
    /// Median days that those have waited since the step before.
    pub waiting_days_median: Option<f64>,
}

/// An account whose onboarding is late.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct LateAccount {
    pub account_id: String,
    pub name: Option<String>,
    pub owner: Option<String>,
    pub segment: Option<String>,
    pub tier: String,
    pub stage: String,
    pub onboarding_state: String,
    pub account_age_days: Option<f64>,
    /// The first milestone that is not reached.
    pub next_milestone: Option<String>,
    /// Days that it has been waited for since the step before.
    pub next_milestone_days: Option<f64>,
    pub milestones_done: Option<u32>,
    pub milestones_total: Option<u32>,
}

const JOURNEY_FROM: &str = "FROM accounts_versions AS a FINAL
     LEFT JOIN (SELECT * FROM metrics_newest FINAL) AS m ON m.account_id = a.account_id";

const JOURNEY_OF: &str = "(? = '' OR coalesce(a.segment, '') = ?) AND (? = '' OR a.tier = ?)
     AND (? = '' OR coalesce(a.owner, '') = ?)";

const JOURNEY_SETTINGS: &str = "SETTINGS join_use_nulls = 1";

fn bind_twice(
    query: clickhouse::query::Query,
    filters: impl IntoIterator<Item = Option<String>>,
) -> clickhouse::query::Query {
    let mut bound = query;
    for filter in filters {
        let text = filter.unwrap_or_default();
        bound = bound.bind(&text).bind(&text);
    }
    bound
}

impl Store {
    /// Time to value by cohort, the newest month first.
    pub async fn ttv_cohorts(&self, filters: &TtvQuery) -> Result<Vec<TtvCohort>, Error> {
        self.fetch("read the time to value", false, |client| {
            let query = client.query(
                "SELECT ?fields FROM ttv_cohorts
                 WHERE (? = '' OR coalesce(segment, '') = ?) AND (? = '' OR coalesce(plan, '') = ?)
                 ORDER BY start_month DESC, segment, plan",
            );
            bind_twice(query, [filters.segment.clone(), filters.plan.clone()])
        })
        .await
    }

    /// The accounts that wait for their first value, the longest first.
    pub async fn waiting_for_value(&self, filters: &TtvQuery) -> Result<Vec<WaitingAccount>, Error> {
        self.fetch("read who waits for value", false, |client| {
            let query = client.query(
                "SELECT a.account_id AS account_id, a.name AS name, a.owner AS owner, a.segment AS segment,
                        a.plan AS plan, a.tier AS tier, a.stage AS stage, a.started_at AS started_at,
                        assumeNotNull(m.ttv_running_days) AS ttv_running_days,
                        m.onboarding_state AS onboarding_state
                 FROM accounts_versions AS a FINAL
                 JOIN (SELECT * FROM metrics_newest FINAL) AS m ON m.account_id = a.account_id
                 WHERE isNotNull(m.ttv_running_days) AND isNotNull(a.started_at) AND a.stage != 'churned'
                   AND (? = '' OR coalesce(a.segment, '') = ?) AND (? = '' OR coalesce(a.plan, '') = ?)
                 ORDER BY ttv_running_days DESC, account_id LIMIT ?",
            );
            bind_twice(query, [filters.segment.clone(), filters.plan.clone()]).bind(filters.limit)
        })
        .await
    }

    /// Where the accounts stand: stages, onboarding, milestones, and who is late.
    pub async fn journey(&self, filters: &JourneyQuery) -> Result<Journey, Error> {
        let (stages, onboarding, milestones, late) = tokio::try_join!(
            self.stage_groups(filters),
            self.onboarding_groups(filters),
            self.milestone_groups(filters),
            self.late_accounts(filters),
        )?;
        Ok(Journey {
            stages,
            onboarding,
            milestones,
            late,
        })
    }

    async fn stage_groups(&self, filters: &JourneyQuery) -> Result<Vec<StageGroup>, Error> {
        let statement = format!(
            "SELECT a.stage AS stage, a.tier AS tier, count() AS accounts,
                    avg(m.days_in_stage) AS mean_days_in_stage
             {JOURNEY_FROM} WHERE {JOURNEY_OF} GROUP BY stage, tier ORDER BY stage, tier {JOURNEY_SETTINGS}"
        );
        self.fetch("count the stages", false, |client| {
            bind_twice(client.query(&statement), filters.of())
        })
        .await
    }

    async fn onboarding_groups(&self, filters: &JourneyQuery) -> Result<Vec<OnboardingGroup>, Error> {
        let statement = format!(
            "SELECT CAST(assumeNotNull(m.onboarding_state), 'String') AS state, count() AS accounts
             {JOURNEY_FROM}
             WHERE {JOURNEY_OF} AND isNotNull(m.onboarding_state) AND a.stage != 'churned'
             GROUP BY state ORDER BY state {JOURNEY_SETTINGS}"
        );
        self.fetch("count the onboarding states", false, |client| {
            bind_twice(client.query(&statement), filters.of())
        })
        .await
    }

    async fn milestone_groups(&self, filters: &JourneyQuery) -> Result<Vec<MilestoneGroup>, Error> {
        let statement = format!(
            "SELECT name, countIf(state = 'done') AS done, countIf(state = 'on_track' AND is_there) AS on_track,
                    countIf(state = 'behind' AND is_there) AS behind,
                    countIf(state = 'stalled' AND is_there) AS stalled,
                    quantileExactInclusive(0.5)(if(state = 'done', dwell, NULL)) AS dwell_days_median,
                    countIf(state != 'done' AND is_there AND isNotNull(dwell)) AS next_of,
                    quantileExactInclusive(0.5)(if(state != 'done' AND is_there, dwell, NULL))
                        AS waiting_days_median
             FROM
             (
                 SELECT milestone.1 AS name, milestone.2 AS state, milestone.4 AS dwell, position,
                        a.stage != 'churned' AS is_there
                 {JOURNEY_FROM}
                 ARRAY JOIN m.milestones AS milestone, arrayEnumerate(m.milestones) AS position
                 WHERE {JOURNEY_OF}
             )
             GROUP BY name ORDER BY min(position), name {JOURNEY_SETTINGS}"
        );
        self.fetch("count the milestones", false, |client| {
            bind_twice(client.query(&statement), filters.of())
        })
        .await
    }

    async fn late_accounts(&self, filters: &JourneyQuery) -> Result<Vec<LateAccount>, Error> {
        let statement = format!(
            "SELECT a.account_id AS account_id, a.name AS name, a.owner AS owner, a.segment AS segment,
                    a.tier AS tier, a.stage AS stage,
                    CAST(assumeNotNull(m.onboarding_state), 'String') AS onboarding_state,
                    m.account_age_days AS account_age_days,
                    nullIf(arrayFirst(one -> one.2 != 'done', m.milestones).1, '') AS next_milestone,
                    arrayFirst(one -> one.2 != 'done', m.milestones).4 AS next_milestone_days,
                    m.milestones_done AS milestones_done, m.milestones_total AS milestones_total
             {JOURNEY_FROM}
             WHERE {JOURNEY_OF} AND m.onboarding_state IN ('behind', 'stalled') AND a.stage != 'churned'
             ORDER BY onboarding_state = 'stalled' DESC, next_milestone_days DESC NULLS LAST, account_id LIMIT ?
             {JOURNEY_SETTINGS}"
        );
        self.fetch("read who is late", false, |client| {
            bind_twice(client.query(&statement), filters.of()).bind(filters.limit)
        })
        .await
    }
}

impl JourneyQuery {
    fn of(&self) -> [Option<String>; 3] {
        [self.segment.clone(), self.tier.clone(), self.owner.clone()]
    }
}
