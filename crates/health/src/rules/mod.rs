//! Rules: when an account's people should hear of it.
//!
//! A rule is written in the configuration ([`RuleConfig`]), its conditions in CEL over the numbers,
//! scores and texts by name. All of it is checked when the configuration is loaded, so that a rule
//! that was loaded can neither fail nor allocate while accounts are evaluated. `docs/rules.md` is the
//! guide for those who write rules.

mod checker;
mod condition;
mod expression;
mod message;
mod names;
mod shipped;

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, wrong};
use crate::rules::condition::Condition;
use crate::rules::expression::{Expression, with_deep_stack};
use crate::rules::message::{Language, Template};
use crate::rules::names::NumberName;
use crate::tier::Tier;
use crate::words::{self, Sentence};

pub(crate) use crate::rules::names::Facts;
pub use crate::rules::shipped::shipped_rules;

const TIERS: [Tier; 3] = [Tier::High, Tier::Low, Tier::Tech];

/// The most rules in force; each costs every evaluation.
const MAX_RULES: usize = 200;

/// A rule as it is written in the configuration, `[[health.rules]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// The rule's name, on alerts and in metrics. The name of a shipped rule replaces that one.
    pub name: String,
    /// Whether it tells of a risk or of an opportunity. Default `at_risk`.
    #[serde(default)]
    pub kind: RuleKind,
    /// How bad it is when it opens.
    pub severity: Severity,
    /// CEL: where an episode opens.
    pub when: String,
    /// CEL: where it is resolved; looked at only while `when` does not hold. Default: as soon as
    /// `when` does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<String>,
    /// CEL: where it becomes critical. Default never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate: Option<String>,
    /// Consecutive evaluations for which `when` must hold before it opens. An account is evaluated
    /// within a second or so of its events, and at least hourly. Default 1.
    #[serde(default = "default_hold")]
    pub hold: u32,
    /// Days after a resolve during which the rule does not open again for the account. Default 7.
    #[serde(default = "default_cooldown")]
    pub cooldown_days: f64,
    /// The touch tiers of the accounts that it watches: `high`, `low`, `tech`. Default all.
    #[serde(default = "default_tiers")]
    pub tiers: Vec<String>,
    /// Whether it speaks of something that did not happen, such as logins: then it is held back while
    /// the pipeline itself lags. Default false.
    #[serde(default)]
    pub absence: bool,
    /// What the alert says, with `{number}`s. Default: the first number that `when` names, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<RuleMessage>,
}

/// What a rule's alert says, in both languages. `{name}` stands for a number or text, `{name:percent}`
/// for a share as a percentage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleMessage {
    /// English.
    pub en: String,
    /// Japanese.
    pub ja: String,
}

/// What a rule tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// The account may leave.
    #[default]
    AtRisk,
    /// The account may grow, or speak well of the product.
    Opportunity,
}

impl RuleKind {
    /// The name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleKind::AtRisk => "at_risk",
            RuleKind::Opportunity => "opportunity",
        }
    }
}

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    /// The name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

fn default_hold() -> u32 {
    1
}

fn default_cooldown() -> f64 {
    7.0
}

fn default_tiers() -> Vec<String> {
    TIERS.map(|tier| tier.as_str().to_string()).to_vec()
}

/// A rule that was checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) kind: RuleKind,
    pub(crate) severity: Severity,
    pub(crate) hold: u32,
    pub(crate) cooldown_days: f64,
    pub(crate) absence: bool,
    when: Condition,
    clear: Option<Condition>,
    escalate: Option<Condition>,
    tiers: [bool; TIERS.len()],
    message: Option<(Template, Template)>,
    /// Those that `when` names first, then those of `clear` and `escalate`.
    numbers: Vec<NumberName>,
}

impl Rule {
    /// Whether the rule is about accounts of this tier.
    pub(crate) fn watches(&self, tier: Tier) -> bool {
        let place = TIERS.iter().position(|one| *one == tier);
        place.is_some_and(|place| self.tiers[place])
    }

