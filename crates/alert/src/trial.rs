//! `mimamori alert test`: one sample on the way that every alert goes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Endpoint};
use crate::destination::{Means, Parcel, Sender, Transport};
use crate::outcome::{Answer, Verdict};
use crate::telling::Language;

/// What became of a sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// The destination's name.
    pub destination: String,
    /// Its kind.
    pub kind: &'static str,
    /// The host that was spoken to.
    pub host: String,
    /// The id of the sample.
    pub alert_id: String,
    /// What was sent: a request, or a mail, without its secrets.
    pub sent: Vec<Value>,
    /// Whether the receiver has it.
    pub delivered: bool,
    /// The HTTP status that came back, if one did.
    pub http_status: Option<u16>,
    /// What went wrong; empty when nothing did.
    pub error: String,
    /// What the receiver calls the sample, if it says so.
    pub reference: String,
    /// How long it took, milliseconds.
    pub duration_ms: i64,
}

/// Why a sample could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// The section `[alert]` cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No destination has this name.
    #[error("there is no destination {name:?}: {known}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The destination's HTTP client cannot be made.
    #[error("alert.destinations {name:?}: cannot make its client: {reason}")]
    Client {
        /// The destination.
        name: String,
        /// What the client library said.
        reason: String,
    },
}

/// Sends a sample, of type `test`, to a destination and says what came back. It is not recorded and not
/// tried again.
///
/// # Errors
/// [`TrialError`] when there is nothing to send to. That the receiver did not take it is no error: see
/// [`Trial::delivered`].
pub async fn trial(config: &Config, name: &str, language: Option<Language>) -> Result<Trial, TrialError> {
    let telling = Arc::new(config.telling()?);
    let endpoints = config.endpoints()?;
    let known: Vec<String> = endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    let Some(mut endpoint) = endpoints.into_iter().find(|endpoint| endpoint.name == name) else {
        return Err(unknown(name, &known));
    };
    endpoint.language = language.unwrap_or(endpoint.language);
    let clock = Clock::wall();
    let means = Means {
        telling,
        retry_after_cap: Duration::from_secs(config.retry_after_max_seconds),
        clock: clock.clone(),
    };
    let sender = Sender::new(&endpoint, &means).map_err(|error| TrialError::Client {
        name: name.to_string(),
        reason: error.to_string(),
    })?;
    Ok(try_out(&endpoint, &sender, &clock).await)
}

fn unknown(name: &str, known: &[String]) -> TrialError {
    let known = if known.is_empty() {
        "none is configured; add one under [[alert.destinations]]".to_string()
    } else {
        format!("there is {}", known.join(", "))
    };
    TrialError::Unknown {
        name: name.to_string(),
        known,
    }
}

async fn try_out(endpoint: &Endpoint, sender: &Sender, clock: &Clock) -> Trial {
    let begun = clock.now();
    let alert_id = format!("al_test_{begun}");
    let body = sample(&alert_id, begun).to_string();
    let parcel = Parcel {
        alert_id: &alert_id,
        body: &body,
        reference: None,
    };
    let mut trial = Trial {
        destination: endpoint.name.clone(),
        kind: endpoint.kind.as_str(),
        host: endpoint.settings.host().to_string(),
        alert_id: alert_id.clone(),
        sent: Vec::new(),
        delivered: false,
        http_status: None,
        error: String::new(),
        reference: String::new(),
        duration_ms: 0,
    };
    match sender.preview(parcel) {
        Ok(sent) => trial.sent = sent,
        Err(problem) => {
            trial.error = problem;
            return trial;
        }
    }
    let answer: Answer = sender.send(parcel).await;
    trial.duration_ms = clock.now() - begun;
    trial.http_status = answer.status();
    trial.reference = answer.reference().to_string();
    match answer.verdict() {
        Verdict::Delivered => trial.delivered = true,
        Verdict::Retry { error, .. } | Verdict::Failed { error } => trial.error = error,
        Verdict::Gone => trial.error = "answered 410: gone".to_string(),
    }
    trial
}

