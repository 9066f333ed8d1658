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
//! - A ticket is handed back only with, or after, a row that says what became of its alert.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use store::{DeliveryRow, WaitingDelivery};
use tokio::sync::oneshot;
use tracing::warn;

use crate::body::{self, Order};
use crate::offsets::Ticket;
use crate::outcome::{Answer, Verdict};
use crate::schedule::Schedule;

/// The status of a delivery that the receiver has.
pub(crate) const DELIVERED: &str = "delivered";
/// The status of a delivery that will be tried (again).
pub(crate) const RETRYING: &str = "retrying";
/// The status of a delivery that nobody tries any more.
pub(crate) const FAILED: &str = "failed";

const NOT_TRIED_DISABLED: &str = "not tried: the destination answered 410 and is disabled until a restart";

/// The most characters of an error.
const ERROR_CHARACTERS: usize = 500;

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
}

/// A change that is to be delivered.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub alert_id: Arc<str>,
    pub episode_id: Arc<str>,
    pub order: Order,
    pub partition: i32,
    pub body: Arc<str>,
    /// When what caused it was received, milliseconds.
    pub caused_at: Option<i64>,
    pub ticket: Ticket,
}

/// A row to write, and what may be told once it is written.
#[derive(Debug)]
pub(crate) struct Entry {
    pub row: DeliveryRow,
    pub tickets: Vec<Ticket>,
    spilled: bool,
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
    /// The destination wants nothing more.
    pub disabled: bool,
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
    caused_at: Option<i64>,
    tickets: Vec<Ticket>,
    attempts: u32,
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
    /// What left the lane since the rows were asked for; the rows may not know.
    removed: HashSet<Arc<str>>,
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

    /// Whether the alert is held. One that is not may have a row.
    pub fn knows(&self, alert_id: &str) -> bool {
        self.jobs.contains_key(alert_id)
    }

