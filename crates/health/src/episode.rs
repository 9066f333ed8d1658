//! Alert episodes: a rule's trouble with an account, from its opening to its end.
//!
//! What holds: an account has at most one open episode a rule; the ids follow from the account, the
//! rule and the episode's number, never from a clock; an episode that opened while history was
//! replayed is announced only if it is still open when the account is evaluated live, so that nobody
//! is told of a past that is over; and nobody is told of the end of what nobody was told of.
//!
//! People answer what they were told of. That somebody sees to an episode is told once. While it is
//! snoozed nobody hears that it got worse. One that a person ended is over, and its rule opens no other
//! before the trouble has once been gone.

use std::collections::BTreeMap;

use event::Event;
use xxhash_rust::xxh3::xxh3_128;

use crate::action::{Action, Kind, Words};
use crate::rules::{Facts, Rule, Severity, find};
use crate::stage::Stage;
use crate::stamped::{Number, is_stated_time, number};

const DAY_MS: f64 = 86_400_000.0;

/// The newest episode of a rule, as it is saved.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Episode {
    #[prost(string, tag = "1")]
    rule: String,
    /// Counts the rule's episodes of the account from 1; 0 while `when` has not held for long enough
    /// to open the first.
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
    /// When it ended, milliseconds; 0 while it is open.
    #[prost(sint64, tag = "7")]
    resolved_at: i64,
    /// For how many evaluations on end `when` has held without an episode; counts no further than the
    /// rule's `hold`.
    #[prost(uint32, tag = "8")]
    held: u32,
    /// Whether it ended because it should not have been: then nothing has to cool.
    #[prost(bool, tag = "9")]
    is_retracted: bool,
    /// When somebody said that he sees to it, milliseconds; 0 while nobody has.
    #[prost(sint64, tag = "10")]
    acknowledged_at: i64,
    /// Until when nobody is told that it got worse, milliseconds.
    #[prost(message, optional, tag = "11")]
    snoozed_until: Option<Number>,
    /// An acknowledgement that has not been told yet.
    #[prost(message, optional, tag = "12")]
    acknowledging: Option<Words>,
    /// A person's word that it is over, which has not been told yet.
    #[prost(message, optional, tag = "13")]
    resolving: Option<Words>,
    /// Whether a person ended it while the trouble lasted: the rule opens no other before it was gone.
    #[prost(bool, tag = "14")]
    waits_for_clear: bool,
}

/// Whether the evaluation speaks of now or of a past that is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Of now: what has changed is told.
    Live,
    /// Of now, but events of now may be on their way: what rules of absence found is kept for later,
    /// save the end of what was told before.
    Lagging,
    /// Of the past, or of a present that is not fully known yet: nothing is told but the end of what
    /// was told before.
    Replay,
}

impl Mode {
    fn is_quiet_about(self, rule: &Rule) -> bool {
        match self {
            Mode::Live => false,
            Mode::Lagging => rule.absence,
            Mode::Replay => true,
        }
    }
}

/// An episode that was told and is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenEpisode<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// When it opened, milliseconds.
    pub opened_at: i64,
}

/// What happened to an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    Escalated,
    Acknowledged,
    Resolved,
    Retracted,
}

impl Change {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Change::Opened => "opened",
            Change::Escalated => "escalated",
            Change::Acknowledged => "acknowledged",
            Change::Resolved => "resolved",
            Change::Retracted => "retracted",
        }
    }
}

/// A change that is to be told.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) change: Change,
    pub(crate) severity: Severity,
    pub(crate) episode_id: String,
    pub(crate) alert_id: String,
    pub(crate) opened_at: i64,
    /// What the person said whose action it was, …
    pub(crate) action: Option<Words>,
    /// … and until when the episode is snoozed, milliseconds.
    pub(crate) snoozed_until: Option<i64>,
}

/// What a step did.
#[derive(Debug, Default)]
pub(crate) struct Stepped<'a> {
    pub(crate) told: Vec<Told<'a>>,
    /// Whether any episode differs from before, told or not.
    pub(crate) moved: bool,
}

