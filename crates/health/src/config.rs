use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::calendar::{self, Calendar, CalendarConfig, Calendars};
use crate::rules::{self, Rule, RuleConfig, RuleKind, shipped_rules};
use crate::score::{Component, MOST_WEIGHT, ScoresConfig, Scoring};
use crate::stage::{self, Stage, StageConfig, Stages};
use crate::tier::TiersConfig;
use crate::value_event::ValueEvents;

/// Raised whenever the same configuration would give other numbers than before.
const MODEL_VERSION: u32 = 2;

/// Section `[health]`: what is expected of an account, and how its numbers become scores and alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// IANA time zone of the accounts that name none. Default `UTC`.
    pub timezone: String,
    /// Working days, by IANA time zone, or `default` for the zones not named. Default: `Asia/Tokyo`
    /// without weekends and Japan's holidays, which holds unless another is given for that zone; the
    /// other zones without weekends.
    pub calendars: BTreeMap<String, CalendarConfig>,
    /// The features that an account should use to get the good of the product; feature breadth is
    /// unknown while there are none. Default none.
    pub key_features: Vec<String>,
    /// Features that only advanced customers use; a number of them in use is a sign of growth. Default
    /// none.
    pub advanced_features: Vec<String>,
    /// Acts that make customers stay, by the name of the milestone or feature; `second_member` is done
    /// when a second user has been active. Default `integration_connected` and `second_member`.
    pub sticky_actions: Vec<String>,
    /// Accounts that a segment must have at least for its usual stickiness to count. Default 5.
    pub segment_least_accounts: u32,
    /// The milestone or feature whose first event means that the account got value, unless the
    /// account has a `value_event` of its own, or its plan or segment in `value_events`. Default
    /// `first_value`.
    pub value_event: String,
    /// The value events of some plans and segments. Default none.
    pub value_events: ValueEvents,
    /// Onboarding milestones in their order. Default none: onboarding is not followed.
    pub milestones: Vec<MilestoneConfig>,
    /// Days after a milestone's expected day, without any milestone reached, at which onboarding has
    /// stalled. Default 14.
    pub stalled_after_days: f64,
    /// The stages in the order in which they are tried: an account is in the first that holds, else
    /// in `onboarding`. Default `churned`, `trial`, `onboarding`, `renewal`, `expansion`, `adoption`.
    pub stages: Vec<StageConfig>,
    /// The monthly values that part the touch tiers of the accounts that name none.
    pub tiers: TiersConfig,
    /// Weights of the components in `health`, by stage; the weight of a component that is unknown is
    /// spread over the others. A stage that is not named has the weights of `adoption`.
    pub weights: BTreeMap<String, Weights>,
    /// The same by segment and stage, for accounts of a segment that is judged otherwise; where it
    /// names none, `weights` holds. Default none.
    pub segment_weights: BTreeMap<String, BTreeMap<String, Weights>>,
    /// What each number earns.
    pub scores: ScoresConfig,
    /// Health up to which the band is red. Default 50.
    pub red_up_to: f64,
    /// Health up to which the band is yellow; above it is green. Default 75.
    pub yellow_up_to: f64,
    /// When to alert, besides the shipped rules; one that bears the name of a shipped rule replaces it.
    /// Default none.
    pub rules: Vec<RuleConfig>,
    /// Names of shipped rules that are not to be in force. Default none.
    pub without_rules: Vec<String>,
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

/// How much each component counts in `health`, 0 when it is left out. Only the proportions matter.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are the components")]
pub struct Weights {
    pub ttv: f64,
    pub activity: f64,
    pub adoption: f64,
    pub sentiment: f64,
    pub support: f64,
}

fn default_weights() -> BTreeMap<String, Weights> {
    let weights = |stage: &str, [ttv, activity, adoption, sentiment, support]: [f64; 5]| {
        let weights = Weights {
            ttv,
            activity,
            adoption,
            sentiment,
            support,
        };
        (stage.to_string(), weights)
    };
    BTreeMap::from([
        weights("trial", [0.35, 0.3, 0.2, 0.05, 0.1]),
        weights("onboarding", [0.35, 0.3, 0.2, 0.05, 0.1]),
        weights("adoption", [0.05, 0.4, 0.3, 0.1, 0.15]),
        weights("renewal", [0.0, 0.4, 0.25, 0.2, 0.15]),
    ])
}

