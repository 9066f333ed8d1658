//! The state of an account as it is saved.
//!
//! Every part is a sum, a smallest or largest time, or a value that carries the time it was said, so
//! that the order of events does not matter.

use event::{Event, EventType, Properties};
use prost::Message;

use crate::alert::AlertChange;
use crate::config::Model;
use crate::contract::Contract;
use crate::days::Days;
use crate::episode::{self, Episode};
use crate::ids::RememberedIds;
use crate::names::Names;
use crate::people::People;
use crate::stamped::{Number, Stamp, Text, is_stated_time};
use crate::ticket::{self, Ticket};

/// The layout of [`AccountState`]; raised when an older mimamori could not read it rightly, or this
/// one cannot read the numbers of an older one.
pub(crate) const LAYOUT: u32 = 2;

/// The state of an account, as it is saved, but for its days, which [`SavedDays`] adds. Tags 4 to 9,
/// 12, 16 and 19 were those of layout 1.
#[derive(Clone, PartialEq, Message)]
pub struct AccountState {
    #[prost(uint32, tag = "1")]
    pub(crate) layout: u32,
    #[prost(sint64, tag = "2")]
    pub(crate) offset: i64,
    #[prost(message, required, tag = "3")]
    pub(crate) ids: RememberedIds,
    #[prost(message, required, tag = "10")]
    pub(crate) attributes: Attributes,
    #[prost(message, required, tag = "11")]
    pub(crate) contract: Contract,
    #[prost(sint64, optional, tag = "13")]
    pub(crate) first_event_at: Option<i64>,
    #[prost(sint64, optional, tag = "14")]
    pub(crate) last_event_at: Option<i64>,
    #[prost(sint64, optional, tag = "15")]
    pub(crate) last_login_at: Option<i64>,
    #[prost(message, repeated, tag = "17")]
    pub(crate) episodes: Vec<Episode>,
    /// Changes that were found and are not yet known to have been sent.
    #[prost(message, repeated, tag = "18")]
    pub(crate) outbox: Vec<AlertChange>,
    /// The zone in whose days the account counts; `None` is the model's default.
    #[prost(string, optional, tag = "21")]
    pub(crate) days_zone: Option<String>,
    #[prost(message, required, tag = "22")]
    pub(crate) people: People,
    #[prost(message, required, tag = "23")]
    pub(crate) features: Firsts,
    #[prost(message, required, tag = "24")]
    pub(crate) milestones: Firsts,
    #[prost(message, repeated, tag = "25")]
    pub(crate) tickets: Vec<Ticket>,
    #[prost(message, optional, tag = "26")]
    pub(crate) last_nps: Option<Number>,
    #[prost(sint64, optional, tag = "27")]
    pub(crate) first_active_at: Option<i64>,
    #[prost(sint64, optional, tag = "28")]
    pub(crate) last_active_at: Option<i64>,
    /// The newest midnight (UTC) whose daily row was evaluated.
    #[prost(sint64, optional, tag = "29")]
    pub(crate) daily_until: Option<i64>,
    /// When the earliest event happened that daily rows do not know of.
    #[prost(sint64, optional, tag = "30")]
    pub(crate) restate_from: Option<i64>,
    /// The same of what is being stated again while the state is saved.
    #[prost(sint64, optional, tag = "32")]
    pub(crate) restating_from: Option<i64>,
    /// Whether the days were counted anew since the history was last stated.
    #[prost(bool, tag = "33")]
    pub(crate) was_recounted: bool,
    /// Whether only ids, offset, episodes and outbox can be relied on.
    #[prost(bool, tag = "31")]
    pub(crate) must_refold: bool,
}

/// The days among the saved bytes of an account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedDays {
    #[prost(bytes = "vec", tag = "20")]
    pub(crate) packed: Vec<u8>,
}

/// When each of some named things first happened.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Firsts {
    #[prost(message, required, tag = "1")]
    names: Names,
    /// At the index that `names` gives, milliseconds.
    #[prost(sint64, repeated, tag = "2")]
    at: Vec<i64>,
}

impl Firsts {
    /// Notes that it happened at `at`.
    pub(crate) fn note(&mut self, name: &str, at: i64) -> u32 {
        let index = self.names.index(name);
        match self.at.get_mut(index as usize) {
            Some(first) => *first = at.min(*first),
            None => self.at.push(at),
        }
        index
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.find(name)
    }

    pub(crate) fn name(&self, index: u32) -> &str {
        self.names.name(index)
    }

    pub(crate) fn first_of(&self, name: &str) -> Option<i64> {
        let index = self.names.find(name)?;
        self.at.get(index as usize).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }

    fn shrink_to_fit(&mut self) {
        self.names.shrink_to_fit();
        self.at.shrink_to_fit();
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.names.heap_bytes() + 8 * self.at.capacity()
    }

