//! Section `[health.scores]`: what each number earns, as it is written. Checked in
//! [`Scoring::new`](super::scoring::Scoring::new).

use serde::{Deserialize, Serialize};

/// Section `[health.scores]`: the inputs of each score and the line along which an input earns points.
/// Giving one list replaces that list. The defaults are those of `docs/numbers.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoresConfig {
    /// Inputs of the component `ttv`. A component without inputs is unknown.
    pub ttv: Vec<InputConfig>,
    /// Inputs of the component `activity`.
    pub activity: Vec<InputConfig>,
    /// Inputs of the component `adoption`.
    pub adoption: Vec<InputConfig>,
    /// Inputs of the component `sentiment`.
    pub sentiment: Vec<InputConfig>,
    /// Inputs of the component `support`.
    pub support: Vec<InputConfig>,
    /// Inputs of `expansion`, which is not part of `health`.
    pub expansion: Vec<InputConfig>,
    /// Log-odds of churn within 30 days of an account all of whose inputs add 0. Default −3.892, 2 %.
    pub churn_base: f64,
    /// Inputs of `churn_risk`.
    pub churn: Vec<ChurnInput>,
}

/// An input of a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// The number, by its name in `account_metrics`; `onboarding_state` counts done 0, on track 1,
    /// behind 2, stalled 3. A number may be in one of the five components of `health` only.
    pub number: String,
    /// How much it counts within the component, above 0. Only the proportions matter.
    pub weight: f64,
    /// Corners (value, points): the values ascend, points run from 0 to 100. Between two corners the
    /// points lie on the line, beyond the first and the last they are level.
    pub curve: Vec<(f64, f64)>,
}

/// An input of `churn_risk`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChurnInput {
    /// The number, by its name in `account_metrics`.
    pub number: String,
    /// Corners (value, log-odds): the values ascend; above 0 speaks for churn, below against it.
    pub curve: Vec<(f64, f64)>,
}
