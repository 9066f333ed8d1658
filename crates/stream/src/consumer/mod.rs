//! A member of a consumer group, on a thread of its own.
//!
//! The owner sees one queue of [`ConsumerEvent`]s, in the order in which things happened: an
//! assignment before its records, the records before the revocation. It answers through the
//! [`ConsumerHandle`]: where to start, what to commit.
//!
//! ```no_run
//! # async fn example(metrics: stream::ConsumerMetrics) -> Result<(), stream::Error> {
//! use stream::{ConsumerEvent, ConsumerOptions, KafkaConfig, StartFrom, consume, topics};
//!
//! let options = ConsumerOptions::new("mimamori-ingest", topics::RAW, StartFrom::Committed);
//! let (handle, mut events) = consume(&KafkaConfig::default(), options, metrics)?;
//! while let Some(event) = events.recv().await {
//!     match event {
//!         ConsumerEvent::Records(records) => {
//!             for record in &records {
//!                 // Do the work, then say what is done: the *next* offset to read.
//!                 handle.commit(&[(record.partition, record.offset + 1)]);
//!             }
//!         }
//!         ConsumerEvent::Revoked { drained, .. } => drop(drained.send(())),
//!         ConsumerEvent::Assigned(_) | ConsumerEvent::Lost(_) => {}
//!         ConsumerEvent::Failed(error) => return Err(error),
//!     }
//! }
//! # Ok(()) }
//! ```

mod callbacks;
mod commit;
mod lag;
mod shared;
mod thread;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::config::KafkaConfig;
use crate::context::lock;
use crate::error::Error;
use crate::metrics::ConsumerMetrics;
use crate::record::Record;

use callbacks::Callbacks;
use shared::Shared;

/// The offset that stands for "the oldest record that the log still holds" in [`ConsumerHandle::start`].
pub const EARLIEST: i64 = -2;

/// How long [`ConsumerHandle::shutdown`] waits for the thread to commit, leave the group and end.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Where an assigned partition begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StartFrom {
    /// At the group's committed offset, else at the oldest record.
    Committed,
    /// Nowhere until the owner says [`ConsumerHandle::start`]: it must read its state first.
    Asked,
}

/// Which topic, in which group, and how much at a time.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The consumer group.
    pub group: String,
    /// The topic. One, because partitions are named by their number alone.
    pub topic: String,
    /// Where assigned partitions begin.
    pub start: StartFrom,
    /// Records in a batch at most. Default 2000.
    pub batch_records: usize,
    /// Bytes of keys and values in a batch, above which it is closed. Default 1 MiB.
    pub batch_bytes: usize,
    /// How long a batch waits to fill. Default 20 ms.
    pub batch_wait: Duration,
    /// Batches that wait for the owner at most; beyond it the partitions are paused. Default 8.
    pub queue_batches: usize,
}

impl ConsumerOptions {
    /// The defaults, for this group and topic.
    pub fn new(group: impl Into<String>, topic: impl Into<String>, start: StartFrom) -> ConsumerOptions {
        ConsumerOptions {
            group: group.into(),
            topic: topic.into(),
            start,
            batch_records: 2_000,
            batch_bytes: 1 << 20,
            batch_wait: Duration::from_millis(20),
            queue_batches: 8,
        }
    }
}

/// What happened, in order.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// These partitions are ours now. With [`StartFrom::Asked`] nothing is read until each is started.
    Assigned(Vec<i32>),
    /// Records, in offset order within each partition.
    Records(Vec<Record>),
    /// These partitions go to another member once the owner has finished what it holds of them:
    /// commit, then send into `drained` (or drop it). After the deadline
    /// (`kafka.revoke_deadline_ms`, counted from when the broker asked) they go anyway.
    Revoked {
        /// The partitions that go.
        partitions: Vec<i32>,
        /// Tells the consumer that the owner is done with them.
        drained: oneshot::Sender<()>,
    },
    /// These partitions are not ours any more and may be another member's already: drop what is
    /// held of them, write nothing, commit nothing.
    Lost(Vec<i32>),
    /// The consumer cannot go on; this is the last event.
    Failed(Error),
}

/// The queue of events; one owner.
#[derive(Debug)]
pub struct ConsumerEvents {
    receiver: mpsc::Receiver<shared::Stamped>,
    shared: Arc<Shared>,
}

impl ConsumerEvents {
    /// The next event; `None` once the consumer has ended. Cancel safe.
    pub async fn recv(&mut self) -> Option<ConsumerEvent> {
        let stamped = self.receiver.recv().await?;
        Some(self.shared.seen(stamped))
    }

    /// The next event if there is one now.
    pub fn try_recv(&mut self) -> Option<ConsumerEvent> {
        let stamped = self.receiver.try_recv().ok()?;
        Some(self.shared.seen(stamped))
    }
}

/// How the owner answers. Clones are one consumer; it leaves the group when the last one is dropped.
#[derive(Clone, Debug)]
pub struct ConsumerHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    silent_after: Duration,
    thread: Mutex<Option<(std::thread::JoinHandle<()>, oneshot::Receiver<()>)>>,
}

/// Whether a worker takes part in its group, for whoever asks it for readiness.
#[derive(Debug, Clone, Default)]
pub enum Membership {
    /// It has not been assigned anything yet, or has ended.
    #[default]
    Away,
    /// It takes part.
    Joined(ConsumerHandle),
}

