//! One account: everything that its score rests on, kept up to date event by event.
//!
//! What holds: folding the same events in any order gives the same account (as long as none is more
//! than 90 days late), because each part is a sum, a smallest or largest time, or a value that
//! carries the time it was said. The whole account is cut at one offset of its partition: `offset` is
//! the last event folded, and everything in here is the work of the events up to it.

use std::collections::BTreeSet;

use event::{Event, EventType, Properties};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use prost::Message;

use crate::action::Action;
use crate::alert::AlertChange;
use crate::config::Model;
use crate::days::Days;
#[cfg(doc)]
use crate::days::KEPT_DAYS;
use crate::episode;
use crate::ids::Recall;
use crate::stamped::text;
pub use crate::state::AccountState;
use crate::state::{self, LAYOUT, SavedDays};

const DAY_MS: i64 = 86_400_000;

/// Stands for the zone of days that were counted in several; no zone has this name.
const MIXED_ZONES: &str = "";

/// Why a saved state cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StateError {
    /// The bytes are not a state.
    #[error("the saved state of account {account_id:?} cannot be decoded: {reason}")]
    Corrupt {
        /// The account.
        account_id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer mimamori wrote it.
    #[error(
        "the saved state of account {account_id:?} has layout {found}, this mimamori reads up to {LAYOUT}: use a newer one"
    )]
    Newer {
        /// The account.
        account_id: String,
        /// The layout found.
        found: u32,
    },
}

/// What folding an event changed besides the account as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// The local day whose numbers changed, in days since 1970-01-01; none changes when people act.
    pub day: Option<i32>,
    /// Whether the event counts in windows; it does not when the day lies over 90 days behind the
    /// account's newest one.
    pub is_kept: bool,
    /// The user whom the event named, for [`Account::user`].
    pub user: Option<u32>,
}

/// An account in memory.
#[derive(Debug, Clone)]
pub struct Account {
    pub(crate) account_id: Box<str>,
    pub(crate) state: AccountState,
    pub(crate) days: Days,
    /// The zone of `state.attributes.timezone`; `None` stands for the model's default.
    pub(crate) zone: Option<TimeZone>,
}

/// An account's numbers of one local day.
#[derive(Debug, Clone, PartialEq)]
pub struct Daily {
    /// Days since 1970-01-01.
    pub day: i32,
    /// Logins.
    pub logins: u32,
    /// Events of any type.
    pub events: u32,
    /// Users with a login or a feature use.
    pub active_users: u32,
    /// Uses by feature.
    pub feature_uses: Vec<(String, u64)>,
}

/// A user as he is known now.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the table users")]
pub struct UserSummary {
    pub user_id: String,
    pub role: String,
    pub department: String,
    pub removed: bool,
    pub first_seen_at: Option<i64>,
    pub last_login_at: Option<i64>,
    pub last_active_at: Option<i64>,
}

impl Account {
    /// An account of which nothing is known yet.
    pub fn new(account_id: &str) -> Account {
        Account {
            account_id: account_id.into(),
            state: AccountState::empty(),
            days: Days::default(),
            zone: None,
        }
    }

    /// The account's id.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The offset of the last event folded; -1 before the first.
    pub fn offset(&self) -> i64 {
        self.state.offset
    }

    /// Bytes to save; gives back memory that is not needed for now. Of the ids only those within
    /// `remember_ids_hours` are saved: after a restart the others are looked up.
    pub fn encode(&mut self, model: &Model) -> Vec<u8> {
        self.days.settle();
        self.state.shrink_to_fit();
        let horizon = self.id_horizon(model);
        let saved = self
            .state
            .ids
            .without_forgotten(horizon, model.config.remember_ids_max);
        let all = std::mem::replace(&mut self.state.ids, saved);
        let mut bytes = self.state.encode_to_vec();
        self.state.ids = all;
        let days = SavedDays {
            packed: self.days.packed().to_vec(),
        };
        // Messages one behind the other are one message with the fields of both.
        bytes.extend_from_slice(&days.encode_to_vec());
        bytes
    }

