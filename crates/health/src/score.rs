//! From numbers to scores.
//!
//! Every score is a weighted mean, so that what each input adds to it can be told exactly: the points
//! of all drivers of `health` add up to `health` − 50, and those of `churn_risk` to its log-odds less
//! the base rate's.

use crate::config::{Model, Weights};
use crate::metrics::{Metrics, OnboardingState};
use crate::stage::Stage;

/// Most that `ttv` can be while the value event has not happened.
const WAITING_AT_MOST: f64 = 75.0;

/// Log-odds of leaving within 30 days for an account at the reference of every input: 2 %.
const BASE_LOG_ODDS: f64 = -3.892;

/// How well the account does: 0–100 and 100 is well, save `churn_risk`. `None` means unknown, which
/// all scores are of an account that has churned.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// Weighted mean of the components that are known.
    pub health: Option<f64>,
    /// How soon the first value came, or how long it is waited for.
    pub ttv: Option<f64>,
    /// Recency, frequency, reach and trend of use.
    pub activity: Option<f64>,
    /// Breadth and depth of feature use.
    pub adoption: Option<f64>,
    /// Probability of churn within 30 days; 1 is bad.
    pub churn_risk: Option<f64>,
    /// Share of the components' weights whose component is known, 0–1.
    pub confidence: f64,
    /// Where `health` lies.
    pub band: Band,
    /// What moved `health` and `churn_risk`, strongest first within each.
    pub drivers: Vec<Driver>,
}

/// Where health lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Band {
    #[default]
    Unknown,
    Red,
    Yellow,
    Green,
}

impl Band {
    /// The name used in ClickHouse.
    pub fn as_str(self) -> &'static str {
        match self {
            Band::Unknown => "unknown",
            Band::Red => "red",
            Band::Yellow => "yellow",
            Band::Green => "green",
        }
    }
}

/// What one input did to a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Driver {
    /// `health` or `churn_risk`.
    pub score: &'static str,
    /// The input, by its name in `account_metrics`.
    pub input: &'static str,
    /// The input's value.
    pub value: Option<f64>,
    /// Points of health above or below 50, or log-odds of churn above or below the base rate's.
    pub points: f64,
}

/// An input of a component: its value, the points it earns (0–100), and its weight in the component.
struct Input {
    name: &'static str,
    value: Option<f64>,
    points: f64,
    weight: f64,
}

impl Scores {
    /// The scores of an account with these numbers in this stage.
    pub fn of(metrics: &Metrics, stage: Stage, model: &Model) -> Scores {
        if stage == Stage::Churned {
            return Scores::default();
        }
        let weights = model.config.weights.get(stage.as_str());
        let weights = weights.or_else(|| model.config.weights.get("adoption"));
        let weights = weights.copied().unwrap_or(Weights {
            ttv: 1.0,
            activity: 1.0,
            adoption: 1.0,
        });
        let components = [
            (weights.ttv, ttv_inputs(metrics, model)),
            (weights.activity, activity_inputs(metrics, model)),
            (weights.adoption, adoption_inputs(metrics, model)),
        ];
        let [ttv, activity, adoption] = [0, 1, 2].map(|place| mean(&components[place].1));

        let all: f64 = components.iter().map(|(weight, _)| weight).sum();
        let known: f64 = components
            .iter()
            .filter(|(_, inputs)| mean(inputs).is_some())
            .map(|(weight, _)| weight)
            .sum();
        let mut scores = Scores {
            ttv,
            activity,
            adoption,
            confidence: known / all,
            ..Scores::default()
        };
        if known > 0.0 {
            let mut health = 50.0;
            for (weight, inputs) in &components {
                let within: f64 = inputs
                    .iter()
                    .filter(|input| input.value.is_some())
                    .map(|input| input.weight)
                    .sum();
                for input in inputs.iter().filter(|input| input.value.is_some()) {
                    let points = weight / known * (input.weight / within) * (input.points - 50.0);
                    health += points;
                    scores.drivers.push(Driver {
                        score: "health",
                        input: input.name,
                        value: input.value,
                        points,
                    });
                }
            }
            let health = health.clamp(0.0, 100.0);
            scores.health = Some(health);
            scores.band = band(health, model);
        }
        sort_strongest_first(&mut scores.drivers);

        let mut risks = churn_inputs(metrics, model);
        if metrics.days_since_last_active.is_some() || metrics.ttv_running_days.is_some() {
            let log_odds = BASE_LOG_ODDS + risks.iter().map(|driver| driver.points).sum::<f64>();
            scores.churn_risk = Some(1.0 / (1.0 + (-log_odds).exp()));
            sort_strongest_first(&mut risks);
            scores.drivers.append(&mut risks);
        }
        scores
    }
}

fn band(health: f64, model: &Model) -> Band {
    if health <= model.config.red_up_to {
        Band::Red
    } else if health <= model.config.yellow_up_to {
        Band::Yellow
    } else {
        Band::Green
    }
}

fn ttv_inputs(metrics: &Metrics, model: &Model) -> Vec<Input> {
    let expected = model.config.expected_ttv_days;
    let curve = [(expected, 100.0), (2.0 * expected, 50.0), (4.0 * expected, 0.0)];
    let reached = metrics.ttv_days.map_or(0.0, |days| along(&curve, days));
    let waiting = metrics
        .ttv_running_days
        .map_or(0.0, |days| along(&curve, days).min(WAITING_AT_MOST));
    vec![
        Input {
            name: "ttv_days",
            value: metrics.ttv_days,
            points: reached,
            weight: 1.0,
        },
        Input {
            name: "ttv_running_days",
            value: metrics.ttv_running_days,
            points: waiting,
            weight: 1.0,
        },
    ]
}

