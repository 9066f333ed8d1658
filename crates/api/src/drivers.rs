//! What moved a score, in numbers and in words.

use serde::Serialize;
use store::Driver;

use crate::words::{Words, label, sentence};

/// From this risk on, even an account in the green band is told by what speaks against it.
const NOTABLE_RISK: f64 = 0.2;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DriverAnswer {
    score: String,
    input: String,
    label: Words,
    value: Option<f64>,
    /// What is usual for the account.
    baseline: Option<f64>,
    direction: Option<Direction>,
    /// Points of health or expansion, or log-odds of churn.
    points: f64,
    effect: Effect,
    sentence: Words,
}

/// Which way a driver pulls, whatever the direction of its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    Good,
    Bad,
    None,
}

/// Where a value lies from what is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    Up,
    Down,
    Level,
}

impl DriverAnswer {
    pub(crate) fn of(driver: &Driver) -> DriverAnswer {
        let (score, input, value, baseline, points) = driver;
        DriverAnswer {
            score: score.clone(),
            input: input.clone(),
            label: label(input),
            value: *value,
            baseline: *baseline,
            direction: value
                .zip(*baseline)
                .map(|(value, baseline)| direction(value, baseline)),
            points: *points,
            effect: effect(score, *points),
            sentence: sentence(input, *value, *baseline),
        }
    }
}

fn direction(value: f64, baseline: f64) -> Direction {
    // Two ways to the same number may differ in the last digits.
    if (value - baseline).abs() <= 1e-9 * baseline.abs().max(1.0) {
        Direction::Level
    } else if value > baseline {
        Direction::Up
    } else {
        Direction::Down
    }
}

fn effect(score: &str, points: f64) -> Effect {
    let good = if score == "churn_risk" { -points } else { points };
    if good > 0.0 {
        Effect::Good
    } else if good < 0.0 {
        Effect::Bad
    } else {
        Effect::None
    }
}

/// The strongest driver that explains the band: of health, or of the risk when health has none that
/// pulls that way. Room to grow explains no band.
pub(crate) fn reason(band: &str, churn_risk: Option<f64>, drivers: &[Driver]) -> Option<DriverAnswer> {
    let well = band == "green" && churn_risk.unwrap_or(0.0) < NOTABLE_RISK;
    let wanted = if well { Effect::Good } else { Effect::Bad };
    let strongest = |of: &str| {
        drivers
            .iter()
            .filter(|(score, ..)| score == of)
            .filter(|(score, .., points)| effect(score, *points) == wanted)
            .max_by(|(.., one), (.., other)| one.abs().total_cmp(&other.abs()))
    };
    strongest("health")
        .or_else(|| strongest("churn_risk"))
        .map(DriverAnswer::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(score: &str, input: &str, points: f64) -> Driver {
        (score.to_string(), input.to_string(), Some(1.0), None, points)
    }

    #[test]
    fn a_red_account_is_told_by_what_pulls_it_down_most() {
        let drivers = [
            driver("health", "feature_breadth", 20.0),
            driver("health", "usage_trend", -9.0),
            driver("health", "days_since_last_active", -15.0),
            driver("churn_risk", "logins_7d", 40.0),
        ];
        let told = reason("red", Some(0.7), &drivers).unwrap();
        assert_eq!(told.input, "days_since_last_active");
        assert_eq!(told.effect, Effect::Bad);
    }

    #[test]
    fn a_green_account_is_told_by_what_holds_it_up_unless_its_risk_is_notable() {
        let drivers = [
            driver("health", "usage_trend", -30.0),
            driver("health", "feature_breadth", 20.0),
        ];
        assert_eq!(
            reason("green", Some(0.05), &drivers).unwrap().input,
            "feature_breadth"
        );
        assert_eq!(reason("green", Some(0.4), &drivers).unwrap().input, "usage_trend");
    }

    #[test]
    fn the_risk_speaks_when_health_has_nothing_to_say() {
        let drivers = [
            driver("health", "feature_breadth", 20.0),
            driver("churn_risk", "oldest_open_ticket_days", 0.8),
            driver("churn_risk", "usage_trend", -2.0),
            driver("expansion", "seat_utilisation", -30.0),
        ];
        assert_eq!(
            reason("yellow", None, &drivers).unwrap().input,
            "oldest_open_ticket_days"
        );
        assert_eq!(reason("unknown", None, &[]), None);
    }

    #[test]
    fn a_value_is_held_against_what_is_usual() {
        let told = |value: Option<f64>, baseline: Option<f64>| {
            let driver = ("health".into(), "feature_depth".into(), value, baseline, 1.0);
            DriverAnswer::of(&driver).direction
        };
        assert_eq!(told(Some(4.0), Some(9.0)), Some(Direction::Down));
        assert_eq!(told(Some(0.3), Some(0.1)), Some(Direction::Up));
        assert_eq!(told(Some(0.1 + 0.2), Some(0.3)), Some(Direction::Level));
        assert_eq!(told(Some(1.0), None), None);
        assert_eq!(told(None, Some(1.0)), None);
    }
}
