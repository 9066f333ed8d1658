//! Events as product apps send them. An event follows from a few numbers, so that millions that were
//! sent can be kept in mind and written out again when they are compared with what is stored.

use serde_json::{Map, Value, json};

const DAY_MS: i64 = 86_400_000;
const USERS: u32 = 12;
const FEATURES: [&str; 5] = [
    "report.export",
    "integration.sync",
    "dashboard.share",
    "検索",
    "search \"saved\"",
];
const ZONES: [&str; 3] = ["Asia/Tokyo", "Europe/Berlin", "America/New_York"];

/// What was sent under one id.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// The account's number.
    pub account: u32,
    /// When it is said to have happened, in milliseconds since 1970.
    pub occurred_at: i64,
    /// What it is.
    pub act: Act,
}

/// What an event is.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Anything but a ticket, drawn from this number.
    Mixed(u64),
    /// A ticket of this number was opened.
    TicketOpened(u32),
    /// A ticket of this number was resolved.
    TicketResolved(u32),
    /// A user signed in.
    Login(u32),
}

/// An event written out, as it stands in ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Content {
    /// `event_id`.
    pub event_id: String,
    /// `account_id`.
    pub account_id: String,
    /// `user_id`; empty when the event names none.
    pub user_id: String,
    /// `type`.
    pub kind: String,
    /// `name`; empty when there is none.
    pub name: String,
    /// Milliseconds since 1970.
    pub occurred_at: i64,
    /// A JSON object as text; empty when there is none.
    pub properties: String,
}

/// The id of the event with this number.
pub fn id(number: usize) -> String {
    format!("e-{number}")
}

/// The number of the event with this id.
pub fn number(id: &str) -> Option<usize> {
    id.strip_prefix("e-")?.parse().ok()
}

/// The id of the account with this number.
pub fn account_id(number: u32) -> String {
    format!("account-{number:06}")
}

impl Sent {
    /// The event written out; `number` is its place among all that were sent.
    pub fn content(&self, number: usize) -> Content {
        let mut content = Content {
            event_id: id(number),
            account_id: account_id(self.account),
            user_id: String::new(),
            kind: String::new(),
            name: String::new(),
            occurred_at: self.occurred_at,
            properties: String::new(),
        };
        let mut ticket = |ticket: u32, name: &str| {
            content.kind = "ticket".to_owned();
            content.name = name.to_owned();
            content.properties = json!({"ticket_id": format!("t-{ticket}"), "channel": "chat"}).to_string();
        };
        match self.act {
            Act::TicketOpened(number) => ticket(number, "opened"),
            Act::TicketResolved(number) => ticket(number, "resolved"),
            Act::Login(user) => {
                content.kind = "login".to_owned();
                content.user_id = format!("u-{user}");
            }
            Act::Mixed(drawn) => self.mix(&mut content, &mut fastrand::Rng::with_seed(drawn)),
        }
        content
    }

    fn mix(&self, content: &mut Content, rng: &mut fastrand::Rng) {
        content.user_id = format!("u-{}", rng.u32(..USERS));
        let (kind, name, properties) = match rng.u32(..100) {
            0..35 => ("login", "", None),
            35..72 => {
                let name = FEATURES[rng.usize(..FEATURES.len())];
                let count = rng
                    .bool()
                    .then(|| json!({"count": rng.u32(1..5), "rows": rng.u32(..900)}));
                ("feature", name, count)
            }
            72..77 => (
                "milestone",
                ["workspace_created", "first_value"][rng.usize(..2)],
                None,
            ),
            77..81 => {
                content.user_id.clear();
                ("account", "", Some(self.attributes(rng)))
            }
            81..85 => {
                let role = ["champion", "decision_maker", "member"][rng.usize(..3)];
                (
                    "user",
                    "",
                    Some(json!({"role": role, "department": format!("d-{}", rng.u32(..4))})),
                )
            }
            85..87 => {
                content.user_id.clear();
                let ends_at = self.occurred_at + rng.i64(20..400) * DAY_MS;
                let name = ["started", "renewed", "upgraded", "downgraded"][rng.usize(..4)];
                (
                    "contract",
                    name,
                    Some(json!({"mrr": rng.u32(100..9_000), "ends_at": ends_at, "seats": 20})),
                )
            }
            87..91 => {
                let nps = rng.bool();
                let score = rng.u32(if nps { 0..11 } else { 1..6 });
                (
                    "survey",
                    if nps { "nps" } else { "csat" },
                    Some(json!({"score": score})),
                )
            }
            91..95 => (
                "engagement",
                "help_search",
                Some(json!({"results": rng.u32(..3)})),
            ),
            _ => (
                "error",
                "http_500",
                Some(json!({"severity": "high", "at": "画面\n二"})),
            ),
        };
        content.kind = kind.to_owned();
        content.name = name.to_owned();
        content.properties = properties.map_or_else(String::new, |object| object.to_string());
    }

    fn attributes(&self, rng: &mut fastrand::Rng) -> Value {
        let mut attributes = Map::new();
        attributes.insert("name".into(), json!(format!("株式会社{}", self.account)));
        attributes.insert("seats".into(), json!(rng.u32(5..40)));
        attributes.insert("plan".into(), json!(["team", "pro"][rng.usize(..2)]));
        // An account's own zone; a few change it now and then.
        let zone = if self.account.is_multiple_of(16) && rng.u32(..8) == 0 {
            rng.usize(..ZONES.len())
        } else {
            self.account as usize % ZONES.len()
        };
        attributes.insert("timezone".into(), json!(ZONES[zone]));
        Value::Object(attributes)
    }
}

impl From<event::Event> for Content {
    fn from(event: event::Event) -> Content {
        Content {
            event_id: event.event_id,
            account_id: event.account_id,
            user_id: event.user_id.unwrap_or_default(),
            kind: event.event_type.as_str().to_owned(),
            name: event.name,
            occurred_at: event.occurred_at,
            properties: event.properties,
        }
    }
}

impl Content {
    /// The event as it is sent.
    pub fn json(&self) -> String {
        let mut event = json!({
            "event_id": self.event_id,
            "account_id": self.account_id,
            "type": self.kind,
            "occurred_at": self.occurred_at,
        });
        let mut give = |field: &str, value: Value| event[field] = value;
        if !self.user_id.is_empty() {
            give("user_id", json!(self.user_id));
        }
        if !self.name.is_empty() {
            give("name", json!(self.name));
        }
        let mut text = event.to_string();
        if !self.properties.is_empty() {
            // As it is, not read and written again.
            text.pop();
            text.push_str(",\"properties\":");
            text.push_str(&self.properties);
            text.push('}');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_one_that_ingest_takes_and_comes_out_as_it_was_meant() {
        let decoder = event::Decoder::default();
        let mut kinds = std::collections::BTreeSet::new();
        for number in 0..2_000 {
            let act = match number % 20 {
                0 => Act::TicketOpened(3),
                1 => Act::TicketResolved(3),
                2 => Act::Login(1),
                _ => Act::Mixed(number as u64),
            };
            let sent = Sent {
                account: number as u32 % 50,
                occurred_at: 1_795_309_323_004,
                act,
            };
            let content = sent.content(number);
            assert_eq!(content, sent.content(number), "it is the same each time");
            let json = content.json();
            let decoded = decoder.decode(json.as_bytes(), &[], sent.occurred_at, "usage.events");
            assert_eq!(Content::from(decoded.expect("it is sound")), content, "{json}");
            kinds.insert(content.kind);
        }
        assert_eq!(kinds.len(), 10, "{kinds:?}");
    }
}
