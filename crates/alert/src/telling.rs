//! How alerts are told: what is configured of each rule, of the owners of accounts, and the language.
//!
//! A [`Telling`] that exists has templates whose every placeholder is known, so filling one cannot fail.

pub(crate) mod template;

use std::collections::BTreeMap;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError};
use template::Template;

/// Section `[alert.rules.NAME]`: how the alerts of one rule, shipped or configured, are told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleTelling {
    /// Records what would have been sent, and sends nothing. Default false.
    pub shadow: bool,
    /// The share of accounts, by a stable hash, that nobody is told of; from 0 to below 1. Default 0.
    pub holdout: f64,
    /// Names of ways to act; a stable hash puts each account into one. Default none.
    pub variants: Vec<String>,
    /// What is said in place of the reason when an episode opens or gets worse: text with
    /// placeholders. Default none: the rule's own message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Wording>,
}

/// A text in both languages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wording {
    /// English.
    pub en: String,
    /// Japanese.
    pub ja: String,
}

/// Section `[alert.owners.NAME]`: how the owner of an account is reached. The name is the account's
/// attribute `owner`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Owner {
    /// Address for mail, in place of `{owner}` in `to`. Default none.
    pub email: String,
    /// Member id in Slack, such as `U0123`: who is mentioned. Default none.
    pub slack: String,
    /// Owner id in HubSpot: whose task it becomes. Default none.
    pub hubspot: String,
}

/// The language of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Japanese.
    Ja,
    /// Both, English first.
    Both,
}

impl Language {
    /// One text where both fit into a line.
    pub(crate) fn line(self, en: &str, ja: &str) -> String {
        match self {
            Language::En => en.to_string(),
            Language::Ja => ja.to_string(),
            Language::Both if en == ja => en.to_string(),
            Language::Both => format!("{en} / {ja}"),
        }
    }

    /// A line for each language.
    pub(crate) fn lines(self, en: String, ja: String) -> Vec<String> {
        match self {
            Language::En => vec![en],
            Language::Ja => vec![ja],
            Language::Both => vec![en, ja],
        }
    }
}

/// What every message is rendered with, whatever the destination.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    /// Where the page is, without a slash at its end; empty for no links.
    pub link: String,
    pub owners: BTreeMap<String, Owner>,
    messages: BTreeMap<String, Message>,
}

#[derive(Debug)]
struct Message {
    en: Template,
    ja: Template,
}

impl Telling {
    /// Reads the templates and checks what is said of owners.
    ///
    /// # Errors
    /// [`ConfigError`] with the key and what would be right.
    pub fn read(config: &Config) -> Result<Telling, ConfigError> {
        let mut messages = BTreeMap::new();
        for (rule, telling) in &config.rules {
            let Some(wording) = &telling.message else {
                continue;
            };
            let read = |language: &str, text: &str| {
                Template::parse(text).map_err(|problem| ConfigError::Field {
                    field: format!("rules.{rule}.message.{language}"),
                    problem,
                })
            };
            let message = Message {
                en: read("en", &wording.en)?,
                ja: read("ja", &wording.ja)?,
            };
            messages.insert(rule.clone(), message);
        }
        for (name, owner) in &config.owners {
            check_owner(name, owner)?;
        }
        Ok(Telling {
            link: link(&config.link)?,
            owners: config.owners.clone(),
            messages,
        })
    }

    /// The templates of a rule: English and Japanese.
    pub fn message(&self, rule: &str) -> Option<(&Template, &Template)> {
        let message = self.messages.get(rule)?;
        Some((&message.en, &message.ja))
    }
}

fn check_owner(name: &str, owner: &Owner) -> Result<(), ConfigError> {
    let refuse = |field: &str, problem: &str| {
        Err(ConfigError::Field {
            field: format!("owners.{name:?}.{field}"),
            problem: problem.to_string(),
        })
    };
    let is_id = |id: &str| {
        id.bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    if !owner.email.is_empty() && owner.email.parse::<lettre::Address>().is_err() {
        return refuse("email", "is not an address such as sho@example.jp");
    }
    if !is_id(&owner.slack) {
        return refuse(
            "slack",
            "is not a member id such as U0123ABCD; the member's profile shows it",
        );
    }
    if !owner.hubspot.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse("hubspot", "is not an owner id, which is a number");
    }
    Ok(())
}

fn link(text: &str) -> Result<String, ConfigError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let is_page = Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http") && url.query().is_none() && url.fragment().is_none()
    });
    if !is_page {
        return Err(ConfigError::Field {
            field: "link".to_string(),
            problem: "is not the address of the page, such as https://mimamori.example".to_string(),
        });
    }
    Ok(text.trim_end_matches('/').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> String {
        let config: Config = serde_json::from_str(json).unwrap();
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_told_is_refused_with_its_key() {
        let found = problem(r#"{"rules":{"falling_usage":{"message":{"en":"{acount}","ja":"{account}"}}}}"#);
        assert!(
            found.starts_with("alert.rules.falling_usage.message.en: "),
            "{found}"
        );
        assert!(found.contains("did you mean {account}?"), "{found}");
        let found = problem(r#"{"owners":{"田中 翔":{"email":"sho"}}}"#);
        assert!(found.starts_with("alert.owners.\"田中 翔\".email: "), "{found}");
        assert!(problem(r#"{"owners":{"x":{"slack":"@sho"}}}"#).contains("member id"));
        assert!(problem(r#"{"owners":{"x":{"hubspot":"sho"}}}"#).contains("owner id"));
        assert!(problem(r#"{"link":"mimamori.example"}"#).starts_with("alert.link: "));
        assert!(serde_json::from_str::<RuleTelling>(r#"{"shadw":true}"#).is_err());
        assert!(serde_json::from_str::<RuleTelling>(r#"{"message":{"en":"only"}}"#).is_err());
    }

    #[test]
    fn both_languages_stand_beside_each_other() {
        assert_eq!(Language::Both.line("Health", "健全度"), "Health / 健全度");
        assert_eq!(Language::Both.line("MRR", "MRR"), "MRR");
        assert_eq!(Language::Ja.line("Health", "健全度"), "健全度");
        assert_eq!(Language::Both.lines("a".into(), "b".into()), ["a", "b"]);
    }
}
