//! The loop of the worker: one task, which never waits for one thing while another is due.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use prometheus::Registry;
use stream::{
    ConsumerEvent, ConsumerHandle, ConsumerMetrics, ConsumerOptions, Error as StreamError, KafkaConfig,
    NumberedProducer, Record, StartFrom, check_broker, consume,
};
use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};

use crate::in_flight::{Entry, InFlight};
use crate::metrics::Metrics;
use crate::outgoing::{self, Sender};
use crate::{Config, Error, Readiness};

/// How soon the producer's queue is looked at again after it was full, or refused.
const RETRY: Duration = Duration::from_millis(20);
/// How often the loop looks around when nothing happens.
const TICK: Duration = Duration::from_millis(250);

pub(crate) async fn run(
    config: Config,
    kafka: KafkaConfig,
    registry: &Registry,
    ready: &watch::Sender<Readiness>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), Error> {
    config.validate()?;
    let door = config.door()?;
    let metrics = Metrics::register(registry)?;
    let consumer_metrics = ConsumerMetrics::register(registry, "ingest")?;
    let producer = NumberedProducer::new(&kafka)?;
    let options = ConsumerOptions::new(&config.group, &config.topic, StartFrom::Committed);
    let (handle, mut events) = consume(&kafka, options, consumer_metrics)?;

    let mut worker = Worker {
        sender: Sender {
            producer,
            door,
            encoded: Vec::new(),
        },
        kafka,
        config,
        metrics,
        handle,
        in_flight: InFlight::new(),
        backlog: VecDeque::new(),
        backlog_read_at: 0,
        draining: Vec::new(),
        refused: false,
        told_stalled: false,
    };
    tokio::select! {
        () = worker.wait_for_broker() => {}
        () = asked_to_stop(&mut shutdown) => {}
    }

    while !*shutdown.borrow() {
        worker.send_all()?;
        worker.finish_draining();
        let now = worker.readiness();
        ready.send_if_modified(|ready| std::mem::replace(ready, now) != now);

        let wants_more = worker.backlog.is_empty() && worker.has_room();
        let pause = if worker.refused { RETRY } else { TICK };
        tokio::select! {
            () = asked_to_stop(&mut shutdown) => break,
            () = worker.settle() => {}
            event = events.recv(), if wants_more => match event {
                Some(event) => worker.handle_event(event)?,
                None => return Err(ended()),
            },
            () = tokio::time::sleep(pause) => {}
        }
    }
    ready.send_replace(Readiness::Away);
    worker.stop().await;
    Ok(())
}

struct Worker {
    config: Config,
    kafka: KafkaConfig,
    sender: Sender,
    metrics: Metrics,
    handle: ConsumerHandle,
    in_flight: InFlight,
    /// The rest of the batch that is being sent.
    backlog: VecDeque<Record>,
    /// When that batch was read, in milliseconds since the epoch.
    backlog_read_at: i64,
    /// Partitions that go to another member, and whom to tell when nothing of them is in flight.
    draining: Vec<(Vec<i32>, oneshot::Sender<()>)>,
    /// The producer took nothing more.
    refused: bool,
    told_stalled: bool,
}

impl Worker {
    async fn wait_for_broker(&self) {
        while let Err(error) = check_broker(&self.kafka).await {
            warn!(%error, "waiting for the broker");
        }
    }

