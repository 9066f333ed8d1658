//! Sends replayed records and, behind each that the broker has acknowledged, the note about it.

use std::collections::VecDeque;

use stream::{Delivered, Delivery, Error, Outgoing, Producer, topics};
use tracing::warn;

use super::Address;
use super::entry::REPLAYED_OF;
use super::judge::{Refusal, Replay};
use crate::config::Config;

pub struct Sending {
    producer: Producer,
    /// Not acknowledged, in the order in which they were sent.
    waiting: VecDeque<Waiting>,
    max_waiting: usize,
    unnoted: u64,
}

struct Waiting {
    address: Address,
    delivery: Delivery,
    /// What was sent; nothing when it is a note.
    replay: Option<Box<Replay>>,
}

/// What became of a record that was sent.
pub enum Settled {
    Replayed(Address, Box<Replay>, Delivered),
    Left(Address, Refusal),
}

impl Sending {
    pub fn new(config: &Config) -> anyhow::Result<Sending> {
        Ok(Sending {
            producer: Producer::new(&config.kafka)?,
            waiting: VecDeque::new(),
            max_waiting: config.ingest.max_in_flight.max(1),
            unnoted: 0,
        })
    }

    /// Takes a record into the queue.
    ///
    /// # Errors
    /// When nothing more can be sent. One record that cannot is settled as left.
    pub async fn send(&mut self, address: Address, mut replay: Replay) -> anyhow::Result<Option<Settled>> {
        let headers: Vec<(&str, &[u8])> = replay
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let outgoing = Outgoing {
            topic: &replay.topic,
            timestamp_ms: replay.received_at_ms,
            key: replay.key.as_deref(),
            payload: &replay.value,
            headers: &headers,
            ..Outgoing::default()
        };
        match self.producer.send_record_waiting(&outgoing).await {
            Ok(delivery) => {
                // The producer has a copy.
                replay.value = Vec::new();
                self.waiting.push_back(Waiting {
                    address,
                    delivery,
                    replay: Some(Box::new(replay)),
                });
                Ok(None)
            }
            Err(error @ Error::ProducerFatal { .. }) => Err(error.into()),
            Err(error) => Ok(Some(Settled::Left(address, refusal(&error)))),
        }
    }

    /// Whether the oldest must be waited for before more is sent.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= self.max_waiting
    }

    /// Waits for the oldest; nothing when there is none any more.
    pub async fn settle(&mut self) -> Option<Settled> {
        loop {
            let Waiting {
                address,
                delivery,
                replay,
            } = self.waiting.pop_front()?;
            match (delivery.await, replay) {
                (Ok(delivered), Some(replay)) => {
                    self.note(address, &replay.topic, delivered);
                    return Some(Settled::Replayed(address, replay, delivered));
                }
                (Err(error), Some(_)) => return Some(Settled::Left(address, refusal(&error))),
                (Ok(_), None) => {}
                (Err(error), None) => self.miss_note(address, &error),
            }
        }
    }

    /// Sends the note that a record was replayed, into the partition of that record.
    fn note(&mut self, of: Address, topic: &str, (partition, offset): Delivered) {
        let headers = [
            (REPLAYED_OF, of.to_string()),
            ("replayed_topic", topic.to_string()),
            ("replayed_partition", partition.to_string()),
            ("replayed_offset", offset.to_string()),
        ];
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        let sent = self.producer.send_record(&Outgoing {
            topic: topics::REJECTED,
            partition: Some(of.partition),
            headers: &headers,
            ..Outgoing::default()
        });
        match sent {
            Ok(delivery) => self.waiting.push_back(Waiting {
                address: of,
                delivery,
                replay: None,
            }),
            Err(error) => self.miss_note(of, &error),
        }
    }

    fn miss_note(&mut self, of: Address, error: &Error) {
        warn!(%of, %error, "replayed, but the note about it could not be written");
        self.unnoted += 1;
    }

    /// How many were replayed without a note about it: a filter will find them again.
    pub fn unnoted(&self) -> u64 {
        self.unnoted
    }
}

fn refusal(error: &Error) -> Refusal {
    let reason = if matches!(error, Error::TooLarge { .. }) {
        "too_large"
    } else {
        "not_acknowledged"
    };
    Refusal::new(reason, error.to_string())
}
