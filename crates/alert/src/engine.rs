//! Runs one lane for each destination, between whoever brings the changes and the ledger.
//!
//! A batch of changes goes through the steps of [`Shared::submit`]: what is to happen with each at each
//! destination is decided, what is only recorded is written, and the lanes are offered the rest.
//!
//! The lanes share nothing but the recorder and the offsets, so that one which waits for its receiver
//! holds up no other. What waits for the ledger holds up all of them, and in the end consumption. What
//! the breaker holds back, and what people ask for, is in `quiet`.

mod decide;
mod digests;
mod quiet;
mod shipping;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use health::AlertChange;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use self::decide::Judged;
use self::digests::Digests;
use crate::body::Order;
use crate::breaker::BreakerConfig;
use crate::clock::Clock;
use crate::destination::Transport;
use crate::lane::{Change, Lane, Offered, RETRYING};
use crate::metrics::AlertMetrics;
use crate::offsets::{Offsets, Ticket};
use crate::policy::{Policy, Recent};
use crate::recorder::{self, Ledger, Numbered};

pub(crate) use quiet::HoldLedger;
use quiet::{Decided, Due, Quiet, Standing};
use shipping::run_lane;

/// The longest that a lane sleeps: due times are of the wall clock, which may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The pause before it is looked again whether a partition is ours.
const FENCE_PAUSE: Duration = Duration::from_millis(50);

/// Why the engine cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error(transparent)]
    Ledger(#[from] store::Error),
    #[error("a task of the alert worker panicked: {0}")]
    Panicked(JoinError),
}

/// The bounds of an engine.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub max_uncommitted: usize,
    pub recorder_queue: usize,
    pub drain: Duration,
    pub breaker: BreakerConfig,
    /// How often to look for what people ask for.
    pub look: Duration,
}

/// A change of an alert and where it stands in the topic.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub partition: i32,
    pub offset: i64,
    /// `None` for a record that cannot be read: it is passed over.
    pub change: Option<AlertChange>,
}

/// Owns the tasks; dropping it ends them.
pub(crate) struct Engine<L> {
    shared: Arc<Shared<L>>,
    tasks: AbortHandle,
    bounds: Bounds,
}

struct Shared<L> {
    ledger: Arc<L>,
    policy: Policy,
    clock: Clock,
    metrics: AlertMetrics,
    lanes: Vec<Slot>,
    offsets: Mutex<Offsets>,
    recent: Mutex<Recent>,
    digests: Mutex<Digests>,
    /// Held while digests are being made.
    making_digests: tokio::sync::Mutex<()>,
    digests_wake: Notify,
    entries: mpsc::Sender<Numbered>,
    partition_count: Mutex<i32>,
    owned: Mutex<BTreeSet<i32>>,
    /// Held while records are submitted, and while what people asked for is done.
    quiet: tokio::sync::Mutex<Quiet>,
    due: Mutex<Due>,
    assigned: Notify,
    /// Something was written.
    progress: Notify,
    /// Whether a partition is still ours, by whoever brings the changes.
    fence: OnceLock<Fence>,
}

/// See [`Engine::fenced_by`].
type Fence = Box<dyn Fn(i32) -> bool + Send + Sync>;

struct Slot {
    lane: Mutex<Lane>,
    wake: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L: Ledger> Engine<L> {
    /// Starts the tasks. The receiver is told when the engine cannot go on.
    pub fn start<T: Transport>(
        ledger: L,
        policy: Policy,
        lanes: Vec<(Lane, T)>,
        bounds: Bounds,
        metrics: AlertMetrics,
        clock: Clock,
    ) -> (Engine<L>, oneshot::Receiver<Stopped>) {
        let (entries, received) = mpsc::channel(bounds.recorder_queue);
        let mut slots = Vec::new();
        let mut transports = Vec::new();
        for (lane, transport) in lanes {
            slots.push(Slot {
                lane: Mutex::new(lane),
                wake: Notify::new(),
            });
            transports.push(Arc::new(transport));
        }
        let shared = Arc::new(Shared {
            ledger: Arc::new(ledger),
            policy,
            clock,
            metrics,
            lanes: slots,
            offsets: Mutex::new(Offsets::default()),
            recent: Mutex::default(),
            digests: Mutex::default(),
            making_digests: tokio::sync::Mutex::default(),
            digests_wake: Notify::new(),
            entries,
            partition_count: Mutex::new(1),
            owned: Mutex::default(),
            quiet: tokio::sync::Mutex::new(Quiet::new(bounds.breaker.clone())),
            due: Mutex::default(),
            assigned: Notify::new(),
            progress: Notify::new(),
            fence: OnceLock::new(),
        });

        let mut running = JoinSet::new();
        let recording = Arc::clone(&shared);
        running.spawn(async move {
            let ledger = Arc::clone(&recording.ledger);
            let clock = recording.clock.clone();
            recorder::record(ledger, clock, received, |numbered| recording.written(numbered)).await?;
            Ok(())
        });
        if !shared.lanes.is_empty() {
            let making = Arc::clone(&shared);
            running.spawn(async move { making.run_digests().await });
        }
        for (number, transport) in transports.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            running.spawn(run_lane(shared, number, transport));
        }
        running.spawn(quiet::look_out(Arc::clone(&shared), bounds.look));
        let (failed, failure) = oneshot::channel();
        let watch = tokio::spawn(async move {
            let stopped = loop {
                match running.join_next().await {
                    Some(Ok(Err(stopped))) => break stopped,
                    Some(Err(error)) if error.is_panic() => break Stopped::Panicked(error),
                    Some(_) => continue,
                    None => return,
                }
            };
            // Nobody listens once the engine is gone.
            let _unheard = failed.send(stopped);
        });
        let engine = Engine {
            shared,
            tasks: watch.abort_handle(),
            bounds,
        };
        (engine, failure)
    }

