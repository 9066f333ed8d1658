//! The accounts of one partition: what has been folded, what is to be evaluated and when, and what
//! waits to be written. No IO, and time is a parameter.
//!
//! Two rules decide when an evaluation speaks of now. The partition must be *live*: its newest event
//! is recent, or it has been read to the end and nothing has come for a while. And the account must
//! not be receiving history: after an event that is older than that, its alerts wait until no more
//! such events have come for a while.
//!
//! Each account has a row of each midnight (UTC). While its events come in order the row is evaluated as
//! midnight passes; otherwise, and for history that is loaded, it is asked for ([`HistoryRequest`]) and
//! made from the landed events. Until a history that was never stated is there, nobody is alerted.

mod fingerprint;
mod landing;
mod past;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use event::Event;
use foldhash::{HashMap, HashMapExt};
use health::{Account, AlertChange, Evaluation, Mode, Model, Recall, SegmentBaselines, Stage, Tier};
use store::{AccountRow, DailyRow, EventRow, MetricsRow, ScoresRow, StateRow, UserRow};
use tracing::error;

use crate::config::Config;
use crate::planted::{self, Bug};
use crate::rows;

use fingerprint::fingerprint;
use landing::{Landings, identity};
pub(crate) use past::Recount;
pub use past::{History, HistoryRequest};

const DAY_MS: i64 = 86_400_000;

/// Accounts without an event since their last row that are looked at at a time. All of them are due at
/// midnight and when the partition was taken over; meanwhile events must not wait.
const SWEPT_AT_A_TIME: usize = 100;

/// When an account is looked at again whose days are to be counted anew.
const COUNTED_ANEW_WITHIN_MS: i64 = 500;

/// Bits of a version below the epoch.
pub(crate) const COUNTER_BITS: u32 = 40;

/// An account and what is to be done for it.
struct Entry {
    account: Account,
    /// Whether the saved state is behind.
    is_unsaved: bool,
    /// Local days whose numbers changed since they were written.
    changed_days: BTreeSet<i32>,
    /// Users, by index, who were named since they were written.
    changed_users: BTreeSet<u32>,
    /// What the last evaluation found of them.
    standing: Option<(Stage, Tier)>,
    /// When the newest event of now since the last evaluation was received; 0 when there was none.
    received_at: i64,
    evaluated_at: i64,
    /// When the newest event came that was of the past; its alerts and its history wait until no more
    /// of them can be on their way.
    old_event_at: i64,
    /// When the account is next looked at; what the timers hold besides is stale.
    due: i64,
    /// Whether an event of now has come since its last row.
    is_hurried: bool,
    written_at: i64,
    written_print: u64,
    /// Whether it is among those whose history may have to be stated …
    is_history_noted: bool,
    /// … and whether its history is being stated.
    is_history_asked: bool,
    /// Whether what it had to send is being sent.
    is_telling: bool,
}

/// Places of accounts by when they are next looked at, the earliest first.
type Timers = BinaryHeap<Reverse<(i64, usize)>>;

/// Rows of evaluations, of numbers and of scores.
#[derive(Default)]
pub(crate) struct Evaluations {
    pub(crate) metrics: Vec<MetricsRow>,
    pub(crate) scores: Vec<ScoresRow>,
}

/// What waits to be written, besides the states.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) events: Vec<EventRow>,
    /// No state vouches for them: of an evaluation of now that was not written the next look makes another.
    pub(crate) now: Evaluations,
    pub(crate) midnights: Evaluations,
    /// Days of histories.
    pub(crate) daily: Vec<DailyRow>,
}

/// What a checkpoint saves.
#[derive(Default)]
pub(crate) struct Unsaved {
    pub(crate) states: Vec<StateRow>,
    pub(crate) daily: Vec<DailyRow>,
    pub(crate) accounts: Vec<AccountRow>,
    pub(crate) users: Vec<UserRow>,
}

/// How a record was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Folded; `counted` unless it lies too far back for any window.
    Folded { counted: bool },
    /// Its account had had its id.
    Duplicate,
    /// Folded before the last start.
    Replayed,
}

