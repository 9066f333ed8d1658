//! What waits for one destination, and in which order it may go.
//!
//! Decides everything and does nothing: time is a parameter, and what is to be sent or written is
//! handed out, the rows by [`Lane::take_rows`], to be written in the order in which they come. What it
//! keeps true:
//!
//! - Of one episode at most the oldest change is under way, and the next one waits until the row about
//!   the last attempt of the one before it is written.
//! - At most `queue` deliveries are held. What does not fit is written as pending and taken in again
//!   when there is room. While anything waits in ClickHouse alone the lane is *parked*, and then a
//!   change that others may precede goes there too, so that it cannot overtake them.
//! - Of one episode no row is handed out before there is one, handed out or written, about each
//!   earlier change that is held: whoever reads the rows after a crash finds no later change alone.
//! - What may not be sent yet takes no part until it may, unless a later change of its episode may be
//!   sent sooner: then both are. Of an episode that is over by then nothing is sent.
//! - A ticket is handed back only with, or after, a row that says what became of its alert.
//! - While the destination shows no sign of life, its circuit is open and nothing is sent but a probe.
//! - What failed for good has a row with its body, so that it can be replayed. Once the destination is
//!   disabled all fails for good: what is held, what comes, and what waits in ClickHouse alone.

mod circuit;
mod deferred;
mod leave;
mod parked;
mod rows;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use store::DeliveryRow;
use tokio::sync::oneshot;

use crate::body::Order;
use crate::offsets::Ticket;
use crate::outcome::{Answer, Verdict};
use crate::schedule::Schedule;

use circuit::Circuit;
pub(crate) use circuit::{CircuitLimits, Switched};

/// The status of a delivery that the receiver has.
pub(crate) const DELIVERED: &str = "delivered";
/// The status of a delivery that will be tried (again).
pub(crate) const RETRYING: &str = "retrying";
/// The status of a delivery that nobody tries any more.
pub(crate) const FAILED: &str = "failed";
/// The status of a delivery that waits for the next digest.
pub(crate) const DIGEST: &str = "digest";
/// The status of a delivery that a digest has taken in.
pub(crate) const DIGESTED: &str = "digested";
/// The status of what a rule would have had sent that only records.
pub(crate) const SHADOW: &str = "shadow";
/// The status of what would have been sent of an account in a holdout.
pub(crate) const HELD_OUT: &str = "held_out";
/// The status of what is not sent, for the reason that the row gives.
pub(crate) const SUPPRESSED: &str = "suppressed";

/// Whoever is woken later than the rate permits the next request, by no more than so many milliseconds, makes
/// up for it: else a timer that is late each time would lower the rate.
const LATEST_WAKE: f64 = 20.0;

const NOT_TRIED_DISABLED: &str =
    "not tried: the destination answered 410 and is disabled until a restart or a replay";

/// The bounds of a lane.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub destination: String,
    pub queue: usize,
    pub concurrency: usize,
    pub rate_per_second: f64,
    pub schedule: Schedule,
    pub set_aside: Duration,
    pub reload_pause: Duration,
    pub circuit: CircuitLimits,
}

/// A change that is to be delivered.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub alert_id: Arc<str>,
    pub episode_id: Arc<str>,
    pub order: Order,
    pub partition: i32,
    pub body: Arc<str>,
    /// The variant of its rule that the account was put into; empty when there is none.
    pub variant: Arc<str>,
    /// It is not sent before, milliseconds.
    pub not_before: Option<i64>,
    /// When what caused it was received, milliseconds.
    pub caused_at: Option<i64>,
    pub ticket: Ticket,
}

/// A row to write, and what may be told once it is written.
#[derive(Debug)]
pub(crate) struct Entry {
    pub row: DeliveryRow,
    /// Rows that are written at once with it or not at all.
    pub together: Vec<DeliveryRow>,
    pub tickets: Vec<Ticket>,
    spilled: bool,
}

impl Entry {
    /// A row about something that no lane holds.
    pub fn note(row: DeliveryRow, ticket: Ticket) -> Entry {
        Entry {
            row,
            together: Vec::new(),
            tickets: vec![ticket],
            spilled: false,
        }
    }

    /// All its rows.
    pub fn rows(&self) -> impl Iterator<Item = &DeliveryRow> {
        std::iter::once(&self.row).chain(&self.together)
    }
}

