//! What an alert says: the change as it travels, its reason in words, and the data of the webhook.

use serde_json::{Map, Value, json};

use crate::action::Words;
use crate::episode::{Change, Told};
use crate::evaluate::{Evaluation, Profile};
use crate::rules::{Facts, RuleKind};
use crate::score::{Driver, Scores};
use crate::stage::Stage;
use crate::words;

/// Drivers that a webhook names: the strongest of those that speak for the alert.
const TOLD_DRIVERS: usize = 3;

/// A change of an alert episode, as it travels in `mimamori.alerts`
/// (`schemas/proto/mimamori/v1/alert.proto`).
///
/// The id of a change follows from the account, the rule, the number of the episode and the change,
/// so that a change that is found again after a crash has the id that it had before.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlertChange {
    /// Of this change; the `webhook-id`.
    #[prost(string, tag = "1")]
    pub alert_id: String,
    /// Of the episode.
    #[prost(string, tag = "2")]
    pub episode_id: String,
    /// The account that it is about.
    #[prost(string, tag = "3")]
    pub account_id: String,
    /// The rule's name.
    #[prost(string, tag = "4")]
    pub rule: String,
    /// `info`, `warning` or `critical`.
    #[prost(string, tag = "5")]
    pub severity: String,
    /// `opened`, `escalated`, `acknowledged`, `resolved` or `retracted`.
    #[prost(string, tag = "6")]
    pub change: String,
    /// When the change was found, milliseconds.
    #[prost(int64, tag = "7")]
    pub at: i64,
    /// Why, one English sentence.
    #[prost(string, tag = "8")]
    pub reason: String,
    /// Why, one Japanese sentence.
    #[prost(string, tag = "9")]
    pub reason_ja: String,
    /// The `data` of the webhook: a JSON object as text.
    #[prost(string, tag = "10")]
    pub payload: String,
    /// When the newest event that it rests on was received, milliseconds; 0 when a timer caused it.
    #[prost(int64, tag = "11")]
    pub caused_by_received_at: i64,
}

/// What an alert is about.
pub(crate) struct Subject<'a> {
    pub(crate) account_id: &'a str,
    pub(crate) profile: &'a Profile,
    pub(crate) evaluation: &'a Evaluation,
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) model_hash: &'a str,
}

impl AlertChange {
    /// The change that tells of `told`.
    pub(crate) fn new(told: Told<'_>, subject: &Subject<'_>, caused_by_received_at: i64) -> AlertChange {
        let (reason, reason_ja) = reason(&told, subject);
        AlertChange {
            account_id: subject.account_id.to_string(),
            rule: told.rule.name.clone(),
            severity: told.severity.as_str().to_string(),
            change: told.change.as_str().to_string(),
            at: subject.evaluation.at,
            reason,
            reason_ja,
            payload: payload(&told, subject).to_string(),
            caused_by_received_at,
            alert_id: told.alert_id,
            episode_id: told.episode_id,
        }
    }
}

fn reason(told: &Told<'_>, subject: &Subject<'_>) -> (String, String) {
    let name = subject.profile.name.as_deref().unwrap_or(subject.account_id);
    match told.change {
        Change::Opened => {
            let what = told.rule.message(subject.facts);
            (format!("{name}: {}", what.en), format!("{name}：{}", what.ja))
        }
        Change::Escalated => {
            let what = told.rule.message(subject.facts);
            (
                format!("{name}, worse: {}", what.en),
                format!("{name}（悪化）：{}", what.ja),
            )
        }
        Change::Acknowledged => {
            let (by, by_ja) = who(told.action.as_ref());
            let (note, note_ja) = note(told.action.as_ref());
            (
                format!("{name}: {by} is on it{note}"),
                format!("{name}：{by_ja}が対応中{note_ja}"),
            )
        }
        Change::Resolved if told.action.is_some() => {
            let (by, by_ja) = who(told.action.as_ref());
            let (note, note_ja) = note(told.action.as_ref());
            (
                format!("{name}, resolved by {by}{note}"),
                format!("{name}（{by_ja}が解消）{note_ja}"),
            )
        }
        Change::Resolved if subject.evaluation.stage == Stage::Churned => (
            format!("{name}: the contract was cancelled"),
            format!("{name}：解約済み"),
        ),
        Change::Resolved => {
            let what = told.rule.sentence(subject.facts);
            (
                format!("{name}, resolved: {}", what.en),
                format!("{name}（解消）：{}", what.ja),
            )
        }
        Change::Retracted => {
            let what = told.rule.sentence(subject.facts);
            (
                format!("{name}, retracted after late events: {}", what.en),
                format!("{name}（遅延データにより取り消し）：{}", what.ja),
            )
        }
    }
}