    fn handle_event(&mut self, event: ConsumerEvent) -> Result<(), Error> {
        match event {
            ConsumerEvent::Records(records) => {
                self.backlog_read_at = now_ms();
                self.backlog = records.into();
            }
            // What an earlier assignment left in flight must not commit under this one.
            ConsumerEvent::Assigned(partitions) | ConsumerEvent::Lost(partitions) => {
                self.in_flight.forget(&partitions);
            }
            ConsumerEvent::Revoked { partitions, drained } => {
                debug!(?partitions, in_flight = self.in_flight.len(), "draining");
                self.draining.push((partitions, drained));
            }
            ConsumerEvent::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.config.max_in_flight
            && self.in_flight.bytes() < self.config.max_in_flight_bytes
    }

    /// Puts into the producer's queue what failed, then what is new, as far as it takes them.
    fn send_all(&mut self) -> Result<(), Error> {
        self.refused = false;
        let sender = &mut self.sender;
        let resent = self.in_flight.resend(|number, record, received_at, too_large| {
            if too_large {
                sender.send_cut(number, record)
            } else {
                sender.send(number, record, received_at)
            }
        });
        match resent {
            Ok(resent) => self.metrics.resent.inc_by(resent as u64),
            Err(error) => return self.refused(&error),
        }
        let since = Instant::now();
        while self.has_room()
            && let Some(record) = self.backlog.pop_front()
        {
            let received_at = self.received_at(&record);
            let number = self.in_flight.next_number();
            match self.sender.send(number, &record, received_at) {
                Ok(outcome) => self.in_flight.push(Entry {
                    record,
                    received_at,
                    outcome,
                    since,
                }),
                Err(error) => {
                    self.backlog.push_front(record);
                    return self.refused(&error);
                }
            }
        }
        self.metrics
            .in_flight
            .set(i64::try_from(self.in_flight.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// The producer did not take a record. It is kept and tried again; a producer that is broken for
    /// good is made anew.
    fn refused(&mut self, error: &StreamError) -> Result<(), Error> {
        self.refused = true;
        match error {
            StreamError::QueueFull => {}
            StreamError::ProducerFatal { .. } => {
                warn!(%error, "making a new producer");
                self.sender.producer = NumberedProducer::new(&self.kafka)?;
                self.in_flight.fail_all();
            }
            _ => warn!(%error, "the producer refused a record; trying again"),
        }
        Ok(())
    }

    /// The time of receipt: the record's timestamp where it is believable, else when it was read.
    fn received_at(&self, record: &Record) -> i64 {
        let oldest = self.backlog_read_at - i64::from(self.config.trust_timestamp_days) * 86_400_000;
        match record.timestamp_ms {
            Some(timestamp) if timestamp >= oldest => timestamp.min(self.backlog_read_at),
            _ => self.backlog_read_at,
        }
    }

    /// Waits until something is acknowledged (or has failed) and asks for the offsets behind it to
    /// be committed.
    async fn settle(&mut self) {
        let receipts = self.sender.producer.receipts().await;
        let metrics = &self.metrics;
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        self.in_flight.take_receipts(receipts, |entry| {
            let source = outgoing::source(&entry.record.headers, &entry.record.topic);
            metrics.count(entry.outcome, source);
            next.insert(entry.record.partition, entry.record.offset + 1);
        });
        if !next.is_empty() {
            self.handle.commit(&next.into_iter().collect::<Vec<_>>());
        }
        if let Some(error) = self.in_flight.take_error() {
            warn!(%error, failed = self.in_flight.failed(), "records were not acknowledged; sending them again");
            if let StreamError::ProducerFatal { .. } = error
                && let Err(error) = self.refused(&error)
            {
                warn!(%error, "cannot make a new producer");
            }
        }
    }

    fn finish_draining(&mut self) {
        // The batch before a revocation was sent before the revocation was received.
        let in_flight = &self.in_flight;
        let mut done = Vec::new();
        self.draining.retain_mut(|(partitions, drained)| {
            let waits = in_flight.holds(partitions);
            if !waits {
                done.push(std::mem::replace(drained, oneshot::channel().0));
            }
            waits
        });
        for drained in done {
            // The commits came before; the consumer may have gone on without us.
            let _ = drained.send(());
        }
    }

    /// Whether the broker answers and acknowledges what is sent.
    fn readiness(&mut self) -> Readiness {
        let patience = Duration::from_millis(self.config.stall_ms);
        let records = self.in_flight.len();
        let stalled = self
            .in_flight
            .oldest()
            .filter(|since| since.elapsed() >= patience);
        let readiness = match stalled {
            Some(since) => Readiness::Stalled { since, records },
            None => self.silence(),
        };
        match readiness {
            Readiness::Ready if self.told_stalled => info!("the broker answers again"),
            Readiness::Ready => {}
            _ if self.told_stalled => {}
            _ => warn!(
                in_flight = records,
                "nothing is being acknowledged; consumption waits"
            ),
        }
        self.told_stalled = readiness != Readiness::Ready;
        readiness
    }

    /// What is in flight is forgotten when the group takes the partitions away, which it also does
    /// when the broker stays away: so the broker is asked, too.
    fn silence(&self) -> Readiness {
        let Some(silent) = self.handle.silence() else {
            return Readiness::Ready;
        };
        let now = Instant::now();
        Readiness::Silent {
            since: now.checked_sub(silent).unwrap_or(now),
        }
    }

    /// Sends what is in flight to its end, commits, leaves the group.
    async fn stop(mut self) {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(self.config.drain_timeout_ms);
        // What was not sent yet is not committed either: it is read again.
        self.backlog.clear();
        while !self.in_flight.is_empty() {
            if let Err(error) = self.send_all() {
                warn!(%error, "cannot send what is left");
                break;
            }
            let wait = async {
                tokio::select! {
                    () = self.settle() => {}
                    () = tokio::time::sleep(RETRY) => {}
                }
            };
            if tokio::time::timeout_at(deadline, wait).await.is_err() {
                warn!(
                    in_flight = self.in_flight.len(),
                    "stopping with records that were not acknowledged; they will be read again"
                );
                break;
            }
        }
        self.finish_draining();
        self.metrics.in_flight.set(0);
        self.handle.shutdown().await;
    }
}

fn ended() -> Error {
    Error::Stream(StreamError::Client("the consumer ended by itself".to_owned()))
}

async fn asked_to_stop(shutdown: &mut watch::Receiver<bool>) {
    // A sender that is gone can never ask: whoever could is gone too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// The worker's only look at the clock: once per batch.
#[allow(
    clippy::disallowed_methods,
    reason = "the edge where the time of receipt enters"
)]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
