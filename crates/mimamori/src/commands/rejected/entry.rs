//! What a record of `mimamori.rejected` says.

use std::fmt;

use event::{Event, wire};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use stream::{Record, topics};

use super::Address;
use crate::output;

/// Prefix of the headers that the rejected record itself had.
const ORIGINAL: &str = "original.";
/// The header of a note, which holds the address of the record that was replayed.
pub const REPLAYED_OF: &str = "replayed_of";
/// What `source` is when a record came over HTTP.
pub const HTTP: &str = "http";

/// A record of `mimamori.rejected`.
pub enum Entry {
    Rejected(Rejected),
    Note(Note),
}

/// That a record was replayed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    pub address: Address,
    /// The record that was replayed.
    pub of: Address,
    pub at_ms: Option<i64>,
    /// The topic that it went to, and where it stands there.
    pub topic: String,
    pub to: Option<Address>,
}

/// A record that was not accepted.
#[derive(Clone, Debug)]
pub struct Rejected {
    pub address: Address,
    /// When it was rejected, milliseconds since the epoch.
    pub at_ms: Option<i64>,
    /// Empty when nobody gave one: then it is not of our making.
    pub reason: String,
    pub detail: String,
    pub origin: Origin,
    /// How many bytes it had, when it was too large to be kept with its headers, or at all.
    pub original_bytes: Option<u64>,
    pub key: Option<Vec<u8>>,
    /// The headers that it had.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The headers that it has in `mimamori.rejected`.
    pub all_headers: Vec<(String, Vec<u8>)>,
    pub value: Vec<u8>,
}

/// Where a record came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    Topic { topic: String, at: Option<Address> },
    Http,
    Unknown,
}

impl Entry {
    pub fn of(record: Record) -> Entry {
        let address = Address {
            partition: record.partition,
            offset: record.offset,
        };
        let header = |name: &str| text(&record.headers, name);
        if let Some(of) = header(REPLAYED_OF).and_then(|text| text.parse().ok()) {
            return Entry::Note(Note {
                address,
                of,
                at_ms: record.timestamp_ms,
                topic: header("replayed_topic").unwrap_or_default(),
                to: position(header("replayed_partition"), header("replayed_offset")),
            });
        }
        let origin = match (header("source_topic"), header("source")) {
            (Some(topic), _) => Origin::Topic {
                topic,
                at: position(header("source_partition"), header("source_offset")),
            },
            (None, Some(source)) if source == HTTP => Origin::Http,
            (None, _) => Origin::Unknown,
        };
        let reason = header("reason").unwrap_or_default();
        let detail = header("detail").unwrap_or_default();
        let original_bytes = header("original_bytes").and_then(|text| text.parse().ok());
        let mut headers: Vec<(String, Vec<u8>)> = record
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(ORIGINAL)?.to_string(), value.clone())))
            .collect();
        // So that the event goes on telling where it came in.
        if origin == Origin::Http && !headers.iter().any(|(name, _)| name == "source") {
            headers.push(("source".to_string(), HTTP.as_bytes().to_vec()));
        }
        Entry::Rejected(Rejected {
            address,
            at_ms: record.timestamp_ms,
            reason,
            detail,
            origin,
            original_bytes,
            key: record.key,
            headers,
            all_headers: record.headers,
            value: record.payload,
        })
    }
}

impl Entry {
    pub fn address(&self) -> Address {
        match self {
            Entry::Rejected(rejected) => rejected.address,
            Entry::Note(note) => note.address,
        }
    }
}

impl Rejected {
    /// How many bytes it had, when only the first of them were kept.
    pub fn cut_from(&self) -> Option<u64> {
        self.original_bytes
            .filter(|bytes| *bytes != self.value.len() as u64)
    }

    /// Whether aggregate set it aside.
    pub fn is_of_events(&self) -> bool {
        matches!(&self.origin, Origin::Topic { topic, .. } if topic == topics::EVENTS)
    }

    /// The event, if it was one before it was set aside.
    pub fn event(&self) -> Option<Event> {
        self.is_of_events()
            .then(|| wire::decode(&self.value).ok())
            .flatten()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Topic { topic, at: Some(at) } => write!(f, "{topic} {at}"),
            Origin::Topic { topic, at: None } => f.write_str(topic),
            Origin::Http => f.write_str(HTTP),
            Origin::Unknown => f.write_str("unknown"),
        }
    }
}

/// The origin, in fields that are named like the headers.
pub fn origin_fields(origin: &Origin, fields: &mut Map<String, Value>) {
    match origin {
        Origin::Topic { topic, at } => {
            fields.insert("source_topic".into(), topic.as_str().into());
            fields.insert("source_partition".into(), json!(at.map(|at| at.partition)));
            fields.insert("source_offset".into(), json!(at.map(|at| at.offset)));
        }
        Origin::Http => {
            fields.insert("source".into(), HTTP.into());
        }
        Origin::Unknown => {}
    }
}