    fn is_sound(&self) -> bool {
        self.names.is_sound()
            && self.names.len() == self.at.len()
            && self.at.iter().all(|at| Event::TIMES.contains(at))
    }
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

impl Attributes {
    fn is_sound(&self) -> bool {
        let numbers = [&self.seats, &self.signed_up_at];
        self.texts().into_iter().flatten().all(Text::is_sound)
            && numbers.into_iter().flatten().all(Number::is_sound)
            && is_stated_time(&self.signed_up_at)
    }

    fn texts(&self) -> [&Option<Text>; 7] {
        [
            &self.name,
            &self.plan,
            &self.segment,
            &self.tier,
            &self.timezone,
            &self.owner,
            &self.value_event,
        ]
    }

    fn heap_bytes(&self) -> usize {
        self.texts()
            .into_iter()
            .flatten()
            .map(|text| text.value.capacity())
            .sum()
    }
}

impl AccountState {
    pub(crate) fn empty() -> AccountState {
        AccountState {
            layout: LAYOUT,
            offset: -1,
            ids: RememberedIds::empty(),
            ..AccountState::default()
        }
    }

    /// Of a state of layout 1 what still holds; the rest is to be folded again.
    pub(crate) fn of_layout_1(mut old: AccountState) -> AccountState {
        episode::sort(&mut old.episodes);
        AccountState {
            offset: old.offset,
            // Its ids were saved otherwise; they are looked up.
            ids: RememberedIds::forgotten_until(old.last_event_at.unwrap_or(i64::MIN)),
            episodes: old.episodes,
            outbox: old.outbox,
            first_event_at: old.first_event_at,
            last_event_at: old.last_event_at,
            must_refold: true,
            ..AccountState::empty()
        }
    }

    /// Folds what does not depend on the time zone; returns the index of the user.
    pub(crate) fn fold(
        &mut self,
        event: &Event,
        properties: &Properties<'_>,
        at: i64,
        model: &Model,
    ) -> Option<u32> {
        earliest(&mut self.first_event_at, at);
        latest(&mut self.last_event_at, at);
        let user = event
            .user_id
            .as_deref()
            .map(|user_id| self.people.see(user_id, at));
        match event.event_type {
            EventType::Login => {
                latest(&mut self.last_login_at, at);
                if let Some(user) = user {
                    self.people.logged_in(user, at);
                }
            }
            EventType::Feature => {
                self.features.note(&event.name, at);
            }
            EventType::Milestone => {
                self.milestones.note(&event.name, at);
            }
            EventType::Account => self.attributes.fold(properties, Stamp::of(at, &event.event_id)),
            EventType::User => {
                if let Some(user) = user {
                    self.people.told(user, &event.event_id, properties, at);
                }
            }
            EventType::Contract => {
                self.contract
                    .fold(&event.name, properties, Stamp::of(at, &event.event_id));
            }
            EventType::Ticket => ticket::fold(&mut self.tickets, &event.name, properties, at),
            EventType::Survey => {
                if event.name == "nps" {
                    let stamp = Stamp::of(at, &event.event_id);
                    Number::replace(&mut self.last_nps, properties.f64("score"), stamp);
                }
            }
            EventType::Engagement | EventType::Error | EventType::Action => {}
        }
        if is_activity(event.event_type) {
            earliest(&mut self.first_active_at, at);
            latest(&mut self.last_active_at, at);
            if let Some(user) = user {
                self.people.was_active(user, at);
            }
        }
        self.tidy(model);
        user
    }

    /// Lets go of what is too much to keep.
    fn tidy(&mut self, model: &Model) {
        self.tidy_ids(model);
        ticket::tidy(&mut self.tickets, self.last_event_at.unwrap_or(i64::MIN));
    }

    pub(crate) fn tidy_ids(&mut self, model: &Model) {
        if self.ids.len() > model.config.remember_ids_max {
            self.ids.forget(i64::MIN, model.config.remember_ids_max);
        }
    }

    /// When a milestone or feature of that name first happened.
    pub(crate) fn first_of(&self, name: &str) -> Option<i64> {
        let milestone = self.milestones.first_of(name);
        let feature = self.features.first_of(name);
        match (milestone, feature) {
            (Some(milestone), Some(feature)) => Some(milestone.min(feature)),
            (one, other) => one.or(other),
        }
    }