impl Default for HealthConfig {
    fn default() -> Self {
        HealthConfig {
            timezone: "UTC".to_string(),
            calendars: calendar::shipped(),
            key_features: Vec::new(),
            advanced_features: Vec::new(),
            sticky_actions: vec!["integration_connected".to_string(), "second_member".to_string()],
            segment_least_accounts: 5,
            value_event: "first_value".to_string(),
            value_events: ValueEvents::default(),
            milestones: Vec::new(),
            stalled_after_days: 14.0,
            weights: default_weights(),
            segment_weights: BTreeMap::new(),
            scores: ScoresConfig::default(),
            stages: stage::shipped(),
            tiers: TiersConfig::default(),
            red_up_to: 50.0,
            yellow_up_to: 75.0,
            rules: Vec::new(),
            without_rules: Vec::new(),
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
    pub(crate) scoring: Scoring,
    calendars: Calendars,
    stages: Stages,
    /// The rules in force, by name.
    pub(crate) rules: Arc<[Rule]>,
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
        let calendars = Calendars::new(&config.calendars)?;
        config.value_events.check()?;
        let stages = Stages::new(&config.stages)?;
        config.tiers.check()?;
        if !config.weights.contains_key("adoption") {
            return Err(wrong(
                "weights",
                "must name the stage adoption, which stands in for the others".to_string(),
            ));
        }
        for (stage, weights) in &config.weights {
            check_weights(&format!("weights.{stage}"), stage, weights)?;
        }
        for (segment, stages) in &config.segment_weights {
            for (stage, weights) in stages {
                check_weights(&format!("segment_weights.{segment}.{stage}"), stage, weights)?;
            }
        }
        let scoring = Scoring::new(&config.scores)?;
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
        let rules = rules::in_force(&config.rules, &config.without_rules)?;
        let hash = hash(&config);
        Ok(Model {
            config,
            zone,
            scoring,
            calendars,
            stages,
            rules,
            hash,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &HealthConfig {
        &self.config
    }

    /// The calendars by time zone; `default` is that of the zones not named.
    pub fn calendars(&self) -> impl Iterator<Item = (&str, &Calendar)> {
        self.calendars.all()
    }

    /// The working days of the accounts of a time zone.
    pub fn calendar(&self, zone: &TimeZone) -> &Calendar {
        self.calendars.of(zone)
    }

    /// The stages that an account can be in, and when.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// The rules in force, and what each tells of.
    pub fn rules(&self) -> impl Iterator<Item = (&str, RuleKind)> {
        self.rules.iter().map(|rule| (rule.name.as_str(), rule.kind))
    }

    /// Identifies the model and its configuration: 32 hexadecimal digits that change when any score
    /// could.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The weights of the components for accounts of this stage and segment.
    pub(crate) fn weights(&self, stage: Stage, segment: Option<&str>) -> Weights {
        let HealthConfig {
            weights,
            segment_weights,
            ..
        } = &self.config;
        segment
            .and_then(|segment| segment_weights.get(segment)?.get(stage.as_str()))
            .or_else(|| weights.get(stage.as_str()))
            .or_else(|| weights.get("adoption"))
            .copied()
            .unwrap_or_default()
    }
}

fn check_weights(field: &str, stage: &str, weights: &Weights) -> Result<(), ConfigError> {
    const STAGES: [&str; 5] = ["trial", "onboarding", "adoption", "expansion", "renewal"];
    if !STAGES.contains(&stage) {
        return Err(wrong(
            field,
            format!("is not a stage; stages are {}", STAGES.join(", ")),
        ));
    }
    let parts = Component::ALL.map(|component| component.weight(weights));
    let are_weights = parts.iter().all(|part| (0.0..=MOST_WEIGHT).contains(part));
    if !are_weights || parts.iter().sum::<f64>() <= 0.0 {
        return Err(wrong(
            field,
            format!("must be numbers from 0 to {MOST_WEIGHT}, one of them above 0"),
        ));
    }
    Ok(())
}

fn positive(field: &str, value: f64) -> Result<(), ConfigError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(wrong(field, format!("{value} must be above 0")))
}

pub(crate) fn wrong(field: &str, problem: String) -> ConfigError {
    ConfigError {
        field: field.to_string(),
        problem,
    }
}

fn hash(config: &HealthConfig) -> String {
    let text = serde_json::to_vec(&(config, shipped_rules()))
        .expect("a configuration of strings and finite numbers is JSON");
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
            red_up_to: 45.0,
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
        let config = HealthConfig {
            red_up_to: 80.0,
            ..HealthConfig::default()
        };
        assert!(refused(config).starts_with("health.red_up_to"));
        let config = HealthConfig {
            stalled_after_days: f64::NAN,
            ..HealthConfig::default()
        };
        assert!(refused(config).starts_with("health.stalled_after_days"));
    }

    #[test]
    fn calendars_stages_tiers_and_value_events_are_read_checked_and_part_of_the_hash() {
        let read = |text: &str| serde_json::from_str::<HealthConfig>(text);
        let given = [
            r#"{"calendars": {"default": {"weekend": ["fri"], "extra": ["2026-12-29"]}}}"#,
            r#"{"stages": [{"name": "adoption", "from": ["started"]}]}"#,
            r#"{"tiers": {"high": {"default": 90000}}}"#,
            r#"{"value_events": {"plan": {"team": "invited"}}}"#,
        ];
        let usual = Model::new(HealthConfig::default()).unwrap();
        for text in given {
            assert_ne!(
                Model::new(read(text).unwrap()).unwrap().hash(),
                usual.hash(),
                "{text}"
            );
        }
        let wrong = [
            (r#"{"calendars": {"Tokyo": {}}}"#, "health.calendars.\"Tokyo\""),
            (
                r#"{"stages": [{"name": "adoption", "from": ["begun"]}]}"#,
                "health.stages[0].from[0]",
            ),
            (
                r#"{"tiers": {"high": {"JPY": 1}}}"#,
                "health.tiers.high: must name default",
            ),
            (
                r#"{"value_events": {"plan": {"team": ""}}}"#,
                "health.value_events.plan",
            ),
        ];
        for (text, field) in wrong {
            let error = Model::new(read(text).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
        for unknown in [
            r#"{"calendars": {"UTC": {"week": []}}}"#,
            r#"{"tiers": {"mid": {}}}"#,
        ] {
            assert!(read(unknown).unwrap_err().to_string().contains("unknown field"));
        }
    }
}
