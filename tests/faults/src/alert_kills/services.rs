//! The destinations: how they are configured, what their requests say, and what their service answers.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::oracle::alerts::Alert;
use crate::receiver::SECRET;

/// What listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Standard Webhooks.
    Webhook,
    /// Slack's Web API, to a bot.
    Slack,
    /// PagerDuty's Events API v2.
    Pagerduty,
    /// HubSpot's custom events.
    Hubspot,
    /// Salesforce's platform events, after a token was had.
    Salesforce,
}

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// It takes its time and refuses nothing.
    Steady,
    /// It fails in every way now and then.
    Faulty,
    /// It takes so many and then says that it is gone for good.
    Leaves(u64),
}

/// A destination.
#[derive(Debug)]
pub struct Destination {
    /// In the configuration; the first part of its path.
    pub name: &'static str,
    /// What listens there.
    pub service: Service,
    /// How it behaves.
    pub conduct: Conduct,
}

const fn destination(name: &'static str, service: Service, conduct: Conduct) -> Destination {
    Destination {
        name,
        service,
        conduct,
    }
}

/// All of them; every change goes to each.
pub static DESTINATIONS: [Destination; 7] = [
    destination("steady", Service::Webhook, Conduct::Steady),
    destination("faulty", Service::Webhook, Conduct::Faulty),
    destination("leaves", Service::Webhook, Conduct::Leaves(60)),
    destination("slack", Service::Slack, Conduct::Faulty),
    destination("pagerduty", Service::Pagerduty, Conduct::Faulty),
    destination("hubspot", Service::Hubspot, Conduct::Faulty),
    destination("salesforce", Service::Salesforce, Conduct::Faulty),
];

/// The destination that a path belongs to.
pub fn destination_of(path: &str) -> Option<&'static Destination> {
    let first = path.trim_start_matches('/').split('/').next()?;
    DESTINATIONS.iter().find(|destination| destination.name == first)
}

/// Section `[alert]`: short pauses, few attempts, so that some deliveries are given up; and a circuit that
/// opens and closes within seconds.
pub fn config(address: std::net::SocketAddr) -> String {
    let mut config = String::from(
        r#"
[alert]
retry_seconds = [0, 0.2, 0.5, 1, 1]
circuit_seconds = 0.3
circuit_max_seconds = 1.0

# Every account opens at once, and each is to be told.
[alert.breaker]
share = 0.0
"#,
    );
    for Destination {
        name,
        service,
        conduct,
    } in &DESTINATIONS
    {
        // Nothing but a kill keeps the steady one from its answers, however busy the machine is.
        let timeout_seconds = if *conduct == Conduct::Steady { 20 } else { 1 };
        let (kind, own) = match service {
            Service::Webhook => ("webhook", format!("secret = \"{SECRET}\"")),
            Service::Slack => (
                "slack",
                "token = \"xoxb-1\"\nchannel = \"C0123456789\"".to_owned(),
            ),
            Service::Pagerduty => (
                "pagerduty",
                "routing_key = \"0123456789abcdef0123456789abcdef\"".to_owned(),
            ),
            Service::Hubspot => (
                "hubspot",
                "token = \"pat-1\"\nevent = \"pe1_account_alert\"".to_owned(),
            ),
            Service::Salesforce => (
                "salesforce",
                "event = \"Account_Alert__e\"\nclient_id = \"id\"\nclient_secret = \"secret\"".to_owned(),
            ),
        };
        config.push_str(&format!(
            r#"
[[alert.destinations]]
name = "{name}"
kind = "{kind}"
url = "http://{address}/{name}"
{own}
allow_private_addresses = true
timeout_seconds = {timeout_seconds}
concurrency = 16
rate_per_second = 0
"#
        ));
    }
    config
}

/// A request, as far as a service looks at it.
#[derive(Debug)]
pub struct Request {
    /// With its leading slash.
    pub path: String,
    /// The header `webhook-id`, or nothing.
    pub webhook_id: String,
    /// The body.
    pub body: String,
}

