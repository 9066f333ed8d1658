use super::config::WorkHoursConfig;
use super::*;
use crate::testing::{alert, config_for};

/// A Friday at noon, and the same evening, in UTC.
const NOON: i64 = 1_795_780_800_000;
const EVENING: i64 = NOON + 8 * 3_600_000;
/// The Monday after it, 09:00.
const MONDAY: i64 = NOON + (3 * 24 - 3) * 3_600_000;

fn policy(toml_like: serde_json::Value) -> Policy {
    config(toml_like).policy().unwrap()
}

/// Destinations `owner`, `digest`, `robot` and `pager`, and what the value says.
fn config(value: serde_json::Value) -> crate::Config {
    let mut config: crate::Config = serde_json::from_value(value).unwrap();
    config.destinations = config_for(&["owner", "digest", "robot", "pager"]).destinations;
    config
}

fn refused(value: serde_json::Value) -> String {
    config(value).policy().unwrap_err().to_string()
}

/// The routes of docs/routing.md.
fn by_tier() -> serde_json::Value {
    serde_json::json!({"routes": [
        {"severities": ["critical"], "destinations": ["pager"], "continue": true},
        {"tiers": ["high"], "destinations": ["owner"]},
        {"tiers": ["low"], "destinations": ["digest"], "when": "digest"},
        {"tiers": ["tech"], "destinations": ["robot"]},
    ]})
}

fn change(kind: &str, severity: &str, tier: &str) -> AlertChange {
    AlertChange {
        severity: severity.into(),
        payload: format!(
            r#"{{"kind":"at_risk","account":{{"tier":"{tier}","segment":"mid","owner":"田中 翔"}}}}"#
        ),
        ..alert("acme", kind, NOON)
    }
}

fn told(decided: &Decided) -> Vec<(&str, String)> {
    let shown = decided.decisions.iter().map(|decision| {
        let what = match &decision.what {
            What::Send { not_before: None } => "now".to_string(),
            What::Send { not_before: Some(at) } => format!("at {at}"),
            What::Digest => "digest".to_string(),
            What::Record { status, .. } => (*status).to_string(),
        };
        (&*decision.destination, what)
    });
    shown.collect()
}

fn shown<'a>(expected: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    expected
        .iter()
        .map(|(name, what)| (*name, what.to_string()))
        .collect()
}

fn had(rows: &[(&str, Had)]) -> Earlier {
    Earlier {
        had: rows.iter().map(|(name, had)| (name.to_string(), *had)).collect(),
        variant: String::new(),
    }
}

#[test]
fn an_opening_goes_where_the_routes_lead() {
    let policy = policy(by_tier());
    for (severity, tier, expected) in [
        ("warning", "high", &[("owner", "now")][..]),
        ("critical", "high", &[("owner", "now"), ("pager", "now")]),
        ("warning", "low", &[("digest", "digest")]),
        ("critical", "low", &[("digest", "digest"), ("pager", "now")]),
        ("info", "tech", &[("robot", "now")]),
        // No route leads on, but for one that continues.
        ("critical", "", &[("pager", "now")]),
        ("info", "", &[("", "suppressed")]),
    ] {
        let decided = policy.decide(&change("opened", severity, tier), None, NOON);
        assert_eq!(told(&decided), shown(expected), "{severity} {tier}");
    }
}

#[test]
fn each_list_of_a_route_is_looked_at() {
    let opened = change("opened", "warning", "high");
    for (list, right, wrong) in [
        ("rules", "login_drop", "other"),
        ("severities", "warning", "info"),
        ("kinds", "at_risk", "opportunity"),
        ("tiers", "high", "tech"),
        ("segments", "mid", "smb"),
        ("owners", "田中 翔", "佐藤"),
        ("variants", "call", "mail"),
    ] {
        let goes = |value: &str| {
            let policy = policy(serde_json::json!({
                "routes": [{list: [value], "destinations": ["owner"]}],
                "rules": {"login_drop": {"variants": ["call"]}, "other": {"variants": ["mail"]}},
            }));
            let decided = policy.decide(&opened, None, NOON);
            assert_eq!(&*decided.variant, "call");
            told(&decided) == shown(&[("owner", "now")])
        };
        assert!(goes(right), "{list}");
        assert!(!goes(wrong), "{list}");
    }
    let opportunity = AlertChange {
        payload: r#"{"kind":"opportunity"}"#.into(),
        ..opened
    };
    let policy =
        policy(serde_json::json!({"routes": [{"kinds": ["opportunity"], "destinations": ["owner"]}]}));
    assert_eq!(
        told(&policy.decide(&opportunity, None, NOON)),
        shown(&[("owner", "now")])
    );
}

