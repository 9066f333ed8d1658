use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Raised whenever the same configuration would give other numbers than before.
const MODEL_VERSION: u32 = 1;

/// Section `[health]`: what is expected of an account, and how its numbers become scores and alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// IANA time zone of the accounts that name none. Default `UTC`.
    pub timezone: String,
    /// The features that an account should use to get the good of the product; feature breadth is
    /// unknown while there are none. Default none.
    pub key_features: Vec<String>,
    /// The milestone or feature whose first event means that the account got value, unless the
    /// account has a `value_event` of its own. Default `first_value`.
    pub value_event: String,
    /// Onboarding milestones in their order. Default none: onboarding is not followed.
    pub milestones: Vec<MilestoneConfig>,
    /// Days after a milestone's expected day, without any milestone reached, at which onboarding has
    /// stalled. Default 14.
    pub stalled_after_days: f64,
    /// Days from the start within which the first value is expected. Default 14.
    pub expected_ttv_days: f64,
    /// Feature uses per active user in 28 days that count as full depth. Default 20.
    pub full_depth_uses: f64,
    /// Logins per active user in 28 days of a healthy user. Default 10.
    pub healthy_logins: f64,
    /// Monthly value from which an account is touched high, in the contract's currency. Default 2000.
    pub high_touch_mrr: f64,
    /// Monthly value below which an account is left to automation. Default 200.
    pub tech_touch_mrr: f64,
    /// Weights of the components in `health`, by stage; the weight of a component that is unknown is
    /// spread over the others. A stage that is not named has the weights of `adoption`.
    pub weights: BTreeMap<String, Weights>,
    /// Health up to which the band is red. Default 50.
    pub red_up_to: f64,
    /// Health up to which the band is yellow; above it is green. Default 75.
    pub yellow_up_to: f64,
    /// When to alert. Default: `churn_risk`, `silence`, `falling_usage` and `stalled_onboarding`.
    pub rules: Vec<Rule>,
    /// Hours for which the ids of events are remembered in the account's saved state; an event that
    /// occurred longer before the account's newest one is looked up in ClickHouse, unless there is
    /// room to remember more (`aggregate.remember_ids`). Default 24.
    pub remember_ids_hours: f64,
    /// Ids remembered of one account at most; beyond that the older ones are looked up. Default 4096.
    pub remember_ids_max: usize,
}

/// One step of onboarding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MilestoneConfig {
    /// The name of the `milestone` event.
    pub name: String,
    /// Days from the start by which it is expected.
    pub expected_days: f64,
}

/// How much each component counts in `health`. Only the proportions matter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are the components")]
pub struct Weights {
    pub ttv: f64,
    pub activity: f64,
    pub adoption: f64,
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

/// A rule that watches one number. An episode opens when the number reaches `open` and is resolved
/// when it has come back to `clear`; between the two nothing changes. Where `open` is above `clear`
/// the number is bad when it is high, else when it is low.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The rule's name, on alerts and in metrics.
    pub name: String,
    /// The number, by its name in `account_metrics` or `account_scores`; `onboarding_state` counts
    /// done 0, on track 1, behind 2, stalled 3.
    pub number: String,
    /// Where an episode opens.
    pub open: f64,
    /// Where it is resolved.
    pub clear: f64,
    /// Where it becomes critical. Default never.
    #[serde(default)]
    pub escalate: Option<f64>,
    /// How bad it is when it opens.
    pub severity: Severity,
    /// Days after a resolve during which the rule does not open again for the account. Default 7.
    #[serde(default = "default_cooldown")]
    pub cooldown_days: f64,
}

fn default_cooldown() -> f64 {
    7.0
}

