//! Personal data dropped, or replaced by a keyed hash, before an event goes on.
//!
//! A pseudonym is `p1_` and the HMAC-SHA256 of the value in hexadecimal: the same value has the same
//! pseudonym wherever it stands, so that users are still told apart, and without the key nobody finds
//! out whose it is. A value that has the form of a pseudonym is left as it is, so that a record that
//! comes a second time, as by a replay, has the same ones.
//!
//! JSON is rewritten in place: what no rule names keeps its order, its doubled names and its digits.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::config::ConfigError;
use crate::model::Event;
use crate::properties::Properties;

/// Keys shorter than this can be guessed.
const MIN_KEY_BYTES: usize = 16;
const PREFIX: &str = "p1_";
/// Hexadecimal digits of a pseudonym.
const DIGITS: usize = 64;

/// Properties that events cannot do without: they cannot be dropped.
const REQUIRED: [&str; 2] = ["ticket_id", "score"];
/// Properties that are read as something else than a free text: they have no pseudonym.
const NOT_FREE: [&str; 15] = [
    "count",
    "duration_ms",
    "seats",
    "tier",
    "timezone",
    "signed_up_at",
    "onboarding_due",
    "role",
    "removed",
    "mrr",
    "currency",
    "starts_at",
    "ends_at",
    "discount_ends_at",
    "score",
];

/// Which fields do not go on as they came.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyConfig {
    /// What pseudonyms are made with: at least 16 bytes, or `file:PATH`. Required by `pseudonymise`;
    /// another key makes other users of the same people. Default none.
    pub key: String,
    /// Fields that are replaced by a pseudonym: `user_id`, `properties.PATH`. Default none.
    pub pseudonymise: Vec<String>,
    /// Fields that are left out: `user_id`, `properties.PATH`. Default none.
    pub drop: Vec<String>,
    /// What is kept of a rejected record in which fields cannot be found, because it is not JSON.
    /// Default `keep`.
    pub unreadable: Unreadable,
}

/// Never the key: it is a secret.
impl fmt::Debug for PrivacyConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PrivacyConfig")
            .field("pseudonymise", &self.pseudonymise)
            .field("drop", &self.drop)
            .field("unreadable", &self.unreadable)
            .finish_non_exhaustive()
    }
}

/// What becomes of an original that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// It is kept as it came.
    #[default]
    Keep,
    /// Nothing of it is kept but the reason.
    Drop,
}

/// What is done to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Drop,
    Pseudonymise,
}

/// The fields and what is done to them.
#[derive(Clone)]
pub(crate) struct Privacy {
    key: Hmac<Sha256>,
    user_id: Option<Action>,
    /// Of an event's properties, by path.
    of_properties: Vec<(String, Action)>,
    /// Of a whole record, whatever its format, by path.
    of_record: Vec<(String, Action)>,
    unreadable: Unreadable,
}

impl fmt::Debug for Privacy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Privacy").finish_non_exhaustive()
    }
}

impl Privacy {
    /// Nothing when no field is named. `key` is the configured one, read from its file if it is in one.
    pub(crate) fn new(config: &PrivacyConfig, key: &[u8]) -> Result<Option<Privacy>, ConfigError> {
        if config.drop.is_empty() && config.pseudonymise.is_empty() {
            return Ok(None);
        }
        if !config.pseudonymise.is_empty() && key.len() < MIN_KEY_BYTES {
            let problem = format!("key: pseudonymise needs one of at least {MIN_KEY_BYTES} bytes");
            return Err(ConfigError::Privacy(problem));
        }
        let mut privacy = Privacy {
            key: Hmac::new_from_slice(key).expect("HMAC takes a key of any length"),
            user_id: None,
            of_properties: Vec::new(),
            of_record: Vec::new(),
            unreadable: config.unreadable,
        };
        for (fields, action, list) in [
            (&config.drop, Action::Drop, "drop"),
            (&config.pseudonymise, Action::Pseudonymise, "pseudonymise"),
        ] {
            for field in fields {
                privacy
                    .add(field, action)
                    .map_err(|problem| ConfigError::Privacy(format!("{list}: {field:?} {problem}")))?;
            }
        }
        privacy.spread();
        Ok(Some(privacy))
    }

    fn add(&mut self, field: &str, action: Action) -> Result<(), String> {
        if field == "user_id" {
            return match self.user_id.replace(action) {
                Some(_) => Err("is named twice".to_owned()),
                None => Ok(()),
            };
        }
        let Some(path) = field.strip_prefix("properties.") else {
            return Err("is no field that this can be done to: give user_id or properties.PATH".to_owned());
        };
        if path.split('.').any(str::is_empty) {
            return Err("holds an empty name".to_owned());
        }
        if action == Action::Drop && REQUIRED.contains(&path) {
            return Err("cannot be dropped: an event cannot do without it".to_owned());
        }
        if action == Action::Pseudonymise && NOT_FREE.contains(&path) {
            return Err("cannot have a pseudonym: it is not read as a free text".to_owned());
        }
        if self.of_properties.iter().any(|(known, _)| known == path) {
            return Err("is named twice".to_owned());
        }
        self.of_properties.push((path.to_owned(), action));
        Ok(())
    }