/// Brings the episodes, which are in the order of their rules, up to `now`. Episodes of rules that are
/// in force no more are forgotten; those of rules that do not watch the account's tier, and all of an
/// account that has churned, end.
pub(crate) fn step<'a>(
    episodes: &mut Vec<Episode>,
    account_id: &str,
    rules: &'a [Rule],
    facts: &Facts<'_>,
    now: i64,
    mode: Mode,
) -> Stepped<'a> {
    let mut stepped = Stepped::default();
    let before = episodes.len();
    episodes.retain(|episode| find(rules, &episode.rule).is_some());
    stepped.moved = episodes.len() != before;
    let churned = facts.stage == Stage::Churned;
    for rule in rules {
        let is_watched = !churned && rule.watches(facts.tier);
        let place = episodes.binary_search_by(|episode| episode.rule.cmp(&rule.name));
        let place = match place {
            Ok(place) => place,
            // Most rules have no episode of most accounts.
            Err(_) if !is_watched || rule.holds(facts) != Some(true) => continue,
            Err(place) => {
                episodes.insert(place, Episode::none_yet(rule));
                place
            }
        };
        let episode = &mut episodes[place];
        let standing = episode.standing();
        if let Some(words) = episode.acknowledging.take() {
            let told = episode.tell(rule, account_id, now, Change::Acknowledged, Some(words));
            stepped.told.push(told);
            stepped.moved = true;
        }
        let words = episode.resolving.clone();
        let change = episode.step(rule, facts, now, mode, is_watched);
        stepped.moved |= episode.standing() != standing;
        if let Some(change) = change {
            let words = words.filter(|_| change == Change::Resolved);
            let told = episode.tell(rule, account_id, now, change, words);
            stepped.told.push(told);
        }
    }
    // Of a rule that has never opened there is nothing to keep once `when` no longer holds.
    episodes.retain(|episode| episode.number > 0 || episode.held > 0);
    stepped
}

/// Ends the announced open episodes that `should_have_opened` denies, given the rule's name and when
/// it opened; those of which it knows nothing stay.
pub(crate) fn retract<'a>(
    episodes: &mut [Episode],
    account_id: &str,
    rules: &'a [Rule],
    now: i64,
    should_have_opened: impl Fn(&str, i64) -> Option<bool>,
) -> Vec<Told<'a>> {
    let mut told = Vec::new();
    for episode in episodes.iter_mut().filter(|episode| episode.is_told()) {
        let Some(rule) = find(rules, &episode.rule) else {
            continue;
        };
        if should_have_opened(&episode.rule, episode.opened_at) == Some(false) {
            episode.end(now);
            episode.is_retracted = true;
            told.push(episode.tell(rule, account_id, now, Change::Retracted, None));
        }
    }
    told
}

/// The episodes that were told and are still open.
pub(crate) fn open(episodes: &[Episode]) -> impl Iterator<Item = OpenEpisode<'_>> {
    let open = episodes.iter().filter(|episode| episode.is_told());
    open.map(|episode| OpenEpisode {
        rule: &episode.rule,
        opened_at: episode.opened_at,
    })
}

/// Does to the open episode that an action names what it says; returns whether there is such a one. What
/// people were not told of they cannot answer.
pub(crate) fn act(episodes: &mut [Episode], account_id: &str, action: Action) -> bool {
    let mut told = episodes.iter_mut().filter(|episode| episode.is_told());
    let Some(episode) = told.find(|episode| episode.id(account_id) == action.episode_id) else {
        return false;
    };
    match action.kind {
        Kind::Acknowledge if episode.acknowledged_at == 0 => {
            episode.acknowledged_at = action.stamp.at;
            episode.acknowledging = Some(action.words);
        }
        Kind::Acknowledge => {}
        Kind::Snooze { until } => {
            Number::replace(&mut episode.snoozed_until, Some(until), action.stamp);
        }
        Kind::Resolve => {
            episode.resolving.get_or_insert(action.words);
        }
    }
    true
}

/// The same when the episodes were recalled from what was told of them: one that is over may have been
/// ended by this action.
pub(crate) fn act_again(episodes: &mut [Episode], account_id: &str, action: Action) {
    if action.kind == Kind::Resolve
        && let Some(ended) = episodes.iter_mut().find(|episode| {
            let is_over = !episode.is_open && !episode.is_retracted;
            is_over && episode.id(account_id) == action.episode_id
        })
    {
        ended.waits_for_clear |= action.stamp.at <= ended.resolved_at;
        return;
    }
    act(episodes, account_id, action);
}

