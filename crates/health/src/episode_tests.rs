use super::*;
use crate::config::HealthConfig;

const DAY: i64 = 86_400_000;

fn model() -> Model {
    Model::new(HealthConfig {
        rules: vec![Rule {
            name: "silence".into(),
            number: "days_since_last_active".into(),
            open: 14.0,
            clear: 3.0,
            escalate: Some(28.0),
            severity: Severity::Warning,
            cooldown_days: 7.0,
        }],
        ..HealthConfig::default()
    })
    .unwrap()
}

/// Steps through days of silence and says what was told: day, change, number of the alert's id.
fn lived(model: &Model, days: &[(i64, f64, Mode)]) -> Vec<(i64, Change, String)> {
    let mut episodes = Vec::new();
    let mut told = Vec::new();
    for (day, silence, mode) in days {
        for change in step(&mut episodes, "acme", model, day * DAY, *mode, false, |_| {
            Some(*silence)
        }) {
            told.push((*day, change.change, change.alert_id));
        }
    }
    told
}

fn changes(told: &[(i64, Change, String)]) -> Vec<(i64, Change)> {
    told.iter().map(|(day, change, _)| (*day, *change)).collect()
}

#[test]
fn an_episode_is_told_once_however_often_the_trouble_is_seen() {
    let model = model();
    let days: Vec<_> = (0..27).map(|day| (day, day as f64, Mode::Live)).collect();
    assert_eq!(changes(&lived(&model, &days)), [(14, Change::Opened)]);
}

#[test]
fn it_escalates_once_and_is_resolved_at_the_clear_bound_only() {
    let model = model();
    let days = [
        (14, 14.0),
        (28, 28.0),
        (29, 29.0),
        (30, 10.0),
        (31, 4.0),
        (32, 3.0),
        (33, 1.0),
    ];
    let days: Vec<_> = days.map(|(day, silence)| (day, silence, Mode::Live)).to_vec();
    let expected = [
        (14, Change::Opened),
        (28, Change::Escalated),
        (32, Change::Resolved),
    ];
    assert_eq!(changes(&lived(&model, &days)), expected);
}

#[test]
fn it_does_not_open_again_while_it_cools_and_then_with_new_ids() {
    let model = model();
    let days = [(1, 20.0), (2, 0.0), (5, 20.0), (8, 20.0), (9, 20.0)];
    let days: Vec<_> = days.map(|(day, silence)| (day, silence, Mode::Live)).to_vec();
    let told = lived(&model, &days);
    assert_eq!(
        changes(&told),
        [(1, Change::Opened), (2, Change::Resolved), (9, Change::Opened)]
    );
    assert_ne!(told[0].2, told[2].2);
}

#[test]
fn a_past_that_is_over_is_not_told_and_one_that_lasts_is_told_when_live() {
    let model = model();
    let over = [
        (1, 20.0, Mode::Replay),
        (2, 0.0, Mode::Replay),
        (3, 0.0, Mode::Live),
    ];
    assert_eq!(changes(&lived(&model, &over)), []);
    let lasts = [
        (1, 20.0, Mode::Replay),
        (2, 21.0, Mode::Replay),
        (3, 22.0, Mode::Live),
    ];
    assert_eq!(changes(&lived(&model, &lasts)), [(3, Change::Opened)]);
}

#[test]
fn the_end_of_what_was_told_is_told_even_while_replaying() {
    let model = model();
    let days = [(1, 20.0, Mode::Live), (2, 0.0, Mode::Replay)];
    assert_eq!(
        changes(&lived(&model, &days)),
        [(1, Change::Opened), (2, Change::Resolved)]
    );
}

#[test]
fn ids_follow_from_the_account_the_rule_and_the_number_alone() {
    let model = model();
    let at = |day| lived(&model, &[(day, 20.0, Mode::Live)])[0].2.clone();
    assert_eq!(at(1), at(300));
    assert_ne!(id("al", &["a", "bc"]), id("al", &["ab", "c"]));
}

#[test]
fn an_unknown_number_neither_opens_nor_resolves() {
    let model = model();
    let mut episodes = Vec::new();
    assert!(step(&mut episodes, "acme", &model, DAY, Mode::Live, false, |_| None).is_empty());
    assert_eq!(
        step(&mut episodes, "acme", &model, DAY, Mode::Live, false, |_| Some(
            20.0
        ))
        .len(),
        1
    );
    assert!(step(&mut episodes, "acme", &model, DAY, Mode::Live, false, |_| None).is_empty());
}

#[test]
fn a_customer_who_has_left_needs_no_watching() {
    let model = model();
    let mut episodes = Vec::new();
    step(&mut episodes, "acme", &model, DAY, Mode::Live, false, |_| {
        Some(20.0)
    });
    let told = step(&mut episodes, "acme", &model, 2 * DAY, Mode::Live, true, |_| {
        Some(21.0)
    });
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].change, Change::Resolved);
    assert!(
        step(&mut episodes, "acme", &model, 30 * DAY, Mode::Live, true, |_| {
            Some(49.0)
        })
        .is_empty()
    );
}
