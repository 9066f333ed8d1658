//! The row of each midnight: which are missing or do not know of a late event, and how they are made
//! from the account's events.
//!
//! What holds: the row of a midnight (UTC) covers what happened up to it. While events come in order it
//! is evaluated as midnight passes. An event that happened before a midnight whose row exists, a gap
//! because nobody was running, and a history that is loaded make rows wrong or leave them out; then the
//! account's events are replayed in the order in which they happened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use event::{Event, EventType};
use jiff::tz::TimeZone;

use crate::account::{Account, Daily, local_day, read_properties};
use crate::config::Model;
use crate::days::KEPT_DAYS;
use crate::episode::Mode;
use crate::evaluate::{Evaluation, SegmentBaselines};
use crate::state::is_activity;

/// A day of UTC, milliseconds.
const DAY_MS: i64 = 86_400_000;

/// The first midnight (UTC) that is not before `at`, milliseconds.
pub fn midnight_from(at: i64) -> i64 {
    at.saturating_add(DAY_MS - 1).div_euclid(DAY_MS) * DAY_MS
}

impl Account {
    /// The first midnight whose row is missing or has to be stated again; `None` when all rows up to
    /// `now` are right.
    pub fn history_from(&self, now: i64) -> Option<i64> {
        let last = now.div_euclid(DAY_MS) * DAY_MS;
        let missing = self.next_midnight()?;
        let wrong = self.state.restate_from.map(midnight_from);
        let from = wrong.map_or(missing, |wrong| wrong.min(missing));
        (from <= last).then_some(from)
    }

    /// Notes that rows from that of `at` on do not know of all events.
    pub(crate) fn must_restate(&mut self, at: i64) {
        self.state.restate_from = Some(self.state.restate_from.map_or(at, |known| known.min(at)));
    }

    /// Takes it upon the caller to state the rows of all midnights from [`Account::history_from`] up to
    /// `until`. What happens before `until` and is folded from now on is asked for again. Should the
    /// process die, or the caller say [`Account::history_failed`], so is all of it.
    pub fn begin_history(&mut self, until: i64) {
        let missing = match self.state.daily_until {
            Some(daily_until) => daily_until + 1,
            None => self.state.first_event_at.unwrap_or(until),
        };
        self.must_restate(missing);
        self.state.restating_from = self.state.restate_from.take();
        self.state.daily_until = Some(self.state.daily_until.map_or(until, |known| known.max(until)));
    }

    /// The rows that [`Account::begin_history`] spoke of are written, or about to be before the account
    /// is saved. Returns whether days may have lost all their events to others since they were
    /// written, because the account turned out to be in another time zone.
    pub fn history_stated(&mut self) -> bool {
        self.state.restating_from = None;
        std::mem::take(&mut self.state.was_recounted)
    }

    /// Counts days in the time zone that the account is known to be in.
    pub fn day_counter(&self, model: &Model) -> DayCounter {
        DayCounter {
            zone: self.zone.clone().unwrap_or_else(|| model.zone.clone()),
            day: None,
            users: BTreeSet::new(),
            uses: BTreeMap::new(),
        }
    }

    /// The rows that [`Account::begin_history`] spoke of could not be made.
    pub fn history_failed(&mut self) {
        if let Some(from) = self.state.restating_from.take() {
            self.must_restate(from);
        }
    }

    /// The midnight after the newest whose row was evaluated, or the first of the account's life; `None`
    /// before its first event.
    pub fn next_midnight(&self) -> Option<i64> {
        match self.state.daily_until {
            Some(until) => Some(until + DAY_MS),
            None => self.state.first_event_at.map(midnight_from),
        }
    }

    /// Notes an evaluation, which may be that of the next midnight.
    pub(crate) fn note_evaluation(&mut self, at: i64) {
        if at.rem_euclid(DAY_MS) != 0 {
            return;
        }
        if self.next_midnight() == Some(at) {
            self.state.daily_until = Some(at);
        }
    }
}

