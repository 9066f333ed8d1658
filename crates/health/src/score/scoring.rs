//! The scores' configuration, checked and compiled: each input knows the place of its number, so that
//! scoring an account looks up no names.

use super::baseline::Baseline;
use super::config::{InputConfig, ScoresConfig};
use super::curve::Curve;
use super::{Component, Driver};
use crate::config::{ConfigError, wrong};
use crate::numbers::{Metrics, NUMBERS};

/// Most that one weight may be, so that no sum of them overflows.
pub(crate) const MOST_WEIGHT: f64 = 1e6;

/// Furthest from 0 that log-odds may lie; 100 is certainty many times over.
const MOST_LOG_ODDS: f64 = 100.0;

/// An account's numbers, in the order of [`NUMBERS`].
pub(crate) type Numbers = [Option<f64>; NUMBERS.len()];

/// The inputs of every score.
#[derive(Debug, Clone)]
pub(crate) struct Scoring {
    /// In the order of [`Component::ALL`].
    pub(crate) components: [Inputs; Component::ALL.len()],
    pub(crate) expansion: Inputs,
    pub(crate) churn: Vec<Input>,
    pub(crate) churn_base: f64,
}

/// The inputs of a component, or of `expansion`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inputs(Vec<Input>);

/// A number and the line along which it earns points.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    /// Its place in [`NUMBERS`].
    place: usize,
    weight: f64,
    curve: Curve,
    baseline: Baseline,
}

impl Scoring {
    /// # Errors
    /// Names the field that is wrong and what would be right.
    pub(crate) fn new(config: &ScoresConfig) -> Result<Scoring, ConfigError> {
        let mut taken: Vec<(usize, Component)> = Vec::new();
        let mut components: [Inputs; Component::ALL.len()] = Default::default();
        for component in Component::ALL {
            let inputs = Inputs::new(component.as_str(), component.configured(config))?;
            for (position, input) in inputs.0.iter().enumerate() {
                if let Some((_, other)) = taken.iter().find(|(place, _)| *place == input.place) {
                    return Err(wrong(
                        &format!("scores.{}[{position}].number", component.as_str()),
                        format!(
                            "{:?} is an input of {} already; a number may be in one component of health only",
                            NUMBERS[input.place],
                            other.as_str()
                        ),
                    ));
                }
                taken.push((input.place, component));
            }
            components[component as usize] = inputs;
        }
        if !(-MOST_LOG_ODDS..=MOST_LOG_ODDS).contains(&config.churn_base) {
            return Err(wrong(
                "scores.churn_base",
                format!("must be log-odds within ±{MOST_LOG_ODDS}, such as -3.892 for 2 %"),
            ));
        }
        Ok(Scoring {
            components,
            expansion: Inputs::new("expansion", &config.expansion)?,
            churn: churn(config)?,
            churn_base: config.churn_base,
        })
    }

    /// How many drivers there can be.
    pub(crate) fn inputs(&self) -> usize {
        let of_components: usize = self.components.iter().map(|inputs| inputs.0.len()).sum();
        of_components + self.expansion.0.len() + self.churn.len()
    }
}

fn churn(config: &ScoresConfig) -> Result<Vec<Input>, ConfigError> {
    let mut inputs: Vec<Input> = Vec::new();
    for (position, input) in config.churn.iter().enumerate() {
        let field = |name: &str| format!("scores.churn[{position}].{name}");
        let place = place(&field("number"), &input.number, &inputs)?;
        let curve = Curve::new(&input.curve, -MOST_LOG_ODDS..=MOST_LOG_ODDS);
        inputs.push(Input {
            place,
            weight: 1.0,
            curve: curve.map_err(|problem| wrong(&field("curve"), problem))?,
            baseline: Baseline::of_number(&input.number),
        });
    }
    Ok(inputs)
}

