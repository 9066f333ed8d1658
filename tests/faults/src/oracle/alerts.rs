//! Every change of an alert in the table was told, under one id; whoever drops ids that it has had hears
//! of each change once, and in order.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::Problems;
use crate::cluster::Sql;
use crate::receiver::Webhook;
use crate::sent::account_id;

/// A row of `alerts`.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    /// Of the change; the `webhook-id`.
    pub alert_id: String,
    /// Of the episode.
    pub episode_id: String,
    /// Whom it is about.
    pub account_id: String,
    /// The rule.
    pub rule: String,
    /// opened, escalated, resolved or retracted.
    pub change: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// What the table holds.
pub async fn read(sql: &Sql) -> anyhow::Result<Vec<Alert>> {
    let columns = "alert_id, episode_id, account_id, toString(rule), toString(change)";
    sql.rows(&format!(
        "SELECT {columns}, toUnixTimestamp64Milli(at) FROM alerts ORDER BY at"
    ))
    .await
}

/// Accounts with an episode of this rule that is open.
pub fn open(alerts: &[Alert], rule: &str) -> HashSet<String> {
    let mut ended: HashMap<&str, bool> = HashMap::new();
    for alert in alerts.iter().filter(|alert| alert.rule == rule) {
        *ended.entry(&alert.episode_id).or_default() |= is_end(&alert.change);
    }
    let open = alerts
        .iter()
        .filter(|alert| ended.get(alert.episode_id.as_str()) == Some(&false));
    open.map(|alert| alert.account_id.clone()).collect()
}

fn is_end(change: &str) -> bool {
    change == "resolved" || change == "retracted"
}

/// What was told.
#[derive(Debug, Default, Serialize)]
pub struct Told {
    /// Changes in the table.
    pub changes: u64,
    /// Episodes in the table.
    pub episodes: u64,
    /// Episodes that have ended.
    pub ended: u64,
    /// Requests that the receiver accepted.
    pub webhooks: u64,
    /// Requests that it refused, as it does now and then.
    pub refused: u64,
    /// Accepted requests that a receiver drops, because it has had their id.
    pub doubles_dropped: u64,
}

/// Compares the table with what was received, and both with the tickets that are open in truth.
pub fn check(
    alerts: &[Alert],
    webhooks: &HashMap<String, Webhook>,
    rule: &str,
    left_open: &[u32],
    problems: &mut Problems,
) -> Told {
    for alert in alerts {
        match webhooks.get(&alert.alert_id) {
            Some(webhook) if webhook.accepted > 0 => {
                let is_same = webhook.episode_id == alert.episode_id && webhook.change == alert.change;
                problems.check(is_same, "webhooks that say something else than the table", || {
                    format!("{webhook:?} of {alert:?}")
                });
            }
            _ => problems.add("changes that were never told", format!("{alert:?}")),
        }
    }
    let mut told = check_table(alerts, rule, left_open, problems);
    for changes in episodes(alerts).values() {
        check_order(changes, webhooks, problems);
    }

    let in_table: HashSet<&str> = alerts.iter().map(|alert| alert.alert_id.as_str()).collect();
    let mut ids: HashMap<(&str, &str), &str> = HashMap::new();
    for (id, webhook) in webhooks {
        told.webhooks += webhook.accepted;
        told.refused += webhook.refused;
        told.doubles_dropped += webhook.accepted.saturating_sub(1);
        problems.check(
            in_table.contains(id.as_str()),
            "webhooks that the table does not know",
            || format!("{id}: {webhook:?}"),
        );
        let other = ids.insert((&webhook.episode_id, &webhook.change), id);
        if let Some(other) = other {
            problems.add(
                "changes told under two ids",
                format!("{id} and {other}: {webhook:?}"),
            );
        }
    }
    told
}

/// Compares the table with itself and with the tickets that are open in truth; counts what it holds.
pub fn check_table(alerts: &[Alert], rule: &str, left_open: &[u32], problems: &mut Problems) -> Told {
    let episodes = episodes(alerts);
    let mut told = Told {
        changes: alerts.len() as u64,
        episodes: episodes.len() as u64,
        ..Told::default()
    };
    for changes in episodes.values() {
        check_episode(changes, problems);
        told.ended += u64::from(changes.iter().any(|alert| is_end(&alert.change)));
    }
    check_overlaps(&episodes, problems);

    let open = open(alerts, rule);
    let expected: HashSet<String> = left_open.iter().map(|account| account_id(*account)).collect();
    for account in expected.difference(&open) {
        problems.add("open tickets without an open episode", account.clone());
    }
    for account in open.difference(&expected) {
        problems.add("open episodes without an open ticket", account.clone());
    }
    told
}

/// The changes of each episode, in the order in which they are to be told.
pub fn episodes(alerts: &[Alert]) -> BTreeMap<&str, Vec<&Alert>> {
    let mut episodes: BTreeMap<&str, Vec<&Alert>> = BTreeMap::new();
    for alert in alerts {
        episodes.entry(&alert.episode_id).or_default().push(alert);
    }
    for changes in episodes.values_mut() {
        changes.sort_by_key(|alert| rank(&alert.change));
    }
    episodes
}

fn rank(change: &str) -> u8 {
    match change {
        "opened" => 0,
        "escalated" => 1,
        _ => 2,
    }
}

