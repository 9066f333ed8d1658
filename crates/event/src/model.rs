use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::time::STORABLE;

/// One thing that an account's user, or the account itself, did, or that the team did about it.
///
/// An `Event` has passed validation: every bound named on a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// 1–128 bytes; the same id within an account is the same event.
    pub event_id: String,
    /// 1–128 bytes.
    pub account_id: String,
    /// At most 128 bytes.
    pub user_id: Option<String>,
    /// What kind of thing happened.
    pub event_type: EventType,
    /// The feature, milestone, change… that `event_type` speaks of; empty where the type needs none.
    pub name: String,
    /// When it happened, in milliseconds since the Unix epoch.
    pub occurred_at: i64,
    /// When mimamori received it, in milliseconds since the Unix epoch.
    pub received_at: i64,
    /// Where it came in: a topic's name or an HTTP source.
    pub source: String,
    /// A JSON object as text, or empty when the event has no properties.
    pub properties: String,
}

/// The eleven types of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// A user signed in or a session began.
    Login,
    /// A feature was used; the name is the feature.
    Feature,
    /// An onboarding or value milestone was reached; the name is the milestone.
    Milestone,
    /// Attributes of the account.
    Account,
    /// Attributes of a user.
    User,
    /// The contract changed; the name is the change.
    Contract,
    /// A support ticket changed; the name is the change.
    Ticket,
    /// A survey was answered; the name is the kind of survey.
    Survey,
    /// Help search, community, seminar, review, referral.
    Engagement,
    /// The customer met a fault.
    Error,
    /// The team did something about the account; the name is what. It is no deed of the customer.
    Action,
}

impl Event {
    /// The times that an event can have, in milliseconds since the Unix epoch: the years 1900 to 2299.
    pub const TIMES: RangeInclusive<i64> = STORABLE.0..=STORABLE.1;

    /// When the event counts as having happened, milliseconds: at `occurred_at`, or when it was
    /// received if that was earlier, as from a sender whose clock is ahead.
    pub fn happened_at(&self) -> i64 {
        self.occurred_at.min(self.received_at)
    }
}

impl EventType {
    /// Every type, in the order of the wire numbers.
    pub const ALL: [EventType; 11] = [
        EventType::Login,
        EventType::Feature,
        EventType::Milestone,
        EventType::Account,
        EventType::User,
        EventType::Contract,
        EventType::Ticket,
        EventType::Survey,
        EventType::Engagement,
        EventType::Error,
        EventType::Action,
    ];

    /// The name used in JSON and in ClickHouse.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Login => "login",
            EventType::Feature => "feature",
            EventType::Milestone => "milestone",
            EventType::Account => "account",
            EventType::User => "user",
            EventType::Contract => "contract",
            EventType::Ticket => "ticket",
            EventType::Survey => "survey",
            EventType::Engagement => "engagement",
            EventType::Error => "error",
            EventType::Action => "action",
        }
    }

    /// Whether an event of that type is the customer's: the others change no number, day, score or stage.
    pub fn is_of_customer(self) -> bool {
        self != EventType::Action
    }

    /// The type of that name, if there is one.
    pub fn from_name(name: &str) -> Option<EventType> {
        EventType::ALL
            .into_iter()
            .find(|event_type| event_type.as_str() == name)
    }
}