#[test]
fn a_destination_of_two_routes_is_told_once_at_the_sooner_time() {
    let policy = policy(serde_json::json!({"routes": [
        {"destinations": ["owner", "digest"], "when": "digest", "continue": true},
        {"severities": ["warning"], "destinations": ["owner"], "when": "work_hours", "continue": true},
        {"destinations": []},
    ]}));
    let decided = policy.decide(&change("opened", "warning", "high"), None, EVENING);
    let at_monday = format!("at {MONDAY}");
    assert_eq!(
        told(&decided),
        shown(&[("digest", "digest"), ("owner", &at_monday)])
    );
    let decided = policy.decide(&change("opened", "warning", "high"), None, NOON);
    assert_eq!(told(&decided), shown(&[("digest", "digest"), ("owner", "now")]));
}

#[test]
fn without_routes_everybody_is_told_of_everything_at_once() {
    let policy = policy(serde_json::json!({}));
    let all = [
        ("digest", "now"),
        ("owner", "now"),
        ("pager", "now"),
        ("robot", "now"),
    ];
    assert_eq!(
        told(&policy.decide(&change("opened", "info", "low"), None, EVENING)),
        shown(&all)
    );
    // Of an episode of which nothing is on record as well.
    let decided = policy.decide(
        &change("resolved", "info", "low"),
        Some(&Earlier::default()),
        EVENING,
    );
    assert_eq!(told(&decided), shown(&all));
}

#[test]
fn later_changes_follow_the_earlier_ones() {
    let policy = policy(by_tier());
    let (told_now, in_digest) = (Had::Told, Had::Digest);
    for (kind, severity, tier, earlier, expected) in [
        // The account's tier changed meanwhile: who was told of the opening is told of the end.
        (
            "resolved",
            "warning",
            "low",
            had(&[("owner", told_now)]),
            &[("owner", "now")][..],
        ),
        (
            "resolved",
            "warning",
            "high",
            had(&[("digest", in_digest)]),
            &[("digest", "digest")],
        ),
        (
            "retracted",
            "critical",
            "low",
            had(&[("robot", told_now)]),
            &[("robot", "now")],
        ),
        (
            "acknowledged",
            "critical",
            "high",
            had(&[("owner", told_now)]),
            &[("owner", "now")],
        ),
        // An escalation reaches further, and sooner where a route says so.
        (
            "escalated",
            "critical",
            "low",
            had(&[("digest", in_digest)]),
            &[("digest", "digest"), ("pager", "now")],
        ),
        (
            "resolved",
            "critical",
            "low",
            had(&[("digest", in_digest), ("pager", told_now)]),
            &[("digest", "digest"), ("pager", "now")],
        ),
        // What was told at once never ends in a digest.
        (
            "resolved",
            "warning",
            "low",
            had(&[("digest", told_now)]),
            &[("digest", "now")],
        ),
        // What was only recorded stays that, and so does what nobody was told.
        (
            "escalated",
            "critical",
            "high",
            had(&[("owner", Had::Recorded(SHADOW))]),
            &[("owner", "shadow"), ("pager", "now")],
        ),
        (
            "resolved",
            "critical",
            "high",
            had(&[("", Had::Recorded(SUPPRESSED))]),
            &[("", "suppressed")],
        ),
        (
            "escalated",
            "warning",
            "tech",
            had(&[("", Had::Recorded(SUPPRESSED))]),
            &[("robot", "now")],
        ),
        (
            "resolved",
            "critical",
            "high",
            had(&[("", Had::Recorded(HELD_OUT))]),
            &[("", "held_out")],
        ),
        // A destination that is not there any more.
        ("resolved", "critical", "high", had(&[("gone", told_now)]), &[]),
    ] {
        let decided = policy.decide(&change(kind, severity, tier), Some(&earlier), EVENING);
        assert_eq!(
            told(&decided),
            shown(expected),
            "{kind} {severity} {tier} {earlier:?}"
        );
    }
}

