//! PagerDuty's Events API v2: an episode is an alert there, its id the `dedup_key`.
//!
//! What opens or gets worse triggers, what somebody looks after acknowledges, what ends resolves; so an
//! event that comes twice changes nothing. Whatever is no change of an episode is an alert of its own.

use reqwest::Url;
use serde_json::{Map, Value, json};

use super::http::{Http, Reading, Request};
use super::message::{Message, Subject};
use super::words;
use super::{Manner, Parcel, Preview};
use crate::config::{Credential, Destination, DestinationProblem, credential};
use crate::outcome::Answer;

const USUAL_URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// The most characters of a summary.
const SUMMARY: usize = 1_024;

/// The most characters of a key.
const DEDUP_KEY: usize = 255;

/// Where events go and what they are routed by.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub url: Url,
    routing_key: Credential,
}

impl Settings {
    pub fn read(destination: &Destination) -> Result<Settings, DestinationProblem> {
        let routing_key = credential("routing_key", &destination.routing_key)?;
        if routing_key.as_str().len() != 32 {
            return Err(DestinationProblem::field(
                "routing_key",
                "is 32 characters, as the integration shows it",
            ));
        }
        Ok(Settings {
            url: destination.http_url(USUAL_URL)?,
            routing_key,
        })
    }

    /// The event that tells of a message.
    pub fn render(&self, message: &Message) -> Request {
        let action = match message.subject {
            Subject::Acknowledged => "acknowledge",
            Subject::Ended => "resolve",
            _ => "trigger",
        };
        let key = match message.subject {
            // Of neither there is a second one that it could be folded into, nor an end.
            Subject::Digest | Subject::Held | Subject::Test => &message.alert_id,
            _ if message.episode_id.is_empty() => &message.alert_id,
            _ => &message.episode_id,
        };
        let mut event = json!({
            "routing_key": self.routing_key.as_str(),
            "event_action": action,
            "dedup_key": key.chars().take(DEDUP_KEY).collect::<String>(),
            "client": "mimamori",
        });
        if action == "trigger" {
            event["payload"] = payload(message);
        }
        if let Some(link) = &message.link {
            event["client_url"] = json!(link);
            event["links"] = json!([{
                "href": link, "text": message.language.word(words::OPEN_ACCOUNT),
            }]);
        }
        Request::post(self.url.clone(), &event)
    }
}

fn payload(message: &Message) -> Value {
    let mut summary = message.title.clone();
    for reason in &message.reasons {
        summary.push_str(" — ");
        summary.push_str(&words::one_line(reason));
    }
    let source = match message.account_name() {
        name if name.is_empty() => "mimamori".to_string(),
        name => words::one_line(&name),
    };
    let severity = match (message.severity.as_str(), message.subject) {
        // The breaker asks for a person.
        (_, Subject::Held) => "warning",
        ("critical", _) => "critical",
        ("warning", _) => "warning",
        _ => "info",
    };
    let mut payload = json!({
        "summary": words::cut(&summary, SUMMARY),
        "source": source,
        "severity": severity,
        "class": message.rule(),
        "component": message.event_type,
        "custom_details": details(message),
    });
    if !message.timestamp.is_empty() {
        payload["timestamp"] = json!(message.timestamp);
    }
    payload
}

/// What a person sees in the incident: who, why and the numbers, each by its name.
fn details(message: &Message) -> Map<String, Value> {
    let mut details = Map::new();
    for fact in message.who.iter().chain(&message.numbers) {
        details.insert(fact.label.clone(), json!(fact.value));
    }
    for (word, lines) in [(words::WHY, &message.reasons), (words::DRIVERS, &message.drivers)] {
        if !lines.is_empty() {
            details.insert(message.language.word(word), json!(lines));
        }
    }
    if !message.items.is_empty() {
        details.insert("alerts".to_string(), json!(message.items));
    }
    for name in ["account_id", "rule", "opened_at", "model_hash", "variant"] {
        if let Some(value) = message.data(name) {
            details.insert(name.to_string(), value.clone());
        }
    }
    details.insert("alert_id".to_string(), json!(message.alert_id));
    details
}

/// Sends events to PagerDuty.
#[derive(Debug)]
pub(crate) struct Pagerduty {
    settings: Settings,
    manner: Manner,
    http: Http,
}

impl Pagerduty {
    pub fn new(settings: Settings, manner: Manner, http: Http) -> Pagerduty {
        Pagerduty {
            settings,
            manner,
            http,
        }
    }

    fn render(&self, parcel: Parcel<'_>) -> Result<Request, String> {
        Ok(self.settings.render(&self.manner.read(parcel)?))
    }

    pub fn preview(&self, parcel: Parcel<'_>) -> Preview {
        let mut shown = self.render(parcel)?.shown();
        shown["body"]["routing_key"] = json!("***");
        Ok(vec![shown])
    }

    pub async fn send(&self, parcel: Parcel<'_>) -> Result<Answer, Answer> {
        let request = self.render(parcel).map_err(Answer::Broken)?;
        let response = self
            .http
            .send(request, self.http.deadline(), Reading::Excerpt)
            .await?;
        Ok(response.by_status())
    }
}

#[cfg(test)]
#[path = "pagerduty_tests.rs"]
mod tests;
