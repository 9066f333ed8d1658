//! Rules that users write: conditions in CEL, and messages with numbers in them.
//!
//! A rule is refused with its place and what would be right, or it can be evaluated with any account and
//! never fails.

use health::{HealthConfig, Model, RuleConfig, RuleKind, RuleMessage, Severity, shipped_rules};

use crate::configuration::evaluate;

/// A rule as texts with empty lines between: when it opens, and if they are there, when it is resolved, when
/// it becomes critical, and its message.
pub fn rules(data: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(data) else {
        return "not text".to_string();
    };
    let mut parts = text.split("\n\n").map(str::to_string);
    let rule = RuleConfig {
        name: "fuzzed".to_string(),
        kind: RuleKind::AtRisk,
        severity: Severity::Warning,
        when: parts.next().unwrap_or_default(),
        clear: parts.next(),
        escalate: parts.next(),
        hold: 1,
        cooldown_days: 0.0,
        tiers: ["high", "low", "tech"].map(String::from).to_vec(),
        absence: false,
        message: parts.next().map(|en| RuleMessage { ja: en.clone(), en }),
    };
    let config = HealthConfig {
        rules: vec![rule],
        // The others are no business of this target, and cost time.
        without_rules: shipped_rules().into_iter().map(|rule| rule.name).collect(),
        ..HealthConfig::default()
    };
    match Model::new(config) {
        Ok(model) => {
            evaluate(&model);
            "holds".to_string()
        }
        Err(error) => {
            assert!(error.field.starts_with("rules[0]"), "names no field: {error}");
            assert!(error.problem.contains("\"fuzzed\""), "names no rule: {error}");
            kind_of(&error.problem)
        }
    }
}

/// What is wrong, without its place and without the words of the rule.
fn kind_of(problem: &str) -> String {
    let behind_the_place = problem.splitn(4, [':', ',']).last().unwrap_or_default();
    let end = behind_the_place.find(['"', '\'', ';', '{', '`']);
    let words = &behind_the_place[..end.unwrap_or(behind_the_place.len())];
    words.split_whitespace().take(6).collect::<Vec<_>>().join(" ")
}
