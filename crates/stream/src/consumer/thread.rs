//! The loop of the consumer's thread.
//!
//! It polls without end, so that the group sees a living member, and never waits for the owner
//! longer than a moment: when the queue stays full it pauses the partitions and polls on. A revoked
//! partition is given up only after the owner said that it has drained, or at the deadline.
//!
//! How a partition begins at an offset of the owner's choice ([`StartFrom::Asked`]): the assignment
//! is answered with an empty list, which satisfies the group protocol (what we own is kept by
//! librdkafka apart from what we read), and `start` then adds the partition *with its offset*.
//! Assigning first and seeking after would fetch from the committed offset in between, and records
//! of both positions could meet in the queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use super::callbacks::{self, Callbacks, Note};
use super::shared::{Shared, Stamped};
use super::{ConsumerEvent, ConsumerOptions, EARLIEST, Record, StartFrom, commit, lag};
use crate::config::KafkaConfig;
use crate::error::Error;
use crate::metrics::ConsumerMetrics;

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

    // Rebalances.

    fn serve_notes(&mut self) {
        // While the owner drains, librdkafka has no further rebalance for us; commits are answered.
        while let Some(note) = self.consumer.context().next() {
            match note {
                Note::Assigned(list) => self.assigned(&list),
                Note::Revoked { list, lost: true } => self.lost(numbers(&list)),
                Note::Revoked { list, lost: false } => self.revoked(numbers(&list)),
                Note::Committed { failure, offsets } => self.committed(failure, offsets),
            }
        }
    }

    fn assigned(&mut self, list: &TopicPartitionList) {
        let partitions = numbers(list);
        let starts_now = self.options.start == StartFrom::Committed;
        let answer = if starts_now {
            list.clone()
        } else {
            TopicPartitionList::new()
        };
        if let Err(error) = callbacks::assign(&self.consumer, &answer) {
            self.fail(Error::Client(format!(
                "cannot take partitions {partitions:?}: {error}"
            )));
            return;
        }
        if partitions.is_empty() {
            return;
        }
        self.rebalance += 1;
        self.metrics.rebalances.inc();
        self.shared.add(self.rebalance, &partitions, starts_now);
        self.count_partitions();
        if starts_now {
            self.pause_too(&partitions);
        }
        info!(topic = %self.shared.topic, group = %self.options.group, ?partitions, "assigned");
        self.tell(ConsumerEvent::Assigned(partitions));
    }

    fn revoked(&mut self, partitions: Vec<i32>) {
        if partitions.is_empty() {
            self.give_up(&partitions);
            return;
        }
        info!(topic = %self.shared.topic, group = %self.options.group, ?partitions, "revoked; draining");
        self.rebalance += 1;
        self.metrics.rebalances.inc();
        // What the owner has not received yet the next member will read.
        self.forget_records(&partitions);
        let (sender, drained) = oneshot::channel();
        self.tell(ConsumerEvent::Revoked {
            partitions: partitions.clone(),
            drained: sender,
        });
        let deadline = Instant::now() + self.revoke_deadline;
        self.draining = Some(Draining {
            partitions,
            drained,
            deadline,
            owner_done: false,
        });
    }

    fn serve_draining(&mut self) {
        let Some(mut draining) = self.draining.take() else {
            return;
        };
        if self.consumer.assignment_lost() {
            // So are the partitions that stayed, which librdkafka has yet to say.
            self.shared.distrust();
            self.lost(draining.partitions);
            return;
        }
        if !draining.owner_done {
            // A dropped sender says as much as a used one.
            draining.owner_done = !matches!(
                draining.drained.try_recv(),
                Err(oneshot::error::TryRecvError::Empty)
            );
            if draining.owner_done {
                // Its commits came before its word.
                self.serve_requests();
                self.send_commits();
            }
        }
        let committed = !self.commits.in_flight
            && !draining
                .partitions
                .iter()
                .any(|partition| self.commits.wanted.contains_key(partition));
        let late = Instant::now() >= draining.deadline;
        if late && !(draining.owner_done && committed) {
            warn!(
                topic = %self.shared.topic,
                partitions = ?draining.partitions,
                "giving up revoked partitions at the deadline: their last records may be read again"
            );
        } else if !(draining.owner_done && committed) {
            self.draining = Some(draining);
            return;
        }
        self.give_up(&draining.partitions);
    }

    fn lost(&mut self, partitions: Vec<i32>) {
        warn!(topic = %self.shared.topic, group = %self.options.group, ?partitions, "lost the assignment");
        self.rebalance += 1;
        self.metrics.rebalances.inc();
        self.draining = None;
        self.forget_records(&partitions);
        self.give_up(&partitions);
        self.tell(ConsumerEvent::Lost(partitions));
    }

    /// Fences the owner, then tells the group.
    fn give_up(&mut self, partitions: &[i32]) {
        let read = self.shared.remove(partitions);
        for partition in partitions {
            self.next.remove(partition);
            self.commits.wanted.remove(partition);
        }
        self.count_partitions();
        // librdkafka keeps the pause of a partition beyond its revocation.
        let paused: Vec<i32> = read
            .iter()
            .copied()
            .filter(|partition| self.paused.remove(partition))
            .collect();
        let given_up = self.resume(&paused).and_then(|()| {
            let list = self.list(&read, Offset::Invalid)?;
            callbacks::unassign(&self.consumer, &list)
        });
        if let Err(error) = given_up {
            self.fail(Error::Client(format!(
                "cannot give up partitions {partitions:?}: {error}"
            )));
        }
    }

    fn forget_records(&mut self, partitions: &[i32]) {
        self.batch
            .records
            .retain(|record| !partitions.contains(&record.partition));
        for stamped in &mut self.outbox {
            if let ConsumerEvent::Records(records) = &mut stamped.event {
                records.retain(|record| !partitions.contains(&record.partition));
                stamped
                    .positions
                    .retain(|(partition, _)| !partitions.contains(partition));
            }
        }
    }

    fn count_partitions(&self) {
        self.metrics
            .partitions
            .set(i64::try_from(self.shared.assigned().len()).unwrap_or(i64::MAX));
    }

    // Commits.

    fn send_commits(&mut self) {
        let waits = self.commits.in_flight || self.commits.not_before.is_some_and(|at| Instant::now() < at);
        if waits || self.commits.wanted.is_empty() {
            return;
        }
        let wanted = std::mem::take(&mut self.commits.wanted);
        let mut list = TopicPartitionList::with_capacity(wanted.len());
        for (&partition, &next) in &wanted {
            if list
                .add_partition_offset(&self.shared.topic, partition, Offset::Offset(next))
                .is_err()
            {
                warn!(partition, next, "not a committable offset");
            }
        }
        self.commits.sent_under = self.rebalance;
        self.commits.in_flight = self
            .commits
            .sender
            .as_ref()
            .is_some_and(|sender| sender.send(list).is_ok());
    }

    fn committed(&mut self, failure: Option<String>, offsets: Vec<(i32, i64)>) {
        self.commits.in_flight = false;
        self.commits.not_before = None;
        let Some(reason) = failure else {
            return;
        };
        self.metrics.commit_failures.inc();
        debug!(topic = %self.shared.topic, reason, "a commit failed; sending it again");
        self.commits.not_before = Some(Instant::now() + COMMIT_RETRY);
        for (partition, next) in offsets {
            // Under a newer assignment the offset may be an old one.
            let assigned_by = self.shared.with(partition, |found| Some(found.assigned_by));
            if assigned_by.is_some_and(|rebalance| rebalance <= self.commits.sent_under) {
                let wanted = self.commits.wanted.entry(partition).or_insert(next);
                *wanted = next.max(*wanted);
            }
        }
    }

    // Records.

    fn poll(&mut self) {
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
            wait = wait.min(Duration::from_millis(2));
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

    fn take(&mut self, message: &BorrowedMessage<'_>) {
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

    fn is_batch_full(&self) -> bool {
        self.batch.records.len() >= self.options.batch_records.max(1)
            || self.batch.bytes >= self.options.batch_bytes
    }

    fn close_batch_if_due(&mut self) {
        let waited = self
            .batch
            .since
            .is_some_and(|since| since.elapsed() >= self.options.batch_wait);
        if (waited || self.is_batch_full()) && self.outbox.is_empty() {
            self.close_batch();
        }
    }

    fn close_batch(&mut self) {
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
    fn tell(&mut self, event: ConsumerEvent) {
        self.close_batch();
        self.outbox.push_back(Stamped {
            rebalance: self.rebalance,
            positions: Vec::new(),
            event,
        });
        self.deliver();
    }

    fn deliver(&mut self) {
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
    fn balance(&mut self) {
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

    fn pause(&mut self, partitions: &[i32]) {
        let paused = self
            .list(partitions, Offset::Invalid)
            .and_then(|list| self.consumer.pause(&list));
        match paused {
            Ok(()) => self.paused.extend(partitions),
            Err(error) => warn!(topic = %self.shared.topic, %error, "cannot pause"),
        }
    }

    /// Partitions that come while the others are paused.
    fn pause_too(&mut self, partitions: &[i32]) {
        if !self.paused.is_empty() {
            self.pause(partitions);
        }
    }

    /// Only what we paused: an idle resume would make librdkafka fetch again from an older position.
    fn resume(&self, partitions: &[i32]) -> KafkaResult<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.consumer.resume(&self.list(partitions, Offset::Invalid)?)
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
        // Dropping the consumer leaves the group.
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

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    let mut partitions: Vec<i32> = list
        .elements()
        .iter()
        .map(|element| element.partition())
        .collect();
    partitions.sort_unstable();
    partitions
}

fn copy(topic: &Arc<str>, message: &BorrowedMessage<'_>) -> Record {
    Record {
        topic: Arc::clone(topic),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        headers: message.headers().map_or_else(Vec::new, copy_headers),
        payload: message.payload().map_or_else(Vec::new, <[u8]>::to_vec),
    }
}

/// The client library panics at a header whose name is not UTF-8, which anybody can send. Such a
/// header is left out, the record goes on.
fn copy_headers(headers: &BorrowedHeaders) -> Vec<(String, Vec<u8>)> {
    let mut copied = Vec::with_capacity(headers.count());
    for index in 0..headers.count() {
        let header = catch_unwind(AssertUnwindSafe(|| {
            let header = headers.try_get(index)?;
            Some((
                header.key.to_owned(),
                header.value.map_or_else(Vec::new, <[u8]>::to_vec),
            ))
        }));
        match header {
            Ok(header) => copied.extend(header),
            Err(_) => debug!("left out a header whose name is not utf-8"),
        }
    }
    copied
}
