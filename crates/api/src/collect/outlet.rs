//! What becomes of an item: an accepted event, or the rejected original with its reason, on its way to
//! the broker.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use event::{Event, Rejection, wire};
use stream::{Delivery, Error, KafkaConfig, Producer, topics};
use tracing::warn;

use super::Sink;

/// What is kept of an original that is too large to be an event.
const KEPT_BYTES: usize = 256 * 1024;
/// Prefix of what the original came with, so that it can be replayed as it was.
const ORIGINAL_HEADER: &str = "original.";
/// Headers of an original that have more bytes than this are not kept.
const KEPT_HEADER_BYTES: usize = 16 * 1024;

/// An item as it came.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) bytes: &'a [u8],
    /// Of these headers: those of CloudEvents and the content type, where they say how to read it.
    pub(super) headers: &'a [(&'a str, &'a [u8])],
    /// How many bytes it had, when `bytes` are only its beginning.
    pub(super) cut_from: Option<usize>,
}

/// Sends to the broker. A producer that is broken for good is replaced.
pub(crate) struct Outlet {
    kafka: KafkaConfig,
    /// `None`: everything is acknowledged at once and kept nowhere.
    producer: Option<Mutex<Producer>>,
}

/// Resolves when a record is acknowledged, or has failed.
pub(crate) enum Acknowledgement {
    Broker(Delivery),
    AtOnce,
}

impl Acknowledgement {
    /// What became of the record, if that is known by now.
    pub(super) fn given(&mut self) -> Option<Result<(), Error>> {
        match Pin::new(self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }
}

impl Future for Acknowledgement {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Acknowledgement::Broker(delivery) => Pin::new(delivery).poll(task).map_ok(drop),
            Acknowledgement::AtOnce => Poll::Ready(Ok(())),
        }
    }
}

impl Outlet {
    pub(crate) fn new(kafka: KafkaConfig, sink: Sink) -> Result<Outlet, Error> {
        let producer = match sink {
            Sink::Broker => Some(Mutex::new(Producer::new(&kafka)?)),
            Sink::Nowhere => None,
        };
        Ok(Outlet { kafka, producer })
    }

    pub(super) fn kafka(&self) -> &KafkaConfig {
        &self.kafka
    }

    /// Looks at an error: after one that ends the producer there is a new one.
    pub(crate) fn note(&self, error: &Error) {
        if let (Error::ProducerFatal { .. }, Some(producer)) = (error, &self.producer) {
            warn!(%error, "making a new producer");
            match Producer::new(&self.kafka) {
                Ok(new) => *producer.lock().unwrap_or_else(PoisonError::into_inner) = new,
                Err(error) => warn!(%error, "cannot make a new producer"),
            }
        }
    }

    fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: &[u8],
        headers: &[(&str, &[u8])],
    ) -> Result<Acknowledgement, Error> {
        let Some(producer) = &self.producer else {
            return Ok(Acknowledgement::AtOnce);
        };
        let producer = producer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let delivery = producer.send(topic, key, payload, headers)?;
        Ok(Acknowledgement::Broker(delivery))
    }

    pub(crate) fn accept(&self, event: &Event, encoded: &mut Vec<u8>) -> Result<Acknowledgement, Error> {
        encoded.clear();
        wire::encode(event, encoded);
        self.send(topics::EVENTS, Some(event.account_id.as_bytes()), encoded, &[])
    }

    /// Sends what may be kept of an item, nothing when none of it may.
    pub(super) fn reject(
        &self,
        item: Item<'_>,
        kept: Option<&[u8]>,
        rejection: &Rejection,
        source: &str,
    ) -> Result<Acknowledgement, Error> {
        let mut headers: Vec<(&str, &[u8])> = vec![
            ("reason", rejection.reason.as_str().as_bytes()),
            ("detail", rejection.detail.as_bytes()),
            ("source", b"http"),
            ("original.source", source.as_bytes()),
        ];
        let header_bytes: usize = item
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let originals: Vec<(String, &[u8])>;
        if header_bytes <= KEPT_HEADER_BYTES {
            originals = item
                .headers
                .iter()
                .map(|(name, value)| (format!("{ORIGINAL_HEADER}{name}"), *value))
                .collect();
            headers.extend(originals.iter().map(|(name, value)| (name.as_str(), *value)));
        }
        let all = item.cut_from.unwrap_or(item.bytes.len());
        let length = all.to_string();
        let is_whole = kept.is_some_and(|kept| kept.len() <= KEPT_BYTES) && item.cut_from.is_none();
        let kept = kept.unwrap_or_default();
        let kept = &kept[..kept.len().min(KEPT_BYTES)];
        if !is_whole {
            headers.push(("original_bytes", length.as_bytes()));
        }
        self.send(topics::REJECTED, None, kept, &headers)
    }
}