    /// What must hold of the parts and between them, so that no index can miss and no time is further
    /// away than can be reckoned with.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !(-1..i64::MAX).contains(&self.offset) {
            return Err("the offset is none that a record can have");
        }
        if !self.ids.is_sound() {
            return Err("the remembered ids are not in order");
        }
        if !self.people.is_sound() {
            return Err("the users do not fit their names");
        }
        if !self.features.is_sound() || !self.milestones.is_sound() {
            return Err("the features or milestones do not fit their names");
        }
        let by_id = |one: &Ticket, other: &Ticket| one.ticket_id < other.ticket_id;
        if !self.tickets.is_sorted_by(by_id) || !self.tickets.iter().all(Ticket::is_sound) {
            return Err("the tickets are not in order");
        }
        if !episode::are_sound(&self.episodes) {
            return Err("the alert episodes are not in order");
        }
        if !self.attributes.is_sound() || !self.contract.is_sound() {
            return Err("what was said of the account or its contract cannot have been said");
        }
        let last_nps = self.last_nps.as_ref();
        if !last_nps.is_none_or(Number::is_sound) || !self.has_sound_times() {
            return Err("a time is not one that events have");
        }
        Ok(())
    }

    fn has_sound_times(&self) -> bool {
        let is_span = |first: Option<i64>, last: Option<i64>| {
            let both = first.zip(last);
            both.is_none_or(|(first, last)| first <= last)
        };
        let all = [
            self.first_event_at,
            self.last_event_at,
            self.first_active_at,
            self.last_active_at,
            self.last_login_at,
            self.daily_until,
            self.restate_from,
            self.restating_from,
        ];
        is_span(self.first_event_at, self.last_event_at)
            && is_span(self.first_active_at, self.last_active_at)
            && all.iter().flatten().all(|at| Event::TIMES.contains(at))
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.ids.shrink_to_fit();
        self.people.shrink_to_fit();
        self.features.shrink_to_fit();
        self.milestones.shrink_to_fit();
        self.tickets.shrink_to_fit();
        self.episodes.shrink_to_fit();
        self.outbox.shrink_to_fit();
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let tickets: usize = self
            .tickets
            .iter()
            .map(|ticket| ticket.ticket_id.capacity())
            .sum();
        self.ids.heap_bytes()
            + self.people.heap_bytes()
            + self.features.heap_bytes()
            + self.milestones.heap_bytes()
            + self.tickets.capacity() * std::mem::size_of::<Ticket>()
            + tickets
            + self.episodes.capacity() * std::mem::size_of::<Episode>()
            + self.attributes.heap_bytes()
            + self.contract.heap_bytes()
    }
}

/// Counts an event on its local day; false when the day is kept no more.
pub(crate) fn count(
    days: &mut Days,
    state: &AccountState,
    event: &Event,
    user: Option<u32>,
    properties: &Properties<'_>,
    number: i32,
) -> bool {
    let Some(day) = days.day_mut(number) else {
        return false;
    };
    let uses = match event.event_type {
        EventType::Feature => properties.u64("count").unwrap_or(1),
        _ => 0,
    };
    if is_activity(event.event_type) {
        add(&mut day.counts.activities);
        if let Some(user) = user {
            day.add_user(user, uses);
        }
    }
    let counts = &mut day.counts;
    add(&mut counts.events);
    match (event.event_type, event.name.as_str()) {
        (EventType::Login, _) => add(&mut counts.logins),
        (EventType::Feature, name) => {
            if let Some(feature) = state.features.find(name) {
                day.add_uses(feature, uses);
            }
        }
        (EventType::Error, _) => add(&mut counts.errors),
        (EventType::Engagement, _) => {
            add(&mut counts.engagements);
            if properties.f64("results") == Some(0.0) {
                add(&mut counts.empty_searches);
            }
        }
        (EventType::Ticket, "opened") => add(&mut counts.tickets_opened),
        (EventType::Ticket, "escalated") => add(&mut counts.escalations),
        (EventType::Contract, "downgraded" | "option_removed") => add(&mut counts.downgrades),
        (EventType::Survey, "nps") => {
            if let Some(score) = properties.f64("score") {
                add(&mut counts.nps_responses);
                if score >= 9.0 {
                    add(&mut counts.promoters);
                } else if score <= 6.0 {
                    add(&mut counts.detractors);
                }
            }
        }
        (EventType::Survey, "csat") => {
            if let Some(score) = properties.f64("score") {
                add(&mut counts.csat_responses);
                day.csat_sum += score;
            }
        }
        _ => {}
    }
    true
}

/// Whether an event of that type makes its user active.
pub(crate) fn is_activity(event_type: EventType) -> bool {
    matches!(event_type, EventType::Login | EventType::Feature)
}

fn add(count: &mut u32) {
    *count = count.saturating_add(1);
}

fn earliest(slot: &mut Option<i64>, at: i64) {
    *slot = Some(slot.map_or(at, |known| known.min(at)));
}

fn latest(slot: &mut Option<i64>, at: i64) {
    *slot = Some(slot.map_or(at, |known| known.max(at)));
}
