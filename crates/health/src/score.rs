//! From numbers to scores.
//!
//! Every score is a weighted mean or a sum, so that what each input adds to it can be told exactly:
//! the points of the drivers of `health` add up to `health` − 50, those of `expansion` to `expansion`
//! − 50, and those of `churn_risk` to its log-odds less those of the base rate. An input that is
//! unknown counts nowhere: its weight falls to the others, as if it were not configured.

mod baseline;
mod config;
mod curve;
mod defaults;
mod scoring;

pub use baseline::Usual;
pub use config::{ChurnInput, InputConfig, ScoresConfig};
pub(crate) use scoring::{MOST_WEIGHT, Scoring};

use crate::config::{Model, Weights};
use crate::numbers::Metrics;
use crate::stage::Stage;
use scoring::{Against, Numbers};

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
    /// What customers said in surveys.
    pub sentiment: Option<f64>,
    /// How support stands: open tickets by age and escalation.
    pub support: Option<f64>,
    /// Probability of churn within 30 days; 1 is bad.
    pub churn_risk: Option<f64>,
    /// How likely the account is to grow; not part of `health`.
    pub expansion: Option<f64>,
    /// Share of the components' weights whose component is known, 0–1.
    pub confidence: f64,
    /// Where `health` lies.
    pub band: Band,
    /// What moved `health`, then `churn_risk`, then `expansion`; strongest first within each.
    pub drivers: Vec<Driver>,
}

impl Scores {
    /// All scores, `health` and its parts first, then `churn_risk`, `expansion` and `confidence`.
    pub fn numbers(&self) -> [Option<f64>; 9] {
        [
            self.health,
            self.ttv,
            self.activity,
            self.adoption,
            self.sentiment,
            self.support,
            self.churn_risk,
            self.expansion,
            Some(self.confidence),
        ]
    }
}

/// A part of `health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    Ttv,
    Activity,
    Adoption,
    Sentiment,
    Support,
}

impl Component {
    pub(crate) const ALL: [Component; 5] = [
        Component::Ttv,
        Component::Activity,
        Component::Adoption,
        Component::Sentiment,
        Component::Support,
    ];

    /// The name used in ClickHouse and in the configuration.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Component::Ttv => "ttv",
            Component::Activity => "activity",
            Component::Adoption => "adoption",
            Component::Sentiment => "sentiment",
            Component::Support => "support",
        }
    }

    fn configured(self, config: &ScoresConfig) -> &[InputConfig] {
        match self {
            Component::Ttv => &config.ttv,
            Component::Activity => &config.activity,
            Component::Adoption => &config.adoption,
            Component::Sentiment => &config.sentiment,
            Component::Support => &config.support,
        }
    }

    pub(crate) fn weight(self, weights: &Weights) -> f64 {
        match self {
            Component::Ttv => weights.ttv,
            Component::Activity => weights.activity,
            Component::Adoption => weights.adoption,
            Component::Sentiment => weights.sentiment,
            Component::Support => weights.support,
        }
    }
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

    fn of(health: f64, model: &Model) -> Band {
        if health <= model.config.red_up_to {
            Band::Red
        } else if health <= model.config.yellow_up_to {
            Band::Yellow
        } else {
            Band::Green
        }
    }
}

/// What one input did to a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Driver {
    /// `health`, `churn_risk` or `expansion`.
    pub score: &'static str,
    /// The input, by its name in `account_metrics`.
    pub input: &'static str,
    /// The input's value.
    pub value: Option<f64>,
    /// What is usual for the account; `None` when that is unknown or the input has no usual.
    pub baseline: Option<f64>,
    /// Points above or below 50, or log-odds of churn above or below the base rate's.
    pub points: f64,
}

/// Where a value lies against what is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Direction {
    Up,
    Down,
    Level,
    /// The value or what is usual is unknown.
    Unknown,
}