/// What became of an offered change.
#[derive(Debug)]
pub(crate) enum Offered {
    /// The lane has it.
    Held,
    /// A row about it is written already.
    Settled(Ticket),
    /// The lane does not hold it; a row about it is handed out.
    Written,
}

/// A request to make.
#[derive(Debug)]
pub(crate) struct Shipment {
    pub alert_id: Arc<str>,
    pub partition: i32,
    pub body: Arc<str>,
    /// Ends when the answer is no longer wanted.
    pub cancelled: oneshot::Receiver<()>,
}

/// What follows from an answer.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The row about the attempt, which is handed out too.
    pub row: DeliveryRow,
    /// Set when delivered: when what caused it was received, milliseconds.
    pub caused_at: Option<i64>,
    /// The destination wants nothing more, which it had not said before.
    pub disabled: bool,
    /// What the answer did to the circuit.
    pub switched: Option<Switched>,
}

/// Which pending rows to read from ClickHouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reload {
    pub partitions: Vec<i32>,
    pub limit: usize,
}

#[derive(Debug)]
struct Job {
    episode_id: Arc<str>,
    order: Order,
    partition: i32,
    body: Arc<str>,
    variant: Arc<str>,
    caused_at: Option<i64>,
    tickets: Vec<Ticket>,
    attempts: u32,
    /// Attempts from before it was replayed or released, which the schedule does not count.
    uncounted: u32,
    due: i64,
    sequence: u64,
    state: State,
    /// A row about it is written.
    durable: bool,
    /// A row that says that it waits is handed out and not yet written.
    setting_aside: bool,
}

#[derive(Debug)]
enum State {
    Waiting,
    Sending {
        #[allow(dead_code, reason = "dropping it cancels the request")]
        cancel: oneshot::Sender<()>,
    },
    Recording,
}

impl Job {
    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }
}

#[derive(Debug)]
struct Parked {
    /// When the first of those in ClickHouse alone is due, as far as is known.
    due: i64,
    /// No reload before.
    not_before: i64,
}

#[derive(Debug)]
struct Reloading {
    generation: u64,
    /// What left the lane since the rows were asked for, and after which attempt; the rows may not know.
    removed: HashMap<Arc<str>, u32>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    limits: Limits,
    owned: BTreeSet<i32>,
    jobs: HashMap<Arc<str>, Job>,
    chains: HashMap<Arc<str>, VecDeque<Arc<str>>>,
    /// The waiting heads of the chains, by due time.
    ready: BTreeSet<(i64, u64, Arc<str>)>,
    /// Those without a row, in the order in which they came.
    fresh: VecDeque<(i64, Arc<str>)>,
    sequences: u64,
    sending: usize,
    hold_until: i64,
    /// When the rate permits the next request, milliseconds.
    next_free: f64,
    disabled: bool,
    circuit: Circuit,
    parked: Option<Parked>,
    reloading: Option<Reloading>,
    spills_unwritten: usize,
    rows: Vec<Entry>,
    /// Counts what may have made a read of the pending rows out of date.
    generation: u64,
}

impl Lane {
    pub fn new(limits: Limits) -> Lane {
        Lane {
            circuit: Circuit::new(limits.circuit.clone()),
            limits,
            owned: BTreeSet::new(),
            jobs: HashMap::new(),
            chains: HashMap::new(),
            ready: BTreeSet::new(),
            fresh: VecDeque::new(),
            sequences: 0,
            sending: 0,
            hold_until: i64::MIN,
            next_free: f64::MIN,
            disabled: false,
            parked: None,
            reloading: None,
            spills_unwritten: 0,
            rows: Vec::new(),
            generation: 0,
        }
    }

    pub fn destination(&self) -> &str {
        &self.limits.destination
    }

    /// Deliveries held.
    pub fn held(&self) -> usize {
        self.jobs.len()
    }

    /// Whether deliveries wait, or may wait, in ClickHouse alone.
    pub fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// Whether nothing but a probe is sent, since the destination shows no sign of life.
    pub fn is_circuit_open(&self) -> bool {
        self.circuit.is_open()
    }

    /// Whether the alert is held. One that is not may have a row.
    pub fn knows(&self, alert_id: &str) -> bool {
        self.jobs.contains_key(alert_id)
    }

    /// These partitions are ours: what is pending of them is to be read.
    pub fn assign(&mut self, partitions: &[i32], now: i64) {
        self.owned.extend(partitions);
        self.park(now, now);
    }

