//! One account: everything that its score rests on, kept up to date event by event.
//!
//! What holds: folding the same events in any order gives the same account (as long as none is more
//! than 90 days late), because each part is a sum, a smallest or largest time, or a value that
//! carries the time it was said. The whole account is cut at one offset of its partition: `offset` is
//! the last event folded, and everything in here is the work of the events up to it.

use event::{Event, EventType, Properties};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use prost::Message;

use crate::alert::AlertChange;
use crate::config::Model;
use crate::contract::Contract;
#[cfg(doc)]
use crate::days::KEPT_DAYS;
use crate::days::{self, Day};
use crate::episode::Episode;
use crate::ids::{Recall, RememberedIds};
use crate::names::Names;
use crate::stamped::{Number, Stamp, Text, number, text};
use crate::ticket::{self, Ticket};

/// The layout of [`AccountState`]; raised when an older mimamori could not read it rightly.
const LAYOUT: u32 = 1;

const DAY_MS: i64 = 86_400_000;

/// The state of an account, as it is saved.
#[derive(Clone, PartialEq, Message)]
pub struct AccountState {
    #[prost(uint32, tag = "1")]
    pub(crate) layout: u32,
    #[prost(sint64, tag = "2")]
    pub(crate) offset: i64,
    #[prost(message, required, tag = "3")]
    pub(crate) ids: RememberedIds,
    #[prost(message, repeated, tag = "4")]
    pub(crate) days: Vec<Day>,
    #[prost(message, required, tag = "5")]
    pub(crate) user_names: Names,
    /// At the index that `user_names` gives.
    #[prost(message, repeated, tag = "6")]
    pub(crate) users: Vec<User>,
    #[prost(message, required, tag = "7")]
    pub(crate) feature_names: Names,
    /// First use of the feature at the index that `feature_names` gives, milliseconds.
    #[prost(sint64, repeated, tag = "8")]
    pub(crate) feature_first: Vec<i64>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) milestones: Vec<Milestone>,
    #[prost(message, required, tag = "10")]
    pub(crate) attributes: Attributes,
    #[prost(message, required, tag = "11")]
    pub(crate) contract: Contract,
    #[prost(message, repeated, tag = "12")]
    pub(crate) tickets: Vec<Ticket>,
    #[prost(sint64, optional, tag = "13")]
    pub(crate) first_event_at: Option<i64>,
    #[prost(sint64, optional, tag = "14")]
    pub(crate) last_event_at: Option<i64>,
    #[prost(sint64, optional, tag = "15")]
    pub(crate) last_login_at: Option<i64>,
    #[prost(sint64, optional, tag = "16")]
    pub(crate) last_active_at: Option<i64>,
    #[prost(message, repeated, tag = "17")]
    pub(crate) episodes: Vec<Episode>,
    /// Changes that were found and are not yet known to have been sent.
    #[prost(message, repeated, tag = "18")]
    pub(crate) outbox: Vec<AlertChange>,
    /// The zone in whose days `days` count; `None` is the model's default.
    #[prost(string, optional, tag = "19")]
    pub(crate) days_zone: Option<String>,
}

/// A user of an account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct User {
    #[prost(message, optional, tag = "1")]
    pub(crate) role: Option<Text>,
    #[prost(message, optional, tag = "2")]
    pub(crate) removed: Option<Number>,
    #[prost(sint64, optional, tag = "3")]
    pub(crate) first_seen_at: Option<i64>,
    #[prost(sint64, optional, tag = "4")]
    pub(crate) last_login_at: Option<i64>,
    #[prost(sint64, optional, tag = "5")]
    pub(crate) last_active_at: Option<i64>,
}

/// When a milestone was first reached.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Milestone {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(sint64, tag = "2")]
    pub(crate) reached_at: i64,
}

/// What `account` events say; the newest statement of each attribute holds.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attributes {
    #[prost(message, optional, tag = "1")]
    pub(crate) name: Option<Text>,
    #[prost(message, optional, tag = "2")]
    pub(crate) plan: Option<Text>,
    #[prost(message, optional, tag = "3")]
    pub(crate) segment: Option<Text>,
    #[prost(message, optional, tag = "4")]
    pub(crate) tier: Option<Text>,
    #[prost(message, optional, tag = "5")]
    pub(crate) seats: Option<Number>,
    #[prost(message, optional, tag = "6")]
    pub(crate) timezone: Option<Text>,
    #[prost(message, optional, tag = "7")]
    pub(crate) owner: Option<Text>,
    #[prost(message, optional, tag = "8")]
    pub(crate) signed_up_at: Option<Number>,
    #[prost(message, optional, tag = "9")]
    pub(crate) value_event: Option<Text>,
}

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
    /// The local day whose numbers changed, in days since 1970-01-01.
    pub day: i32,
    /// Whether the account counts that day itself; it does not when the day lies over 90 days behind
    /// its newest one, and then the day's numbers have to be counted from the raw events.
    pub is_kept: bool,
    /// The user whom the event named, for [`Account::user`].
    pub user: Option<u32>,
}

