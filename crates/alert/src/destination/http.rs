//! The HTTP client of one destination: the only way out for those that are spoken to by HTTP.
//!
//! No redirect is followed and no proxy of the environment is used. A connection is opened only to an
//! address that the destination may have. An attempt, of however many requests, has one deadline; of an
//! answer's body no more than [`READ_LIMIT`] bytes are read. Where the status alone decides nobody waits
//! longer than [`READ_PATIENCE`] for the body.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Proxy, Url};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::Guard;
use crate::clock::Clock;
use crate::config::Endpoint;
use crate::outcome::{self, Answer};

/// The most bytes of an answer that are read.
pub(crate) const READ_LIMIT: usize = 64 * 1024;

/// How long the body of an answer is waited for once its status has decided.
pub(crate) const READ_PATIENCE: Duration = Duration::from_secs(1);

/// The most characters of an answer that are recorded.
pub(crate) const EXCERPT: usize = 200;

/// How idle connections are kept: long enough to serve a burst, short enough to notice a moved name.
const IDLE: Duration = Duration::from_secs(30);

/// A request to make.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: String,
}

impl Request {
    /// A POST of JSON.
    pub fn post(url: Url, body: &Value) -> Request {
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(CONTENT_TYPE, json);
        Request {
            method: Method::POST,
            url,
            headers,
            body: body.to_string(),
        }
    }

    /// The request for people to see: headers that are sensitive are masked.
    pub fn shown(&self) -> Value {
        let headers: serde_json::Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| {
                let shown = if value.is_sensitive() {
                    "***".into()
                } else {
                    String::from_utf8_lossy(value.as_bytes()).into_owned()
                };
                (name.as_str().to_string(), Value::String(shown))
            })
            .collect();
        let body: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|_| Value::String(self.body.clone()));
        json!({"method": self.method.as_str(), "url": self.url.as_str(), "headers": headers, "body": body})
    }
}

/// What is read of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The status decides. What follows is read so that the connection can serve again, and its
    /// beginning for those who read the error.
    Excerpt,
    /// The body decides, so it has to be there before the deadline.
    Whole,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub code: u16,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The beginning of the body in one line.
    pub fn excerpt(&self) -> String {
        outcome::excerpt(&self.body, EXCERPT)
    }

    /// The body, when it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Judged by the status alone.
    pub fn by_status(&self) -> Answer {
        Answer::Status {
            code: self.code,
            retry_after: self.retry_after,
            excerpt: self.excerpt(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    timeout: Duration,
    headers: HeaderMap,
    retry_after_cap: Duration,
    clock: Clock,
}

impl Http {
    pub fn new(
        endpoint: &Endpoint,
        guard: Guard,
        retry_after_cap: Duration,
        clock: Clock,
    ) -> Result<Http, reqwest::Error> {
        let mut builder = Client::builder()
            .user_agent(concat!("mimamori/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(endpoint.timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(endpoint.concurrency)
            .tcp_nodelay(true);
        match &endpoint.proxy {
            // It looks names up itself; that its address may be private was asked for with it.
            Some(proxy) => builder = builder.proxy(Proxy::all(proxy.as_str())?),
            None => builder = builder.dns_resolver(guard),
        }
        Ok(Http {
            client: builder.build()?,
            timeout: endpoint.timeout,
            headers: endpoint.headers.clone(),
            retry_after_cap,
            clock,
        })
    }

    /// The time now, milliseconds.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// When an attempt that begins now must have ended.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Makes a request of an attempt.
    ///
    /// # Errors
    /// The [`Answer`] that says that none came.
    pub async fn send(
        &self,
        request: Request,
        deadline: Instant,
        reading: Reading,
    ) -> Result<Response, Answer> {
        let mut headers = self.headers.clone();
        headers.extend(request.headers);
        let sending = self
            .client
            .request(request.method, request.url)
            .headers(headers)
            .body(request.body)
            .send();
        let response = match timeout_at(deadline, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Answer::Broken(reason(error))),
            Err(_) => return Err(self.timed_out()),
        };
        let code = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| outcome::retry_after(value, self.clock.now(), self.retry_after_cap));
        let mut body = Vec::new();
        let read = read(response, &mut body);
        match reading {
            Reading::Excerpt => {
                // The status has decided already.
                let _in_time = timeout(READ_PATIENCE, read).await;
            }
            Reading::Whole => match timeout_at(deadline, read).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(Answer::Broken(reason(error))),
                Err(_) => return Err(self.timed_out()),
            },
        }
        Ok(Response {
            code,
            retry_after,
            body,
        })
    }

    fn timed_out(&self) -> Answer {
        Answer::TimedOut(u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX))
    }
}

async fn read(mut response: reqwest::Response, body: &mut Vec<u8>) -> Result<(), reqwest::Error> {
    while body.len() < READ_LIMIT
        && let Some(chunk) = response.chunk().await?
    {
        let room = READ_LIMIT - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(())
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
