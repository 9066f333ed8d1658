//! Section `[alert]`: where alerts go, and every bound and deadline on the way.
//!
//! [`Config::endpoints`] is the only way to a destination that can be sent to, so one that exists has a
//! usable address, secret and bounds.

mod destination;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use destination::{Credential, Endpoint, credential, resolve};
pub use destination::{Destination, DestinationProblem, HubspotObject, Kind};
use health::RuleKind;

use crate::breaker::BreakerConfig;
use crate::lane::CircuitLimits;
use crate::policy::config::{DigestConfig, RouteConfig, WorkHoursConfig};
use crate::policy::{self, Policy};
use crate::schedule::{STANDARD_PAUSES, Schedule, ScheduleError};
use crate::telling::{Language, Owner, RuleTelling, Telling};

/// Section `[alert]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where alerts go. Default none: alerts are recorded and sent nowhere.
    pub destinations: Vec<Destination>,
    /// Which alerts go where, and when; the first that matches decides. Default none: every alert goes
    /// to every destination at once.
    pub routes: Vec<RouteConfig>,
    /// The time zone of the hours of work and of the digest, such as `Asia/Tokyo`. Default `UTC`.
    pub timezone: String,
    /// When people work. Default Monday to Friday, 09:00 to 18:00.
    pub work_hours: WorkHoursConfig,
    /// The daily digest.
    pub digest: DigestConfig,
    /// How what a rule finds is told, by the rule's name. Default nothing of note.
    pub rules: BTreeMap<String, RuleTelling>,
    /// The consumer group. Default `mimamori-alert`.
    pub group: String,
    /// The pause before each attempt of a delivery, in seconds; as many attempts as there are pauses.
    /// Default 0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400.
    pub retry_seconds: Vec<f64>,
    /// Each pause is lengthened by up to this share of itself, from 0 to 1. Default 0.2.
    pub retry_jitter: f64,
    /// The longest time that a receiver may ask for with `Retry-After`, in seconds. Default 3600.
    pub retry_after_max_seconds: u64,
    /// An alert that could not be sent within so many seconds is put down in ClickHouse as pending, so
    /// that its offset can be committed. Default 2.
    pub set_aside_seconds: f64,
    /// How often, in seconds and at most, deliveries that wait in ClickHouse alone are looked for once
    /// one of them is due. Default 1.
    pub reload_seconds: f64,
    /// Alerts that may be between Kafka and the committed offset, over all partitions. Default 10000.
    pub max_uncommitted: usize,
    /// Rows about deliveries that wait to be written. Default 2000.
    pub recorder_queue: usize,
    /// How long a stop, or a partition that moves on, waits for requests under way, in seconds. Those
    /// that take longer are cut and made again. Default 1.
    pub drain_seconds: f64,
    /// Where the page is; links in messages lead there. Default none: no links.
    pub link: String,
    /// The language of messages, `en`, `ja` or `both`; a destination may say otherwise. Default `en`.
    pub language: Language,
    /// How the owners of accounts are reached, by their name. Default nobody.
    pub owners: BTreeMap<String, Owner>,
    /// Failures in a row without a sign of life (no answer, or a 5xx) after which nothing is sent to a
    /// destination for a while but a probe; 0 never stops. Default 5.
    pub circuit_failures: u32,
    /// How long that while is at first, in seconds; each probe that fails doubles it. Default 30.
    pub circuit_seconds: f64,
    /// The longest while between two probes, in seconds. Default 600.
    pub circuit_max_seconds: f64,
    /// How often the worker looks for what people ask for (replays, releases), in seconds. Default 1.
    pub look_seconds: f64,
    /// When one rule or one cause would alert about so many accounts that one summary goes out instead.
    pub breaker: BreakerConfig,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            destinations: Vec::new(),
            routes: Vec::new(),
            timezone: "UTC".to_string(),
            work_hours: WorkHoursConfig::default(),
            digest: DigestConfig::default(),
            rules: BTreeMap::new(),
            group: "mimamori-alert".to_string(),
            retry_seconds: STANDARD_PAUSES.to_vec(),
            retry_jitter: 0.2,
            retry_after_max_seconds: 3_600,
            set_aside_seconds: 2.0,
            reload_seconds: 1.0,
            max_uncommitted: 10_000,
            recorder_queue: 2_000,
            drain_seconds: 1.0,
            link: String::new(),
            language: Language::En,
            owners: BTreeMap::new(),
            circuit_failures: 5,
            circuit_seconds: 30.0,
            circuit_max_seconds: 600.0,
            look_seconds: 1.0,
            breaker: BreakerConfig::default(),
        }
    }
}

