//! Routes: what an alert is, and which destinations that leads to.

use std::collections::BTreeMap;

use health::AlertChange;
use serde::Deserialize;

use super::config::{RouteConfig, When};

/// What a route looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Traits {
    pub rule: String,
    pub severity: String,
    pub kind: String,
    pub tier: String,
    pub segment: String,
    pub owner: String,
    pub variant: String,
}

impl Traits {
    /// Those of a change; what its payload does not say is empty.
    pub fn of(change: &AlertChange, variant: &str) -> Traits {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Payload {
            kind: Option<String>,
            account: Option<Account>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Account {
            tier: Option<String>,
            segment: Option<String>,
            owner: Option<String>,
        }
        let payload: Payload = serde_json::from_str(&change.payload).unwrap_or_default();
        let account = payload.account.unwrap_or_default();
        Traits {
            rule: change.rule.clone(),
            severity: change.severity.clone(),
            // As the body's type has it.
            kind: match payload.kind.as_deref() {
                Some("opportunity") => "opportunity".to_string(),
                _ => "at_risk".to_string(),
            },
            tier: account.tier.unwrap_or_default(),
            segment: account.segment.unwrap_or_default(),
            owner: account.owner.unwrap_or_default(),
            variant: variant.to_string(),
        }
    }
}

impl RouteConfig {
    /// Each of its lists with what the alert has there.
    fn compared<'a>(&'a self, traits: &'a Traits) -> [(&'a [String], &'a str); 7] {
        [
            (&self.rules, &traits.rule),
            (&self.severities, &traits.severity),
            (&self.kinds, &traits.kind),
            (&self.tiers, &traits.tier),
            (&self.segments, &traits.segment),
            (&self.owners, &traits.owner),
            (&self.variants, &traits.variant),
        ]
    }

    pub(super) fn matches(&self, traits: &Traits) -> bool {
        let allows = |(list, is): (&[String], &str)| list.is_empty() || list.iter().any(|one| one == is);
        self.compared(traits).into_iter().all(allows)
    }

    /// Whether it matches every alert.
    pub(super) fn matches_all(&self) -> bool {
        let lists = self.compared(&Traits::default()).map(|(list, _)| list.is_empty());
        lists.into_iter().all(|is_empty| is_empty)
    }
}

/// The destinations that the routes lead to, each at the soonest time that one of them says.
pub(super) fn destinations<'a>(routes: &'a [RouteConfig], traits: &Traits) -> BTreeMap<&'a str, When> {
    let mut found: BTreeMap<&str, When> = BTreeMap::new();
    for route in routes.iter().filter(|route| route.matches(traits)) {
        for name in &route.destinations {
            let soonest = found.entry(name).or_insert(route.when);
            *soonest = (*soonest).min(route.when);
        }
        if !route.r#continue {
            break;
        }
    }
    found
}
