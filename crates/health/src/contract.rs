//! What is known of an account's contract.

use event::Properties;

use crate::stamped::{Number, Stamp, Text};

/// The contract as the events tell it; the newest statement of each part holds.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Contract {
    #[prost(sint64, optional, tag = "1")]
    pub(crate) trial_started_at: Option<i64>,
    #[prost(sint64, optional, tag = "2")]
    pub(crate) started_at: Option<i64>,
    /// The newest start, renewal, upgrade or downgrade: a sign that the contract lives.
    #[prost(sint64, optional, tag = "3")]
    pub(crate) last_alive_at: Option<i64>,
    #[prost(sint64, optional, tag = "4")]
    pub(crate) last_cancelled_at: Option<i64>,
    #[prost(message, optional, tag = "5")]
    pub(crate) mrr: Option<Number>,
    #[prost(message, optional, tag = "6")]
    pub(crate) currency: Option<Text>,
    #[prost(message, optional, tag = "7")]
    pub(crate) ends_at: Option<Number>,
    #[prost(message, optional, tag = "8")]
    pub(crate) seats: Option<Number>,
    #[prost(message, optional, tag = "9")]
    pub(crate) plan: Option<Text>,
}

impl Contract {
    /// Folds a `contract` event of that name.
    pub(crate) fn fold(&mut self, name: &str, properties: &Properties<'_>, stamp: Stamp) {
        let at = stamp.at;
        let begins_at = properties.timestamp_ms("starts_at").unwrap_or(at);
        let earliest = |slot: &mut Option<i64>, at: i64| *slot = Some(slot.map_or(at, |known| known.min(at)));
        let latest = |slot: &mut Option<i64>| *slot = Some(slot.map_or(at, |known| known.max(at)));
        match name {
            "trial_started" => {
                earliest(&mut self.trial_started_at, begins_at);
                latest(&mut self.last_alive_at);
            }
            "started" => {
                earliest(&mut self.started_at, begins_at);
                latest(&mut self.last_alive_at);
            }
            "cancelled" => latest(&mut self.last_cancelled_at),
            _ => latest(&mut self.last_alive_at),
        }
        Number::replace(&mut self.mrr, properties.f64("mrr"), stamp);
        Text::replace(&mut self.currency, properties.str("currency"), stamp);
        Number::replace(
            &mut self.ends_at,
            properties.timestamp_ms("ends_at").map(|at| at as f64),
            stamp,
        );
        Number::replace(&mut self.seats, properties.f64("seats"), stamp);
        Text::replace(&mut self.plan, properties.str("plan"), stamp);
    }

    /// When the customer left, if he has not come back since.
    pub(crate) fn churned_at(&self) -> Option<i64> {
        let cancelled = self.last_cancelled_at?;
        let came_back = self.last_alive_at.is_some_and(|alive| alive > cancelled);
        (!came_back).then_some(cancelled)
    }

    /// Whether a trial has run out by `now` without a contract after it.
    pub(crate) fn is_lapsed_trial(&self, now: i64) -> bool {
        let ended = self
            .ends_at
            .as_ref()
            .is_some_and(|ends_at| ends_at.value as i64 <= now);
        self.trial_started_at.is_some() && self.started_at.is_none() && ended
    }

    /// The start of the trial or the contract, whichever was first.
    pub(crate) fn begun_at(&self) -> Option<i64> {
        match (self.trial_started_at, self.started_at) {
            (Some(trial), Some(contract)) => Some(trial.min(contract)),
            (one, other) => one.or(other),
        }
    }
}
