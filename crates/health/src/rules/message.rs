//! What an alert says: a text with the account's numbers in it.
//!
//! `{name}` stands for a number or text; days and whole numbers come rounded, others with one
//! decimal; `{name:percent}` is a share as a percentage. `{{` is a brace.

use std::fmt::Write;

use crate::rules::names::{Facts, Name, NumberName};

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Japanese,
}

/// A text with places for numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    language: Language,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Words(String),
    Value(Name),
    Percent(NumberName),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Says which placeholder is wrong and what would be right.
    pub(crate) fn parse(text: &str, language: Language) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut words = String::new();
        let mut rest = text;
        while let Some(place) = rest.find(['{', '}']) {
            words.push_str(&rest[..place]);
            let brace = &rest[place..place + 1];
            let after = &rest[place + 1..];
            if let Some(after) = after.strip_prefix(brace) {
                words.push_str(brace);
                rest = after;
                continue;
            }
            let Some((inner, after)) = after.split_once('}').filter(|_| brace == "{") else {
                return Err(format!(
                    "{brace} stands alone; a number is written {{name}}, a brace {{{{ or }}}}"
                ));
            };
            if !words.is_empty() {
                parts.push(Part::Words(std::mem::take(&mut words)));
            }
            parts.push(placeholder(inner)?);
            rest = after;
        }
        words.push_str(rest);
        if !words.is_empty() {
            parts.push(Part::Words(words));
        }
        if parts.is_empty() {
            return Err("is empty; leave the message out to have one made".to_string());
        }
        Ok(Template { language, parts })
    }

    /// The text with the numbers of an evaluation.
    pub(crate) fn fill(&self, facts: &Facts<'_>) -> String {
        let mut filled = String::new();
        let (unknown, comma) = match self.language {
            Language::English => ("unknown", ", "),
            Language::Japanese => ("不明", "、"),
        };
        for part in &self.parts {
            match part {
                Part::Words(words) => filled.push_str(words),
                Part::Value(Name::List) => filled.push_str(&facts.unused_key_features().join(comma)),
                Part::Value(Name::Text(name)) => filled.push_str(facts.text(*name).unwrap_or(unknown)),
                Part::Value(Name::Number(name)) => match facts.number(*name) {
                    Some(value) => filled.push_str(&rounded(name.as_str(), value)),
                    None => filled.push_str(unknown),
                },
                Part::Percent(name) => match facts.number(*name) {
                    Some(value) => {
                        let _infallible = write!(filled, "{}%", whole(value * 100.0));
                    }
                    None => filled.push_str(unknown),
                },
            }
        }
        filled
    }
}

fn placeholder(inner: &str) -> Result<Part, String> {
    let (name, format) = match inner.split_once(':') {
        Some((name, format)) => (name.trim(), Some(format.trim())),
        None => (inner.trim(), None),
    };
    let Some(found) = Name::find(name) else {
        return Err(match Name::nearest(name) {
            Some(nearest) => format!("there is no {{{name}}}; did you mean {{{nearest}}}?"),
            None => format!("there is no {{{name}}}; docs/numbers.md lists the names"),
        });
    };
    match (format, found) {
        (None, _) => Ok(Part::Value(found)),
        (Some("percent"), Name::Number(name)) => Ok(Part::Percent(name)),
        (Some("percent"), _) => Err(format!("{{{name}:percent}} is not a number; write {{{name}}}")),
        (Some(other), _) => Err(format!(
            "there is no format {other:?}; there is {{{name}:percent}}"
        )),
    }
}

fn rounded(name: &str, value: f64) -> String {
    if name.contains("days") || value.fract() == 0.0 {
        whole(value)
    } else {
        format!("{value:.1}")
    }
}

fn whole(value: f64) -> String {
    // Adding 0 makes a rounded -0.4 a 0 without a sign.
    format!("{:.0}", value.round() + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::Metrics;
    use crate::score::Scores;
    use crate::stage::Stage;
    use crate::tier::Tier;

    fn filled(text: &str, language: Language) -> String {
        let metrics = Metrics {
            days_to_renewal: Some(45),
            account_age_days: Some(62.51),
            usage_trend: Some(0.414),
            logins_per_user_28d: Some(2.25),
            usage_z: Some(-0.2),
            unused_key_features: vec!["report.export".into(), "share".into()],
            ..Metrics::default()
        };
        let facts = Facts::new(
            &metrics,
            &Scores::default(),
            Stage::Renewal,
            Tier::High,
            None,
            None,
        );
        Template::parse(text, language).unwrap().fill(&facts)
    }

    #[test]
    fn numbers_are_put_in_as_people_read_them() {
        let english = |text| filled(text, Language::English);
        assert_eq!(
            english("renewal in {days_to_renewal} days, use at {usage_trend:percent}"),
            "renewal in 45 days, use at 41%"
        );
        assert_eq!(
            english("{account_age_days} {logins_per_user_28d} {stage}"),
            "63 2.2 renewal"
        );
        assert_eq!(english("{usage_z:percent} {seats} {{x}}"), "-20% unknown {x}");
        assert_eq!(
            english("unused: {unused_key_features}"),
            "unused: report.export, share"
        );
        assert_eq!(
            filled("未使用：{unused_key_features}、席数{seats}", Language::Japanese),
            "未使用：report.export、share、席数不明"
        );
        assert_eq!(whole(-0.4), "0");
    }

    #[test]
    fn a_wrong_placeholder_is_named() {
        let refused = |text| Template::parse(text, Language::English).unwrap_err();
        assert_eq!(
            refused("{days_to_renew} days"),
            "there is no {days_to_renew}; did you mean {days_to_renewal}?"
        );
        assert_eq!(
            refused("{stage:percent}"),
            "{stage:percent} is not a number; write {stage}"
        );
        assert_eq!(
            refused("{usage_trend:pct}"),
            "there is no format \"pct\"; there is {usage_trend:percent}"
        );
        assert!(refused("100 } {usage_trend}").starts_with("} stands alone"));
        assert!(refused("{usage_trend").starts_with("{ stands alone"));
        assert!(refused("").starts_with("is empty"));
    }
}