pub(crate) struct Partition {
    pub(crate) number: i32,
    model: Arc<Model>,
    config: Arc<Config>,
    epoch: u64,
    counter: u64,
    /// The next offset to take.
    pub(crate) next_offset: i64,
    /// The newest `occurred_at` taken.
    pub(crate) watermark: Option<i64>,
    /// When the last record was taken.
    taken_at: i64,
    /// Offsets at or above the checkpoint that had landed before the last start.
    landed: BTreeSet<i64>,
    index: HashMap<Arc<str>, usize>,
    entries: Vec<Entry>,
    /// When the accounts are next looked at that an event of now has changed since their last row …
    hurried: Timers,
    /// … and the others.
    swept: Timers,
    unsaved: BTreeSet<usize>,
    alerting: Vec<usize>,
    /// Ids remembered over all accounts, and at how many the older ones are forgotten.
    remembered: usize,
    forget_at: usize,
    landings: Landings,
    /// When its checkpoint was last moved.
    pub(crate) checkpointed_at: i64,
    pub(crate) waiting: Waiting,
    /// When the newest event came that was of the past.
    old_event_at: i64,
    /// When all that was on its way had been taken, as far as could be seen.
    caught_up_at: i64,
    /// Whether it speaks of now, and nobody was left over the last time that those were looked at who are due.
    pub(crate) knows_now: bool,
    /// What is usual in each segment.
    segments: Arc<SegmentBaselines>,
    /// Accounts whose history may have to be stated, in the order in which their events lie side by side in
    /// ClickHouse.
    histories: BTreeMap<Arc<str>, usize>,
    /// Whether anything was taken since the last checkpoint.
    pub(crate) is_moved: bool,
}

/// What a partition is continued from.
pub(crate) struct Past {
    pub(crate) epoch: u64,
    pub(crate) next_offset: i64,
    pub(crate) watermark: Option<i64>,
    pub(crate) landed: BTreeSet<i64>,
    pub(crate) accounts: Vec<Account>,
}

impl Partition {
    pub(crate) fn new(
        number: i32,
        past: Past,
        model: Arc<Model>,
        config: Arc<Config>,
        now: i64,
    ) -> Partition {
        let remembered = past.accounts.iter().map(Account::remembered_ids).sum();
        let forget_at = config.remember_ids.max(remembered);
        let mut partition = Partition {
            number,
            model,
            config,
            epoch: past.epoch,
            counter: 0,
            next_offset: past.next_offset,
            watermark: past.watermark,
            taken_at: now,
            landed: past.landed,
            index: HashMap::with_capacity(past.accounts.len()),
            entries: Vec::with_capacity(past.accounts.len()),
            hurried: Timers::new(),
            swept: Timers::with_capacity(past.accounts.len()),
            unsaved: BTreeSet::new(),
            alerting: Vec::new(),
            remembered,
            forget_at,
            landings: Landings::from(past.next_offset),
            checkpointed_at: now,
            waiting: Waiting::default(),
            old_event_at: i64::MIN / 2,
            caught_up_at: i64::MIN,
            knows_now: false,
            segments: Arc::default(),
            histories: BTreeMap::new(),
            is_moved: false,
        };
        for account in past.accounts {
            let place = partition.add(account, now);
            if !partition.entries[place].account.outbox().is_empty() {
                partition.alerting.push(place);
            }
            if partition.entries[place].must_count_anew() {
                partition.mark_unsaved(place);
            }
            if partition.entries[place].account.history_from(now).is_some() {
                partition.note_history(place);
            }
        }
        partition
    }

    /// The version of the next row: rows of a later owner are newer, and of one owner later rows.
    pub(crate) fn version(&mut self) -> u64 {
        self.counter += 1;
        (self.epoch << COUNTER_BITS) | self.counter
    }

    pub(crate) fn accounts(&self) -> usize {
        self.entries.len()
    }

    /// Whether evaluations speak of now: `caught_up` says that the partition was read to its end.
    pub(crate) fn is_live(&self, now: i64, caught_up: bool) -> bool {
        let is_recent = self
            .watermark
            .is_some_and(|mark| now - mark <= self.config.live_within_seconds * 1000);
        let is_quiet = caught_up && now - self.taken_at >= self.config.quiet_after_seconds * 1000;
        is_recent || is_quiet
    }