/// The event in the format in which apps send it.
pub fn native(event: &Event) -> Box<RawValue> {
    let mut text = String::from("{");
    let mut put = |name: &str, value: &str| {
        let comma = if text.len() > 1 { "," } else { "" };
        text.push_str(&format!("{comma}{}:{value}", json!(name)));
    };
    let quoted = |value: &str| Value::from(value).to_string();
    put("event_id", &quoted(&event.event_id));
    put("account_id", &quoted(&event.account_id));
    if let Some(user_id) = &event.user_id {
        put("user_id", &quoted(user_id));
    }
    put("type", &quoted(event.event_type.as_str()));
    if !event.name.is_empty() {
        put("name", &quoted(&event.name));
    }
    put("occurred_at", &quoted(&output::time(event.occurred_at)));
    put("received_at", &quoted(&output::time(event.received_at)));
    put("source", &quoted(&event.source));
    if !event.properties.is_empty() {
        let is_json = serde_json::from_str::<&RawValue>(&event.properties).is_ok();
        let value = if is_json {
            event.properties.clone()
        } else {
            quoted(&event.properties)
        };
        put("properties", &value);
    }
    text.push('}');
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn text(headers: &[(String, Vec<u8>)], name: &str) -> Option<String> {
    let (_, value) = headers.iter().find(|(found, _)| found == name)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn position(partition: Option<String>, offset: Option<String>) -> Option<Address> {
    format!("{}:{}", partition?, offset?).parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use event::EventType;

    use super::*;

    fn record(headers: &[(&str, &str)]) -> Record {
        Record {
            topic: Arc::from(topics::REJECTED),
            partition: 2,
            offset: 7,
            timestamp_ms: Some(1_000),
            key: Some(b"k".to_vec()),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
            payload: b"{}".to_vec(),
        }
    }

    fn rejected(headers: &[(&str, &str)]) -> Rejected {
        match Entry::of(record(headers)) {
            Entry::Rejected(rejected) => rejected,
            Entry::Note(note) => panic!("{note:?}"),
        }
    }

    #[test]
    fn the_headers_say_why_and_where_from_and_the_original_ones_are_told_apart() {
        let found = rejected(&[
            ("reason", "too_old"),
            ("detail", "occurred_at is 500 days before its receipt"),
            ("source_topic", "usage.events"),
            ("source_partition", "3"),
            ("source_offset", "812"),
            ("original.reason", "mine"),
            ("original.source", "billing"),
        ]);
        assert_eq!(
            (found.reason.as_str(), found.address.to_string().as_str()),
            ("too_old", "2:7")
        );
        assert_eq!(found.origin.to_string(), "usage.events 3:812");
        let names: Vec<&str> = found.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["reason", "source"]);
        assert_eq!(found.all_headers.len(), 7);
    }

    #[test]
    fn what_came_over_http_says_so_also_when_it_comes_back() {
        let found = rejected(&[("reason", "not_json"), ("source", "http")]);
        assert_eq!(found.origin, Origin::Http);
        assert_eq!(found.headers, [("source".to_string(), b"http".to_vec())]);
        let named = rejected(&[("source", "http"), ("original.source", "segment")]);
        assert_eq!(named.headers, [("source".to_string(), b"segment".to_vec())]);
        assert_eq!(rejected(&[("reason", "not_json")]).origin, Origin::Unknown);
    }

    #[test]
    fn a_note_is_no_rejected_record() {
        let Entry::Note(note) = Entry::of(record(&[
            ("replayed_of", "2:5"),
            ("replayed_topic", "usage.events"),
            ("replayed_partition", "1"),
            ("replayed_offset", "99"),
        ])) else {
            panic!("it is a note");
        };
        assert_eq!(note.of.to_string(), "2:5");
        assert_eq!(note.to.map(|to| to.to_string()).as_deref(), Some("1:99"));
    }

    #[test]
    fn an_event_in_the_native_format_is_accepted_as_the_same_event() {
        let event = Event {
            event_id: "e\"1".into(),
            account_id: "acme".into(),
            user_id: Some("守".into()),
            event_type: EventType::Feature,
            name: "report.export".into(),
            occurred_at: 1_795_309_323_004,
            received_at: 1_795_309_324_000,
            source: "usage.events".into(),
            properties: r#"{"count":2,"big":12345678901234567890123}"#.into(),
        };
        let text = native(&event);
        let again =
            event::Decoder::default().decode(text.get().as_bytes(), &[], event.received_at, "usage.events");
        assert_eq!(again.unwrap(), event);
    }
}
