//! What counts as an account's first value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::config::{ConfigError, Model, wrong};
use crate::stamped::text;

/// Value events of some accounts, where `value_event` is not theirs: by plan, then by segment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValueEvents {
    /// By the name of the plan: the contract's, else the account's. Default none.
    pub plan: BTreeMap<String, String>,
    /// By the name of the segment. Default none.
    pub segment: BTreeMap<String, String>,
}

impl ValueEvents {
    /// Checks that every entry names an event.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (kind, events) in [("plan", &self.plan), ("segment", &self.segment)] {
            for (name, event) in events {
                if event.is_empty() {
                    let problem = "must name a milestone or feature".to_string();
                    return Err(wrong(&format!("value_events.{kind}.{name:?}"), problem));
                }
            }
        }
        Ok(())
    }
}

impl Account {
    /// The name of the milestone or feature whose first event is the account's first value: its own,
    /// else its plan's, else its segment's, else everyone's.
    pub fn value_event<'a>(&'a self, model: &'a Model) -> &'a str {
        let attributes = &self.state.attributes;
        let plan = text(&self.state.contract.plan).or(text(&attributes.plan));
        let segment = text(&attributes.segment);
        let of = |events: &'a BTreeMap<String, String>, name: Option<&str>| {
            name.and_then(|name| events.get(name)).map(String::as_str)
        };
        let config = &model.config;
        text(&attributes.value_event)
            .or_else(|| of(&config.value_events.plan, plan))
            .or_else(|| of(&config.value_events.segment, segment))
            .unwrap_or(&config.value_event)
    }
}

#[cfg(test)]
mod tests {
    use event::EventType;

    use super::*;
    use crate::account::tests::{MONDAY, event, fold_all};
    use crate::config::HealthConfig;

    #[test]
    fn the_accounts_own_value_event_goes_before_its_plans_and_its_segments() {
        let model = Model::new(HealthConfig {
            value_events: ValueEvents {
                plan: BTreeMap::from([("team".into(), "invited".into())]),
                segment: BTreeMap::from([("retail".into(), "first_sale".into())]),
            },
            ..HealthConfig::default()
        })
        .unwrap();
        let mut account = Account::new("acme");
        assert_eq!(account.value_event(&model), "first_value");
        let steps = [
            (EventType::Account, "", r#"{"segment":"retail"}"#, "first_sale"),
            (EventType::Account, "", r#"{"plan":"team"}"#, "invited"),
            (EventType::Contract, "started", r#"{"plan":"solo"}"#, "first_sale"),
            (EventType::Contract, "upgraded", r#"{"plan":"team"}"#, "invited"),
            (
                EventType::Account,
                "",
                r#"{"value_event":"exported"}"#,
                "exported",
            ),
        ];
        for (step, (event_type, name, properties, expected)) in steps.into_iter().enumerate() {
            let at = MONDAY + step as i64;
            let event = event(&step.to_string(), event_type, name, "", at, properties);
            fold_all(&mut account, &[event], &model);
            assert_eq!(account.value_event(&model), expected);
        }
    }

    #[test]
    fn a_value_event_without_a_name_is_refused() {
        let mut events = ValueEvents::default();
        events.segment.insert("retail".into(), String::new());
        assert_eq!(
            events.check().unwrap_err().to_string(),
            "health.value_events.segment.\"retail\": must name a milestone or feature"
        );
    }
}