    /// Works out where the fields stand in records of every format.
    fn spread(&mut self) {
        let mut at_top = Vec::new();
        if let Some(action) = self.user_id {
            // CloudEvents keep the user among their data, and an alias tells the id before.
            for path in ["user_id", "userId", "previous_id", "previousId"] {
                if !self.of_properties.iter().any(|(known, _)| known == path) {
                    self.of_properties.push((path.to_owned(), action));
                }
                at_top.push((path.to_owned(), action));
            }
        }
        for place in ["properties", "traits", "data", "context.traits"] {
            let inside = self.of_properties.iter();
            at_top.extend(inside.map(|(path, action)| (format!("{place}.{path}"), *action)));
        }
        let in_batches: Vec<_> = at_top
            .iter()
            .map(|(path, action)| (format!("batch.{path}"), *action))
            .collect();
        at_top.extend(in_batches);
        self.of_record = at_top;
    }

    /// Takes the fields out of an event.
    pub(crate) fn apply(&self, event: &mut Event) {
        match self.user_id {
            Some(Action::Drop) => event.user_id = None,
            Some(Action::Pseudonymise) => {
                event.user_id = event.user_id.as_deref().map(|user_id| self.pseudonym(user_id));
            }
            None => {}
        }
        // The decoder has read them, so they can be read.
        if let Ok(Some(rewritten)) = self.rewrite(&event.properties, &borrowed(&self.of_properties)) {
            event.properties = rewritten;
        }
    }

    /// What may be kept of a record that was rejected; nothing when it must not be kept.
    /// `is_data` says that the whole payload is what other formats keep in `data`.
    pub(crate) fn redact<'p>(&self, payload: &'p [u8], is_data: bool) -> Option<Cow<'p, [u8]>> {
        let rewritten = std::str::from_utf8(payload).map_err(drop).and_then(|text| {
            let paths = if is_data {
                &self.of_properties
            } else {
                &self.of_record
            };
            serde_json::from_str::<&RawValue>(text).map_err(drop)?;
            self.rewrite(text, &borrowed(paths))
        });
        match rewritten {
            Ok(Some(rewritten)) => Some(Cow::Owned(rewritten.into_bytes())),
            Ok(None) => Some(Cow::Borrowed(payload)),
            Err(()) if self.unreadable == Unreadable::Keep => Some(Cow::Borrowed(payload)),
            Err(()) => None,
        }
    }

    fn pseudonym(&self, value: &str) -> String {
        if is_pseudonym(value) {
            return value.to_owned();
        }
        let mut mac = self.key.clone();
        mac.update(value.as_bytes());
        format!("{PREFIX}{:x}", mac.finalize().into_bytes())
    }

    /// The JSON with these paths, counted from its outermost object, dropped or replaced; nothing when
    /// it has none of them. Through arrays a path goes as if they were not there.
    fn rewrite(&self, text: &str, paths: &[(&str, Action)]) -> Result<Option<String>, ()> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        if text.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(drop)?;
            let mut changed = false;
            let mut rewritten = Vec::with_capacity(items.len());
            for item in items {
                let item_rewritten = self.rewrite(item.get(), paths)?;
                changed |= item_rewritten.is_some();
                rewritten.push(item_rewritten.map_or(Cow::Borrowed(item.get()), Cow::Owned));
            }
            return Ok(changed.then(|| format!("[{}]", rewritten.join(","))));
        }
        if !text.starts_with('{') {
            return Ok(None);
        }
        let object = Properties::parse(text).map_err(drop)?;
        let mut changed = false;
        let mut fields: Vec<String> = Vec::new();
        for (name, value) in object.entries() {
            let mut action = None;
            let mut inside = Vec::new();
            for &(path, path_action) in paths {
                match path.strip_prefix(name) {
                    Some("") => action = Some(path_action),
                    Some(rest) => inside.extend(rest.strip_prefix('.').map(|rest| (rest, path_action))),
                    None => {}
                }
            }
            let value = match action {
                Some(Action::Drop) => {
                    changed = true;
                    continue;
                }
                Some(Action::Pseudonymise) => {
                    changed = true;
                    Cow::Owned(self.hidden(value)?)
                }
                None if inside.is_empty() => Cow::Borrowed(value),
                None => match self.rewrite(value, &inside)? {
                    Some(rewritten) => {
                        changed = true;
                        Cow::Owned(rewritten)
                    }
                    None => Cow::Borrowed(value),
                },
            };
            fields.push(format!("{}:{value}", serde_json::Value::from(name)));
        }
        Ok(changed.then(|| format!("{{{}}}", fields.join(","))))
    }

    /// A value's pseudonym as JSON: of each item of an array, of anything else as one; null stays.
    fn hidden(&self, value: &str) -> Result<String, ()> {
        if value == "null" {
            return Ok(value.to_owned());
        }
        if value.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(value).map_err(drop)?;
            let hidden: Result<Vec<String>, ()> = items.iter().map(|item| self.hidden(item.get())).collect();
            return Ok(format!("[{}]", hidden?.join(",")));
        }
        let text: Cow<'_, str> = if value.starts_with('"') {
            Cow::Owned(serde_json::from_str(value).map_err(drop)?)
        } else {
            Cow::Borrowed(value)
        };
        Ok(format!("\"{}\"", self.pseudonym(&text)))
    }
}

fn borrowed(paths: &[(String, Action)]) -> Vec<(&str, Action)> {
    paths
        .iter()
        .map(|(path, action)| (path.as_str(), *action))
        .collect()
}

fn is_pseudonym(value: &str) -> bool {
    value.strip_prefix(PREFIX).is_some_and(|digits| {
        digits.len() == DIGITS
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
#[path = "privacy_tests.rs"]
mod tests;
