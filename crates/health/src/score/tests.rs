use super::*;
use crate::config::HealthConfig;
use crate::numbers::OnboardingState;

pub(super) fn model() -> Model {
    Model::new(HealthConfig::default()).unwrap()
}

/// Metrics of these numbers; the others are unknown, or 0 where they never are.
pub(super) fn metrics(numbers: &[(&str, f64)]) -> Metrics {
    let mut metrics = Metrics::default();
    for &(name, value) in numbers {
        set(&mut metrics, name, value);
    }
    metrics
}

pub(super) fn set(metrics: &mut Metrics, name: &str, value: f64) {
    match name {
        "workdays_since_last_active" => metrics.workdays_since_last_active = Some(value as i32),
        "days_since_last_active" => metrics.days_since_last_active = Some(value as i32),
        "champion_days_silent" => metrics.champion_days_silent = Some(value as i32),
        "days_to_renewal" => metrics.days_to_renewal = Some(value as i32),
        "open_escalations" => metrics.open_escalations = Some(value as u32),
        "champions_removed_28d" => metrics.champions_removed_28d = value as u32,
        "downgrades_28d" => metrics.downgrades_28d = value as u32,
        "onboarding_state" => {
            metrics.onboarding_state = Some(match value as i32 {
                0 => OnboardingState::Done,
                1 => OnboardingState::OnTrack,
                2 => OnboardingState::Behind,
                _ => OnboardingState::Stalled,
            });
        }
        "ttv_days" => metrics.ttv_days = Some(value),
        "ttv_running_days" => metrics.ttv_running_days = Some(value),
        "usage_trend" => metrics.usage_trend = Some(value),
        "active_users_trend" => metrics.active_users_trend = Some(value),
        "logins_per_user_28d" => metrics.logins_per_user_28d = Some(value),
        "logins_week_ratio" => metrics.logins_week_ratio = Some(value),
        "seat_utilisation" => metrics.seat_utilisation = Some(value),
        "relative_stickiness" => metrics.relative_stickiness = Some(value),
        "feature_breadth" => metrics.feature_breadth = Some(value),
        "feature_depth" => metrics.feature_depth = Some(value),
        "nps" => metrics.nps = Some(value),
        "csat" => metrics.csat = Some(value),
        "open_ticket_age_days" => metrics.open_ticket_age_days = Some(value),
        "top_user_share" => metrics.top_user_share = Some(value),
        "usage_z" => metrics.usage_z = Some(value),
        "errors_trend" => metrics.errors_trend = Some(value),
        "usual_gap_workdays" => metrics.usual_gap_workdays = Some(value),
        other => panic!("{other} is not among the numbers of these tests"),
    }
}

pub(super) fn scores_of(metrics: &Metrics, stage: Stage, model: &Model) -> Scores {
    Scores::of(metrics, &Usual::default(), stage, None, model)
}

pub(super) fn points(scores: &Scores, score: &str) -> f64 {
    let of_score = scores.drivers.iter().filter(|driver| driver.score == score);
    of_score.map(|driver| driver.points).sum()
}

fn assert_near(found: Option<f64>, expected: f64) {
    assert!(
        found.is_some_and(|found| (found - expected).abs() < 1e-9),
        "{found:?} is not {expected}"
    );
}

/// An account with something known of every component, short of well.
const MIDDLING: [(&str, f64); 15] = [
    // 75 points at 1 and 40 at .5: 95 / 1.5
    ("ttv_days", 21.0),
    ("onboarding_state", 2.0),
    // 65 and 65 at .25; 80, 40 and 42.5 at .15; 90 at .05: 61.375
    ("workdays_since_last_active", 3.0),
    ("usage_trend", 0.9),
    ("active_users_trend", 0.95),
    ("logins_per_user_28d", 4.0),
    ("seat_utilisation", 0.3),
    ("relative_stickiness", 1.25),
    // 60 and 25: 42.5
    ("feature_breadth", 0.6),
    ("feature_depth", 5.0),
    // 25 at .6 and 75 at .4: 45
    ("nps", -50.0),
    ("csat", 3.75),
    // 70 at .6 and 30 at .4: 54
    ("open_ticket_age_days", 4.5),
    ("open_escalations", 1.0),
    ("days_since_last_active", 4.0),
];

