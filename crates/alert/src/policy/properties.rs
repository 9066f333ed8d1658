//! Whatever the routes, the rules and the changes are, and whatever becomes of them meanwhile.

use proptest::prelude::*;

use super::config::{RouteConfig, When};
use super::*;
use crate::testing::{alert, config_for};

const NAMES: [&str; 3] = ["one", "two", "three"];
const NOW: i64 = 1_795_780_800_000;

fn some(names: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(names, 0..=names.len())
        .prop_map(|names| names.into_iter().map(str::to_string).collect())
}

fn route() -> impl Strategy<Value = RouteConfig> {
    let when = prop::sample::select(vec![When::Now, When::WorkHours, When::Digest]);
    let lists = (
        some(&["warning", "critical"]),
        some(&["high", "low", "tech"]),
        some(&["call", "mail"]),
        some(&NAMES),
    );
    (lists, when, any::<bool>()).prop_map(|((severities, tiers, variants, destinations), when, goes_on)| {
        RouteConfig {
            severities,
            tiers,
            variants,
            destinations,
            when,
            r#continue: goes_on,
            ..RouteConfig::default()
        }
    })
}

/// A policy as it may stand at one time; unchecked, so that it may hold what is refused.
fn policy() -> impl Strategy<Value = Policy> {
    let telling = (any::<bool>(), 0.0..1.0f64, some(&["call", "mail"]));
    let telling = telling.prop_map(|(shadow, holdout, variants)| RuleTelling {
        shadow: shadow && holdout < 0.5,
        holdout: (holdout - 0.5).max(0.0),
        variants,
        message: None,
    });
    (prop::collection::vec(route(), 0..4), telling).prop_map(|(routes, telling)| {
        let mut policy = config_for(&NAMES).policy().unwrap();
        policy.routes = routes;
        policy.rules = BTreeMap::from([("login_drop".to_string(), telling)]);
        policy
    })
}

#[derive(Debug, Clone)]
struct Step {
    policy: Policy,
    kind: &'static str,
    severity: &'static str,
    tier: &'static str,
    later: i64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        policy(),
        prop::sample::select(vec!["escalated", "acknowledged"]),
        prop::sample::select(vec!["warning", "critical"]),
        prop::sample::select(vec!["high", "low", "tech"]),
        0i64..100_000_000,
    );
    let end = prop::sample::select(vec!["resolved", "retracted"]);
    (prop::collection::vec(step, 2..5), end).prop_map(|(steps, end)| {
        let last = steps.len() - 1;
        let kinds = move |position: usize, between: &'static str| match position {
            0 => "opened",
            _ if position == last => end,
            _ => between,
        };
        let numbered = steps.into_iter().enumerate();
        numbered
            .map(|(position, (policy, between, severity, tier, later))| Step {
                policy,
                kind: kinds(position, between),
                severity,
                tier,
                later,
            })
            .collect()
    })
}

/// The destinations that something is sent to, sooner or later.
fn reached(decided: &Decided) -> BTreeSet<Arc<str>> {
    let told = decided
        .decisions
        .iter()
        .filter(|decision| !matches!(decision.what, What::Record { .. }));
    told.map(|decision| Arc::clone(&decision.destination)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// The end of an episode reaches exactly those that anything before it has reached, each change is
    /// decided about once for each destination, and what was sent once is never put into a digest.
    #[test]
    fn an_opening_and_its_end_reach_the_same_destinations(steps in steps()) {
        let mut now = NOW;
        let mut earlier = Earlier::default();
        let mut told: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut sent: BTreeSet<Arc<str>> = BTreeSet::new();
        for step in steps {
            now += step.later;
            let change = AlertChange {
                severity: step.severity.into(),
                payload: format!(r#"{{"account":{{"tier":"{}"}}}}"#, step.tier),
                ..alert("acme", step.kind, now)
            };
            let decided = step.policy.decide(&change, Some(&earlier), now);
            let names: BTreeSet<&str> = decided.decisions.iter().map(|one| &*one.destination).collect();
            prop_assert_eq!(names.len(), decided.decisions.len(), "one decision for each");
            prop_assert!(!decided.decisions.is_empty(), "something is on record");
            let reached = reached(&decided);
            prop_assert!(told.is_subset(&reached), "whoever was told is told on");
            if step.kind != "opened" && step.kind != "escalated" {
                prop_assert_eq!(&reached, &told, "{} reaches nobody else", step.kind);
            }
            for decision in &decided.decisions {
                match &decision.what {
                    What::Send { not_before } => {
                        prop_assert!(!decision.destination.is_empty());
                        prop_assert!(not_before.is_none_or(|at| at > now));
                        sent.insert(Arc::clone(&decision.destination));
                    }
                    What::Digest => prop_assert!(!sent.contains(&decision.destination)),
                    What::Record { .. } => {}
                }
            }
            told.extend(reached);
            earlier.add_decided(&decided);
        }
    }
}
