//! The producer: acknowledged by all replicas (`acks=all`), idempotent, keys to partitions as
//! Kafka's own clients do it (`murmur2_random`).
//!
//! A record counts as delivered when its [`Delivery`] says so, never before.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use tracing::warn;

use crate::config::KafkaConfig;
use crate::context::Context;
use crate::error::{Error, is_too_large};

/// Where a delivered record is: partition and offset.
pub type Delivered = (i32, i64);

/// How long [`Producer::send_waiting`] waits before it looks again whether the queue has room.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// A record to be sent, for [`Producer::send_record`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition; without one the key chooses it.
    pub partition: Option<i32>,
    /// When it was made, in milliseconds since the epoch; without it, now.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub payload: &'a [u8],
    /// The headers, in their order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Sends records. Clones are one producer: one connection, one queue, one thread.
#[derive(Clone)]
pub struct Producer {
    inner: FutureProducer<Context>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("unacknowledged", &self.unacknowledged())
            .finish()
    }
}

impl Producer {
    /// Makes a producer. It connects in the background; a broker that is away is waited for.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration cannot be used.
    pub fn new(config: &KafkaConfig) -> Result<Producer, Error> {
        let inner = config.producer()?.create_with_context(Context::new(config))?;
        Ok(Producer { inner })
    }

    /// Takes a record into the queue; what it returns resolves when the broker has acknowledged it
    /// or when `kafka.delivery_timeout_ms` is over. A record without a key goes to any partition.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when too much waits for acknowledgement: the record was not taken.
    /// [`Error::TooLarge`] when the record exceeds `kafka.max_record_bytes`. [`Error::ProducerFatal`]
    /// when this producer can take no record any more.
    pub fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: &[u8],
        headers: &[(&str, &[u8])],
    ) -> Result<Delivery, Error> {
        self.send_record(&Outgoing {
            topic,
            key,
            payload,
            headers,
            ..Outgoing::default()
        })
    }

    /// Like [`send`](Self::send), but waits while the queue is full: with a broker away for as long
    /// as it is away.
    ///
    /// # Errors
    /// As [`send`](Self::send), without [`Error::QueueFull`].
    pub async fn send_waiting(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: &[u8],
        headers: &[(&str, &[u8])],
    ) -> Result<Delivery, Error> {
        self.send_record_waiting(&Outgoing {
            topic,
            key,
            payload,
            headers,
            ..Outgoing::default()
        })
        .await
    }

    /// Like [`send`](Self::send), with a partition and a timestamp of one's choice.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_record(&self, outgoing: &Outgoing<'_>) -> Result<Delivery, Error> {
        let mut record: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(outgoing.topic).payload(outgoing.payload);
        record.key = outgoing.key;
        record.partition = outgoing.partition;
        record.timestamp = outgoing.timestamp_ms;
        if !outgoing.headers.is_empty() {
            record = record.headers(owned_headers(outgoing.headers));
        }
        let bytes = outgoing.payload.len() + outgoing.key.map_or(0, <[u8]>::len);
        match self.inner.send_result(record) {
            Ok(inner) => Ok(Delivery {
                inner,
                topic: outgoing.topic.to_owned(),
                bytes,
            }),
            Err((error, _)) => Err(name(error, outgoing.topic, bytes)),
        }
    }

    /// Like [`send_record`](Self::send_record), but waits while the queue is full.
    ///
    /// # Errors
    /// As [`send`](Self::send), without [`Error::QueueFull`].
    pub async fn send_record_waiting(&self, outgoing: &Outgoing<'_>) -> Result<Delivery, Error> {
        loop {
            match self.send_record(outgoing) {
                Err(Error::QueueFull) => tokio::time::sleep(FULL_QUEUE_PAUSE).await,
                other => return other,
            }
        }
    }

    /// Records that wait for acknowledgement.
    pub fn unacknowledged(&self) -> usize {
        usize::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    /// Sends what lingers and waits until everything is acknowledged or has failed.
    ///
    /// # Errors
    /// [`Error::Client`] when that takes longer than `timeout`; the records stay in the queue.
    pub async fn flush(&self, timeout: Duration) -> Result<(), Error> {
        let inner = self.inner.clone();
        let flushed = tokio::task::spawn_blocking(move || inner.flush(timeout)).await;
        match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let waiting = self.unacknowledged();
                warn!(waiting, %error, "not everything was acknowledged in time");
                Err(Error::Client(format!(
                    "{waiting} records are not acknowledged after {timeout:?}: {error}"
                )))
            }
            Err(error) => Err(Error::Client(format!("flush: {error}"))),
        }
    }
}

/// Resolves to where the record landed.
pub struct Delivery {
    inner: DeliveryFuture,
    topic: String,
    bytes: usize,
}

impl Future for Delivery {
    type Output = Result<Delivered, Error>;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Poll::Ready(outcome) = Pin::new(&mut self.inner).poll(task) else {
            return Poll::Pending;
        };
        Poll::Ready(match outcome {
            Ok(Ok(delivery)) => Ok((delivery.partition, delivery.offset)),
            Ok(Err((error, _))) => Err(name(error, &self.topic, self.bytes)),
            // The producer was dropped.
            Err(_) => Err(Error::Delivery {
                topic: self.topic.clone(),
                reason: "the producer ended".to_owned(),
            }),
        })
    }
}

pub(crate) fn owned_headers(headers: &[(&str, &[u8])]) -> OwnedHeaders {
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for &(name, value) in headers {
        owned = owned.insert(Header {
            key: name,
            value: Some(value),
        });
    }
    owned
}

/// What an error of the client means for the record that was to be sent.
pub(crate) fn name(error: KafkaError, topic: &str, bytes: usize) -> Error {
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
        Error::QueueFull
    } else if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
        Error::ProducerFatal {
            reason: error.to_string(),
        }
    } else if is_too_large(&error) {
        Error::TooLarge {
            topic: topic.to_owned(),
            bytes,
        }
    } else {
        Error::Delivery {
            topic: topic.to_owned(),
            reason: error.to_string(),
        }
    }
}
