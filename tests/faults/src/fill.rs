//! Filling a topic as fast as the broker takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

/// The pause when the client's queue is full.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(5);
/// How long the last acknowledgements may take.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);

/// Counts acknowledgements.
#[derive(Clone, Default)]
struct Acknowledged(Arc<AtomicU64>);

impl rdkafka::ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(u64::from(result.is_ok()), Ordering::Relaxed);
    }
}

/// A record to be sent; without a key it goes to any partition.
pub struct Filling {
    /// What chooses the partition.
    pub key: Option<String>,
    /// The value.
    pub payload: Vec<u8>,
}

/// Sends records in their order and waits until the broker has them all; returns how many there were.
///
/// # Errors
/// A record was refused, or not acknowledged in time.
pub async fn fill<I>(brokers: &str, topic: &str, records: I) -> anyhow::Result<u64>
where
    I: Iterator<Item = Filling> + Send + 'static,
{
    let acknowledged = Acknowledged::default();
    let client: ThreadedProducer<Acknowledged> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .create_with_context(acknowledged.clone())?;
    let topic = topic.to_owned();
    let sent = tokio::task::spawn_blocking(move || {
        let mut count = 0;
        for filling in records {
            let mut record: BaseRecord<'_, String, Vec<u8>> =
                BaseRecord::to(&topic).payload(&filling.payload);
            record.key = filling.key.as_ref();
            while let Err((error, refused)) = client.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(error).context("cannot send");
                }
                std::thread::sleep(FULL_QUEUE_PAUSE);
                record = refused;
            }
            count += 1;
        }
        client
            .flush(ACKNOWLEDGED_WITHIN)
            .context("the broker did not acknowledge everything")?;
        Ok(count)
    })
    .await??;
    let taken = acknowledged.0.load(Ordering::Relaxed);
    ensure!(taken == sent, "the broker took {taken} of {sent} records");
    Ok(sent)
}
