use std::collections::HashSet;

use proptest::prelude::*;
use store::TRIPPED;

use super::*;
use crate::testing::alert;

const NOW: i64 = 1_795_309_323_000;
const HOUR: i64 = 3_600_000;

fn breaker(accounts: u64) -> Breaker {
    let mut breaker = Breaker::new(BreakerConfig::default());
    breaker.set_accounts(accounts);
    breaker
}

fn opening(account: usize, rule: &str, cause: &str) -> Opened {
    Opened {
        account_id: format!("a-{account}").into(),
        rule: rule.into(),
        cause: Some(cause.to_string()).filter(|cause| !cause.is_empty()),
    }
}

fn openings(accounts: std::ops::Range<usize>, rule: &str, cause: &str) -> Vec<Opened> {
    accounts.map(|account| opening(account, rule, cause)).collect()
}

fn hold(name: &str, since: i64) -> HoldRow {
    HoldRow {
        hold_id: format!("hd {name} {since}"),
        name: name.into(),
        status: TRIPPED.into(),
        since,
        at: since,
        accounts: 0,
        accounts_total: 0,
        destinations: Vec::new(),
        summary: String::new(),
        version: 0,
    }
}

#[test]
fn a_rule_trips_beyond_its_share_of_the_accounts_and_not_at_it() {
    let mut breaker = breaker(200);
    assert!(
        breaker
            .observe(&openings(0..40, "inactive", ""), Common::Rule, NOW)
            .is_empty()
    );
    // An account counts once, however often it opens.
    assert!(
        breaker
            .observe(&openings(0..40, "inactive", ""), Common::Rule, NOW + 1)
            .is_empty()
    );
    let over = breaker.observe(&openings(40..41, "inactive", ""), Common::Rule, NOW + 2);
    assert_eq!(over, ["rule:inactive"]);
    assert_eq!(breaker.count("rule:inactive"), 41);
    breaker.set_accounts(300);
    assert!(
        !breaker.is_over("rule:inactive"),
        "there are more accounts by now"
    );
}

#[test]
fn few_accounts_never_trip_it() {
    let mut breaker = breaker(10);
    assert!(
        breaker
            .observe(&openings(0..19, "inactive", ""), Common::Rule, NOW)
            .is_empty()
    );
    assert_eq!(
        breaker.observe(&openings(19..20, "inactive", ""), Common::Rule, NOW),
        ["rule:inactive"]
    );
}

#[test]
fn only_what_opened_within_the_window_counts() {
    let mut breaker = breaker(0);
    breaker.observe(&openings(0..19, "inactive", ""), Common::Rule, NOW);
    assert!(
        breaker
            .observe(&openings(19..20, "inactive", ""), Common::Rule, NOW + HOUR)
            .is_empty()
    );
    assert_eq!(breaker.count("rule:inactive"), 1);
    // Who opened again meanwhile counts from then on.
    breaker.observe(&openings(0..19, "inactive", ""), Common::Rule, NOW + HOUR + 1);
    assert_eq!(breaker.count("rule:inactive"), 20);
}

#[test]
fn one_cause_behind_several_rules_trips_too() {
    let mut breaker = breaker(100);
    let mut both = openings(0..15, "inactive", "logins_7d");
    both.extend(openings(15..30, "falling_usage", "logins_7d"));
    assert!(breaker.observe(&both, Common::Rule, NOW).is_empty());
    assert_eq!(breaker.observe(&both, Common::Cause, NOW), ["cause:logins_7d"]);
    breaker.trip(hold("cause:logins_7d", NOW));
    assert!(breaker.hold_of(&both[0]).is_some());
    assert!(breaker.hold_of(&opening(1, "inactive", "nps")).is_none());
    assert!(breaker.hold_of(&opening(1, "inactive", "")).is_none());
}

#[test]
fn what_a_rule_holds_does_not_count_for_its_cause() {
    let mut breaker = breaker(100);
    let flood = openings(0..30, "inactive", "logins_7d");
    assert_eq!(breaker.observe(&flood, Common::Rule, NOW), ["rule:inactive"]);
    breaker.trip(hold("rule:inactive", NOW));
    assert!(breaker.observe(&flood, Common::Cause, NOW).is_empty());
    assert_eq!(breaker.count("cause:logins_7d"), 0);
    assert_eq!(breaker.hold_of(&flood[0]).unwrap().name, "rule:inactive");
}

#[test]
fn after_a_hold_ends_the_counting_begins_anew() {
    let mut breaker = breaker(0);
    breaker.observe(&openings(0..20, "inactive", ""), Common::Rule, NOW);
    breaker.trip(hold("rule:inactive", NOW));
    assert!(
        breaker
            .observe(&openings(20..40, "inactive", ""), Common::Rule, NOW)
            .is_empty(),
        "it has tripped"
    );
    breaker.set_tripped([]);
    assert!(breaker.hold_of(&opening(1, "inactive", "")).is_none());
    assert!(
        breaker
            .observe(&openings(40..59, "inactive", ""), Common::Rule, NOW + 1)
            .is_empty()
    );
    assert_eq!(
        breaker.observe(&openings(59..60, "inactive", ""), Common::Rule, NOW + 2),
        ["rule:inactive"]
    );
}

