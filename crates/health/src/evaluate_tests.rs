use event::EventType;
use serde_json::Value;

use super::*;
use crate::account::tests::{DAY, MONDAY, event, fold_all};
use crate::config::HealthConfig;
use crate::rules::{RuleConfig, RuleKind, RuleMessage, Severity, shipped_rules};

fn silence() -> RuleConfig {
    RuleConfig {
        name: "silence".into(),
        kind: RuleKind::AtRisk,
        severity: Severity::Warning,
        when: "days_since_last_active >= 14 && segment == \"smb\" && plan == \"pro\" && logins_90d >= 0"
            .into(),
        clear: Some("days_since_last_active <= 3".into()),
        escalate: None,
        hold: 1,
        cooldown_days: 7.0,
        tiers: vec!["low".into()],
        absence: true,
        message: Some(RuleMessage {
            en: "silent for {days_since_last_active} days".into(),
            ja: "{days_since_last_active}日間利用なし".into(),
        }),
    }
}

fn model_of(rules: Vec<RuleConfig>) -> Model {
    Model::new(HealthConfig {
        rules,
        without_rules: shipped_rules().into_iter().map(|rule| rule.name).collect(),
        ..HealthConfig::default()
    })
    .unwrap()
}

/// An account that was used on the first day only.
fn silent(model: &Model) -> Account {
    let mut account = Account::new("acme");
    let attributes = r#"{"name":"Acme","segment":"smb","plan":"pro"}"#;
    let events = [
        event("1", EventType::Account, "", "", MONDAY, attributes),
        event("2", EventType::Login, "", "u-1", MONDAY, ""),
    ];
    fold_all(&mut account, &events, model);
    account
}

fn evaluate(account: &mut Account, day: i64, model: &Model) -> Evaluation {
    account.evaluate(
        MONDAY + day * DAY,
        Mode::Live,
        7,
        &SegmentBaselines::default(),
        model,
    )
}

fn payload(change: &AlertChange) -> Value {
    serde_json::from_str(&change.payload).unwrap()
}

#[test]
fn an_alert_says_why_with_the_numbers_that_the_rule_names() {
    let model = model_of(vec![silence()]);
    let mut account = silent(&model);
    assert!(!evaluate(&mut account, 13, &model).episodes_moved);
    assert!(evaluate(&mut account, 14, &model).episodes_moved);
    let [change] = account.outbox() else {
        panic!("{:?}", account.outbox());
    };
    assert_eq!(
        (
            change.rule.as_str(),
            change.change.as_str(),
            change.severity.as_str()
        ),
        ("silence", "opened", "warning")
    );
    assert_eq!(change.reason, "Acme: silent for 14 days");
    assert_eq!(change.reason_ja, "Acme：14日間利用なし");
    assert_eq!((change.at, change.caused_by_received_at), (MONDAY + 14 * DAY, 7));
    let payload = payload(change);
    assert_eq!(payload["kind"], "at_risk");
    assert_eq!(payload["metrics"]["days_since_last_active"], 14);
    assert_eq!(payload["metrics"]["logins_90d"], 1.0, "named by the rule alone");
    for score in ["health", "sentiment", "support", "expansion", "churn_risk"] {
        assert!(payload["scores"].get(score).is_some(), "{score}");
    }
    let drivers = payload["drivers"].as_array().unwrap();
    assert!(!drivers.is_empty() && drivers.len() <= 3);
    for driver in drivers {
        assert_eq!(driver["score"], "churn_risk");
        assert!(driver["points"].as_f64().unwrap() > 0.0);
        assert!(driver.get("baseline").is_some());
        assert!(driver["sentence"].is_string() && driver["sentence_ja"].is_string());
    }
}

#[test]
fn an_opportunity_is_told_as_one() {
    let model = model_of(vec![RuleConfig {
        kind: RuleKind::Opportunity,
        severity: Severity::Info,
        ..silence()
    }]);
    let mut account = silent(&model);
    evaluate(&mut account, 14, &model);
    let payload = payload(&account.outbox()[0]);
    assert_eq!(payload["kind"], "opportunity");
    for driver in payload["drivers"].as_array().unwrap() {
        assert_eq!(driver["score"], "expansion");
    }
}