/// When the first snooze of an open episode ends after `now`, milliseconds.
pub(crate) fn next_wake(episodes: &[Episode], now: i64) -> Option<i64> {
    let open = episodes.iter().filter(|episode| episode.is_told());
    open.filter_map(|episode| episode.snoozed_until(now)).min()
}

/// Takes over the episodes of `lived`, the account's history lived again, where the account has none of
/// the rule or nobody was told of any yet.
pub(crate) fn adopt(episodes: &mut Vec<Episode>, lived: &[Episode]) {
    for past in lived {
        match episodes.binary_search_by(|episode| episode.rule.cmp(&past.rule)) {
            Ok(place) => {
                let own = &mut episodes[place];
                let was_told = own.is_announced || own.number > 1 || own.resolved_at != 0;
                // What opened just now is what the history may have been saying for long.
                if !was_told && (past.is_open || !own.is_open) {
                    *own = past.clone();
                }
            }
            Err(place) => episodes.insert(place, past.clone()),
        }
    }
}

/// Numbers of a rule's episodes among which that of a told one is looked for.
const MOST_EPISODES: u32 = 100_000;

/// A change that was told, as whoever was told of it knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldChange {
    /// The episode's id.
    pub episode_id: String,
    /// The rule's name.
    pub rule: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// `opened`, `escalated`, `acknowledged`, `resolved` or `retracted`.
    pub change: String,
    /// When the change was found, milliseconds.
    pub at: i64,
    /// When the episode opened, milliseconds, where the change says so.
    pub opened_at: Option<i64>,
}

/// The newest episode of each rule, in the order of the rules, as it follows from what was told of it.
pub(crate) fn recall(account_id: &str, changes: &[ToldChange]) -> Vec<Episode> {
    let mut told: BTreeMap<&str, BTreeMap<&str, Vec<&ToldChange>>> = BTreeMap::new();
    for change in changes {
        let of_rule = told.entry(&change.rule).or_default();
        of_rule.entry(&change.episode_id).or_default().push(change);
    }
    let newest = told.into_iter().filter_map(|(rule, mut episodes)| {
        // An id does not give its number away, but the numbers are small.
        let mut newest = None;
        for number in 1..=MOST_EPISODES {
            if let Some(changes) = episodes.remove(episode_id(account_id, rule, number).as_str()) {
                newest = Some((number, changes));
            }
            if episodes.is_empty() {
                break;
            }
        }
        let (number, changes) = newest?;
        Some(Episode::told(rule, number, &changes))
    });
    newest.collect()
}

/// Puts the episodes in the order of their rules.
pub(crate) fn sort(episodes: &mut [Episode]) {
    episodes.sort_by(|one, other| one.rule.cmp(&other.rule));
}

/// Whether the episodes can have come to be so, which a state that was read must prove.
pub(crate) fn are_sound(episodes: &[Episode]) -> bool {
    let can_be = |episode: &Episode| {
        let times = [episode.opened_at, episode.resolved_at, episode.acknowledged_at];
        let is_snooze = episode.snoozed_until.as_ref().is_none_or(Number::is_sound)
            && is_stated_time(&episode.snoozed_until);
        times.iter().all(|at| Event::TIMES.contains(at)) && episode.number < u32::MAX && is_snooze
    };
    episodes.is_sorted_by(|one, other| one.rule < other.rule) && episodes.iter().all(can_be)
}

impl Episode {
    /// The episode of which these changes were told.
    fn told(rule: &str, number: u32, changes: &[&ToldChange]) -> Episode {
        let ends = ["resolved", "retracted"];
        let end = changes
            .iter()
            .find(|change| ends.contains(&change.change.as_str()));
        let acknowledged = changes.iter().find(|change| change.change == "acknowledged");
        let opened_at = changes.iter().map(|change| change.opened_at.unwrap_or(change.at));
        Episode {
            rule: rule.to_string(),
            number,
            is_open: end.is_none(),
            is_announced: true,
            is_critical: changes.iter().any(|change| change.severity == "critical"),
            opened_at: opened_at.min().unwrap_or(0),
            resolved_at: end.map_or(0, |end| end.at),
            held: 0,
            is_retracted: end.is_some_and(|end| end.change == "retracted"),
            acknowledged_at: acknowledged.map_or(0, |change| change.at),
            ..Episode::default()
        }
    }

