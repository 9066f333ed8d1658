//! The past of the accounts of a partition: when it is all there, which of it has to be read again from
//! the landed events, and taking over what was found.
//!
//! What holds: an account is settled when the pipeline has caught up since the newest event of its past and
//! none has come for a while. Only then are its days counted anew in another time zone and its history
//! stated, since both read what has landed; and until its history is there nobody is alerted about it.

use std::sync::Arc;

use event::Event;
use health::{Account, DETAILED_DAYS, Daily, DayCounter, Evaluation, Mode};

use super::{DAY_MS, Partition};
use crate::rows;

/// Before all events: 1900.
const BEFORE_ALL_MS: i64 = -2_208_988_800_000;

/// The account's history that is to be stated from its landed events.
#[derive(Debug, Clone)]
pub struct HistoryRequest {
    /// Of the partition: when it was taken over anew since, the places of its accounts are others.
    pub(crate) epoch: u64,
    pub(crate) place: usize,
    pub(crate) account_id: String,
    /// The last offset that the history covers.
    pub(crate) offset: i64,
    /// The midnights whose rows are to be stated, ascending.
    pub(crate) midnights: Vec<i64>,
    /// When the episodes opened that people were told of: whether their rules held, given all that is
    /// known now, is to be looked at again.
    pub(crate) told: Vec<(String, i64)>,
    /// Counts its days.
    pub(crate) counter: DayCounter,
}

impl HistoryRequest {
    /// The account.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }
}

/// What the account's history was found to be.
pub struct History {
    pub(crate) request: HistoryRequest,
    /// At each midnight.
    pub(crate) evaluations: Vec<Evaluation>,
    /// Of `request.told`, those whose rule did not hold.
    pub(crate) untrue: Vec<(String, i64)>,
    /// Every day with an event, in the time zone that the account is in now.
    pub(crate) days: Vec<Daily>,
    /// The account at the end of it.
    pub(crate) account: Account,
}

/// An account whose kept days are to be counted anew, from the events since `from` up to its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recount {
    pub(crate) place: usize,
    pub(crate) account_id: String,
    pub(crate) from: i64,
    pub(crate) offset: i64,
}