/// An account in memory.
#[derive(Debug, Clone)]
pub struct Account {
    pub(crate) account_id: String,
    pub(crate) state: AccountState,
    /// The zone of `state.attributes.timezone`; `None` stands for the model's default.
    zone: Option<TimeZone>,
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
    pub removed: bool,
    pub first_seen_at: Option<i64>,
    pub last_login_at: Option<i64>,
    pub last_active_at: Option<i64>,
}

impl Account {
    /// An account of which nothing is known yet.
    pub fn new(account_id: &str) -> Account {
        let state = AccountState {
            layout: LAYOUT,
            offset: -1,
            ids: RememberedIds::empty(),
            ..AccountState::default()
        };
        Account {
            account_id: account_id.to_string(),
            state,
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

    /// Bytes to save. Of the ids only those within `remember_ids_hours` are saved: after a restart the
    /// others are looked up.
    pub fn encode(&mut self, model: &Model) -> Vec<u8> {
        let mut trimmed = self.state.ids.clone();
        trimmed.forget(self.id_horizon(model), model.config.remember_ids_max);
        let all = std::mem::replace(&mut self.state.ids, trimmed);
        let bytes = self.state.encode_to_vec();
        self.state.ids = all;
        bytes
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

    /// The account of saved bytes.
    ///
    /// # Errors
    /// [`StateError`] when the bytes are no state or one of a newer layout; there is no going on from
    /// an empty account then.
    pub fn decode(account_id: &str, bytes: &[u8]) -> Result<Account, StateError> {
        let corrupt = |reason: String| StateError::Corrupt {
            account_id: account_id.to_string(),
            reason,
        };
        let state = AccountState::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
        if state.layout > LAYOUT {
            return Err(StateError::Newer {
                account_id: account_id.to_string(),
                found: state.layout,
            });
        }
        state.check().map_err(|reason| corrupt(reason.to_string()))?;
        let zone = state
            .attributes
            .timezone
            .as_ref()
            .and_then(|name| TimeZone::get(&name.value).ok());
        Ok(Account {
            account_id: account_id.to_string(),
            state,
            zone,
        })
    }

    /// Whether this event has been folded already.
    pub fn recall(&self, event: &Event) -> Recall {
        self.state.ids.recall(&event.event_id, event.occurred_at)
    }

    /// Folds an event that has not been folded before ([`Account::recall`]); it stands at `offset`.
    pub fn fold(&mut self, event: &Event, offset: i64, model: &Model) -> Folded {
        let at = event.occurred_at;
        self.state.offset = offset;
        self.state.ids.remember(&event.event_id, at);
        let state = &mut self.state;
        earliest(&mut state.first_event_at, at);
        latest(&mut state.last_event_at, at);
        let stamp = Stamp::of(at, &event.event_id);
        let user = event.user_id.as_deref().map(|user_id| state.user(user_id, at));
        // Properties were checked on the way in; should they not be readable all the same, the event
        // counts as one without any.
        let properties = Properties::parse(&event.properties).unwrap_or_default();

        match event.event_type {
            EventType::Login => {
                latest(&mut state.last_login_at, at);
                if let Some(user) = user {
                    latest(&mut state.users[user as usize].last_login_at, at);
                }
            }
            EventType::Feature => state.first_use(&event.name, at),
            EventType::Milestone => state.milestone(&event.name, at),
            EventType::Account => {
                state.attributes.fold(&properties, stamp);
                self.zone = zone_of(state);
            }
            EventType::User => {
                if let Some(user) = user {
                    let user = &mut state.users[user as usize];
                    Text::replace(&mut user.role, properties.str("role"), stamp);
                    let removed = properties
                        .bool("removed")
                        .map(|removed| f64::from(u8::from(removed)));
                    Number::replace(&mut user.removed, removed, stamp);
                }
            }
            EventType::Contract => state.contract.fold(&event.name, &properties, stamp),
            EventType::Ticket => ticket::fold(&mut state.tickets, &event.name, &properties, at),
            EventType::Survey | EventType::Engagement | EventType::Error => {}
        }
        if is_activity(event.event_type) {
            latest(&mut state.last_active_at, at);
            if let Some(user) = user {
                latest(&mut state.users[user as usize].last_active_at, at);
            }
        }
        state.tidy(model);
        if self.state.days.is_empty() {
            self.state.days_zone = self.zone_name().map(str::to_string);
        }
        let day = self.local_day(at, model);
        let is_kept = self.state.count(event, user, &properties, day);
        Folded { day, is_kept, user }
    }

    /// Whether the account's days were counted in another time zone than the one it is known to be
    /// in by now: then they have to be counted anew ([`Account::recount`]).
    pub fn must_recount(&self) -> bool {
        !self.state.days.is_empty() && self.state.days_zone.as_deref() != self.zone_name()
    }

    /// Counts the kept days anew in the account's own time zone. `events` must be those of the account
    /// that were folded, at least those of the last [`KEPT_DAYS`] days before the newest.
    pub fn recount<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>, model: &Model) {
        self.state.days.clear();
        self.state.days_zone = self.zone_name().map(str::to_string);
        for event in events {
            let properties = Properties::parse(&event.properties).unwrap_or_default();
            let user = event
                .user_id
                .as_deref()
                .and_then(|user_id| self.state.user_names.find(user_id));
            let day = self.local_day(event.occurred_at, model);
            self.state.count(event, user, &properties, day);
        }
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
    pub fn clear_outbox(&mut self) {
        self.state.outbox.clear();
    }

    /// Notes that the events up to `offset` have been seen, though the last ones were repeats.
    pub fn pass(&mut self, offset: i64) {
        self.state.offset = self.state.offset.max(offset);
    }

    /// The local day of an instant, in days since 1970-01-01.
    pub fn local_day(&self, at: i64, model: &Model) -> i32 {
        let zone = self.zone.as_ref().unwrap_or(&model.zone);
        let offset_seconds = match Timestamp::from_millisecond(at) {
            Ok(instant) => i64::from(zone.to_offset(instant).seconds()),
            Err(_) => 0,
        };
        let days = at.saturating_add(offset_seconds * 1000).div_euclid(DAY_MS);
        i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX })
    }

    /// The numbers of a day that [`Account::fold`] named; `None` when it is no longer kept.
    pub fn daily(&self, day: i32) -> Option<Daily> {
        let found = days::window(&self.state.days, day, day).first()?;
        let names = &self.state.feature_names;
        let uses = found.features.iter().zip(&found.uses);
        Some(Daily {
            day,
            logins: found.logins,
            events: found.events,
            active_users: u32::try_from(found.users.len()).unwrap_or(u32::MAX),
            feature_uses: uses
                .map(|(feature, uses)| (names.name(*feature).to_string(), *uses))
                .collect(),
        })
    }

    /// Everyone who has been named as a user of the account.
    pub fn users(&self) -> impl Iterator<Item = UserSummary> + '_ {
        (0..self.state.users.len() as u32).map(|index| self.user(index))
    }

