//! The accounts of one partition: what has been folded, what is to be evaluated and when, and what
//! waits to be written. No IO, and time is a parameter.
//!
//! Two rules decide when an evaluation speaks of now. The partition must be *live*: its newest event
//! is recent, or it has been read to the end and nothing has come for a while. And the account must
//! not be receiving history: after an event that is older than that, its alerts wait until no more
//! such events have come for a while. Before a partition is live its accounts are evaluated at each
//! midnight that its events pass, so that history gets a score a day.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use event::Event;
use health::{Account, AlertChange, Evaluation, Mode, Model, Recall, Stage, Tier};
use store::{AccountRow, DailyRow, DayBounds, EventRow, MetricsRow, ScoresRow, StateRow, UserRow};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::config::Config;
use crate::rows;

const DAY_MS: i64 = 86_400_000;

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
    /// Until when alerts wait because history is coming in.
    settles_at: i64,
    /// When the account is next looked at; what the timers hold besides is stale.
    due: i64,
    written_at: i64,
    written_print: u64,
}

/// What waits to be written, besides the states.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) events: Vec<EventRow>,
    pub(crate) metrics: Vec<MetricsRow>,
    pub(crate) scores: Vec<ScoresRow>,
}

/// What a checkpoint saves.
#[derive(Default)]
pub(crate) struct Unsaved {
    pub(crate) states: Vec<StateRow>,
    pub(crate) daily: Vec<DailyRow>,
    pub(crate) accounts: Vec<AccountRow>,
    pub(crate) users: Vec<UserRow>,
    /// Days that the accounts do not keep any more: their numbers are to be counted from the landed
    /// events, and written with these versions.
    pub(crate) days_to_count: Vec<(DayBounds, u64)>,
}