impl Inputs {
    fn new(list: &str, configured: &[InputConfig]) -> Result<Inputs, ConfigError> {
        let mut inputs: Vec<Input> = Vec::new();
        for (position, input) in configured.iter().enumerate() {
            let field = |name: &str| format!("scores.{list}[{position}].{name}");
            let place = place(&field("number"), &input.number, &inputs)?;
            if !(input.weight > 0.0 && input.weight <= MOST_WEIGHT) {
                return Err(wrong(
                    &field("weight"),
                    format!("{} must be above 0 and at most {MOST_WEIGHT}", input.weight),
                ));
            }
            let curve = Curve::new(&input.curve, 0.0..=100.0);
            inputs.push(Input {
                place,
                weight: input.weight,
                curve: curve.map_err(|problem| wrong(&field("curve"), problem))?,
                baseline: Baseline::of_number(&input.number),
            });
        }
        Ok(Inputs(inputs))
    }

    /// The inputs whose number is known, with it.
    fn known<'a>(&'a self, numbers: &'a Numbers) -> impl Iterator<Item = (&'a Input, f64)> {
        self.0
            .iter()
            .filter_map(|input| input.value(numbers).map(|value| (input, value)))
    }

    /// The weighted mean of the points of the inputs that are known, 0–100.
    pub(crate) fn mean(&self, numbers: &Numbers) -> Option<f64> {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (input, value) in self.known(numbers) {
            sum += input.weight * input.curve.at(value);
            weights += input.weight;
        }
        (weights > 0.0).then(|| (sum / weights).clamp(0.0, 100.0))
    }

    /// Adds what each known input does to a score of which these inputs make up `share` (0–1): their
    /// points add up to `share` × (mean − 50).
    pub(crate) fn drive(
        &self,
        score: &'static str,
        share: f64,
        numbers: &Numbers,
        against: Against<'_>,
        drivers: &mut Vec<Driver>,
    ) {
        let weights: f64 = self.known(numbers).map(|(input, _)| input.weight).sum();
        for (input, value) in self.known(numbers) {
            let points = share * (input.weight / weights) * (input.curve.at(value) - 50.0);
            drivers.push(input.driver(score, value, points, against));
        }
    }
}

impl Input {
    /// A number that is not finite says nothing.
    fn value(&self, numbers: &Numbers) -> Option<f64> {
        numbers[self.place].filter(|value| value.is_finite())
    }

    /// What the input does to `churn_risk`, in log-odds; `None` when its number is unknown.
    pub(crate) fn churn_driver(&self, numbers: &Numbers, against: Against<'_>) -> Option<Driver> {
        let value = self.value(numbers)?;
        Some(self.driver("churn_risk", value, self.curve.at(value), against))
    }

    fn driver(&self, score: &'static str, value: f64, points: f64, against: Against<'_>) -> Driver {
        Driver {
            score,
            input: NUMBERS[self.place],
            value: Some(value),
            baseline: self.baseline.value(against.metrics, against.usual),
            // A zero has no sign.
            points: points + 0.0,
        }
    }
}

/// What baselines are taken from.
#[derive(Clone, Copy)]
pub(crate) struct Against<'a> {
    pub(crate) metrics: &'a Metrics,
    pub(crate) usual: &'a super::Usual,
}

/// The place of a number that is none of the `earlier` inputs.
fn place(field: &str, number: &str, earlier: &[Input]) -> Result<usize, ConfigError> {
    let Some(place) = NUMBERS.iter().position(|known| *known == number) else {
        let nearest = nearest(number);
        return Err(wrong(
            field,
            format!("{number:?} is not a number of account_metrics; the nearest name is {nearest:?}"),
        ));
    };
    if earlier.iter().any(|input| input.place == place) {
        return Err(wrong(field, format!("{number:?} is there twice")));
    }
    Ok(place)
}

/// The number whose name is spelt most like `name`.
fn nearest(name: &str) -> &'static str {
    let mut nearest = NUMBERS[0];
    for candidate in NUMBERS {
        if edits(name, candidate) < edits(name, nearest) {
            nearest = candidate;
        }
    }
    nearest
}

/// How many letters must be changed, added or left out to make one word of the other (Levenshtein).
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, candidate) in other.chars().enumerate() {
            let changed = diagonal + usize::from(letter != candidate);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