impl Membership {
    /// Whether it takes part and hears of the broker.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Membership::Away => Err("not taking part yet".to_owned()),
            Membership::Joined(handle) => match handle.silence() {
                None => Ok(()),
                Some(silent) => Err(format!(
                    "no Kafka broker has answered for {} s: nothing is consumed until one does",
                    silent.as_secs()
                )),
            },
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl ConsumerHandle {
    /// Begins reading a partition exactly at `offset` (or at [`EARLIEST`]). Only with
    /// [`StartFrom::Asked`], once per assignment; ignored when the partition is not ours, or when
    /// it was lost and won again since the owner last looked into its queue.
    pub fn start(&self, partition: i32, offset: i64) {
        self.inner.shared.ask_start(partition, offset);
    }

    /// Asks for offsets to be committed: for each partition the *next* offset to read. Returns at
    /// once; commits are merged, sent in the background and sent again until the broker took them.
    /// Ignored for partitions that are not ours under the assignment that the owner knows.
    pub fn commit(&self, offsets: &[(i32, i64)]) {
        self.inner.shared.ask_commit(offsets);
    }

    /// Whether the owner may still write what came from this partition: it is assigned, that
    /// assignment is the one whose [`ConsumerEvent::Assigned`] the owner has received, and the
    /// consumer's thread has not stood still for as long as a session lives. Costs a lock; meant to
    /// be asked before each write, not for each record.
    pub fn is_owned(&self, partition: i32) -> bool {
        self.inner.shared.is_owned(partition)
    }

    /// The partitions that are assigned now, in order.
    pub fn assigned(&self) -> Vec<i32> {
        self.inner.shared.assigned()
    }

    /// The end of a partition (the offset that the next record will get) when last asked for, at
    /// most `kafka.lag_interval_ms` ago unless the broker is away. `None` when not yet known or not ours.
    pub fn end_offset(&self, partition: i32) -> Option<i64> {
        self.inner.shared.with(partition, |state| state.end)
    }

    /// The next offset that the owner will receive. `None` when not yet known or not ours.
    pub fn position(&self, partition: i32) -> Option<i64> {
        self.inner.shared.with(partition, |state| state.taken)
    }

    /// Records between [`position`](Self::position) and [`end_offset`](Self::end_offset): 0 is
    /// caught up. Counts markers of transactions as records. `None` when not yet known or not ours.
    pub fn lag(&self, partition: i32) -> Option<i64> {
        self.inner.shared.with(partition, |state| state.lag())
    }

    /// Whether consumption waits now because the owner is behind.
    pub fn is_paused(&self) -> bool {
        self.inner.shared.is_paused()
    }

    /// How long no broker has answered, whether or not anything is owned; `None` while one does. One that
    /// is there is asked every `kafka.lag_interval_ms`, and counts as silent after `kafka.silent_after_ms`.
    pub fn silence(&self) -> Option<Duration> {
        let silent = self.inner.shared.silent_for();
        (silent >= self.inner.silent_after).then_some(silent)
    }

    /// Sends what was asked to be committed, leaves the group and ends the thread; within 2 s, else
    /// the thread is left to end by itself. The owner finishes and commits its work before.
    pub async fn shutdown(self) {
        self.inner.shared.stop();
        let Some((thread, ended)) = lock(&self.inner.thread).take() else {
            return;
        };
        // The sender is dropped when the thread ends, so an error is the sign that it did.
        if tokio::time::timeout(SHUTDOWN, ended).await.is_err() {
            warn!(topic = %self.inner.shared.topic, "the consumer did not leave its group in time; left behind");
            return;
        }
        if thread.join().is_err() {
            warn!(topic = %self.inner.shared.topic, "the consumer's thread panicked");
        }
    }
}

/// Starts a consumer. It joins the group in the background; a broker that is away is waited for.
///
/// # Errors
/// [`Error::Config`] when the configuration cannot be used; [`Error::Client`] when the thread or the
/// client cannot be made.
pub fn consume(
    config: &KafkaConfig,
    options: ConsumerOptions,
    metrics: ConsumerMetrics,
) -> Result<(ConsumerHandle, ConsumerEvents), Error> {
    let reset = match options.start {
        StartFrom::Committed => "earliest",
        // Reading on somewhere else would leave a hole in the owner's state.
        StartFrom::Asked => "error",
    };
    let consumer: BaseConsumer<Callbacks> = config
        .consumer(&options.group, reset)?
        .create_with_context(Callbacks::new(config))?;
    consumer.subscribe(&[&options.topic])?;

    let session = Duration::from_millis(config.session_timeout_ms);
    // One answer may be late.
    let silent_after = Duration::from_millis(config.silent_after_ms.max(config.lag_interval_ms * 3));
    let shared = Arc::new(Shared::new(&options.topic, session));
    let (sender, receiver) = mpsc::channel(options.queue_batches.max(1));
    let (ended_sender, ended) = oneshot::channel();
    let events = ConsumerEvents {
        receiver,
        shared: Arc::clone(&shared),
    };
    let name = format!("kafka-{}", options.group);
    let worker = thread::Worker::new(
        config,
        options,
        Arc::new(consumer),
        Arc::clone(&shared),
        sender,
        metrics,
    );
    let thread = std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            let _ended = ended_sender;
            worker.run();
        })
        .map_err(|error| Error::Client(format!("cannot start the consumer's thread: {error}")))?;
    let inner = Inner {
        shared,
        silent_after,
        thread: Mutex::new(Some((thread, ended))),
    };
    Ok((
        ConsumerHandle {
            inner: Arc::new(inner),
        },
        events,
    ))
}