/// The canonical body of a sample: an alert as it could be, about an account that nobody has.
fn sample(alert_id: &str, at: i64) -> Value {
    let timestamp = Timestamp::from_millisecond(at)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string();
    json!({
        "type": "test",
        "timestamp": timestamp,
        "data": {
            "account_id": "mimamori-test",
            "alert_id": alert_id,
            "episode_id": format!("ep_test_{at}"),
            "rule": "test",
            "severity": "info",
            "change": "opened",
            "kind": "at_risk",
            "reason": "A sample of mimamori: alerts arrive here",
            "reason_ja": "mimamoriのテスト送信：アラートはここに届きます",
            "account": {
                "name": "見守りテスト株式会社", "owner": "", "plan": "standard", "segment": "mid",
                "stage": "adoption", "tier": "high", "mrr": 74_400.0, "currency": "JPY",
            },
            "scores": {"health": 58.7, "band": "yellow", "churn_risk": 0.21},
            "metrics": {"days_to_renewal": 166, "usage_trend": 0.142},
            "drivers": [{
                "score": "churn_risk", "input": "usage_trend", "value": 0.142, "points": 2.73,
                "sentence": "feature use down 86% on the 28 days before",
                "sentence_ja": "機能利用が直前28日間より86%減少",
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Destination, Kind};
    use crate::testing::{Receiver, Reply, SECRET};

    async fn config(reply: Reply) -> (Config, Receiver) {
        let receiver = Receiver::always(reply).await;
        let url = format!("http://{}/hooks", receiver.address);
        let destination = |name: &str, kind| Destination {
            name: name.into(),
            kind,
            url: url.clone(),
            allow_private_addresses: true,
            ..Destination::default()
        };
        let config = Config {
            destinations: vec![
                Destination {
                    secret: SECRET.into(),
                    ..destination("cs-team", Kind::Webhook)
                },
                destination("channel", Kind::Slack),
            ],
            ..Config::default()
        };
        (config, receiver)
    }

    #[tokio::test]
    async fn a_sample_goes_the_way_of_every_alert() {
        let (config, receiver) = config(Reply::Status(200, "", "ok")).await;
        let tried = trial(&config, "cs-team", None).await.unwrap();
        assert!(tried.delivered, "{tried:?}");
        assert_eq!((tried.kind, tried.http_status), ("webhook", Some(200)));
        let request = receiver.wait_for(1).await.remove(0);
        assert_eq!(request.header("webhook-id"), tried.alert_id);
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body["type"], "test");
        assert_eq!(tried.sent[0]["body"], body);

        let tried = trial(&config, "channel", Some(Language::Ja)).await.unwrap();
        let sent = tried.sent[0].to_string();
        assert!(sent.contains("テスト：見守りテスト株式会社"), "{sent}");
        assert!(!sent.contains("/hooks"), "the address is a secret: {sent}");
    }

    #[tokio::test]
    async fn what_did_not_arrive_is_said_with_its_reason() {
        let (mut config, _receiver) = config(Reply::Status(404, "", "no_service")).await;
        let tried = trial(&config, "channel", None).await.unwrap();
        assert!(!tried.delivered);
        assert_eq!(tried.error, "answered 404: no_service");
        // The checks of addresses are the real ones.
        let port = _receiver.address.port();
        config.destinations[1].url = format!("http://localhost:{port}/hooks");
        config.destinations[1].allow_private_addresses = false;
        let tried = trial(&config, "channel", None).await.unwrap();
        assert!(tried.error.contains("set allow_private_addresses"), "{tried:?}");
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_answered_with_those_that_there_are() {
        let (config, _receiver) = config(Reply::Status(200, "", "")).await;
        let error = trial(&config, "cs", None).await.unwrap_err().to_string();
        assert_eq!(error, "there is no destination \"cs\": there is cs-team, channel");
        let error = trial(&Config::default(), "cs", None)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("none is configured"), "{error}");
    }
}