    /// Rows in ClickHouse alone are to be delivered now, by somebody's word, who knows that the
    /// destination is there: one that was disabled, or whose circuit is open, is tried again.
    pub fn requested(&mut self, now: i64) {
        self.disabled = false;
        self.circuit.trust();
        self.look_again(now);
    }

    /// Rows may wait in ClickHouse alone: they are to be read.
    pub fn look_again(&mut self, now: i64) {
        self.park(now, i64::MIN);
    }

    /// As [`look_again`](Self::look_again), if nothing of this episode is held: what is written of it may
    /// have been released or replayed, and nothing may overtake it.
    pub fn look_for_episode(&mut self, episode_id: &str, now: i64) {
        if !self.chains.contains_key(episode_id) {
            self.look_again(now);
        }
    }

    /// A change from Kafka.
    pub fn offer(&mut self, change: Change, now: i64) -> Offered {
        if let Some(job) = self.jobs.get_mut(&change.alert_id) {
            if job.durable {
                return Offered::Settled(change.ticket);
            }
            job.tickets.push(change.ticket);
            return Offered::Held;
        }
        if self.disabled {
            let reason = NOT_TRIED_DISABLED.to_string();
            let mut row = self.dead_row(&change.alert_id, 1, reason, now, &change.body);
            row.episode_id = change.episode_id.to_string();
            row.variant = change.variant.to_string();
            self.hand_out(row, vec![change.ticket], false);
            return Offered::Written;
        }
        let may_overtake = self.parked.is_some() && !change.order.is_first();
        // Nothing of it will be sent, so that it takes no place for long.
        let leaves_at_once = change.order.is_end() && self.awaits_its_time(&change.episode_id, now);
        let is_full = self.jobs.len() >= self.limits.queue;
        let due = change.not_before.map_or(now, |opening| opening.max(now));
        if may_overtake || (is_full && !leaves_at_once && !self.make_room(now, &change.episode_id)) {
            let reason = if may_overtake {
                "not tried yet: waits behind earlier deliveries"
            } else {
                "not tried yet: the destination's queue is full"
            };
            for earlier in self.chains.get(&change.episode_id).cloned().unwrap_or_default() {
                self.set_one_aside(&earlier, now);
            }
            self.spills_unwritten += 1;
            // From here on others may have to wait for it; when it is due is known once it is written.
            self.park(i64::MAX, i64::MIN);
            let mut row = self.pending_row(&change.alert_id, 0, reason, now, due, &change.body);
            row.episode_id = change.episode_id.to_string();
            row.variant = change.variant.to_string();
            self.hand_out(row, vec![change.ticket], true);
            return Offered::Written;
        }
        self.fresh.push_back((now, change.alert_id.clone()));
        let (alert_id, episode_id) = (change.alert_id.clone(), change.episode_id.clone());
        let job = Job {
            episode_id: change.episode_id,
            order: change.order,
            partition: change.partition,
            body: change.body,
            variant: change.variant,
            caused_at: change.caused_at,
            tickets: vec![change.ticket],
            attempts: 0,
            uncounted: 0,
            due: due + self.pause(&change.alert_id, 0).unwrap_or(0),
            sequence: 0,
            state: State::Waiting,
            durable: false,
            setting_aside: false,
        };
        self.insert(change.alert_id, job);
        self.reconsider(&alert_id, now);
        if due > now {
            // It will be a while: the row need not wait for that, nor the position.
            for member in self.chains.get(&episode_id).cloned().unwrap_or_default() {
                self.set_one_aside(&member, now);
            }
        }
        Offered::Held
    }

    /// The next request to make now, if one may be made.
    pub fn next(&mut self, now: i64) -> Option<Shipment> {
        if self.disabled
            || self.sending >= self.limits.concurrency
            || now < self.hold_until
            || (now as f64) < self.next_free
            || !self.circuit.admits(now)
        {
            return None;
        }
        let (due, _, _) = self.ready.first()?;
        if *due > now {
            return None;
        }
        let (_, _, alert_id) = self.ready.pop_first()?;
        let job = self.jobs.get_mut(&alert_id)?;
        let (cancel, cancelled) = oneshot::channel();
        job.state = State::Sending { cancel };
        self.sending += 1;
        self.circuit.sent(&alert_id);
        if self.limits.rate_per_second > 0.0 {
            let (now, free) = (now as f64, self.next_free);
            let since = if now - free <= LATEST_WAKE { free } else { now };
            self.next_free = since + 1_000.0 / self.limits.rate_per_second;
        }
        Some(Shipment {
            body: job.body.clone(),
            partition: job.partition,
            alert_id,
            cancelled,
        })
    }

