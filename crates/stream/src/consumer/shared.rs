//! What the owner, the consumer's thread and the lag watcher share: small, and under one short lock.
//!
//! Every assignment of a partition has a number. The owner has *seen* an assignment once it took
//! the event out of the queue; what it asks for before that was decided under an older one and is
//! dropped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::ConsumerEvent;
use crate::context::lock;

/// After the thread stood still for longer than a session lives, this much of polling must pass
/// before we believe again that the group still knows us: librdkafka checks its own session at
/// least once a second and then takes the assignment away.
const PROBATION: Duration = Duration::from_secs(3);

/// An event with what its receipt changes.
#[derive(Debug)]
pub(super) struct Stamped {
    /// The number of the latest rebalance that happened before or with this event.
    pub(super) rebalance: u64,
    /// Next offsets once these records are taken.
    pub(super) positions: Vec<(i32, i64)>,
    pub(super) event: ConsumerEvent,
}

/// A partition that is assigned.
#[derive(Debug)]
pub(super) struct Partition {
    /// The rebalance that brought it.
    pub(super) assigned_by: u64,
    /// Whether it is in librdkafka's assignment, hence read.
    pub(super) started: bool,
    /// The next offset that the owner will receive.
    pub(super) taken: Option<i64>,
    /// The end of the log when last asked for.
    pub(super) end: Option<i64>,
}

impl Partition {
    pub(super) fn lag(&self) -> Option<i64> {
        Some((self.end? - self.taken?).max(0))
    }
}

/// What the owner asked for since the thread last looked.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) starts: BTreeMap<i32, i64>,
    pub(super) commits: BTreeMap<i32, i64>,
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<i32, Partition>,
    requests: Requests,
    /// The latest rebalance whose event the owner has taken.
    seen: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) topic: Arc<str>,
    state: Mutex<State>,
    asked: AtomicBool,
    stop: AtomicBool,
    paused: AtomicBool,
    session: Duration,
    born: Instant,
    /// Milliseconds after `born`, as are those that follow.
    alive: AtomicU64,
    heard: AtomicU64,
    probation_until: AtomicU64,
}

impl Shared {
    pub(super) fn new(topic: &str, session: Duration) -> Shared {
        Shared {
            topic: Arc::from(topic),
            state: Mutex::default(),
            asked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            session,
            born: Instant::now(),
            alive: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            probation_until: AtomicU64::new(0),
        }
    }

    // The owner's side.

    /// The owner took an event.
    pub(super) fn seen(&self, stamped: Stamped) -> ConsumerEvent {
        let mut state = lock(&self.state);
        state.seen = state.seen.max(stamped.rebalance);
        for (partition, next) in stamped.positions {
            if let Some(found) = state.partitions.get_mut(&partition)
                && found.assigned_by <= stamped.rebalance
            {
                found.taken = Some(next);
            }
        }
        stamped.event
    }

    pub(super) fn ask_start(&self, partition: i32, offset: i64) {
        self.ask(partition, |requests| {
            requests.starts.insert(partition, offset);
        });
    }

    pub(super) fn ask_commit(&self, offsets: &[(i32, i64)]) {
        for &(partition, next) in offsets {
            self.ask(partition, |requests| {
                let asked = requests.commits.entry(partition).or_insert(next);
                *asked = next.max(*asked);
            });
        }
    }

    fn ask(&self, partition: i32, put: impl FnOnce(&mut Requests)) {
        let mut state = lock(&self.state);
        let known = state
            .partitions
            .get(&partition)
            .is_some_and(|found| found.assigned_by <= state.seen);
        if known {
            put(&mut state.requests);
            self.asked.store(true, Ordering::Release);
        }
    }

    pub(super) fn is_owned(&self, partition: i32) -> bool {
        let now = self.now();
        let stood_still = now.saturating_sub(self.alive.load(Ordering::Acquire)) >= millis(self.session);
        if stood_still || now < self.probation_until.load(Ordering::Acquire) {
            return false;
        }
        let state = lock(&self.state);
        state
            .partitions
            .get(&partition)
            .is_some_and(|found| found.assigned_by <= state.seen)
    }

    pub(super) fn assigned(&self) -> Vec<i32> {
        lock(&self.state).partitions.keys().copied().collect()
    }