    /// From here on no request is begun for a partition of which `is_ours` says no: it may be another worker's
    /// before the engine is told to [`release`](Self::release) it, which comes behind what is being submitted.
    pub fn fenced_by(&self, is_ours: impl Fn(i32) -> bool + Send + Sync + 'static) {
        // The first one holds.
        let _again = self.shared.fence.set(Box::new(is_ours));
    }

    /// These partitions of a topic with `partition_count` are ours: goes on with what waits of them.
    pub fn assign(&self, partitions: &[i32], partition_count: i32) {
        *lock(&self.shared.partition_count) = partition_count;
        let mut offsets = lock(&self.shared.offsets);
        for &partition in partitions {
            offsets.assign(partition);
        }
        drop(offsets);
        lock(&self.shared.owned).extend(partitions);
        lock(&self.shared.due).assigned = true;
        self.shared.assigned.notify_one();
        let now = self.shared.clock.now();
        for slot in &self.shared.lanes {
            lock(&slot.lane).assign(partitions, now);
            slot.wake.notify_one();
        }
        self.shared.begin_digests(partitions);
    }

    /// Hands records to all lanes, in order, once there is room for them.
    pub async fn submit(&self, arrivals: Vec<Arrival>) -> Result<(), store::Error> {
        let shared = &self.shared;
        let mut rest = arrivals.as_slice();
        while !rest.is_empty() {
            let room = shared.room(self.bounds.max_uncommitted).await;
            let (now, later) = rest.split_at(room.min(rest.len()));
            shared.submit(now).await?;
            rest = later;
        }
        Ok(())
    }

    /// The positions that moved since they were last asked for: for each partition the next offset.
    pub fn take_moved(&self) -> Vec<(i32, i64)> {
        lock(&self.shared.offsets).take_moved()
    }

    /// Ends when something was written since this was last waited for. Cancel safe.
    pub async fn progress(&self) {
        self.shared.progress.notified().await;
    }

    /// Finishes with these partitions: forgets what waits, waits for what is under way as long as it may,
    /// and cuts the rest. Afterwards the positions may be committed; then say
    /// [`forget`](Self::forget). Of a partition that is another worker's by then nothing is written: it could
    /// take the place of what its owner has written.
    pub async fn release(&self, partitions: &[i32]) {
        let shared = &self.shared;
        let ours = shared.still_ours(partitions);
        let partitions = ours.as_slice();
        for slot in &shared.lanes {
            lock(&slot.lane).release(partitions, shared.clock.now());
            slot.wake.notify_one();
        }
        shared.end_digests(partitions, self.bounds.drain).await;
        let settled = timeout(self.bounds.drain, shared.settled(partitions));
        if settled.await.is_ok() {
            return;
        }
        let ours = shared.still_ours(partitions);
        let partitions = ours.as_slice();
        for slot in &shared.lanes {
            let mut lane = lock(&slot.lane);
            let requests = lane.cut(partitions, shared.clock.now());
            if requests > 0 {
                info!(
                    destination = lane.destination(),
                    requests, "cutting requests short"
                );
            }
            drop(lane);
            slot.wake.notify_one();
        }
        let settled = timeout(self.bounds.drain / 2, shared.settled(partitions));
        if settled.await.is_err() {
            warn!(
                ?partitions,
                "not all deliveries could be recorded in time; some will be made again"
            );
        }
    }

