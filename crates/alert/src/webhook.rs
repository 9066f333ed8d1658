//! Makes the requests: one signed POST for each attempt.
//!
//! No redirect is followed and no proxy of the environment is used. A connection is opened only to an
//! address that the destination may have. An attempt, from the lookup to the status line, has one
//! deadline; of the answer's body no more than [`READ_LIMIT`] bytes are read, and nobody waits for it
//! longer than [`READ_PATIENCE`].

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, Response};
use tokio::time::timeout;

use crate::address::PublicOnly;
use crate::clock::Clock;
use crate::config::Endpoint;
use crate::outcome::{self, Answer};

/// The most bytes of an answer that are read.
const READ_LIMIT: usize = 64 * 1024;

/// How long the body of an answer is waited for once its status is known.
const READ_PATIENCE: Duration = Duration::from_secs(1);

/// The most characters of an answer that are recorded.
const EXCERPT: usize = 200;

/// How idle connections are kept: long enough to serve a burst, short enough to notice a moved name.
const IDLE: Duration = Duration::from_secs(30);

/// Something that makes one attempt to deliver a body.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Sends `body` under the id of its alert and says what came back. Always ends, within a deadline.
    fn send(&self, alert_id: &str, body: &str) -> impl Future<Output = Answer> + Send;
}

/// A destination that takes Standard Webhooks.
pub(crate) struct Webhook {
    client: Client,
    endpoint: Endpoint,
    retry_after_cap: Duration,
    clock: Clock,
}

impl Webhook {
    pub fn new(
        endpoint: Endpoint,
        retry_after_cap: Duration,
        clock: Clock,
    ) -> Result<Webhook, reqwest::Error> {
        let mut builder = Client::builder()
            .user_agent(concat!("mimamori/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(endpoint.timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(endpoint.concurrency)
            .tcp_nodelay(true);
        if let Some(proxy) = &endpoint.proxy {
            builder = builder.proxy(Proxy::all(proxy.as_str())?);
        }
        if !endpoint.allow_private_addresses {
            builder = builder.dns_resolver(PublicOnly);
        }
        Ok(Webhook {
            client: builder.build()?,
            endpoint,
            retry_after_cap,
            clock,
        })
    }

    fn headers(&self, alert_id: &str, body: &str) -> Option<HeaderMap> {
        let timestamp = self.clock.now().div_euclid(1_000);
        let signature = self.endpoint.secret.sign(alert_id, timestamp, body.as_bytes());
        let mut headers = self.endpoint.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("webhook-id", HeaderValue::from_str(alert_id).ok()?);
        headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
        headers.insert("webhook-signature", HeaderValue::from_str(&signature).ok()?);
        Some(headers)
    }
}

impl Transport for Webhook {
    async fn send(&self, alert_id: &str, body: &str) -> Answer {
        let Some(headers) = self.headers(alert_id, body) else {
            return Answer::Broken(format!("the id {alert_id:?} cannot be sent in a header"));
        };
        let request = self
            .client
            .post(self.endpoint.url.clone())
            .headers(headers)
            .body(body.to_string())
            .send();
        match timeout(self.endpoint.timeout, request).await {
            Ok(Ok(response)) => self.read(response).await,
            Ok(Err(error)) => Answer::Broken(reason(error)),
            Err(_) => Answer::TimedOut(u64::try_from(self.endpoint.timeout.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl Webhook {
    async fn read(&self, mut response: Response) -> Answer {
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| outcome::retry_after(value, self.clock.now(), self.retry_after_cap));
        let mut body = Vec::new();
        // The status has decided already. What follows is read so that the connection can serve again,
        // and its beginning for those who read the error.
        let read = async {
            while body.len() < READ_LIMIT
                && let Ok(Some(chunk)) = response.chunk().await
            {
                let room = READ_LIMIT - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
        };
        let _in_time = timeout(READ_PATIENCE, read).await;
        Answer::Status {
            code: response.status().as_u16(),
            retry_after,
            excerpt: outcome::excerpt(&body, EXCERPT),
        }
    }
}

/// The innermost cause, which is what people can act on. The address is left out: it may hold a key.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