    /// Whether the event has to be looked up before it can be taken.
    pub(crate) fn must_look_up(&self, event: &Event, offset: i64) -> bool {
        let Some(place) = self.index.get(event.account_id.as_str()) else {
            return false;
        };
        let account = &self.entries[*place].account;
        if offset <= account.offset() {
            return false;
        }
        let may_be_a_repeat = match account.recall(event) {
            Recall::Known => false,
            Recall::New => self.config.look_up_every_id,
            Recall::Forgotten => true,
        };
        may_be_a_repeat
            && !self
                .landings
                .contains(identity(&event.account_id, &event.event_id))
    }

    /// Takes the event at `offset`, which must be the next or a later one. `was_seen` is the answer of
    /// the lookup, when [`Partition::must_look_up`] asked for one.
    pub(crate) fn take(&mut self, event: Event, offset: i64, was_seen: bool, now: i64) -> Taken {
        self.next_offset = offset + 1;
        self.is_moved = true;
        if planted::is(Bug::Poison) && event.name == "planted.panic" {
            panic!("planted");
        }
        let happened_at = event.happened_at();
        // What people do says nothing about how far the customers' events have come.
        let is_of_customer = event.event_type.is_of_customer();
        if is_of_customer {
            self.taken_at = now;
            self.watermark = Some(self.watermark.map_or(happened_at, |mark| mark.max(happened_at)));
        }
        let place = match self.index.get(event.account_id.as_str()) {
            Some(place) => *place,
            None => self.add(Account::new(&event.account_id), now),
        };
        let identity = identity(&event.account_id, &event.event_id);
        let entry = &self.entries[place];
        if offset <= entry.account.offset() {
            return Taken::Replayed;
        }
        let is_known = match entry.account.recall(&event) {
            Recall::New if !self.config.look_up_every_id => false,
            Recall::Known => true,
            Recall::New | Recall::Forgotten => was_seen || self.landings.contains(identity),
        };
        let entry = &mut self.entries[place];
        if is_known {
            entry.account.pass(offset);
            return Taken::Duplicate;
        }

        let is_recent = now - happened_at <= self.config.live_within_seconds * 1000;
        // Of the past, which has to settle before it is spoken of.
        let is_old = is_of_customer && !is_recent;
        if is_of_customer {
            if !is_old {
                self.pass_midnights(place, happened_at, now);
            }
            self.write_days_let_go_by(place, happened_at, now);
        }
        let entry = &mut self.entries[place];
        let remembered = entry.account.remembered_ids();
        let folded = entry.account.fold(&event, offset, &self.model);
        self.remembered = self.remembered + entry.account.remembered_ids() - remembered;
        entry.changed_days.extend(folded.day);
        entry.changed_users.extend(folded.user);
        let due = now.max(entry.evaluated_at + self.config.evaluate_after_ms);
        if is_old {
            entry.old_event_at = now;
            self.old_event_at = now;
            self.schedule(place, due);
        } else {
            if is_recent {
                entry.received_at = entry.received_at.max(event.received_at);
            }
            if std::mem::replace(&mut entry.is_hurried, true) {
                self.schedule(place, due);
            } else {
                self.schedule_anew(place, due);
            }
        }
        if self.entries[place].account.history_from(now).is_some() {
            self.note_history(place);
        }
        self.mark_unsaved(place);
        if !self.landed.remove(&offset) {
            self.landings.add(identity);
            self.waiting.events.push(rows::event(event, self.number, offset));
        }
        if self.remembered > self.forget_at {
            self.forget_ids();
        }
        Taken::Folded {
            counted: folded.is_kept,
        }
    }

    /// Forgets what is older than it need be, and waits for the next time until it is worth it.
    fn forget_ids(&mut self) {
        for entry in &mut self.entries {
            entry.account.forget_ids(&self.model);
        }
        let remembered = self.entries.iter().map(|entry| entry.account.remembered_ids());
        self.remembered = remembered.sum();
        self.forget_at = self
            .config
            .remember_ids
            .max(self.remembered + self.remembered / 4);
    }

    /// Notes a record that was no event.
    pub(crate) fn skip(&mut self, offset: i64) {
        self.next_offset = offset + 1;
        self.is_moved = true;
    }

