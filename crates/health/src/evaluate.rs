//! Evaluating an account: its numbers, scores and stage at an instant, and its alert episodes.

use serde_json::{Value, json};

use crate::account::Account;
use crate::alert::AlertChange;
use crate::config::Model;
use crate::episode::{self, Change, Mode, Told};
use crate::metrics::Metrics;
use crate::score::Scores;
use crate::stage::{Stage, Tier};
use crate::stamped::{number, text};
use crate::words;

/// The numbers that a rule can watch.
pub(crate) const RULE_NUMBERS: [&str; 23] = [
    "logins_1d",
    "logins_7d",
    "logins_28d",
    "logins_90d",
    "days_since_last_login",
    "days_since_last_active",
    "active_users_7d",
    "active_users_28d",
    "stickiness",
    "seat_utilisation",
    "feature_breadth",
    "feature_depth",
    "usage_28d",
    "usage_trend",
    "ttv_running_days",
    "onboarding_state",
    "open_tickets",
    "oldest_open_ticket_days",
    "days_to_renewal",
    "health",
    "activity",
    "adoption",
    "churn_risk",
];

/// Drivers that a webhook names: the strongest of those that make it worse.
const TOLD_DRIVERS: usize = 3;

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The instant, milliseconds.
    pub at: i64,
    /// The numbers.
    pub metrics: Metrics,
    /// The scores.
    pub scores: Scores,
    /// The stage.
    pub stage: Stage,
    /// The touch tier.
    pub tier: Tier,
    /// Whether an alert episode opened, escalated or ended, told or not: the account is to be saved.
    pub episodes_moved: bool,
}

/// What is known of an account besides its numbers.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "the fields are those of the table accounts")]
pub struct Profile {
    pub name: Option<String>,
    pub plan: Option<String>,
    pub segment: Option<String>,
    pub timezone: Option<String>,
    pub owner: Option<String>,
    pub seats: Option<u32>,
    pub mrr: Option<f64>,
    pub currency: Option<String>,
    pub started_at: Option<i64>,
    pub contract_ends_at: Option<i64>,
    pub churned_at: Option<i64>,
    pub first_event_at: Option<i64>,
    pub last_event_at: Option<i64>,
}

impl Account {
    /// Evaluates the account at `now` and brings its alert episodes up to date; what is to be told of
    /// them goes to the outbox.
    ///
    /// `caused_by_received_at` is when the newest event was received that the evaluation answers, 0
    /// for a timer's.
    pub fn evaluate(
        &mut self,
        now: i64,
        mode: Mode,
        caused_by_received_at: i64,
        model: &Model,
    ) -> Evaluation {
        let metrics = self.metrics(now, model);
        let stage = self.stage(&metrics, now);
        let tier = self.tier(&metrics, model);
        let scores = Scores::of(&metrics, stage, model);
        let churned = stage == Stage::Churned;
        let before = self.state.episodes.clone();
        let mut episodes = std::mem::take(&mut self.state.episodes);
        let told = episode::step(
            &mut episodes,
            &self.account_id,
            model,
            now,
            mode,
            churned,
            |name| rule_number(name, &metrics, &scores),
        );
        self.state.episodes = episodes;
        let episodes_moved = before != self.state.episodes;
        let evaluation = Evaluation {
            at: now,
            metrics,
            scores,
            stage,
            tier,
            episodes_moved,
        };
        for told in told {
            let change = self.alert(told, &evaluation, caused_by_received_at, model);
            self.state.outbox.push(change);
        }
        evaluation
    }

    /// What is known of the account besides its numbers.
    pub fn profile(&self) -> Profile {
        let attributes = &self.state.attributes;
        let contract = &self.state.contract;
        let owned = |value: Option<&str>| value.map(str::to_string);
        Profile {
            name: owned(text(&attributes.name)),
            plan: owned(text(&contract.plan).or(text(&attributes.plan))),
            segment: owned(text(&attributes.segment)),
            timezone: owned(text(&attributes.timezone)),
            owner: owned(text(&attributes.owner)),
            seats: self.seats(),
            mrr: number(&contract.mrr),
            currency: owned(text(&contract.currency)),
            started_at: self.started_at(),
            contract_ends_at: number(&contract.ends_at).map(|at| at as i64),
            churned_at: contract.churned_at(),
            first_event_at: self.state.first_event_at,
            last_event_at: self.state.last_event_at,
        }
    }

    fn alert(
        &self,
        told: Told<'_>,
        evaluation: &Evaluation,
        caused_by_received_at: i64,
        model: &Model,
    ) -> AlertChange {
        let profile = self.profile();
        let name = profile.name.as_deref().unwrap_or(&self.account_id);
        let what = match told.value {
            Some(value) => words::sentence(&told.rule.number, value),
            None => words::Sentence {
                en: "no longer known".into(),
                ja: "不明".into(),
            },
        };
        let (reason, reason_ja) = match told.change {
            Change::Opened => (format!("{name}: {}", what.en), format!("{name}：{}", what.ja)),
            Change::Escalated => (
                format!("{name}, worse: {}", what.en),
                format!("{name}（悪化）：{}", what.ja),
            ),
            Change::Resolved if evaluation.stage == Stage::Churned => (
                format!("{name}: the contract was cancelled"),
                format!("{name}：解約済み"),
            ),
            Change::Resolved => (
                format!("{name}, resolved: {}", what.en),
                format!("{name}（解消）：{}", what.ja),
            ),
        };
        AlertChange {
            alert_id: told.alert_id,
            episode_id: told.episode_id,
            account_id: self.account_id.clone(),
            rule: told.rule.name.clone(),
            severity: told.severity.as_str().to_string(),
            change: told.change.as_str().to_string(),
            at: evaluation.at,
            reason,
            reason_ja,
            payload: payload(&profile, told.opened_at, evaluation, model).to_string(),
            caused_by_received_at,
        }
    }
}