    /// About how many bytes of memory the account takes.
    pub fn memory_bytes(&self) -> usize {
        std::mem::size_of::<Account>()
            + self.account_id.len()
            + self.state.heap_bytes()
            + self.days.heap_bytes()
    }

    /// How many ids are remembered.
    pub fn remembered_ids(&self) -> usize {
        self.state.ids.len()
    }

    /// Forgets the ids of events that occurred longer than `remember_ids_hours` before the newest one.
    pub fn forget_ids(&mut self, model: &Model) {
        let horizon = self.id_horizon(model);
        self.state.ids.forget(horizon, model.config.remember_ids_max);
    }

    fn id_horizon(&self, model: &Model) -> i64 {
        let remember_ms = (model.config.remember_ids_hours * 3_600_000.0) as i64;
        self.state
            .last_event_at
            .map_or(i64::MIN, |newest| newest.saturating_sub(remember_ms))
    }

    /// The account of saved bytes. One of an older layout keeps its ids, offset, episodes and outbox,
    /// and has to be folded again ([`Account::must_refold`]).
    ///
    /// # Errors
    /// [`StateError`] when the bytes are no state or one of a newer layout; there is no going on from
    /// an empty account then.
    pub fn decode(account_id: &str, bytes: &[u8]) -> Result<Account, StateError> {
        let corrupt = |reason: String| StateError::Corrupt {
            account_id: account_id.to_string(),
            reason,
        };
        let mut state = AccountState::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
        if state.layout > LAYOUT {
            return Err(StateError::Newer {
                account_id: account_id.to_string(),
                found: state.layout,
            });
        }
        if state.layout < LAYOUT {
            state = AccountState::of_layout_1(state);
        }
        state.check().map_err(|reason| corrupt(reason.to_string()))?;
        let saved = SavedDays::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
        let days = Days::read(saved.packed, state.people.len(), state.features.len())
            .ok_or_else(|| corrupt("the days are not in order, or name what is not there".to_string()))?;
        let mut account = Account {
            account_id: account_id.into(),
            zone: zone_of(&state),
            state,
            days,
        };
        // Nobody is at it any more.
        account.history_failed();
        Ok(account)
    }

    /// Whether this event has been folded already.
    pub fn recall(&self, event: &Event) -> Recall {
        self.state.ids.recall(&event.event_id, event.occurred_at)
    }

    /// Folds an event that has not been folded before ([`Account::recall`]); it stands at `offset`.
    pub fn fold(&mut self, event: &Event, offset: i64, model: &Model) -> Folded {
        let at = event.happened_at();
        self.state.offset = offset;
        self.state.ids.remember(&event.event_id, event.occurred_at);
        if !event.event_type.is_of_customer() {
            return self.act(event, model);
        }
        if self.state.daily_until.is_some_and(|until| at <= until) {
            self.must_restate(at);
        }
        let properties = read_properties(event);
        let user = self.state.fold(event, &properties, at, model);
        if event.event_type == EventType::Account {
            self.zone = zone_of(&self.state);
        }
        if self.days.newest().is_none() {
            self.state.days_zone = self.zone_name().map(str::to_string);
        } else if self.must_recount() {
            // From here on days are mixed, and stay so if the zone is set back before they are counted anew.
            self.state.days_zone = Some(MIXED_ZONES.to_string());
        }
        let day = self.local_day(at, model);
        let is_kept = state::count(&mut self.days, &self.state, event, user, &properties, day);
        if !is_kept || !self.days.is_detailed(day) {
            // The day's row can only be had from the landed events.
            self.must_restate(at);
        }
        Folded {
            day: Some(day),
            is_kept,
            user,
        }
    }

    /// Folds what people did: nothing but an episode can depend on it.
    fn act(&mut self, event: &Event, model: &Model) -> Folded {
        self.state.tidy_ids(model);
        if let Some(action) = Action::of(event, &read_properties(event)) {
            episode::act(&mut self.state.episodes, &self.account_id, action);
        }
        Folded {
            day: None,
            is_kept: true,
            user: None,
        }
    }

