//! The receipt of an evaluation, and the scores of an account as they could be known at an earlier time.
//!
//! Every number given here comes with the query that makes it from the events. That the query gives what
//! is stored is claimed only where it was run for this very answer.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::{SemaphorePermit, oneshot};
use verify::{Difference, Report, Rows, Scope};

use crate::account::{MilestoneAnswer, YES_OR_NO, account_id};
use crate::answer;
use crate::drivers::DriverAnswer;
use crate::numbers::Numbers;
use crate::params::Params;
use crate::problem::Problem;
use crate::router::Shared;
use crate::times;

/// What an account was at an instant, and where each part of it comes from.
#[derive(Serialize)]
struct Evaluation {
    stage: Value,
    tier: Value,
    band: Value,
    confidence: Value,
    /// `health`, its components, `churn_risk` and `expansion`.
    scores: Map<String, Value>,
    /// Every number.
    inputs: Numbers,
    milestones: Vec<MilestoneAnswer>,
    contributions: Vec<DriverAnswer>,
    sql: String,
}

#[derive(Serialize)]
struct ReceiptAnswer {
    account_id: String,
    evaluated_at: String,
    watermark: String,
    cut_offset: i64,
    model_hash: String,
    #[serde(flatten)]
    evaluation: Evaluation,
    /// `null` when it was not asked for.
    check: Option<CheckAnswer>,
}

/// What running the query now gives, held against what is stored.
#[derive(Serialize)]
struct CheckAnswer {
    same: bool,
    differences: Vec<DifferenceAnswer>,
}

#[derive(Serialize)]
struct DifferenceAnswer {
    table: &'static str,
    column: String,
    stored: Value,
    recomputed: Value,
}

#[derive(Serialize)]
struct KnownAnswer {
    account_id: String,
    at: Option<String>,
    known_at: Option<String>,
    model_hash: String,
    #[serde(flatten)]
    evaluation: Evaluation,
}

/// A driver as the database writes it.
#[derive(Deserialize)]
struct WrittenDriver {
    score: String,
    input: String,
    value: Option<f64>,
    baseline: Option<f64>,
    points: f64,
}

/// A milestone as the database writes it.
#[derive(Deserialize)]
struct WrittenMilestone {
    name: String,
    state: String,
    reached_at: Option<String>,
    dwell_days: Option<f64>,
}

impl Evaluation {
    fn of(
        mut inputs: Map<String, Value>,
        mut scores: Map<String, Value>,
        contributions: Value,
        sql: String,
    ) -> Result<Evaluation, Problem> {
        let milestones: Vec<WrittenMilestone> = read(inputs.remove("milestones").unwrap_or_default())?;
        let drivers: Vec<WrittenDriver> = read(contributions)?;
        let mut take = |name: &str| scores.remove(name).unwrap_or_default();
        Ok(Evaluation {
            stage: take("stage"),
            tier: take("tier"),
            band: take("band"),
            confidence: take("confidence"),
            scores,
            inputs: Numbers::read(&inputs),
            milestones: milestones.into_iter().map(MilestoneAnswer::from).collect(),
            contributions: drivers
                .into_iter()
                .map(|one| DriverAnswer::of(&(one.score, one.input, one.value, one.baseline, one.points)))
                .collect(),
            sql,
        })
    }
}

impl From<WrittenMilestone> for MilestoneAnswer {
    fn from(written: WrittenMilestone) -> MilestoneAnswer {
        MilestoneAnswer {
            name: written.name,
            state: written.state,
            reached_at: written
                .reached_at
                .map(|time| format!("{}Z", time.replace(' ', "T"))),
            dwell_days: written.dwell_days,
        }
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value).map_err(|error| Problem::from(verify::Error::Answer(error)))
}

pub(crate) async fn receipt(
    State(shared): State<Shared>,
    asked: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let account_id = account_id(path)?;
    let mut params = Params::read(query);
    let at = params.recorded_instant("at");
    let wants_check = params.choice("check", &YES_OR_NO).as_deref() == Some("true");
    params.finish()?;

    let receipt = shared.verifier.receipt(&account_id, at).await?;
    let check = if wants_check {
        let evaluated_at = times::parse(&receipt.evaluated_at);
        Some(check(&shared, account_id, evaluated_at).await?)
    } else {
        None
    };
    let body = ReceiptAnswer {
        account_id: receipt.account_id,
        evaluated_at: receipt.evaluated_at,
        watermark: receipt.watermark,
        cut_offset: receipt.cut_offset,
        model_hash: receipt.model_hash,
        evaluation: Evaluation::of(receipt.inputs, receipt.scores, receipt.contributions, receipt.sql)?,
        check,
    };
    Ok(answer::json(&asked, &body))
}