/// The changes of one episode: opened once, then perhaps worse, ended at most once.
fn check_episode(changes: &[&Alert], problems: &mut Problems) {
    for pair in changes.windows(2) {
        problems.check(
            rank(&pair[0].change) != rank(&pair[1].change),
            "changes that are in the table twice",
            || format!("{:?} and {:?}", pair[0], pair[1]),
        );
        problems.check(
            pair[0].at <= pair[1].at,
            "changes that happened in the wrong order",
            || format!("{:?} and {:?}", pair[0], pair[1]),
        );
    }
    let opens = changes.iter().any(|alert| alert.change == "opened");
    problems.check(opens, "episodes that never opened", || format!("{changes:?}"));
}

/// The changes of one episode were told in their order.
fn check_order(changes: &[&Alert], webhooks: &HashMap<String, Webhook>, problems: &mut Problems) {
    for pair in changes.windows(2) {
        let place = |alert: &Alert| webhooks.get(&alert.alert_id).map(|webhook| webhook.place);
        problems.check(
            place(pair[0]) <= place(pair[1]),
            "changes that were told in the wrong order",
            || format!("{:?} and {:?}", pair[0], pair[1]),
        );
    }
}

/// Of one account and rule an episode opens only when the one before has ended: an end that got lost
/// shows here.
fn check_overlaps(episodes: &BTreeMap<&str, Vec<&Alert>>, problems: &mut Problems) {
    let mut of_rule: BTreeMap<(&str, &str), Vec<&Vec<&Alert>>> = BTreeMap::new();
    for changes in episodes.values() {
        let key = (changes[0].account_id.as_str(), changes[0].rule.as_str());
        of_rule.entry(key).or_default().push(changes);
    }
    for mut episodes in of_rule.into_values() {
        episodes.sort_by_key(|changes| changes[0].at);
        for pair in episodes.windows(2) {
            let ended = pair[0].iter().any(|alert| is_end(&alert.change));
            problems.check(
                ended,
                "episodes that never ended though the next one opened",
                || format!("{:?} before {:?}", pair[0], pair[1]),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::Webhook;

    fn alert(id: &str, episode: &str, change: &str, at: i64) -> Alert {
        Alert {
            alert_id: id.into(),
            episode_id: episode.into(),
            account_id: account_id(1),
            rule: "open_ticket".into(),
            change: change.into(),
            at,
        }
    }

    fn told(alerts: &[Alert]) -> HashMap<String, Webhook> {
        let webhooks = alerts.iter().enumerate().map(|(place, alert)| {
            let webhook = Webhook::accepted_once(&alert.episode_id, &alert.change, place as u64 + 1);
            (alert.alert_id.clone(), webhook)
        });
        webhooks.collect()
    }

    fn problems(alerts: &[Alert], webhooks: &HashMap<String, Webhook>, left_open: &[u32]) -> String {
        let mut problems = Problems::default();
        check(alerts, webhooks, "open_ticket", left_open, &mut problems);
        problems.to_string()
    }

    #[test]
    fn what_was_told_once_and_in_order_is_no_problem() {
        let alerts = [
            alert("a", "1", "opened", 1),
            alert("b", "1", "escalated", 2),
            alert("c", "1", "resolved", 3),
            alert("d", "2", "opened", 4),
        ];
        let mut webhooks = told(&alerts);
        assert_eq!(problems(&alerts, &webhooks, &[1]), "");
        let twice = webhooks.get_mut("b").expect("it was told");
        twice.accepted = 2;
        assert_eq!(problems(&alerts, &webhooks, &[1]), "", "a receiver drops it");
    }

    #[test]
    fn gaps_doubles_and_a_wrong_order_are_found() {
        let alerts = [alert("a", "1", "opened", 1), alert("b", "1", "resolved", 2)];
        let all = told(&alerts);

        let mut missing = all.clone();
        missing.remove("b");
        assert!(problems(&alerts, &missing, &[]).contains("never told"));

        let mut refused = all.clone();
        refused.get_mut("b").expect("it was told").accepted = 0;
        assert!(problems(&alerts, &refused, &[]).contains("never told"));

        let mut second_id = all.clone();
        second_id.insert("c".into(), Webhook::accepted_once("1", "resolved", 3));
        let told = problems(&alerts, &second_id, &[]);
        assert!(
            told.contains("under two ids") && told.contains("does not know"),
            "{told}"
        );

        let mut swapped = all.clone();
        swapped.get_mut("a").expect("it was told").place = 9;
        assert!(problems(&alerts, &swapped, &[]).contains("wrong order"));

        let twice = [
            alerts[0].clone(),
            alerts[1].clone(),
            alert("c", "1", "resolved", 3),
        ];
        assert!(problems(&twice, &all, &[]).contains("twice"));
        assert!(problems(&alerts[1..], &all, &[]).contains("never opened"));
        assert!(problems(&alerts, &all, &[1]).contains("without an open episode"));
        assert!(problems(&alerts[..1], &all, &[]).contains("without an open ticket"));

        let next = [alerts[0].clone(), alert("d", "2", "opened", 3)];
        assert!(problems(&next, &all, &[1]).contains("never ended"));
    }
}