    /// An answer came. `at` is when the request was begun.
    /// `None` when the answer is no longer wanted.
    pub fn finish(&mut self, alert_id: &str, answer: &Answer, at: i64, now: i64) -> Option<Finished> {
        let (alert_id, job) = self.jobs.get_key_value(alert_id)?;
        if !matches!(job.state, State::Sending { .. }) {
            return None;
        }
        let alert_id = alert_id.clone();
        let attempt = job.attempts + 1;
        let counted = attempt - job.uncounted;
        let body = job.body.clone();
        let caused_at = job.caused_at;
        let verdict = answer.verdict();
        let disabled = verdict == Verdict::Gone && !self.disabled;
        let switched = self.circuit.answered(&alert_id, answer.proves_alive(), now);
        self.sending -= 1;

        let mut row = match verdict {
            Verdict::Delivered => self.row(&alert_id, attempt, DELIVERED, String::new(), at),
            Verdict::Failed { error } => self.dead_row(&alert_id, attempt, error, at, &body),
            Verdict::Gone => {
                let error = "answered 410: gone".to_string();
                self.dead_row(&alert_id, attempt, error, at, &body)
            }
            Verdict::Retry { error, .. } if self.disabled => {
                let error = format!("{error}; given up: the destination answered 410 to another one");
                self.dead_row(&alert_id, attempt, error, at, &body)
            }
            Verdict::Retry {
                error,
                not_before,
                hold,
            } => {
                let wish = not_before.map_or(0, millis);
                if hold {
                    self.hold_until = self.hold_until.max(now + wish);
                }
                match self.pause(&alert_id, counted) {
                    Some(pause) => {
                        let due = now + pause.max(wish);
                        self.pending_row(&alert_id, attempt, &error, at, due, &body)
                    }
                    None => {
                        let error = format!("{error}; given up after {counted} attempts");
                        self.dead_row(&alert_id, attempt, error, at, &body)
                    }
                }
            }
        };
        row.http_status = answer.status();
        row.reference = answer.reference().to_string();
        row.duration_ms = u32::try_from(now - at).unwrap_or(0);
        let finished = Finished {
            caused_at: caused_at.filter(|_| row.status == DELIVERED),
            row: row.clone(),
            disabled,
            switched,
        };
        self.await_row(&alert_id, row);
        if disabled {
            self.disable(now);
        }
        Some(finished)
    }

