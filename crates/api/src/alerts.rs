use std::collections::BTreeSet;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use event::Properties;
use serde::Serialize;
use serde_json::value::RawValue;
use store::{ActionRow, AlertRow, EpisodeRow};

use crate::accounts::page_limit;
use crate::answer;
use crate::collect::now_ms;
use crate::params::Params;
use crate::problem::Problem;
use crate::router::Shared;
use crate::times;
use crate::words::Words;

#[derive(Serialize)]
struct OpenAnswer {
    alerts: Vec<OpenAlert>,
}

/// An episode that is open, and what people did about it.
#[derive(Serialize)]
struct OpenAlert {
    #[serde(flatten)]
    newest: AlertAnswer,
    opened_at: Option<String>,
    /// `open`, `acknowledged`, `snoozed`, or `resolving` when a person has ended it and the scoring has not
    /// come to it yet.
    state: &'static str,
    acknowledged_at: Option<String>,
    acknowledged_by: Option<String>,
    playbook: Option<String>,
    snoozed_until: Option<String>,
    /// The newest.
    note: Option<NoteAnswer>,
}

#[derive(Serialize)]
struct NoteAnswer {
    text: String,
    by: Option<String>,
    at: Option<String>,
}

impl OpenAlert {
    fn of(row: EpisodeRow, actions: &[ActionRow], now: i64) -> OpenAlert {
        let own: Vec<(&ActionRow, Properties<'_>)> = actions
            .iter()
            .filter(|action| action.episode_id == row.episode_id)
            .map(|action| (action, Properties::parse(&action.properties).unwrap_or_default()))
            .collect();
        let of_name = |name: &str| own.iter().find(|(action, _)| action.name == name);
        let text = |properties: &Properties<'_>, name: &str| {
            let text = properties.str(name)?.trim().to_string();
            (!text.is_empty()).then_some(text)
        };
        let acknowledged = of_name("acknowledged");
        let snoozed_until = of_name("snoozed").and_then(|(_, said)| said.timestamp_ms("until"));
        let snoozed_until = snoozed_until.filter(|until| *until > now);
        let state = match (of_name("resolved"), snoozed_until, acknowledged) {
            (Some(_), ..) => "resolving",
            (None, Some(_), _) => "snoozed",
            (None, None, Some(_)) => "acknowledged",
            (None, None, None) => "open",
        };
        let note = own
            .iter()
            .filter_map(|(action, said)| Some((action.at, text(said, "note")?, text(said, "by"))))
            .max_by_key(|(at, ..)| *at);
        let playbook = own
            .iter()
            .filter_map(|(action, said)| Some((action.at, text(said, "playbook")?)))
            .max_by_key(|(at, _)| *at);
        OpenAlert {
            opened_at: times::rfc3339(row.opened_at),
            state,
            acknowledged_at: acknowledged.and_then(|(action, _)| times::rfc3339(action.at)),
            acknowledged_by: acknowledged.and_then(|(_, said)| text(said, "by")),
            playbook: playbook.map(|(_, playbook)| playbook),
            snoozed_until: snoozed_until.and_then(times::rfc3339),
            note: note.map(|(at, text, by)| NoteAnswer {
                text,
                by,
                at: times::rfc3339(at),
            }),
            newest: AlertAnswer {
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
            },
        }
    }
}

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

/// The newest changes of alerts, newest first; or the episodes that are open.
pub(crate) async fn list(
    State(shared): State<Shared>,
    asked: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut params = Params::read(query);
    let account_id = params.text("account_id");
    let state = params.choice("state", &["open"]);
    let limit = page_limit(&mut params, &shared);
    params.finish()?;
    if state.is_some() {
        return open(&shared, &asked, account_id.as_deref(), limit).await;
    }
    let rows = shared.store.recent_alerts(account_id.as_deref(), limit).await?;
    let body = AlertsAnswer {
        alerts: rows.into_iter().map(AlertAnswer::of).collect(),
    };
    Ok(answer::json(&asked, &body))
}

/// The episodes that are open: the critical ones first, of those the newest.
async fn open(
    shared: &Shared,
    asked: &HeaderMap,
    account_id: Option<&str>,
    limit: u32,
) -> Result<Response, Problem> {
    let episodes = shared.store.open_episodes(account_id, limit).await?;
    let accounts: BTreeSet<&str> = episodes.iter().map(|row| row.account_id.as_str()).collect();
    let ids: Vec<&str> = episodes.iter().map(|row| row.episode_id.as_str()).collect();
    let actions = shared
        .store
        .actions_on(&accounts.into_iter().collect::<Vec<_>>(), &ids)
        .await?;
    let now = now_ms();
    let body = OpenAnswer {
        alerts: episodes
            .into_iter()
            .map(|row| OpenAlert::of(row, &actions, now))
            .collect(),
    };
    Ok(answer::json(asked, &body))
}