#[test]
fn every_component_is_the_weighted_mean_of_what_its_inputs_earn() {
    let scores = scores_of(&metrics(&MIDDLING), Stage::Adoption, &model());
    assert_near(scores.ttv, 95.0 / 1.5);
    assert_near(scores.activity, 61.375);
    assert_near(scores.adoption, 42.5);
    assert_near(scores.sentiment, 45.0);
    assert_near(scores.support, 54.0);
    let health = 0.05 * 95.0 / 1.5 + 0.4 * 61.375 + 0.3 * 42.5 + 0.1 * 45.0 + 0.15 * 54.0;
    assert_near(scores.health, health);
    assert_eq!((scores.band, scores.confidence), (Band::Yellow, 1.0));
}

#[test]
fn expansion_is_earned_by_full_seats_and_growth_and_is_no_part_of_health() {
    // 53.33 at .35, 75 at .2, 50 at .15, and 25, 50, 50 at .1.
    let growing = metrics(&[
        ("seat_utilisation", 0.8),
        ("active_users_trend", 1.4),
        ("usage_trend", 1.25),
        ("top_user_share", 0.5),
        ("feature_breadth", 0.65),
        ("nps", 25.0),
    ]);
    let scores = scores_of(&growing, Stage::Adoption, &model());
    assert_near(
        scores.expansion,
        0.35 * 160.0 / 3.0 + 15.0 + 7.5 + 2.5 + 5.0 + 5.0,
    );
    let mut config = HealthConfig::default();
    config.scores.expansion.clear();
    let without = scores_of(&growing, Stage::Adoption, &Model::new(config).unwrap());
    assert_eq!((without.expansion, without.health), (None, scores.health));
}

#[test]
fn the_risk_is_logistic_in_the_sum_of_the_log_odds() {
    // 1.3 of silence, .375 of little breadth, −.1 of a fair NPS; what is 0 at least adds 0.
    let silent = metrics(&[
        ("days_since_last_active", 14.0),
        ("workdays_since_last_active", 10.0),
        ("feature_breadth", 0.25),
        ("nps", 25.0),
    ]);
    let scores = scores_of(&silent, Stage::Adoption, &model());
    let log_odds: f64 = -3.892 + 1.3 + 0.375 - 0.1;
    assert_near(scores.churn_risk, 1.0 / (1.0 + (-log_odds).exp()));
    assert_near(Some(points(&scores, "churn_risk")), 1.575);
}

#[test]
fn a_risk_is_told_of_who_was_active_or_waits_for_value_and_of_no_one_else() {
    let model = model();
    let risk = |numbers: &[(&str, f64)]| scores_of(&metrics(numbers), Stage::Adoption, &model).churn_risk;
    assert_eq!(risk(&[("nps", -100.0), ("feature_breadth", 0.0)]), None);
    assert!(risk(&[("ttv_running_days", 1.0)]).is_some());
    assert!(risk(&[("days_since_last_active", 1.0)]).is_some());
}

#[test]
fn waiting_for_value_is_never_as_good_as_having_it() {
    let model = model();
    let ttv = |number, days| scores_of(&metrics(&[(number, days)]), Stage::Onboarding, &model).ttv;
    assert_eq!(ttv("ttv_days", 1.0), Some(100.0));
    assert_eq!(ttv("ttv_running_days", 1.0), Some(75.0));
    assert_eq!(
        ttv("ttv_running_days", 42.0),
        Some(25.0),
        "between 28 and 56 days"
    );
}

