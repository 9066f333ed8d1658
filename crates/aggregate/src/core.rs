//! What one worker does, without IO: it takes assignments, records and answers, and says what is to be
//! done next.
//!
//! What holds: one [`Action`] is done at a time, in the order in which recovery relies on them (events,
//! then what is derived from them, then the states, then the checkpoint, then the commit), so the process
//! may die between any two. Only the evaluations of now, which nothing relies on, are written beside.
//!
//! What goes out together is taken at one instant, a *cut*: the states that it saves know of no event but
//! those that it lands or that have landed. Folding and evaluating go on while a cut is written. What was
//! handed out counts as done: if an action cannot be done, the core is dropped, and the partitions are
//! taken over anew from their checkpoints.

mod recovery;
mod writing;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use event::Event;
use health::{AlertChange, Model, SegmentBaselines};
use store::SeenEvent;
use stream::topics;

use crate::action::{Action, Answer, Insert, Lane, SetAside};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::partition::{History, HistoryRequest, Partition, Recount, Taken};

use recovery::Recovering;
use writing::{Purpose, Which};

/// Accounts of one partition that are evaluated before the next look at the queue.
const EVALUATED_AT_A_TIME: usize = 2_000;

/// Histories of accounts whose own past is there wait no longer than this for the other partitions,
/// milliseconds.
const HISTORIES_WAIT_MS: i64 = 60_000;

/// Parts of the partitions whose checkpoints are moved one after another, so that none holds up the alerts
/// for long.
const CHECKPOINT_TURNS: i64 = 4;

/// So many times the rows of one insert of evaluations may wait.
const EVALUATIONS_WAITING: usize = 4;

/// How soon days are counted anew that were counted in another time zone, milliseconds.
const RECOUNT_AFTER_MS: i64 = 1_000;

/// Why a core cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The partition count of `mimamori.events` is not the one that the states were made with.
    #[error(
        "the states in ClickHouse were made with {found} partitions of {topic}, aggregate.partitions is {configured}: \
         set it back, or run `mimamori rebuild`",
        topic = topics::EVENTS
    )]
    Partitions {
        /// What the states were made with.
        found: i32,
        /// What is configured.
        configured: i32,
    },
    /// `mimamori.events` was grown while the worker ran.
    #[error(
        "{topic} has a partition {number}, aggregate.partitions is {configured}: stop the ingest and aggregate roles, \
         run `mimamori rebuild` and set aggregate.partitions to what it says",
        topic = topics::EVENTS
    )]
    TopicGrown {
        /// A partition that is new.
        number: i32,
        /// What is configured.
        configured: i32,
    },
    /// A saved state cannot be read.
    #[error("{0}; `mimamori rebuild` makes the states anew from the events")]
    State(#[from] health::StateError),
    /// Saved states are missing.
    #[error(
        "partition {number} of {topic} was saved with {expected} account states and account_state holds {found}: \
         restore the table, or run `mimamori rebuild`",
        topic = topics::EVENTS
    )]
    StatesMissing {
        /// The partition.
        number: i32,
        /// How many there were at the last checkpoint.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// Events have landed, and there is no checkpoint that says so.
    #[error(
        "partition {number} of {topic} has events in ClickHouse and no checkpoint: \
         restore the table checkpoints, or run `mimamori rebuild`",
        topic = topics::EVENTS
    )]
    CheckpointMissing {
        /// The partition.
        number: i32,
    },
    /// A record makes folding fail. A core that is told of it ([`Core::new`]) sets it aside and goes on.
    #[error("the record at offset {offset} of partition {number} cannot be folded: {detail}")]
    Poison {
        /// The partition.
        number: i32,
        /// The offset.
        offset: i64,
        /// What went wrong.
        detail: String,
    },
}

/// A record as it comes from the log.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// An event.
    Event(Event),
    /// Something else, to be set aside.
    Bad(SetAside),
}