impl Default for HealthConfig {
    fn default() -> Self {
        let onboarding = Weights {
            ttv: 0.4,
            activity: 0.35,
            adoption: 0.25,
        };
        let adoption = Weights {
            ttv: 0.1,
            activity: 0.5,
            adoption: 0.4,
        };
        let rule = |name: &str, number: &str, open, clear, escalate, severity| Rule {
            name: name.to_string(),
            number: number.to_string(),
            open,
            clear,
            escalate,
            severity,
            cooldown_days: default_cooldown(),
        };
        HealthConfig {
            timezone: "UTC".to_string(),
            key_features: Vec::new(),
            value_event: "first_value".to_string(),
            milestones: Vec::new(),
            stalled_after_days: 14.0,
            expected_ttv_days: 14.0,
            full_depth_uses: 20.0,
            healthy_logins: 10.0,
            high_touch_mrr: 2000.0,
            tech_touch_mrr: 200.0,
            weights: BTreeMap::from([
                ("trial".to_string(), onboarding),
                ("onboarding".to_string(), onboarding),
                ("adoption".to_string(), adoption),
            ]),
            red_up_to: 50.0,
            yellow_up_to: 75.0,
            rules: vec![
                rule(
                    "churn_risk",
                    "churn_risk",
                    0.3,
                    0.15,
                    Some(0.6),
                    Severity::Warning,
                ),
                rule(
                    "silence",
                    "days_since_last_active",
                    14.0,
                    3.0,
                    Some(28.0),
                    Severity::Warning,
                ),
                rule(
                    "falling_usage",
                    "usage_trend",
                    0.5,
                    0.8,
                    Some(0.2),
                    Severity::Warning,
                ),
                rule(
                    "stalled_onboarding",
                    "onboarding_state",
                    3.0,
                    1.0,
                    None,
                    Severity::Warning,
                ),
            ],
            remember_ids_hours: 24.0,
            remember_ids_max: 4096,
        }
    }
}

/// A value of [`HealthConfig`] that cannot be worked with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("health.{field}: {problem}")]
pub struct ConfigError {
    /// The field, as it is written in the configuration.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// A configuration that has been checked, ready to evaluate accounts with.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) config: HealthConfig,
    pub(crate) zone: TimeZone,
    hash: String,
}

impl Model {
    /// Checks `config`.
    ///
    /// # Errors
    /// Names the field that is wrong and what would be right.
    pub fn new(config: HealthConfig) -> Result<Model, ConfigError> {
        let Ok(zone) = TimeZone::get(&config.timezone) else {
            return Err(wrong(
                "timezone",
                format!(
                    "{:?} is not an IANA time zone such as Asia/Tokyo",
                    config.timezone
                ),
            ));
        };
        positive("stalled_after_days", config.stalled_after_days)?;
        positive("expected_ttv_days", config.expected_ttv_days)?;
        positive("full_depth_uses", config.full_depth_uses)?;
        positive("healthy_logins", config.healthy_logins)?;
        positive("remember_ids_hours", config.remember_ids_hours)?;
        if config.remember_ids_max == 0 {
            return Err(wrong("remember_ids_max", "must be at least 1".to_string()));
        }
        let bands_ascend = 0.0 <= config.red_up_to && config.red_up_to < config.yellow_up_to;
        if !bands_ascend || config.yellow_up_to >= 100.0 {
            return Err(wrong(
                "red_up_to",
                "must be below yellow_up_to, both within 0 and 100".to_string(),
            ));
        }
        if config.high_touch_mrr.is_nan()
            || config.tech_touch_mrr.is_nan()
            || config.tech_touch_mrr > config.high_touch_mrr
        {
            return Err(wrong(
                "tech_touch_mrr",
                "must not be above high_touch_mrr".to_string(),
            ));
        }
        if !config.weights.contains_key("adoption") {
            return Err(wrong(
                "weights",
                "must name the stage adoption, which stands in for the others".to_string(),
            ));
        }
        for (stage, weights) in &config.weights {
            check_weights(stage, weights)?;
        }
        for (position, milestone) in config.milestones.iter().enumerate() {
            let field = format!("milestones[{position}].expected_days");
            positive(&field, milestone.expected_days)?;
            if config.milestones[..position]
                .iter()
                .any(|earlier| earlier.name == milestone.name)
            {
                return Err(wrong(
                    &format!("milestones[{position}].name"),
                    format!("{:?} is there twice", milestone.name),
                ));
            }
        }
        for (position, rule) in config.rules.iter().enumerate() {
            check_rule(position, rule, &config.rules[..position])?;
        }
        let hash = hash(&config);
        Ok(Model { config, zone, hash })
    }

    /// The configuration.
    pub fn config(&self) -> &HealthConfig {
        &self.config
    }

