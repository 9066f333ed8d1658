//! Reads what a topic holds at present, from outside of any group.
//!
//! - A reading ends: each partition is read up to the end that it had when the reader was opened,
//!   whatever is written meanwhile.
//! - No group is joined and nothing is committed, so no worker notices.
//! - Records of transactions that were not committed are left out.
//! - Memory is bounded, whatever the topic holds: a slow owner makes the reading wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::admin::{blocking, check_broker};
use crate::config::KafkaConfig;
use crate::context::Context;
use crate::error::Error;
use crate::record::{Record, copy};

/// Records in a batch at most.
const BATCH_RECORDS: usize = 500;
/// Bytes of keys and values in a batch, above which it is closed.
const BATCH_BYTES: usize = 1 << 20;
/// Batches that wait for the owner at most.
const QUEUE_BATCHES: usize = 4;
/// How long one look for a record may take.
const LOOK: Duration = Duration::from_millis(50);

/// A stretch of a partition: the offsets from `first` to before `end`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The offset behind the last one.
    pub end: i64,
}

impl Span {
    /// How many offsets it has.
    pub fn len(&self) -> u64 {
        u64::try_from(self.end - self.first).unwrap_or(0)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Looks at a topic as it is at present.
#[derive(Clone, Debug)]
pub struct TopicReader {
    config: KafkaConfig,
    group: String,
    topic: Arc<str>,
    spans: Vec<Span>,
}

impl TopicReader {
    /// Asks what the topic holds. The client wants the name of a group, one that the user may use; it
    /// is not joined.
    ///
    /// # Errors
    /// [`Error::NoBroker`] when no broker answers; [`Error::Topic`] when there is no such topic.
    pub async fn open(config: &KafkaConfig, group: &str, topic: &str) -> Result<TopicReader, Error> {
        check_broker(config).await?;
        let mut reader = TopicReader {
            config: config.clone(),
            group: group.to_owned(),
            topic: Arc::from(topic),
            spans: Vec::new(),
        };
        blocking(move || {
            reader.spans = reader.look()?;
            Ok(reader)
        })
        .await
    }

    /// What each partition held when the reader was opened, by the number of the partition.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The ends of the partitions that begin with the first record at or after a time, in milliseconds
    /// since the epoch. Timestamps need not be in order: earlier ones may be among what follows.
    ///
    /// # Errors
    /// [`Error::Client`] when the broker does not answer in time.
    pub async fn since(&self, time_ms: i64) -> Result<Vec<Span>, Error> {
        let reader = self.clone();
        blocking(move || reader.look_since(time_ms)).await
    }

    /// Reads stretches, given as [`spans`](Self::spans) or [`since`](Self::since) tell them or as single
    /// offsets. Those of different partitions are read side by side, those of one partition in turn; what
    /// the topic did not hold when the reader was opened is passed over.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration cannot be used.
    pub fn read(&self, spans: &[Span]) -> Result<Scan, Error> {
        let consumer = self.consumer()?;
        let (batches, queue) = mpsc::channel(QUEUE_BATCHES);
        let reading = Reading {
            consumer,
            topic: Arc::clone(&self.topic),
            patience: self.config.request_timeout(),
            batches,
            batch: Vec::new(),
            bytes: 0,
        };
        let held: Vec<Span> = spans.iter().filter_map(|span| self.held(span)).collect();
        let total = held.iter().map(Span::len).sum();
        let rounds = rounds(&held);
        tokio::task::spawn_blocking(move || reading.run(&rounds));
        Ok(Scan { total, queue })
    }

    /// What of a stretch was there.
    fn held(&self, asked: &Span) -> Option<Span> {
        let held = self.spans.iter().find(|span| span.partition == asked.partition)?;
        Some(Span {
            partition: asked.partition,
            first: asked.first.max(held.first),
            end: asked.end.min(held.end),
        })
    }

    fn consumer(&self) -> Result<BaseConsumer<Context>, Error> {
        let mut client = self.config.consumer(&self.group, "earliest")?;
        client.set("enable.partition.eof", "true");
        Ok(client.create_with_context(Context::new(&self.config))?)
    }

    fn look(&self) -> Result<Vec<Span>, Error> {
        let consumer = self.consumer()?;
        serve(&consumer);
        let timeout = self.config.request_timeout();
        let metadata = consumer.fetch_metadata(Some(&self.topic), timeout)?;
        let topic = metadata
            .topics()
            .iter()
            .find(|topic| *topic.name() == *self.topic);
        let Some(topic) = topic.filter(|topic| topic.error().is_none() && !topic.partitions().is_empty())
        else {
            let reason = "the broker has no such topic: the roles make it when they start, or it has \
                          another name in the configuration";
            return Err(Error::Topic {
                topic: self.topic.to_string(),
                reason: reason.to_owned(),
            });
        };
        let mut spans = Vec::new();
        for partition in topic.partitions().iter().map(|partition| partition.id()) {
            let (first, end) = consumer.fetch_watermarks(&self.topic, partition, timeout)?;
            spans.push(Span {
                partition,
                first,
                end,
            });
        }
        spans.sort_by_key(|span| span.partition);
        Ok(spans)
    }

    fn look_since(&self, time_ms: i64) -> Result<Vec<Span>, Error> {
        let consumer = self.consumer()?;
        serve(&consumer);
        let mut asked = TopicPartitionList::new();
        for span in &self.spans {
            // Below 0 lie the special times of the protocol.
            asked.add_partition_offset(&self.topic, span.partition, Offset::Offset(time_ms.max(0)))?;
        }
        let found = consumer.offsets_for_times(asked, self.config.request_timeout())?;
        let mut spans = self.spans.clone();
        for span in &mut spans {
            let element = found.find_partition(&self.topic, span.partition);
            let offset = match element {
                Some(element) => {
                    element.error()?;
                    element.offset().to_raw().filter(|offset| *offset >= 0)
                }
                None => None,
            };
            // Without an answer there is no record so new.
            span.first = offset.unwrap_or(span.end).clamp(span.first, span.end);
        }
        Ok(spans)
    }
}

/// Records that are being read. Dropping it ends the reading.
#[derive(Debug)]
pub struct Scan {
    total: u64,
    queue: mpsc::Receiver<Result<Vec<Record>, Error>>,
}

impl Scan {
    /// How many offsets there are to read; there may be fewer records.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The next records, in order within a partition; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Client`] when nothing more comes within `kafka.request_timeout_ms`, or the broker refuses.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, Error> {
        self.queue.recv().await.transpose()
    }
}

/// Lets the callbacks run, for the token of OAUTHBEARER.
fn serve(consumer: &BaseConsumer<Context>) {
    while consumer.poll(Duration::ZERO).is_some() {}
}

/// Stretches that can be read at once: of each partition one, in the order in which they were given.
fn rounds(spans: &[Span]) -> Vec<Vec<Span>> {
    let mut rounds: Vec<Vec<Span>> = Vec::new();
    let mut next: BTreeMap<i32, usize> = BTreeMap::new();
    for span in spans.iter().filter(|span| !span.is_empty()) {
        let round = next.entry(span.partition).or_default();
        if *round == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[*round].push(*span);
        *round += 1;
    }
    rounds
}

struct Reading {
    consumer: BaseConsumer<Context>,
    topic: Arc<str>,
    patience: Duration,
    batches: mpsc::Sender<Result<Vec<Record>, Error>>,
    batch: Vec<Record>,
    bytes: usize,
}

/// The owner wants no more.
struct Unwanted;

impl Reading {
    fn run(mut self, rounds: &[Vec<Span>]) {
        for round in rounds {
            match self.read(round) {
                Ok(Ok(())) => {}
                Ok(Err(Unwanted)) => return,
                Err(error) => {
                    // Whoever is gone need not know.
                    let _ = self.batches.blocking_send(Err(error));
                    return;
                }
            }
        }
        let _ = self.flush();
    }