    /// The user whom [`Account::fold`] named.
    ///
    /// # Panics
    /// When no fold of this account has named that index.
    pub fn user(&self, index: u32) -> UserSummary {
        let user = &self.state.users[index as usize];
        UserSummary {
            user_id: self.state.user_names.name(index).to_string(),
            role: text(&user.role).unwrap_or_default().to_string(),
            removed: number(&user.removed).is_some_and(|removed| removed != 0.0),
            first_seen_at: user.first_seen_at,
            last_login_at: user.last_login_at,
            last_active_at: user.last_active_at,
        }
    }
}

impl AccountState {
    /// The index of a user, who is seen at `at`.
    fn user(&mut self, user_id: &str, at: i64) -> u32 {
        let index = self.user_names.index(user_id);
        if index as usize == self.users.len() {
            self.users.push(User::default());
        }
        earliest(&mut self.users[index as usize].first_seen_at, at);
        index
    }

    /// Notes that a feature is used at `at`.
    fn first_use(&mut self, name: &str, at: i64) {
        let index = self.feature_names.index(name);
        match self.feature_first.get_mut(index as usize) {
            Some(first) => *first = at.min(*first),
            None => self.feature_first.push(at),
        }
    }

    /// Counts an event on its local day; false when the day is kept no more.
    fn count(&mut self, event: &Event, user: Option<u32>, properties: &Properties<'_>, day: i32) -> bool {
        let Some(day) = days::day_mut(&mut self.days, day) else {
            return false;
        };
        day.events = day.events.saturating_add(1);
        if let (true, Some(user)) = (is_activity(event.event_type), user) {
            day.add_user(user);
        }
        match event.event_type {
            EventType::Login => day.logins = day.logins.saturating_add(1),
            EventType::Feature => {
                if let Some(feature) = self.feature_names.find(&event.name) {
                    day.add_uses(feature, properties.u64("count").unwrap_or(1));
                }
            }
            _ => {}
        }
        true
    }

