//! Alert episodes: a rule's trouble with an account, from its opening to its resolve.
//!
//! What holds: an account has at most one open episode a rule; the ids follow from the account, the
//! rule and the episode's number, never from a clock; and an episode that opened while history was
//! replayed is announced only if it is still open when the account is evaluated live, so that nobody
//! is told of a past that is over.

use xxhash_rust::xxh3::xxh3_128;

use crate::config::{Model, Rule, Severity};

const DAY_MS: f64 = 86_400_000.0;

/// The newest episode of a rule, as it is saved.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Episode {
    #[prost(string, tag = "1")]
    rule: String,
    /// Counts the rule's episodes of the account from 1.
    #[prost(uint32, tag = "2")]
    number: u32,
    #[prost(bool, tag = "3")]
    is_open: bool,
    /// Whether the opening was told.
    #[prost(bool, tag = "4")]
    is_announced: bool,
    #[prost(bool, tag = "5")]
    is_critical: bool,
    /// When it opened, milliseconds.
    #[prost(sint64, tag = "6")]
    opened_at: i64,
    /// When it was resolved, milliseconds; 0 while it is open.
    #[prost(sint64, tag = "7")]
    resolved_at: i64,
}

/// Whether the evaluation speaks of now or of a past that is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Of now: what has changed is told.
    Live,
    /// Of the past, or of a present that is not fully known yet: nothing is told but the end of what
    /// was told before.
    Replay,
}

/// What happened to an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    Escalated,
    Resolved,
}

impl Change {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Change::Opened => "opened",
            Change::Escalated => "escalated",
            Change::Resolved => "resolved",
        }
    }
}

/// A change that is to be told.
pub(crate) struct Told<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) change: Change,
    pub(crate) severity: Severity,
    pub(crate) episode_id: String,
    pub(crate) alert_id: String,
    pub(crate) opened_at: i64,
    pub(crate) value: Option<f64>,
}

/// Brings the episodes up to `now`, given the rules' numbers; `None` leaves an episode as it is.
/// Episodes of rules that are configured no more, and all of an account that has churned, end.
pub(crate) fn step<'a>(
    episodes: &mut Vec<Episode>,
    account_id: &str,
    model: &'a Model,
    now: i64,
    mode: Mode,
    churned: bool,
    value_of: impl Fn(&str) -> Option<f64>,
) -> Vec<Told<'a>> {
    let mut told = Vec::new();
    episodes.retain(|episode| model.config.rules.iter().any(|rule| rule.name == episode.rule));
    for rule in &model.config.rules {
        let place = match episodes.binary_search_by(|episode| episode.rule.cmp(&rule.name)) {
            Ok(place) => place,
            Err(place) => {
                episodes.insert(
                    place,
                    Episode {
                        rule: rule.name.clone(),
                        ..Episode::default()
                    },
                );
                place
            }
        };
        let episode = &mut episodes[place];
        let value = value_of(&rule.number);
        if let Some(change) = episode.step(rule, value, now, mode, churned) {
            let severity = if episode.is_critical {
                Severity::Critical
            } else {
                rule.severity
            };
            told.push(episode.tell(rule, account_id, change, severity, value));
        }
    }
    // An episode that was never open says nothing.
    episodes.retain(|episode| episode.number > 0);
    told
}

impl Episode {
    fn step(
        &mut self,
        rule: &Rule,
        value: Option<f64>,
        now: i64,
        mode: Mode,
        churned: bool,
    ) -> Option<Change> {
        if !self.is_open {
            let value = value?;
            if churned || !reached(rule, value, rule.open) || self.is_cooling(rule, now) {
                return None;
            }
            self.number += 1;
            self.is_open = true;
            self.is_announced = false;
            self.opened_at = now;
            self.resolved_at = 0;
            self.is_critical = is_critical(rule, value);
        } else if churned || value.is_some_and(|value| !beyond(rule, value, rule.clear)) {
            self.is_open = false;
            self.resolved_at = now;
            // Nobody need hear of the end of what nobody heard of.
            return self.is_announced.then_some(Change::Resolved);
        }

        let escalates = !self.is_critical && value.is_some_and(|value| is_critical(rule, value));
        self.is_critical |= escalates;
        if mode == Mode::Replay {
            return None;
        }
        if !self.is_announced {
            self.is_announced = true;
            return Some(Change::Opened);
        }
        escalates.then_some(Change::Escalated)
    }

    fn is_cooling(&self, rule: &Rule, now: i64) -> bool {
        let since = now.saturating_sub(self.resolved_at) as f64 / DAY_MS;
        self.number > 0 && since < rule.cooldown_days
    }

    fn tell<'a>(
        &self,
        rule: &'a Rule,
        account_id: &str,
        change: Change,
        severity: Severity,
        value: Option<f64>,
    ) -> Told<'a> {
        let episode_id = id("ep", &[account_id, &rule.name, &self.number.to_string()]);
        let alert_id = id(
            "al",
            &[account_id, &rule.name, &self.number.to_string(), change.as_str()],
        );
        Told {
            rule,
            change,
            severity,
            episode_id,
            alert_id,
            opened_at: self.opened_at,
            value,
        }
    }
}

/// Whether `value` is at `bound` or worse.
fn reached(rule: &Rule, value: f64, bound: f64) -> bool {
    if rule.open > rule.clear {
        value >= bound
    } else {
        value <= bound
    }
}

/// Whether `value` is worse than `bound`.
fn beyond(rule: &Rule, value: f64, bound: f64) -> bool {
    if rule.open > rule.clear {
        value > bound
    } else {
        value < bound
    }
}

fn is_critical(rule: &Rule, value: f64) -> bool {
    rule.severity == Severity::Critical || rule.escalate.is_some_and(|bound| reached(rule, value, bound))
}

/// An id that follows from its parts: a prefix and 32 hexadecimal digits.
fn id(prefix: &str, parts: &[&str]) -> String {
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_le_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    format!("{prefix}_{:032x}", xxh3_128(&text))
}

#[cfg(test)]
#[path = "episode_tests.rs"]
mod tests;
