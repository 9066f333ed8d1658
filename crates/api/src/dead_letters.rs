//! Deliveries that nobody tries any more, and the wish to try them again.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use store::{DeadLetter, DeadLetterQuery, ReplayedDelivery};

use crate::accounts::page_limit;
use crate::collect::now_ms;
use crate::params::Params;
use crate::problem::Problem;
use crate::router::Shared;
use crate::{answer, times, wishes};

/// The most alerts that one request may name.
const MOST_ALERTS: usize = 1_000;

#[derive(Serialize)]
struct DeadLettersAnswer {
    dead_letters: Vec<DeadLetterAnswer>,
    total: u64,
}

#[derive(Serialize)]
struct DeadLetterAnswer {
    alert_id: String,
    destination: String,
    attempts: u32,
    http_status: Option<u16>,
    at: Option<String>,
    error: String,
    episode_id: String,
    account_id: Option<String>,
    rule: Option<String>,
    change: Option<String>,
    replayable: bool,
}

impl DeadLetterAnswer {
    fn of(letter: DeadLetter) -> DeadLetterAnswer {
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        DeadLetterAnswer {
            alert_id: letter.alert_id,
            destination: letter.destination,
            attempts: letter.attempt,
            http_status: letter.http_status,
            at: times::rfc3339(letter.at),
            error: letter.error,
            episode_id: letter.episode_id,
            account_id: known(letter.account_id),
            rule: known(letter.rule),
            change: known(letter.change),
            replayable: letter.replayable,
        }
    }
}

/// Those given up last first.
pub(crate) async fn list(
    State(shared): State<Shared>,
    asked: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut params = Params::read(query);
    let query = DeadLetterQuery {
        destination: params.text("destination"),
        rule: params.text("rule"),
        account_id: params.text("account_id"),
        alert_id: params.text("alert_id"),
        since: params.recorded_instant("since"),
        limit: page_limit(&mut params, &shared),
    };
    params.finish()?;
    let (letters, total) = shared.store.dead_letters(&query).await?;
    let body = DeadLettersAnswer {
        dead_letters: letters.into_iter().map(DeadLetterAnswer::of).collect(),
        total,
    };
    Ok(answer::json(&asked, &body))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
    alert_ids: Vec<String>,
    all: bool,
    destination: Option<String>,
    rule: Option<String>,
    account_id: Option<String>,
    since: Option<String>,
}

#[derive(Serialize)]
struct ReplayedAnswer {
    deliveries: Vec<ReplayedDelivery>,
    /// Of those that were named.
    unknown: Vec<String>,
    replayed: usize,
}

/// Replays what is named, or all that the filters find.
pub(crate) async fn replay(
    State(shared): State<Shared>,
    asked: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let wish: Wish = wishes::read(&asked, &body)?;
    if wish.all != wish.alert_ids.is_empty() {
        return Err(Problem::wrong_body(
            "give either alert_ids, or \"all\": true with any of destination, rule, account_id and since",
        ));
    }
    let filters = wish.rule.is_some() || wish.account_id.is_some() || wish.since.is_some();
    if !wish.all && filters {
        return Err(Problem::wrong_body(
            "rule, account_id and since go with \"all\": true, not with alert_ids",
        ));
    }
    if wish.alert_ids.len() > MOST_ALERTS {
        return Err(Problem::wrong_body(format!(
            "alert_ids may name {MOST_ALERTS} alerts at once"
        )));
    }
    let since = match &wish.since {
        None => None,
        Some(text) => Some(times::parse(text).ok_or_else(|| {
            Problem::wrong_body(format!(
                "since: {text:?} is not a time such as 2026-03-01T00:00:00Z"
            ))
        })?),
    };
    let now = now_ms();
    let deliveries = if wish.all {
        let query = DeadLetterQuery {
            destination: wish.destination,
            rule: wish.rule,
            account_id: wish.account_id,
            since,
            ..DeadLetterQuery::default()
        };
        shared.store.replay_all(&query, now).await?
    } else {
        let destination = wish.destination.as_deref();
        shared.store.replay(&wish.alert_ids, destination, now).await?
    };
    let found: BTreeSet<&str> = deliveries
        .iter()
        .map(|delivery| delivery.alert_id.as_str())
        .collect();
    let answer = ReplayedAnswer {
        unknown: wish
            .alert_ids
            .into_iter()
            .filter(|id| !found.contains(id.as_str()))
            .collect(),
        replayed: deliveries
            .iter()
            .filter(|delivery| delivery.outcome.is_under_way())
            .count(),
        deliveries,
    };
    Ok(answer::json(&asked, &answer))
}