#[test]
fn of_two_holds_of_one_name_the_older_is_in_force() {
    let mut breaker = breaker(0);
    breaker.set_tripped([hold("rule:x", NOW + 5), hold("rule:x", NOW), hold("rule:y", NOW)]);
    assert_eq!(breaker.hold_of(&opening(1, "x", "")).unwrap().since, NOW);
}

#[test]
fn what_was_told_before_a_start_counts() {
    let mut breaker = breaker(0);
    for account in 0..19i64 {
        breaker.seed("rule:inactive", &format!("a-{account}"), NOW - 20_000 + account);
    }
    breaker.seed("rule:inactive", "a-0", NOW - 500);
    assert_eq!(
        breaker.observe(&openings(19..20, "inactive", ""), Common::Rule, NOW),
        ["rule:inactive"]
    );
}

#[test]
fn one_that_is_off_trips_never_and_holds_nothing() {
    let mut breaker = Breaker::new(BreakerConfig {
        share: 0.0,
        ..BreakerConfig::default()
    });
    assert!(
        breaker
            .observe(&openings(0..500, "inactive", "nps"), Common::Rule, NOW)
            .is_empty()
    );
    breaker.set_tripped([hold("rule:inactive", NOW)]);
    assert!(breaker.hold_of(&opening(1, "inactive", "")).is_none());
}

#[test]
fn the_cause_is_the_input_of_the_first_driver() {
    let of = |payload: &str, change: &str| {
        let mut told = alert("acme", change, NOW);
        told.payload = payload.into();
        Opened::of(&told).map(|opened| opened.cause)
    };
    let drivers = r#"{"drivers":[{"input":"logins_7d","points":-3.5},{"input":"nps"}]}"#;
    assert_eq!(of(drivers, "opened"), Some(Some("logins_7d".to_string())));
    for without in [
        "",
        "{}",
        r#"{"drivers":[]}"#,
        r#"{"drivers":[{}]}"#,
        "nonsense",
        r#"{"drivers":7}"#,
    ] {
        assert_eq!(of(without, "opened"), Some(None), "{without}");
    }
    assert_eq!(of(drivers, "resolved"), None);
}

/// What happens to a breaker.
#[derive(Debug, Clone)]
enum Step {
    /// Openings come in one batch.
    Batch(Vec<(usize, usize, usize)>),
    Pass(i64),
    /// Somebody ends what has tripped of this number.
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0usize..60, 0usize..3, 0usize..3), 1..25).prop_map(Step::Batch),
        2 => (0i64..2 * HOUR).prop_map(Step::Pass),
        1 => (0usize..6).prop_map(Step::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in whatever batches: of no rule and no cause more accounts are told within the
    /// window than its share, or than always may be, and what is not told is held by a name of its own
    /// that has tripped.
    #[test]
    fn no_more_than_the_share_is_told(steps in prop::collection::vec(step(), 1..40), accounts in 1u64..120) {
        let mut breaker = breaker(accounts);
        breaker.config.min_accounts = 5;
        let most = (4.0f64).max(breaker.config.share * accounts as f64);
        let mut told: HashMap<String, Vec<(i64, Arc<str>)>> = HashMap::new();
        let mut now = NOW;
        for step in steps {
            match step {
                Step::Pass(ms) => now += ms,
                Step::End(which) => {
                    let name = breaker.tripped.keys().nth(which).cloned();
                    if let Some(name) = name {
                        let rest: Vec<HoldRow> =
                            breaker.tripped.values().filter(|hold| hold.name != name).cloned().collect();
                        breaker.set_tripped(rest);
                        told.remove(&name);
                    }
                }
                Step::Batch(batch) => {
                    let batch: Vec<Opened> = batch
                        .into_iter()
                        .map(|(account, rule, cause)| opening(account, &format!("r{rule}"), &format!("c{cause}")))
                        .collect();
                    for common in [Common::Rule, Common::Cause] {
                        for name in breaker.observe(&batch, common, now) {
                            breaker.trip(hold(&name, now));
                        }
                    }
                    for opening in &batch {
                        let names = [Common::Rule, Common::Cause].map(|common| opening.name(common).unwrap());
                        match breaker.hold_of(opening) {
                            Some(hold) => prop_assert!(names.contains(&hold.name)),
                            None => {
                                for name in names {
                                    told.entry(name).or_default().push((now, opening.account_id.clone()));
                                }
                            }
                        }
                    }
                }
            }
            for (name, told) in &told {
                let within: HashSet<&Arc<str>> = told
                    .iter()
                    .filter(|(at, _)| *at > now - HOUR)
                    .map(|(_, account)| account)
                    .collect();
                prop_assert!(within.len() as f64 <= most, "{} of {name}, at most {most}", within.len());
            }
        }
    }
}
