//! Records: from librdkafka into batches, from batches into the owner's queue, and what happens
//! when that queue is full.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::sync::mpsc::error::TrySendError;
use tracing::{debug, warn};

use super::super::ConsumerEvent;
use super::super::shared::Stamped;
use super::{BURST, Batch, IDLE, PATIENCE, Worker};
use crate::error::Error;
use crate::record::copy;

impl Worker {
    pub(super) fn poll(&mut self) {
        if self.full_since.is_some() && self.paused.is_empty() && self.is_batch_full() {
            // For the moment before we pause nothing more can be taken in.
            std::thread::park_timeout(Duration::from_millis(1));
            return;
        }
        let mut wait = match self.batch.since {
            Some(since) => self.options.batch_wait.saturating_sub(since.elapsed()).min(IDLE),
            None => IDLE,
        };
        if self.full_since.is_some() {
            // The batch is overdue and cannot go out: without a pause this would turn at full speed.
            wait = Duration::from_millis(2);
        }
        let consumer = Arc::clone(&self.consumer);
        for _ in 0..BURST {
            match consumer.poll(wait) {
                Some(Ok(message)) => self.take(&message),
                Some(Err(error)) => self.consumer_error(&error),
                None => break,
            }
            if self.is_batch_full() || !consumer.context().is_empty() {
                break;
            }
            wait = Duration::ZERO;
        }
    }

    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) {
        let (partition, offset) = (message.partition(), message.offset());
        // After a pause librdkafka may hand over again what it handed over already.
        let next = self.next.entry(partition).or_insert(offset);
        if offset < *next {
            return;
        }
        *next = offset + 1;
        let record = copy(&self.shared.topic, message);
        self.batch.bytes += record.payload.len() + record.key.as_ref().map_or(0, Vec::len);
        self.batch.since.get_or_insert_with(Instant::now);
        self.batch.records.push(record);
    }

    pub(super) fn is_batch_full(&self) -> bool {
        self.batch.records.len() >= self.options.batch_records.max(1)
            || self.batch.bytes >= self.options.batch_bytes
    }

    pub(super) fn close_batch_if_due(&mut self) {
        let waited = self
            .batch
            .since
            .is_some_and(|since| since.elapsed() >= self.options.batch_wait);
        if (waited || self.is_batch_full()) && self.outbox.is_empty() {
            self.close_batch();
        }
    }

    pub(super) fn close_batch(&mut self) {
        let Batch { records, .. } = std::mem::take(&mut self.batch);
        if records.is_empty() {
            return;
        }
        let mut positions: BTreeMap<i32, i64> = BTreeMap::new();
        for record in &records {
            positions.insert(record.partition, record.offset + 1);
        }
        let event = ConsumerEvent::Records(records);
        self.outbox.push_back(Stamped {
            rebalance: self.rebalance,
            positions: positions.into_iter().collect(),
            event,
        });
    }

    /// Puts an event behind the records that came before it.
    pub(super) fn tell(&mut self, event: ConsumerEvent) {
        self.close_batch();
        self.outbox.push_back(Stamped {
            rebalance: self.rebalance,
            positions: Vec::new(),
            event,
        });
        self.deliver();
    }

    pub(super) fn deliver(&mut self) {
        while let Some(stamped) = self.outbox.pop_front() {
            let records = match &stamped.event {
                ConsumerEvent::Records(records) if records.is_empty() => continue,
                ConsumerEvent::Records(records) => records.len(),
                _ => 0,
            };
            match self.events.try_send(stamped) {
                Ok(()) => self.metrics.records.inc_by(records as u64),
                Err(TrySendError::Full(stamped)) => {
                    self.outbox.push_front(stamped);
                    break;
                }
                // The owner is gone; the loop ends.
                Err(TrySendError::Closed(_)) => {
                    self.outbox.clear();
                    break;
                }
            }
        }
    }

    /// Pauses when the owner stays behind, goes on when it has worked off half of the queue.
    pub(super) fn balance(&mut self) {
        if self.outbox.is_empty() {
            self.full_since = None;
        } else {
            self.full_since.get_or_insert_with(Instant::now);
        }
        if self.paused.is_empty() {
            let patience_ended = self.full_since.is_some_and(|since| since.elapsed() >= PATIENCE);
            if patience_ended && self.is_batch_full() {
                let started = self.shared.started();
                debug!(topic = %self.shared.topic, "the worker is behind; pausing");
                self.pause(&started);
            }
        } else if self.outbox.is_empty() && self.events.capacity() * 2 >= self.events.max_capacity() {
            debug!(topic = %self.shared.topic, "going on");
            let paused: Vec<i32> = std::mem::take(&mut self.paused).into_iter().collect();
            if let Err(error) = self.resume(&paused) {
                self.fail(Error::Client(format!(
                    "cannot resume partitions {paused:?}: {error}"
                )));
            }
        }
        let paused = !self.paused.is_empty();
        self.shared.set_paused(paused);
        self.metrics.paused.set(i64::from(paused));
    }

    pub(super) fn pause(&mut self, partitions: &[i32]) {
        let paused = self
            .list(partitions, Offset::Invalid)
            .and_then(|list| self.consumer.pause(&list));
        match paused {
            Ok(()) => self.paused.extend(partitions),
            Err(error) => warn!(topic = %self.shared.topic, %error, "cannot pause"),
        }
    }

    /// Partitions that come while the others are paused.
    pub(super) fn pause_too(&mut self, partitions: &[i32]) {
        if !self.paused.is_empty() {
            self.pause(partitions);
        }
    }

    /// Only what we paused: an idle resume would make librdkafka fetch again from an older position.
    pub(super) fn resume(&self, partitions: &[i32]) -> KafkaResult<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.consumer.resume(&self.list(partitions, Offset::Invalid)?)
    }
}
