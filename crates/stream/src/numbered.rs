//! A producer for who sends much: each record has a number, and acknowledgements come many at a time, each
//! with its record's number. Beside [`Producer`](crate::Producer) it needs no allocation and no wake-up a record.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use crate::config::KafkaConfig;
use crate::context::{Context, lock};
use crate::error::Error;
use crate::producer::{name, owned_headers};

/// What became of a record that was sent.
#[derive(Debug)]
pub struct Receipt {
    /// The number that it was sent under.
    pub number: u64,
    /// Whether the broker has acknowledged it.
    pub outcome: Result<(), Error>,
}

/// Sends numbered records, acknowledged by all replicas, idempotent, keys to partitions as Kafka's own clients
/// do it. A record counts as delivered when its [`Receipt`] says so, never before.
pub struct NumberedProducer {
    inner: ThreadedProducer<Receiving>,
    receipts: Arc<Receipts>,
}

impl NumberedProducer {
    /// Makes a producer. It connects in the background; a broker that is away is waited for.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration cannot be used.
    pub fn new(config: &KafkaConfig) -> Result<NumberedProducer, Error> {
        let receipts = Arc::new(Receipts::default());
        let receiving = Receiving {
            context: Context::new(config),
            receipts: Arc::clone(&receipts),
        };
        let inner = ThreadedProducer::from_config_and_context(&config.producer()?, receiving)?;
        Ok(NumberedProducer { inner, receipts })
    }

    /// Takes a record into the queue; its receipt comes when the broker has acknowledged it or when
    /// `kafka.delivery_timeout_ms` is over. A record without a key goes to any partition.
    ///
    /// # Errors
    /// As [`Producer::send`](crate::Producer::send); no receipt comes then.
    pub fn send(
        &self,
        number: u64,
        topic: &str,
        key: Option<&[u8]>,
        payload: &[u8],
        headers: &[(&str, &[u8])],
    ) -> Result<(), Error> {
        // As wide as a number on all platforms that there is a broker or an engine for.
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, number as usize).payload(payload);
        record.key = key;
        if !headers.is_empty() {
            record = record.headers(owned_headers(headers));
        }
        let bytes = payload.len() + key.map_or(0, <[u8]>::len);
        self.inner
            .send(record)
            .map_err(|(error, _)| name(error, topic, bytes))
    }

    /// Waits until there are receipts, and takes all of them, in the order in which they came.
    pub async fn receipts(&self) -> Vec<Receipt> {
        loop {
            let receipts = std::mem::take(&mut *lock(&self.receipts.waiting));
            if !receipts.is_empty() {
                return receipts;
            }
            self.receipts.some_came.notified().await;
        }
    }
}

impl std::fmt::Debug for NumberedProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NumberedProducer").finish_non_exhaustive()
    }
}

/// Receipts that nobody has taken yet.
#[derive(Default)]
struct Receipts {
    waiting: Mutex<Vec<Receipt>>,
    some_came: Notify,
}

/// The callbacks of a producer of numbered records.
struct Receiving {
    context: Context,
    receipts: Arc<Receipts>,
}

impl ClientContext for Receiving {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        self.context.generate_oauth_token(config)
    }
}

impl ProducerContext for Receiving {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivered: &DeliveryResult<'_>, number: usize) {
        let outcome = match delivered {
            Ok(_) => Ok(()),
            Err((error, record)) => {
                let bytes = record.payload_len() + record.key_len();
                Err(name(error.clone(), record.topic(), bytes))
            }
        };
        let mut waiting = lock(&self.receipts.waiting);
        let is_first = waiting.is_empty();
        waiting.push(Receipt {
            number: number as u64,
            outcome,
        });
        drop(waiting);
        if is_first {
            self.receipts.some_came.notify_one();
        }
    }
}