    /// Whether `when` holds; `None` when that is unknown.
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        self.when.holds(facts)
    }

    /// Whether an episode ends: `clear` holds and `when` does not.
    pub(crate) fn is_clear(&self, facts: &Facts<'_>) -> bool {
        let holds = self.when.holds(facts);
        match &self.clear {
            None => holds == Some(false),
            Some(clear) => holds != Some(true) && clear.holds(facts) == Some(true),
        }
    }

    /// Whether an episode is critical.
    pub(crate) fn is_critical(&self, facts: &Facts<'_>) -> bool {
        let escalates = |condition: &Condition| condition.holds(facts) == Some(true);
        self.severity == Severity::Critical || self.escalate.as_ref().is_some_and(escalates)
    }

    /// The numbers that its conditions name, with their values.
    pub(crate) fn numbers<'a>(
        &'a self,
        facts: &'a Facts<'_>,
    ) -> impl Iterator<Item = (&'static str, Option<f64>)> + 'a {
        self.numbers
            .iter()
            .map(|name| (name.as_str(), facts.number(*name)))
    }

    /// What an opening or an escalation says.
    pub(crate) fn message(&self, facts: &Facts<'_>) -> Sentence {
        match &self.message {
            Some((en, ja)) => Sentence {
                en: en.fill(facts),
                ja: ja.fill(facts),
            },
            None => self.sentence(facts),
        }
    }

    /// The first number that `when` names, in words: what an end says, too, because the message tells
    /// of the trouble.
    pub(crate) fn sentence(&self, facts: &Facts<'_>) -> Sentence {
        let Some((name, value)) = self.numbers(facts).next() else {
            let name = self.name.replace('_', " ");
            return Sentence {
                en: name.clone(),
                ja: name,
            };
        };
        match value {
            Some(value) => words::sentence(name, value),
            None => Sentence {
                en: format!("{name} is no longer known"),
                ja: format!("{name}は不明"),
            },
        }
    }

    fn new(config: &RuleConfig, field: impl Fn(&str) -> String) -> Result<Rule, ConfigError> {
        let compile = |part: &str, source: &str| {
            Expression::compile(source).map_err(|mistake| {
                let problem = format!(
                    "rule {:?}, line {}, column {}: {}",
                    config.name, mistake.line, mistake.column, mistake.problem
                );
                wrong(&field(part), problem)
            })
        };
        let optional = |part: &str, source: &Option<String>| {
            source.as_ref().map(|source| compile(part, source)).transpose()
        };
        let template = |part: &str, text: &str, language| {
            Template::parse(text, language)
                .map_err(|problem| wrong(&field(part), format!("rule {:?}: {problem}", config.name)))
        };
        if config.hold == 0 {
            return Err(wrong(&field("hold"), "must be at least 1".to_string()));
        }
        if !config.cooldown_days.is_finite() || config.cooldown_days < 0.0 {
            return Err(wrong(&field("cooldown_days"), "must be at least 0".to_string()));
        }
        let when = compile("when", &config.when)?;
        let clear = optional("clear", &config.clear)?;
        let escalate = optional("escalate", &config.escalate)?;
        let message = match &config.message {
            Some(message) => Some((
                template("message.en", &message.en, Language::English)?,
                template("message.ja", &message.ja, Language::Japanese)?,
            )),
            None => None,
        };
        let mut numbers = when.numbers;
        for expression in [&clear, &escalate].into_iter().flatten() {
            for number in &expression.numbers {
                if !numbers.contains(number) {
                    numbers.push(*number);
                }
            }
        }
        Ok(Rule {
            name: config.name.clone(),
            kind: config.kind,
            severity: config.severity,
            hold: config.hold,
            cooldown_days: config.cooldown_days,
            absence: config.absence,
            when: when.condition,
            clear: clear.map(|expression| expression.condition),
            escalate: escalate.map(|expression| expression.condition),
            tiers: tiers(&config.tiers).map_err(|problem| wrong(&field("tiers"), problem))?,
            message,
            numbers,
        })
    }
}

fn tiers(names: &[String]) -> Result<[bool; TIERS.len()], String> {
    let mut watched = [false; TIERS.len()];
    for name in names {
        match TIERS.iter().position(|tier| tier.as_str() == name) {
            Some(place) => watched[place] = true,
            None => return Err(format!("{name:?} is not one of high, low, tech")),
        }
    }
    if names.is_empty() {
        return Err("is empty, so that the rule watches nobody; leave it out for all tiers".to_string());
    }
    Ok(watched)
}

/// The rules in force, by name: the shipped ones but those of the names `without`, and `own`, which
/// replace shipped ones of the same name.
///
/// # Errors
/// Names the field that is wrong, in an expression the line and column, and what would be right.
pub(crate) fn in_force(own: &[RuleConfig], without: &[String]) -> Result<Arc<[Rule]>, ConfigError> {
    let shipped = shipped_compiled()?;
    for (position, name) in without.iter().enumerate() {
        if !shipped.iter().any(|rule| rule.name == *name) {
            let names: Vec<&str> = shipped.iter().map(|rule| rule.name.as_str()).collect();
            return Err(wrong(
                &format!("without_rules[{position}]"),
                format!("{name:?} is not shipped; shipped are {}", names.join(", ")),
            ));
        }
    }
    let mut rules: Vec<Rule> = shipped
        .iter()
        .filter(|rule| !without.contains(&rule.name) && !own.iter().any(|own| own.name == rule.name))
        .cloned()
        .collect();
    for (position, config) in own.iter().enumerate() {
        if config.name.is_empty() || own[..position].iter().any(|other| other.name == config.name) {
            return Err(wrong(
                &format!("rules[{position}].name"),
                format!("{:?} is empty or there twice", config.name),
            ));
        }
    }
    rules.extend(compile(own)?);
    if rules.len() > MAX_RULES {
        return Err(wrong(
            "rules",
            format!(
                "are {} with the shipped ones, {MAX_RULES} are the most",
                rules.len()
            ),
        ));
    }
    rules.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(rules.into())
}

/// The shipped rules do not change while a process runs, and reading them takes longer than all else
/// that a configuration needs.
fn shipped_compiled() -> Result<&'static [Rule], ConfigError> {
    static COMPILED: OnceLock<Result<Vec<Rule>, ConfigError>> = OnceLock::new();
    match COMPILED.get_or_init(|| compile(&shipped_rules())) {
        Ok(rules) => Ok(rules),
        Err(error) => Err(error.clone()),
    }
}

fn compile(configs: &[RuleConfig]) -> Result<Vec<Rule>, ConfigError> {
    if configs.is_empty() {
        return Ok(Vec::new());
    }
    let compiled = with_deep_stack(|| {
        let numbered = configs.iter().enumerate();
        numbered
            .map(|(position, config)| Rule::new(config, |part| format!("rules[{position}].{part}")))
            .collect()
    });
    match compiled {
        Ok(rules) => rules,
        Err(problem) => Err(wrong("rules", problem)),
    }
}

/// The rule of that name.
pub(crate) fn find<'a>(rules: &'a [Rule], name: &str) -> Option<&'a Rule> {
    let place = rules.binary_search_by(|rule| rule.name.as_str().cmp(name)).ok()?;
    Some(&rules[place])
}

#[cfg(test)]
mod expression_tests;
#[cfg(test)]
mod tests;