/// Records of a partition that wait to be folded, and what was asked about them.
#[derive(Default)]
struct Queue {
    records: VecDeque<(i64, Incoming)>,
    /// Whether something has to be done before the next one can be folded.
    is_blocked: bool,
    /// Offsets of events that were looked up because their ids may have been forgotten …
    asked: HashSet<i64>,
    /// … and of those that are repeats.
    seen: HashSet<i64>,
}

/// What is still to be done, in order.
enum Todo {
    Act(Action),
    /// An action whose answer is awaited.
    Ask(Action, Awaited),
    Recover(i32),
    /// A record was set aside.
    Skip(i32, i64),
    /// What kept a partition from being folded has been done.
    Unblock(i32),
    /// The events of these partitions that were taken first have landed.
    Landed(Vec<i32>),
    /// What changed of these partitions is to be saved.
    Save(Vec<i32>),
    Recount,
    /// Inserts that nothing in order waits for.
    Beside(Vec<Insert>),
    Told(Vec<(i32, usize)>, Vec<AlertChange>),
    /// Everything of a cut that was begun then is written.
    Written {
        begun_at: i64,
        purpose: Purpose,
    },
}

/// What the answer that is awaited is for.
enum Awaited {
    Nothing,
    Recovery(Box<Recovering>),
    Start(Box<Partition>),
    /// Offsets of a partition, with the account and the id of each.
    LookUp(i32, Vec<(i64, (String, String))>),
    Recount(Vec<(i32, Recount)>),
}

/// What can be seen of the events that are not here yet.
pub struct Outlook<'a> {
    /// Whether the ingest role is behind.
    pub ingest_is_behind: bool,
    /// How many records of a partition have not been read yet; `None` when that is not known.
    pub lag: &'a dyn Fn(i32) -> Option<i64>,
}

/// The state machine of one worker.
pub struct Core {
    config: Arc<Config>,
    model: Arc<Model>,
    metrics: Metrics,
    partitions: BTreeMap<i32, Partition>,
    queues: BTreeMap<i32, Queue>,
    segments: Arc<SegmentBaselines>,
    /// Partitions with records that may be folded.
    to_fold: BTreeSet<i32>,
    todo: VecDeque<Todo>,
    /// Of the action that was handed out and has not been answered.
    awaited: Option<Awaited>,
    /// What is to be done beside, and whether something is being done there.
    beside: VecDeque<Vec<Insert>>,
    is_beside: bool,
    /// Cuts that are not all written: those that alerts wait for, and the others.
    tellings: usize,
    cuts: usize,
    /// Since when something has been more urgent than histories.
    busy_since: Option<i64>,
    /// While days are counted anew nothing is folded and nobody evaluated.
    is_recounting: bool,
    /// Records that make folding fail, and why.
    poison: BTreeMap<(i32, i64), String>,
    landed_at: i64,
    evaluations_written_at: i64,
    checkpointed_at: i64,
    recounts_sought_at: i64,
    token_base: String,
    tokens: u64,
}

impl Core {
    /// A core that holds nothing. No other one, of this process or another, has the same `token_base`.
    pub fn new(
        config: Arc<Config>,
        model: Arc<Model>,
        metrics: Metrics,
        token_base: String,
        poison: BTreeMap<(i32, i64), String>,
        now: i64,
    ) -> Core {
        Core {
            config,
            model,
            metrics,
            partitions: BTreeMap::new(),
            queues: BTreeMap::new(),
            segments: Arc::default(),
            to_fold: BTreeSet::new(),
            todo: VecDeque::new(),
            awaited: None,
            beside: VecDeque::new(),
            is_beside: false,
            tellings: 0,
            cuts: 0,
            busy_since: None,
            is_recounting: false,
            poison,
            landed_at: now,
            evaluations_written_at: now,
            checkpointed_at: now,
            recounts_sought_at: now,
            token_base,
            tokens: 0,
        }
    }

