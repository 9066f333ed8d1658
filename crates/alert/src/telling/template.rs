//! A text with places for what is known of an alert. There is nothing in it but text and places: no
//! code, no conditions, no loops, and what is put into a place is not read as a template again.
//!
//! `{name}` stands for a value, `{name:percent}` for a share as a percentage; `{{` and `}}` are braces.

use health::NUMBERS;

use crate::destination::words;

/// The names that are not numbers of `account_metrics`.
const NAMES: [&str; 25] = [
    "account",
    "account_id",
    "alert_id",
    "episode_id",
    "reason",
    "owner",
    "rule",
    "severity",
    "change",
    "kind",
    "variant",
    "name",
    "plan",
    "segment",
    "stage",
    "tier",
    "currency",
    "band",
    "health",
    "activity",
    "adoption",
    "sentiment",
    "support",
    "expansion",
    "unused_key_features",
];

/// Scores whose name no number has either.
const SCORES: [&str; 3] = ["ttv", "churn_risk", "confidence"];

/// How alike two names must be for one to be proposed in place of the other, 0 to 1.
const ALIKE: f64 = 0.7;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Words(String),
    Value { name: String, is_percent: bool },
}

/// What a place is filled with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Text(String),
    Unknown,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Says which placeholder is wrong and what there is.
    pub fn parse(text: &str) -> Result<Template, String> {
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
                    "{brace} stands alone; a value is written {{name}}, a brace {{{{ or }}}}"
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
            return Err("is empty; leave it out to have the rule's own message told".to_string());
        }
        Ok(Template { parts })
    }

    /// The text with what `value` knows under each name; what is not known is called `unknown`.
    pub fn fill(&self, unknown: &str, value: impl Fn(&str) -> Value) -> String {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Words(words) => filled.push_str(words),
                Part::Value { name, is_percent } => match value(name) {
                    Value::Text(text) => filled.push_str(&text),
                    Value::Number(number) if *is_percent => filled.push_str(&words::percent(number)),
                    Value::Number(number) => filled.push_str(&words::number(name, number)),
                    Value::Unknown => filled.push_str(unknown),
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
    if !is_known(name) {
        return Err(unknown(name));
    }
    match format {
        None | Some("percent") => Ok(Part::Value {
            name: name.to_string(),
            is_percent: format.is_some(),
        }),
        Some(other) => Err(format!(
            "there is no format {other:?}; there is {{{name}:percent}}"
        )),
    }
}

fn known() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().chain(SCORES).chain(NUMBERS.iter().copied())
}

/// Whether an alert may have something to tell under this name.
pub(crate) fn is_known(name: &str) -> bool {
    known().any(|known| known == name)
}

/// What to say about a name that nobody knows.
pub(crate) fn unknown(name: &str) -> String {
    let nearest = known()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let what_there_is = format!(
        "there are {} and the numbers of docs/numbers.md",
        NAMES.join(", ")
    );
    match nearest {
        Some((_, nearest)) => format!("there is no {{{name}}}; did you mean {{{nearest}}}? {what_there_is}"),
        None => format!("there is no {{{name}}}; {what_there_is}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> String {
        Template::parse(text).unwrap().fill("unknown", |name| match name {
            "account" => Value::Text("株式会社 {reason} <銀河>".into()),
            "churn_risk" => Value::Number(0.214),
            "usage_trend" => Value::Number(0.142),
            "mrr" => Value::Number(74_400.0),
            "days_to_renewal" => Value::Number(165.6),
            "health" => Value::Number(58.74),
            _ => Value::Unknown,
        })
    }

    #[test]
    fn places_are_filled_as_people_read_numbers() {
        assert_eq!(
            fill(
                "{account}: {churn_risk}, {usage_trend:percent}, {mrr}, {days_to_renewal} days, {health}, {nps}"
            ),
            "株式会社 {reason} <銀河>: 21%, 14%, 74,400, 166 days, 58.7, unknown"
        );
        assert_eq!(fill("{{account}} }}"), "{account} }");
    }

    #[test]
    fn what_is_filled_in_is_not_read_as_a_template() {
        assert_eq!(fill("{account}"), "株式会社 {reason} <銀河>");
    }

    #[test]
    fn a_wrong_place_is_named_with_what_there_is() {
        let refused = |text| Template::parse(text).unwrap_err();
        assert!(refused("{acount}").starts_with("there is no {acount}; did you mean {account}?"));
        let found = refused("{zzz}");
        assert!(found.contains("there are account, account_id"), "{found}");
        assert!(refused("{health:upper}").contains("{health:percent}"));
        assert!(refused("{health").starts_with("{ stands alone"));
        assert!(refused("{% for x in y %}").starts_with("there is no"));
        assert!(refused("").starts_with("is empty"));
    }
}
