//! Whether the routes and what is said of rules can be worked with.

use std::collections::BTreeSet;

use health::RuleKind;

use super::config::RouteConfig;
use crate::config::{Config, ConfigError};
use crate::telling::RuleTelling;

const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];
const KINDS: [&str; 2] = ["at_risk", "opportunity"];
const TIERS: [&str; 3] = ["high", "low", "tech"];

/// The most characters of a variant's name.
const LONGEST_VARIANT: usize = 64;

/// The most alerts that a digest may list: more do not fit.
const MOST_DIGESTED: u32 = 200;

/// Checks what can be checked without knowing the rules.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    for (name, telling) in &config.rules {
        check_telling(name, telling)?;
    }
    if !(1..=MOST_DIGESTED).contains(&config.digest.max_alerts) {
        let problem = format!("must be from 1 to {MOST_DIGESTED}");
        return Err(ConfigError::field("digest.max_alerts", problem));
    }
    let destinations: Vec<&str> = config.destinations.iter().map(|one| one.name.as_str()).collect();
    let variants: BTreeSet<&str> = config
        .rules
        .values()
        .flat_map(|telling| telling.variants.iter().map(String::as_str))
        .collect();
    let variants = Vec::from_iter(variants);
    let mut last: Option<usize> = None;
    for (position, route) in config.routes.iter().enumerate() {
        let field = |name: &str| format!("routes[{position}].{name}");
        let lists: [(&str, &[String], &[&str], &str); 5] = [
            ("severities", &route.severities, &SEVERITIES, "severity"),
            ("kinds", &route.kinds, &KINDS, "kind"),
            ("tiers", &route.tiers, &TIERS, "tier"),
            ("variants", &route.variants, &variants, "variant of a rule"),
            ("destinations", &route.destinations, &destinations, "destination"),
        ];
        for (name, list, known, what) in lists {
            known_once(&field(name), list, known, what)?;
        }
        for (name, list) in [
            ("rules", &route.rules),
            ("segments", &route.segments),
            ("owners", &route.owners),
        ] {
            once(&field(name), list)?;
        }
        if let Some(last) = last {
            let problem =
                format!("is never reached: routes[{last}] matches every alert and does not say continue");
            return Err(ConfigError::field(&format!("routes[{position}]"), problem));
        }
        if route.destinations.is_empty() && route.r#continue {
            let problem = "does nothing in a route without destinations: name some, or leave it out so that nobody is told";
            return Err(ConfigError::field(&field("continue"), problem));
        }
        if route.matches_all() && !route.r#continue {
            last = Some(position);
        }
    }
    Ok(())
}

fn check_telling(name: &str, telling: &RuleTelling) -> Result<(), ConfigError> {
    let field = |part: &str| format!("rules.{name}.{part}");
    if !(0.0..1.0).contains(&telling.holdout) {
        let problem = format!(
            "{} must be from 0 to below 1; to tell nobody set shadow",
            telling.holdout
        );
        return Err(ConfigError::field(&field("holdout"), problem));
    }
    once(&field("variants"), &telling.variants)?;
    for (position, variant) in telling.variants.iter().enumerate() {
        let characters = variant.chars().count();
        if !(1..=LONGEST_VARIANT).contains(&characters) {
            let field = field(&format!("variants[{position}]"));
            let problem = format!("must have 1 to {LONGEST_VARIANT} characters");
            return Err(ConfigError::field(&field, problem));
        }
    }
    Ok(())
}

/// Checks what names rules against those in force.
pub(crate) fn check_rules(config: &Config, rules: &[(&str, RuleKind)]) -> Result<(), ConfigError> {
    let names: Vec<&str> = rules.iter().map(|(name, _)| *name).collect();
    let kind_of = |name: &str| {
        rules
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, kind)| *kind)
    };
    for name in config.rules.keys() {
        known(&format!("rules.{name}"), name, &names, "rule")?;
    }
    for (position, route) in config.routes.iter().enumerate() {
        let field = |part: &str| format!("routes[{position}].{part}");
        for (at, name) in route.rules.iter().enumerate() {
            known(&field(&format!("rules[{at}]")), name, &names, "rule")?;
        }
        let kinds = route.rules.iter().filter_map(|name| kind_of(name));
        let is_of_kind = |kind: RuleKind| route.kinds.iter().any(|name| name == kind.as_str());
        if !route.rules.is_empty() && !route.kinds.is_empty() && !kinds.clone().any(is_of_kind) {
            let found: BTreeSet<&str> = kinds.map(RuleKind::as_str).collect();
            let problem = format!(
                "matches nothing: the route's rules are all of kind {}",
                Vec::from_iter(found).join(", ")
            );
            return Err(ConfigError::field(&field("kinds"), problem));
        }
        check_variants(config, route, &field("variants"))?;
    }
    Ok(())
}

/// A route of some rules that looks for variants which none of them has matches nothing.
fn check_variants(config: &Config, route: &RouteConfig, field: &str) -> Result<(), ConfigError> {
    if route.rules.is_empty() || route.variants.is_empty() {
        return Ok(());
    }
    let tellings = route.rules.iter().filter_map(|name| config.rules.get(name));
    let mut variants = tellings.flat_map(|telling| telling.variants.iter());
    if variants.any(|variant| route.variants.contains(variant)) {
        return Ok(());
    }
    let problem = "matches nothing: none of the route's rules has such a variant; see alert.rules";
    Err(ConfigError::field(field, problem))
}

fn known_once(field: &str, list: &[String], names: &[&str], what: &str) -> Result<(), ConfigError> {
    for (position, name) in list.iter().enumerate() {
        known(&format!("{field}[{position}]"), name, names, what)?;
    }
    once(field, list)
}

fn known(field: &str, name: &str, names: &[&str], what: &str) -> Result<(), ConfigError> {
    if names.contains(&name) {
        return Ok(());
    }
    let problem = match nearest(name, names) {
        _ if names.is_empty() => format!("there is no {what} {name:?}, nor any other"),
        Some(nearest) => {
            format!(
                "there is no {what} {name:?}; did you mean {nearest}? There are {}",
                names.join(", ")
            )
        }
        None => format!("there is no {what} {name:?}; there are {}", names.join(", ")),
    };
    Err(ConfigError::field(field, problem))
}

fn once(field: &str, list: &[String]) -> Result<(), ConfigError> {
    for (position, name) in list.iter().enumerate() {
        if list[..position].contains(name) {
            let field = format!("{field}[{position}]");
            return Err(ConfigError::field(&field, format!("{name:?} is there twice")));
        }
    }
    Ok(())
}

/// The name that is most like it, if any is.
fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    const ALIKE: f64 = 0.8;
    let alike = names
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), *known));
    let best = alike.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}
