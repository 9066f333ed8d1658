//! Salesforce: a platform event for each message.
//!
//! The access token is configured, or had by the OAuth client credentials flow and had anew, once an
//! attempt, when it is refused. Requests go only where the configuration says, whatever address an answer
//! names. Salesforce takes no id of ours with an event, so subscribers drop the `AlertId__c` that they
//! have had.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::http::{Http, Reading, Request, Response};
use super::message::Message;
use super::words;
use super::{Manner, Parcel, Preview};
use crate::config::{Credential, Destination, DestinationProblem, credential};
use crate::outcome::{Answer, Verdict};
use crate::telling::template::{self, Value as Place};

const USUAL_VERSION: &str = "62.0";

/// The most characters of a field of text.
const TEXT: usize = 255;

/// The fields of an event unless others are configured.
const USUAL_FIELDS: [(&str, &str); 11] = [
    ("AlertId__c", "alert_id"),
    ("EpisodeId__c", "episode_id"),
    ("AccountId__c", "account_id"),
    ("AccountName__c", "account"),
    ("Rule__c", "rule"),
    ("Change__c", "change"),
    ("Severity__c", "severity"),
    ("Reason__c", "reason"),
    ("Health__c", "health"),
    ("ChurnRisk__c", "churn_risk"),
    ("Link__c", "link"),
];

/// Names that a field may have beyond those of placeholders.
const FURTHER_NAMES: [&str; 4] = ["type", "timestamp", "title", "link"];

/// Errors after which Salesforce may take the same event later.
const PASSING: [&str; 6] = [
    "LIMIT_EXCEEDED",
    "REQUEST_LIMIT_EXCEEDED",
    "SERVER_UNAVAILABLE",
    "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE",
    "PLATFORM_EVENT_PUBLISH_FAILED",
    "UNABLE_TO_LOCK_ROW",
];

/// Where events go, and what they hold.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Of the organisation.
    pub url: Url,
    publish: Url,
    fields: Vec<(String, String)>,
    access: Access,
}

#[derive(Debug, Clone)]
enum Access {
    Token(Credential),
    Client {
        token_url: Url,
        id: Credential,
        secret: Credential,
    },
}

impl Settings {
    pub fn read(destination: &Destination) -> Result<Settings, DestinationProblem> {
        let url = destination.http_url("")?;
        let base = url.path().trim_end_matches('/').to_string();
        let event = event_name(&destination.event)?;
        let version = match destination.version.trim_start_matches('v') {
            "" => USUAL_VERSION,
            version => version,
        };
        if !version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(DestinationProblem::field(
                "version",
                "is not a version of the API, such as 62.0",
            ));
        }
        let mut publish = url.clone();
        publish.set_path(&format!("{base}/services/data/v{version}/sobjects/{event}/"));
        Ok(Settings {
            access: Access::read(destination, &url, &base)?,
            fields: fields(&destination.fields)?,
            publish,
            url,
        })
    }

    /// The event that tells of a message, without the token.
    pub fn render(&self, message: &Message) -> Request {
        let mut event = Map::new();
        for (field, name) in &self.fields {
            let value = match name.as_str() {
                "type" => Place::Text(message.event_type.clone()),
                "title" => Place::Text(message.title.clone()),
                "reason" if !message.reasons.is_empty() => {
                    Place::Text(words::one_line(&message.reasons.join(" / ")))
                }
                name => message.value(name, message.language),
            };
            let value = match value {
                Place::Number(number) => json!(number),
                Place::Text(text) => json!(words::cut(&text, TEXT)),
                Place::Unknown => continue,
            };
            event.insert(field.clone(), value);
        }
        Request::post(self.publish.clone(), &Value::Object(event))
    }
}