/// An account whose kept days are to be counted anew, from the events since `from` up to its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recount {
    pub(crate) place: usize,
    pub(crate) account_id: String,
    pub(crate) from: i64,
    pub(crate) offset: i64,
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
    timers: BinaryHeap<Reverse<(i64, usize)>>,
    unsaved: Vec<usize>,
    alerting: Vec<usize>,
    /// Ids remembered over all accounts, and at how many the older ones are forgotten.
    remembered: usize,
    forget_at: usize,
    /// Account and id of each event that waits to land.
    unlanded: HashSet<u128>,
    pub(crate) waiting: Waiting,
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
            timers: BinaryHeap::with_capacity(past.accounts.len()),
            unsaved: Vec::new(),
            alerting: Vec::new(),
            remembered,
            forget_at,
            unlanded: HashSet::new(),
            waiting: Waiting::default(),
            is_moved: false,
        };
        for account in past.accounts {
            let place = partition.add(account, now);
            if !partition.entries[place].account.outbox().is_empty() {
                partition.alerting.push(place);
            }
            if partition.entries[place].account.must_recount() {
                partition.mark_unsaved(place);
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
        offset > account.offset()
            && account.recall(event) == Recall::Forgotten
            && !self
                .unlanded
                .contains(&identity(&event.account_id, &event.event_id))
    }

    /// Takes the event at `offset`, which must be the next or a later one. `was_seen` is the answer of
    /// the lookup, when [`Partition::must_look_up`] asked for one.
    pub(crate) fn take(&mut self, event: Event, offset: i64, was_seen: bool, now: i64) -> Taken {
        self.next_offset = offset + 1;
        self.taken_at = now;
        self.is_moved = true;
        self.pass_midnights(event.occurred_at.min(now), now);
        let place = match self.index.get(event.account_id.as_str()) {
            Some(place) => *place,
            None => self.add(Account::new(&event.account_id), now),
        };
        let identity = identity(&event.account_id, &event.event_id);
        let entry = &mut self.entries[place];
        if offset <= entry.account.offset() {
            return Taken::Replayed;
        }
        let is_known = match entry.account.recall(&event) {
            Recall::New => false,
            Recall::Known => true,
            Recall::Forgotten => was_seen || self.unlanded.contains(&identity),
        };
        if is_known {
            entry.account.pass(offset);
            return Taken::Duplicate;
        }

        let remembered = entry.account.remembered_ids();
        let folded = entry.account.fold(&event, offset, &self.model);
        self.remembered = self.remembered + entry.account.remembered_ids() - remembered;
        entry.changed_days.insert(folded.day);
        entry.changed_users.extend(folded.user);
        if now - event.occurred_at > self.config.live_within_seconds * 1000 {
            entry.settles_at = now + self.config.quiet_after_seconds * 1000;
        } else {
            entry.received_at = entry.received_at.max(event.received_at);
        }
        let due = now.max(entry.evaluated_at + self.config.evaluate_after_ms);
        self.schedule(place, due);
        self.mark_unsaved(place);
        if !self.landed.remove(&offset) {
            self.unlanded.insert(identity);
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

    /// The events have landed.
    pub(crate) fn events_landed(&mut self) {
        self.unlanded.clear();
    }

    /// Evaluates the accounts that are due, `most` of them at most; returns how many were and tells
    /// `observe` of each how long its newest event waited, in milliseconds. While alerts are `held`,
    /// because events may be on their way that are not here yet, nobody is alerted about.
    pub(crate) fn evaluate_due(
        &mut self,
        now: i64,
        caught_up: bool,
        most: usize,
        held: bool,
        mut observe: impl FnMut(i64),
    ) -> usize {
        if !self.is_live(now, caught_up && !held) {
            return 0;
        }
        let mode = if held { Mode::Replay } else { Mode::Live };
        let mut evaluated = 0;
        while evaluated < most
            && let Some(Reverse((due, place))) = self.timers.peek().copied()
            && due <= now
        {
            self.timers.pop();
            if self.entries[place].due != due {
                continue;
            }
            let received_at = self.entries[place].received_at;
            if received_at > 0 {
                observe((now - received_at).max(0));
            }
            self.evaluate(place, now, now, mode);
            if held {
                self.schedule(place, now + self.config.quiet_after_seconds * 1000);
            }
            evaluated += 1;
        }
        evaluated
    }

    /// Accounts with something to send; their states have to be saved before it is sent.
    pub(crate) fn take_alerting(&mut self) -> Vec<usize> {
        let mut alerting = std::mem::take(&mut self.alerting);
        alerting.sort_unstable();
        alerting.dedup();
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

    /// What the account had to send has been sent.
    pub(crate) fn sent(&mut self, place: usize) {
        self.entries[place].account.clear_outbox();
        self.mark_unsaved(place);
    }

    /// The accounts whose days were counted in a time zone that turned out not to be theirs.
    pub(crate) fn recounts(&self) -> Vec<Recount> {
        let wrong = self
            .unsaved
            .iter()
            .filter(|place| self.entries[**place].account.must_recount());
        let recount = |place: &usize| {
            let account = &self.entries[*place].account;
            let (_, newest) = account.life(&self.model)?;
            let (from, _) = account.day_bounds(newest - health::KEPT_DAYS, &self.model);
            let account_id = account.account_id().to_string();
            Some(Recount {
                place: *place,
                account_id,
                from,
                offset: account.offset(),
            })
        };
        wrong.filter_map(recount).collect()
    }

    /// Counts the kept days of an account anew from its landed events, those of [`Recount`]; all days
    /// of its life are written again.
    pub(crate) fn recount(&mut self, place: usize, events: &[Event]) {
        let entry = &mut self.entries[place];
        entry.account.recount(events, &self.model);
        if let Some((first, last)) = entry.account.life(&self.model) {
            // A day may have lost its events to the one before or after it.
            entry.changed_days.extend(first - 1..=last + 1);
        }
        let due = entry.evaluated_at + self.config.evaluate_after_ms;
        self.schedule(place, due);
    }

    /// What changed since the last checkpoint. Whoever takes it must see it written.
    pub(crate) fn take_unsaved(&mut self, now: i64) -> Unsaved {
        let mut unsaved = Unsaved::default();
        for place in std::mem::take(&mut self.unsaved) {
            self.entries[place].is_unsaved = false;
            let state = self.state(place, now);
            let version = state.version;
            let changed_days = std::mem::take(&mut self.entries[place].changed_days);
            let changed_users = std::mem::take(&mut self.entries[place].changed_users);
            let account = &self.entries[place].account;
            let account_id = account.account_id();
            for day in changed_days {
                match account.daily(day) {
                    Some(daily) => unsaved.daily.push(rows::daily(account_id, daily, version, now)),
                    None => unsaved
                        .days_to_count
                        .push((rows::day_bounds(account, day, &self.model), version)),
                }
            }
            for user in changed_users {
                unsaved
                    .users
                    .push(rows::user(account_id, account.user(user), version, now));
            }
            let (stage, tier) = self.entries[place].standing.unwrap_or_else(|| {
                let at = self.watermark.unwrap_or(now);
                let metrics = account.metrics(at, &self.model);
                (account.stage(&metrics, at), account.tier(&metrics, &self.model))
            });
            unsaved
                .accounts
                .push(rows::account(account, stage, tier, version, now));
            unsaved.states.push(state);
        }
        unsaved
    }

    /// Evaluates the accounts at each midnight (UTC) up to `occurred_at` that the partition passes,
    /// unless they were evaluated shortly before or since: while it is live, the timers do that.
    fn pass_midnights(&mut self, occurred_at: i64, now: i64) {
        let Some(mark) = self.watermark else {
            self.watermark = Some(occurred_at);
            return;
        };
        if occurred_at <= mark {
            return;
        }
        for day in mark.div_euclid(DAY_MS) + 1..=occurred_at.div_euclid(DAY_MS) {
            let midnight = day * DAY_MS;
            let long_before = midnight - self.config.sweep_seconds * 1000;
            for place in 0..self.entries.len() {
                if self.entries[place].evaluated_at < long_before {
                    self.evaluate(place, midnight, now, Mode::Replay);
                }
            }
        }
        self.watermark = Some(occurred_at);
    }

    /// Evaluates an account at `at`; `now` is the time on the wall.
    fn evaluate(&mut self, place: usize, at: i64, now: i64, mode: Mode) {
        let watermark = self.watermark.unwrap_or(at);
        let entry = &mut self.entries[place];
        let settles_at = entry.settles_at;
        let mode = if settles_at > now { Mode::Replay } else { mode };
        let evaluation = entry.account.evaluate(at, mode, entry.received_at, &self.model);
        entry.received_at = 0;
        entry.evaluated_at = at;
        let has_alerts = !entry.account.outbox().is_empty();
        let standing = Some((evaluation.stage, evaluation.tier));
        let has_moved = evaluation.episodes_moved || standing != entry.standing;
        entry.standing = standing;
        let is_replay = at != now;
        let print = fingerprint(&evaluation);
        let has_changed = print != entry.written_print;
        let is_daily_due = at - entry.written_at >= DAY_MS;
        let may_write = at - entry.written_at >= self.config.write_after_ms;
        let writes = is_replay || has_alerts || is_daily_due || (has_changed && may_write);
        let mut due = now + self.config.sweep_seconds * 1000;
        if settles_at > now {
            due = due.min(settles_at);
        }
        if writes {
            entry.written_at = at;
            entry.written_print = print;
        } else if has_changed {
            due = due.min(entry.written_at + self.config.write_after_ms);
        }
        // While history is read the timers stand still: the account stays due for the first look at now.
        if !is_replay {
            self.schedule_anew(place, due.max(now + 1));
        }
        if writes {
            let version = self.version();
            let account_id = self.entries[place].account.account_id();
            self.waiting
                .metrics
                .push(rows::metrics(account_id, &evaluation, watermark, version));
            let hash = self.model.hash();
            self.waiting
                .scores
                .push(rows::scores(account_id, &evaluation, watermark, version, hash));
        }
        if has_moved {
            self.mark_unsaved(place);
        }
        if has_alerts {
            self.alerting.push(place);
        }
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
            settles_at: 0,
            due: i64::MAX,
            written_at: i64::MIN / 2,
            written_print: 0,
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
        self.entries[place].due = due;
        self.timers.push(Reverse((due, place)));
    }

    fn mark_unsaved(&mut self, place: usize) {
        let entry = &mut self.entries[place];
        if !entry.is_unsaved {
            entry.is_unsaved = true;
            self.unsaved.push(place);
        }
    }
}

/// Stands for an event within a partition.
fn identity(account_id: &str, event_id: &str) -> u128 {
    let mut bytes = Vec::with_capacity(8 + account_id.len() + event_id.len());
    bytes.extend_from_slice(&(account_id.len() as u64).to_le_bytes());
    bytes.extend_from_slice(account_id.as_bytes());
    bytes.extend_from_slice(event_id.as_bytes());
    xxh3_128(&bytes)
}

/// Stands for what an evaluation found, whenever it was.
fn fingerprint(evaluation: &Evaluation) -> u64 {
    struct Hashed(Xxh3);
    impl std::fmt::Write for Hashed {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut hashed = Hashed(Xxh3::new());
    let found = (
        &evaluation.metrics,
        &evaluation.scores,
        evaluation.stage,
        evaluation.tier,
    );
    // Writing into a hash cannot fail.
    let _ = std::fmt::write(&mut hashed, format_args!("{found:?}"));
    hashed.0.digest()
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