#[test]
fn the_end_of_what_was_told_in_hours_of_work_waits_for_them_too() {
    let policy = policy(serde_json::json!({"routes": [
        {"tiers": ["high"], "destinations": ["owner"], "when": "work_hours"},
        {"destinations": ["robot"]},
    ]}));
    let earlier = had(&[("owner", Had::Told)]);
    for tier in ["high", "tech"] {
        let decided = policy.decide(&change("resolved", "warning", tier), Some(&earlier), EVENING);
        assert_eq!(
            told(&decided),
            shown(&[("owner", &format!("at {MONDAY}"))]),
            "{tier}"
        );
    }
}

#[test]
fn a_shadow_and_a_holdout_only_record() {
    let with = |telling: serde_json::Value| {
        let mut config = by_tier();
        config["rules"] = serde_json::json!({"login_drop": telling});
        policy(config)
    };
    let opened = change("opened", "critical", "low");
    let shadow = with(serde_json::json!({"shadow": true, "holdout": 0.99}));
    assert_eq!(
        told(&shadow.decide(&opened, None, NOON)),
        shown(&[("digest", "shadow"), ("pager", "shadow")])
    );
    let held = with(serde_json::json!({"holdout": 0.999_999}));
    assert_eq!(
        told(&held.decide(&opened, None, NOON)),
        shown(&[("digest", "held_out"), ("pager", "held_out")])
    );
    // What was told before goes on, an escalation reaches nobody new.
    let earlier = had(&[("digest", Had::Digest)]);
    assert_eq!(
        told(&held.decide(&change("escalated", "critical", "low"), Some(&earlier), NOON)),
        shown(&[("digest", "digest"), ("pager", "held_out")])
    );
    // Another rule is not concerned.
    let other = AlertChange {
        rule: "other".into(),
        ..opened.clone()
    };
    assert_eq!(
        told(&held.decide(&other, None, NOON)),
        shown(&[("digest", "digest"), ("pager", "now")])
    );

    // With no destination at all a holdout is still on record, and nothing else.
    let nowhere = |telling: serde_json::Value| {
        let config = crate::Config {
            rules: serde_json::from_value(serde_json::json!({"login_drop": telling})).unwrap(),
            ..crate::Config::default()
        };
        told(&config.policy().unwrap().decide(&opened, None, NOON))
            .into_iter()
            .map(|(name, what)| (name.to_string(), what))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        nowhere(serde_json::json!({"holdout": 0.999_999})),
        [(String::new(), "held_out".to_string())]
    );
    assert_eq!(nowhere(serde_json::json!({"shadow": true})), []);
    assert_eq!(nowhere(serde_json::json!({})), []);
}

#[test]
fn an_account_keeps_the_variant_that_its_episode_began_with() {
    let policy = policy(serde_json::json!({"rules": {"login_drop": {"variants": ["call", "mail"]}}}));
    let opened = change("opened", "critical", "low");
    let variant = policy.decide(&opened, None, NOON).variant;
    assert!(["call", "mail"].contains(&&*variant));
    let other = if &*variant == "call" { "mail" } else { "call" };
    let earlier = Earlier {
        variant: other.to_string(),
        ..had(&[("owner", Had::Told)])
    };
    assert_eq!(
        &*policy
            .decide(&change("resolved", "critical", "low"), Some(&earlier), NOON)
            .variant,
        other
    );
}