/// Whose action it was, in English and in Japanese.
fn who(action: Option<&Words>) -> (&str, &str) {
    match action.map(|words| words.by.as_str()) {
        None | Some("") => ("the team", "チーム"),
        Some(by) => (by, by),
    }
}

fn note(action: Option<&Words>) -> (String, String) {
    let after = |between| action.map_or_else(String::new, |words| words.note_after(between));
    (after(": "), after("："))
}

/// The data of the webhook besides what every [`AlertChange`] carries.
fn payload(told: &Told<'_>, subject: &Subject<'_>) -> Value {
    let Subject {
        profile, evaluation, ..
    } = subject;
    let scores = &evaluation.scores;
    let metrics = &evaluation.metrics;
    let mut told_metrics = json!({
        "days_since_last_login": metrics.days_since_last_login,
        "days_since_last_active": metrics.days_since_last_active,
        "logins_7d": metrics.logins_7d, "logins_28d": metrics.logins_28d,
        "active_users_28d": metrics.active_users_28d, "usage_trend": metrics.usage_trend,
        "seat_utilisation": metrics.seat_utilisation, "open_tickets": metrics.open_tickets,
        "onboarding_state": metrics.onboarding_state.map(|state| state.as_str()),
        "unused_key_features": metrics.unused_key_features, "days_to_renewal": metrics.days_to_renewal,
    });
    let told_scores = json!({
        "health": scores.health, "band": scores.band.as_str(), "ttv": scores.ttv, "activity": scores.activity,
        "adoption": scores.adoption, "sentiment": scores.sentiment, "support": scores.support,
        "churn_risk": scores.churn_risk, "expansion": scores.expansion, "confidence": scores.confidence,
    });
    if let Value::Object(members) = &mut told_metrics {
        add_named(members, told, subject.facts, &told_scores);
    }
    let action = told
        .action
        .as_ref()
        .map(|words| words.payload(told.snoozed_until));
    let drivers: Vec<Value> = drivers(told.rule.kind, scores)
        .take(TOLD_DRIVERS)
        .map(driver)
        .collect();
    let mut payload = json!({
        "kind": told.rule.kind.as_str(),
        "opened_at": jiff::Timestamp::from_millisecond(told.opened_at).ok().map(|at| at.to_string()),
        "account": {
            "name": profile.name, "plan": profile.plan, "segment": profile.segment, "owner": profile.owner,
            "tier": evaluation.tier.as_str(), "stage": evaluation.stage.as_str(),
            "mrr": metrics.mrr, "currency": profile.currency,
        },
        "scores": told_scores,
        "metrics": told_metrics,
        "drivers": drivers,
        "model_hash": subject.model_hash,
    });
    if let Some(action) = action {
        payload["action"] = action;
    }
    payload
}

/// Adds the numbers that the rule names, unless they are scores or there already.
fn add_named(members: &mut Map<String, Value>, told: &Told<'_>, facts: &Facts<'_>, scores: &Value) {
    for (name, value) in told.rule.numbers(facts) {
        if scores.get(name).is_none() && !members.contains_key(name) {
            members.insert(name.to_string(), json!(value));
        }
    }
}

/// What speaks for the alert, strongest first: of an opportunity what makes `expansion` higher, of a
/// risk what makes `churn_risk` higher or, where that is unknown, `health` lower.
pub(crate) fn drivers(kind: RuleKind, scores: &Scores) -> impl Iterator<Item = &Driver> {
    let (score, is_higher) = match kind {
        RuleKind::Opportunity => ("expansion", true),
        RuleKind::AtRisk if scores.churn_risk.is_some() => ("churn_risk", true),
        RuleKind::AtRisk => ("health", false),
    };
    scores.drivers.iter().filter(move |driver| {
        let speaks_for_it = if is_higher {
            driver.points > 0.0
        } else {
            driver.points < 0.0
        };
        driver.score == score && speaks_for_it
    })
}

fn driver(driver: &Driver) -> Value {
    let words = driver.value.map(|value| words::sentence(driver.input, value));
    json!({
        "score": driver.score, "input": driver.input, "value": driver.value, "baseline": driver.baseline,
        "points": driver.points,
        "sentence": words.as_ref().map(|words| &words.en),
        "sentence_ja": words.as_ref().map(|words| &words.ja),
    })
}
