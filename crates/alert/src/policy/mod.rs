//! Who is told of a change, and when: decides from the change, the configuration, what the episode's
//! earlier changes came to, and the time.
//!
//! What it keeps true:
//!
//! - A destination that was told of any change of an episode is told of every later one, and of the end
//!   of an episode nobody else is told. So whatever becomes of an account's tier, owner or segment
//!   meanwhile, or of the configuration, nobody is left with an alert that never ends.
//! - What a destination had of an episode only grows: what is only recorded at first stays that, and
//!   what waits for a digest is told sooner only when an escalation says so.
//! - Every change leads to a decision for each destination that it concerns, at most one for each.

mod check;
pub(crate) mod config;
mod earlier;
mod experiment;
mod hours;
mod route;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use health::AlertChange;

pub(crate) use self::check::check_rules;
use self::config::{RouteConfig, When};
use self::earlier::Had;
pub(crate) use self::earlier::{Earlier, Recent};
pub(crate) use self::hours::{Hours, Slot};
use self::route::Traits;
use crate::config::ConfigError;
use crate::lane::{HELD_OUT, SHADOW, SUPPRESSED};
use crate::telling::RuleTelling;

const NO_ROUTE: &str = "no route leads anywhere";
const IS_SHADOW: &str = "its rule is a shadow: recorded only";
const IS_HELD_OUT: &str = "the account is in the rule's holdout";
const AS_BEFORE: &str = "as the earlier changes of its episode";

/// The name in rows about what concerns no destination.
const NOBODY: &str = "";

/// What is to happen with a change at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Its name; empty for what concerns none, and then it is only recorded.
    pub destination: Arc<str>,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// It is sent, not before this time (milliseconds).
    Send { not_before: Option<i64> },
    /// It waits for the next digest.
    Digest,
    /// Nothing is sent; a row of this status says why.
    Record {
        status: &'static str,
        reason: &'static str,
    },
}

/// All that was decided about a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decided {
    /// The variant that the account was put into; empty when the rule has none.
    pub variant: Arc<str>,
    pub decisions: Vec<Decision>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    destinations: BTreeSet<Arc<str>>,
    routes: Vec<RouteConfig>,
    rules: BTreeMap<String, RuleTelling>,
    hours: Hours,
    max_digested: u32,
}

impl Policy {
    /// For destinations of these names.
    ///
    /// # Errors
    /// Names the field and what would be right.
    pub fn new(config: &crate::Config) -> Result<Policy, ConfigError> {
        check::check(config)?;
        let names = config
            .destinations
            .iter()
            .map(|destination| destination.name.as_str());
        Ok(Policy {
            destinations: names.map(Arc::from).collect(),
            routes: config.routes.clone(),
            rules: config.rules.clone(),
            hours: Hours::new(&config.timezone, &config.work_hours, &config.digest)?,
            max_digested: config.digest.max_alerts,
        })
    }

    /// When people work.
    pub fn hours(&self) -> &Hours {
        &self.hours
    }

    /// Alerts that a digest lists at most.
    pub fn max_digested(&self) -> u32 {
        self.max_digested
    }

    /// Whether what was decided about earlier changes of its episode decides about this one too.
    pub fn looks_back(change: &AlertChange) -> bool {
        change.change != "opened"
    }

    /// What is to happen with `change`. `earlier` is what the episode's earlier changes came to, of one
    /// that [looks back](Self::looks_back); where nothing is on record the change is taken as the first.
    pub fn decide(&self, change: &AlertChange, earlier: Option<&Earlier>, now: i64) -> Decided {
        let telling = self.rules.get(&change.rule);
        let earlier = earlier.filter(|earlier| Policy::looks_back(change) && !earlier.had.is_empty());
        let variant = match (earlier, telling) {
            (Some(earlier), _) => earlier.variant.as_str(),
            (None, Some(telling)) => experiment::variant(telling, &change.rule, &change.account_id),
            (None, None) => "",
        };
        let routed = self.routed(&Traits::of(change, variant));
        let muted = self.muted(change);
        let decisions = match earlier {
            None => self.first(&routed, muted, now),
            Some(earlier) => self.later(change, earlier, &routed, muted, now),
        };
        Decided {
            variant: variant.into(),
            decisions,
        }
    }