/// Counts an account's days anew, in the time zone that it is known to be in now, from its events in
/// the order in which they happened.
#[derive(Debug, Clone)]
pub struct DayCounter {
    zone: TimeZone,
    day: Option<Daily>,
    users: BTreeSet<String>,
    uses: BTreeMap<String, u64>,
}

impl DayCounter {
    /// Whether both count the same days.
    pub fn counts_as(&self, other: &DayCounter) -> bool {
        self.zone == other.zone
    }

    /// Counts an event; returns the day before it, when that is over.
    pub fn take(&mut self, event: &Event) -> Option<Daily> {
        if !event.event_type.is_of_customer() {
            return None;
        }
        let number = local_day(event.happened_at(), &self.zone);
        let over = match &self.day {
            Some(day) if day.day != number => self.finish(),
            _ => None,
        };
        let day = self.day.get_or_insert(Daily {
            day: number,
            logins: 0,
            events: 0,
            active_users: 0,
            feature_uses: Vec::new(),
        });
        day.events += 1;
        day.logins += u32::from(event.event_type == EventType::Login);
        if let (true, Some(user)) = (is_activity(event.event_type), &event.user_id)
            && !self.users.contains(user)
        {
            self.users.insert(user.clone());
        }
        if event.event_type == EventType::Feature {
            let uses = read_properties(event).u64("count").unwrap_or(1);
            match self.uses.get_mut(&event.name) {
                Some(sum) => *sum = sum.saturating_add(uses),
                None => {
                    self.uses.insert(event.name.clone(), uses);
                }
            }
        }
        over
    }

    /// The day that was being counted.
    pub fn finish(&mut self) -> Option<Daily> {
        let mut day = self.day.take()?;
        day.active_users = u32::try_from(self.users.len()).unwrap_or(u32::MAX);
        self.users.clear();
        day.feature_uses = std::mem::take(&mut self.uses).into_iter().collect();
        Some(day)
    }
}

/// An account that is lived again, event by event in the order in which they happened.
pub struct Replay<'a> {
    account: Account,
    /// When to evaluate, ascending.
    instants: VecDeque<i64>,
    segments: &'a SegmentBaselines,
    model: &'a Model,
    /// The events of the kept days, for the case that the time zone turns out to be another.
    recent: VecDeque<Event>,
}

impl<'a> Replay<'a> {
    /// A replay that evaluates at each of `instants`, milliseconds.
    pub fn new(
        account_id: &str,
        mut instants: Vec<i64>,
        segments: &'a SegmentBaselines,
        model: &'a Model,
    ) -> Replay<'a> {
        instants.sort_unstable();
        instants.dedup();
        Replay {
            account: Account::new(account_id),
            instants: instants.into(),
            segments,
            model,
            recent: VecDeque::new(),
        }
    }

    /// Takes the next event; before it, shows what evaluations found that are due before it happened.
    pub fn take(&mut self, event: Event, offset: i64, show: impl FnMut(Evaluation, &Account)) {
        let at = event.happened_at();
        self.evaluate_before(at, show);
        let offset = self.account.offset().max(offset);
        self.account.fold(&event, offset, self.model);
        self.account.forget_ids(self.model);
        let kept_from = at.saturating_sub((i64::from(KEPT_DAYS) + 2) * DAY_MS);
        while self
            .recent
            .front()
            .is_some_and(|event| event.happened_at() < kept_from)
        {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
        if self.account.must_recount() {
            self.account.recount(&self.recent, self.model);
        }
    }

    /// Evaluates at the instants that are left; returns the account.
    pub fn finish(mut self, show: impl FnMut(Evaluation, &Account)) -> Account {
        self.evaluate_before(i64::MAX, show);
        self.account
    }

    fn evaluate_before(&mut self, at: i64, mut show: impl FnMut(Evaluation, &Account)) {
        while let Some(instant) = self.instants.front().copied().filter(|instant| *instant < at) {
            self.instants.pop_front();
            let found = self
                .account
                .evaluate(instant, Mode::Replay, 0, self.segments, self.model);
            show(found, &self.account);
        }
    }
}