    /// Whether the customer has done anything yet: of an account that is only known from actions of the
    /// team there is nothing to say.
    pub fn is_begun(&self) -> bool {
        self.state.first_event_at.is_some()
    }

    /// Whether the saved state was one of an older layout, so that [`Account::refold`] must make the
    /// numbers anew before they can be relied on.
    pub fn must_refold(&self) -> bool {
        self.state.must_refold
    }

    /// Makes the account anew from its events up to its offset, in any order; ids, episodes and what
    /// is to be sent stay.
    pub fn refold<'a>(&mut self, events: impl IntoIterator<Item = (&'a Event, i64)>, model: &Model) {
        let mut anew = Account::new(&self.account_id);
        for (event, offset) in events {
            if offset <= self.state.offset {
                anew.fold(event, offset, model);
            }
        }
        let first_event_at = anew.state.first_event_at;
        self.zone = anew.zone;
        self.days = anew.days;
        let old = std::mem::replace(&mut self.state, anew.state);
        self.state.offset = old.offset;
        self.state.ids = old.ids;
        self.state.episodes = old.episodes;
        self.state.outbox = old.outbox;
        self.state.daily_until = None;
        self.state.restate_from = first_event_at;
        self.state.was_recounted = true;
    }

    /// Whether the account's days were counted in another time zone than the one it is known to be
    /// in by now: then they have to be counted anew ([`Account::recount`]).
    pub fn must_recount(&self) -> bool {
        self.days.newest().is_some() && self.state.days_zone.as_deref() != self.zone_name()
    }

    /// Counts the kept days anew in the account's own time zone. `events` must be those of the account
    /// that were folded, at least those of the last [`KEPT_DAYS`] days before the newest. All daily
    /// rows are to be stated again. Returns the days that were kept in full before or are now.
    pub fn recount<'a>(
        &mut self,
        events: impl IntoIterator<Item = &'a Event>,
        model: &Model,
    ) -> BTreeSet<i32> {
        let mut kept = self.kept_days();
        self.days = Days::default();
        self.state.days_zone = self.zone_name().map(str::to_string);
        for event in events {
            if !event.event_type.is_of_customer() {
                continue;
            }
            let properties = read_properties(event);
            let user = event
                .user_id
                .as_deref()
                .and_then(|user_id| self.state.people.find(user_id));
            let day = self.local_day(event.happened_at(), model);
            state::count(&mut self.days, &self.state, event, user, &properties, day);
        }
        if let Some(first) = self.state.first_event_at {
            self.must_restate(first);
        }
        self.state.was_recounted = true;
        kept.extend(self.kept_days());
        kept
    }

    /// The days that are kept in full.
    fn kept_days(&self) -> BTreeSet<i32> {
        let mut kept = BTreeSet::new();
        self.days.visit(i32::MIN, i32::MAX, |day| {
            if self.days.is_detailed(day.number) {
                kept.insert(day.number);
            }
        });
        kept
    }

    /// When the account's newest event happened, milliseconds.
    pub fn last_event_at(&self) -> Option<i64> {
        self.state.last_event_at
    }

    /// The local days of the account's life so far, first and last.
    pub fn life(&self, model: &Model) -> Option<(i32, i32)> {
        let (first, last) = (self.state.first_event_at?, self.state.last_event_at?);
        Some((self.local_day(first, model), self.local_day(last, model)))
    }

    /// Where a local day begins and where the next one does, milliseconds.
    pub fn day_bounds(&self, day: i32, model: &Model) -> (i64, i64) {
        (
            self.day_begins(day, model),
            self.day_begins(day.saturating_add(1), model),
        )
    }

    fn day_begins(&self, day: i32, model: &Model) -> i64 {
        let zone = self.zone.as_ref().unwrap_or(&model.zone);
        let utc = i64::from(day) * DAY_MS;
        let date = Timestamp::from_millisecond(utc).map(|instant| instant.to_zoned(TimeZone::UTC).date());
        let begins = date.ok().and_then(|date| date.to_zoned(zone.clone()).ok());
        begins.map_or(utc, |begins| begins.timestamp().as_millisecond())
    }

    fn zone_name(&self) -> Option<&str> {
        self.zone.as_ref().and(text(&self.state.attributes.timezone))
    }

    /// The alert changes that are still to be sent. They are part of the state: save it before sending
    /// them, so that a change that was sent is never forgotten.
    pub fn outbox(&self) -> &[AlertChange] {
        &self.state.outbox
    }

    /// Takes what has been sent out of the outbox.
    pub fn take_out_of_outbox(&mut self, is_sent: impl Fn(&AlertChange) -> bool) {
        self.state.outbox.retain(|change| !is_sent(change));
    }

    /// Takes everything out of the outbox.
    pub fn clear_outbox(&mut self) {
        self.state.outbox.clear();
    }

    /// Notes that the events up to `offset` have been seen, though the last ones were repeats.
    pub fn pass(&mut self, offset: i64) {
        self.state.offset = self.state.offset.max(offset);
    }

    /// The local day of an instant, in days since 1970-01-01.
    pub fn local_day(&self, at: i64, model: &Model) -> i32 {
        local_day(at, self.zone.as_ref().unwrap_or(&model.zone))
    }

    /// Whether the account would keep all about a day of that number, had something happened on it.
    pub fn keeps_in_full(&self, day: i32) -> bool {
        self.days.is_detailed(day)
    }

    /// The numbers of a day that [`Account::fold`] named; `None` when it is no longer kept in full.
    pub fn daily(&self, day: i32) -> Option<Daily> {
        if !self.days.is_detailed(day) {
            return None;
        }
        let found = self.days.get(day)?;
        let name = |feature: u32| self.state.features.name(feature).to_string();
        Some(Daily {
            day,
            logins: found.counts.logins,
            events: found.counts.events,
            active_users: u32::try_from(found.users.len()).unwrap_or(u32::MAX),
            feature_uses: found
                .features
                .iter()
                .map(|(feature, uses)| (name(*feature), *uses))
                .collect(),
        })
    }

    /// Everyone who has been named as a user of the account.
    pub fn users(&self) -> impl Iterator<Item = UserSummary> + '_ {
        (0..self.state.people.len() as u32).map(|index| self.user(index))
    }

    /// The user whom [`Account::fold`] named.
    ///
    /// # Panics
    /// When no fold of this account has named that index.
    pub fn user(&self, index: u32) -> UserSummary {
        let people = &self.state.people;
        let seen = people.seen[index as usize];
        let said = people.said(index);
        let known = |at: i64| (at != 0).then_some(at);
        UserSummary {
            user_id: people.name(index).to_string(),
            role: said.map_or("", |said| said.role()).to_string(),
            department: people.department(index).to_string(),
            removed: said.is_some_and(|said| said.is_removed),
            first_seen_at: known(seen.first_at),
            last_login_at: known(seen.last_login_at),
            last_active_at: known(seen.last_active_at),
        }
    }
}

/// The local day of an instant, in days since 1970-01-01.
pub(crate) fn local_day(at: i64, zone: &TimeZone) -> i32 {
    let offset_seconds = match Timestamp::from_millisecond(at) {
        Ok(instant) => i64::from(zone.to_offset(instant).seconds()),
        Err(_) => 0,
    };
    let days = at.saturating_add(offset_seconds * 1000).div_euclid(DAY_MS);
    i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX })
}

/// The properties of an event, as far as its type needs them. They were checked on the way in; should
/// they not be readable all the same, the event counts as one without any.
pub(crate) fn read_properties(event: &Event) -> Properties<'_> {
    let needs_none = match event.event_type {
        EventType::Login | EventType::Milestone | EventType::Error => true,
        EventType::Feature => !event.properties.contains("\"count\"") && !event.properties.contains('\\'),
        _ => false,
    };
    if needs_none {
        return Properties::default();
    }
    Properties::parse(&event.properties).unwrap_or_default()
}

/// The zone that the attributes name, if there is such a one.
fn zone_of(state: &AccountState) -> Option<TimeZone> {
    TimeZone::get(text(&state.attributes.timezone)?).ok()
}

#[cfg(test)]
#[path = "account_tests.rs"]
pub(crate) mod tests;
