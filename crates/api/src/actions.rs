//! What people do about an alert: acknowledge it, put it off, end it, or note something about it.
//!
//! What holds: an action is an event like any other, and it is answered with 202 only after the broker has
//! acknowledged it. What follows from it, the scoring finds out; here an episode that is known to be over is
//! refused. While nobody needs a key, no page of somebody else's can act.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use event::{Event, EventType};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::EpisodeRow;
use uuid::Uuid;

use crate::collect::{Outlet, is_of_this_machine, now_ms};
use crate::problem::Problem;
use crate::router::Shared;
use crate::times;

/// As `event` has it.
const MAX_NOTE: usize = 2_000;
const MAX_NAMED: usize = 200;

/// The longest snooze: what is put off for longer is ended.
const MAX_SNOOZE_HOURS: i64 = 24 * 366;
const HOUR_MS: i64 = 3_600_000;

/// The source of events that came in here.
const SOURCE: &str = "api";

/// Sends actions to the broker.
pub(crate) type Actions = Option<Arc<Outlet>>;

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Acknowledge,
    Snooze,
    Resolve,
    Note,
}

impl Deed {
    pub(crate) const ALL: [Deed; 4] = [Deed::Acknowledge, Deed::Snooze, Deed::Resolve, Deed::Note];

    /// The last part of its path.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Deed::Acknowledge => "acknowledge",
            Deed::Snooze => "snooze",
            Deed::Resolve => "resolve",
            Deed::Note => "note",
        }
    }

    /// The name of its event.
    fn event_name(self) -> &'static str {
        match self {
            Deed::Acknowledge => "acknowledged",
            Deed::Snooze => "snoozed",
            Deed::Resolve => "resolved",
            Deed::Note => "noted",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    by: String,
    note: Option<String>,
    playbook: Option<String>,
    until: Option<String>,
    hours: Option<i64>,
}

/// An action that can be done.
#[derive(Debug, PartialEq, Eq)]
struct Act {
    by: String,
    note: Option<String>,
    playbook: Option<String>,
    /// When a snooze ends, milliseconds.
    until: Option<i64>,
}

#[derive(Serialize)]
struct Accepted {
    event_id: String,
    episode_id: String,
    account_id: String,
    /// Of a snooze.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// Lets nobody act from a page of another origin while nobody needs a key: any page that a person visits
/// can reach their own loopback.
pub(crate) async fn own_page(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if shared.keys.is_empty() && is_from_elsewhere(request.headers()) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "not-from-there",
            "Actions are not taken from there",
            "without an API key only pages of this server and of this machine may act: configure api.api_keys",
        )
        .into_response();
    }
    next.run(request).await
}

fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let Ok(origin) = origin.to_str() else {
        return true;
    };
    // The host asked for is one that only we have.
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_own = own.is_some_and(|own| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(own))
    });
    !is_own && !is_of_this_machine(origin)
}

pub(crate) async fn act(
    State(shared): State<Shared>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
    deed: Deed,
) -> Result<Response, Problem> {
    let Path(id) = path.map_err(|rejection| Problem::wrong_path(rejection.body_text()))?;
    must_be_json(&headers)?;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(shared.config.max_body_bytes),
        _ => wrong_body(rejection.body_text()),
    })?;
    let now = now_ms();
    let act = read(deed, &body, now).map_err(wrong_body)?;
    let Some(outlet) = &shared.actions else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-kafka",
            "Nothing can be done here",
            "this server has no Kafka to send the action to: ask one that runs the api role",
        ));
    };
    let episode = shared
        .store
        .episode(&id)
        .await?
        .ok_or_else(|| no_such_alert(&id))?;
    if episode.is_over {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "alert-over",
            "The alert is over",
            format!(
                "episode {} of rule {} has ended",
                episode.episode_id, episode.rule
            ),
        ));
    }
    let event = event(deed, &act, &id, &episode, now);
    send(outlet, &event).await?;
    let accepted = Accepted {
        event_id: event.event_id,
        episode_id: episode.episode_id,
        account_id: event.account_id,
        until: act.until.and_then(times::rfc3339),
    };
    Ok((
        StatusCode::ACCEPTED,
        [(header::CACHE_CONTROL, "no-store")],
        Json(accepted),
    )
        .into_response())
}

