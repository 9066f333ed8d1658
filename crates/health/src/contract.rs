//! What is known of an account's contract.

use event::{Event, Properties};

use crate::stamped::{Number, Stamp, Text, is_stated_time, number};

/// The contract as the events tell it; the newest statement of each part holds. Instants are
/// milliseconds.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Contract {
    #[prost(sint64, optional, tag = "1")]
    pub(crate) trial_started_at: Option<i64>,
    #[prost(sint64, optional, tag = "2")]
    pub(crate) started_at: Option<i64>,
    /// The newest event that is no cancellation: a sign that the contract lives.
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
    #[prost(sint64, optional, tag = "10")]
    pub(crate) last_renewed_at: Option<i64>,
    #[prost(sint64, optional, tag = "11")]
    pub(crate) last_upgraded_at: Option<i64>,
    /// The newest downgrade or removal of an option.
    #[prost(sint64, optional, tag = "12")]
    pub(crate) last_downgraded_at: Option<i64>,
    #[prost(message, optional, tag = "13")]
    pub(crate) discount_ends_at: Option<Number>,
}

impl Contract {
    /// Folds a `contract` event of that name.
    pub(crate) fn fold(&mut self, name: &str, properties: &Properties<'_>, stamp: Stamp) {
        let at = stamp.at;
        let begins_at = properties.timestamp_ms("starts_at").unwrap_or(at);
        let earliest = |slot: &mut Option<i64>, at: i64| *slot = Some(slot.map_or(at, |known| known.min(at)));
        let latest = |slot: &mut Option<i64>| *slot = Some(slot.map_or(at, |known| known.max(at)));
        match name {
            "trial_started" => earliest(&mut self.trial_started_at, begins_at),
            "started" => earliest(&mut self.started_at, begins_at),
            "renewed" => latest(&mut self.last_renewed_at),
            "upgraded" => latest(&mut self.last_upgraded_at),
            "downgraded" | "option_removed" => latest(&mut self.last_downgraded_at),
            "cancelled" => latest(&mut self.last_cancelled_at),
            _ => {}
        }
        if name != "cancelled" {
            latest(&mut self.last_alive_at);
        }
        let stated_time = |name: &str| properties.timestamp_ms(name).map(|at| at as f64);
        Number::replace(&mut self.mrr, properties.f64("mrr"), stamp);
        Text::replace(&mut self.currency, properties.str("currency"), stamp);
        Number::replace(&mut self.ends_at, stated_time("ends_at"), stamp);
        Number::replace(&mut self.discount_ends_at, stated_time("discount_ends_at"), stamp);
        Number::replace(&mut self.seats, properties.f64("seats"), stamp);
        Text::replace(&mut self.plan, properties.str("plan"), stamp);
    }

    /// Whether events can have told of it so, which a state that was read must prove.
    pub(crate) fn is_sound(&self) -> bool {
        let happened = [
            self.last_alive_at,
            self.last_cancelled_at,
            self.last_renewed_at,
            self.last_upgraded_at,
            self.last_downgraded_at,
        ];
        let stated = [self.trial_started_at, self.started_at];
        let numbers = [&self.mrr, &self.ends_at, &self.seats, &self.discount_ends_at];
        happened.iter().flatten().all(|at| Event::TIMES.contains(at))
            && stated.iter().flatten().all(|at| Properties::TIMES.contains(at))
            && numbers.into_iter().flatten().all(Number::is_sound)
            && [&self.currency, &self.plan]
                .into_iter()
                .flatten()
                .all(Text::is_sound)
            && is_stated_time(&self.ends_at)
            && is_stated_time(&self.discount_ends_at)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let texts = [&self.currency, &self.plan];
        texts
            .into_iter()
            .flatten()
            .map(|text| text.value.capacity())
            .sum()
    }

    /// When the customer left, if he has not come back since.
    pub(crate) fn churned_at(&self) -> Option<i64> {
        let cancelled = self.last_cancelled_at?;
        let came_back = self.last_alive_at.is_some_and(|alive| alive >= cancelled);
        (!came_back).then_some(cancelled)
    }

    /// When the contract ends, as it was last told.
    pub(crate) fn ends_at(&self) -> Option<i64> {
        number(&self.ends_at).map(|at| at as i64)
    }

    /// When a trial runs out, if no contract came of it.
    pub(crate) fn trial_lapses_at(&self) -> Option<i64> {
        let is_only_trial = self.trial_started_at.is_some() && self.started_at.is_none();
        self.ends_at().filter(|_| is_only_trial)
    }

    /// The start of the trial or the contract, whichever was first.
    pub(crate) fn begun_at(&self) -> Option<i64> {
        match (self.trial_started_at, self.started_at) {
            (Some(trial), Some(contract)) => Some(trial.min(contract)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded<'a>(events: impl Iterator<Item = &'a (usize, &'static str, i64, String)>) -> Contract {
        let mut contract = Contract::default();
        for (id, name, at, properties) in events {
            let properties = Properties::parse(properties).unwrap();
            contract.fold(name, &properties, Stamp::of(*at, &format!("e{id}")));
        }
        contract
    }

    #[test]
    fn an_option_that_is_removed_is_a_downgrade() {
        let events = [
            (0, "started", 10, r#"{"discount_ends_at":900}"#.to_string()),
            (1, "upgraded", 20, String::new()),
            (2, "downgraded", 30, String::new()),
            (3, "option_removed", 40, r#"{"discount_ends_at":800}"#.to_string()),
            (4, "renewed", 50, String::new()),
        ];
        let contract = folded(events.iter());
        assert_eq!(contract.last_upgraded_at, Some(20));
        assert_eq!(contract.last_downgraded_at, Some(40));
        assert_eq!(contract.last_renewed_at, Some(50));
        assert_eq!(number(&contract.discount_ends_at), Some(800.0));
    }

    proptest! {
        #[test]
        fn the_order_of_contract_events_is_irrelevant(
            events in prop::collection::vec(
                (
                    prop::sample::select(vec![
                        "trial_started", "started", "renewed", "upgraded", "downgraded", "option_removed",
                        "cancelled",
                    ]),
                    0i64..20,
                    prop::option::of(0i64..40),
                    prop::option::of(0i64..40),
                ),
                0..12,
            ),
            seed in any::<u64>(),
        ) {
            let events: Vec<(usize, &str, i64, String)> = events
                .into_iter()
                .enumerate()
                .map(|(id, (name, at, starts_at, ends_at))| {
                    let time = |name: &str, at: Option<i64>| at.map(|at| format!(r#""{name}":{at}"#));
                    let parts = [
                        time("starts_at", starts_at),
                        time("ends_at", ends_at),
                        time("discount_ends_at", ends_at),
                    ];
                    let parts: Vec<String> = parts.into_iter().flatten().collect();
                    (id, name, at, format!("{{{}}}", parts.join(",")))
                })
                .collect();
            let mut shuffled = events.clone();
            shuffled.sort_by_key(|(id, ..)| xxhash_rust::xxh3::xxh3_64_with_seed(&id.to_le_bytes(), seed));
            prop_assert_eq!(folded(events.iter()), folded(shuffled.iter()));
        }
    }
}