#[test]
fn what_cannot_be_followed_is_refused_with_what_would_be_right() {
    let route = |route: serde_json::Value| refused(serde_json::json!({"routes": [route]}));
    for (found, wanted) in [
        (
            route(serde_json::json!({"destinations": ["owner", "pagr"]})),
            "alert.routes[0].destinations[1]: there is no destination \"pagr\"; did you mean pager? There are owner, digest, robot, pager",
        ),
        (
            route(serde_json::json!({"tiers": ["middle"]})),
            "alert.routes[0].tiers[0]: there is no tier \"middle\"; there are high, low, tech",
        ),
        (
            route(serde_json::json!({"severities": ["critcal"]})),
            "alert.routes[0].severities[0]: there is no severity \"critcal\"; did you mean critical? There are info, warning, critical",
        ),
        (
            route(serde_json::json!({"kinds": ["risk"]})),
            "alert.routes[0].kinds[0]: there is no kind \"risk\"; there are at_risk, opportunity",
        ),
        (
            route(serde_json::json!({"variants": ["call"]})),
            "alert.routes[0].variants[0]: there is no variant of a rule \"call\", nor any other",
        ),
        (
            route(serde_json::json!({"owners": ["田中 翔", "田中 翔"]})),
            "alert.routes[0].owners[1]: \"田中 翔\" is there twice",
        ),
        (
            route(serde_json::json!({"continue": true})),
            "alert.routes[0].continue: does nothing in a route without destinations: name some, or leave it out so that nobody is told",
        ),
        (
            refused(serde_json::json!({"routes": [{"destinations": ["owner"]}, {"tiers": ["low"]}]})),
            "alert.routes[1]: is never reached: routes[0] matches every alert and does not say continue",
        ),
        (
            refused(serde_json::json!({"rules": {"a": {"holdout": 1.0}}})),
            "alert.rules.a.holdout: 1 must be from 0 to below 1; to tell nobody set shadow",
        ),
        (
            refused(serde_json::json!({"rules": {"a": {"variants": ["x", "x"]}}})),
            "alert.rules.a.variants[1]: \"x\" is there twice",
        ),
        (
            refused(serde_json::json!({"digest": {"max_alerts": 0}})),
            "alert.digest.max_alerts: must be from 1 to 200",
        ),
    ] {
        assert_eq!(found, wanted);
    }
    assert!(
        serde_json::from_value::<crate::Config>(serde_json::json!({"routes": [{"when": "soon"}]})).is_err()
    );
    assert!(serde_json::from_value::<crate::Config>(serde_json::json!({"routes": [{"tier": []}]})).is_err());
}

#[test]
fn what_names_rules_is_held_against_those_in_force() {
    use health::RuleKind::{AtRisk, Opportunity};
    let rules = [
        ("champion_removed", AtRisk),
        ("falling_usage", AtRisk),
        ("seats_full", Opportunity),
    ];
    let refused = |value: serde_json::Value| {
        let config = config(value);
        config.policy().unwrap();
        config.check_rules(&rules).unwrap_err().to_string()
    };
    assert_eq!(
        refused(serde_json::json!({"routes": [{"rules": ["falling_usage", "champion_remved"]}]})),
        "alert.routes[0].rules[1]: there is no rule \"champion_remved\"; did you mean champion_removed? \
         There are champion_removed, falling_usage, seats_full"
    );
    assert_eq!(
        refused(serde_json::json!({"rules": {"nonsense": {}}})),
        "alert.rules.nonsense: there is no rule \"nonsense\"; there are champion_removed, falling_usage, seats_full"
    );
    assert_eq!(
        refused(serde_json::json!({"routes": [{"rules": ["seats_full"], "kinds": ["at_risk"]}]})),
        "alert.routes[0].kinds: matches nothing: the route's rules are all of kind opportunity"
    );
    assert_eq!(
        refused(serde_json::json!({
            "routes": [{"rules": ["seats_full"], "variants": ["call"]}],
            "rules": {"falling_usage": {"variants": ["call"]}},
        })),
        "alert.routes[0].variants: matches nothing: none of the route's rules has such a variant; see alert.rules"
    );
    config(by_tier()).check_rules(&rules).unwrap();
}

#[test]
fn the_defaults_of_the_hours_are_those_of_an_office() {
    assert_eq!(policy(serde_json::json!({})).hours().opening(EVENING), MONDAY);
    assert_eq!(WorkHoursConfig::default().days.len(), 5);
}
