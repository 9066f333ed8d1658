//! Which rules and causes would alert about so many accounts at once that a person has to look first.
//!
//! Counts the distinct accounts whose episodes opened within the window, by rule and by cause, and
//! decides nothing else: time is a parameter, and what has tripped is kept by whoever asks. What it
//! keeps true:
//!
//! - Openings are counted before any of them is told, a batch as a whole, so that of a rule or cause no
//!   more accounts are told within the window than its share and what had been told before.
//! - A rule is looked at before its causes: an opening that its rule holds is told to nobody, so it does
//!   not count for its cause.
//! - What has tripped counts no further. When it ends, its counting begins anew.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use health::AlertChange;
use serde::{Deserialize, Serialize};
use store::HoldRow;

/// Section `[alert.breaker]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// The share of the accounts, from 0 to 1, of which one rule, or one cause (the input of the
    /// strongest driver), may open alerts within the window; beyond it one summary goes out in place of
    /// the alerts. 0 is off. Default 0.2.
    pub share: f64,
    /// Fewer accounts than this never trip it. Default 20.
    pub min_accounts: u32,
    /// The window, in minutes. Default 60.
    pub window_minutes: f64,
}

impl Default for BreakerConfig {
    fn default() -> BreakerConfig {
        BreakerConfig {
            share: 0.2,
            min_accounts: 20,
            window_minutes: 60.0,
        }
    }
}

impl BreakerConfig {
    /// The field that cannot be used, and what would be right.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        if !(0.0..=1.0).contains(&self.share) {
            return Some(("breaker.share", "must be from 0 (off) to 1"));
        }
        if self.min_accounts == 0 {
            return Some(("breaker.min_accounts", "must be over 0"));
        }
        if !(1.0..=10_080.0).contains(&self.window_minutes) {
            return Some(("breaker.window_minutes", "must be from 1 to 10080 (a week)"));
        }
        None
    }

    pub(crate) fn window_ms(&self) -> i64 {
        // Whole milliseconds of at most a week.
        (self.window_minutes * 60_000.0) as i64
    }
}

/// What openings have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Common {
    Rule,
    Cause,
}

/// What the breaker reads of an opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub account_id: Arc<str>,
    pub rule: String,
    /// `None` when there is no driver.
    pub cause: Option<String>,
}

impl Opened {
    /// `None` when `change` opens nothing.
    pub fn of(change: &AlertChange) -> Option<Opened> {
        (change.change == "opened").then(|| Opened {
            account_id: change.account_id.as_str().into(),
            rule: change.rule.clone(),
            cause: cause(&change.payload),
        })
    }

    /// The name under which it is counted.
    pub fn name(&self, common: Common) -> Option<String> {
        match common {
            Common::Rule => Some(format!("rule:{}", self.rule)),
            Common::Cause => self.cause.as_ref().map(|input| format!("cause:{input}")),
        }
    }
}

/// The input of the strongest driver that a payload names.
fn cause(payload: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Payload {
        #[serde(default)]
        drivers: Vec<Driver>,
    }
    #[derive(Deserialize)]
    struct Driver {
        #[serde(default)]
        input: String,
    }
    let read: Payload = serde_json::from_str(payload).ok()?;
    let first = read.drivers.into_iter().next()?;
    (!first.input.is_empty()).then_some(first.input)
}

/// The accounts of one name.
#[derive(Debug, Default)]
struct Seen {
    newest: HashMap<Arc<str>, i64>,
    /// By time; an account may be there more than once.
    order: VecDeque<(i64, Arc<str>)>,
}

impl Seen {
    fn add(&mut self, account_id: &Arc<str>, at: i64) {
        let newest = self.newest.entry(Arc::clone(account_id)).or_insert(i64::MIN);
        if *newest < at {
            *newest = at;
            self.order.push_back((at, Arc::clone(account_id)));
        }
    }

