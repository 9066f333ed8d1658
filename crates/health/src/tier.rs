//! How closely an account is looked after: as it was said of it, else by what its contract is worth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::config::{ConfigError, Model, wrong};
use crate::stamped::{number, text};

/// The key of the bound of the currencies that have none of their own.
const DEFAULT: &str = "default";

/// How closely an account is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Tier {
    High,
    Low,
    Tech,
}

impl Tier {
    /// The name used in ClickHouse.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::High => "high",
            Tier::Low => "low",
            Tier::Tech => "tech",
        }
    }
}

/// Monthly values that part the tiers, each by currency (three letters such as `JPY`) or `default`, for
/// the currencies not named and for contracts that name none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TiersConfig {
    /// Monthly value from which an account is touched high. Default 2000, in JPY 300000.
    pub high: BTreeMap<String, f64>,
    /// Monthly value below which an account is left to automation. Default 200, in JPY 30000.
    pub tech: BTreeMap<String, f64>,
}

impl Default for TiersConfig {
    fn default() -> Self {
        let bounds = |default: f64, yen: f64| {
            BTreeMap::from([(DEFAULT.to_string(), default), ("JPY".to_string(), yen)])
        };
        TiersConfig {
            high: bounds(2000.0, 300_000.0),
            tech: bounds(200.0, 30_000.0),
        }
    }
}

impl TiersConfig {
    /// Checks the bounds.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (name, bounds) in [("high", &self.high), ("tech", &self.tech)] {
            if !bounds.contains_key(DEFAULT) {
                let problem = "must name default, which stands in for the currencies not named".to_string();
                return Err(wrong(&format!("tiers.{name}"), problem));
            }
            for (currency, bound) in bounds {
                let field = format!("tiers.{name}.{currency}");
                let is_code =
                    currency.len() == 3 && currency.bytes().all(|letter| letter.is_ascii_uppercase());
                if !is_code && currency != DEFAULT {
                    let problem = "is not a currency in three capitals such as JPY, nor default".to_string();
                    return Err(wrong(&field, problem));
                }
                if !bound.is_finite() || *bound < 0.0 {
                    return Err(wrong(&field, format!("{bound} must be at least 0")));
                }
            }
        }
        for currency in self.high.keys().chain(self.tech.keys()) {
            let (high, tech) = self.bounds(Some(currency));
            if tech > high {
                let problem = format!("{tech} must not be above {high}, where the tier high begins");
                return Err(wrong(&format!("tiers.tech.{currency}"), problem));
            }
        }
        Ok(())
    }

    /// From where a monthly value is high, and below where it is tech.
    pub fn bounds(&self, currency: Option<&str>) -> (f64, f64) {
        let bound = |bounds: &BTreeMap<String, f64>, otherwise: f64| {
            let of_currency = currency.and_then(|currency| {
                let mut known = bounds.iter();
                known.find(|(code, _)| code.eq_ignore_ascii_case(currency))
            });
            let default = bounds.get(DEFAULT).copied().unwrap_or(otherwise);
            of_currency.map_or(default, |(_, bound)| *bound)
        };
        (
            bound(&self.high, f64::INFINITY),
            bound(&self.tech, f64::NEG_INFINITY),
        )
    }

    /// The tier of a monthly value in that currency.
    pub fn tier(&self, mrr: Option<f64>, currency: Option<&str>) -> Tier {
        let (high, tech) = self.bounds(currency);
        match mrr {
            Some(mrr) if mrr >= high => Tier::High,
            Some(mrr) if mrr < tech => Tier::Tech,
            _ => Tier::Low,
        }
    }
}

impl Account {
    /// The touch tier: as the account's attribute says, else by the contract's monthly value.
    pub fn tier(&self, model: &Model) -> Tier {
        match text(&self.state.attributes.tier) {
            Some("high") => Tier::High,
            Some("low") => Tier::Low,
            Some("tech") => Tier::Tech,
            _ => model.config.tiers.tier(
                number(&self.state.contract.mrr),
                text(&self.state.contract.currency),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use event::EventType;

    use super::*;
    use crate::account::tests::{MONDAY, event, fold_all, model};

    #[test]
    fn the_tier_is_what_was_said_or_follows_from_the_value() {
        let model = model();
        let mut account = Account::new("acme");
        let started = event("1", EventType::Contract, "started", "", MONDAY, r#"{"mrr":2500}"#);
        fold_all(&mut account, &[started], &model);
        let tier = |account: &Account| account.tier(&model);
        assert_eq!(tier(&account), Tier::High);
        let yen = event(
            "2",
            EventType::Contract,
            "renewed",
            "",
            MONDAY + 1,
            r#"{"currency":"jpy"}"#,
        );
        fold_all(&mut account, &[yen], &model);
        assert_eq!(tier(&account), Tier::Tech, "2500 yen are not 2500 dollars");
        let said = event("3", EventType::Account, "", "", MONDAY, r#"{"tier":"low"}"#);
        fold_all(&mut account, &[said], &model);
        assert_eq!(tier(&account), Tier::Low);
    }

    #[test]
    fn a_bound_belongs_to_the_tier_above_it_and_an_unknown_value_is_low() {
        let tiers = TiersConfig::default();
        let yen = |mrr: f64| tiers.tier(Some(mrr), Some("JPY"));
        assert_eq!((yen(300_000.0), yen(299_999.0)), (Tier::High, Tier::Low));
        assert_eq!((yen(30_000.0), yen(29_999.0)), (Tier::Low, Tier::Tech));
        assert_eq!(tiers.tier(Some(2000.0), Some("EUR")), Tier::High);
        assert_eq!(tiers.tier(Some(199.0), None), Tier::Tech);
        assert_eq!(tiers.tier(None, Some("JPY")), Tier::Low);
    }

    #[test]
    fn what_is_wrong_in_the_tiers_is_named_with_what_would_be_right() {
        let refused = |change: fn(&mut TiersConfig)| {
            let mut tiers = TiersConfig::default();
            change(&mut tiers);
            tiers.check().unwrap_err().to_string()
        };
        assert_eq!(
            refused(|tiers| {
                tiers.high.remove("default");
            }),
            "health.tiers.high: must name default, which stands in for the currencies not named"
        );
        assert_eq!(
            refused(|tiers| tiers.high.extend([("yen".into(), 1.0)])),
            "health.tiers.high.yen: is not a currency in three capitals such as JPY, nor default"
        );
        assert_eq!(
            refused(|tiers| tiers.tech.extend([("EUR".into(), 2500.0)])),
            "health.tiers.tech.EUR: 2500 must not be above 2000, where the tier high begins"
        );
        assert!(refused(|tiers| tiers.tech.extend([("EUR".into(), f64::NAN)])).contains("tech.EUR"));
    }
}
