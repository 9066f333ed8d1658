//! What the breaker holds, and the word that it waits for.

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{HeldCount, HoldEnd, HoldRow, tripped_names};

use crate::collect::now_ms;
use crate::params::Params;
use crate::problem::Problem;
use crate::router::Shared;
use crate::{answer, times, wishes};

#[derive(Serialize)]
struct HoldsAnswer {
    holds: Vec<HoldAnswer>,
}

#[derive(Serialize)]
struct HoldAnswer {
    hold_id: String,
    name: String,
    status: String,
    since: Option<String>,
    at: Option<String>,
    accounts: u32,
    accounts_total: u64,
    destinations: Vec<String>,
    /// Alerts that wait for its end.
    alerts: u64,
    summary: Option<Box<RawValue>>,
}

impl HoldAnswer {
    fn of(hold: HoldRow, counts: &[HeldCount]) -> HoldAnswer {
        let reason = hold.reason();
        let of_hold = counts.iter().filter(|count| count.reason == reason);
        HoldAnswer {
            alerts: of_hold.map(|count| count.alerts).sum(),
            hold_id: hold.hold_id,
            name: hold.name,
            status: hold.status,
            since: times::rfc3339(hold.since),
            at: times::rfc3339(hold.at),
            accounts: hold.accounts,
            accounts_total: hold.accounts_total,
            destinations: hold.destinations,
            summary: RawValue::from_string(hold.summary).ok(),
        }
    }
}

/// What has tripped, and what has ended of which something still waits; the newest first.
pub(crate) async fn list(
    State(shared): State<Shared>,
    asked: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    Params::read(query).finish()?;
    let holds = shared.store.holds().await?;
    let counts = shared.store.held_counts(None).await?;
    let answers = holds
        .into_iter()
        .map(|hold| (hold.is_tripped(), HoldAnswer::of(hold, &counts)));
    let body = HoldsAnswer {
        holds: answers
            .filter(|(is_tripped, answer)| *is_tripped || answer.alerts > 0)
            .map(|(_, answer)| answer)
            .collect(),
    };
    Ok(answer::json(&asked, &body))
}

/// What is held is told.
pub(crate) async fn release(
    State(shared): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    asked: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    end(&shared, name, &asked, &body, HoldEnd::Released).await
}

/// What is held is not told.
pub(crate) async fn drop_held(
    State(shared): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    asked: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    end(&shared, name, &asked, &body, HoldEnd::Dropped).await
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

async fn end(
    shared: &Shared,
    name: Result<Path<String>, PathRejection>,
    asked: &HeaderMap,
    body: &Bytes,
    end: HoldEnd,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|rejection| Problem::wrong_path(rejection.body_text()))?;
    let Nothing {} = wishes::read(asked, body)?;
    let holds = shared.store.holds().await?;
    let meant = tripped_names(&holds, &name);
    let [name] = meant.as_slice() else {
        let mut tripped: Vec<String> = holds
            .iter()
            .filter(|hold| hold.is_tripped())
            .map(|hold| hold.name.clone())
            .collect();
        tripped.sort();
        tripped.dedup();
        return Err(Problem::no_such_hold(&name, &tripped));
    };
    let counts = shared.store.held_counts(None).await?;
    let ended = shared.store.end_holds(name, end, now_ms()).await?;
    let body = HoldsAnswer {
        holds: ended
            .into_iter()
            .map(|hold| HoldAnswer::of(hold, &counts))
            .collect(),
    };
    Ok(answer::json(asked, &body))
}