    pub(super) fn with<T>(&self, partition: i32, read: impl FnOnce(&Partition) -> Option<T>) -> Option<T> {
        lock(&self.state).partitions.get(&partition).and_then(read)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// How long no broker has answered.
    pub(super) fn silent_for(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.heard.load(Ordering::Acquire)))
    }

    /// A broker answered.
    pub(super) fn hear(&self) {
        self.heard.store(self.now(), Ordering::Release);
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    // The thread's side.

    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    /// The thread is polling. After too long a gap nothing is believed to be ours for a while.
    pub(super) fn beat(&self) {
        let now = self.now();
        let before = self.alive.load(Ordering::Acquire);
        if now.saturating_sub(before) >= millis(self.session) {
            self.probation_until
                .store(now + millis(PROBATION), Ordering::Release);
        }
        self.alive.store(now, Ordering::Release);
    }

    /// Nothing is believed to be ours for a while.
    pub(super) fn distrust(&self) {
        self.probation_until
            .store(self.now() + millis(PROBATION), Ordering::Release);
    }

    /// What was asked for, if anything.
    pub(super) fn take_requests(&self) -> Option<Requests> {
        if !self.asked.swap(false, Ordering::AcqRel) {
            return None;
        }
        Some(std::mem::take(&mut lock(&self.state).requests))
    }

    pub(super) fn add(&self, rebalance: u64, partitions: &[i32], started: bool) {
        let mut state = lock(&self.state);
        for &partition in partitions {
            let fresh = Partition {
                assigned_by: rebalance,
                started,
                taken: None,
                end: None,
            };
            state.partitions.insert(partition, fresh);
        }
    }

    /// Marks a partition as read from `offset` on; false when it is not ours or is read already.
    pub(super) fn mark_started(&self, partition: i32, offset: i64) -> bool {
        let mut state = lock(&self.state);
        match state.partitions.get_mut(&partition) {
            Some(found) if !found.started => {
                found.started = true;
                found.taken = (offset >= 0).then_some(offset);
                true
            }
            _ => false,
        }
    }

    /// Forgets partitions, and what was asked for them; gives those that were read.
    pub(super) fn remove(&self, partitions: &[i32]) -> Vec<i32> {
        let mut state = lock(&self.state);
        let mut read = Vec::new();
        for partition in partitions {
            state.requests.starts.remove(partition);
            state.requests.commits.remove(partition);
            if state
                .partitions
                .remove(partition)
                .is_some_and(|found| found.started)
            {
                read.push(*partition);
            }
        }
        read
    }

    pub(super) fn started(&self) -> Vec<i32> {
        let state = lock(&self.state);
        state
            .partitions
            .iter()
            .filter(|(_, found)| found.started)
            .map(|(partition, _)| *partition)
            .collect()
    }

    // The lag watcher's side.

    /// The read partitions of which no position is known yet, with their assignment's number.
    pub(super) fn without_position(&self) -> Vec<(i32, u64)> {
        let state = lock(&self.state);
        let unknown = state
            .partitions
            .iter()
            .filter(|(_, found)| found.started && found.taken.is_none());
        unknown
            .map(|(partition, found)| (*partition, found.assigned_by))
            .collect()
    }

    pub(super) fn set_position(&self, partition: i32, assigned_by: u64, offset: i64) {
        if let Some(found) = lock(&self.state).partitions.get_mut(&partition)
            && found.assigned_by == assigned_by
            && found.taken.is_none()
        {
            found.taken = Some(offset);
        }
    }

    pub(super) fn set_end(&self, partition: i32, end: i64) {
        if let Some(found) = lock(&self.state).partitions.get_mut(&partition) {
            found.end = Some(end);
        }
    }

    fn now(&self) -> u64 {
        millis(self.born.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(rebalance: u64, partitions: &[i32]) -> Stamped {
        Stamped {
            rebalance,
            positions: Vec::new(),
            event: ConsumerEvent::Assigned(partitions.to_vec()),
        }
    }

    #[test]
    fn what_was_decided_under_an_older_assignment_is_dropped() {
        let shared = Shared::new("t", Duration::from_secs(60));
        shared.add(1, &[3], false);
        shared.seen(assigned(1, &[3]));
        assert!(shared.is_owned(3));
        // Lost and won again, which the owner has not seen yet.
        shared.remove(&[3]);
        shared.add(2, &[3], false);
        assert!(!shared.is_owned(3));
        shared.ask_start(3, 100);
        shared.ask_commit(&[(3, 100)]);
        assert!(shared.take_requests().is_none());
        shared.seen(assigned(2, &[3]));
        shared.ask_start(3, 200);
        assert_eq!(shared.take_requests().unwrap().starts, BTreeMap::from([(3, 200)]));
    }

    #[test]
    fn records_of_an_older_assignment_do_not_move_the_position() {
        let shared = Shared::new("t", Duration::from_secs(60));
        shared.add(2, &[0], true);
        let old = Stamped {
            rebalance: 1,
            positions: vec![(0, 50)],
            event: ConsumerEvent::Records(Vec::new()),
        };
        shared.seen(old);
        assert_eq!(shared.with(0, |found| found.taken), None);
    }

    #[test]
    fn commits_are_merged_to_the_highest() {
        let shared = Shared::new("t", Duration::from_secs(60));
        shared.add(1, &[0, 1], true);
        shared.seen(assigned(1, &[0, 1]));
        shared.ask_commit(&[(0, 5), (1, 7), (9, 9)]);
        shared.ask_commit(&[(0, 4), (1, 8)]);
        assert_eq!(
            shared.take_requests().unwrap().commits,
            BTreeMap::from([(0, 5), (1, 8)])
        );
    }

    #[test]
    fn a_thread_that_stood_still_for_a_session_owns_nothing_for_a_while() {
        let shared = Shared::new("t", Duration::from_millis(30));
        shared.add(1, &[0], true);
        shared.seen(assigned(1, &[0]));
        shared.beat();
        assert!(shared.is_owned(0));
        let stopped = Instant::now();
        while stopped.elapsed() < Duration::from_millis(31) {
            std::hint::spin_loop();
        }
        assert!(!shared.is_owned(0), "before the thread is scheduled again");
        shared.beat();
        assert!(!shared.is_owned(0), "and while the group may have moved on");
    }
}