    fn milestone(&mut self, name: &str, at: i64) {
        match self
            .milestones
            .binary_search_by(|milestone| milestone.name.as_str().cmp(name))
        {
            Ok(place) => self.milestones[place].reached_at = at.min(self.milestones[place].reached_at),
            Err(place) => self.milestones.insert(
                place,
                Milestone {
                    name: name.to_string(),
                    reached_at: at,
                },
            ),
        }
    }

    /// Lets go of what is too much to keep.
    fn tidy(&mut self, model: &Model) {
        if self.ids.len() > model.config.remember_ids_max {
            self.ids.forget(i64::MIN, model.config.remember_ids_max);
        }
        ticket::tidy(&mut self.tickets, self.last_event_at.unwrap_or(i64::MIN));
    }

    /// When a milestone or feature of that name was first reached or used.
    pub(crate) fn first_of(&self, name: &str) -> Option<i64> {
        let milestone = self.milestones.iter().find(|milestone| milestone.name == name);
        let feature = self
            .feature_names
            .find(name)
            .map(|index| self.feature_first[index as usize]);
        let milestone = milestone.map(|milestone| milestone.reached_at);
        match (milestone, feature) {
            (Some(milestone), Some(feature)) => Some(milestone.min(feature)),
            (one, other) => one.or(other),
        }
    }

    /// What must hold between the parts, so that no index can miss.
    fn check(&self) -> Result<(), &'static str> {
        if !self.ids.is_sound() {
            return Err("the remembered ids are not in order");
        }
        if self.user_names.len() != self.users.len() || !self.user_names.is_sound() {
            return Err("the users do not fit their names");
        }
        if self.feature_names.len() != self.feature_first.len() || !self.feature_names.is_sound() {
            return Err("the features do not fit their names");
        }
        if !self.days.is_sorted_by(|one, other| one.number < other.number) {
            return Err("the days are not in order");
        }
        for day in &self.days {
            let known = |indices: &[u32], count: usize| indices.iter().all(|index| (*index as usize) < count);
            if day.features.len() != day.uses.len()
                || !known(&day.features, self.feature_first.len())
                || !known(&day.users, self.users.len())
            {
                return Err("a day names a user or feature that is not there");
            }
        }
        Ok(())
    }
}

impl Attributes {
    fn fold(&mut self, properties: &Properties<'_>, stamp: Stamp) {
        Text::replace(&mut self.name, properties.str("name"), stamp);
        Text::replace(&mut self.plan, properties.str("plan"), stamp);
        Text::replace(&mut self.segment, properties.str("segment"), stamp);
        Text::replace(&mut self.tier, properties.str("tier"), stamp);
        Text::replace(&mut self.timezone, properties.str("timezone"), stamp);
        Text::replace(&mut self.owner, properties.str("owner"), stamp);
        Text::replace(&mut self.value_event, properties.str("value_event"), stamp);
        Number::replace(&mut self.seats, properties.f64("seats"), stamp);
        let signed_up_at = properties.timestamp_ms("signed_up_at").map(|at| at as f64);
        Number::replace(&mut self.signed_up_at, signed_up_at, stamp);
    }
}

fn is_activity(event_type: EventType) -> bool {
    matches!(event_type, EventType::Login | EventType::Feature)
}

/// The zone that the attributes name, if there is such a one.
fn zone_of(state: &AccountState) -> Option<TimeZone> {
    TimeZone::get(text(&state.attributes.timezone)?).ok()
}

fn earliest(slot: &mut Option<i64>, at: i64) {
    *slot = Some(slot.map_or(at, |known| known.min(at)));
}

fn latest(slot: &mut Option<i64>, at: i64) {
    *slot = Some(slot.map_or(at, |known| known.max(at)));
}

#[cfg(test)]
#[path = "account_tests.rs"]
pub(crate) mod tests;
