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
    /// Points of health, or log-odds of churn.
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

impl DriverAnswer {
    pub(crate) fn of(driver: &Driver) -> DriverAnswer {
        let (score, input, value, points) = driver;
        DriverAnswer {
            score: score.clone(),
            input: input.clone(),
            label: label(input),
            value: *value,
            points: *points,
            effect: effect(score, *points),
            sentence: sentence(input, *value),
        }
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
/// pulls that way.
pub(crate) fn reason(band: &str, churn_risk: Option<f64>, drivers: &[Driver]) -> Option<DriverAnswer> {
    let well = band == "green" && churn_risk.unwrap_or(0.0) < NOTABLE_RISK;
    let wanted = if well { Effect::Good } else { Effect::Bad };
    let strongest = |of_risk: bool| {
        drivers
            .iter()
            .filter(|(score, ..)| (score == "churn_risk") == of_risk)
            .filter(|(score, _, _, points)| effect(score, *points) == wanted)
            .max_by(|one, other| one.3.abs().total_cmp(&other.3.abs()))
    };
    strongest(false).or_else(|| strongest(true)).map(DriverAnswer::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(score: &str, input: &str, points: f64) -> Driver {
        (score.to_string(), input.to_string(), Some(1.0), points)
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
        ];
        assert_eq!(
            reason("yellow", None, &drivers).unwrap().input,
            "oldest_open_ticket_days"
        );
        assert_eq!(reason("unknown", None, &[]), None);
    }
}