    /// These partitions are ours: what is pending of them is to be read.
    pub fn assign(&mut self, partitions: &[i32], now: i64) {
        self.owned.extend(partitions);
        self.park(now, now);
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
            let row = self.row(&change.alert_id, 1, FAILED, NOT_TRIED_DISABLED.to_string(), now);
            self.hand_out(row, vec![change.ticket], false);
            return Offered::Written;
        }
        let may_overtake = self.parked.is_some() && !change.order.is_first();
        if may_overtake || (self.jobs.len() >= self.limits.queue && !self.make_room(now)) {
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
            let row = self.pending_row(&change.alert_id, 0, reason, now, now, &change.body);
            self.hand_out(row, vec![change.ticket], true);
            return Offered::Written;
        }
        self.fresh.push_back((now, change.alert_id.clone()));
        let job = Job {
            episode_id: change.episode_id,
            order: change.order,
            partition: change.partition,
            body: change.body,
            caused_at: change.caused_at,
            tickets: vec![change.ticket],
            attempts: 0,
            due: now + self.pause(&change.alert_id, 0).unwrap_or(0),
            sequence: 0,
            state: State::Waiting,
            durable: false,
            setting_aside: false,
        };
        self.insert(change.alert_id, job);
        Offered::Held
    }

    /// The next request to make now, if one may be made.
    pub fn next(&mut self, now: i64) -> Option<Shipment> {
        if self.disabled
            || self.sending >= self.limits.concurrency
            || now < self.hold_until
            || (now as f64) < self.next_free
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
        if self.limits.rate_per_second > 0.0 {
            self.next_free = self.next_free.max(now as f64) + 1_000.0 / self.limits.rate_per_second;
        }
        Some(Shipment {
            body: job.body.clone(),
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
        let body = job.body.clone();
        let caused_at = job.caused_at;
        let verdict = answer.verdict();
        let disabled = verdict == Verdict::Gone;
        self.sending -= 1;

        let mut row = match verdict {
            Verdict::Delivered => self.row(&alert_id, attempt, DELIVERED, String::new(), at),
            Verdict::Failed { error } => self.row(&alert_id, attempt, FAILED, error, at),
            Verdict::Gone => self.row(&alert_id, attempt, FAILED, "answered 410: gone".to_string(), at),
            Verdict::Retry {
                error,
                not_before,
                hold,
            } => {
                let wish = not_before.map_or(0, millis);
                if hold {
                    self.hold_until = self.hold_until.max(now + wish);
                }
                match self.pause(&alert_id, attempt) {
                    Some(pause) => {
                        let due = now + pause.max(wish);
                        self.pending_row(&alert_id, attempt, &error, at, due, &body)
                    }
                    None => {
                        let error = format!("{error}; given up after {attempt} attempts");
                        self.row(&alert_id, attempt, FAILED, error, at)
                    }
                }
            }
        };
        row.http_status = answer.status();
        row.duration_ms = u32::try_from(now - at).unwrap_or(0);
        let finished = Finished {
            caused_at: caused_at.filter(|_| row.status == DELIVERED),
            row: row.clone(),
            disabled,
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
        let alert_id = entry.row.alert_id.as_str();
        let Some(job) = self.jobs.get_mut(alert_id) else {
            return Vec::new();
        };
        job.durable = true;
        job.setting_aside = false;
        let tickets = std::mem::take(&mut job.tickets);
        if !matches!(job.state, State::Recording) || job.attempts != entry.row.attempt {
            return tickets;
        }
        job.state = State::Waiting;
        let stays = entry.row.status == RETRYING && self.owned.contains(&job.partition);
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
        let reason = if job.is_waiting() {
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

    fn hand_out(&mut self, row: DeliveryRow, tickets: Vec<Ticket>, spilled: bool) {
        self.rows.push(Entry {
            row,
            tickets,
            spilled,
        });
    }

    /// When there will be something to do, if nothing else happens before.
    pub fn wake_at(&self) -> Option<i64> {
        let set_aside = self
            .fresh
            .front()
            .map(|(since, _)| since + millis(self.limits.set_aside));
        let send = match self.ready.first() {
            Some((due, _, _)) if !self.disabled && self.sending < self.limits.concurrency => {
                Some((*due).max(self.hold_until).max(self.next_free.ceil() as i64))
            }
            _ => None,
        };
        let reload = match &self.parked {
            Some(parked) if self.reloading.is_none() && !self.disabled && !self.owned.is_empty() => {
                Some(parked.due.max(parked.not_before))
            }
            _ => None,
        };
        [set_aside, send, reload].into_iter().flatten().min()
    }

    /// What to read of the pending rows, if it is time to. Ends with [`finish_reload`](Self::finish_reload).
    pub fn begin_reload(&mut self, now: i64) -> Option<Reload> {
        let parked = self.parked.as_mut()?;
        if self.disabled || self.reloading.is_some() || self.owned.is_empty() {
            return None;
        }
        if now < parked.due.max(parked.not_before) {
            return None;
        }
        parked.not_before = now + millis(self.limits.reload_pause);
        if self.jobs.len() >= self.limits.queue && !self.make_room(now) {
            return None;
        }
        self.reloading = Some(Reloading {
            generation: self.generation,
            removed: HashSet::new(),
        });
        Some(Reload {
            partitions: self.owned.iter().copied().collect(),
            // Those that are held are among the rows.
            limit: self.limits.queue + 1,
        })
    }

    /// The pending rows, by the due time of the oldest of their episode and within an episode in order;
    /// no more than `limit` of them.
    pub fn finish_reload(&mut self, rows: Vec<WaitingDelivery>, limit: usize, now: i64) {
        let Some(reloading) = self.reloading.take() else {
            return;
        };
        let complete = rows.len() < limit;
        let mut left_due = None;
        for row in rows {
            if self.jobs.contains_key(row.alert_id.as_str())
                || reloading.removed.contains(row.alert_id.as_str())
                || !self.owned.contains(&row.partition)
            {
                continue;
            }
            if left_due.is_some() || self.jobs.len() >= self.limits.queue {
                // From the first that does not fit on all stay, so that no later change of an episode
                // comes in without the earlier one.
                left_due = left_due.or(Some(row.episode_due_at));
                continue;
            }
            let Some(place) = body::place(&row.body) else {
                warn!(
                    alert_id = row.alert_id,
                    "the body of a pending delivery cannot be read, leaving it"
                );
                continue;
            };
            let job = Job {
                episode_id: place.episode_id.into(),
                order: place.order,
                partition: row.partition,
                body: row.body.into(),
                caused_at: None,
                tickets: Vec::new(),
                attempts: row.attempt,
                due: row.next_attempt_at,
                sequence: 0,
                state: State::Waiting,
                durable: true,
                setting_aside: false,
            };
            self.insert(row.alert_id.into(), job);
        }
        let outdated = self.spills_unwritten > 0 || self.generation != reloading.generation;
        if complete && left_due.is_none() && !outdated {
            self.parked = None;
        } else if let Some(parked) = &mut self.parked
            && !outdated
        {
            parked.due = left_due.unwrap_or(now);
        }
    }

    /// The read of the pending rows failed.
    pub fn abandon_reload(&mut self) {
        self.reloading = None;
    }

    /// These partitions go to another worker: forgets what waits of them and hands out rows about those
    /// that have none yet. Requests under way go on.
    pub fn release(&mut self, partitions: &[i32], now: i64) {
        for alert_id in self.jobs_of(partitions) {
            self.set_one_aside(&alert_id, now);
            if self.jobs.get(&alert_id).is_some_and(Job::is_waiting) {
                self.remove(&alert_id);
            }
        }
        self.disown(partitions);
    }

    /// Stops the requests under way for these partitions, hands out rows about them, and says how many
    /// they were.
    pub fn cut(&mut self, partitions: &[i32], now: i64) -> usize {
        let mut requests = 0;
        for alert_id in self.jobs_of(partitions) {
            let Some(job) = self.jobs.get(&alert_id) else {
                continue;
            };
            if !matches!(job.state, State::Sending { .. }) {
                continue;
            }
            let error = "cut short: the worker stopped or gave the account away; it may have arrived";
            let row = self.pending_row(&alert_id, job.attempts + 1, error, now, now, &job.body);
            self.sending -= 1;
            self.await_row(&alert_id, row);
            requests += 1;
        }
        requests
    }

    /// These partitions are another worker's already: forgets all of them and says nothing.
    pub fn forget(&mut self, partitions: &[i32]) {
        for alert_id in self.jobs_of(partitions) {
            self.remove(&alert_id);
        }
        self.disown(partitions);
    }

    /// Whether a request for these partitions is under way or a row about one is not yet written.
    pub fn is_busy_with(&self, partitions: &[i32]) -> bool {
        self.jobs
            .values()
            .any(|job| !job.is_waiting() && partitions.contains(&job.partition))
    }

    fn disown(&mut self, partitions: &[i32]) {
        self.owned.retain(|partition| !partitions.contains(partition));
        if self.owned.is_empty() {
            self.parked = None;
        }
    }

    /// In the order in which they came.
    fn jobs_of(&self, partitions: &[i32]) -> Vec<Arc<str>> {
        let found: BTreeMap<u64, &Arc<str>> = self
            .jobs
            .iter()
            .filter(|(_, job)| partitions.contains(&job.partition))
            .map(|(alert_id, job)| (job.sequence, alert_id))
            .collect();
        found.into_values().cloned().collect()
    }

    fn disable(&mut self, now: i64) {
        self.disabled = true;
        self.ready.clear();
        let waiting: Vec<(Arc<str>, u32)> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.is_waiting())
            .map(|(alert_id, job)| (alert_id.clone(), job.attempts + 1))
            .collect();
        for (alert_id, attempt) in waiting {
            let row = self.row(&alert_id, attempt, FAILED, NOT_TRIED_DISABLED.to_string(), now);
            self.await_row(&alert_id, row);
        }
    }

    /// Hands out the row that settles an attempt; until it is written the job is not touched.
    fn await_row(&mut self, alert_id: &str, row: DeliveryRow) {
        let mut tickets = Vec::new();
        if let Some(job) = self.jobs.get_mut(alert_id) {
            job.state = State::Recording;
            job.attempts = row.attempt;
            job.due = row.next_attempt_at.unwrap_or(job.due);
            tickets = std::mem::take(&mut job.tickets);
        }
        self.hand_out(row, tickets, false);
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
        }
        self.ready.remove(&(job.due, job.sequence, alert_id.clone()));
        if let Some(reloading) = &mut self.reloading {
            reloading.removed.insert(alert_id.clone());
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

    /// Lets those go that are due last and have their rows, a sixteenth of the queue at a time.
    fn make_room(&mut self, now: i64) -> bool {
        let mut latest: BTreeMap<(i64, u64), Arc<str>> = BTreeMap::new();
        for (due, sequence, alert_id) in self.ready.iter().rev() {
            if *due <= now || latest.len() > self.limits.queue / 16 {
                break;
            }
            let Some(job) = self.jobs.get(alert_id) else {
                continue;
            };
            let chain = self.chains.get(&job.episode_id);
            let written = chain.is_some_and(|chain| {
                chain
                    .iter()
                    .all(|other| self.jobs.get(other).is_some_and(|job| job.durable))
            });
            if written {
                latest.insert((*due, *sequence), job.episode_id.clone());
            }
        }
        let Some((&(due, _), _)) = latest.first_key_value() else {
            return false;
        };
        for episode_id in latest.into_values() {
            let members = self.chains.get(&episode_id).cloned().unwrap_or_default();
            for alert_id in members {
                self.remove(&alert_id);
                // Its row is true, so a reload that is under way may bring it back.
                if let Some(reloading) = &mut self.reloading {
                    reloading.removed.remove(&alert_id);
                }
            }
        }
        self.park(due, i64::MIN);
        true
    }

    fn park(&mut self, due: i64, not_before: i64) {
        self.generation += 1;
        let parked = self.parked.get_or_insert(Parked { due, not_before });
        parked.due = parked.due.min(due);
    }

    /// Milliseconds until the next attempt after `made`.
    fn pause(&self, alert_id: &str, made: u32) -> Option<i64> {
        let salt = format!("{alert_id} {}", self.limits.destination);
        self.limits.schedule.pause_after(made, &salt).map(millis)
    }

    fn row(&self, alert_id: &str, attempt: u32, status: &str, error: String, at: i64) -> DeliveryRow {
        DeliveryRow {
            alert_id: alert_id.to_string(),
            destination: self.limits.destination.clone(),
            attempt,
            status: status.to_string(),
            http_status: None,
            at,
            duration_ms: 0,
            error: error.chars().take(ERROR_CHARACTERS).collect(),
            next_attempt_at: None,
            body: String::new(),
            version: 0,
        }
    }

    fn pending_row(
        &self,
        alert_id: &str,
        attempt: u32,
        error: &str,
        at: i64,
        due: i64,
        body: &str,
    ) -> DeliveryRow {
        DeliveryRow {
            next_attempt_at: Some(due),
            body: body.to_string(),
            ..self.row(alert_id, attempt, RETRYING, error.to_string(), at)
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