/// Last seen within a day is well and over five days poor (PostHog's practice); a healthy user logs
/// in ten times in four weeks (Gainsight); seat use has its bands at 10, 50 and 75 % (GitLab).
fn activity_inputs(metrics: &Metrics, model: &Model) -> Vec<Input> {
    let recency = metrics.days_since_last_active.map(f64::from);
    let users = f64::from(metrics.active_users_28d);
    let logins = recency.map(|_| {
        if users > 0.0 {
            f64::from(metrics.logins_28d) / users
        } else {
            0.0
        }
    });
    let input = |name, value: Option<f64>, weight, curve: &[(f64, f64)]| Input {
        name,
        value,
        points: value.map_or(0.0, |value| along(curve, value)),
        weight,
    };
    vec![
        input(
            "days_since_last_active",
            recency,
            0.3,
            &[(1.0, 100.0), (5.0, 50.0), (15.0, 0.0)],
        ),
        input(
            "usage_trend",
            metrics.usage_trend,
            0.3,
            &[(0.0, 0.0), (0.5, 20.0), (0.8, 50.0), (1.0, 80.0), (1.2, 100.0)],
        ),
        input(
            "logins_28d",
            logins,
            0.2,
            &[(0.0, 0.0), (model.config.healthy_logins, 100.0)],
        ),
        input(
            "seat_utilisation",
            metrics.seat_utilisation,
            0.2,
            &[(0.0, 0.0), (0.1, 25.0), (0.5, 60.0), (0.75, 100.0)],
        ),
    ]
}

/// Half breadth, half depth (Gainsight).
fn adoption_inputs(metrics: &Metrics, model: &Model) -> Vec<Input> {
    let depth_points = |depth: f64| along(&[(0.0, 0.0), (model.config.full_depth_uses, 100.0)], depth);
    vec![
        Input {
            name: "feature_breadth",
            value: metrics.feature_breadth,
            points: metrics.feature_breadth.unwrap_or(0.0) * 100.0,
            weight: 0.5,
        },
        Input {
            name: "feature_depth",
            value: metrics.feature_depth,
            points: metrics.feature_depth.map_or(0.0, depth_points),
            weight: 0.5,
        },
    ]
}

/// The inputs of the logistic model with their log-odds. The coefficients are fixed and were set by
/// judgement: silence, a fall against the account's own past, little breadth, no value yet, an old
/// ticket. Each is 0 at the reference of a customer who does averagely.
fn churn_inputs(metrics: &Metrics, model: &Model) -> Vec<Driver> {
    let mut drivers = Vec::new();
    let mut add = |input, value: f64, points: f64| {
        drivers.push(Driver {
            score: "churn_risk",
            input,
            value: Some(value),
            points,
        });
    };
    if let Some(days) = metrics.days_since_last_active {
        let days = f64::from(days);
        add("days_since_last_active", days, 0.1 * (days.min(35.0) - 2.0));
    }
    if let Some(trend) = metrics.usage_trend {
        add("usage_trend", trend, -1.4 * trend.clamp(0.1, 2.0).ln());
    }
    if metrics.logins_28d > 0 {
        // The last week against the weeks before it.
        let week = f64::from(metrics.logins_7d);
        let usual = f64::from(metrics.logins_28d) / 4.0;
        add("logins_7d", week, -0.5 * (week / usual).clamp(0.1, 2.0).ln());
    }
    if let Some(breadth) = metrics.feature_breadth {
        add("feature_breadth", breadth, -1.5 * (breadth - 0.5));
    }
    if let Some(waiting) = metrics.ttv_running_days {
        let over = (waiting - model.config.expected_ttv_days).clamp(0.0, 60.0);
        add("ttv_running_days", waiting, 0.03 * over);
    }
    if let Some(days) = metrics.oldest_open_ticket_days {
        add("oldest_open_ticket_days", days, 0.04 * days.min(30.0));
    }
    if metrics.onboarding_state == Some(OnboardingState::Stalled) {
        add("onboarding_state", OnboardingState::Stalled as u8 as f64, 0.5);
    }
    drivers
}

/// The mean of the inputs that are known.
fn mean(inputs: &[Input]) -> Option<f64> {
    let known = inputs.iter().filter(|input| input.value.is_some());
    let (sum, weights) = known.fold((0.0, 0.0), |(sum, weights), input| {
        (sum + input.weight * input.points, weights + input.weight)
    });
    (weights > 0.0).then(|| sum / weights)
}

/// The height of a line through `points`, level before the first and after the last.
fn along(points: &[(f64, f64)], x: f64) -> f64 {
    let mut previous = points[0];
    if x <= previous.0 {
        return previous.1;
    }
    for &(next_x, next_y) in &points[1..] {
        if x <= next_x {
            return previous.1 + (next_y - previous.1) * (x - previous.0) / (next_x - previous.0);
        }
        previous = (next_x, next_y);
    }
    previous.1
}

fn sort_strongest_first(drivers: &mut [Driver]) {
    drivers.sort_by(|one, other| {
        other
            .points
            .abs()
            .total_cmp(&one.points.abs())
            .then(one.input.cmp(other.input))
    });
}

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;
