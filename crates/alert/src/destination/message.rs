//! What a message says, whatever the destination: the canonical body, read and put into words.
//!
//! Nothing here is escaped, since each kind escapes for itself; no text is longer than the body that it
//! came from. A body of a type that is not known becomes a message, too: its type is the heading.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::words::{self, Word};
use crate::telling::template::{self, Template};
use crate::telling::{Language, Owner, Telling};

/// The most items of a list, such as a digest's, that a message tells.
const LISTED: usize = 20;

/// How a message is to be rendered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style<'a> {
    pub language: Language,
    pub telling: &'a Telling,
}

/// What a body tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A change of an episode.
    Opened,
    /// It got worse.
    Escalated,
    /// Somebody looks after it.
    Acknowledged,
    /// It is over, or should not have been.
    Ended,
    /// A list of alerts.
    Digest,
    /// Alerts that the breaker holds.
    Held,
    /// A sample.
    Test,
    /// Anything else.
    Other,
}

/// A name and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub label: String,
    pub value: String,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub subject: Subject,
    /// The body's `type`.
    pub event_type: String,
    /// When what it tells of was found, RFC 3339.
    pub timestamp: String,
    pub alert_id: String,
    pub episode_id: String,
    /// `info`, `warning` or `critical`; empty when it has none.
    pub severity: String,
    pub is_opportunity: bool,
    pub language: Language,
    /// One line: what happened to whom.
    pub title: String,
    /// Why, a line or more for each language.
    pub reasons: Vec<String>,
    /// The strongest drivers, strongest first.
    pub drivers: Vec<String>,
    /// Who it is.
    pub who: Vec<Fact>,
    /// How it stands.
    pub numbers: Vec<Fact>,
    /// What a digest or the breaker lists.
    pub items: Vec<String>,
    /// Who looks after the account: the name and how to reach it.
    pub owner: Option<(String, Owner)>,
    /// Where to look.
    pub link: Option<String>,
    data: Map<String, Value>,
    reason: [String; 2],
}

