//! Section `[alert.rules.NAME]`: how what one rule finds is told, the rules that ship included.

use serde::{Deserialize, Serialize};

/// One of `[alert.rules.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleTelling {
    /// Whether nothing is sent and only what would have been is recorded. Default false.
    pub shadow: bool,
    /// The share of accounts that nobody is told of, from 0 to below 1. Default 0.
    pub holdout: f64,
    /// Names among which the accounts are spread; each account has one for good. Default none.
    pub variants: Vec<String>,
    /// What is said instead of the rule's own words. Default none.
    pub message: Option<Message>,
}

/// A text in both languages; `{placeholders}` stand for what an alert says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Message {
    /// English.
    pub en: String,
    /// Japanese.
    pub ja: String,
}
