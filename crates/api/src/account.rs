//! One account: what is known of it now, its scores over time, and what its people did.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{AccountRow, HistoryQuery, MetricsRow, Milestone, ScoresRow, StageEntry, TimelineEvent};

use crate::accounts::{page_limit, with_parameter};
use crate::answer;
use crate::drivers::DriverAnswer;
use crate::numbers::Numbers;
use crate::params::Params;
use crate::problem::Problem;
use crate::receipt;
use crate::router::Shared;
use crate::times;

const STEPS: [(&str, u32); 3] = [("evaluation", 0), ("hour", 3_600), ("day", 86_400)];

pub(crate) const YES_OR_NO: [&str; 2] = ["true", "false"];

#[derive(Serialize)]
struct AccountAnswer {
    account: AttributesAnswer,
    scores: Option<ScoresAnswer>,
    drivers: Vec<DriverAnswer>,
    metrics: Option<Numbers>,
    metrics_evaluated_at: Option<String>,
    milestones: Vec<MilestoneAnswer>,
}

#[derive(Serialize)]
pub(crate) struct MilestoneAnswer {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) reached_at: Option<String>,
    pub(crate) dwell_days: Option<f64>,
}

impl MilestoneAnswer {
    fn of((name, state, reached_at, dwell_days): Milestone) -> MilestoneAnswer {
        MilestoneAnswer {
            name,
            state,
            reached_at: reached_at.and_then(times::rfc3339),
            dwell_days,
        }
    }
}

/// A stage from when it was entered until the next was; the last goes on.
#[derive(Serialize)]
struct StageAnswer {
    stage: String,
    entered_at: Option<String>,
    left_at: Option<String>,
}

/// Every stage so far, oldest first.
fn stages(history: &[StageEntry]) -> Vec<StageAnswer> {
    let next = history.iter().skip(1).map(|(_, entered_at)| Some(*entered_at));
    history
        .iter()
        .zip(next.chain([None]))
        .map(|((stage, entered_at), left_at)| StageAnswer {
            stage: stage.clone(),
            entered_at: times::rfc3339(*entered_at),
            left_at: left_at.and_then(times::rfc3339),
        })
        .collect()
}

#[derive(Serialize)]
struct AttributesAnswer {
    account_id: String,
    name: Option<String>,
    plan: Option<String>,
    segment: Option<String>,
    tier: Option<String>,
    stage: Option<String>,
    stage_since: Option<String>,
    stage_history: Vec<StageAnswer>,
    seats: Option<u32>,
    timezone: Option<String>,
    owner: Option<String>,
    mrr: Option<f64>,
    currency: Option<String>,
    started_at: Option<String>,
    contract_ends_at: Option<String>,
    churned_at: Option<String>,
    first_event_at: Option<String>,
    last_event_at: Option<String>,
    updated_at: Option<String>,
}

impl AttributesAnswer {
    fn of(row: AccountRow) -> AttributesAnswer {
        let time = |millis: Option<i64>| millis.and_then(times::rfc3339);
        AttributesAnswer {
            account_id: row.account_id,
            name: row.name,
            plan: row.plan,
            segment: row.segment,
            tier: Some(row.tier),
            stage: Some(row.stage),
            stage_since: time(row.stage_since),
            stage_history: stages(&row.stage_history),
            seats: row.seats,
            timezone: row.timezone,
            owner: row.owner,
            mrr: row.mrr,
            currency: row.currency,
            started_at: time(row.started_at),
            contract_ends_at: time(row.contract_ends_at),
            churned_at: time(row.churned_at),
            first_event_at: time(row.first_event_at),
            last_event_at: time(row.last_event_at),
            updated_at: times::rfc3339(row.updated_at),
        }
    }

    /// Of an account that has been scored and whose attributes have not landed yet.
    fn unknown(scores: &ScoresRow) -> AttributesAnswer {
        AttributesAnswer {
            account_id: scores.account_id.clone(),
            name: None,
            plan: None,
            segment: None,
            tier: Some(scores.tier.clone()),
            stage: Some(scores.stage.clone()),
            stage_since: None,
            stage_history: Vec::new(),
            seats: None,
            timezone: None,
            owner: None,
            mrr: None,
            currency: None,
            started_at: None,
            contract_ends_at: None,
            churned_at: None,
            first_event_at: None,
            last_event_at: None,
            updated_at: None,
        }
    }
}