/// What HTML forms can send is not taken, so that a browser asks first whether a foreign page may.
fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    let told = headers.get(header::CONTENT_TYPE);
    let told = told.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = told.split(';').next().unwrap_or("").trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not-json",
        "The body is not JSON",
        "send Content-Type: application/json",
    ))
}

fn wrong_body(detail: String) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "wrong-body",
        "The body cannot be taken",
        detail,
    )
}

fn no_such_alert(id: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-alert",
        "No such alert",
        format!("{id:?} is neither an alert_id nor an episode_id; GET /api/v1/alerts lists them"),
    )
}

fn read(deed: Deed, body: &[u8], now: i64) -> Result<Act, String> {
    let wrong = |what: String| {
        format!("{what}; send an object such as {{\"by\":\"Sato\",\"note\":\"I call them today\"}}")
    };
    // An array would be read as the members in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(wrong("it is an array".to_string()));
    }
    let asked: Asked = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let by = asked.by.trim().to_string();
    if by.is_empty() {
        return Err("by is missing: say who acts".to_string());
    }
    let text = |name: &str, value: Option<String>, most: usize| {
        let value = value.map(|value| value.trim().to_string());
        let value = value.filter(|value| !value.is_empty());
        match &value {
            Some(value) if value.chars().nth(most).is_some() => {
                Err(format!("{name} is longer than {most} characters"))
            }
            _ => Ok(value),
        }
    };
    text("by", Some(by.clone()), MAX_NAMED)?;
    let note = text("note", asked.note, MAX_NOTE)?;
    let playbook = text("playbook", asked.playbook, MAX_NAMED)?;
    if deed == Deed::Note && note.is_none() {
        return Err("note is missing: say what is to be noted".to_string());
    }
    let until = until(deed, asked.until.as_deref(), asked.hours, now)?;
    Ok(Act {
        by,
        note,
        playbook,
        until,
    })
}

fn until(deed: Deed, until: Option<&str>, hours: Option<i64>, now: i64) -> Result<Option<i64>, String> {
    let until = match (deed, until, hours) {
        (Deed::Snooze, Some(until), None) => times::parse(until)
            .ok_or_else(|| format!("until {until:?} is not a time such as 2026-12-01T09:00:00+09:00"))?,
        (Deed::Snooze, None, Some(hours)) if (1..=MAX_SNOOZE_HOURS).contains(&hours) => now + hours * HOUR_MS,
        (Deed::Snooze, None, Some(hours)) => {
            return Err(format!(
                "hours {hours} is not a whole number from 1 to {MAX_SNOOZE_HOURS}"
            ));
        }
        (Deed::Snooze, ..) => return Err("a snooze needs either until or hours".to_string()),
        (_, None, None) => return Ok(None),
        _ => return Err("until and hours are for snooze".to_string()),
    };
    if until <= now || until > now + MAX_SNOOZE_HOURS * HOUR_MS {
        return Err(format!(
            "until is not in the next {MAX_SNOOZE_HOURS} hours: give a time ahead"
        ));
    }
    Ok(Some(until))
}

fn event(deed: Deed, act: &Act, asked_for: &str, episode: &EpisodeRow, now: i64) -> Event {
    let mut properties = json!({
        "episode_id": episode.episode_id, "rule": episode.rule, "by": act.by,
    });
    if asked_for != episode.episode_id {
        properties["alert_id"] = asked_for.into();
    }
    let optional = [
        ("note", act.note.clone()),
        ("playbook", act.playbook.clone()),
        ("until", act.until.and_then(times::rfc3339)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            properties[name] = value.into();
        }
    }
    Event {
        event_id: format!("action-{}", Uuid::new_v4()),
        account_id: episode.account_id.clone(),
        user_id: None,
        event_type: EventType::Action,
        name: deed.event_name().to_string(),
        occurred_at: now,
        received_at: now,
        source: SOURCE.to_string(),
        properties: properties.to_string(),
    }
}