impl Access {
    fn read(destination: &Destination, url: &Url, base: &str) -> Result<Access, DestinationProblem> {
        let refuse = |field: &'static str, problem: &str| Err(DestinationProblem::field(field, problem));
        let is_client = !destination.client_id.is_empty() || !destination.client_secret.is_empty();
        match (destination.token.is_empty(), is_client) {
            (false, true) => refuse("token", "give it or client_id and client_secret, not both"),
            (true, false) => refuse("token", "is required, or client_id and client_secret"),
            (false, false) if !destination.token_url.is_empty() => {
                refuse("token_url", "belongs to client_id and client_secret: remove it")
            }
            (false, false) => Ok(Access::Token(credential("token", &destination.token)?)),
            (true, true) => {
                let token_url = if destination.token_url.is_empty() {
                    let mut token_url = url.clone();
                    token_url.set_path(&format!("{base}/services/oauth2/token"));
                    token_url
                } else {
                    let example =
                        "give an address such as https://acme.my.salesforce.com/services/oauth2/token";
                    destination.checked_url(&destination.token_url, &["https", "http"], example)?
                };
                Ok(Access::Client {
                    token_url,
                    id: credential("client_id", &destination.client_id)?,
                    secret: credential("client_secret", &destination.client_secret)?,
                })
            }
        }
    }
}

fn event_name(text: &str) -> Result<String, DestinationProblem> {
    let bare = text.trim_end_matches("__e");
    let is_name = bare.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && bare
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err(DestinationProblem::field(
            "event",
            "give the API name of the platform event, such as Account_Alert__e",
        ));
    }
    Ok(format!("{bare}__e"))
}