#[derive(Serialize)]
struct ScoresAnswer {
    evaluated_at: Option<String>,
    watermark: Option<String>,
    cut_offset: i64,
    is_daily: bool,
    health: Option<f64>,
    ttv: Option<f64>,
    activity: Option<f64>,
    adoption: Option<f64>,
    sentiment: Option<f64>,
    support: Option<f64>,
    churn_risk: Option<f64>,
    expansion: Option<f64>,
    confidence: f64,
    band: String,
    stage: String,
    tier: String,
    model_hash: String,
}

impl ScoresAnswer {
    fn of(row: ScoresRow) -> ScoresAnswer {
        ScoresAnswer {
            evaluated_at: times::rfc3339(row.evaluated_at),
            watermark: times::rfc3339(row.watermark),
            cut_offset: row.cut_offset,
            is_daily: row.is_daily,
            health: row.health,
            ttv: row.ttv,
            activity: row.activity,
            adoption: row.adoption,
            sentiment: row.sentiment,
            support: row.support,
            churn_risk: row.churn_risk,
            expansion: row.expansion,
            confidence: row.confidence,
            band: row.band,
            stage: row.stage,
            tier: row.tier,
            model_hash: row.model_hash,
        }
    }
}

pub(crate) async fn one(
    State(shared): State<Shared>,
    asked: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let account_id = account_id(path)?;
    Params::read(query).finish()?;
    let (account, scores, metrics) = tokio::try_join!(
        shared.store.account(&account_id),
        shared.store.latest_scores(&account_id),
        shared.store.latest_metrics(&account_id),
    )?;
    let attributes = match (account, &scores) {
        (Some(row), _) => AttributesAnswer::of(row),
        (None, Some(scores)) => AttributesAnswer::unknown(scores),
        (None, None) => return Err(Problem::no_such_account(&account_id)),
    };
    let milestones = metrics
        .as_ref()
        .map_or(&[][..], |row: &MetricsRow| row.milestones.as_slice());
    let drivers = scores.as_ref().map_or(&[][..], |row| row.drivers.as_slice());
    let body = AccountAnswer {
        account: attributes,
        drivers: drivers.iter().map(DriverAnswer::of).collect(),
        scores: scores.map(ScoresAnswer::of),
        milestones: milestones.iter().cloned().map(MilestoneAnswer::of).collect(),
        metrics: metrics.as_ref().map(Numbers::of),
        metrics_evaluated_at: metrics.and_then(|row| times::rfc3339(row.evaluated_at)),
    };
    Ok(answer::json(&asked, &body))
}

#[derive(Serialize)]
struct HistoryAnswer {
    scores: Vec<ScoresAnswer>,
    /// The same request for what came before; `null` when this is all.
    next: Option<String>,
}