    fn read(&mut self, round: &[Span]) -> Result<Result<(), Unwanted>, Error> {
        let mut assigned = TopicPartitionList::with_capacity(round.len());
        for span in round {
            assigned.add_partition_offset(&self.topic, span.partition, Offset::Offset(span.first))?;
        }
        self.consumer.assign(&assigned)?;
        let mut ends: BTreeMap<i32, i64> = round.iter().map(|span| (span.partition, span.end)).collect();
        let mut last_heard = Instant::now();
        while !ends.is_empty() {
            let found = match self.consumer.poll(LOOK) {
                Some(Ok(message)) => {
                    let end = ends.get(&message.partition()).copied();
                    if end.is_some_and(|end| message.offset() + 1 >= end) {
                        ends.remove(&message.partition());
                    }
                    end.filter(|end| message.offset() < *end)
                        .map(|_| copy(&self.topic, &message))
                }
                // What stood there is gone, or is a marker of a transaction.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ends.remove(&partition);
                    last_heard = Instant::now();
                    continue;
                }
                Some(Err(error)) if !may_pass(&error) => return Err(error.into()),
                Some(Err(_)) | None => {
                    if last_heard.elapsed() >= self.patience {
                        return Err(Error::Client(self.silence(&ends)));
                    }
                    if self.flush().is_err() {
                        return Ok(Err(Unwanted));
                    }
                    continue;
                }
            };
            if let Some(record) = found {
                self.bytes += record.payload.len() + record.key.as_ref().map_or(0, Vec::len);
                self.batch.push(record);
                let is_full = self.batch.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES;
                if is_full && self.flush().is_err() {
                    return Ok(Err(Unwanted));
                }
            }
            last_heard = Instant::now();
        }
        Ok(Ok(()))
    }

    /// Hands over what there is; waits while the owner is slow.
    fn flush(&mut self) -> Result<(), Unwanted> {
        if self.batch.is_empty() {
            return if self.batches.is_closed() {
                Err(Unwanted)
            } else {
                Ok(())
            };
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.batches.blocking_send(Ok(batch)).map_err(|_| Unwanted)
    }

    fn silence(&self, ends: &BTreeMap<i32, i64>) -> String {
        let partitions: Vec<i32> = ends.keys().copied().collect();
        let last = self.consumer.context().last_error();
        format!(
            "reading {}: nothing more of partitions {partitions:?} came within {} s (kafka.request_timeout_ms); {}",
            self.topic,
            self.patience.as_secs_f64(),
            if last.is_empty() {
                "the broker said nothing"
            } else {
                &last
            },
        )
    }
}

/// Whether the client goes on by itself.
fn may_pass(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                // The group is none of our business: nothing is committed.
                | RDKafkaErrorCode::GroupAuthorizationFailed
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(partition: i32, first: i64, end: i64) -> Span {
        Span {
            partition,
            first,
            end,
        }
    }

    #[test]
    fn stretches_of_one_partition_are_read_in_turn_and_empty_ones_not_at_all() {
        let asked = [
            span(0, 5, 6),
            span(1, 0, 9),
            span(0, 2, 3),
            span(2, 4, 4),
            span(1, 20, 21),
        ];
        assert_eq!(
            rounds(&asked),
            [
                vec![span(0, 5, 6), span(1, 0, 9)],
                vec![span(0, 2, 3), span(1, 20, 21)]
            ]
        );
        assert!(rounds(&[span(0, 7, 7), span(0, 8, 3)]).is_empty());
    }
}