impl Direction {
    /// Of a value against its baseline.
    pub fn of(value: Option<f64>, baseline: Option<f64>) -> Direction {
        let ordering = value
            .zip(baseline)
            .and_then(|(value, baseline)| value.partial_cmp(&baseline));
        match ordering {
            Some(std::cmp::Ordering::Greater) => Direction::Up,
            Some(std::cmp::Ordering::Less) => Direction::Down,
            Some(std::cmp::Ordering::Equal) => Direction::Level,
            None => Direction::Unknown,
        }
    }

    /// The name used in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::Level => "level",
            Direction::Unknown => "unknown",
        }
    }
}

impl Driver {
    /// The value against its baseline.
    pub fn direction(&self) -> Direction {
        Direction::of(self.value, self.baseline)
    }
}

impl Scores {
    /// The scores of an account with these numbers, in this stage and segment. `usual` is what the
    /// drivers' values are told against; no score depends on it.
    pub fn of(
        metrics: &Metrics,
        usual: &Usual,
        stage: Stage,
        segment: Option<&str>,
        model: &Model,
    ) -> Scores {
        if stage == Stage::Churned {
            return Scores::default();
        }
        let scoring = &model.scoring;
        let numbers = metrics.numbers();
        let against = Against { metrics, usual };
        let [ttv, activity, adoption, sentiment, support] =
            scoring.components.each_ref().map(|inputs| inputs.mean(&numbers));
        let mut scores = Scores {
            ttv,
            activity,
            adoption,
            sentiment,
            support,
            expansion: scoring.expansion.mean(&numbers),
            drivers: Vec::with_capacity(scoring.inputs()),
            ..Scores::default()
        };
        let weights = model.weights(stage, segment);
        scores.add_health(&weights, &numbers, against, model);
        let is_known = metrics.days_since_last_active.is_some() || metrics.ttv_running_days.is_some();
        if is_known {
            scores.add_churn_risk(&numbers, against, scoring);
        }
        if scores.expansion.is_some() {
            let begin = scores.drivers.len();
            scoring
                .expansion
                .drive("expansion", 1.0, &numbers, against, &mut scores.drivers);
            sort_strongest_first(&mut scores.drivers[begin..]);
        }
        scores
    }

    fn component(&self, component: Component) -> Option<f64> {
        match component {
            Component::Ttv => self.ttv,
            Component::Activity => self.activity,
            Component::Adoption => self.adoption,
            Component::Sentiment => self.sentiment,
            Component::Support => self.support,
        }
    }

    fn add_health(&mut self, weights: &Weights, numbers: &Numbers, against: Against<'_>, model: &Model) {
        let (mut sum, mut known, mut all) = (0.0, 0.0, 0.0);
        for component in Component::ALL {
            let weight = component.weight(weights);
            all += weight;
            if let Some(points) = self.component(component) {
                sum += weight * points;
                known += weight;
            }
        }
        if known <= 0.0 {
            return;
        }
        let health = (sum / known).clamp(0.0, 100.0);
        self.health = Some(health);
        self.confidence = known / all;
        self.band = Band::of(health, model);
        for component in Component::ALL {
            let share = component.weight(weights) / known;
            let inputs = &model.scoring.components[component as usize];
            inputs.drive("health", share, numbers, against, &mut self.drivers);
        }
        sort_strongest_first(&mut self.drivers);
    }

    fn add_churn_risk(&mut self, numbers: &Numbers, against: Against<'_>, scoring: &Scoring) {
        let begin = self.drivers.len();
        let mut log_odds = scoring.churn_base;
        for input in &scoring.churn {
            if let Some(driver) = input.churn_driver(numbers, against) {
                log_odds += driver.points;
                self.drivers.push(driver);
            }
        }
        self.churn_risk = Some(1.0 / (1.0 + (-log_odds).exp()));
        sort_strongest_first(&mut self.drivers[begin..]);
    }
}

fn sort_strongest_first(drivers: &mut [Driver]) {
    drivers.sort_unstable_by(|one, other| {
        other
            .points
            .abs()
            .total_cmp(&one.points.abs())
            .then_with(|| one.input.cmp(other.input))
    });
}

#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