    /// The rows to write, in this order.
    pub fn take_rows(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.rows)
    }

    /// A row of this lane is written. Gives back the tickets that may be settled beyond the entry's own.
    pub fn recorded(&mut self, entry: &Entry) -> Vec<Ticket> {
        if entry.spilled {
            self.spills_unwritten -= 1;
            let due = entry.row.next_attempt_at.unwrap_or(entry.row.at);
            self.park(due, i64::MIN);
            return Vec::new();
        }
        entry.rows().flat_map(|row| self.row_recorded(row)).collect()
    }

    fn row_recorded(&mut self, row: &DeliveryRow) -> Vec<Ticket> {
        let alert_id = row.alert_id.as_str();
        let Some(job) = self.jobs.get_mut(alert_id) else {
            return Vec::new();
        };
        job.durable = true;
        job.setting_aside = false;
        let tickets = std::mem::take(&mut job.tickets);
        if !matches!(job.state, State::Recording) || job.attempts != row.attempt {
            return tickets;
        }
        job.state = State::Waiting;
        let stays = row.status == RETRYING && self.owned.contains(&job.partition);
        if stays {
            self.ready_if_head(alert_id);
        } else {
            self.remove(alert_id);
        }
        tickets
    }

    /// Hands out rows about those that have gone long enough without one, be they under way or not.
    pub fn set_aside(&mut self, now: i64) {
        while let Some((since, alert_id)) = self.fresh.front() {
            if since + millis(self.limits.set_aside) > now {
                break;
            }
            let alert_id = alert_id.clone();
            self.fresh.pop_front();
            self.set_one_aside(&alert_id, now);
        }
    }

    fn set_one_aside(&mut self, alert_id: &str, now: i64) {
        let Some(job) = self.jobs.get(alert_id) else {
            return;
        };
        if job.durable || job.setting_aside || matches!(job.state, State::Recording) {
            return;
        }
        let reason = if job.is_waiting() && job.due > now {
            "not tried yet: waits for its time"
        } else if job.is_waiting() {
            "not tried yet: waits for its turn"
        } else {
            "the first attempt is under way"
        };
        let row = self.pending_row(alert_id, 0, reason, now, job.due, &job.body);
        let mut tickets = Vec::new();
        if let Some(job) = self.jobs.get_mut(alert_id) {
            job.setting_aside = true;
            tickets = std::mem::take(&mut job.tickets);
        }
        self.hand_out(row, tickets, false);
    }

    /// When there will be something to do, if nothing else happens before.
    pub fn wake_at(&self) -> Option<i64> {
        let set_aside = self
            .fresh
            .front()
            .map(|(since, _)| since + millis(self.limits.set_aside));
        let send = match self.ready.first() {
            Some((due, _, _)) if !self.disabled && self.sending < self.limits.concurrency => {
                let admitted = self.circuit.admits_from();
                admitted.map(|from| {
                    let free = self.next_free.ceil() as i64;
                    (*due).max(self.hold_until).max(free).max(from)
                })
            }
            _ => None,
        };
        let reload = match &self.parked {
            Some(parked) if self.reloading.is_none() && !self.owned.is_empty() => {
                Some(parked.due.max(parked.not_before))
            }
            _ => None,
        };
        [set_aside, send, reload].into_iter().flatten().min()
    }

    fn disable(&mut self, now: i64) {
        self.disabled = true;
        self.ready.clear();
        let waiting: Vec<(Arc<str>, u32, Arc<str>)> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.is_waiting())
            .map(|(alert_id, job)| (alert_id.clone(), job.attempts + 1, job.body.clone()))
            .collect();
        for (alert_id, attempt, body) in waiting {
            let row = self.dead_row(&alert_id, attempt, NOT_TRIED_DISABLED.to_string(), now, &body);
            self.await_row(&alert_id, row);
        }
    }

    fn insert(&mut self, alert_id: Arc<str>, mut job: Job) {
        self.sequences += 1;
        job.sequence = self.sequences;
        let chain = self.chains.entry(job.episode_id.clone()).or_default();
        let head = chain.front().cloned();
        let head_is_busy = head
            .as_ref()
            .and_then(|head| self.jobs.get(head))
            .is_some_and(|head| !head.is_waiting());
        let mut index =
            chain.partition_point(|other| self.jobs.get(other).is_some_and(|other| other.order <= job.order));
        if head_is_busy {
            index = index.max(1);
        }
        chain.insert(index, alert_id.clone());
        if index == 0
            && let Some(second) = head
            && let Some(second_job) = self.jobs.get(&second)
        {
            self.ready.remove(&(second_job.due, second_job.sequence, second));
        }
        self.jobs.insert(alert_id.clone(), job);
        self.ready_if_head(&alert_id);
    }

    fn ready_if_head(&mut self, alert_id: &str) {
        let Some((alert_id, job)) = self.jobs.get_key_value(alert_id) else {
            return;
        };
        let head = self.chains.get(&job.episode_id).and_then(VecDeque::front);
        if job.is_waiting() && head == Some(alert_id) {
            self.ready.insert((job.due, job.sequence, alert_id.clone()));
        }
    }

    fn remove(&mut self, alert_id: &str) {
        let Some((alert_id, job)) = self.jobs.remove_entry(alert_id) else {
            return;
        };
        if matches!(job.state, State::Sending { .. }) {
            self.sending -= 1;
            self.circuit.abandoned(&alert_id);
        }
        self.ready.remove(&(job.due, job.sequence, alert_id.clone()));
        if let Some(reloading) = &mut self.reloading {
            reloading.removed.insert(alert_id.clone(), job.attempts);
        }
        let Some(chain) = self.chains.get_mut(&job.episode_id) else {
            return;
        };
        chain.retain(|other| *other != alert_id);
        match chain.front().cloned() {
            Some(next) => self.ready_if_head(&next),
            None => drop(self.chains.remove(&job.episode_id)),
        }
    }

    /// Milliseconds until the next attempt after `made`.
    fn pause(&self, alert_id: &str, made: u32) -> Option<i64> {
        let salt = format!("{alert_id} {}", self.limits.destination);
        self.limits.schedule.pause_after(made, &salt).map(millis)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