    /// Drops what is held of these partitions.
    pub fn forget(&self, partitions: &[i32]) {
        for slot in &self.shared.lanes {
            lock(&slot.lane).forget(partitions);
            slot.wake.notify_one();
        }
        self.shared.forget_digests(partitions);
        lock(&self.shared.owned).retain(|partition| !partitions.contains(partition));
        lock(&self.shared.due).assigned = true;
        let mut offsets = lock(&self.shared.offsets);
        for &partition in partitions {
            offsets.release(partition);
        }
    }
}

impl<L> Drop for Engine<L> {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

impl<L: Ledger> Shared<L> {
    /// Waits until fewer than `most` records are outstanding and says how many more may be.
    async fn room(&self, most: usize) -> usize {
        loop {
            let progress = self.progress.notified();
            let outstanding = lock(&self.offsets).outstanding();
            if outstanding < most {
                return most - outstanding;
            }
            progress.await;
        }
    }

    /// Decides about the changes of a batch, writes down what is not sent, lets the breaker see what is to
    /// be, and offers the rest to the lanes.
    async fn submit(&self, arrivals: &[Arrival]) -> Result<(), store::Error> {
        let mut quiet = self.quiet.lock().await;
        self.catch_up(&mut quiet).await?;
        let judged = self.decide(arrivals).await?;
        let taken = self.take(arrivals, judged);
        self.progress.notify_one();
        self.note(&taken).await?;
        let known = self.known(&taken).await?;
        let fresh: Vec<&Judged<'_>> = taken
            .iter()
            .map(|(_, judged)| judged)
            .filter(|judged| known.iter().any(|known| known.is_news(judged)))
            .collect();
        self.observe(&mut quiet, &fresh).await?;
        let mut standing = self.standing(&fresh).await?;
        for (slot, known) in self.lanes.iter().zip(&known) {
            self.offer(slot, known, &taken, &quiet, &mut standing).await?;
        }
        Ok(())
    }

    /// Takes the records of a batch, and gives back those that something is to happen with: of each as
    /// many shares are open as there are decisions about it.
    fn take<'a>(&self, arrivals: &[Arrival], judged: Vec<Judged<'a>>) -> Vec<(Ticket, Judged<'a>)> {
        let mut judged = judged.into_iter().peekable();
        let mut taken = Vec::with_capacity(judged.len());
        for arrival in arrivals {
            let about = judged.next_if(|judged| std::ptr::eq(judged.arrival, arrival));
            let shares = about.as_ref().map_or(0, |judged| judged.decided.decisions.len());
            let ticket = lock(&self.offsets).take(arrival.partition, arrival.offset, shares);
            if let (Some(ticket), Some(judged)) = (ticket, about) {
                lock(&self.recent).add(&judged.change.episode_id, &judged.decided, ticket);
                taken.push((ticket, judged));
            }
        }
        taken
    }

