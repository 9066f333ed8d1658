//! Where in a file of configuration a field stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One step from a table or list to what is in it.
#[derive(Debug, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Line and column, from 1, of the field that `path` names, such as `health.rules[1].when` or
/// `health.calendars."Asia/Tokyo".extra[0]`: of its value, or else of the innermost part of the path
/// that the text has. `None` when it has none of it.
pub fn locate(text: &str, path: &str) -> Option<(usize, usize)> {
    let document = DeTable::parse(text).ok()?;
    let mut span = None;
    let mut table = Some(document.get_ref());
    let mut list: Option<&[Spanned<DeValue<'_>>]> = None;
    for step in steps(path)? {
        let found = match &step {
            Step::Key(key) => table.and_then(|table| {
                let (_, value) = table.iter().find(|(known, _)| known.get_ref().as_ref() == key)?;
                Some(value)
            }),
            Step::Index(index) => list.and_then(|list| list.get(*index)),
        };
        let Some(value) = found else { break };
        span = Some(value.span());
        (table, list) = match value.get_ref() {
            DeValue::Table(table) => (Some(table), None),
            DeValue::Array(array) => (None, Some(&array[..])),
            _ => (None, None),
        };
    }
    let before = text.get(..span?.start)?;
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
    Some((line, column))
}

/// The steps of a path; `None` when it is none.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (index, behind) = inside.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = behind;
        } else if let Some(inside) = rest.strip_prefix('"') {
            let (key, behind) = inside.split_once('"')?;
            steps.push(Step::Key(key.to_string()));
            rest = behind;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Key(rest[..end].to_string()));
            rest = &rest[end..];
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[health]\ntimezone = \"Tokyo\"\n\n[[health.rules]]\nname = \"a\"\n\n[[health.rules]]\nname = \"b\"\n  when = \"x\"\n\n[health.calendars.\"Asia/Tokyo\"]\nextra = [\"2026-01-02\", \"soon\"]\n";

    #[test]
    fn a_field_is_found_by_its_path() {
        assert_eq!(locate(TEXT, "health.timezone"), Some((2, 12)));
        assert_eq!(locate(TEXT, "health.rules[1].when"), Some((9, 10)));
        assert_eq!(
            locate(TEXT, "health.calendars.\"Asia/Tokyo\".extra[1]"),
            Some((12, 24))
        );
    }

    #[test]
    fn of_what_is_not_there_the_nearest_part_that_is_counts() {
        assert_eq!(locate(TEXT, "health.rules[0].when"), Some((4, 1)));
        assert_eq!(locate(TEXT, "kafka.brokers"), None);
        assert_eq!(locate(TEXT, "no path["), None);
    }
}