    fn forget_before(&mut self, oldest: i64) {
        while let Some((at, account_id)) = self.order.front()
            && *at <= oldest
        {
            if self.newest.get(account_id) == Some(at) {
                self.newest.remove(account_id);
            }
            self.order.pop_front();
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    /// Accounts that are watched over.
    accounts: u64,
    seen: HashMap<String, Seen>,
    tripped: BTreeMap<String, HoldRow>,
}

impl Breaker {
    pub fn new(config: BreakerConfig) -> Breaker {
        Breaker {
            config,
            accounts: 0,
            seen: HashMap::new(),
            tripped: BTreeMap::new(),
        }
    }

    pub fn is_on(&self) -> bool {
        self.config.share > 0.0
    }

    pub fn window_ms(&self) -> i64 {
        self.config.window_ms()
    }

    pub fn config(&self) -> &BreakerConfig {
        &self.config
    }

    pub fn accounts(&self) -> u64 {
        self.accounts
    }

    pub fn set_accounts(&mut self, accounts: u64) {
        self.accounts = accounts;
    }

    /// Counts openings under what they have `common`, and says which names are over the limit now.
    pub fn observe(&mut self, openings: &[Opened], common: Common, now: i64) -> Vec<String> {
        if !self.is_on() {
            return Vec::new();
        }
        let mut names = Vec::new();
        for opening in openings {
            let Some(name) = opening.name(common) else {
                continue;
            };
            let is_held = self.hold_of(opening).is_some();
            if is_held || self.tripped.contains_key(&name) {
                continue;
            }
            self.seen
                .entry(name.clone())
                .or_default()
                .add(&opening.account_id, now);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        self.forget_before(now - self.window_ms());
        names.retain(|name| self.is_over(name));
        names
    }

    /// Counts an opening that was told at `at`; those of a name come by time.
    pub fn seed(&mut self, name: &str, account_id: &str, at: i64) {
        if self.is_on() && !self.tripped.contains_key(name) {
            let seen = self.seen.entry(name.to_string()).or_default();
            seen.add(&account_id.into(), at);
        }
    }

    /// Whether more accounts than its share, and enough of them, opened under this name.
    pub fn is_over(&self, name: &str) -> bool {
        let count = self.count(name);
        count >= self.config.min_accounts as usize && count as f64 > self.config.share * self.accounts as f64
    }

    /// The accounts that opened under this name within the window.
    pub fn count(&self, name: &str) -> usize {
        self.seen.get(name).map_or(0, |seen| seen.newest.len())
    }

    /// From now on everything of the hold's name is held.
    pub fn trip(&mut self, hold: HoldRow) {
        self.seen.remove(&hold.name);
        self.tripped.insert(hold.name.clone(), hold);
    }

    /// Exactly these holds are in force. Of those of one name the oldest counts; the counting of what is
    /// in force no more begins anew.
    pub fn set_tripped(&mut self, holds: impl IntoIterator<Item = HoldRow>) {
        let before = std::mem::take(&mut self.tripped);
        for hold in holds {
            let is_older = self
                .tripped
                .get(&hold.name)
                .is_none_or(|known| (hold.since, &hold.hold_id) < (known.since, &known.hold_id));
            if is_older {
                self.trip(hold);
            }
        }
        for name in before.into_keys() {
            if !self.tripped.contains_key(&name) {
                self.seen.remove(&name);
            }
        }
    }

    /// Forgets what was counted; what has tripped stays.
    pub fn start_anew(&mut self) {
        self.seen.clear();
    }

    /// What holds this opening back, its rule before its cause.
    pub fn hold_of(&self, opening: &Opened) -> Option<&HoldRow> {
        if !self.is_on() {
            return None;
        }
        [Common::Rule, Common::Cause]
            .into_iter()
            .filter_map(|common| opening.name(common))
            .find_map(|name| self.tripped.get(&name))
    }

    fn forget_before(&mut self, oldest: i64) {
        self.seen.retain(|_, seen| {
            seen.forget_before(oldest);
            !seen.newest.is_empty()
        });
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