impl Service {
    /// What a request is told apart by: two of one name are the same message. `None` for one that is no
    /// message, such as for a token.
    pub fn message(self, request: &Request) -> anyhow::Result<Option<String>> {
        if request.path.ends_with("/oauth2/token") || request.path.ends_with("/chat.update") {
            return Ok(None);
        }
        let body: Value = serde_json::from_str(&request.body).context("the body is no JSON")?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let name = match self {
            Service::Webhook => {
                let id = text(&body["data"]["alert_id"]);
                if id.as_deref() != Some(&request.webhook_id) {
                    bail!("webhook-id {:?} bears a body of {id:?}", request.webhook_id);
                }
                id
            }
            Service::Slack => alert_id_in(&request.body),
            Service::Pagerduty => match body["event_action"].as_str() {
                Some("resolve") => text(&body["dedup_key"]).map(|episode| end_of(&episode)),
                _ => text(&body["payload"]["custom_details"]["alert_id"]),
            },
            Service::Hubspot => text(&body["properties"]["alert_id"]),
            Service::Salesforce => text(&body["AlertId__c"]),
        };
        let name =
            name.with_context(|| format!("{self:?} cannot tell what this is about: {}", request.body))?;
        Ok(Some(name))
    }

    /// What has to be the same each time a message comes. Under which message of an episode Slack shows it is
    /// not: that depends on which one is known, and one that was posted twice is there twice.
    pub fn content(self, request: &Request) -> String {
        match (self, serde_json::from_str::<Value>(&request.body)) {
            (Service::Slack, Ok(Value::Object(mut body))) => {
                for field in ["thread_ts", "reply_broadcast"] {
                    body.remove(field);
                }
                Value::Object(body).to_string()
            }
            _ => request.body.clone(),
        }
    }

    /// The name of the message that tells of a change, as [`message`](Self::message) finds it.
    pub fn name_of(self, alert: &Alert) -> String {
        let is_end = alert.change == "resolved" || alert.change == "retracted";
        match self {
            // An end names the episode alone.
            Service::Pagerduty if is_end => end_of(&alert.episode_id),
            _ => alert.alert_id.clone(),
        }
    }

    /// Status and body of the answer to a request that is in order; `again` when the message was taken
    /// before. `number` is the request's.
    pub fn answer(self, request: &Request, number: u64, again: bool) -> (u16, String) {
        let is_token = request.path.ends_with("/oauth2/token");
        match self {
            Service::Webhook => (204, String::new()),
            Service::Slack => (
                200,
                json!({"ok": true, "ts": format!("1700000000.{number:06}")}).to_string(),
            ),
            Service::Pagerduty => (202, r#"{"status":"success"}"#.to_owned()),
            // It takes a uuid once.
            Service::Hubspot if again => (409, r#"{"category":"CONFLICT"}"#.to_owned()),
            Service::Hubspot => (204, String::new()),
            Service::Salesforce if is_token => (200, json!({"access_token": "token"}).to_string()),
            Service::Salesforce => {
                let enqueued = json!({"statusCode": "OPERATION_ENQUEUED", "message": format!("{number}")});
                let answer = json!({"id": "e00", "success": true, "errors": [enqueued]});
                (201, answer.to_string())
            }
        }
    }
}

fn end_of(episode_id: &str) -> String {
    format!("end of {episode_id}")
}

/// The alert's id as it stands at the foot of a message: `al_` and 32 hexadecimal digits.
fn alert_id_in(text: &str) -> Option<String> {
    const DIGITS: usize = 32;
    text.match_indices("al_").find_map(|(at, prefix)| {
        let digits = text.get(at + prefix.len()..at + prefix.len() + DIGITS)?;
        let is_id = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| format!("{prefix}{digits}"))
    })
}