    /// Offers one lane what is to be sent by it, but for what the breaker keeps back.
    async fn offer(
        &self,
        slot: &Slot,
        known: &Known,
        taken: &[(Ticket, Judged<'_>)],
        quiet: &Quiet,
        standing: &mut Standing,
    ) -> Result<(), store::Error> {
        let (mut kept_back, mut tickets) = (Vec::new(), Vec::new());
        for (ticket, judged) in taken {
            let Some(not_before) = judged.send_to(&known.destination) else {
                continue;
            };
            let change = judged.change;
            let now = self.clock.now();
            if known.written.contains(&change.alert_id) {
                // The owner before may have written it when the lane had read what waits already.
                lock(&slot.lane).look_again(now);
                self.settle([*ticket]);
                continue;
            }
            let was_held = known.held.contains(&change.alert_id);
            if !was_held {
                match quiet.decide(judged, &known.destination, standing, now) {
                    Decided::Told { behind: false } => {}
                    Decided::Told { behind: true } => {
                        lock(&slot.lane).look_for_episode(&change.episode_id, now)
                    }
                    Decided::Noted(rows) => {
                        kept_back.extend(rows);
                        tickets.push(*ticket);
                        continue;
                    }
                }
            }
            let offered = {
                let mut lane = lock(&slot.lane);
                if was_held && !lane.knows(&change.alert_id) {
                    // It has left since, with its row; offered, it would be taken for one that is new.
                    Offered::Settled(*ticket)
                } else {
                    lane.offer(to_deliver(judged, not_before, *ticket), now)
                }
            };
            match offered {
                Offered::Held | Offered::Written => {}
                Offered::Settled(ticket) => self.settle([ticket]),
            }
        }
        self.write_down(&kept_back).await?;
        self.settle(tickets);
        slot.wake.notify_one();
        Ok(())
    }

    /// Which of the changes that are to be sent each lane holds, and of which there are rows.
    async fn known(&self, taken: &[(Ticket, Judged<'_>)]) -> Result<Vec<Known>, store::Error> {
        let mut all = Vec::with_capacity(self.lanes.len());
        for slot in &self.lanes {
            // In this order: what is not held now and has no row after that was never offered.
            let (destination, held, unknown) = {
                let lane = lock(&slot.lane);
                let destination = lane.destination().to_string();
                let to_send = taken
                    .iter()
                    .filter(|(_, judged)| judged.send_to(&destination).is_some());
                let ids = to_send.map(|(_, judged)| judged.change.alert_id.clone());
                let (held, unknown): (HashSet<String>, HashSet<String>) = ids.partition(|id| lane.knows(id));
                (destination, held, Vec::from_iter(unknown))
            };
            let mut written = HashSet::new();
            if !unknown.is_empty() {
                written.extend(self.ledger.attempted(&destination, &unknown).await?);
            }
            all.push(Known {
                destination,
                held,
                written,
            });
        }
        Ok(all)
    }

    /// The recorder wrote this.
    fn written(&self, numbered: Numbered) {
        let mut further = Vec::new();
        if let Some(slot) = numbered.lane.and_then(|lane| self.lanes.get(lane)) {
            further = lock(&slot.lane).recorded(&numbered.entry);
            slot.wake.notify_one();
        }
        for row in numbered.entry.rows() {
            if row.attempt > 0 || row.status != RETRYING {
                let labels = [row.destination.as_str(), row.status.as_str()];
                self.metrics.deliveries.with_label_values(&labels).inc();
            }
        }
        self.settle(numbered.entry.tickets.into_iter().chain(further));
    }

    fn settle(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let mut offsets = lock(&self.offsets);
        for ticket in tickets {
            offsets.settle(ticket);
        }
        drop(offsets);
        self.progress.notify_waiters();
        self.progress.notify_one();
    }

    fn is_ours(&self, partition: i32) -> bool {
        self.fence.get().is_none_or(|is_ours| is_ours(partition))
    }

    /// Waits while a partition may be another worker's. Should it be, its requests are given up before long.
    async fn until_ours(&self, partition: i32) {
        while !self.is_ours(partition) {
            sleep(FENCE_PAUSE).await;
        }
    }

    /// Those of the partitions that are not another worker's by now; what is held of the others is dropped.
    fn still_ours(&self, partitions: &[i32]) -> Vec<i32> {
        let (ours, gone): (Vec<i32>, Vec<i32>) = partitions.iter().partition(|number| self.is_ours(**number));
        if !gone.is_empty() {
            for slot in &self.lanes {
                lock(&slot.lane).forget(&gone);
                slot.wake.notify_one();
            }
        }
        ours
    }

    /// Waits until nothing of these partitions is outstanding or under way.
    async fn settled(&self, partitions: &[i32]) {
        loop {
            let progress = self.progress.notified();
            let outstanding = lock(&self.offsets).outstanding_of(partitions);
            let busy = self
                .lanes
                .iter()
                .any(|slot| lock(&slot.lane).is_busy_with(partitions));
            if outstanding == 0 && !busy {
                return;
            }
            progress.await;
        }
    }
}

/// What of a batch is known to a lane already.
struct Known {
    destination: String,
    held: HashSet<String>,
    written: HashSet<String>,
}

impl Known {
    /// Whether the change is to be sent by the lane and was never offered to it.
    fn is_news(&self, judged: &Judged<'_>) -> bool {
        let alert_id = &judged.change.alert_id;
        judged.send_to(&self.destination).is_some()
            && !self.held.contains(alert_id)
            && !self.written.contains(alert_id)
    }
}

fn to_deliver(judged: &Judged<'_>, not_before: Option<i64>, ticket: Ticket) -> Change {
    let change = judged.change;
    Change {
        alert_id: change.alert_id.as_str().into(),
        episode_id: change.episode_id.as_str().into(),
        order: Order::new(change.at, &change.change),
        partition: ticket.partition,
        body: Arc::clone(&judged.body),
        variant: Arc::clone(&judged.decided.variant),
        not_before,
        // How long an alert takes says nothing about one that is to wait.
        caused_at: (change.caused_by_received_at > 0 && not_before.is_none())
            .then_some(change.caused_by_received_at),
        ticket,
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
