//! Where an account stands in its life.
//!
//! The stage at an instant follows from the account's [`Moments`] alone: between two of them it cannot
//! change, so its history is what holds at each, and a late event corrects all of it.

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::config::{ConfigError, Model, wrong};
use crate::moment::{Moment, Moments};

/// Where an account stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A trial has begun and no contract.
    Trial,
    /// The value event or a milestone is still to come, within 90 days of the start.
    Onboarding,
    /// In use.
    Adoption,
    /// Grown lately.
    Expansion,
    /// The contract is up for renewal.
    Renewal,
    /// The contract was cancelled, or a trial ran out without one.
    Churned,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Stage; 6] = [
        Stage::Trial,
        Stage::Onboarding,
        Stage::Adoption,
        Stage::Expansion,
        Stage::Renewal,
        Stage::Churned,
    ];

    /// The name used in ClickHouse and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Trial => "trial",
            Stage::Onboarding => "onboarding",
            Stage::Adoption => "adoption",
            Stage::Expansion => "expansion",
            Stage::Renewal => "renewal",
            Stage::Churned => "churned",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

/// When an account is in a stage: since the newest of the moments `from`, unless one of the moments
/// `until` is as new.
///
/// A moment is `started`, `trial_started`, `contract_started`, `trial_lapsed`, `onboarded`, `upgraded`,
/// `renewed`, `cancelled`, `downgraded`, `revived` or `contract_ends`, or one of them with days of 24
/// hours added or taken away, as `contract_ends - 60d`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// The stage: `trial`, `onboarding`, `adoption`, `expansion`, `renewal` or `churned`.
    pub name: String,
    /// Moments at which it is entered.
    pub from: Vec<String>,
    /// Moments at which it is left. Default none.
    #[serde(default)]
    pub until: Vec<String>,
}

/// The stages that ship.
pub(crate) fn shipped() -> Vec<StageConfig> {
    let stage = |stage: Stage, from: &[&str], until: &[&str]| StageConfig {
        name: stage.as_str().to_string(),
        from: from.iter().map(ToString::to_string).collect(),
        until: until.iter().map(ToString::to_string).collect(),
    };
    vec![
        stage(Stage::Churned, &["cancelled", "trial_lapsed"], &["revived"]),
        stage(Stage::Trial, &["trial_started"], &["contract_started"]),
        stage(Stage::Onboarding, &["started"], &["onboarded", "started + 90d"]),
        stage(
            Stage::Renewal,
            &["contract_ends - 60d"],
            &["renewed", "contract_ends + 30d"],
        ),
        stage(Stage::Expansion, &["upgraded"], &["upgraded + 90d", "downgraded"]),
        stage(Stage::Adoption, &["started"], &[]),
    ]
}

/// The stages as they are configured, in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Stages(Vec<Span>);

/// When an account is in a stage.
#[derive(Debug, Clone)]
struct Span {
    stage: Stage,
    from: Vec<Moment>,
    until: Vec<Moment>,
}

impl Span {
    fn holds(&self, moments: &Moments, at: i64) -> bool {
        match (newest(&self.from, moments, at), newest(&self.until, moments, at)) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(from), Some(until)) => from > until,
        }
    }
}

impl Stages {
    /// # Errors
    /// Names the field that is wrong and what would be right.
    pub(crate) fn new(config: &[StageConfig]) -> Result<Stages, ConfigError> {
        let mut spans: Vec<Span> = Vec::with_capacity(config.len());
        for (position, configured) in config.iter().enumerate() {
            let field = |name: &str| format!("stages[{position}].{name}");
            let Some(stage) = Stage::from_name(&configured.name) else {
                let known = Stage::ALL.map(Stage::as_str).join(", ");
                let problem = format!("{:?} is not a stage; stages are {known}", configured.name);
                return Err(wrong(&field("name"), problem));
            };
            if spans.iter().any(|span| span.stage == stage) {
                return Err(wrong(
                    &field("name"),
                    format!("{:?} is there twice", configured.name),
                ));
            }
            if configured.from.is_empty() {
                let problem = "must name a moment at which the stage is entered".to_string();
                return Err(wrong(&field("from"), problem));
            }
            spans.push(Span {
                stage,
                from: parse_moments(&field("from"), &configured.from)?,
                until: parse_moments(&field("until"), &configured.until)?,
            });
        }
        Ok(Stages(spans))
    }

    /// The stage at `at`: the first that holds, else onboarding.
    pub fn stage(&self, moments: &Moments, at: i64) -> Stage {
        let span = self.0.iter().find(|span| span.holds(moments, at));
        span.map_or(Stage::Onboarding, |span| span.stage)
    }

    /// Since when the stage at `at` has held without a break; `None` before the first moment.
    pub fn entered_at(&self, moments: &Moments, at: i64) -> Option<i64> {
        let stage = self.stage(moments, at);
        let newest_up_to = |at: i64| self.all(moments).filter(|moment| *moment <= at).max();
        let mut entered_at = None;
        let mut moment = newest_up_to(at);
        while let Some(since) = moment
            && self.stage(moments, since) == stage
        {
            entered_at = Some(since);
            moment = since.checked_sub(1).and_then(newest_up_to);
        }
        entered_at
    }

    /// The stages up to `at` in their order, each with the instant at which it was entered; two that
    /// follow one another differ.
    pub fn history(&self, moments: &Moments, at: i64) -> Vec<(Stage, i64)> {
        let mut past: Vec<i64> = self.all(moments).filter(|moment| *moment <= at).collect();
        past.sort_unstable();
        past.dedup();
        let mut history: Vec<(Stage, i64)> = Vec::new();
        for moment in past {
            let stage = self.stage(moments, moment);
            if history.last().is_none_or(|(last, _)| *last != stage) {
                history.push((stage, moment));
            }
        }
        history
    }

    /// Every instant at which the stage may change.
    fn all<'a>(&'a self, moments: &'a Moments) -> impl Iterator<Item = i64> + 'a {
        self.0
            .iter()
            .flat_map(|span| span.from.iter().chain(&span.until))
            .filter_map(|moment| moment.at(moments))
    }
}

impl Account {
    /// The stage at `at`, as far as it is known by now.
    pub fn stage(&self, at: i64, model: &Model) -> Stage {
        model.stages().stage(&self.moments(model), at)
    }

    /// Every stage up to `at` with the instant at which it was entered, oldest first.
    pub fn stage_history(&self, at: i64, model: &Model) -> Vec<(Stage, i64)> {
        model.stages().history(&self.moments(model), at)
    }
}

/// The newest of these moments that is not after `at`.
fn newest(named: &[Moment], moments: &Moments, at: i64) -> Option<i64> {
    named
        .iter()
        .filter_map(|moment| moment.at(moments))
        .filter(|moment| *moment <= at)
        .max()
}

fn parse_moments(field: &str, texts: &[String]) -> Result<Vec<Moment>, ConfigError> {
    let parse = |(position, text): (usize, &String)| {
        Moment::parse(text).map_err(|problem| wrong(&format!("{field}[{position}]"), problem))
    };
    texts.iter().enumerate().map(parse).collect()
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
