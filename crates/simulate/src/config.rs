//! What to simulate. A [`Config`] is only data; [`crate::simulate`] refuses one that makes no sense, naming the
//! field and the bound.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Archetype;

/// What to simulate. Equal configurations give equal bytes, on every machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many accounts there are. Default 200; at most 2³⁰.
    pub accounts: usize,
    /// How many calendar months the simulation spans, ending at `until_ms`. Default 6; 1 to 60.
    pub months: u32,
    /// What all chance is drawn from. Default 1.
    pub seed: u64,
    /// The instant at which the simulation ends, in epoch milliseconds; nothing is dated or arrives after it.
    /// It must be given: the default, 0, is refused.
    pub until_ms: i64,
    /// The share of events that arrive a second time, byte for byte. Default 0.01; 0 to 0.5.
    pub duplicates: f64,
    /// The share of events that arrive late, over [`crate::LATE_AFTER_MS`] after they occurred. Default 0.05;
    /// 0 to 0.5. What happened before the period (an older account's attributes, users and milestones, up to 90
    /// days back) is told in its first hours and comes on top.
    pub late: f64,
    /// How late a late event is at most, in milliseconds. Default 172,800,000 (2 days); over
    /// [`crate::LATE_AFTER_MS`], at most 7 days.
    pub late_by_ms: i64,
    /// The share of extra records that no decoder can accept, relative to the events. Default 0 (0.001 in
    /// [`Config::demo`]); 0 to 0.5.
    pub malformed: f64,
    /// The share of records whose Kafka key is missing or is not the account. Default 0.1; 0 to 1.
    pub miskeyed: f64,
    /// How far ahead of the clock the customers' calendar is, in milliseconds: what they do at ten in
    /// the morning happens so much earlier. Default 0; 0 to 30 days.
    pub shift_ms: i64,
    /// How often each archetype is met, as weights relative to one another; one that is left out is never met.
    /// Default: [`Archetype::default_weight`] of every archetype.
    pub archetypes: BTreeMap<Archetype, f64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            accounts: 200,
            months: 6,
            seed: 1,
            until_ms: 0,
            duplicates: 0.01,
            late: 0.05,
            late_by_ms: 2 * 86_400_000,
            malformed: 0.0,
            miskeyed: 0.1,
            shift_ms: 0,
            archetypes: Archetype::ALL
                .iter()
                .map(|kind| (*kind, kind.default_weight()))
                .collect(),
        }
    }
}

impl Config {
    /// What `up --demo` shows: the defaults, with one record in a thousand malformed, ending at `until_ms`
    /// with the customers at work, whatever time it is.
    pub fn demo(until_ms: i64) -> Self {
        Self {
            until_ms,
            malformed: 0.001,
            shift_ms: crate::calendar::shift_to_work(until_ms),
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let within = |field: &'static str, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(ConfigError::OutOfRange {
                    field,
                    value,
                    low,
                    high,
                })
            }
        };
        within("accounts", self.accounts as f64, 1.0, f64::from(1u32 << 30))?;
        within("months", f64::from(self.months), 1.0, 60.0)?;
        if self.until_ms == 0 {
            return Err(ConfigError::UntilMissing);
        }
        within(
            "until_ms",
            self.until_ms as f64,
            EARLIEST_UNTIL_MS as f64,
            LATEST_UNTIL_MS as f64,
        )?;
        within("duplicates", self.duplicates, 0.0, 0.5)?;
        within("late", self.late, 0.0, 0.5)?;
        within(
            "late_by_ms",
            self.late_by_ms as f64,
            (crate::LATE_AFTER_MS + 1) as f64,
            7.0 * 86_400_000.0,
        )?;
        within("shift_ms", self.shift_ms as f64, 0.0, 30.0 * 86_400_000.0)?;
        within("malformed", self.malformed, 0.0, 0.5)?;
        within("miskeyed", self.miskeyed, 0.0, 1.0)?;
        for (archetype, weight) in &self.archetypes {
            if !weight.is_finite() || *weight < 0.0 {
                return Err(ConfigError::Weight {
                    archetype: *archetype,
                    weight: *weight,
                });
            }
        }
        if self.archetypes.values().sum::<f64>() <= 0.0 {
            return Err(ConfigError::NoArchetype);
        }
        Ok(())
    }
}

/// 2010-01-01T00:00:00Z.
const EARLIEST_UNTIL_MS: i64 = 1_262_304_000_000;
/// 2100-01-01T00:00:00Z.
const LATEST_UNTIL_MS: i64 = 4_102_444_800_000;

/// A configuration that cannot be simulated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside its bounds.
    #[error("{field} is {value}: give a number from {low} to {high}")]
    OutOfRange {
        /// The field of [`Config`].
        field: &'static str,
        /// What it was.
        value: f64,
        /// The least that is allowed.
        low: f64,
        /// The most that is allowed.
        high: f64,
    },
    /// `until_ms` was not given.
    #[error("until_ms is not set: give the instant at which the simulation ends, in epoch milliseconds")]
    UntilMissing,
    /// A weight is negative or not a number.
    #[error("the weight of archetype {archetype} is {weight}: give 0 or more")]
    Weight {
        /// The archetype.
        archetype: Archetype,
        /// What it was.
        weight: f64,
    },
    /// Every archetype has weight 0.
    #[error("archetypes leaves nothing to draw: give at least one a weight over 0")]
    NoArchetype,
    /// The machine does not know a time zone that the accounts live in.
    #[error("time zone {name} is not known here: install the machine's time zone database (tzdata)")]
    TimeZone {
        /// The zone's IANA name.
        name: &'static str,
        /// What the time zone library says.
        source: jiff::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_by_its_field() {
        let good = Config::demo(1_790_000_000_000);
        assert!(good.check().is_ok());
        let refused = |change: fn(&mut Config)| {
            let mut config = good.clone();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(refused(|config| config.accounts = 0).starts_with("accounts is 0"));
        assert!(refused(|config| config.months = 61).starts_with("months is 61"));
        assert!(refused(|config| config.until_ms = 0).starts_with("until_ms is not set"));
        assert!(refused(|config| config.until_ms = 5).starts_with("until_ms is 5"));
        assert!(refused(|config| config.late = 0.6).starts_with("late is 0.6"));
        assert!(refused(|config| config.late = f64::NAN).starts_with("late is NaN"));
        assert!(refused(|config| config.archetypes.clear()).starts_with("archetypes leaves nothing"));
        let negative = refused(|config| {
            config.archetypes.insert(Archetype::Steady, -1.0);
        });
        assert_eq!(negative, "the weight of archetype steady is -1: give 0 or more");
    }

    #[test]
    fn the_default_weights_are_shares_of_a_hundred() {
        let sum: f64 = Config::default().archetypes.values().sum();
        assert_eq!(sum, 100.0);
    }
}
