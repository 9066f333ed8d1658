use super::*;
use crate::config::{HealthConfig, Model};
use crate::numbers::Metrics;
use crate::rules::{RuleConfig, RuleKind, shipped_rules};
use crate::score::Scores;
use crate::tier::Tier;

const DAY: i64 = 86_400_000;

fn silence() -> RuleConfig {
    RuleConfig {
        name: "silence".into(),
        kind: RuleKind::AtRisk,
        severity: Severity::Warning,
        when: "days_since_last_active >= 14".into(),
        clear: Some("days_since_last_active <= 3".into()),
        escalate: Some("days_since_last_active >= 28".into()),
        hold: 1,
        cooldown_days: 7.0,
        tiers: vec!["high".into(), "low".into()],
        absence: true,
        message: None,
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

fn model() -> Model {
    model_of(vec![silence()])
}

/// An account of which only the silence is known.
struct Life {
    episodes: Vec<Episode>,
    stage: Stage,
    tier: Tier,
}

impl Life {
    fn new() -> Life {
        Life {
            episodes: Vec::new(),
            stage: Stage::Adoption,
            tier: Tier::Low,
        }
    }

    fn step(&mut self, model: &Model, day: i64, silence: Option<i32>, mode: Mode) -> Vec<(Change, String)> {
        self.stepped(model, day, silence, mode).0
    }

    fn stepped(
        &mut self,
        model: &Model,
        day: i64,
        silence: Option<i32>,
        mode: Mode,
    ) -> (Vec<(Change, String)>, bool) {
        let metrics = Metrics {
            days_since_last_active: silence,
            ..Metrics::default()
        };
        let scores = Scores::default();
        let facts = Facts::new(&metrics, &scores, self.stage, self.tier, None, None);
        let stepped = step(&mut self.episodes, "acme", &model.rules, &facts, day * DAY, mode);
        let told = stepped.told.into_iter();
        (
            told.map(|told| (told.change, told.alert_id)).collect(),
            stepped.moved,
        )
    }
}

/// Steps through days of silence and says what was told: day, change, the alert's id.
fn lived(model: &Model, days: &[(i64, i32, Mode)]) -> Vec<(i64, Change, String)> {
    let mut life = Life::new();
    let mut told = Vec::new();
    for (day, silence, mode) in days {
        for (change, id) in life.step(model, *day, Some(*silence), *mode) {
            told.push((*day, change, id));
        }
    }
    told
}

fn changes(told: &[(i64, Change, String)]) -> Vec<(i64, Change)> {
    told.iter().map(|(day, change, _)| (*day, *change)).collect()
}

fn live(days: &[(i64, i32)]) -> Vec<(i64, i32, Mode)> {
    days.iter()
        .map(|(day, silence)| (*day, *silence, Mode::Live))
        .collect()
}

#[test]
fn an_episode_is_told_once_however_often_the_trouble_is_seen() {
    let days: Vec<_> = (0..27).map(|day| (i64::from(day), day, Mode::Live)).collect();
    assert_eq!(changes(&lived(&model(), &days)), [(14, Change::Opened)]);
}

#[test]
fn it_escalates_once_and_is_resolved_at_the_clear_condition_only() {
    let days = live(&[(14, 14), (28, 28), (29, 29), (30, 10), (31, 4), (32, 3), (33, 1)]);
    let expected = [
        (14, Change::Opened),
        (28, Change::Escalated),
        (32, Change::Resolved),
    ];
    assert_eq!(changes(&lived(&model(), &days)), expected);
}

#[test]
fn without_a_clear_condition_it_is_resolved_when_the_rule_no_longer_holds() {
    let model = model_of(vec![RuleConfig {
        clear: None,
        ..silence()
    }]);
    let told = lived(&model, &live(&[(14, 14), (15, 13)]));
    assert_eq!(changes(&told), [(14, Change::Opened), (15, Change::Resolved)]);
}

#[test]
fn a_clear_condition_that_overlaps_does_not_end_what_still_holds() {
    let model = model_of(vec![RuleConfig {
        clear: Some("days_since_last_active <= 20".into()),
        ..silence()
    }]);
    let told = lived(&model, &live(&[(14, 14), (15, 15), (16, 2)]));
    assert_eq!(changes(&told), [(14, Change::Opened), (16, Change::Resolved)]);
}

#[test]
fn it_opens_only_after_the_rule_has_held_for_so_many_evaluations_on_end() {
    let model = model_of(vec![RuleConfig { hold: 3, ..silence() }]);
    let days = live(&[(1, 14), (2, 15), (3, 0), (4, 14), (5, 15), (6, 16), (7, 17)]);
    assert_eq!(changes(&lived(&model, &days)), [(6, Change::Opened)]);

    // The count is part of what is saved, and nothing is once it is over.
    let mut life = Life::new();
    life.step(&model, 1, Some(14), Mode::Live);
    life.step(&model, 2, Some(15), Mode::Live);
    let saved = prost::Message::encode_to_vec(&life.episodes[0]);
    life.episodes[0] = prost::Message::decode(saved.as_slice()).unwrap();
    assert_eq!(life.step(&model, 3, Some(16), Mode::Live)[0].0, Change::Opened);
    let mut other = Life::new();
    other.step(&model, 1, Some(14), Mode::Live);
    other.step(&model, 2, None, Mode::Live);
    assert_eq!(other.episodes, []);
}

#[test]
fn it_does_not_open_again_while_it_cools_and_then_with_new_ids() {
    let days = live(&[(1, 20), (2, 0), (5, 20), (8, 20), (9, 20)]);
    let told = lived(&model(), &days);
    assert_eq!(
        changes(&told),
        [(1, Change::Opened), (2, Change::Resolved), (9, Change::Opened)]
    );
    assert_ne!(told[0].2, told[2].2);
}

#[test]
fn a_past_that_is_over_is_not_told_and_one_that_lasts_is_told_when_live() {
    let model = model();
    let over = [(1, 20, Mode::Replay), (2, 0, Mode::Replay), (3, 0, Mode::Live)];
    assert_eq!(changes(&lived(&model, &over)), []);
    let lasts = [(1, 20, Mode::Replay), (2, 21, Mode::Replay), (3, 22, Mode::Live)];
    assert_eq!(changes(&lived(&model, &lasts)), [(3, Change::Opened)]);
}

#[test]
fn the_end_of_what_was_told_is_told_even_while_replaying() {
    let days = [(1, 20, Mode::Live), (2, 0, Mode::Replay)];
    assert_eq!(
        changes(&lived(&model(), &days)),
        [(1, Change::Opened), (2, Change::Resolved)]
    );
}

#[test]
fn what_got_worse_while_replaying_is_told_when_live() {
    let days = [(1, 20, Mode::Live), (2, 30, Mode::Replay), (3, 31, Mode::Live)];
    assert_eq!(
        changes(&lived(&model(), &days)),
        [(1, Change::Opened), (3, Change::Escalated)]
    );
}

#[test]
fn while_the_pipeline_lags_only_rules_of_absence_are_held_back() {
    let days = [
        (1, 20, Mode::Lagging),
        (2, 21, Mode::Lagging),
        (3, 22, Mode::Live),
    ];
    assert_eq!(changes(&lived(&model(), &days)), [(3, Change::Opened)]);
    let presence = model_of(vec![RuleConfig {
        absence: false,
        ..silence()
    }]);
    assert_eq!(changes(&lived(&presence, &days)), [(1, Change::Opened)]);
    let over = [(1, 20, Mode::Live), (2, 0, Mode::Lagging)];
    assert_eq!(
        changes(&lived(&model(), &over)),
        [(1, Change::Opened), (2, Change::Resolved)]
    );
}

#[test]
fn ids_follow_from_the_account_the_rule_and_the_number_alone() {
    let model = model();
    let at = |day| lived(&model, &[(day, 20, Mode::Live)])[0].2.clone();
    assert_eq!(at(1), at(300));
    // Receivers know them: they must not change between versions.
    assert_eq!(at(1), id("al", &["acme", "silence", "1", "opened"]));
    assert_eq!(
        id("al", &["acme", "silence", "1", "opened"]),
        "al_99075b2f2be89232952549d705a8d17e"
    );
    assert_ne!(id("al", &["al", "a", "bc"]), id("al", &["al", "ab", "c"]));
}

#[test]
fn an_unknown_number_neither_opens_nor_resolves() {
    let model = model();
    let mut life = Life::new();
    assert!(life.step(&model, 1, None, Mode::Live).is_empty());
    assert_eq!(life.step(&model, 1, Some(20), Mode::Live).len(), 1);
    assert!(life.step(&model, 1, None, Mode::Live).is_empty());
    assert_eq!(open(&life.episodes).count(), 1);
}

#[test]
fn a_customer_who_has_left_needs_no_watching() {
    let model = model();
    let mut life = Life::new();
    life.step(&model, 1, Some(20), Mode::Live);
    life.stage = Stage::Churned;
    let told = life.step(&model, 2, Some(21), Mode::Live);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, Change::Resolved);
    assert!(life.step(&model, 30, Some(49), Mode::Live).is_empty());
}

#[test]
fn a_rule_watches_the_tiers_that_it_names() {
    let model = model();
    let mut life = Life::new();
    life.tier = Tier::Tech;
    assert!(life.step(&model, 1, Some(20), Mode::Live).is_empty());
    life.tier = Tier::High;
    assert_eq!(life.step(&model, 2, Some(21), Mode::Live)[0].0, Change::Opened);
    life.tier = Tier::Tech;
    assert_eq!(life.step(&model, 3, Some(22), Mode::Live)[0].0, Change::Resolved);
}

#[test]
fn a_step_says_whether_there_is_something_to_save() {
    let model = model();
    let mut life = Life::new();
    let mut moved = |day, silence, mode| life.stepped(&model, day, Some(silence), mode).1;
    assert!(!moved(1, 2, Mode::Live));
    assert!(moved(2, 20, Mode::Replay), "it opened untold");
    assert!(!moved(3, 21, Mode::Replay));
    assert!(moved(4, 22, Mode::Live), "it was told");
    assert!(moved(5, 28, Mode::Live), "it became critical");
    assert!(!moved(6, 29, Mode::Live));
    assert!(moved(7, 0, Mode::Live), "it ended");
    assert!(!moved(8, 0, Mode::Live));
    let none = model_of(Vec::new());
    assert!(life.stepped(&none, 9, Some(0), Mode::Live).1, "it was forgotten");
    assert_eq!(life.episodes, []);
}

#[test]
fn what_should_not_have_opened_is_taken_back_and_may_open_at_once() {
    let model = model();
    let mut life = Life::new();
    let opened = life.step(&model, 10, Some(14), Mode::Live);
    let asked = std::cell::RefCell::new(Vec::new());
    let told = retract(&mut life.episodes, "acme", &model.rules, 11 * DAY, |rule, at| {
        asked.borrow_mut().push((rule.to_string(), at));
        Some(false)
    });
    assert_eq!(asked.into_inner(), [("silence".to_string(), 10 * DAY)]);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].change, told[0].opened_at), (Change::Retracted, 10 * DAY));
    assert_ne!(told[0].alert_id, opened[0].1);
    assert_eq!(open(&life.episodes).count(), 0);
    assert_eq!(life.step(&model, 12, Some(14), Mode::Live)[0].0, Change::Opened);
    // The next one cools as ever.
    assert_eq!(life.step(&model, 13, Some(0), Mode::Live)[0].0, Change::Resolved);
    assert!(life.step(&model, 14, Some(14), Mode::Live).is_empty());
}

