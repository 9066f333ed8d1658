//! Slack: by an incoming webhook, or as a bot.
//!
//! A bot keeps an episode together: what follows its first message is a reply in that message's thread,
//! and the end of it also changes the first message, so that the channel shows what is over. The first
//! message is changed before the reply is posted: changing it again does no harm, posting again does.
//! An incoming webhook cannot do either; there each change is a message of its own.

mod blocks;

use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::info;

use super::http::{Http, Reading, Request, Response};
use super::message::{Message, Subject};
use super::{Manner, Parcel, Preview};
use crate::config::{Credential, Destination, DestinationProblem, credential};
use crate::outcome::{Answer, Verdict};

const USUAL_URL: &str = "https://slack.com/api";

/// Errors after which Slack may take the same message later.
const PASSING: [&str; 7] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "team_added_to_org",
];

/// Where messages go.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Of the incoming webhook, or of the Web API.
    pub url: Url,
    pub bot: Option<Bot>,
}

/// What a bot posts with and where to.
#[derive(Debug, Clone)]
pub(crate) struct Bot {
    token: Credential,
    channel: String,
}

impl Settings {
    pub fn read(destination: &Destination) -> Result<Settings, DestinationProblem> {
        if destination.token.is_empty() {
            if !destination.channel.is_empty() {
                return Err(DestinationProblem::field(
                    "channel",
                    "an incoming webhook has its own: remove it, or give the token of a bot",
                ));
            }
            return Ok(Settings {
                url: destination.http_url("")?,
                bot: None,
            });
        }
        let is_id = |text: &str| {
            text.len() >= 9
                && text.starts_with(['C', 'G', 'D'])
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        };
        if !is_id(&destination.channel) {
            return Err(DestinationProblem::field(
                "channel",
                "give the channel's id, such as C0123456789, which its details show",
            ));
        }
        Ok(Settings {
            url: destination.http_url(USUAL_URL)?,
            bot: Some(Bot {
                token: credential("token", &destination.token)?,
                channel: destination.channel.clone(),
            }),
        })
    }

    /// The requests that tell of a message, in order; `thread` is the `ts` of the episode's first.
    pub fn render(&self, message: &Message, thread: Option<&str>) -> Vec<Request> {
        let text = blocks::fallback(message);
        let blocks = blocks::blocks(message);
        let Some(bot) = &self.bot else {
            let body = json!({
                "text": text, "blocks": blocks, "unfurl_links": false, "unfurl_media": false,
            });
            return vec![Request::post(self.url.clone(), &body)];
        };
        let mut requests = Vec::new();
        let mut post = json!({
            "channel": bot.channel, "text": text, "blocks": blocks,
            "unfurl_links": false, "unfurl_media": false,
        });
        if let Some(ts) = thread {
            post["thread_ts"] = json!(ts);
            if message.subject == Subject::Escalated {
                // What got worse is not to be missed in a thread.
                post["reply_broadcast"] = json!(true);
            }
            if message.subject == Subject::Ended {
                let update = json!({"channel": bot.channel, "ts": ts, "text": text, "blocks": blocks});
                requests.push(self.call(bot, "chat.update", &update));
            }
        }
        requests.push(self.call(bot, "chat.postMessage", &post));
        requests
    }

    fn call(&self, bot: &Bot, method: &str, body: &Value) -> Request {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{method}", self.url.path().trim_end_matches('/')));
        let mut request = Request::post(url, body);
        request.headers.insert(AUTHORIZATION, bot.token.bearer());
        request
    }
}

