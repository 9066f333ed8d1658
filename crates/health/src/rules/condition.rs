//! A compiled condition.
//!
//! Each node's type is fixed when it is made, and an unknown input makes a node unknown unless the
//! others decide alone: `unknown || true` is true and `unknown && false` is false, as an error is in
//! CEL. Evaluating allocates nothing.

use crate::rules::names::{Facts, NumberName, TextName};

/// Something that holds, does not, or is unknown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    Literal(bool),
    NumberIsKnown(NumberName),
    TextIsKnown(TextName),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// If the first then the second, else the third.
    Choose(Box<[Condition; 3]>),
    /// Both hold or neither does.
    Agree(Box<[Condition; 2]>),
    Compare(Number, Comparison, Number),
    NumberIn(Number, Vec<f64>),
    TextsEqual(Text, Text),
    TextIn(Text, Vec<String>),
    TextHas(Text, TextPart, Text),
    /// The text is among the unused key features.
    IsUnused(Text),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    Literal(f64),
    Named(NumberName),
    Negative(Box<Number>),
    Arithmetic(Box<[Number; 2]>, Arithmetic),
    Choose(Box<(Condition, Number, Number)>),
    /// Characters of a text.
    Length(Text),
    /// How many key features are unused.
    UnusedCount,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Text {
    Literal(String),
    Named(TextName),
    Choose(Box<(Condition, Text, Text)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextPart {
    Start,
    End,
    Anywhere,
}

impl Condition {
    /// Whether the condition holds; `None` when that is unknown.
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Condition::Literal(value) => Some(*value),
            Condition::NumberIsKnown(name) => Some(facts.number(*name).is_some()),
            Condition::TextIsKnown(name) => Some(facts.text(*name).is_some()),
            Condition::Not(inner) => inner.holds(facts).map(|holds| !holds),
            Condition::All(parts) => decided_by(false, parts, facts),
            Condition::Any(parts) => decided_by(true, parts, facts),
            Condition::Choose(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let chosen = if condition.holds(facts)? { then } else { otherwise };
                chosen.holds(facts)
            }
            Condition::Agree(pair) => Some(pair[0].holds(facts)? == pair[1].holds(facts)?),
            Condition::Compare(left, comparison, right) => {
                comparison.of(left.value(facts)?, right.value(facts)?)
            }
            Condition::NumberIn(number, list) => {
                let value = number.value(facts)?;
                Some(list.contains(&value))
            }
            Condition::TextsEqual(left, right) => Some(left.value(facts)? == right.value(facts)?),
            Condition::TextIn(text, list) => {
                let value = text.value(facts)?;
                Some(list.iter().any(|one| one == value))
            }
            Condition::TextHas(text, part, other) => {
                let (text, other) = (text.value(facts)?, other.value(facts)?);
                Some(match part {
                    TextPart::Start => text.starts_with(other),
                    TextPart::End => text.ends_with(other),
                    TextPart::Anywhere => text.contains(other),
                })
            }
            Condition::IsUnused(text) => {
                let value = text.value(facts)?;
                Some(facts.unused_key_features().iter().any(|unused| unused == value))
            }
        }
    }
}

/// `decisive` when one of `parts` is that, else unknown when one is unknown, else the contrary.
fn decided_by(decisive: bool, parts: &[Condition], facts: &Facts<'_>) -> Option<bool> {
    let mut result = Some(!decisive);
    for part in parts {
        match part.holds(facts) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

impl Comparison {
    /// What is no number (0 ÷ 0) is neither above nor below anything.
    fn of(self, left: f64, right: f64) -> Option<bool> {
        match self {
            Comparison::Equal => Some(left == right),
            Comparison::NotEqual => Some(left != right),
            Comparison::Less => left.partial_cmp(&right).map(|order| order.is_lt()),
            Comparison::LessOrEqual => left.partial_cmp(&right).map(|order| order.is_le()),
            Comparison::Greater => left.partial_cmp(&right).map(|order| order.is_gt()),
            Comparison::GreaterOrEqual => left.partial_cmp(&right).map(|order| order.is_ge()),
        }
    }
}

impl Number {
    fn value(&self, facts: &Facts<'_>) -> Option<f64> {
        match self {
            Number::Literal(value) => Some(*value),
            Number::Named(name) => facts.number(*name),
            Number::Negative(inner) => inner.value(facts).map(|value| -value),
            Number::Arithmetic(pair, arithmetic) => {
                let (left, right) = (pair[0].value(facts)?, pair[1].value(facts)?);
                Some(match arithmetic {
                    Arithmetic::Add => left + right,
                    Arithmetic::Subtract => left - right,
                    Arithmetic::Multiply => left * right,
                    Arithmetic::Divide => left / right,
                })
            }
            Number::Choose(parts) => {
                let (condition, then, otherwise) = parts.as_ref();
                let chosen = if condition.holds(facts)? { then } else { otherwise };
                chosen.value(facts)
            }
            Number::Length(text) => text.value(facts).map(|text| text.chars().count() as f64),
            Number::UnusedCount => Some(facts.unused_key_features().len() as f64),
        }
    }
}

impl Text {
    fn value<'a>(&'a self, facts: &Facts<'a>) -> Option<&'a str> {
        match self {
            Text::Literal(text) => Some(text),
            Text::Named(name) => facts.text(*name),
            Text::Choose(parts) => {
                let (condition, then, otherwise) = parts.as_ref();
                let chosen = if condition.holds(facts)? { then } else { otherwise };
                chosen.value(facts)
            }
        }
    }
}
