//! Where all accounts stand on their way: time to value, stages, onboarding.

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use store::{JourneyQuery, LateAccount, MilestoneGroup, StageGroup, TtvCohort, TtvQuery, WaitingAccount};

use crate::accounts::{TIERS, page_limit};
use crate::answer;
use crate::params::Params;
use crate::problem::Problem;
use crate::router::Shared;
use crate::times;

#[derive(Serialize)]
struct TtvAnswer {
    cohorts: Vec<CohortAnswer>,
    waiting_total: u64,
    waiting: Vec<WaitingAnswer>,
}

/// Days from the start to the first value event.
#[derive(Serialize)]
struct TtvDays {
    p25: Option<f64>,
    median: Option<f64>,
    p75: Option<f64>,
    p90: Option<f64>,
}

#[derive(Serialize)]
struct CohortAnswer {
    /// `2026-03`.
    month: String,
    segment: Option<String>,
    plan: Option<String>,
    accounts: u64,
    reached: u64,
    waiting: u64,
    ttv_days: TtvDays,
    waiting_days_median: Option<f64>,
}

impl CohortAnswer {
    fn of(row: TtvCohort) -> CohortAnswer {
        CohortAnswer {
            month: times::month(row.start_month),
            segment: row.segment,
            plan: row.plan,
            accounts: row.accounts,
            reached: row.reached,
            waiting: row.waiting,
            ttv_days: TtvDays {
                p25: row.ttv_days_p25,
                median: row.ttv_days_median,
                p75: row.ttv_days_p75,
                p90: row.ttv_days_p90,
            },
            waiting_days_median: row.waiting_days_median,
        }
    }
}

#[derive(Serialize)]
struct WaitingAnswer {
    account_id: String,
    name: Option<String>,
    owner: Option<String>,
    segment: Option<String>,
    plan: Option<String>,
    tier: String,
    stage: String,
    started_at: Option<String>,
    ttv_running_days: f64,
    onboarding_state: Option<String>,
}

impl WaitingAnswer {
    fn of(row: WaitingAccount) -> WaitingAnswer {
        WaitingAnswer {
            account_id: row.account_id,
            name: row.name,
            owner: row.owner,
            segment: row.segment,
            plan: row.plan,
            tier: row.tier,
            stage: row.stage,
            started_at: row.started_at.and_then(times::rfc3339),
            ttv_running_days: row.ttv_running_days,
            onboarding_state: row.onboarding_state,
        }
    }
}

/// Time to value by cohort, and who waits for it.
pub(crate) async fn ttv(
    State(shared): State<Shared>,
    asked: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut params = Params::read(query);
    let segment = params.text("segment");
    let plan = params.text("plan");
    let limit = page_limit(&mut params, &shared);
    params.finish()?;
    let filters = TtvQuery { segment, plan, limit };
    let (cohorts, waiting) = tokio::try_join!(
        shared.store.ttv_cohorts(&filters),
        shared.store.waiting_for_value(&filters),
    )?;
    let body = TtvAnswer {
        waiting_total: cohorts.iter().map(|cohort| cohort.waiting).sum(),
        cohorts: cohorts.into_iter().map(CohortAnswer::of).collect(),
        waiting: waiting.into_iter().map(WaitingAnswer::of).collect(),
    };
    Ok(answer::json(&asked, &body))
}

#[derive(Serialize)]
struct JourneyAnswer {
    stages: Vec<StageAnswer>,
    onboarding: Vec<OnboardingAnswer>,
    milestones: Vec<MilestoneAnswer>,
    late_total: u64,
    late: Vec<LateAnswer>,
}

#[derive(Serialize)]
struct StageAnswer {
    stage: String,
    tier: String,
    accounts: u64,
    mean_days_in_stage: Option<f64>,
}

impl StageAnswer {
    fn of(row: StageGroup) -> StageAnswer {
        StageAnswer {
            stage: row.stage,
            tier: row.tier,
            accounts: row.accounts,
            mean_days_in_stage: row.mean_days_in_stage,
        }
    }
}

#[derive(Serialize)]
struct OnboardingAnswer {
    state: String,
    accounts: u64,
}

#[derive(Serialize)]
struct MilestoneAnswer {
    name: String,
    done: u64,
    on_track: u64,
    behind: u64,
    stalled: u64,
    dwell_days_median: Option<f64>,
    next_of: u64,
    waiting_days_median: Option<f64>,
}

impl MilestoneAnswer {
    fn of(row: MilestoneGroup) -> MilestoneAnswer {
        MilestoneAnswer {
            name: row.name,
            done: row.done,
            on_track: row.on_track,
            behind: row.behind,
            stalled: row.stalled,
            dwell_days_median: row.dwell_days_median,
            next_of: row.next_of,
            waiting_days_median: row.waiting_days_median,
        }
    }
}

#[derive(Serialize)]
struct LateAnswer {
    account_id: String,
    name: Option<String>,
    owner: Option<String>,
    segment: Option<String>,
    tier: String,
    stage: String,
    onboarding_state: String,
    account_age_days: Option<f64>,
    next_milestone: Option<String>,
    next_milestone_days: Option<f64>,
    milestones_done: Option<u32>,
    milestones_total: Option<u32>,
}

impl LateAnswer {
    fn of(row: LateAccount) -> LateAnswer {
        LateAnswer {
            account_id: row.account_id,
            name: row.name,
            owner: row.owner,
            segment: row.segment,
            tier: row.tier,
            stage: row.stage,
            onboarding_state: row.onboarding_state,
            account_age_days: row.account_age_days,
            next_milestone: row.next_milestone,
            next_milestone_days: row.next_milestone_days,
            milestones_done: row.milestones_done,
            milestones_total: row.milestones_total,
        }
    }
}

/// Stages, onboarding, milestones, and who is late.
pub(crate) async fn journey(
    State(shared): State<Shared>,
    asked: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut params = Params::read(query);
    let segment = params.text("segment");
    let tier = params.choice("tier", &TIERS);
    let owner = params.text("owner");
    let limit = page_limit(&mut params, &shared);
    params.finish()?;
    let filters = JourneyQuery {
        segment,
        tier,
        owner,
        limit,
    };
    let found = shared.store.journey(&filters).await?;
    let late_states = found
        .onboarding
        .iter()
        .filter(|group| ["behind", "stalled"].contains(&group.state.as_str()));
    let body = JourneyAnswer {
        late_total: late_states.map(|group| group.accounts).sum(),
        stages: found.stages.into_iter().map(StageAnswer::of).collect(),
        onboarding: found
            .onboarding
            .into_iter()
            .map(|group| OnboardingAnswer {
                state: group.state,
                accounts: group.accounts,
            })
            .collect(),
        milestones: found.milestones.into_iter().map(MilestoneAnswer::of).collect(),
        late: found.late.into_iter().map(LateAnswer::of).collect(),
    };
    Ok(answer::json(&asked, &body))
}