pub(crate) async fn scores(
    State(shared): State<Shared>,
    asked: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let account_id = account_id(path)?;
    let written = query.0.clone().unwrap_or_default();
    let mut params = Params::read(query);
    let point = point_in_time(&mut params);
    let step_names = STEPS.map(|(name, _)| name);
    let step_name = params.choice("step", &step_names);
    let (_, step_seconds) = STEPS
        .into_iter()
        .find(|(name, _)| Some(*name) == step_name.as_deref())
        .unwrap_or(STEPS[0]);
    let from = params.instant("from");
    let until = params.instant("until");
    let to = params.instant("to");
    let daily = params.choice("daily", &YES_OR_NO);
    let limit = page_limit(&mut params, &shared);
    params.finish()?;
    if let Some((at, known_at)) = point {
        return receipt::as_known(&shared, &asked, &account_id, at, known_at).await;
    }

    let wanted = HistoryQuery {
        from,
        until: until.into_iter().chain(to).min(),
        daily: daily.map(|daily| daily == "true"),
        step_seconds,
        limit,
    };
    let rows = shared.store.sampled_scores(&account_id, &wanted).await?;
    if rows.is_empty() {
        must_exist(&shared, &account_id).await?;
    }
    let full = rows.len() as u64 == u64::from(limit);
    let next = rows
        .last()
        .filter(|_| full)
        .and_then(|row| {
            // Within a step only the newest is shown: go on before the step, not before the instant.
            let step = i64::from(step_seconds) * 1_000;
            let before = if step == 0 {
                row.evaluated_at
            } else {
                row.evaluated_at.div_euclid(step) * step
            };
            times::rfc3339(before)
        })
        .map(|until| {
            let id = utf8_percent_encode(&account_id, NON_ALPHANUMERIC);
            with_parameter(
                &format!("/api/v1/accounts/{id}/scores"),
                &written,
                "until",
                &until,
            )
        });
    let body = HistoryAnswer {
        scores: rows.into_iter().map(ScoresAnswer::of).collect(),
        next,
    };
    Ok(answer::json(&asked, &body))
}

/// The instant `at` and the time `known_at` up to which events are known, when one evaluation is asked
/// for in place of the stored history. Whoever names no instant means the evaluation of that time.
fn point_in_time(params: &mut Params) -> Option<(i64, i64)> {
    const OF_HISTORY: [&str; 6] = ["step", "from", "until", "to", "daily", "limit"];
    if !params.has("known_at") {
        if params.has("at") {
            params.refuse("at", "is only taken together with known_at", &[]);
        }
        params.recorded_instant("at");
        params.recorded_instant("known_at");
        return None;
    }
    for name in OF_HISTORY {
        if params.has(name) {
            params.refuse(
                name,
                "is of the stored history, which known_at does not ask for",
                &[],
            );
        }
    }
    let at = params.recorded_instant("at");
    let known_at = params.recorded_instant("known_at")?;
    Some((at.unwrap_or(known_at), known_at))
}

#[derive(Serialize)]
struct TimelineAnswer {
    events: Vec<EventAnswer>,
}

#[derive(Serialize)]
struct EventAnswer {
    event_id: String,
    user_id: Option<String>,
    #[serde(rename = "type")]
    event_type: String,
    name: Option<String>,
    occurred_at: Option<String>,
    received_at: Option<String>,
    source: String,
    properties: Option<Box<RawValue>>,
}

impl EventAnswer {
    fn of(row: TimelineEvent) -> EventAnswer {
        EventAnswer {
            event_id: row.event_id,
            user_id: Some(row.user_id).filter(|user| !user.is_empty()),
            event_type: row.r#type,
            name: Some(row.name).filter(|name| !name.is_empty()),
            occurred_at: times::rfc3339(row.occurred_at),
            received_at: times::rfc3339(row.received_at),
            source: row.source,
            properties: RawValue::from_string(row.properties).ok(),
        }
    }
}

pub(crate) async fn timeline(
    State(shared): State<Shared>,
    asked: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let account_id = account_id(path)?;
    let mut params = Params::read(query);
    let limit = page_limit(&mut params, &shared);
    params.finish()?;
    let rows = shared.store.timeline(&account_id, limit).await?;
    if rows.is_empty() {
        must_exist(&shared, &account_id).await?;
    }
    let body = TimelineAnswer {
        events: rows.into_iter().map(EventAnswer::of).collect(),
    };
    Ok(answer::json(&asked, &body))
}

pub(crate) fn account_id(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    match path {
        Ok(Path(id)) => Ok(id),
        Err(rejection) => Err(Problem::wrong_path(rejection.body_text())),
    }
}

/// An empty list is only an answer for an account that there is.
async fn must_exist(shared: &Shared, account_id: &str) -> Result<(), Problem> {
    let (account, scores) = tokio::try_join!(
        shared.store.account(account_id),
        shared.store.latest_scores(account_id)
    )?;
    if account.is_none() && scores.is_none() {
        return Err(Problem::no_such_account(account_id));
    }
    Ok(())
}