    /// The events that wait to land. Whoever takes them must see them landed, in the order in which they
    /// were taken, and say so: [`Partition::events_landed`].
    pub(crate) fn take_events(&mut self) -> Vec<EventRow> {
        self.landings.begin(self.next_offset);
        // The next are as many, as a rule.
        let next = Vec::with_capacity(self.waiting.events.len());
        std::mem::replace(&mut self.waiting.events, next)
    }

    /// What was taken first by [`Partition::take_events`], of what had not landed yet, has landed.
    pub(crate) fn events_landed(&mut self) {
        self.landings.landed();
    }

    /// Forgets the ids of what has landed: from now on they are found there. Not to be called while events
    /// wait that were looked up before.
    pub(crate) fn forget_landed(&mut self) {
        self.landings.forget_landed();
    }

    /// Evaluates the accounts that are due, first `most` at most of those that have had an event of now,
    /// then as many of the others, but no more than [`SWEPT_AT_A_TIME`]; returns how many were and tells
    /// `observe` of each how long its newest event waited, in milliseconds. While alerts are `held`, because
    /// events may be on their way that are not here yet, no absence is alerted about.
    pub(crate) fn evaluate_due(
        &mut self,
        now: i64,
        caught_up: bool,
        most: usize,
        held: bool,
        mut observe: impl FnMut(i64),
    ) -> usize {
        if !held {
            self.caught_up_at = now;
        }
        self.knows_now = false;
        if !self.is_live(now, caught_up && !held) {
            return 0;
        }
        let mode = if held { Mode::Lagging } else { Mode::Live };
        let (mut hurried, mut swept) = (0, 0);
        loop {
            let place = if hurried < most
                && let Some(place) = pop_due(&mut self.hurried, &self.entries, now)
            {
                hurried += 1;
                place
            } else if swept < most.min(SWEPT_AT_A_TIME)
                && let Some(place) = pop_due(&mut self.swept, &self.entries, now)
            {
                swept += 1;
                place
            } else {
                break;
            };
            if !self.entries[place].account.is_begun() {
                // The team has acted on an account of which nothing is known.
                self.schedule_anew(place, now + self.config.sweep_seconds * 1000);
                continue;
            }
            if self.entries[place].must_count_anew() {
                // Its days will be counted at the next checkpoint.
                self.schedule_anew(place, now + COUNTED_ANEW_WITHIN_MS);
                continue;
            }
            let received_at = self.entries[place].received_at;
            if received_at > 0 {
                observe((now - received_at).max(0));
            }
            let evaluation = AssertUnwindSafe(|| {
                self.pass_midnights(place, now, now);
                self.evaluate(place, now, now, mode);
            });
            if std::panic::catch_unwind(evaluation).is_err() {
                // A fault of ours must not keep the other accounts from being looked at.
                let account_id = self.entries[place].account.account_id();
                error!(
                    account_id,
                    "the account cannot be evaluated; it is tried again at the next sweep"
                );
                self.schedule_anew(place, now + self.config.sweep_seconds * 1000);
            }
            if held {
                self.schedule(place, now + self.config.quiet_after_seconds * 1000);
            }
        }
        self.knows_now = swept < SWEPT_AT_A_TIME;
        hurried + swept
    }

    /// Accounts with something to send; their states have to be saved before it is sent. Each is answered
    /// by [`Partition::sent`] and does not come up again before.
    pub(crate) fn take_alerting(&mut self) -> Vec<usize> {
        let mut alerting = std::mem::take(&mut self.alerting);
        alerting.retain(|place| !std::mem::replace(&mut self.entries[*place].is_telling, true));
        alerting.sort_unstable();
        alerting
    }

    /// The state of an account, to be saved.
    pub(crate) fn state(&mut self, place: usize, now: i64) -> StateRow {
        let version = self.version();
        let account = &mut self.entries[place].account;
        StateRow {
            partition: self.number,
            account_id: account.account_id().to_string(),
            version,
            offset: account.offset(),
            state: account.encode(&self.model),
            saved_at: now,
        }
    }

    /// What an account has to send.
    pub(crate) fn outbox(&self, place: usize) -> &[AlertChange] {
        self.entries[place].account.outbox()
    }