    /// Identifies the model and its configuration: 32 hexadecimal digits that change when any score
    /// could.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

fn check_weights(stage: &str, weights: &Weights) -> Result<(), ConfigError> {
    const STAGES: [&str; 5] = ["trial", "onboarding", "adoption", "expansion", "renewal"];
    let field = format!("weights.{stage}");
    if !STAGES.contains(&stage) {
        return Err(wrong(
            &field,
            format!("is not a stage; stages are {}", STAGES.join(", ")),
        ));
    }
    let parts = [weights.ttv, weights.activity, weights.adoption];
    if parts.iter().any(|part| !part.is_finite() || *part < 0.0) || parts.iter().sum::<f64>() <= 0.0 {
        return Err(wrong(
            &field,
            "must be numbers of at least 0, one of them above 0".to_string(),
        ));
    }
    Ok(())
}

fn check_rule(position: usize, rule: &Rule, earlier: &[Rule]) -> Result<(), ConfigError> {
    let field = |name: &str| format!("rules[{position}].{name}");
    if rule.name.is_empty() || earlier.iter().any(|other| other.name == rule.name) {
        return Err(wrong(
            &field("name"),
            format!("{:?} is empty or there twice", rule.name),
        ));
    }
    if !crate::evaluate::RULE_NUMBERS.contains(&rule.number.as_str()) {
        let known = crate::evaluate::RULE_NUMBERS.join(", ");
        return Err(wrong(
            &field("number"),
            format!("{:?} is not one of {known}", rule.number),
        ));
    }
    if !rule.open.is_finite() || !rule.clear.is_finite() || rule.open == rule.clear {
        return Err(wrong(
            &field("clear"),
            "must differ from open, so that an alert does not flutter".to_string(),
        ));
    }
    let high_is_bad = rule.open > rule.clear;
    if let Some(escalate) = rule.escalate {
        let further = if high_is_bad {
            escalate > rule.open
        } else {
            escalate < rule.open
        };
        if !further {
            return Err(wrong(&field("escalate"), "must lie beyond open".to_string()));
        }
    }
    if !rule.cooldown_days.is_finite() || rule.cooldown_days < 0.0 {
        return Err(wrong(&field("cooldown_days"), "must be at least 0".to_string()));
    }
    Ok(())
}

fn positive(field: &str, value: f64) -> Result<(), ConfigError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(wrong(field, format!("{value} must be above 0")))
}

fn wrong(field: &str, problem: String) -> ConfigError {
    ConfigError {
        field: field.to_string(),
        problem,
    }
}

fn hash(config: &HealthConfig) -> String {
    let text = serde_json::to_vec(config).expect("a configuration of strings and finite numbers is JSON");
    let mut hasher = Xxh3::new();
    hasher.update(&MODEL_VERSION.to_le_bytes());
    hasher.update(&text);
    format!("{:032x}", hasher.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_their_hash_changes_with_any_field() {
        let model = Model::new(HealthConfig::default()).unwrap();
        let other = Model::new(HealthConfig {
            expected_ttv_days: 15.0,
            ..HealthConfig::default()
        })
        .unwrap();
        assert_eq!(model.hash().len(), 32);
        assert_ne!(model.hash(), other.hash());
        assert_eq!(model.hash(), Model::new(HealthConfig::default()).unwrap().hash());
    }

    #[test]
    fn a_wrong_value_is_named_with_what_would_be_right() {
        let refused = |config: HealthConfig| Model::new(config).unwrap_err().to_string();
        let zone = refused(HealthConfig {
            timezone: "Tokyo".into(),
            ..HealthConfig::default()
        });
        assert_eq!(
            zone,
            "health.timezone: \"Tokyo\" is not an IANA time zone such as Asia/Tokyo"
        );
        let mut config = HealthConfig::default();
        config.rules[1].number = "days_since_login".into();
        assert!(refused(config).starts_with("health.rules[1].number: \"days_since_login\" is not one of"));
        let mut config = HealthConfig::default();
        config.rules[0].escalate = Some(0.1);
        assert_eq!(refused(config), "health.rules[0].escalate: must lie beyond open");
        let config = HealthConfig {
            red_up_to: 80.0,
            ..HealthConfig::default()
        };
        assert!(refused(config).starts_with("health.red_up_to"));
        let config = HealthConfig {
            full_depth_uses: f64::NAN,
            ..HealthConfig::default()
        };
        assert!(refused(config).starts_with("health.full_depth_uses"));
    }
}
