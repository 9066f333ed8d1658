//! The loop of the consumer's thread.
//!
//! It polls without end, so that the group sees a living member, and never waits for the owner
//! longer than a moment: when the queue stays full it pauses the partitions and polls on. A revoked
//! partition is given up only after the owner said that it has drained, or at the deadline.
//!
//! How a partition begins at an offset of the owner's choice ([`StartFrom::Asked`](super::StartFrom::Asked)): the assignment
//! is answered with an empty list, which satisfies the group protocol (what we own is kept by
//! librdkafka apart from what we read), and `start` then adds the partition *with its offset*.
//! Assigning first and seeking after would fetch from the committed offset in between, and records
//! of both positions could meet in the queue.

mod rebalance;
mod records;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::callbacks::{self, Callbacks, Note};
use super::shared::{Shared, Stamped};
use super::{ConsumerEvent, ConsumerOptions, EARLIEST, Record, commit, lag};
use crate::config::KafkaConfig;
use crate::error::Error;
use crate::metrics::ConsumerMetrics;

use rebalance::numbers;

/// How long one poll waits when there is nothing; also how late a request of the owner is served.
const IDLE: Duration = Duration::from_millis(20);
/// Records taken from librdkafka before the rest of the loop gets its turn.
const BURST: usize = 512;
/// How long a full queue is borne without pausing: a pause throws away what was fetched ahead.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long to wait before a failed commit is sent again.
const COMMIT_RETRY: Duration = Duration::from_millis(500);
/// How long leaving waits for the last commit.
const LAST_COMMIT: Duration = Duration::from_millis(700);
/// How long leaving waits for a join that is on its way. A group that was empty begins its first round of
/// joining only some seconds after the first member has come.
const LAST_JOIN: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    consumer: Arc<BaseConsumer<Callbacks>>,
    shared: Arc<Shared>,
    metrics: ConsumerMetrics,
    options: ConsumerOptions,
    revoke_deadline: Duration,
    lag_interval: Duration,
    events: mpsc::Sender<Stamped>,

    /// Counts assignments and revocations.
    rebalance: u64,
    /// Closed batches and other events that the queue had no room for yet, in order.
    outbox: VecDeque<Stamped>,
    batch: Batch,
    /// The next offset expected of each partition that is read, once known.
    next: BTreeMap<i32, i64>,
    draining: Option<Draining>,
    full_since: Option<Instant>,
    /// The partitions that we paused; empty when consumption goes on.
    paused: BTreeSet<i32>,
    commits: Commits,
    failed: bool,
}

#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    bytes: usize,
    since: Option<Instant>,
}

/// A revocation that the owner was told of.
struct Draining {
    partitions: Vec<i32>,
    drained: oneshot::Receiver<()>,
    deadline: Instant,
    owner_done: bool,
}

