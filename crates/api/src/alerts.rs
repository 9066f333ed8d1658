use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use store::AlertRow;

use crate::accounts::page_limit;
use crate::answer;
use crate::params::Params;
use crate::problem::Problem;
use crate::router::Shared;
use crate::times;
use crate::words::Words;

#[derive(Serialize)]
struct AlertsAnswer {
    alerts: Vec<AlertAnswer>,
}

#[derive(Serialize)]
struct AlertAnswer {
    alert_id: String,
    episode_id: String,
    account_id: String,
    rule: String,
    severity: String,
    change: String,
    at: Option<String>,
    reason: Words,
    payload: Option<Box<RawValue>>,
}

impl AlertAnswer {
    fn of(row: AlertRow) -> AlertAnswer {
        AlertAnswer {
            alert_id: row.alert_id,
            episode_id: row.episode_id,
            account_id: row.account_id,
            rule: row.rule,
            severity: row.severity,
            change: row.change,
            at: times::rfc3339(row.at),
            reason: Words {
                en: row.reason,
                ja: row.reason_ja,
            },
            payload: RawValue::from_string(row.payload).ok(),
        }
    }
}

/// The newest changes of alerts, newest first.
pub(crate) async fn list(
    State(shared): State<Shared>,
    asked: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut params = Params::read(query);
    let account_id = params.text("account_id");
    let limit = page_limit(&mut params, &shared);
    params.finish()?;
    let rows = shared.store.recent_alerts(account_id.as_deref(), limit).await?;
    let body = AlertsAnswer {
        alerts: rows.into_iter().map(AlertAnswer::of).collect(),
    };
    Ok(answer::json(&asked, &body))
}
