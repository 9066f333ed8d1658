//! Lines on their way to the HTTP collector: batches of NDJSON, one after the other.
//!
//! A batch has arrived when it is answered with 2xx, or with a list of its events of which none was
//! right. Until then it is posted again, so that a line can come twice, which its event_id makes good.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tracing::warn;

use super::Refused;
use crate::ndjson::Line;

/// Lines, and their bytes, of one request.
const BATCH_LINES: usize = 1_000;
const BATCH_BYTES: usize = 400_000;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The pause when the server does not say how long to wait, and the longest one that it may ask for.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How often a server that does not answer is tried again.
const TRIES: u32 = 60;
/// What an error repeats of an answer.
const QUOTED: usize = 300;

/// What is being posted of one file.
pub struct Posting {
    client: Client,
    url: String,
    key: Option<String>,
    batch: Vec<u8>,
    /// The numbers of the lines in the batch.
    numbers: Vec<u64>,
    sent: u64,
    settled_line: u64,
    refused: Vec<Refused>,
}

/// What the collector says of the events of a request.
#[derive(Deserialize)]
struct Answer {
    rejected: u64,
    #[serde(default)]
    errors: Vec<ItemError>,
}

/// One event that was not taken; its place in the request counts from 0.
#[derive(Deserialize)]
struct ItemError {
    index: usize,
    reason: String,
    #[serde(default)]
    detail: String,
}

impl Posting {
    /// To the collector at `url`, of a file whose first `skip` lines have arrived.
    pub fn new(url: &str, key: Option<&str>, skip: u64) -> anyhow::Result<Posting> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .build()?;
        Ok(Posting {
            client,
            url: format!("{}/v1/events", url.trim_end_matches('/')),
            key: key.map(str::to_owned),
            batch: Vec::new(),
            numbers: Vec::new(),
            sent: 0,
            settled_line: skip,
            refused: Vec::new(),
        })
    }

    /// Lines that were answered for, the rejected ones too.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The line up to which every one was answered for.
    pub fn settled_line(&self) -> u64 {
        self.settled_line
    }

    /// The lines that were not taken.
    pub fn into_refused(self) -> Vec<Refused> {
        self.refused
    }

    /// Adds a line to the batch, and posts it when it is full.
    ///
    /// # Errors
    /// Names the lines that could not be posted.
    pub async fn send(&mut self, line: &Line) -> anyhow::Result<()> {
        if line.too_long {
            let problem = "has more bytes than kafka.max_record_bytes".to_owned();
            self.refused.push(Refused {
                line: line.number,
                problem,
            });
            return Ok(());
        }
        self.batch.extend_from_slice(&line.text);
        self.batch.push(b'\n');
        self.numbers.push(line.number);
        if self.numbers.len() >= BATCH_LINES || self.batch.len() >= BATCH_BYTES {
            self.settle().await?;
        }
        Ok(())
    }

    /// Posts what is left.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        let (Some(&first), Some(&last)) = (self.numbers.first(), self.numbers.last()) else {
            return Ok(());
        };
        let answer = self
            .post()
            .await
            .with_context(|| format!("lines {first} to {last}"))?;
        let listed = answer.errors.len() as u64;
        for error in answer.errors {
            let line = self.numbers.get(error.index).copied().unwrap_or(first);
            let problem = format!("{}: {}", error.reason, error.detail);
            self.refused.push(Refused { line, problem });
        }
        if answer.rejected > listed {
            let problem = format!(
                "and {} more up to line {last} were rejected",
                answer.rejected - listed
            );
            self.refused.push(Refused { line: first, problem });
        }
        self.sent += self.numbers.len() as u64;
        self.settled_line = last;
        self.numbers.clear();
        self.batch.clear();
        Ok(())
    }

    async fn post(&self) -> anyhow::Result<Answer> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&self.batch)?;
        let body = gzip.finish()?;
        let mut failures = 0;
        loop {
            let mut request = self
                .client
                .post(&self.url)
                .header(CONTENT_TYPE, "application/x-ndjson")
                .header(CONTENT_ENCODING, "gzip")
                .body(body.clone());
            if let Some(key) = &self.key {
                request = request.basic_auth(key, Some(""));
            }
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => {
                    failures += 1;
                    if failures >= TRIES {
                        return Err(error).with_context(|| format!("{} does not answer", self.url));
                    }
                    warn!(url = self.url, %error, "no answer; posting again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let status = response.status();
            if matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ) {
                let pause = pause(&response);
                warn!(url = self.url, %status, seconds = pause.as_secs(), "the server asks to wait");
                tokio::time::sleep(pause).await;
                continue;
            }
            let text = response.text().await?;
            let answer = serde_json::from_str::<Answer>(&text);
            match answer {
                Ok(answer) if status.is_success() => return Ok(answer),
                Ok(answer) if status == StatusCode::BAD_REQUEST && answer.rejected > 0 => return Ok(answer),
                Err(error) if status.is_success() => {
                    return Err(error).with_context(|| format!("{} is no collector of events", self.url));
                }
                _ => {
                    let beginning: String = text.chars().take(QUOTED).collect();
                    bail!("{} answered {status}: {}", self.url, beginning.escape_debug());
                }
            }
        }
    }
}

/// How long the server asks to wait.
fn pause(response: &Response) -> Duration {
    let asked = response.headers().get(RETRY_AFTER);
    let seconds = asked
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse().ok());
    seconds.map_or(PAUSE, Duration::from_secs).min(LONGEST_PAUSE)
}