    fn none_yet(rule: &Rule) -> Episode {
        Episode {
            rule: rule.name.clone(),
            ..Episode::default()
        }
    }

    fn is_told(&self) -> bool {
        self.is_open && self.is_announced
    }

    /// Until when it is snoozed, milliseconds, if it is at `now`.
    fn snoozed_until(&self, now: i64) -> Option<i64> {
        let until = number(&self.snoozed_until)? as i64;
        (until > now).then_some(until)
    }

    /// All of it that a step can change without opening or ending it.
    fn standing(&self) -> (u32, bool, bool, bool, u32, bool) {
        (
            self.number,
            self.is_open,
            self.is_announced,
            self.is_critical,
            self.held,
            self.waits_for_clear,
        )
    }

    fn step(
        &mut self,
        rule: &Rule,
        facts: &Facts<'_>,
        now: i64,
        mode: Mode,
        is_watched: bool,
    ) -> Option<Change> {
        if !self.is_open {
            self.waits_for_clear &= is_watched && !rule.is_clear(facts);
            if !is_watched || self.waits_for_clear || rule.holds(facts) != Some(true) {
                self.held = 0;
                return None;
            }
            self.held = self.held.saturating_add(1).min(rule.hold);
            if self.held < rule.hold || self.is_cooling(rule, now) {
                return None;
            }
            self.open(now);
        } else if !is_watched || self.resolving.is_some() || rule.is_clear(facts) {
            self.waits_for_clear = is_watched && !rule.is_clear(facts);
            self.end(now);
            return self.is_announced.then_some(Change::Resolved);
        }

        let escalates = !self.is_critical && rule.is_critical(facts);
        if !self.is_announced {
            self.is_critical |= escalates;
            if mode.is_quiet_about(rule) {
                return None;
            }
            self.is_announced = true;
            return Some(Change::Opened);
        }
        // An escalation that cannot be told now is found again later, if it lasts.
        if !escalates || mode.is_quiet_about(rule) || self.snoozed_until(now).is_some() {
            return None;
        }
        self.is_critical = true;
        Some(Change::Escalated)
    }

    fn open(&mut self, now: i64) {
        *self = Episode {
            rule: std::mem::take(&mut self.rule),
            number: self.number + 1,
            is_open: true,
            opened_at: now,
            ..Episode::default()
        };
    }

    fn end(&mut self, now: i64) {
        self.is_open = false;
        self.resolved_at = now;
        self.acknowledging = None;
        self.resolving = None;
        self.snoozed_until = None;
    }

    fn is_cooling(&self, rule: &Rule, now: i64) -> bool {
        let since = now.saturating_sub(self.resolved_at) as f64 / DAY_MS;
        self.number > 0 && !self.is_retracted && since < rule.cooldown_days
    }

    fn id(&self, account_id: &str) -> String {
        episode_id(account_id, &self.rule, self.number)
    }

    fn tell<'a>(
        &self,
        rule: &'a Rule,
        account_id: &str,
        now: i64,
        change: Change,
        action: Option<Words>,
    ) -> Told<'a> {
        let number = self.number.to_string();
        Told {
            rule,
            change,
            severity: if self.is_critical {
                Severity::Critical
            } else {
                rule.severity
            },
            episode_id: self.id(account_id),
            alert_id: id("al", &[account_id, &rule.name, &number, change.as_str()]),
            opened_at: self.opened_at,
            action,
            snoozed_until: self.snoozed_until(now),
        }
    }
}

/// The id of an account's episode of a rule, which are numbered from 1.
pub fn episode_id(account_id: &str, rule: &str, number: u32) -> String {
    id("ep", &[account_id, rule, &number.to_string()])
}

/// An id that follows from its parts: a prefix and 32 hexadecimal digits.
pub(crate) fn id(prefix: &str, parts: &[&str]) -> String {
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