impl Message {
    /// Reads a body. One that is no JSON object tells nothing and is an error.
    ///
    /// # Errors
    /// Says what is wrong with the body.
    pub fn read(alert_id: &str, body: &str, style: Style<'_>) -> Result<Message, String> {
        let body: Value =
            serde_json::from_str(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_string();
        let data = body["data"].as_object().cloned().unwrap_or_default();
        let mut message = Message {
            subject: Subject::Other,
            event_type: text("type"),
            timestamp: text("timestamp"),
            alert_id: alert_id.to_string(),
            episode_id: string(&data, "episode_id"),
            severity: string(&data, "severity"),
            is_opportunity: body["type"]
                .as_str()
                .is_some_and(|name| name.starts_with("account.opportunity.")),
            language: style.language,
            title: String::new(),
            reasons: Vec::new(),
            drivers: Vec::new(),
            who: Vec::new(),
            numbers: Vec::new(),
            items: Vec::new(),
            owner: None,
            link: None,
            reason: [string(&data, "reason"), string(&data, "reason_ja")],
            data,
        };
        if message.reason[1].is_empty() {
            message.reason[1] = message.reason[0].clone();
        }
        message.subject = message.find_subject();
        message.put_into_words(style);
        Ok(message)
    }

    fn find_subject(&self) -> Subject {
        match (self.event_type.as_str(), self.change()) {
            ("alerts.digest", _) => Subject::Digest,
            ("alerts.held", _) => Subject::Held,
            ("test", _) => Subject::Test,
            (_, "opened") => Subject::Opened,
            (_, "escalated") => Subject::Escalated,
            (_, "acknowledged") => Subject::Acknowledged,
            (_, "resolved" | "retracted") => Subject::Ended,
            _ => Subject::Other,
        }
    }

    fn put_into_words(&mut self, style: Style<'_>) {
        let owner = self.account("owner");
        if !owner.is_empty() {
            let reached = style.telling.owners.get(&owner).cloned().unwrap_or_default();
            self.owner = Some((owner, reached));
        }
        self.title = self.find_title();
        self.reasons = self.find_reasons(style.telling.message(&self.rule()));
        self.drivers = self.find_drivers();
        self.items = self.find_items();
        self.who = self.find_who();
        self.numbers = self.find_numbers();
        let link = &style.telling.link;
        if !link.is_empty() {
            let account = string(&self.data, "account_id");
            self.link = Some(if account.is_empty() {
                format!("{link}/")
            } else {
                // As the page writes its own address.
                format!(
                    "{link}/#account={}",
                    utf8_percent_encode(&account, NON_ALPHANUMERIC)
                )
            });
        }
    }

    fn find_title(&self) -> String {
        let name = self.account_name();
        let about = |word: Word| {
            let what = self.language.word(word);
            let colon = if self.language == Language::Ja {
                "："
            } else {
                ": "
            };
            if name.is_empty() {
                what
            } else {
                format!("{what}{colon}{name}")
            }
        };
        words::one_line(&match self.subject {
            Subject::Digest => match self.count() {
                Some(count) => self.language.line(
                    &format!("Digest: {count} alerts"),
                    &format!("まとめ：アラート{count}件"),
                ),
                None => self.language.word(words::DIGEST),
            },
            Subject::Held => self.language.word(words::HELD),
            Subject::Test => about(words::TEST),
            Subject::Other => self.event_type.clone(),
            _ => about(words::change(self.change(), self.is_opportunity)),
        })
    }

    /// The rule's template where an episode opens or gets worse; else what the body says.
    fn find_reasons(&self, message: Option<(&Template, &Template)>) -> Vec<String> {
        let speaks = matches!(self.subject, Subject::Opened | Subject::Escalated);
        let reasons = match message.filter(|_| speaks) {
            Some((en, ja)) => {
                let [unknown, unknown_ja] = words::UNKNOWN;
                self.language.lines(
                    en.fill(unknown, |name| self.value(name, Language::En)),
                    ja.fill(unknown_ja, |name| self.value(name, Language::Ja)),
                )
            }
            None => {
                let [en, ja] = self.reason.clone();
                self.language.lines(en, ja)
            }
        };
        reasons
            .into_iter()
            .filter(|reason| !reason.trim().is_empty())
            .collect()
    }

    fn find_drivers(&self) -> Vec<String> {
        let drivers = self.data.get("drivers").and_then(Value::as_array);
        let sentences = drivers.into_iter().flatten().map(|driver| {
            let text = |name: &str| driver[name].as_str().unwrap_or_default();
            match (text("sentence"), text("sentence_ja")) {
                ("", _) => text("input").to_string(),
                (en, "") => en.to_string(),
                (en, ja) => self.language.line(en, ja),
            }
        });
        sentences
            .filter(|sentence| !sentence.is_empty())
            .take(3)
            .collect()
    }

    /// The lines of the first member that is a list of alerts or accounts.
    fn find_items(&self) -> Vec<String> {
        if !matches!(self.subject, Subject::Digest | Subject::Held) {
            return Vec::new();
        }
        let lists = ["alerts", "examples"];
        let list = lists.iter().find_map(|name| {
            self.data
                .get(*name)
                .and_then(Value::as_array)
                .filter(|list| !list.is_empty())
        });
        let Some(list) = list else {
            return Vec::new();
        };
        let mut lines: Vec<String> = list.iter().take(LISTED).map(|item| self.item(item)).collect();
        let all = self.count().unwrap_or(list.len() as u64);
        let more = all.saturating_sub(lines.len() as u64);
        if more > 0 {
            lines.push(words::and_more(self.language, more));
        }
        lines
    }

    fn item(&self, item: &Value) -> String {
        if let Some(text) = item.as_str() {
            return words::one_line(text);
        }
        let text = |name: &str| match &item[name] {
            Value::String(text) => text.clone(),
            // An account that is told as an object has a name.
            Value::Object(object) => string(object, "name"),
            _ => String::new(),
        };
        let first_of = |names: &[&str]| {
            let mut found = names
                .iter()
                .map(|name| text(name))
                .filter(|text| !text.is_empty());
            found.next().unwrap_or_default()
        };
        let (en, ja) = (text("reason"), first_of(&["reason_ja", "reason"]));
        let what = if en.is_empty() {
            let name = first_of(&["account", "name", "account_id"]);
            format!("{name}: {}", text("rule"))
        } else {
            // A reason begins with the account's name.
            self.language.line(&en, &ja)
        };
        let severity = text("severity");
        let mark = if severity.is_empty() {
            String::new()
        } else {
            format!("[{}] ", self.language.word(words::severity(&severity)))
        };
        words::one_line(&format!("{mark}{what}"))
    }

    /// How many a digest or the breaker tells of.
    fn count(&self) -> Option<u64> {
        let names = ["count", "accounts"];
        names
            .iter()
            .find_map(|name| self.data.get(*name).and_then(Value::as_u64))
    }

    fn find_who(&self) -> Vec<Fact> {
        let mut who = Vec::new();
        let mut push = |word: Word, value: String| {
            if !value.is_empty() {
                who.push(Fact {
                    label: self.language.word(word),
                    value: words::one_line(&value),
                });
            }
        };
        let named = |sentence: health::words::Sentence| self.language.line(&sentence.en, &sentence.ja);
        let (tier, stage) = (self.account("tier"), self.account("stage"));
        if !tier.is_empty() {
            push(words::TIER, named(health::words::tier(&tier)));
        }
        if !stage.is_empty() {
            push(words::STAGE, named(health::words::stage(&stage)));
        }
        push(words::PLAN, self.account("plan"));
        push(words::SEGMENT, self.account("segment"));
        if self.data.contains_key("account") {
            let owner = self.owner.as_ref().map(|(name, _)| name.clone());
            push(
                words::OWNER,
                owner.unwrap_or_else(|| self.language.word(words::NOBODY)),
            );
        }
        who
    }

    fn find_numbers(&self) -> Vec<Fact> {
        let mut numbers = Vec::new();
        let mut push = |word: Word, value: Option<String>| {
            if let Some(value) = value {
                numbers.push(Fact {
                    label: self.language.word(word),
                    value,
                });
            }
        };
        let score = |name: &str| member(&self.data, "scores", name).and_then(Value::as_f64);
        let health = score("health").map(|health| {
            let band = member(&self.data, "scores", "band").and_then(Value::as_str);
            let band = band.map(health::words::band);
            match band {
                Some(band) => format!(
                    "{} ({})",
                    words::number("health", health),
                    self.language.line(&band.en, &band.ja)
                ),
                None => words::number("health", health),
            }
        });
        push(words::HEALTH, health);
        push(words::CHURN_RISK, score("churn_risk").map(words::percent));
        let mrr = member(&self.data, "account", "mrr").and_then(Value::as_f64);
        let currency = self.account("currency");
        let currency = Some(currency.as_str()).filter(|currency| !currency.is_empty());
        push(words::MRR, mrr.map(|mrr| words::money(mrr, currency)));
        let renewal = member(&self.data, "metrics", "days_to_renewal").and_then(Value::as_f64);
        push(
            words::RENEWAL,
            renewal.map(|days| words::number("days_to_renewal", days)),
        );
        // What a person is to type about alerts that are held.
        let command = |name: &str| Some(string(&self.data, name)).filter(|command| !command.is_empty());
        push(words::RELEASE, command("release"));
        push(words::DROP, command("drop"));
        numbers
    }

    /// What stands behind a placeholder of this name.
    pub fn value(&self, name: &str, language: Language) -> template::Value {
        let text = |text: String| {
            if text.is_empty() {
                template::Value::Unknown
            } else {
                template::Value::Text(words::one_line(&text))
            }
        };
        match name {
            "account" => text(self.account_name()),
            "reason" => {
                let [en, ja] = &self.reason;
                text(match language {
                    Language::En => en.clone(),
                    Language::Ja => ja.clone(),
                    Language::Both => Language::Both.line(en, ja),
                })
            }
            "alert_id" => text(self.alert_id.clone()),
            "timestamp" => text(self.timestamp.clone()),
            "link" => text(self.link.clone().unwrap_or_default()),
            _ => {
                let places = ["account", "scores", "metrics"];
                let found = places.iter().find_map(|place| member(&self.data, place, name));
                match found.or_else(|| self.data.get(name)) {
                    Some(Value::Number(number)) => number
                        .as_f64()
                        .map_or(template::Value::Unknown, template::Value::Number),
                    Some(Value::String(found)) => text(found.clone()),
                    Some(Value::Bool(found)) => text(found.to_string()),
                    Some(Value::Array(list)) => {
                        let comma = if language == Language::Ja { "、" } else { ", " };
                        let names: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                        text(names.join(comma))
                    }
                    _ => template::Value::Unknown,
                }
            }
        }
    }

    /// The account's name, or its id when it has none.
    pub fn account_name(&self) -> String {
        match self.account("name") {
            name if name.is_empty() => string(&self.data, "account_id"),
            name => name,
        }
    }

    /// `opened`, `escalated` and so on; empty for what is no change of an episode.
    pub fn change(&self) -> &str {
        self.data
            .get("change")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub fn rule(&self) -> String {
        string(&self.data, "rule")
    }

    /// The reasons, the drivers and the lists as plain lines.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.reasons.clone();
        lines.extend(self.drivers.iter().map(|driver| format!("・{driver}")));
        lines.extend(self.items.iter().map(|item| format!("・{item}")));
        lines
    }

    /// What `data` holds under this name.
    pub fn data(&self, name: &str) -> Option<&Value> {
        self.data.get(name)
    }

    fn account(&self, name: &str) -> String {
        let value = member(&self.data, "account", name).and_then(Value::as_str);
        value.unwrap_or_default().to_string()
    }
}

fn member<'a>(data: &'a Map<String, Value>, place: &str, name: &str) -> Option<&'a Value> {
    data.get(place)?.get(name).filter(|value| !value.is_null())
}

fn string(data: &Map<String, Value>, name: &str) -> String {
    data.get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_string()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