    /// These changes have been sent. What the account has found to send meanwhile comes up next.
    pub(crate) fn sent(&mut self, place: usize, changes: &HashSet<&str>) {
        let entry = &mut self.entries[place];
        entry
            .account
            .take_out_of_outbox(|change| changes.contains(change.alert_id.as_str()));
        entry.is_telling = false;
        if !entry.account.outbox().is_empty() {
            self.alerting.push(place);
        }
        self.mark_unsaved(place);
    }

    /// Accounts that changed since they were saved.
    pub(crate) fn unsaved(&self) -> usize {
        self.unsaved.len()
    }

    /// What changed since the last checkpoint. Whoever takes it must see it written.
    pub(crate) fn take_unsaved(&mut self, now: i64, into: &mut Unsaved) {
        let places: Vec<usize> = self.unsaved.iter().copied().collect();
        for place in places {
            self.save(place, now, into);
        }
    }

    /// What changed of an account since it was saved, if anything, to be written with its state.
    pub(crate) fn save(&mut self, place: usize, now: i64, into: &mut Unsaved) {
        if !std::mem::take(&mut self.entries[place].is_unsaved) {
            return;
        }
        self.unsaved.remove(&place);
        let state = self.state(place, now);
        let version = state.version;
        let changed_days = std::mem::take(&mut self.entries[place].changed_days);
        let changed_users = std::mem::take(&mut self.entries[place].changed_users);
        let account = &self.entries[place].account;
        let account_id = account.account_id();
        // The rows of days that the account does not keep in full come with its history.
        for day in changed_days {
            if let Some(daily) = account.daily(day) {
                into.daily.push(rows::daily(account_id, daily, version, now));
            } else if account.keeps_in_full(day) {
                // Its events turned out to belong to the day before or after.
                into.daily.push(rows::empty_day(account_id, day, version, now));
            }
        }
        for user in changed_users {
            into.users
                .push(rows::user(account_id, account.user(user), version, now));
        }
        if account.is_begun() {
            into.accounts
                .push(rows::account(account, &self.model, version, now));
        }
        into.states.push(state);
        if self.entries[place].must_count_anew() {
            // It comes up again until its past is there.
            self.mark_unsaved(place);
        }
    }

    /// What is usual in each segment from now on.
    pub(crate) fn judge_by(&mut self, segments: Arc<SegmentBaselines>) {
        self.segments = segments;
    }

    /// Evaluates an account at `at`; `now` is the time on the wall.
    fn evaluate(&mut self, place: usize, at: i64, now: i64, mode: Mode) {
        let watermark = self.watermark.unwrap_or(at);
        let settles_at = self.settles_at(place);
        let is_settled = settles_at.is_some_and(|at| at <= now);
        let entry = &mut self.entries[place];
        let is_replay = at != now;
        let lacks_history = entry.is_history_asked || entry.account.history_from(now).is_some();
        let mode = if is_settled && !lacks_history {
            mode
        } else {
            Mode::Replay
        };
        // A sender's clock that is ahead of ours by a little must not bring events from the future.
        let at = if is_replay {
            at
        } else {
            at.max(entry.account.last_event_at().unwrap_or(at))
        };
        let received_at = if is_replay {
            0
        } else {
            std::mem::take(&mut entry.received_at)
        };
        let evaluation = entry
            .account
            .evaluate(at, mode, received_at, &self.segments, &self.model);
        entry.evaluated_at = at;
        let has_alerts = !entry.account.outbox().is_empty();
        let standing = Some((evaluation.stage, evaluation.tier));
        let has_moved = evaluation.episodes_moved || standing != entry.standing;
        entry.standing = standing;
        let print = fingerprint(&evaluation);
        let has_changed = print != entry.written_print;
        let is_daily_due = at - entry.written_at >= DAY_MS;
        let may_write = at - entry.written_at >= self.config.write_after_ms;
        let writes = is_replay || has_alerts || is_daily_due || (has_changed && may_write);
        let mut due = now + self.config.sweep_seconds * 1000;
        if !is_settled {
            due = due.min(settles_at.unwrap_or(now + self.config.quiet_after_seconds * 1000));
        }
        if let Some(midnight) = entry.account.next_midnight().filter(|midnight| *midnight > now) {
            due = due.min(midnight);
        }
        if let Some(wake) = entry.account.next_wake(now) {
            due = due.min(wake);
        }
        if writes {
            entry.written_at = at;
            entry.written_print = print;
        } else if has_changed {
            due = due.min(entry.written_at + self.config.write_after_ms);
        }
        // While history is read the timers stand still: the account stays due for the first look at now.
        if !is_replay {
            entry.is_hurried &= has_changed && !writes;
            self.schedule_anew(place, due.max(now + 1));
        }
        if writes {
            let offset = self.entries[place].account.offset();
            self.write(place, &evaluation, offset, watermark);
        }
        if has_moved {
            self.mark_unsaved(place);
        }
        if has_alerts {
            self.alerting.push(place);
        }
    }