#[test]
fn what_is_unknown_gives_its_weight_to_the_others_and_lowers_the_confidence() {
    // Activity: no day missed 100 points, an unchanged use 80, both at .25.
    let scores = scores_of(
        &metrics(&[
            ("workdays_since_last_active", 0.0),
            ("usage_trend", 1.0),
            ("ttv_days", 1.0),
        ]),
        Stage::Adoption,
        &model(),
    );
    assert_eq!(
        (scores.adoption, scores.sentiment, scores.support),
        (None, None, None)
    );
    assert_near(scores.activity, 90.0);
    assert_near(scores.health, (0.05 * 100.0 + 0.4 * 90.0) / 0.45);
    assert_near(Some(scores.confidence), 0.45);
}

#[test]
fn nothing_known_gives_no_score_instead_of_a_bad_one() {
    let scores = scores_of(&Metrics::default(), Stage::Adoption, &model());
    assert_eq!(scores, Scores::default());
    assert_eq!(
        (scores.health, scores.churn_risk, scores.band),
        (None, None, Band::Unknown)
    );
}

#[test]
fn a_component_without_weight_alone_gives_no_health() {
    let scores = scores_of(&metrics(&[("ttv_days", 3.0)]), Stage::Renewal, &model());
    assert_eq!(
        (scores.ttv, scores.health, scores.confidence),
        (Some(100.0), None, 0.0)
    );
    assert_eq!(scores.drivers, []);
}

#[test]
fn an_account_that_has_left_is_not_scored() {
    let scores = scores_of(&metrics(&MIDDLING), Stage::Churned, &model());
    assert_eq!(scores, Scores::default());
}

#[test]
fn the_weights_are_those_of_segment_and_stage_then_of_the_stage_then_of_adoption() {
    let only = |component: &str| {
        let mut weights = Weights::default();
        match component {
            "ttv" => weights.ttv = 1.0,
            "activity" => weights.activity = 1.0,
            "adoption" => weights.adoption = 1.0,
            "sentiment" => weights.sentiment = 1.0,
            _ => weights.support = 1.0,
        }
        weights
    };
    let enterprise = [("renewal".to_string(), only("sentiment"))].into();
    let config = HealthConfig {
        weights: [("adoption", "adoption"), ("renewal", "support")]
            .map(|(stage, component)| (stage.to_string(), only(component)))
            .into(),
        segment_weights: [("enterprise".to_string(), enterprise)].into(),
        ..HealthConfig::default()
    };
    let model = Model::new(config).unwrap();
    let metrics = metrics(&MIDDLING);
    let health = |stage, segment| Scores::of(&metrics, &Usual::default(), stage, segment, &model).health;
    assert_near(health(Stage::Renewal, Some("enterprise")), 45.0);
    assert_near(health(Stage::Renewal, Some("small")), 54.0);
    assert_near(health(Stage::Renewal, None), 54.0);
    assert_near(health(Stage::Expansion, Some("enterprise")), 42.5);
}

#[test]
fn the_bands_include_their_upper_bounds() {
    let model = model();
    let band =
        |breadth: f64| scores_of(&metrics(&[("feature_breadth", breadth)]), Stage::Adoption, &model).band;
    assert_eq!([0.0, 0.5].map(band), [Band::Red; 2]);
    assert_eq!([0.51, 0.75].map(band), [Band::Yellow; 2]);
    assert_eq!([0.76, 1.0].map(band), [Band::Green; 2]);
}

#[test]
fn drivers_come_by_score_and_within_it_strongest_first_then_by_name() {
    let scores = scores_of(
        &metrics(&[
            ("days_since_last_active", 30.0),
            ("workdays_since_last_active", 25.0),
            ("feature_breadth", 0.0),
            ("feature_depth", 0.0),
            ("nps", 50.0),
        ]),
        Stage::Adoption,
        &model(),
    );
    let order: Vec<(&str, &str)> = scores
        .drivers
        .iter()
        .map(|driver| (driver.score, driver.input))
        .collect();
    assert_eq!(
        order,
        [
            ("health", "workdays_since_last_active"),
            ("health", "feature_breadth"),
            ("health", "feature_depth"),
            ("health", "nps"),
            ("churn_risk", "workdays_since_last_active"),
            ("churn_risk", "feature_breadth"),
            ("churn_risk", "nps"),
            ("churn_risk", "champions_removed_28d"),
            ("churn_risk", "downgrades_28d"),
            ("expansion", "feature_breadth"),
            ("expansion", "nps"),
        ]
    );
}

