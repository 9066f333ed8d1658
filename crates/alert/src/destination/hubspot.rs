//! HubSpot: occurrences of a custom event, or tasks.
//!
//! An occurrence carries the alert's id as its `uuid`, of which HubSpot takes one a year, so that one
//! that is sent twice counts once. A task stands for an episode: later changes of it change the task, and
//! its end completes it. HubSpot takes no id of ours with a task, so one that is sent twice is there twice.

use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::http::{Http, Reading, Request, Response};
use super::message::{Message, Subject};
use super::words;
use super::{Manner, Parcel, Preview};
use crate::config::{Credential, Destination, DestinationProblem, HubspotObject, credential};
use crate::outcome::{Answer, Verdict};
use crate::telling::Language;
use crate::telling::template::{Template, Value as Place};

const USUAL_URL: &str = "https://api.hubapi.com";

/// How a task belongs to a company.
const TASK_TO_COMPANY: u32 = 192;

/// The most characters of a text property of an event.
const PROPERTY: usize = 1_024;

/// The most characters of a task's subject and of its body.
const SUBJECT: usize = 255;
const BODY: usize = 10_000;

/// Where objects are made, and which.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub url: Url,
    token: Credential,
    object: Object,
}

#[derive(Debug, Clone)]
enum Object {
    Event {
        name: String,
        about: About,
    },
    Task {
        /// The record that it belongs to and how.
        record: Option<(Template, u32)>,
    },
}

/// The record that an event is about.
#[derive(Debug, Clone)]
enum About {
    Record(Template),
    Email(Template),
}

impl Settings {
    pub fn read(destination: &Destination) -> Result<Settings, DestinationProblem> {
        let template = |field: &'static str, text: &str| {
            Template::parse(text).map_err(|problem| DestinationProblem::field(field, problem))
        };
        let refuse = |field: &'static str, problem: &str| Err(DestinationProblem::field(field, problem));
        let object = match destination.object.unwrap_or_default() {
            HubspotObject::Event => {
                if destination.event.is_empty() {
                    return refuse(
                        "event",
                        "give the full name of the custom event, such as pe123_account_alert",
                    );
                }
                if destination.association_type.is_some() {
                    return refuse("association_type", "belongs to object = \"task\": remove it");
                }
                let about = match (destination.object_id.as_str(), destination.email.as_str()) {
                    ("", "") => About::Record(template("object_id", "{account_id}")?),
                    (record, "") => About::Record(template("object_id", record)?),
                    ("", email) => About::Email(template("email", email)?),
                    _ => return refuse("email", "give it or object_id, not both"),
                };
                Object::Event {
                    name: destination.event.clone(),
                    about,
                }
            }
            HubspotObject::Task => {
                for (field, text) in [("event", &destination.event), ("email", &destination.email)] {
                    if !text.is_empty() {
                        return refuse(field, "belongs to object = \"event\": remove it");
                    }
                }
                let record = match destination.object_id.as_str() {
                    "" => None,
                    text => Some((
                        template("object_id", text)?,
                        destination.association_type.unwrap_or(TASK_TO_COMPANY),
                    )),
                };
                Object::Task { record }
            }
        };
        Ok(Settings {
            url: destination.http_url(USUAL_URL)?,
            token: credential("token", &destination.token)?,
            object,
        })
    }

    /// The request that tells of a message; `task` is the id of the episode's task.
    pub fn render(&self, message: &Message, task: Option<&str>) -> Request {
        match &self.object {
            Object::Event { name, about } => {
                self.request(Method::POST, "events/v3/send", &event(name, about, message))
            }
            Object::Task { record } => match task.filter(|task| is_id(task)) {
                Some(task) => {
                    let change = json!({"properties": changed(message)});
                    self.request(Method::PATCH, &format!("crm/v3/objects/tasks/{task}"), &change)
                }
                None => self.request(
                    Method::POST,
                    "crm/v3/objects/tasks",
                    &new_task(record.as_ref(), message),
                ),
            },
        }
    }

    fn request(&self, method: Method, path: &str, body: &Value) -> Request {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        let mut request = Request::post(url, body);
        request.method = method;
        request.headers.insert(AUTHORIZATION, self.token.bearer());
        request
    }

    /// What HubSpot answered.
    fn judge(&self, response: &Response) -> Answer {
        let judged = |verdict, reference| Answer::Judged {
            status: Some(response.code),
            verdict,
            reference,
        };
        match &self.object {
            // An occurrence of this id is there: an earlier attempt arrived.
            Object::Event { .. } if response.code == 409 => judged(Verdict::Delivered, String::new()),
            Object::Task { .. } if response.is_success() => {
                let answer = response.json().unwrap_or_default();
                let id = answer["id"].as_str().filter(|id| is_id(id)).unwrap_or_default();
                judged(Verdict::Delivered, id.to_string())
            }
            _ => response.by_status(),
        }
    }
}

fn is_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn filled(template: &Template, message: &Message) -> String {
    template.fill("", |name| message.value(name, Language::En))
}

