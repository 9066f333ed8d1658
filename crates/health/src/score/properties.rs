//! What holds for any numbers and any configuration that is accepted.

use proptest::prelude::*;
use proptest::sample::select;

use super::tests::{metrics, model, points, scores_of, set};
use super::*;
use crate::config::HealthConfig;

/// Every number that the default scores look at and that can be unknown, with its range and a step
/// beyond the corners on both sides.
const NUMBERS: [(&str, f64, f64); 21] = [
    ("ttv_days", 0.0, 90.0),
    ("ttv_running_days", 0.0, 90.0),
    ("onboarding_state", 0.0, 3.0),
    ("workdays_since_last_active", 0.0, 40.0),
    ("usage_trend", 0.0, 3.0),
    ("active_users_trend", 0.0, 3.0),
    ("logins_per_user_28d", 0.0, 30.0),
    ("logins_week_ratio", 0.0, 4.0),
    ("seat_utilisation", 0.0, 1.4),
    ("relative_stickiness", 0.0, 3.0),
    ("feature_breadth", 0.0, 1.0),
    ("feature_depth", 0.0, 50.0),
    ("nps", -100.0, 100.0),
    ("csat", 1.0, 5.0),
    ("open_ticket_age_days", 0.0, 60.0),
    ("open_escalations", 0.0, 5.0),
    ("top_user_share", 0.0, 1.0),
    ("usage_z", -8.0, 8.0),
    ("champion_days_silent", 0.0, 90.0),
    ("days_to_renewal", -30.0, 400.0),
    ("errors_trend", 0.0, 9.0),
];

/// Any of the numbers known with any value, and the account once active.
fn any_metrics() -> impl Strategy<Value = Metrics> {
    let numbers = NUMBERS.map(|(name, least, most)| {
        let value = proptest::option::weighted(0.7, least..=most);
        value.prop_map(move |value| value.map(|value| (name, value)))
    });
    (numbers.to_vec(), 0..3u32, 0..3u32).prop_map(|(numbers, removed, downgrades)| {
        let known: Vec<(&str, f64)> = numbers.into_iter().flatten().collect();
        Metrics {
            days_since_last_active: Some(1),
            champions_removed_28d: removed,
            downgrades_28d: downgrades,
            ..metrics(&known)
        }
    })
}

fn any_stage() -> impl Strategy<Value = Stage> {
    select(vec![
        Stage::Trial,
        Stage::Onboarding,
        Stage::Adoption,
        Stage::Expansion,
        Stage::Renewal,
    ])
}

/// The default inputs with other weights, other points and fewer inputs, and other weights of the
/// components.
fn any_model() -> impl Strategy<Value = Model> {
    let weights = proptest::collection::vec(prop_oneof![Just(0.0), 0.001..100.0f64], 4);
    let inputs = proptest::collection::vec((any::<bool>(), 0.001..100.0f64, 0.0..=100.0f64), 42);
    (weights, inputs).prop_map(|(weights, inputs)| {
        let mut config = HealthConfig::default();
        let mut inputs = inputs.into_iter().cycle();
        let scores = &mut config.scores;
        for list in [
            &mut scores.ttv,
            &mut scores.activity,
            &mut scores.adoption,
            &mut scores.sentiment,
            &mut scores.support,
            &mut scores.expansion,
        ] {
            list.retain_mut(|input| {
                let Some((keep, weight, middle)) = inputs.next() else {
                    return false;
                };
                input.weight = weight;
                input.curve[1].1 = middle;
                keep
            });
        }
        config.weights = [(
            "adoption".to_string(),
            Weights {
                ttv: weights[0],
                activity: weights[1],
                adoption: weights[2],
                sentiment: weights[3],
                support: 1.0,
            },
        )]
        .into();
        Model::new(config).unwrap()
    })
}

/// The same model without the inputs that look at `number`.
fn without(number: &str) -> Model {
    let mut config = HealthConfig::default();
    let scores = &mut config.scores;
    for list in [
        &mut scores.ttv,
        &mut scores.activity,
        &mut scores.adoption,
        &mut scores.sentiment,
        &mut scores.support,
        &mut scores.expansion,
    ] {
        list.retain(|input| input.number != number);
    }
    scores.churn.retain(|input| input.number != number);
    Model::new(config).unwrap()
}

fn forget(metrics: &mut Metrics, number: &str) {
    match number {
        "ttv_days" => metrics.ttv_days = None,
        "onboarding_state" => metrics.onboarding_state = None,
        "workdays_since_last_active" => metrics.workdays_since_last_active = None,
        "usage_trend" => metrics.usage_trend = None,
        "seat_utilisation" => metrics.seat_utilisation = None,
        "feature_breadth" => metrics.feature_breadth = None,
        "nps" => metrics.nps = None,
        "csat" => metrics.csat = None,
        "open_escalations" => metrics.open_escalations = None,
        other => panic!("{other} is not among the numbers that are forgotten"),
    }
}

fn is_score(score: Option<f64>) -> bool {
    score.is_none_or(|score| (0.0..=100.0).contains(&score))
}