/// The scores at `at` from what had been received by `known_at`.
pub(crate) async fn as_known(
    shared: &Shared,
    asked: &HeaderMap,
    account_id: &str,
    at: i64,
    known_at: i64,
) -> Result<Response, Problem> {
    let _place = place_to_recompute(shared).await;
    let known = shared.verifier.as_known(account_id, at, known_at).await?;
    let body = KnownAnswer {
        account_id: known.account_id,
        at: times::rfc3339(known.at),
        known_at: times::rfc3339(known.known_at),
        model_hash: shared.model_hash.to_string(),
        evaluation: Evaluation::of(known.inputs, known.scores, known.contributions, known.sql)?,
    };
    Ok(answer::json(asked, &body))
}

/// A recomputation keeps the database busy for seconds, which the lists must not be made to feel: few
/// are at work at once, and the others wait for as long as a request may take.
async fn place_to_recompute(shared: &Shared) -> SemaphorePermit<'_> {
    let place = shared.recomputing.acquire().await;
    place.expect("nobody closes the semaphore")
}

/// Computes the evaluation at an instant again and holds it against what is stored.
async fn check(shared: &Shared, account_id: String, at: Option<i64>) -> Result<CheckAnswer, Problem> {
    let _place = place_to_recompute(shared).await;
    let rows = at.map_or(Rows::Newest, Rows::At);
    let report = verified(shared, Scope::Account(account_id), rows).await?;
    // The days are no part of an evaluation, and those after it none of its business.
    let of_evaluation = |difference: &Difference| difference.table != "account_daily";
    let differences: Vec<DifferenceAnswer> = report
        .differences
        .into_iter()
        .filter(of_evaluation)
        .map(|difference| DifferenceAnswer {
            table: difference.table,
            column: difference.column,
            stored: difference.stored,
            recomputed: difference.recomputed,
        })
        .collect();
    Ok(CheckAnswer {
        same: differences.is_empty(),
        differences,
    })
}

/// A verification tells its progress to somebody who may be bound to a thread, so that it cannot move
/// between threads as a request does: it has one to itself, and ends as soon as nobody waits for it.
async fn verified(shared: &Shared, scope: Scope, rows: Rows) -> Result<Report, Problem> {
    let verifier = Arc::clone(&shared.verifier);
    let runtime = Handle::current();
    let (waiting, nobody_waits) = oneshot::channel::<()>();
    let work = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            let mut unheard = |_, _| {};
            tokio::select! {
                verified = verifier.verify(&scope, rows, &mut unheard) => Some(verified),
                _ = nobody_waits => None,
            }
        })
    });
    let ended = work.await;
    drop(waiting);
    match ended {
        Ok(Some(verified)) => Ok(verified?),
        Ok(None) => Err(Problem::internal()),
        Err(error) => {
            tracing::error!(%error, "a verification did not end");
            Err(Problem::internal())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_the_database_writes_is_given_as_everywhere_else() {
        let inputs = json!({
            "logins_28d": 3,
            "usage_trend": null,
            "milestones": [{"name": "invited", "state": "done", "reached_at": "2026-01-30 09:00:00.000", "dwell_days": 10}],
        });
        let scores =
            json!({"health": 62.5, "band": "yellow", "stage": "adoption", "tier": "low", "confidence": 1});
        let drivers =
            json!([{"score": "health", "input": "usage_trend", "value": 0.8, "baseline": 1, "points": -4}]);
        let evaluation = Evaluation::of(object(inputs), object(scores), drivers, String::new());
        let told = serde_json::to_value(evaluation.unwrap()).unwrap();
        assert_eq!(told["inputs"]["logins_28d"]["value"], 3);
        assert_eq!(told["inputs"]["logins_28d"]["unit"], "logins");
        assert_eq!(told["inputs"]["usage_trend"]["value"], Value::Null);
        assert_eq!(told["milestones"][0]["reached_at"], "2026-01-30T09:00:00.000Z");
        assert_eq!(told["scores"], json!({"health": 62.5}));
        assert_eq!(
            (&told["band"], &told["stage"]),
            (&json!("yellow"), &json!("adoption"))
        );
        assert_eq!(told["contributions"][0]["direction"], "down");
        assert_eq!(told["contributions"][0]["effect"], "bad");
    }

    #[test]
    fn drivers_that_cannot_be_read_are_the_fault_of_the_database() {
        let refused = Evaluation::of(Map::new(), Map::new(), json!("?"), String::new());
        let told = serde_json::to_value(refused.err().unwrap()).unwrap();
        assert_eq!(told["status"], 502);
    }
}