    /// The destinations that its routes lead to; all of them where there are no routes.
    fn routed(&self, traits: &Traits) -> BTreeMap<&str, When> {
        if self.routes.is_empty() {
            return self
                .destinations
                .iter()
                .map(|name| (&**name, When::Now))
                .collect();
        }
        route::destinations(&self.routes, traits)
    }

    /// Why its rule tells nobody of the account, if so.
    fn muted(&self, change: &AlertChange) -> Option<What> {
        let telling = self.rules.get(&change.rule)?;
        if telling.shadow {
            return Some(What::Record {
                status: SHADOW,
                reason: IS_SHADOW,
            });
        }
        let held_out = experiment::is_held_out(telling, &change.rule, &change.account_id);
        held_out.then_some(What::Record {
            status: HELD_OUT,
            reason: IS_HELD_OUT,
        })
    }

    fn first(&self, routed: &BTreeMap<&str, When>, muted: Option<What>, now: i64) -> Vec<Decision> {
        if !routed.is_empty() {
            let decide = |(name, when): (&&str, &When)| {
                let what = muted.clone().unwrap_or_else(|| self.told(*when, now));
                decision(name, what)
            };
            return routed.iter().map(decide).collect();
        }
        match muted {
            _ if !self.destinations.is_empty() => {
                let what = What::Record {
                    status: SUPPRESSED,
                    reason: NO_ROUTE,
                };
                vec![decision(NOBODY, what)]
            }
            Some(what @ What::Record { status: HELD_OUT, .. }) => vec![decision(NOBODY, what)],
            _ => Vec::new(),
        }
    }

    fn later(
        &self,
        change: &AlertChange,
        earlier: &Earlier,
        routed: &BTreeMap<&str, When>,
        muted: Option<What>,
        now: i64,
    ) -> Vec<Decision> {
        let is_worse = change.change == "escalated";
        let mut decisions = Vec::new();
        let known = |name: &&str| self.destinations.contains(*name);
        for (name, had) in earlier.had.iter().map(|(name, had)| (name.as_str(), *had)) {
            if name.is_empty() || !known(&name) {
                continue;
            }
            let asked = routed.get(name).copied();
            let what = match had {
                Had::Recorded(status) => What::Record {
                    status,
                    reason: AS_BEFORE,
                },
                Had::Digest => match asked {
                    Some(when) if is_worse && muted.is_none() => self.told(when, now),
                    _ => What::Digest,
                },
                Had::Told => {
                    let when = asked.filter(|when| *when != When::Digest);
                    self.told(when.unwrap_or_else(|| self.gentlest(name)), now)
                }
            };
            decisions.push(decision(name, what));
        }
        if is_worse {
            let further = routed
                .iter()
                .filter(|(name, _)| !earlier.had.contains_key(**name));
            decisions.extend(further.map(|(name, when)| {
                let what = muted.clone().unwrap_or_else(|| self.told(*when, now));
                decision(name, what)
            }));
        }
        if decisions.is_empty()
            && let Some(Had::Recorded(status)) = earlier.had.get(NOBODY)
        {
            let what = What::Record {
                status,
                reason: AS_BEFORE,
            };
            decisions.push(decision(NOBODY, what));
        }
        decisions
    }

    fn told(&self, when: When, now: i64) -> What {
        match when {
            When::Now => What::Send { not_before: None },
            When::WorkHours => {
                let opening = self.hours.opening(now);
                What::Send {
                    not_before: (opening > now).then_some(opening),
                }
            }
            When::Digest => What::Digest,
        }
    }

    /// When a destination is told of the later changes of what it was told, where no route says it.
    fn gentlest(&self, destination: &str) -> When {
        let of_destination = self
            .routes
            .iter()
            .filter(|route| route.destinations.iter().any(|name| name == destination));
        let times: BTreeSet<When> = of_destination.map(|route| route.when).collect();
        if times.contains(&When::WorkHours) && !times.contains(&When::Now) {
            When::WorkHours
        } else {
            When::Now
        }
    }
}

fn decision(destination: &str, what: What) -> Decision {
    Decision {
        destination: destination.into(),
        what,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