/// The data of the webhook besides what every [`AlertChange`] carries.
fn payload(profile: &Profile, opened_at: i64, evaluation: &Evaluation, model: &Model) -> Value {
    let scores = &evaluation.scores;
    let told_of = if scores.churn_risk.is_some() {
        "churn_risk"
    } else {
        "health"
    };
    let drivers: Vec<Value> = scores
        .drivers
        .iter()
        // What speaks for the customer is no reason to worry.
        .filter(|driver| driver.score == told_of && (driver.points > 0.0) == (told_of == "churn_risk"))
        .take(TOLD_DRIVERS)
        .map(|driver| {
            let words = driver.value.map(|value| words::sentence(driver.input, value));
            json!({
                "score": driver.score, "input": driver.input, "value": driver.value, "points": driver.points,
                "sentence": words.as_ref().map(|words| &words.en), "sentence_ja": words.as_ref().map(|words| &words.ja),
            })
        })
        .collect();
    let metrics = &evaluation.metrics;
    json!({
        "kind": "at_risk",
        "opened_at": jiff::Timestamp::from_millisecond(opened_at).ok().map(|at| at.to_string()),
        "account": {
            "name": profile.name, "plan": profile.plan, "segment": profile.segment, "owner": profile.owner,
            "tier": evaluation.tier.as_str(), "stage": evaluation.stage.as_str(),
            "mrr": metrics.mrr, "currency": profile.currency,
        },
        "scores": {
            "health": scores.health, "band": scores.band.as_str(), "ttv": scores.ttv, "activity": scores.activity,
            "adoption": scores.adoption, "churn_risk": scores.churn_risk, "confidence": scores.confidence,
        },
        "metrics": {
            "days_since_last_login": metrics.days_since_last_login,
            "days_since_last_active": metrics.days_since_last_active,
            "logins_7d": metrics.logins_7d, "logins_28d": metrics.logins_28d,
            "active_users_28d": metrics.active_users_28d, "usage_trend": metrics.usage_trend,
            "unused_key_features": metrics.unused_key_features, "days_to_renewal": metrics.days_to_renewal,
        },
        "drivers": drivers,
        "model_hash": model.hash(),
    })
}

/// A rule's number by its name; the names are [`RULE_NUMBERS`].
fn rule_number(name: &str, metrics: &Metrics, scores: &Scores) -> Option<f64> {
    match name {
        "logins_1d" => Some(f64::from(metrics.logins_1d)),
        "logins_7d" => Some(f64::from(metrics.logins_7d)),
        "logins_28d" => Some(f64::from(metrics.logins_28d)),
        "logins_90d" => Some(f64::from(metrics.logins_90d)),
        "days_since_last_login" => metrics.days_since_last_login.map(f64::from),
        "days_since_last_active" => metrics.days_since_last_active.map(f64::from),
        "active_users_7d" => Some(f64::from(metrics.active_users_7d)),
        "active_users_28d" => Some(f64::from(metrics.active_users_28d)),
        "stickiness" => metrics.stickiness,
        "seat_utilisation" => metrics.seat_utilisation,
        "feature_breadth" => metrics.feature_breadth,
        "feature_depth" => metrics.feature_depth,
        "usage_28d" => Some(metrics.usage_28d as f64),
        "usage_trend" => metrics.usage_trend,
        "ttv_running_days" => metrics.ttv_running_days,
        "onboarding_state" => metrics.onboarding_state.map(|state| f64::from(state as u8)),
        "open_tickets" => Some(f64::from(metrics.open_tickets)),
        "oldest_open_ticket_days" => metrics.oldest_open_ticket_days,
        "days_to_renewal" => metrics.days_to_renewal.map(f64::from),
        "health" => scores.health,
        "activity" => scores.activity,
        "adoption" => scores.adoption,
        "churn_risk" => scores.churn_risk,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_that_a_rule_may_name_is_answered() {
        let metrics = Metrics {
            days_since_last_login: Some(1),
            days_since_last_active: Some(1),
            stickiness: Some(1.0),
            seat_utilisation: Some(1.0),
            feature_breadth: Some(1.0),
            feature_depth: Some(1.0),
            usage_trend: Some(1.0),
            ttv_running_days: Some(1.0),
            onboarding_state: Some(crate::OnboardingState::Stalled),
            oldest_open_ticket_days: Some(1.0),
            days_to_renewal: Some(1),
            ..Metrics::default()
        };
        let known = Some(1.0);
        let scores = Scores {
            health: known,
            activity: known,
            adoption: known,
            churn_risk: known,
            ..Scores::default()
        };
        for name in RULE_NUMBERS {
            assert!(rule_number(name, &metrics, &scores).is_some(), "{name}");
        }
    }
}