#[test]
fn the_drivers_that_are_told_speak_for_the_alert() {
    use crate::alert::drivers;
    use crate::score::Driver;
    let driver = |score, input, points| Driver {
        score,
        input,
        value: Some(1.0),
        baseline: None,
        points,
    };
    let mut scores = Scores {
        churn_risk: Some(0.4),
        drivers: vec![
            driver("health", "feature_depth", 9.0),
            driver("health", "feature_breadth", -4.0),
            driver("churn_risk", "usage_trend", 2.0),
            driver("churn_risk", "nps", -1.0),
            driver("expansion", "seat_utilisation", 12.0),
            driver("expansion", "top_user_share", -3.0),
        ],
        ..Scores::default()
    };
    let told = |kind, scores: &Scores| {
        drivers(kind, scores)
            .map(|driver| driver.input)
            .collect::<Vec<_>>()
    };
    assert_eq!(told(RuleKind::AtRisk, &scores), ["usage_trend"]);
    assert_eq!(told(RuleKind::Opportunity, &scores), ["seat_utilisation"]);
    scores.churn_risk = None;
    assert_eq!(told(RuleKind::AtRisk, &scores), ["feature_breadth"]);
}

#[test]
fn the_end_of_a_silence_is_told_as_use_and_not_as_silence() {
    let model = model_of(vec![silence()]);
    let mut account = silent(&model);
    evaluate(&mut account, 14, &model);
    account.clear_outbox();
    fold_all(
        &mut account,
        &[event("3", EventType::Login, "", "u-1", MONDAY + 15 * DAY, "")],
        &model,
    );
    evaluate(&mut account, 15, &model);
    assert_eq!(account.outbox()[0].change, "resolved");
    assert_eq!(account.outbox()[0].reason, "Acme, resolved: used today");
}

#[test]
fn a_late_event_takes_back_what_it_proves_wrong() {
    let model = model_of(vec![silence()]);
    let segments = SegmentBaselines::default();
    let mut account = silent(&model);
    evaluate(&mut account, 14, &model);
    account.clear_outbox();
    let opened_at = MONDAY + 14 * DAY;
    let open: Vec<OpenEpisode<'_>> = account.open_episodes().collect();
    assert_eq!(
        open,
        [OpenEpisode {
            rule: "silence",
            opened_at
        }]
    );

    // Nothing was wrong by what is known so far.
    let held = |account: &Account, rule: &str, at: i64| {
        let then = account.assess(at, &segments, &model);
        account.rule_holds(rule, &then, &model)
    };
    let known = account.clone();
    let now = account.assess(MONDAY + 16 * DAY, &segments, &model);
    assert!(!account.retract(|rule, at| held(&known, rule, at), &now, 0, &model));
    assert_eq!(known.rule_holds("nonsense", &now, &model), None);

    let late = event("3", EventType::Login, "", "u-1", MONDAY + 12 * DAY, "");
    fold_all(&mut account, &[late], &model);
    let replayed = account.clone();
    assert_eq!(held(&replayed, "silence", opened_at), Some(false));
    let now = account.assess(MONDAY + 16 * DAY, &segments, &model);
    assert!(account.retract(|rule, at| held(&replayed, rule, at), &now, 9, &model));
    let [change] = account.outbox() else {
        panic!("{:?}", account.outbox());
    };
    assert_eq!(
        (change.change.as_str(), change.at, change.caused_by_received_at),
        ("retracted", MONDAY + 16 * DAY, 9)
    );
    assert_eq!(
        change.reason,
        "Acme, retracted after late events: no use for 4 days"
    );
    assert_eq!(account.open_episodes().count(), 0);

    // It may open again at once, and nothing is said of a resolve.
    evaluate(&mut account, 26, &model);
    let changes: Vec<&str> = account
        .outbox()
        .iter()
        .map(|change| change.change.as_str())
        .collect();
    assert_eq!(changes, ["retracted", "opened"]);
}