fn fields(configured: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, DestinationProblem> {
    if configured.is_empty() {
        let usual = USUAL_FIELDS.iter();
        return Ok(usual
            .map(|(field, name)| (field.to_string(), name.to_string()))
            .collect());
    }
    for (field, name) in configured {
        let is_field = field
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_field || field.is_empty() {
            let problem = format!("{field:?} is not the API name of a field, such as Account__c");
            return Err(DestinationProblem::field("fields", problem));
        }
        if !template::is_known(name) && !FURTHER_NAMES.contains(&name.as_str()) {
            let problem = format!("{field}: {}", template::unknown(name));
            return Err(DestinationProblem::field("fields", problem));
        }
    }
    Ok(configured.clone().into_iter().collect())
}

/// What Salesforce answered. `OPERATION_ENQUEUED` stands among the errors of what succeeded.
fn judge(response: &Response) -> Answer {
    let judged = |verdict, reference: &str| Answer::Judged {
        status: Some(response.code),
        verdict,
        reference: reference.to_string(),
    };
    let answer = response.json().unwrap_or_default();
    if response.is_success() && answer["success"] == true {
        // The event's UUID, by which its subscribers know it.
        let errors = answer["errors"].as_array().into_iter().flatten();
        let mut enqueued = errors.filter(|error| error["statusCode"] == "OPERATION_ENQUEUED");
        let uuid = enqueued.next().and_then(|error| error["message"].as_str());
        return judged(Verdict::Delivered, uuid.unwrap_or_default());
    }
    let (codes, told) = errors(&answer);
    let is_passing = codes.iter().any(|code| PASSING.contains(&code.as_str()));
    let error = if told.is_empty() {
        format!("answered {}: {}", response.code, response.excerpt())
    } else {
        format!("answered {}: {}", response.code, told.join("; "))
    };
    if is_passing || (response.is_success() && codes.is_empty()) {
        return judged(
            Verdict::Retry {
                error,
                not_before: response.retry_after,
                hold: response.retry_after.is_some(),
            },
            "",
        );
    }
    if response.is_success() {
        return judged(Verdict::Failed { error }, "");
    }
    response.by_status()
}

/// The codes of the errors and what is said about them, of either form: the result of a publication, or
/// the list that a refused request is answered with.
fn errors(answer: &Value) -> (Vec<String>, Vec<String>) {
    let list = answer["errors"].as_array().or_else(|| answer.as_array());
    let mut codes = Vec::new();
    let mut told = Vec::new();
    for error in list.into_iter().flatten() {
        let code = error["statusCode"]
            .as_str()
            .or_else(|| error["errorCode"].as_str());
        let code = code.unwrap_or_default();
        codes.push(code.to_string());
        told.push(format!(
            "{code}: {}",
            error["message"].as_str().unwrap_or_default()
        ));
    }
    (codes, told)
}

/// Publishes events in Salesforce.
#[derive(Debug)]
pub(crate) struct Salesforce {
    settings: Settings,
    manner: Manner,
    http: Http,
    /// The token that was given out last.
    given: Mutex<Option<Credential>>,
}

impl Salesforce {
    pub fn new(settings: Settings, manner: Manner, http: Http) -> Salesforce {
        Salesforce {
            settings,
            manner,
            http,
            given: Mutex::new(None),
        }
    }

    pub fn preview(&self, parcel: Parcel<'_>) -> Preview {
        let mut request = self.settings.render(&self.manner.read(parcel)?);
        let mut hidden = HeaderValue::from_static("Bearer ***");
        hidden.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, hidden);
        Ok(vec![request.shown()])
    }

    pub async fn send(&self, parcel: Parcel<'_>) -> Result<Answer, Answer> {
        let message = self.manner.read(parcel).map_err(Answer::Broken)?;
        let deadline = self.http.deadline();
        let token = self.token(None, deadline).await?;
        let response = self.publish(&message, &token, deadline).await?;
        let is_refused = response.code == 401 && matches!(self.settings.access, Access::Client { .. });
        if !is_refused {
            return Ok(judge(&response));
        }
        let fresh = self.token(Some(&token), deadline).await?;
        Ok(judge(&self.publish(&message, &fresh, deadline).await?))
    }

    async fn publish(
        &self,
        message: &Message,
        token: &Credential,
        deadline: Instant,
    ) -> Result<Response, Answer> {
        let mut request = self.settings.render(message);
        request.headers.insert(AUTHORIZATION, token.bearer());
        self.http.send(request, deadline, Reading::Whole).await
    }

    /// The token to send with; another one than `refused`. Of those that ask at one time one goes.
    async fn token(&self, refused: Option<&Credential>, deadline: Instant) -> Result<Credential, Answer> {
        let (token_url, id, secret) = match &self.settings.access {
            Access::Token(token) => return Ok(token.clone()),
            Access::Client {
                token_url,
                id,
                secret,
            } => (token_url, id, secret),
        };
        let mut given = self.given.lock().await;
        if let Some(token) = given.as_ref().filter(|token| Some(*token) != refused) {
            return Ok(token.clone());
        }
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            utf8_percent_encode(id.as_str(), NON_ALPHANUMERIC),
            utf8_percent_encode(secret.as_str(), NON_ALPHANUMERIC),
        );
        let mut headers = HeaderMap::new();
        let encoded = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, encoded);
        let request = Request {
            method: Method::POST,
            url: token_url.clone(),
            headers,
            body: form,
        };
        let response = self.http.send(request, deadline, Reading::Whole).await?;
        let answer = response.json().unwrap_or_default();
        let token = answer["access_token"].as_str().and_then(Credential::given_out);
        match token.filter(|_| response.is_success()) {
            Some(token) => {
                *given = Some(token.clone());
                Ok(token)
            }
            None => Err(no_token(&response, &answer)),
        }
    }
}

/// Why there is no token. What came back is quoted only where it says an error: it may hold a token.
fn no_token(response: &Response, answer: &Value) -> Answer {
    let said = answer["error"]
        .as_str()
        .unwrap_or("no access_token in the answer");
    let about = answer["error_description"].as_str().unwrap_or_default();
    let error = words::one_line(&format!("no token: answered {}: {said} {about}", response.code));
    let status = Answer::Status {
        code: response.code,
        retry_after: response.retry_after,
        excerpt: String::new(),
    };
    let verdict = match status.verdict() {
        Verdict::Retry { not_before, hold, .. } => Verdict::Retry {
            error,
            not_before,
            hold,
        },
        _ => Verdict::Failed { error },
    };
    Answer::Judged {
        status: Some(response.code),
        verdict,
        reference: String::new(),
    }
}

#[cfg(test)]
#[path = "salesforce_tests.rs"]
mod tests;