/// What is wrong with the section `[alert]`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number that is out of its range.
    #[error("alert.{field}: {problem}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The schedule of retries.
    #[error("alert.{0}")]
    Schedule(#[from] ScheduleError),
    /// A destination.
    #[error("alert.destinations {name:?}: {problem}")]
    Destination {
        /// Its name.
        name: String,
        /// What is wrong with it and what to do.
        problem: DestinationProblem,
    },
}

impl ConfigError {
    pub(crate) fn field(field: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Field {
            field: field.to_string(),
            problem: problem.into(),
        }
    }
}

impl Config {
    /// Says what cannot be used; reads the files that secrets and headers name, and sends nothing.
    ///
    /// # Errors
    /// [`ConfigError`] with the field and what to do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.telling()?;
        self.endpoints()?;
        self.policy().map(drop)
    }

    /// Says which names of rules are none of those in force, and what would be right.
    ///
    /// # Errors
    /// [`ConfigError`] with the field and what to do.
    pub fn check_rules(&self, rules: &[(&str, RuleKind)]) -> Result<(), ConfigError> {
        policy::check_rules(self, rules)
    }

    pub(crate) fn policy(&self) -> Result<Policy, ConfigError> {
        Policy::new(self)
    }

    pub(crate) fn telling(&self) -> Result<Telling, ConfigError> {
        Telling::read(self)
    }

    pub(crate) fn schedule(&self) -> Result<Schedule, ScheduleError> {
        Schedule::try_new(&self.retry_seconds, self.retry_jitter)
    }

    pub(crate) fn circuit(&self) -> CircuitLimits {
        CircuitLimits {
            failures: self.circuit_failures,
            pause: Duration::from_secs_f64(self.circuit_seconds),
            longest: Duration::from_secs_f64(self.circuit_max_seconds),
        }
    }

    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>, ConfigError> {
        self.schedule()?;
        let out_of_range = |field: &str, problem: &str| {
            Err(ConfigError::Field {
                field: field.to_string(),
                problem: problem.to_string(),
            })
        };
        if self.group.is_empty() {
            return out_of_range("group", "is empty: give the consumer group a name");
        }
        for (field, value) in [
            ("set_aside_seconds", self.set_aside_seconds),
            ("reload_seconds", self.reload_seconds),
            ("drain_seconds", self.drain_seconds),
            ("circuit_seconds", self.circuit_seconds),
            ("look_seconds", self.look_seconds),
        ] {
            if !(0.01..=3_600.0).contains(&value) {
                return out_of_range(field, "must be from 0.01 to 3600");
            }
        }
        if !(self.circuit_seconds..=86_400.0).contains(&self.circuit_max_seconds) {
            return out_of_range("circuit_max_seconds", "must be from circuit_seconds to 86400");
        }
        if let Some((field, problem)) = self.breaker.problem() {
            return out_of_range(field, problem);
        }
        if self.max_uncommitted == 0 || self.recorder_queue == 0 {
            return out_of_range("max_uncommitted and alert.recorder_queue", "must be over 0");
        }
        let mut names = BTreeSet::new();
        let mut endpoints = Vec::with_capacity(self.destinations.len());
        for destination in &self.destinations {
            let endpoint = destination.endpoint(self.language).and_then(|endpoint| {
                if names.insert(endpoint.name.clone()) {
                    Ok(endpoint)
                } else {
                    Err(DestinationProblem::Twice)
                }
            });
            endpoints.push(endpoint.map_err(|problem| ConfigError::Destination {
                name: destination.name.clone(),
                problem,
            })?);
        }
        Ok(endpoints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_its_range_is_refused_with_its_field() {
        let problem = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(problem(|c| c.circuit_max_seconds = 29.0).contains("alert.circuit_max_seconds"));
        assert!(problem(|c| c.circuit_seconds = f64::NAN).contains("alert.circuit_seconds"));
        assert!(problem(|c| c.look_seconds = 0.0).contains("alert.look_seconds"));
        assert!(
            problem(|c| c.breaker.share = 20.0).contains("alert.breaker.share: must be from 0 (off) to 1")
        );
        assert!(problem(|c| c.breaker.min_accounts = 0).contains("alert.breaker.min_accounts"));
        assert!(problem(|c| c.breaker.window_minutes = f64::INFINITY).contains("window_minutes"));
    }
}