#[derive(Default)]
struct Commits {
    /// Lists for the thread that commits.
    sender: Option<std_mpsc::Sender<TopicPartitionList>>,
    wanted: BTreeMap<i32, i64>,
    /// One request at a time: what comes meanwhile is merged.
    in_flight: bool,
    /// The latest rebalance when it was sent.
    sent_under: u64,
    not_before: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        config: &KafkaConfig,
        options: ConsumerOptions,
        consumer: Arc<BaseConsumer<Callbacks>>,
        shared: Arc<Shared>,
        events: mpsc::Sender<Stamped>,
        metrics: ConsumerMetrics,
    ) -> Worker {
        Worker {
            consumer,
            shared,
            metrics,
            options,
            revoke_deadline: Duration::from_millis(config.revoke_deadline_ms),
            lag_interval: Duration::from_millis(config.lag_interval_ms),
            events,
            rebalance: 0,
            outbox: VecDeque::new(),
            batch: Batch::default(),
            next: BTreeMap::new(),
            draining: None,
            full_since: None,
            paused: BTreeSet::new(),
            commits: Commits::default(),
            failed: false,
        }
    }

    pub(super) fn run(mut self) {
        let (stop_watching, stop) = std_mpsc::channel();
        let watcher = self.spawn_watcher(stop);
        let committer = self.spawn_committer();
        while !self.shared.stopping() && !self.events.is_closed() {
            self.shared.beat();
            self.serve_requests();
            self.serve_notes();
            self.serve_draining();
            self.send_commits();
            self.close_batch_if_due();
            self.deliver();
            if self.failed && self.outbox.is_empty() {
                break;
            }
            self.balance();
            self.poll();
        }
        drop(stop_watching);
        self.leave(watcher, committer);
    }

    fn spawn_watcher(&self, stop: std_mpsc::Receiver<()>) -> Option<JoinHandle<()>> {
        let consumer = Arc::clone(&self.consumer);
        let shared = Arc::clone(&self.shared);
        let metrics = self.metrics.clone();
        let interval = self.lag_interval;
        let spawned = std::thread::Builder::new()
            .name("kafka-lag".to_owned())
            .spawn(move || lag::watch(&consumer, &shared, &metrics, interval, &stop));
        match spawned {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                warn!(%error, "cannot start the lag watcher; lag stays unknown");
                None
            }
        }
    }

    fn spawn_committer(&mut self) -> Option<JoinHandle<()>> {
        let (sender, lists) = std_mpsc::channel();
        let consumer = Arc::clone(&self.consumer);
        let spawned = std::thread::Builder::new()
            .name("kafka-commit".to_owned())
            .spawn(move || commit::serve(&consumer, &lists));
        match spawned {
            Ok(committer) => {
                self.commits.sender = Some(sender);
                Some(committer)
            }
            Err(error) => {
                self.fail(Error::Client(format!(
                    "cannot start the thread that commits: {error}"
                )));
                None
            }
        }
    }

    // What the owner asked for.

    fn serve_requests(&mut self) {
        let Some(requests) = self.shared.take_requests() else {
            return;
        };
        for (partition, next) in requests.commits {
            let wanted = self.commits.wanted.entry(partition).or_insert(next);
            *wanted = next.max(*wanted);
        }
        for (partition, offset) in requests.starts {
            self.start(partition, offset);
        }
    }

    fn start(&mut self, partition: i32, offset: i64) {
        if !self.shared.mark_started(partition, offset) {
            debug!(
                partition,
                offset, "ignoring a start: the partition is read already or not ours"
            );
            return;
        }
        let at = if offset == EARLIEST {
            Offset::Beginning
        } else {
            Offset::Offset(offset.max(0))
        };
        if offset >= 0 {
            self.next.insert(partition, offset);
        }
        match self
            .list(&[partition], at)
            .and_then(|list| callbacks::assign(&self.consumer, &list))
        {
            Ok(()) => self.pause_too(&[partition]),
            Err(error) => self.fail(Error::Client(format!(
                "cannot start partition {partition}: {error}"
            ))),
        }
    }

    // Errors.

    fn consumer_error(&mut self, error: &KafkaError) {
        let reason = self.consumer.context().last_error();
        let reason = if reason.is_empty() {
            error.to_string()
        } else {
            reason
        };
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::AutoOffsetReset) {
            let reason = format!("{}: {reason}", self.places());
            self.fail(Error::OffsetOutOfRange { reason });
        } else if matches!(error, KafkaError::MessageConsumptionFatal(_))
            || matches!(
                code,
                Some(
                    RDKafkaErrorCode::Fatal
                        | RDKafkaErrorCode::TopicAuthorizationFailed
                        | RDKafkaErrorCode::GroupAuthorizationFailed
                )
            )
        {
            let (topic, group) = (self.shared.topic.to_string(), self.options.group.clone());
            self.fail(Error::Consumer { topic, group, reason });
        } else {
            // The callback has told people; librdkafka goes on trying.
            debug!(topic = %self.shared.topic, %error, "consumer error");
        }
    }

    /// Where reading stands, for an error that does not name its partition: the partitions that are
    /// known to be beyond their end, else all.
    fn places(&self) -> String {
        let end = |partition: i32| self.shared.with(partition, |found| found.end);
        let beyond = |(partition, next): &(&i32, &i64)| end(**partition).is_some_and(|end| **next > end);
        let mut suspects: Vec<_> = self.next.iter().filter(beyond).collect();
        if suspects.is_empty() {
            suspects = self.next.iter().collect();
        }
        let places = suspects.iter().map(|(partition, next)| {
            let end = end(**partition).map_or_else(|| "unknown".to_owned(), |end| end.to_string());
            format!("partition {partition} was to be read at {next}, its end is {end}")
        });
        places.collect::<Vec<_>>().join("; ")
    }

    fn fail(&mut self, error: Error) {
        if !self.failed {
            self.failed = true;
            self.tell(ConsumerEvent::Failed(error));
        }
    }

    // The end.

    fn leave(mut self, watcher: Option<JoinHandle<()>>, committer: Option<JoinHandle<()>>) {
        self.consumer.context().close();
        let deadline = Instant::now() + LAST_COMMIT;
        self.serve_requests();
        self.commits.not_before = None;
        loop {
            self.answer_at_once();
            self.send_commits();
            if (!self.commits.in_flight && self.commits.wanted.is_empty()) || Instant::now() >= deadline {
                break;
            }
            // Records that still come are not ours to handle any more.
            drop(self.consumer.poll(Duration::from_millis(10)));
        }
        if let Some(watcher) = watcher
            && watcher.join().is_err()
        {
            warn!("the lag watcher panicked");
        }
        // A commit that still waits for an absent broker keeps the consumer until it has failed; the
        // thread that sends it then leaves the group.
        self.commits.sender = None;
        if let Some(committer) = committer
            && !self.commits.in_flight
            && committer.join().is_err()
        {
            warn!("the thread that commits panicked");
        }
        let all = self.shared.assigned();
        self.shared.remove(&all);
        self.metrics.partitions.set(0);
        self.metrics.paused.set(0);
        debug!(topic = %self.shared.topic, group = %self.options.group, "leaving the group");
        // Dropping the consumer leaves the group, but not while it is joining: librdkafka forgets the join
        // that is on its way, and the group would wait for this member for as long as a session lives.
        let deadline = Instant::now() + LAST_JOIN;
        while self.consumer.context().is_joining() && Instant::now() < deadline {
            drop(self.consumer.poll(Duration::from_millis(10)));
        }
    }

    /// Answers what was still open when the owner left.
    fn answer_at_once(&mut self) {
        if let Some(draining) = self.draining.take() {
            self.give_up(&draining.partitions);
        }
        while let Some(note) = self.consumer.context().next() {
            match note {
                Note::Assigned(_) => drop(callbacks::assign(&self.consumer, &TopicPartitionList::new())),
                Note::Revoked { list, .. } => self.give_up(&numbers(&list)),
                Note::Committed { failure, offsets } => self.committed(failure, offsets),
            }
        }
    }

    fn list(&self, partitions: &[i32], offset: Offset) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for &partition in partitions {
            list.add_partition_offset(&self.shared.topic, partition, offset)?;
        }
        Ok(list)
    }
}