#[test]
fn every_worse_input_raises_the_risk_and_names_itself_as_the_strongest_driver() {
    let model = model();
    let risk = |numbers: &[(&str, f64)]| {
        let mut metrics = metrics(&[("days_since_last_active", 0.0)]);
        for &(name, value) in numbers {
            set(&mut metrics, name, value);
        }
        scores_of(&metrics, Stage::Adoption, &model)
    };
    let base = risk(&[]).churn_risk;
    let worse = [
        ("workdays_since_last_active", 25.0),
        ("usage_trend", 0.1),
        ("logins_week_ratio", 0.1),
        ("usage_z", -4.0),
        ("active_users_trend", 0.5),
        ("seat_utilisation", 0.1),
        ("feature_breadth", 0.0),
        ("ttv_running_days", 74.0),
        ("onboarding_state", 3.0),
        ("open_ticket_age_days", 30.0),
        ("open_escalations", 3.0),
        ("nps", -100.0),
        ("champion_days_silent", 45.0),
        ("champions_removed_28d", 1.0),
        ("days_to_renewal", 0.0),
        ("downgrades_28d", 1.0),
        ("errors_trend", 3.0),
    ];
    assert_eq!(worse.len(), HealthConfig::default().scores.churn.len());
    for (input, value) in worse {
        let scores = risk(&[(input, value)]);
        assert!(scores.churn_risk > base, "{input}");
        let strongest = scores.drivers.iter().find(|driver| driver.score == "churn_risk");
        assert_eq!(strongest.unwrap().input, input);
    }
}

#[test]
fn a_driver_is_told_against_what_is_usual_for_the_account() {
    let usual = Usual {
        logins_per_user_28d: Some(6.0),
        seat_utilisation: Some(0.3),
        feature_breadth: None,
        feature_depth: Some(2.0),
        top_user_share: Some(0.9),
    };
    let mut numbers = MIDDLING.to_vec();
    numbers.extend([
        ("usual_gap_workdays", 0.5),
        ("usage_z", -1.0),
        ("logins_week_ratio", 1.5),
        ("errors_trend", 1.0),
        ("top_user_share", 0.9),
    ]);
    let scores = Scores::of(&metrics(&numbers), &usual, Stage::Adoption, None, &model());
    let told = |input: &str| {
        let driver = scores.drivers.iter().find(|driver| driver.input == input);
        driver
            .map(|driver| (driver.baseline, driver.direction()))
            .unwrap()
    };
    assert_eq!(told("workdays_since_last_active"), (Some(0.5), Direction::Up));
    assert_eq!(told("usage_trend"), (Some(1.0), Direction::Down));
    assert_eq!(told("active_users_trend"), (Some(1.0), Direction::Down));
    assert_eq!(told("errors_trend"), (Some(1.0), Direction::Level));
    assert_eq!(told("logins_week_ratio"), (Some(1.0), Direction::Up));
    assert_eq!(told("relative_stickiness"), (Some(1.0), Direction::Up));
    assert_eq!(told("usage_z"), (Some(0.0), Direction::Down));
    assert_eq!(told("logins_per_user_28d"), (Some(6.0), Direction::Down));
    assert_eq!(told("seat_utilisation"), (Some(0.3), Direction::Level));
    assert_eq!(told("feature_breadth"), (None, Direction::Unknown));
    assert_eq!(told("feature_depth"), (Some(2.0), Direction::Up));
    assert_eq!(told("top_user_share"), (Some(0.9), Direction::Level));
    assert_eq!(told("nps"), (None, Direction::Unknown));
}
