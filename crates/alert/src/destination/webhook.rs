//! Standard Webhooks: one signed POST of the canonical body, whose bytes are the same on every attempt.
//!
//! While a secret is changed over both sign, the newer first: a receiver that knows either accepts.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use super::http::{Http, Reading, Request};
use super::{Parcel, Preview};
use crate::config::{Destination, DestinationProblem, resolve};
use crate::outcome::Answer;
use crate::signature::Secret;

/// Where webhooks go and what signs them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub url: Url,
    pub secret: Secret,
    pub previous: Option<Secret>,
}

impl Settings {
    pub fn read(destination: &Destination) -> Result<Settings, DestinationProblem> {
        let secret = |field: &'static str, text: &str| {
            Secret::parse(&resolve(field, text)?)
                .map_err(|problem| DestinationProblem::Secret { field, problem })
        };
        let previous = Some(&destination.previous_secret).filter(|text| !text.is_empty());
        Ok(Settings {
            secret: secret("secret", &destination.secret)?,
            previous: previous.map(|text| secret("previous_secret", text)).transpose()?,
            url: destination.http_url("")?,
        })
    }

    /// The request at this time, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// When the id cannot be sent.
    pub fn render(&self, alert_id: &str, body: &str, timestamp: i64) -> Result<Request, String> {
        let mut signature = self.secret.sign(alert_id, timestamp, body.as_bytes());
        if let Some(previous) = &self.previous {
            signature.push(' ');
            signature.push_str(&previous.sign(alert_id, timestamp, body.as_bytes()));
        }
        let refused = |_| format!("the id {alert_id:?} cannot be sent in a header");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("webhook-id", HeaderValue::from_str(alert_id).map_err(refused)?);
        headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
        headers.insert(
            "webhook-signature",
            HeaderValue::from_str(&signature).map_err(refused)?,
        );
        Ok(Request {
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body: body.to_string(),
        })
    }
}

/// Sends webhooks.
#[derive(Debug)]
pub(crate) struct Webhook {
    settings: Settings,
    http: Http,
}

impl Webhook {
    pub fn new(settings: Settings, http: Http) -> Webhook {
        Webhook { settings, http }
    }

    fn render(&self, parcel: Parcel<'_>) -> Result<Request, String> {
        let timestamp = self.http.now().div_euclid(1_000);
        self.settings.render(parcel.alert_id, parcel.body, timestamp)
    }

    pub fn preview(&self, parcel: Parcel<'_>) -> Preview {
        self.render(parcel).map(|request| vec![request.shown()])
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
#[path = "webhook_tests.rs"]
mod tests;