    /// Puts what an evaluation found with what waits to be written; it covers the events up to `offset`.
    fn write(&mut self, place: usize, evaluation: &Evaluation, offset: i64, watermark: i64) {
        let version = self.version();
        let account_id = self.entries[place].account.account_id();
        let coverage = rows::Coverage {
            watermark,
            cut_offset: offset,
        };
        let row = rows::metrics(account_id, evaluation, coverage, version);
        let waiting = if row.is_daily {
            &mut self.waiting.midnights
        } else {
            &mut self.waiting.now
        };
        waiting.metrics.push(row);
        let hash = self.model.hash();
        waiting
            .scores
            .push(rows::scores(account_id, evaluation, coverage, version, hash));
    }

    fn add(&mut self, account: Account, now: i64) -> usize {
        let place = self.entries.len();
        self.index.insert(Arc::from(account.account_id()), place);
        self.entries.push(Entry {
            account,
            is_unsaved: false,
            changed_days: BTreeSet::new(),
            changed_users: BTreeSet::new(),
            standing: None,
            received_at: 0,
            evaluated_at: i64::MIN / 2,
            old_event_at: i64::MIN / 2,
            due: i64::MAX,
            is_hurried: false,
            written_at: i64::MIN / 2,
            written_print: 0,
            is_history_noted: false,
            is_history_asked: false,
            is_telling: false,
        });
        self.schedule(place, now);
        place
    }

    /// Looks at the account at `due`, unless it is to be looked at earlier anyhow.
    fn schedule(&mut self, place: usize, due: i64) {
        if due < self.entries[place].due {
            self.schedule_anew(place, due);
        }
    }

    fn schedule_anew(&mut self, place: usize, due: i64) {
        let entry = &mut self.entries[place];
        entry.due = due;
        let timers = if entry.is_hurried {
            &mut self.hurried
        } else {
            &mut self.swept
        };
        timers.push(Reverse((due, place)));
    }

    fn note_history(&mut self, place: usize) {
        if std::mem::replace(&mut self.entries[place].is_history_noted, true) {
            return;
        }
        let account_id = self.entries[place].account.account_id();
        if let Some((account_id, _)) = self.index.get_key_value(account_id) {
            self.histories.insert(Arc::clone(account_id), place);
        }
    }

    fn mark_unsaved(&mut self, place: usize) {
        let entry = &mut self.entries[place];
        if !entry.is_unsaved {
            entry.is_unsaved = true;
            self.unsaved.insert(place);
        }
    }
}

impl Evaluations {
    pub(crate) fn append(&mut self, more: &mut Evaluations) {
        self.metrics.append(&mut more.metrics);
        self.scores.append(&mut more.scores);
    }
}

impl Entry {
    /// Whether the days were counted in another time zone, or the state is one of an older layout.
    fn must_count_anew(&self) -> bool {
        self.account.must_recount() || self.account.must_refold()
    }
}

/// The account that is to be looked at first of those that are due.
fn pop_due(timers: &mut Timers, entries: &[Entry], now: i64) -> Option<usize> {
    while let Some(Reverse((due, place))) = timers.peek().copied()
        && due <= now
    {
        timers.pop();
        if entries[place].due == due {
            return Some(place);
        }
    }
    None
}

#[cfg(test)]
mod action_tests;
#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
