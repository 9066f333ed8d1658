//! Lines on their way to the broker, and the line up to which all have arrived.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use anyhow::Context;
use stream::{Delivered, Delivery, Error, Producer};

use super::Refused;
use crate::ndjson::Line;

/// How many records may wait for the broker's acknowledgement.
const MAX_UNACKNOWLEDGED: usize = 50_000;

/// What is being sent of one file.
pub struct Sending {
    producer: Producer,
    topic: String,
    source: Option<String>,
    /// What is not acknowledged, with the number of its line.
    waiting: VecDeque<(Delivery, u64)>,
    sent: u64,
    settled_line: u64,
    refused: Vec<Refused>,
}

impl Sending {
    /// Of a file whose first `skip` lines have arrived.
    pub fn new(producer: Producer, topic: &str, source: Option<&str>, skip: u64) -> Sending {
        Sending {
            producer,
            topic: topic.to_owned(),
            source: source.map(str::to_owned),
            waiting: VecDeque::new(),
            sent: 0,
            settled_line: skip,
            refused: Vec::new(),
        }
    }

    /// How many lines were acknowledged.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The line up to which every one was acknowledged, or cannot be sent.
    pub fn settled_line(&self) -> u64 {
        self.settled_line
    }

    /// The lines that no record can hold.
    pub fn into_refused(self) -> Vec<Refused> {
        self.refused
    }

    /// Takes a line into the producer's queue, when there is room.
    ///
    /// # Errors
    /// Names the line that could not be sent, which may be an earlier one.
    pub async fn send(&mut self, line: &Line) -> anyhow::Result<()> {
        self.settle_ready().await?;
        while self.waiting.len() >= MAX_UNACKNOWLEDGED {
            self.settle_first().await?;
        }
        if line.too_long {
            self.refuse(
                line.number,
                "has more bytes than kafka.max_record_bytes".to_owned(),
            );
            return Ok(());
        }
        // No key: ingest finds the account, and until then any partition is as good.
        let headers = self.source.as_deref().map(|source| ("source", source.as_bytes()));
        let taken = self
            .producer
            .send_waiting(&self.topic, None, &line.text, headers.as_slice())
            .await;
        match taken {
            Ok(delivery) => self.waiting.push_back((delivery, line.number)),
            Err(error @ Error::TooLarge { .. }) => self.refuse(line.number, error.to_string()),
            Err(error) => return Err(error).with_context(|| format!("line {}", line.number)),
        }
        Ok(())
    }

    /// Waits until every line has arrived.
    ///
    /// # Errors
    /// Names the line that did not.
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        while !self.waiting.is_empty() {
            self.settle_first().await?;
        }
        Ok(())
    }

    async fn settle_first(&mut self) -> anyhow::Result<()> {
        // It stays in the queue while it is waited for, so that giving up the wait loses no count.
        let Some((delivery, _)) = self.waiting.front_mut() else {
            return Ok(());
        };
        let outcome = delivery.await;
        self.count(outcome)
    }

    async fn settle_ready(&mut self) -> anyhow::Result<()> {
        poll_fn(|task| {
            while let Some((delivery, _)) = self.waiting.front_mut() {
                let Poll::Ready(outcome) = Pin::new(delivery).poll(task) else {
                    break;
                };
                if let Err(failed) = self.count(outcome) {
                    return Poll::Ready(Err(failed));
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Counts the outcome of the record that has waited longest.
    fn count(&mut self, outcome: Result<Delivered, Error>) -> anyhow::Result<()> {
        let Some((_, line)) = self.waiting.pop_front() else {
            return Ok(());
        };
        match outcome {
            Ok(_) => self.sent += 1,
            Err(error @ Error::TooLarge { .. }) => self.refuse(line, error.to_string()),
            Err(error) => {
                // What was sent after it may have arrived; it is not noted, so it is sent again.
                self.waiting.clear();
                return Err(error).with_context(|| format!("line {line}"));
            }
        }
        self.settled_line = self.settled_line.max(line);
        Ok(())
    }

    fn refuse(&mut self, line: u64, problem: String) {
        self.refused.push(Refused { line, problem });
    }
}