#[test]
fn what_was_right_cannot_be_told_or_was_never_told_is_not_taken_back() {
    let model = model();
    let mut life = Life::new();
    life.step(&model, 10, Some(14), Mode::Replay);
    let retracted = |life: &mut Life, answer: Option<bool>| {
        retract(&mut life.episodes, "acme", &model.rules, 11 * DAY, |_, _| answer).len()
    };
    assert_eq!(retracted(&mut life, Some(false)), 0, "nobody has heard of it");
    life.step(&model, 10, Some(14), Mode::Live);
    assert_eq!(retracted(&mut life, Some(true)), 0);
    assert_eq!(retracted(&mut life, None), 0);
    let open: Vec<_> = open(&life.episodes).collect();
    assert_eq!(
        open,
        [OpenEpisode {
            rule: "silence",
            opened_at: 10 * DAY
        }]
    );
    assert_eq!(retracted(&mut life, Some(false)), 1);
    assert_eq!(retracted(&mut life, Some(false)), 0);
}

#[test]
fn an_episode_that_was_saved_before_there_were_holds_is_read() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Before {
        #[prost(string, tag = "1")]
        rule: String,
        #[prost(uint32, tag = "2")]
        number: u32,
        #[prost(bool, tag = "3")]
        is_open: bool,
        #[prost(bool, tag = "4")]
        is_announced: bool,
        #[prost(sint64, tag = "6")]
        opened_at: i64,
    }
    let saved = prost::Message::encode_to_vec(&Before {
        rule: "silence".into(),
        number: 3,
        is_open: true,
        is_announced: true,
        opened_at: DAY,
    });
    let episode: Episode = prost::Message::decode(saved.as_slice()).unwrap();
    let mut life = Life::new();
    life.episodes.push(episode);
    let told = life.step(&model(), 5, Some(1), Mode::Live);
    assert_eq!(
        told,
        [(Change::Resolved, id("al", &["acme", "silence", "3", "resolved"]))]
    );
}