/// What a method of the Web API answered. `reference` says whether the message's `ts` is one to keep.
fn judge(response: &Response, keep_reference: bool) -> Answer {
    let answer = if response.is_success() {
        response.json()
    } else {
        None
    };
    let Some(answer) = answer else {
        if !response.is_success() {
            return response.by_status();
        }
        let error = format!(
            "answered {} and not as Slack does: {}",
            response.code,
            response.excerpt()
        );
        return judged(response, retry(error, response), String::new());
    };
    if answer["ok"] == true {
        let ts = answer["ts"]
            .as_str()
            .filter(|_| keep_reference)
            .unwrap_or_default();
        return judged(response, Verdict::Delivered, ts.to_string());
    }
    let error = answer["error"].as_str().unwrap_or("no error is named");
    let details: Vec<&str> = answer["response_metadata"]["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut told = format!("Slack says {error}");
    if let Some(hint) = hint(error) {
        told = format!("{told}: {hint}");
    }
    if !details.is_empty() {
        told = format!("{told} ({})", details.join("; "));
    }
    let verdict = if PASSING.contains(&error) {
        retry(told, response)
    } else {
        Verdict::Failed { error: told }
    };
    judged(response, verdict, String::new())
}

fn retry(error: String, response: &Response) -> Verdict {
    Verdict::Retry {
        error,
        not_before: response.retry_after,
        hold: response.retry_after.is_some(),
    }
}

fn judged(response: &Response, verdict: Verdict, reference: String) -> Answer {
    Answer::Judged {
        status: Some(response.code),
        verdict,
        reference,
    }
}

fn hint(error: &str) -> Option<&'static str> {
    Some(match error {
        "channel_not_found" => "no such channel, or a private one that the bot is not in",
        "not_in_channel" => "invite the bot into the channel",
        "is_archived" => "the channel is archived",
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" => {
            "give a token that is valid"
        }
        "missing_scope" => "the bot needs the scope chat:write",
        "restricted_action" | "restricted_action_read_only_channel" => {
            "the workspace does not let the bot post there"
        }
        _ => return None,
    })
}

/// Sends messages to Slack.
#[derive(Debug)]
pub(crate) struct Slack {
    settings: Settings,
    manner: Manner,
    http: Http,
}

impl Slack {
    pub fn new(settings: Settings, manner: Manner, http: Http) -> Slack {
        Slack {
            settings,
            manner,
            http,
        }
    }

    pub fn wants_reference(&self) -> bool {
        self.settings.bot.is_some()
    }

    fn render(&self, parcel: Parcel<'_>) -> Result<Vec<Request>, String> {
        let message = self.manner.read(parcel)?;
        Ok(self.settings.render(&message, parcel.reference))
    }

    pub fn preview(&self, parcel: Parcel<'_>) -> Preview {
        let mut shown: Vec<Value> = self.render(parcel)?.iter().map(Request::shown).collect();
        if self.settings.bot.is_none() {
            for request in &mut shown {
                // Whoever knows it can post there.
                request["url"] = json!(format!(
                    "https://{}/***",
                    self.settings.url.host_str().unwrap_or_default()
                ));
            }
        }
        Ok(shown)
    }

    pub async fn send(&self, parcel: Parcel<'_>) -> Result<Answer, Answer> {
        let mut requests = self.render(parcel).map_err(Answer::Broken)?;
        let deadline = self.http.deadline();
        let last = requests
            .pop()
            .ok_or(Answer::Broken("there is nothing to send".to_string()))?;
        if self.settings.bot.is_none() {
            return Ok(self
                .http
                .send(last, deadline, Reading::Excerpt)
                .await?
                .by_status());
        }
        for request in requests {
            self.prepare(request, deadline, parcel.alert_id).await?;
        }
        let response = self.http.send(last, deadline, Reading::Whole).await?;
        Ok(judge(&response, parcel.reference.is_none()))
    }

    /// Changes the first message. That it is gone, or may not be changed any more, is no reason not to
    /// reply; that Slack is not there is.
    async fn prepare(&self, request: Request, deadline: Instant, alert_id: &str) -> Result<(), Answer> {
        let response = self.http.send(request, deadline, Reading::Whole).await?;
        let answer = judge(&response, false);
        match answer.verdict() {
            Verdict::Delivered => Ok(()),
            Verdict::Failed { error } => {
                info!(
                    alert_id,
                    error, "the first message of the episode cannot be changed"
                );
                Ok(())
            }
            Verdict::Retry { .. } | Verdict::Gone => Err(answer),
        }
    }
}

#[cfg(test)]
#[path = "slack/tests.rs"]
mod tests;
