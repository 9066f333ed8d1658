//! What foreign event names mean: one name maps to one type and name, whatever the format.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::config::DecoderConfig;
use crate::model::EventType;

/// The configured meaning of foreign event names.
#[derive(Debug, Clone)]
pub(crate) struct NameMapping {
    known: HashMap<String, (EventType, Option<String>)>,
}

impl NameMapping {
    pub(crate) fn new(config: &DecoderConfig) -> NameMapping {
        let mut known = HashMap::new();
        for name in &config.login_names {
            known.insert(name.clone(), (EventType::Login, Some(String::new())));
        }
        for rule in &config.names {
            known.insert(rule.event.clone(), (rule.event_type, rule.name.clone()));
        }
        NameMapping { known }
    }

    /// The type and name that a foreign event name stands for.
    pub(crate) fn resolve<'m>(&'m self, event: &str) -> (EventType, Cow<'m, str>) {
        match self.known.get(event) {
            Some((event_type, Some(name))) => (*event_type, Cow::Borrowed(name)),
            Some((event_type, None)) => (*event_type, Cow::Owned(snake_case(event))),
            None => (EventType::Feature, Cow::Owned(snake_case(event))),
        }
    }
}

/// `Report Exported`, `reportExported` and `report-exported` all become `report_exported`.
///
/// Dots and colons stay, as they part namespaces (`com.acme.report`); so does whatever is not ASCII,
/// lowered where it has a case. A name of nothing but separators stays as it is.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut characters = name.chars().peekable();
    let mut previous: Option<char> = None;
    let mut gap = false;
    while let Some(character) = characters.next() {
        let keeps = character == '.' || character == ':';
        let separates = character.is_whitespace() || (character.is_ascii_punctuation() && !keeps);
        if separates {
            gap = true;
            previous = None;
            continue;
        }
        let starts_word = character.is_uppercase()
            && previous.is_some_and(|before| {
                let after_lower = before.is_lowercase() || before.is_ascii_digit();
                let ends_acronym =
                    before.is_uppercase() && characters.peek().is_some_and(|next| next.is_lowercase());
                after_lower || ends_acronym
            });
        let needs_gap = (gap || starts_word) && !keeps;
        if needs_gap && !snake.is_empty() && !snake.ends_with(['.', ':']) {
            snake.push('_');
        }
        gap = false;
        snake.extend(character.to_lowercase());
        previous = Some(character);
    }
    if snake.is_empty() { name.to_owned() } else { snake }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NameRule;

    #[test]
    fn names_of_every_habit_become_one() {
        for (given, expected) in [
            ("Report Exported", "report_exported"),
            ("reportExported", "report_exported"),
            ("report-exported", "report_exported"),
            ("  Report / Exported! ", "report_exported"),
            ("PDFExported", "pdf_exported"),
            ("Export PDF", "export_pdf"),
            ("step2Done", "step2_done"),
            ("com.acme.ReportExported", "com.acme.report_exported"),
            ("page:Home Page", "page:home_page"),
            ("レポート 出力", "レポート_出力"),
            ("already_snake", "already_snake"),
            ("Ärger Über", "ärger_über"),
            ("!!!", "!!!"),
            ("", ""),
        ] {
            assert_eq!(snake_case(given), expected, "{given:?}");
        }
    }

    #[test]
    fn a_rule_comes_before_the_login_names_and_those_before_the_default() {
        let rule = |event: &str, event_type, name: Option<&str>| NameRule {
            event: event.into(),
            event_type,
            name: name.map(String::from),
        };
        let config = DecoderConfig {
            names: vec![
                rule("login", EventType::Milestone, Some("first_login")),
                rule("Workspace Created", EventType::Milestone, None),
            ],
            ..DecoderConfig::default()
        };
        let mapping = NameMapping::new(&config);
        assert_eq!(
            mapping.resolve("login"),
            (EventType::Milestone, "first_login".into())
        );
        assert_eq!(
            mapping.resolve("Workspace Created"),
            (EventType::Milestone, "workspace_created".into())
        );
        assert_eq!(mapping.resolve("Signed In"), (EventType::Login, "".into()));
        assert_eq!(
            mapping.resolve("signed in"),
            (EventType::Feature, "signed_in".into())
        );
    }
}
