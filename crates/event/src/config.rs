//! What an operator may set about decoding.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::model::EventType;
use crate::rejection::quoted;
use crate::rules;

/// The bounds of an acceptable event, and what foreign event names mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecoderConfig {
    /// The most bytes that one event may take, as it was sent. Default 32768.
    pub max_event_bytes: usize,
    /// How many days before its receipt an event may have occurred; 0 = any number. Default 400.
    ///
    /// Without a bound, events still may not be older than the year 1900, where the store's time
    /// range begins.
    pub max_age_days: u32,
    /// How many hours after its receipt an event may claim to have occurred, for clocks that run
    /// fast. Default 24.
    pub max_future_hours: u32,
    /// The event names of Segment's `track` and types of CloudEvents that mean `login`, compared
    /// exactly. Default `Signed In`, `Logged In`, `login`.
    pub login_names: Vec<String>,
    /// What other event names mean; comes before `login_names`. Default none: an event that no
    /// rule names is a `feature` named by the event in snake_case.
    pub names: Vec<NameRule>,
}

/// What one event name of Segment's `track`, or one type of CloudEvents, means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameRule {
    /// The foreign name, compared exactly: `Workspace Created`, `com.acme.workspace.created`.
    pub event: String,
    /// The type it becomes.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The name it becomes; left out, the foreign name in snake_case.
    #[serde(default)]
    pub name: Option<String>,
}

/// A decoder's configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No event fits.
    #[error("max_event_bytes is 0, which would reject every event: give the bound in bytes, such as 32768")]
    NoRoom,
    /// A name in `login_names` or `names` is empty.
    #[error("{0} holds an empty event name: give the name as the product sends it")]
    EmptyName(&'static str),
    /// Two rules speak of one event name.
    #[error("names holds two rules for the event {0}: keep one")]
    TwoRules(String),
    /// A tracking plan that cannot hold.
    #[error("{field}: {problem}")]
    Plan {
        /// The field of the configuration.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Fields that cannot be dropped or replaced.
    #[error("privacy.{0}")]
    Privacy(String),
    /// A rule that would reject every event it applies to.
    #[error("names maps the event {event} to {event_type} with a name it cannot have: {problem}")]
    ImpossibleName {
        /// The foreign name.
        event: String,
        /// The type of the rule.
        event_type: &'static str,
        /// What is wrong with the name.
        problem: String,
    },
}

impl Default for DecoderConfig {
    fn default() -> DecoderConfig {
        DecoderConfig {
            max_event_bytes: 32 * 1024,
            max_age_days: 400,
            max_future_hours: 24,
            login_names: ["Signed In", "Logged In", "login"].map(String::from).to_vec(),
            names: Vec::new(),
        }
    }
}

impl DecoderConfig {
    /// Refuses what would reject every event, or leave open which of two rules holds.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.max_event_bytes == 0 {
            return Err(ConfigError::NoRoom);
        }
        if self.login_names.iter().any(String::is_empty) {
            return Err(ConfigError::EmptyName("login_names"));
        }
        let mut events = HashSet::new();
        for rule in &self.names {
            if rule.event.is_empty() {
                return Err(ConfigError::EmptyName("names"));
            }
            if !events.insert(&rule.event) {
                return Err(ConfigError::TwoRules(quoted(&rule.event)));
            }
            let name = rule
                .name
                .clone()
                .unwrap_or_else(|| crate::names::snake_case(&rule.event));
            if let Err(rejection) = rules::check_name(rule.event_type, &name, "name") {
                return Err(ConfigError::ImpossibleName {
                    event: quoted(&rule.event),
                    event_type: rule.event_type.as_str(),
                    problem: rejection.detail,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(event: &str, event_type: EventType, name: Option<&str>) -> NameRule {
        NameRule {
            event: event.into(),
            event_type,
            name: name.map(String::from),
        }
    }

    #[test]
    fn an_empty_document_is_the_default_and_an_unknown_key_an_error() {
        let config: DecoderConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, DecoderConfig::default());
        assert!(serde_json::from_str::<DecoderConfig>(r#"{"max_age":3}"#).is_err());
        assert!(
            serde_json::from_str::<DecoderConfig>(r#"{"names":[{"event":"a","type":"login","x":1}]}"#)
                .is_err()
        );
    }

    #[test]
    fn the_default_is_sound() {
        assert_eq!(DecoderConfig::default().check(), Ok(()));
    }

    #[test]
    fn rules_that_cannot_hold_are_refused() {
        let with = |names| DecoderConfig {
            names,
            ..DecoderConfig::default()
        };
        let sound = [
            rule("Deal Won", EventType::Contract, Some("upgraded")),
            rule("x", EventType::Feature, None),
        ];
        assert_eq!(with(sound.to_vec()).check(), Ok(()));

        let twice = [
            rule("x", EventType::Feature, None),
            rule("x", EventType::Login, None),
        ];
        assert_eq!(
            with(twice.to_vec()).check(),
            Err(ConfigError::TwoRules("\"x\"".into()))
        );

        let unknown_change = with(vec![rule("Deal Won", EventType::Contract, None)])
            .check()
            .unwrap_err();
        assert!(
            matches!(&unknown_change, ConfigError::ImpossibleName { event, .. } if event == "\"Deal Won\"")
        );

        assert_eq!(
            with(vec![rule("", EventType::Login, None)]).check(),
            Err(ConfigError::EmptyName("names"))
        );
        let no_room = DecoderConfig {
            max_event_bytes: 0,
            ..DecoderConfig::default()
        };
        assert_eq!(no_room.check(), Err(ConfigError::NoRoom));
    }
}