fn event(name: &str, about: &About, message: &Message) -> Value {
    let mut properties = Map::new();
    for property in [
        "account_id",
        "alert_id",
        "episode_id",
        "rule",
        "severity",
        "change",
        "reason",
        "owner",
        "tier",
        "stage",
        "health",
        "churn_risk",
        "mrr",
        "days_to_renewal",
        "variant",
    ] {
        let language = if property == "reason" {
            message.language
        } else {
            Language::En
        };
        let value = match message.value(property, language) {
            Place::Number(number) => json!(number),
            Place::Text(text) => json!(words::cut(&text, PROPERTY)),
            Place::Unknown => continue,
        };
        properties.insert(property.to_string(), value);
    }
    properties.insert(
        "account".to_string(),
        json!(words::cut(&message.account_name(), PROPERTY)),
    );
    properties.insert("title".to_string(), json!(words::cut(&message.title, PROPERTY)));
    if !message.drivers.is_empty() {
        let drivers = words::cut(&message.drivers.join("; "), PROPERTY);
        properties.insert("drivers".to_string(), json!(drivers));
    }
    if let Some(link) = &message.link {
        properties.insert("link".to_string(), json!(link));
    }
    let mut event = json!({
        "eventName": name,
        "occurredAt": message.timestamp,
        "uuid": uuid(&message.alert_id),
        "properties": properties,
    });
    match about {
        About::Record(template) => event["objectId"] = json!(filled(template, message)),
        About::Email(template) => event["email"] = json!(filled(template, message)),
    }
    event
}

/// An id in the form of a UUID: the 32 digits of our own ids, of any other id a digest.
fn uuid(alert_id: &str) -> String {
    let own = alert_id.rsplit('_').next().unwrap_or_default();
    let digits = if own.len() == 32 && own.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        own.to_lowercase()
    } else {
        let hash = Sha256::digest(alert_id.as_bytes());
        hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

fn new_task(record: Option<&(Template, u32)>, message: &Message) -> Value {
    let mut properties = changed(message);
    // When it is due: at once.
    properties.insert("hs_timestamp".to_string(), json!(message.timestamp));
    properties.insert("hs_task_type".to_string(), json!("TODO"));
    if let Some((_, owner)) = &message.owner
        && !owner.hubspot.is_empty()
    {
        properties.insert("hubspot_owner_id".to_string(), json!(owner.hubspot));
    }
    let mut task = json!({"properties": properties});
    if let Some((template, association)) = record {
        let id = filled(template, message);
        if is_id(&id) {
            task["associations"] = json!([{
                "to": {"id": id},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": association}],
            }]);
        }
    }
    task
}

/// What a change of an episode makes of its task.
fn changed(message: &Message) -> Map<String, Value> {
    let priority = match message.severity.as_str() {
        "critical" => "HIGH",
        "warning" => "MEDIUM",
        _ => "LOW",
    };
    let status = match message.subject {
        Subject::Ended => "COMPLETED",
        Subject::Acknowledged => "IN_PROGRESS",
        _ => "NOT_STARTED",
    };
    let mut properties = Map::new();
    properties.insert(
        "hs_task_subject".to_string(),
        json!(words::cut(&message.title, SUBJECT)),
    );
    properties.insert(
        "hs_task_body".to_string(),
        json!(words::cut(&body(message), BODY)),
    );
    properties.insert("hs_task_status".to_string(), json!(status));
    properties.insert("hs_task_priority".to_string(), json!(priority));
    properties
}

/// The notes of a task, which HubSpot shows as HTML.
fn body(message: &Message) -> String {
    let mut lines = message.lines();
    lines.extend(
        message
            .who
            .iter()
            .chain(&message.numbers)
            .map(|fact| format!("{}: {}", fact.label, fact.value)),
    );
    lines.extend(message.link.clone());
    let escaped: Vec<String> = lines.iter().map(|line| super::email::escape(line)).collect();
    escaped.join("<br>")
}

/// Makes objects in HubSpot.
#[derive(Debug)]
pub(crate) struct Hubspot {
    settings: Settings,
    manner: Manner,
    http: Http,
}

impl Hubspot {
    pub fn new(settings: Settings, manner: Manner, http: Http) -> Hubspot {
        Hubspot {
            settings,
            manner,
            http,
        }
    }

    pub fn wants_reference(&self) -> bool {
        matches!(self.settings.object, Object::Task { .. })
    }

    fn render(&self, parcel: Parcel<'_>) -> Result<Request, String> {
        Ok(self.settings.render(&self.manner.read(parcel)?, parcel.reference))
    }

    pub fn preview(&self, parcel: Parcel<'_>) -> Preview {
        Ok(vec![self.render(parcel)?.shown()])
    }

    pub async fn send(&self, parcel: Parcel<'_>) -> Result<Answer, Answer> {
        let request = self.render(parcel).map_err(Answer::Broken)?;
        let reading = match self.settings.object {
            Object::Event { .. } => Reading::Excerpt,
            // The id of the task is in it.
            Object::Task { .. } => Reading::Whole,
        };
        let response = self.http.send(request, self.http.deadline(), reading).await?;
        Ok(self.settings.judge(&response))
    }
}

#[cfg(test)]
#[path = "hubspot_tests.rs"]
mod tests;