    /// Folds what has come, and says what is to be done next, and in which lane: an action of a lane comes
    /// when the one before in it was answered ([`Core::answer`]). `None` when there is nothing to do until
    /// something happens.
    ///
    /// # Errors
    /// [`CoreError::Poison`]; the core can only be dropped then.
    pub fn next(&mut self, now: i64) -> Result<Option<(Lane, Action)>, CoreError> {
        if let Some(action) = self.next_in_order(now)? {
            return Ok(Some((Lane::InOrder, action)));
        }
        if !self.is_beside
            && let Some(inserts) = self.beside.pop_front()
        {
            self.is_beside = true;
            return Ok(Some((Lane::Beside, Action::Insert(inserts))));
        }
        Ok(None)
    }

    fn next_in_order(&mut self, now: i64) -> Result<Option<Action>, CoreError> {
        loop {
            self.fold_what_came(now)?;
            if self.awaited.is_some() {
                return Ok(None);
            }
            let Some(todo) = self.todo.pop_front() else {
                return Ok(None);
            };
            match todo {
                Todo::Act(action) => {
                    self.awaited = Some(Awaited::Nothing);
                    return Ok(Some(action));
                }
                Todo::Ask(action, awaited) => {
                    self.awaited = Some(awaited);
                    return Ok(Some(action));
                }
                Todo::Recover(number) => self.plan_recovery(number)?,
                Todo::Skip(number, offset) => {
                    if let Some(partition) = self.partitions.get_mut(&number) {
                        partition.skip(offset);
                    }
                }
                Todo::Unblock(number) => {
                    if let Some(queue) = self.queues.get_mut(&number) {
                        queue.is_blocked = false;
                        self.to_fold.insert(number);
                    }
                }
                Todo::Landed(numbers) => self.landed(&numbers),
                Todo::Save(numbers) => self.save_part(&numbers, false, now),
                Todo::Recount => self.plan_recounts(now),
                Todo::Beside(inserts) => self.beside.push_back(inserts),
                Todo::Told(places, changes) => self.told(&places, &changes),
                Todo::Written { begun_at, purpose } => self.written(begun_at, purpose, now),
            }
        }
    }

    /// Whether nothing is being done and nothing waits to be done.
    pub fn is_idle(&self) -> bool {
        self.awaited.is_none() && self.todo.is_empty() && self.is_free_beside()
    }

    /// Whether no evaluations are being written.
    fn is_free_beside(&self) -> bool {
        !self.is_beside && self.beside.is_empty()
    }

    /// Whether so much waits to be written that no more records should be handed in for now.
    pub fn is_full(&self) -> bool {
        self.waiting(|partition| partition.waiting.events.len()) >= 2 * self.config.land_rows
            || self.has_evaluated_enough()
    }

    /// Whether so many evaluations wait to be written that no more are made for now.
    fn has_evaluated_enough(&self) -> bool {
        let evaluations = self.waiting(|partition| {
            partition.waiting.now.metrics.len() + partition.waiting.midnights.metrics.len()
        });
        evaluations >= EVALUATIONS_WAITING * self.config.evaluation_rows
    }

    /// Takes what came of the action that was handed out last in a lane.
    ///
    /// # Errors
    /// When a partition's past cannot be gone on from; the core can only be dropped then.
    pub fn answer(&mut self, lane: Lane, answer: Answer, now: i64) -> Result<(), CoreError> {
        if lane == Lane::Beside {
            self.is_beside = false;
            return Ok(());
        }
        match self.awaited.take() {
            None | Some(Awaited::Nothing) => {}
            Some(Awaited::Recovery(recovering)) => self.recovered(*recovering, answer, now)?,
            Some(Awaited::Start(partition)) => self.started(*partition),
            Some(Awaited::LookUp(number, asked)) => {
                if let Answer::Seen(found) = answer {
                    self.looked_up(number, asked, found);
                }
            }
            Some(Awaited::Recount(recounts)) => {
                if let Answer::Events(events) = answer {
                    self.recounted(&recounts, events, now);
                }
            }
        }
        Ok(())
    }

    /// These partitions are ours now. One that was held goes on from what was taken for its checkpoint.
    pub fn assigned(&mut self, numbers: &[i32]) {
        self.forget(numbers);
        self.todo
            .extend(numbers.iter().map(|number| Todo::Recover(*number)));
    }

