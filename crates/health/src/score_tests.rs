use super::*;
use crate::config::HealthConfig;

fn model() -> Model {
    Model::new(HealthConfig::default()).unwrap()
}

fn healthy() -> Metrics {
    Metrics {
        logins_7d: 25,
        logins_28d: 100,
        days_since_last_active: Some(0),
        active_users_28d: 8,
        seat_utilisation: Some(0.8),
        feature_breadth: Some(1.0),
        feature_depth: Some(30.0),
        usage_trend: Some(1.2),
        ttv_days: Some(3.0),
        ..Metrics::default()
    }
}

#[test]
fn an_account_that_does_everything_well_scores_a_hundred() {
    let scores = Scores::of(&healthy(), Stage::Adoption, &model());
    assert_eq!(scores.health, Some(100.0));
    assert_eq!(scores.band, Band::Green);
    assert_eq!(scores.confidence, 1.0);
    assert!(scores.churn_risk.unwrap() < 0.02);
}

#[test]
fn the_points_of_the_drivers_add_up_to_the_score() {
    let model = model();
    let fading = Metrics {
        days_since_last_active: Some(12),
        usage_trend: Some(0.3),
        logins_7d: 1,
        logins_28d: 20,
        feature_breadth: Some(0.25),
        oldest_open_ticket_days: Some(9.0),
        ..healthy()
    };
    for metrics in [healthy(), fading] {
        let scores = Scores::of(&metrics, Stage::Adoption, &model);
        let points = |score: &str| -> f64 {
            scores
                .drivers
                .iter()
                .filter(|driver| driver.score == score)
                .map(|driver| driver.points)
                .sum()
        };
        assert!((50.0 + points("health") - scores.health.unwrap()).abs() < 1e-9);
        let log_odds = BASE_LOG_ODDS + points("churn_risk");
        assert!((1.0 / (1.0 + (-log_odds).exp()) - scores.churn_risk.unwrap()).abs() < 1e-12);
    }
}

#[test]
fn what_is_unknown_is_left_out_and_lowers_the_confidence() {
    // Of the weights of the stage adoption, .1 for ttv, .5 for activity and .4 for adoption, adoption
    // is not known. The activity: used today 100 points at .3, trend 1 80 points at .3, ten logins a
    // user 100 points at .2, seats unknown: (30 + 24 + 20) / .8 = 92.5. The ttv: 100.
    let metrics = Metrics {
        days_since_last_active: Some(0),
        usage_trend: Some(1.0),
        logins_28d: 20,
        active_users_28d: 2,
        ttv_days: Some(1.0),
        ..Metrics::default()
    };
    let scores = Scores::of(&metrics, Stage::Adoption, &model());
    assert_eq!(scores.adoption, None);
    assert!((scores.activity.unwrap() - 92.5).abs() < 1e-9);
    assert!((scores.health.unwrap() - (0.1 * 100.0 + 0.5 * 92.5) / 0.6).abs() < 1e-9);
    assert!((scores.confidence - 0.6).abs() < 1e-9);
}

#[test]
fn nothing_known_gives_no_score_instead_of_a_bad_one() {
    let scores = Scores::of(&Metrics::default(), Stage::Adoption, &model());
    assert_eq!(
        (scores.health, scores.churn_risk, scores.band),
        (None, None, Band::Unknown)
    );
    assert_eq!(scores.confidence, 0.0);
}

#[test]
fn an_account_that_has_left_is_not_scored() {
    assert_eq!(
        Scores::of(&healthy(), Stage::Churned, &model()),
        Scores::default()
    );
}

#[test]
fn waiting_for_value_is_never_as_good_as_having_it() {
    let model = model();
    let waiting = Metrics {
        ttv_days: None,
        ttv_running_days: Some(1.0),
        ..healthy()
    };
    assert_eq!(Scores::of(&waiting, Stage::Onboarding, &model).ttv, Some(75.0));
    let long = Metrics {
        ttv_days: None,
        ttv_running_days: Some(42.0),
        ..healthy()
    };
    assert_eq!(
        Scores::of(&long, Stage::Onboarding, &model).ttv,
        Some(25.0),
        "between 28 and 56 days"
    );
}

#[test]
fn every_worse_input_raises_the_risk_and_names_itself_as_the_strongest_driver() {
    let model = model();
    let base = Scores::of(&healthy(), Stage::Adoption, &model)
        .churn_risk
        .unwrap();
    let worse = [
        (
            "days_since_last_active",
            Metrics {
                days_since_last_active: Some(30),
                ..healthy()
            },
        ),
        (
            "usage_trend",
            Metrics {
                usage_trend: Some(0.1),
                ..healthy()
            },
        ),
        (
            "ttv_running_days",
            Metrics {
                ttv_days: None,
                ttv_running_days: Some(74.0),
                ..healthy()
            },
        ),
        (
            "oldest_open_ticket_days",
            Metrics {
                oldest_open_ticket_days: Some(30.0),
                ..healthy()
            },
        ),
    ];
    for (input, metrics) in worse {
        let scores = Scores::of(&metrics, Stage::Adoption, &model);
        assert!(scores.churn_risk.unwrap() > base, "{input}");
        let first = scores
            .drivers
            .iter()
            .find(|driver| driver.score == "churn_risk")
            .unwrap();
        assert_eq!(first.input, input);
    }
}