impl Partition {
    /// The accounts whose days were counted in a time zone that turned out not to be theirs.
    pub(crate) fn recounts(&self, now: i64) -> Vec<Recount> {
        let wrong = self
            .unsaved
            .iter()
            .filter(|place| self.must_recount(**place, now));
        let recount = |place: &usize| {
            let account = &self.entries[*place].account;
            let (_, newest) = account.life(&self.model)?;
            let from = if account.must_refold() {
                BEFORE_ALL_MS
            } else {
                account.day_bounds(newest - health::KEPT_DAYS, &self.model).0
            };
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
    pub(crate) fn recount(&mut self, place: usize, events: &[(Event, i64)], now: i64) {
        let entry = &mut self.entries[place];
        // An owner that died may have written days as they were in yet another zone: on whichever day an event can
        // lie, what stands there is stated.
        for (event, _) in events {
            let day = i32::try_from(event.happened_at().div_euclid(DAY_MS)).unwrap_or(0);
            entry.changed_days.extend([day - 1, day, day + 1]);
        }
        if entry.account.must_refold() {
            let events = events.iter().map(|(event, offset)| (event, *offset));
            entry.account.refold(events, &self.model);
            entry
                .changed_users
                .extend(0..entry.account.users().count() as u32);
            if let Some((first, last)) = entry.account.life(&self.model) {
                entry.changed_days.extend(first..=last);
            }
        } else {
            let events = events.iter().map(|(event, _)| event);
            let days = entry.account.recount(events, &self.model);
            entry.changed_days.extend(days);
        }
        if entry.account.history_from(now).is_some() {
            self.note_history(place);
        }
        let entry = &mut self.entries[place];
        let due = entry.evaluated_at + self.config.evaluate_after_ms;
        self.schedule(place, due);
    }

    /// Evaluates an account at each midnight (UTC) up to `until` that has no row yet, if all that it
    /// has folded happened before; else its history has to be stated.
    pub(super) fn pass_midnights(&mut self, place: usize, until: i64, now: i64) {
        while let account = &self.entries[place].account
            && let Some(midnight) = account.next_midnight()
            && midnight <= until
        {
            let is_in_order = account.last_event_at().is_some_and(|at| at <= midnight);
            if !is_in_order || account.must_recount() || until - midnight > self.config.history_days * DAY_MS
            {
                self.note_history(place);
                return;
            }
            self.evaluate(place, midnight, now, Mode::Replay);
        }
    }

    /// When an account's past is all there, as far as can be seen: no event of it has come for a while,
    /// and the pipeline has caught up since; `None` while it has not.
    pub(super) fn settles_at(&self, place: usize) -> Option<i64> {
        let old_event_at = self.entries[place].old_event_at;
        let caught_up = self.caught_up_at >= old_event_at;
        caught_up.then(|| old_event_at.saturating_add(self.config.quiet_after_seconds * 1000))
    }

    pub(super) fn is_settled(&self, place: usize, now: i64) -> bool {
        self.settles_at(place).is_some_and(|at| at <= now)
    }

    /// Whether the pipeline has caught up since the newest event of the past. While a backlog is read it
    /// has not, and then no account need be looked at for what waits for that.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.caught_up_at >= self.old_event_at
    }

    /// Whether days of an account have to be counted anew before it can be evaluated.
    pub(crate) fn has_recounts(&self, now: i64) -> bool {
        self.has_caught_up() && self.unsaved.iter().any(|place| self.must_recount(*place, now))
    }

    /// Whether an account's days have to be counted anew, and its past is there to do it.
    fn must_recount(&self, place: usize, now: i64) -> bool {
        self.entries[place].must_count_anew() && self.is_settled(place, now)
    }

    /// Accounts whose history is to be stated and whose events have all landed: `most` of them at most, and
    /// none more once there are as many `midnights`. Each is answered by [`Partition::history_stated`] or [`Partition::history_failed`].
    pub(crate) fn take_histories(&mut self, now: i64, most: usize, midnights: usize) -> Vec<HistoryRequest> {
        let mut requests = Vec::new();
        if !self.has_caught_up() {
            return requests;
        }
        let is_ready = |place: &usize| {
            let entry = &self.entries[*place];
            !entry.is_history_asked
                && !entry.must_count_anew()
                && self.is_settled(*place, now)
                && self.landings.has_landed(entry.account.offset())
        };
        let all = self.histories.iter();
        let ready: Vec<(Arc<str>, usize)> = all
            .filter(|(_, place)| is_ready(place))
            .take(most)
            .map(|(account_id, place)| (Arc::clone(account_id), *place))
            .collect();
        let mut asked = 0;
        for (account_id, place) in ready {
            if asked >= midnights {
                break;
            }
            self.histories.remove(&account_id);
            let entry = &mut self.entries[place];
            entry.is_history_noted = false;
            let Some(from) = entry.account.history_from(now) else {
                continue;
            };
            let until = now.div_euclid(DAY_MS) * DAY_MS;
            let earliest = until - self.config.history_days * DAY_MS;
            entry.account.begin_history(until);
            entry.is_history_asked = true;
            let midnights: Vec<i64> = (from.max(earliest)..=until).step_by(DAY_MS as usize).collect();
            asked += midnights.len();
            requests.push(HistoryRequest {
                epoch: self.epoch,
                place,
                account_id: entry.account.account_id().to_string(),
                offset: entry.account.offset(),
                counter: entry.account.day_counter(&self.model),
                midnights,
                told: entry
                    .account
                    .open_episodes()
                    .map(|episode| (episode.rule.to_string(), episode.opened_at))
                    .collect(),
            });
        }
        requests
    }

    /// Takes over what an account's history was found to be.
    pub(crate) fn history_stated(&mut self, history: History, now: i64) {
        if history.request.epoch != self.epoch {
            return;
        }
        let place = history.request.place;
        let account = &self.entries[place].account;
        let counts_as_now = account
            .day_counter(&self.model)
            .counts_as(&history.request.counter);
        if !counts_as_now || self.entries[place].must_count_anew() {
            // It turned out meanwhile to be in another time zone.
            self.history_failed(&history.request);
            return;
        }
        self.write_days(place, &history.days, now);
        let watermark = self.watermark.unwrap_or(now);
        for evaluation in &history.evaluations {
            self.write(place, evaluation, history.request.offset, watermark);
        }
        let entry = &mut self.entries[place];
        entry.is_history_asked = false;
        entry.account.adopt_episodes(&history.account);
        if !history.untrue.is_empty() {
            let evaluation = entry.account.assess(now, &self.segments, &self.model);
            let is_true = |rule: &str, opened_at: i64| {
                let untrue = history.untrue.iter();
                let mut untrue = untrue.filter(|(name, at)| name == rule && *at == opened_at);
                Some(untrue.next().is_none())
            };
            entry.account.retract(is_true, &evaluation, 0, &self.model);
        }
        if !entry.account.outbox().is_empty() {
            self.alerting.push(place);
        }
        if entry.account.history_from(now).is_some() {
            self.note_history(place);
        }
        self.mark_unsaved(place);
        self.schedule(place, now);
    }

    /// Has the changed days written that the account keeps in full no longer once it has folded an event
    /// of `at`: afterwards they could only be had from its history, which nothing else may ask for.
    pub(super) fn write_days_let_go_by(&mut self, place: usize, at: i64, now: i64) {
        // A local day is at most one ahead of the one in UTC.
        let newest = i32::try_from(at.div_euclid(DAY_MS) + 1).unwrap_or(i32::MAX);
        let detailed_from = newest.saturating_sub(DETAILED_DAYS - 1);
        let changed_days = &mut self.entries[place].changed_days;
        if changed_days.first().is_none_or(|first| *first >= detailed_from) {
            return;
        }
        let kept = changed_days.split_off(&detailed_from);
        let let_go = std::mem::replace(changed_days, kept);
        let version = self.version();
        let account = &self.entries[place].account;
        for daily in let_go.into_iter().filter_map(|day| account.daily(day)) {
            let row = rows::daily(account.account_id(), daily, version, now);
            self.waiting.daily.push(row);
        }
    }

    /// Has the days of an account's history written: those that it keeps as it keeps them, since more
    /// may have happened on them by now, and the others as they were counted.
    fn write_days(&mut self, place: usize, days: &[Daily], now: i64) {
        let version = self.version();
        let entry = &mut self.entries[place];
        let lost_days = entry.account.history_stated();
        let account_id = entry.account.account_id();
        let mut next = days.first().map_or(0, |first| first.day - 1);
        let last = days.last().map_or(-1, |last| last.day + 1);
        let mut days = days.iter().peekable();
        while next <= last {
            let counted = days.next_if(|counted| counted.day == next);
            if entry.account.daily(next).is_some() {
                entry.changed_days.insert(next);
            } else if let Some(counted) = counted {
                let row = rows::daily(account_id, counted.clone(), version, now);
                self.waiting.daily.push(row);
            } else if lost_days {
                self.waiting
                    .daily
                    .push(rows::empty_day(account_id, next, version, now));
            }
            next += 1;
        }
    }

    /// The account's history could not be read; it is asked for again.
    pub(crate) fn history_failed(&mut self, request: &HistoryRequest) {
        if request.epoch != self.epoch {
            return;
        }
        let entry = &mut self.entries[request.place];
        entry.is_history_asked = false;
        entry.account.history_failed();
        self.note_history(request.place);
    }
}