    /// Drops what is held of these partitions.
    pub fn forget(&mut self, numbers: &[i32]) {
        for number in numbers {
            self.partitions.remove(number);
            self.queues.remove(number);
            // It may never have been set.
            let _ = self
                .metrics
                .watermark
                .remove_label_values(&[number.to_string().as_str()]);
        }
        self.count_accounts();
    }

    /// The partitions that are held.
    pub fn numbers(&self) -> impl Iterator<Item = i32> + '_ {
        self.partitions.keys().copied()
    }

    /// How accounts are judged.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Accounts in memory.
    pub fn accounts(&self) -> usize {
        self.partitions.values().map(Partition::accounts).sum()
    }

    /// Takes records, in the order of their offsets within each partition. Those of partitions that are
    /// not held, and those that were taken before, are dropped.
    pub fn records(&mut self, records: impl IntoIterator<Item = (i32, i64, Incoming)>) {
        for (number, offset, incoming) in records {
            let Some(partition) = self.partitions.get(&number) else {
                continue;
            };
            if offset < partition.next_offset {
                continue;
            }
            let queue = self.queues.entry(number).or_default();
            queue.records.push_back((offset, incoming));
            self.to_fold.insert(number);
        }
    }

    fn fold_what_came(&mut self, now: i64) -> Result<(), CoreError> {
        if self.is_recounting {
            return Ok(());
        }
        for number in std::mem::take(&mut self.to_fold) {
            self.fold(number, now)?;
        }
        Ok(())
    }

    /// Folds what waits of a partition, up to the first record that something has to be done for before.
    fn fold(&mut self, number: i32, now: i64) -> Result<(), CoreError> {
        let (Some(partition), Some(queue)) = (self.partitions.get_mut(&number), self.queues.get_mut(&number))
        else {
            return Ok(());
        };
        if queue.is_blocked {
            return Ok(());
        }
        while let Some((offset, incoming)) = queue.records.pop_front() {
            let event = match incoming {
                Incoming::Event(event) => event,
                Incoming::Bad(bad) => {
                    self.metrics.undecodable.inc();
                    self.set_aside(bad);
                    return Ok(());
                }
            };
            if let Some(detail) = self.poison.get(&(number, offset)) {
                let bad = SetAside {
                    number,
                    offset,
                    key: Some(event.account_id.clone().into_bytes()),
                    payload: encoded(&event),
                    reason: "folding_failed",
                    detail: detail.clone(),
                };
                self.metrics.poison.inc();
                self.set_aside(bad);
                return Ok(());
            }
            if !queue.asked.contains(&offset) && partition.must_look_up(&event, offset) {
                queue.records.push_front((offset, Incoming::Event(event)));
                self.plan_look_up(number);
                return Ok(());
            }
            let was_seen = queue.seen.contains(&offset);
            let taken =
                std::panic::catch_unwind(AssertUnwindSafe(|| partition.take(event, offset, was_seen, now)));
            match taken {
                Ok(Taken::Folded { counted }) => {
                    self.metrics.events.inc();
                    self.metrics.too_late.inc_by(u64::from(!counted));
                }
                Ok(Taken::Duplicate) => self.metrics.duplicates.inc(),
                Ok(Taken::Replayed) => self.metrics.replayed.inc(),
                Err(panic) => {
                    let detail = words_of(panic.as_ref());
                    return Err(CoreError::Poison {
                        number,
                        offset,
                        detail,
                    });
                }
            }
        }
        queue.asked.clear();
        queue.seen.clear();
        partition.forget_landed();
        if let Some(watermark) = partition.watermark {
            let label = number.to_string();
            self.metrics
                .watermark
                .with_label_values(&[label.as_str()])
                .set(watermark.div_euclid(1000));
        }
        self.count_accounts();
        Ok(())
    }

    /// Has a record set aside, and goes on with the partition afterwards.
    fn set_aside(&mut self, bad: SetAside) {
        let (number, offset) = (bad.number, bad.offset);
        self.block(number);
        self.do_first([
            Todo::Act(Action::SetAside(bad)),
            Todo::Skip(number, offset),
            Todo::Unblock(number),
        ]);
    }

    /// Asks about all waiting events of a partition whose ids may have been forgotten.
    fn plan_look_up(&mut self, number: i32) {
        let (Some(partition), Some(queue)) = (self.partitions.get(&number), self.queues.get(&number)) else {
            return;
        };
        let mut asked = Vec::new();
        for (offset, incoming) in &queue.records {
            if let Incoming::Event(event) = incoming
                && !queue.asked.contains(offset)
                && partition.must_look_up(event, *offset)
            {
                asked.push((*offset, (event.account_id.clone(), event.event_id.clone())));
            }
        }
        self.metrics.late_lookups.inc_by(asked.len() as u64);
        let pairs = asked.iter().map(|(_, pair)| pair.clone()).collect();
        let look_up = Todo::Ask(Action::LookUp(pairs), Awaited::LookUp(number, asked));
        self.block(number);
        self.do_first([look_up, Todo::Unblock(number)]);
    }

    /// Folds nothing more of a partition until [`Todo::Unblock`].
    fn block(&mut self, number: i32) {
        if let Some(queue) = self.queues.get_mut(&number) {
            queue.is_blocked = true;
        }
    }

    /// An event whose account has had its id at a lower offset is a repeat. A row at its own offset is the
    /// event itself, landed before a restart.
    fn looked_up(&mut self, number: i32, asked: Vec<(i64, (String, String))>, found: Vec<SeenEvent>) {
        let mut lowest: HashMap<(String, String), i64> = HashMap::new();
        for row in found {
            // A row of another partition was landed before the topic was laid out anew.
            let offset = if row.kafka_partition == number {
                row.kafka_offset
            } else {
                -1
            };
            let known = lowest.entry((row.account_id, row.event_id)).or_insert(offset);
            *known = offset.min(*known);
        }
        let Some(queue) = self.queues.get_mut(&number) else {
            return;
        };
        for (offset, pair) in asked {
            queue.asked.insert(offset);
            let is_repeat = lowest.get(&pair).is_some_and(|known| *known < offset);
            if is_repeat && !crate::planted::is(crate::planted::Bug::LookUpsIgnored) {
                queue.seen.insert(offset);
            }
        }
    }

    /// Evaluates what is due, and plans what has to be written by now.
    pub fn see_to_what_is_due(&mut self, now: i64, outlook: &Outlook<'_>) {
        if self.is_recounting {
            return;
        }
        let most = if self.has_evaluated_enough() {
            0
        } else {
            EVALUATED_AT_A_TIME
        };
        for partition in self.partitions.values_mut() {
            let lag = (outlook.lag)(partition.number);
            let is_held = outlook.ingest_is_behind || lag.is_none_or(|lag| lag > self.config.lag_records);
            let metrics = &self.metrics;
            let evaluated = partition.evaluate_due(now, lag == Some(0), most, is_held, |waited_ms| {
                metrics.event_to_score.observe(waited_ms as f64 / 1000.0);
            });
            metrics.evaluations.inc_by(evaluated as u64);
        }
        // What comes while a cut is written goes out with the next of its kind.
        if self.tellings == 0 {
            self.tell(now);
        }
        if self.cuts > 0 {
            return;
        }
        if is_over(self.recounts_sought_at, RECOUNT_AFTER_MS, now) {
            self.recounts_sought_at = now;
            if self.partitions.values().any(|one| one.has_recounts(now)) {
                self.begin_recounts(now);
                return;
            }
        }
        let turn = self.config.checkpoint_after_ms / CHECKPOINT_TURNS;
        if is_over(self.checkpointed_at, turn, now) {
            self.checkpointed_at = now;
            self.save(Which::Due, now);
            return;
        }
        let events = self.waiting(|partition| partition.waiting.events.len());
        let is_free = self.is_free_beside();
        let evaluations = self.waiting(|partition| {
            let waiting = &partition.waiting;
            let of_now = if is_free { waiting.now.metrics.len() } else { 0 };
            of_now + waiting.midnights.metrics.len() + waiting.daily.len()
        });
        let land_after = self.config.land_after_ms;
        let is_due = (events > 0 && is_over(self.landed_at, land_after, now))
            || (evaluations > 0 && is_over(self.evaluations_written_at, land_after, now));
        if is_due || events >= self.config.land_rows || evaluations >= self.config.evaluation_rows {
            self.write(now);
        }
    }

    /// What waits in all partitions together.
    fn waiting(&self, count: impl Fn(&Partition) -> usize) -> usize {
        self.partitions.values().map(count).sum()
    }

    /// Plans to save everything that changed, and to move the checkpoints.
    pub fn checkpoint(&mut self, now: i64) {
        self.save(Which::All, now);
    }

    /// Accounts whose histories are to be stated now, `config.history_accounts` of them at most. Each is
    /// answered by [`Core::history_stated`] or [`Core::history_failed`].
    pub fn take_histories(&mut self, now: i64) -> Vec<(i32, HistoryRequest)> {
        let mut requests = Vec::new();
        // What is on its way and how everybody stands now are more urgent than what was, and an event that is
        // on its way would have it stated twice.
        let is_there_time = |partition: &Partition| partition.has_caught_up() && partition.knows_now;
        let is_busy = !self.partitions.values().all(is_there_time);
        let busy_since = is_busy.then(|| self.busy_since.unwrap_or(now));
        self.busy_since = busy_since;
        let waits = busy_since.is_some_and(|since| !is_over(since, HISTORIES_WAIT_MS, now));
        if waits || self.is_recounting || self.has_evaluated_enough() {
            return requests;
        }
        // A few of each partition: accounts that are neighbours by name are read together.
        let partitions = self.partitions.len().max(1);
        let of_each = self.config.history_accounts.div_ceil(partitions);
        let midnights = self.config.evaluation_rows.div_ceil(partitions);
        for partition in self.partitions.values_mut() {
            let left = self.config.history_accounts - requests.len();
            let found = partition.take_histories(now, left.min(of_each), midnights);
            requests.extend(found.into_iter().map(|request| (partition.number, request)));
        }
        requests
    }

    /// Takes over the history of an account, unless its partition is held no longer.
    pub fn history_stated(&mut self, number: i32, history: History, now: i64) {
        if let Some(partition) = self.partitions.get_mut(&number) {
            self.metrics.histories.inc();
            partition.history_stated(history, now);
        }
    }

    /// A history could not be read; it is asked for again.
    pub fn history_failed(&mut self, number: i32, request: &HistoryRequest) {
        if let Some(partition) = self.partitions.get_mut(&number) {
            partition.history_failed(request);
        }
    }

    /// What is usual in each segment from now on.
    pub fn judge_by(&mut self, segments: &Arc<SegmentBaselines>) {
        self.segments = Arc::clone(segments);
        for partition in self.partitions.values_mut() {
            partition.judge_by(Arc::clone(segments));
        }
    }

    fn count_accounts(&self) {
        let accounts = i64::try_from(self.accounts()).unwrap_or(i64::MAX);
        self.metrics.accounts.set(accounts);
    }

    /// Puts what is to be done before all else, in its order.
    fn do_first(&mut self, todos: impl IntoIterator<Item = Todo, IntoIter: DoubleEndedIterator>) {
        for todo in todos.into_iter().rev() {
            self.todo.push_front(todo);
        }
    }

    /// Part of a token that no other insert of any worker has.
    fn next_token(&mut self) -> String {
        self.tokens += 1;
        format!("{}-{}", self.token_base, self.tokens)
    }
}

/// Whether `after` has passed since `since`; a clock that was set back counts as such.
fn is_over(since: i64, after: i64, now: i64) -> bool {
    now < since || now - since >= after
}

fn encoded(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    event::wire::encode(event, &mut bytes);
    bytes
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
    words.unwrap_or("it panicked").to_string()
}

#[cfg(test)]
mod tests;
