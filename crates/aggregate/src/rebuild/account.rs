//! One account made anew from its history: which rows there are to write of it.

use std::collections::BTreeSet;

use event::Event;
use health::{Account, Model, SegmentBaselines, ToldChange, midnight_from};
use store::{AccountRow, DailyRow, MetricsRow, ScoresRow, StateRow, UserRow};

use crate::partition::{History, HistoryRequest};
use crate::rows::{self, Coverage};

const DAY_MS: i64 = 86_400_000;

/// What was known of an account before.
#[derive(Default)]
pub(super) struct Before {
    /// Its saved state, where it can be read …
    pub(super) state: Option<Account>,
    /// … and what was alerted about, where it cannot.
    pub(super) told: Vec<ToldChange>,
    /// What people did about its alerts, in its order.
    pub(super) actions: Vec<Event>,
    /// Its days with a row, in days since 1970-01-01.
    pub(super) days: BTreeSet<u16>,
}

/// When and by what accounts are judged.
pub(super) struct Terms<'a> {
    pub(super) model: &'a Model,
    pub(super) segments: &'a SegmentBaselines,
    /// The time on the wall, milliseconds.
    pub(super) now: i64,
    /// The first midnight whose row is wanted, milliseconds; `None` is the first of the account's life.
    pub(super) since: Option<i64>,
    /// How many days back rows of midnights are made at most.
    pub(super) history_days: i64,
}

/// Rows to write.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) metrics: Vec<MetricsRow>,
    pub(super) scores: Vec<ScoresRow>,
    pub(super) daily: Vec<DailyRow>,
    pub(super) users: Vec<UserRow>,
    pub(super) accounts: Vec<AccountRow>,
    pub(super) states: Vec<StateRow>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.metrics.len()
            + self.scores.len()
            + self.daily.len()
            + self.users.len()
            + self.accounts.len()
            + self.states.len()
    }
}

impl Terms<'_> {
    /// The newest midnight that is over.
    fn until(&self) -> i64 {
        self.now.div_euclid(DAY_MS) * DAY_MS
    }

    /// Asks for the history of an account, whose first event happened at `first_at`, up to the offset
    /// `next_offset`. `said` are the `account` events of it, which name its time zone.
    pub(super) fn request(&self, first_at: i64, next_offset: i64, said: &Account) -> HistoryRequest {
        let until = self.until();
        let since = self.since.map_or(i64::MIN, midnight_from);
        let earliest = (until - self.history_days * DAY_MS).max(since);
        let from = midnight_from(first_at).max(earliest);
        HistoryRequest {
            epoch: 0,
            place: 0,
            account_id: said.account_id().to_string(),
            offset: next_offset - 1,
            midnights: (from..=until).step_by(DAY_MS as usize).collect(),
            told: Vec::new(),
            counter: said.day_counter(self.model),
        }
    }

    /// Adds what there is to write of an account of `partition`. `watermark` is the newest time that was
    /// read of the partition; `version` gives the version of the next row.
    pub(super) fn write(
        &self,
        rows: &mut Rows,
        history: History,
        before: &Before,
        partition: i32,
        watermark: i64,
        mut version: impl FnMut() -> u64,
    ) {
        let mut account = history.account;
        // The rows of all midnights up to now are here; nobody need ask for them.
        account.begin_history(self.until());
        account.history_stated();
        match &before.state {
            Some(state) => account.keep_told(state),
            None => account.recall_told(&before.told),
        }
        account.act_again(&before.actions, before.state.is_none());

        let account_id = account.account_id().to_string();
        let coverage = Coverage {
            watermark,
            cut_offset: account.offset(),
        };
        // The newest row must be of these events and this model, too.
        let newest = account.last_event_at().map_or(self.now, |at| at.max(self.now));
        let standing = account.assess(newest, self.segments, self.model);
        for evaluation in history.evaluations.iter().chain([&standing]) {
            let version = version();
            rows.metrics
                .push(rows::metrics(&account_id, evaluation, coverage, version));
            let hash = self.model.hash();
            rows.scores
                .push(rows::scores(&account_id, evaluation, coverage, version, hash));
        }
        let version = version();
        let mut gone = before.days.clone();
        for day in history.days {
            let row = rows::daily(&account_id, day, version, self.now);
            gone.remove(&row.day);
            rows.daily.push(row);
        }
        let gone = gone.into_iter();
        rows.daily
            .extend(gone.map(|day| rows::empty_day(&account_id, i32::from(day), version, self.now)));
        let users = account.users();
        rows.users
            .extend(users.map(|user| rows::user(&account_id, user, version, self.now)));
        rows.accounts
            .push(rows::account(&account, self.model, version, self.now));
        rows.states.push(StateRow {
            partition,
            account_id,
            version,
            offset: account.offset(),
            state: account.encode(self.model),
            saved_at: self.now,
        });
    }
}