/// Waits until the broker has the event.
async fn send(outlet: &Outlet, event: &Event) -> Result<(), Problem> {
    let sent = match outlet.accept(event, &mut Vec::new()) {
        Ok(delivery) => delivery.await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "an action was not acknowledged; the client is asked to send it again");
        outlet.note(&error);
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-acknowledged",
            "Kafka has not acknowledged the action",
            "ask again; an action that is done twice is done once, save that a note may stand there twice",
        );
        return Err(problem);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const NOW: i64 = 1_795_309_324_000;

    fn refused(deed: Deed, body: &str) -> String {
        read(deed, body.as_bytes(), NOW).unwrap_err()
    }

    #[test]
    fn who_acts_and_what_he_says_is_read() {
        let body = r#"{"by":" Sato ","note":"I call them\n","playbook":""}"#;
        let act = read(Deed::Acknowledge, body.as_bytes(), NOW).unwrap();
        let expected = Act {
            by: "Sato".into(),
            note: Some("I call them".into()),
            playbook: None,
            until: None,
        };
        assert_eq!(act, expected);
    }

    #[test]
    fn a_snooze_is_for_hours_or_until_a_time_ahead() {
        let until = |body: &str| read(Deed::Snooze, body.as_bytes(), NOW).map(|act| act.until);
        assert_eq!(until(r#"{"by":"Sato","hours":24}"#), Ok(Some(NOW + 24 * HOUR_MS)));
        assert_eq!(
            until(r#"{"by":"Sato","until":"2026-12-01T09:00:00+09:00"}"#),
            Ok(Some(1_796_083_200_000))
        );
        for wrong in [
            r#"{"by":"Sato"}"#,
            r#"{"by":"Sato","hours":0}"#,
            r#"{"by":"Sato","hours":9223372036854775807}"#,
            r#"{"by":"Sato","hours":1,"until":"2026-12-01T09:00:00Z"}"#,
            r#"{"by":"Sato","until":"2026-11-01T09:00:00Z"}"#,
            r#"{"by":"Sato","until":"2036-11-01T09:00:00Z"}"#,
            r#"{"by":"Sato","until":"soon"}"#,
        ] {
            assert!(until(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        assert!(refused(Deed::Note, r#"{"by":"Sato"}"#).contains("note"));
        assert!(refused(Deed::Resolve, r#"{"note":"x"}"#).contains("by"));
        assert!(refused(Deed::Resolve, r#"{"by":"Sato","hours":3}"#).contains("snooze"));
        assert!(refused(Deed::Resolve, r#"{"by":"Sato","who":"x"}"#).contains("who"));
        assert!(refused(Deed::Resolve, "[]").contains("object"));
        let long = json!({"by": "Sato", "note": "見".repeat(2_001)}).to_string();
        assert!(refused(Deed::Resolve, &long).contains("2000"));
        let fits = json!({"by": "Sato", "note": "見".repeat(2_000)}).to_string();
        assert!(read(Deed::Resolve, fits.as_bytes(), NOW).is_ok());
    }

    #[test]
    fn only_pages_of_this_server_and_of_this_machine_may_act() {
        let from = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("cs.example"));
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            is_from_elsewhere(&headers)
        };
        assert!(!from("https://cs.example"));
        assert!(!from("http://127.0.0.1:8080"));
        assert!(!is_from_elsewhere(&HeaderMap::new()));
        for foreign in ["https://evil.example", "null", "https://cs.example.evil.example"] {
            assert!(from(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_is_sent_can_come_in_through_any_door() {
        let episode = EpisodeRow {
            episode_id: "ep_1".into(),
            account_id: "acme".into(),
            rule: "silence".into(),
            severity: "warning".into(),
            opened_at: NOW,
            alert_id: "al_1".into(),
            change: "opened".into(),
            at: NOW,
            reason: String::new(),
            reason_ja: String::new(),
            payload: String::new(),
            is_over: false,
        };
        let decoder = event::Decoder::default();
        for deed in Deed::ALL {
            let act = Act {
                by: "佐藤".into(),
                note: Some("見".repeat(2_000)),
                playbook: Some("call".into()),
                until: (deed == Deed::Snooze).then_some(NOW + HOUR_MS),
            };
            let made = event(deed, &act, "al_1", &episode, NOW);
            let native = json!({
                "event_id": made.event_id, "account_id": made.account_id, "type": "action", "name": made.name,
                "occurred_at": made.occurred_at,
                "properties": serde_json::from_str::<serde_json::Value>(&made.properties).unwrap(),
            });
            let decoded = decoder
                .decode(native.to_string().as_bytes(), &[], NOW, SOURCE)
                .unwrap();
            assert_eq!(decoded.properties, made.properties);
            assert_eq!((decoded.name, decoded.event_type), (made.name, made.event_type));
        }
    }
}