#[test]
fn the_shipped_rules_are_in_force_by_default() {
    let model = Model::new(HealthConfig::default()).unwrap();
    let mut account = silent(&model);
    for day in 1..=20 {
        evaluate(&mut account, day, &model);
    }
    let told = account
        .outbox()
        .iter()
        .map(|change| (change.rule.as_str(), change.change.as_str()));
    assert!(
        told.clone().any(|change| change == ("churn_risk", "opened")),
        "{:?}",
        told.collect::<Vec<_>>()
    );
}

fn told(change: &AlertChange) -> ToldChange {
    ToldChange {
        episode_id: change.episode_id.clone(),
        rule: change.rule.clone(),
        severity: change.severity.clone(),
        change: change.change.clone(),
        at: change.at,
        opened_at: payload(change)["opened_at"]
            .as_str()
            .map(|at| at.parse::<jiff::Timestamp>().unwrap().as_millisecond()),
    }
}

/// An account that fell silent, was used again and is silent once more, and the changes that were told.
fn silent_twice(model: &Model) -> (Account, Vec<AlertChange>) {
    let mut account = silent(model);
    evaluate(&mut account, 20, model);
    let again = event("3", EventType::Login, "", "u-1", MONDAY + 30 * DAY, "");
    account.fold(&again, 2, model);
    evaluate(&mut account, 31, model);
    evaluate(&mut account, 50, model);
    let changes = account.outbox().to_vec();
    account.clear_outbox();
    let kinds: Vec<&str> = changes.iter().map(|change| change.change.as_str()).collect();
    assert_eq!(kinds, ["opened", "resolved", "opened"]);
    (account, changes)
}

#[test]
fn an_account_made_anew_keeps_what_was_told_of_it_and_does_not_tell_it_again() {
    let model = model_of(vec![silence()]);
    let (before, changes) = silent_twice(&model);
    let mut anew = silent(&model);
    anew.evaluate(
        MONDAY + 18 * DAY,
        Mode::Replay,
        0,
        &SegmentBaselines::default(),
        &model,
    );
    let again = event("3", EventType::Login, "", "u-1", MONDAY + 30 * DAY, "");
    anew.fold(&again, 2, &model);
    let mut recalled = anew.clone();
    let mut kept = anew;

    kept.keep_told(&before);
    // In whatever order they are read.
    let mut read: Vec<ToldChange> = changes.iter().map(told).collect();
    read.reverse();
    recalled.recall_told(&read);
    for account in [&mut kept, &mut recalled] {
        assert_eq!(account.state.episodes, before.state.episodes);
        evaluate(account, 51, &model);
        assert_eq!(account.outbox(), [], "it is known already");
        let used = event("4", EventType::Login, "", "u-1", MONDAY + 52 * DAY, "");
        account.fold(&used, 3, &model);
        evaluate(account, 52, &model);
        let [resolved] = account.outbox() else {
            panic!("{:?}", account.outbox())
        };
        assert_eq!(
            (&resolved.episode_id, resolved.change.as_str()),
            (&changes[2].episode_id, "resolved")
        );
    }
}

#[test]
fn what_waits_to_be_sent_is_kept_and_what_nobody_was_told_of_is_as_it_was_lived() {
    let model = model_of(vec![silence()]);
    let mut before = silent(&model);
    evaluate(&mut before, 20, &model);
    let mut anew = silent(&model);
    anew.keep_told(&before);
    assert_eq!(anew.outbox(), before.outbox());
    assert_eq!(anew.outbox().len(), 1);

    let mut lived = silent(&model);
    lived.evaluate(
        MONDAY + 18 * DAY,
        Mode::Replay,
        0,
        &SegmentBaselines::default(),
        &model,
    );
    let opened = lived.state.episodes.clone();
    lived.keep_told(&silent(&model));
    assert_eq!(lived.state.episodes, opened);
    lived.recall_told(&[]);
    assert_eq!(lived.state.episodes, opened);
}