proptest! {
    #[test]
    fn the_points_of_the_drivers_add_up_to_the_scores(
        metrics in any_metrics(), stage in any_stage(), model in any_model(),
    ) {
        let scores = scores_of(&metrics, stage, &model);
        match scores.health {
            Some(health) => prop_assert!((50.0 + points(&scores, "health") - health).abs() < 1e-9),
            None => prop_assert_eq!(points(&scores, "health"), 0.0),
        }
        match scores.expansion {
            Some(expansion) => prop_assert!((50.0 + points(&scores, "expansion") - expansion).abs() < 1e-9),
            None => prop_assert_eq!(points(&scores, "expansion"), 0.0),
        }
        let log_odds = model.config.scores.churn_base + points(&scores, "churn_risk");
        let risk = scores.churn_risk.unwrap();
        prop_assert!((1.0 / (1.0 + (-log_odds).exp()) - risk).abs() < 1e-12);
    }

    #[test]
    fn every_score_lies_within_its_bounds_and_is_told_by_what_is_known(
        metrics in any_metrics(), stage in any_stage(), model in any_model(),
    ) {
        let scores = scores_of(&metrics, stage, &model);
        let Scores { health, ttv, activity, adoption, sentiment, support, expansion, .. } = scores;
        for score in [health, ttv, activity, adoption, sentiment, support, expansion] {
            prop_assert!(is_score(score), "{:?}", score);
        }
        prop_assert!(scores.churn_risk.is_some_and(|risk| risk > 0.0 && risk < 1.0));
        let weights = model.weights(stage, None);
        let known: f64 = Component::ALL
            .into_iter()
            .filter(|component| scores.component(*component).is_some())
            .map(|component| component.weight(&weights))
            .sum();
        let all: f64 = Component::ALL.into_iter().map(|component| component.weight(&weights)).sum();
        prop_assert!((0.0..=1.0).contains(&scores.confidence));
        prop_assert!((scores.confidence - known / all).abs() < 1e-12);
        prop_assert_eq!(scores.health.is_some(), scores.confidence > 0.0);
        prop_assert_eq!(scores.health.is_some(), scores.band != Band::Unknown);
        for driver in &scores.drivers {
            prop_assert!(driver.points.is_finite());
            prop_assert_eq!(driver.value, metrics.number(driver.input));
        }
        for pair in scores.drivers.windows(2).filter(|pair| pair[0].score == pair[1].score) {
            let (one, other) = (pair[0].points.abs(), pair[1].points.abs());
            prop_assert!(one > other || (one == other && pair[0].input < pair[1].input));
        }
    }

    #[test]
    fn an_input_that_is_unknown_is_as_good_as_not_configured(
        metrics in any_metrics(),
        stage in any_stage(),
        number in select(vec![
            "ttv_days", "onboarding_state", "workdays_since_last_active", "usage_trend", "seat_utilisation",
            "feature_breadth", "nps", "csat", "open_escalations",
        ]),
    ) {
        let mut forgetful = metrics.clone();
        forget(&mut forgetful, number);
        prop_assert_eq!(
            scores_of(&forgetful, stage, &model()),
            scores_of(&metrics, stage, &without(number))
        );
    }

    #[test]
    fn scores_move_the_way_of_the_curve(
        base in any_metrics(),
        stage in any_stage(),
        which in 0..NUMBERS.len(),
        one in 0.0..=1.0f64,
        other in 0.0..=1.0f64,
    ) {
        let (name, least, most) = NUMBERS[which];
        let at = |part: f64| {
            let mut metrics = base.clone();
            set(&mut metrics, name, least + part * (most - least));
            scores_of(&metrics, stage, &model())
        };
        let (low, high) = (at(one.min(other)), at(one.max(other)));
        let config = ScoresConfig::default();
        for component in Component::ALL {
            let input = component.configured(&config).iter().find(|input| input.number == name);
            let Some(input) = input else {
                prop_assert_eq!(low.component(component), high.component(component));
                continue;
            };
            let rises = input.curve[0].1 < input.curve[input.curve.len() - 1].1;
            let sign = if rises { 1.0 } else { -1.0 };
            for (low, high) in [(low.component(component), high.component(component)), (low.health, high.health)] {
                let moved = high.zip(low).map(|(high, low)| sign * (high - low));
                prop_assert!(moved.is_none_or(|moved| moved >= -1e-9), "{} of {:?}", name, component);
            }
        }
        if let Some(input) = config.churn.iter().find(|input| input.number == name) {
            let rises = input.curve[0].1 < input.curve[input.curve.len() - 1].1;
            let (less, more) = if rises { (&low, &high) } else { (&high, &low) };
            prop_assert!(less.churn_risk.unwrap() <= more.churn_risk.unwrap() + 1e-12);
        }
    }

    #[test]
    fn an_account_that_has_churned_has_no_scores(metrics in any_metrics()) {
        prop_assert_eq!(scores_of(&metrics, Stage::Churned, &model()), Scores::default());
    }
}
