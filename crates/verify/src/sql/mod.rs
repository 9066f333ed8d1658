//! The SQL text, written from `docs/numbers.md`.
//!
//! Each query stands alone: it names every account, time and configured value as a literal, so that
//! anybody can run it with any client. Times are milliseconds since 1970-01-01 UTC and days are
//! numbers of days since 1970-01-01, both as plain integers.

mod events;
mod gather;
mod numbers;
mod scores;
mod stages;

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::Definition;

pub(crate) use events::{daily_rows, zones};

/// A row that is to be computed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub account_id: String,
    pub evaluated_at: i64,
    pub cut_offset: i64,
    pub segment_stickiness: Option<f64>,
    /// The account's zone as of the row, as the server spells it.
    pub zone: String,
}

/// The query that computes all numbers, the stage and the scores of some rows.
pub(crate) fn evaluations(definition: &Definition, targets: &[Target], known_at: Option<i64>) -> String {
    let zones: BTreeSet<&str> = targets.iter().map(|target| target.zone.as_str()).collect();
    let latest = targets.iter().map(|target| target.evaluated_at).max();
    format!(
        "WITH\n{functions},\n{calendar},\n{staging},\n{scoring},\n{targets},\n{covered},\n{gathered},\n{numbers},\n{stages},\n{scores}\n\
         SELECT * FROM scores ORDER BY account_id, evaluated_at",
        functions = events::functions(&zones),
        calendar = numbers::working_days(definition, &zones, latest.unwrap_or_default()),
        staging = stages::functions(),
        scoring = scores::functions(),
        targets = events::targets(targets),
        covered = events::covered(targets, known_at),
        gathered = gather::gathered(definition),
        numbers = numbers::numbers(definition),
        stages = stages::stages(definition),
        scores = scores::scores(definition),
    )
}

/// A string literal.
pub(crate) fn text(value: &str) -> String {
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('\'');
    for letter in value.chars() {
        match letter {
            '\\' | '\'' => {
                literal.push('\\');
                literal.push(letter);
            }
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\0' => literal.push_str("\\0"),
            _ => literal.push(letter),
        }
    }
    literal.push('\'');
    literal
}

/// An array of string literals; typed, so that none at all is one too.
fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let listed: Vec<String> = values.into_iter().map(text).collect();
    format!("CAST([{}], 'Array(String)')", listed.join(", "))
}

/// A literal of a 64-bit float.
fn float(value: f64) -> String {
    format!("toFloat64({value:?})")
}

/// Lists `items`, each on a line of its own, with a comma between them.
fn lines<T>(indent: usize, items: impl IntoIterator<Item = T>, render: impl Fn(T) -> String) -> String {
    let mut listed = String::new();
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            listed.push_str(",\n");
            for _ in 0..indent {
                listed.push(' ');
            }
        }
        // Writing to a string does not fail.
        let _ = write!(listed, "{}", render(item));
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(text(r"it's \ a 'name' 守"), r"'it\'s \\ a \'name\' 守'");
        assert_eq!(texts([]), "CAST([], 'Array(String)')");
        assert_eq!(float(100.0), "toFloat64(100.0)");
        assert_eq!(float(-0.3), "toFloat64(-0.3)");
    }
}
