//! The value of a record in `mimamori.events`: protobuf `mimamori.v1.Event`.
//!
//! What [`encode`] writes, [`decode`] reads back as the same event, and both agree with the
//! published `schemas/proto/mimamori/v1/event.proto` byte for byte (a test compiles it). Fields
//! unknown to this version are skipped, so that a newer writer may add some; a type of event unknown
//! to it is an error, since folding it as anything else would be wrong. Whoever else may write to the
//! topic, an event that was read keeps the bounds of its fields.

use prost::Message;

use crate::field::{MAX_ID_BYTES, MAX_NAME_BYTES};
use crate::model::{Event, EventType};

/// A record that is not an event.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WireError {
    /// The bytes are not this protobuf message.
    #[error("the record is not a mimamori.v1.Event: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The event's type is a number that this version does not know; 0 means that it was not set.
    #[error("event type {0} is unknown: upgrade this process before the one that wrote it")]
    UnknownType(i32),
    /// A field that every event has is empty.
    #[error("field {0} is empty: the record was not written by ingest")]
    EmptyField(&'static str),
    /// A text is longer, or a time further away, than an event's can be.
    #[error("field {0} is out of its bounds: the record was not written by ingest")]
    OutOfBounds(&'static str),
}

/// The message as it is read. Written by hand so that building needs no protobuf compiler.
#[derive(Clone, PartialEq, prost::Message)]
struct WireEvent {
    #[prost(string, tag = "1")]
    event_id: String,
    #[prost(string, tag = "2")]
    account_id: String,
    #[prost(string, tag = "3")]
    user_id: String,
    // An open enum in proto3: kept as its number so that an unknown one can be named.
    #[prost(int32, tag = "4")]
    event_type: i32,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int64, tag = "6")]
    occurred_at: i64,
    #[prost(int64, tag = "7")]
    received_at: i64,
    #[prost(string, tag = "8")]
    source: String,
    #[prost(string, tag = "9")]
    properties: String,
}

impl EventType {
    /// The number on the wire, from 1.
    pub fn number(self) -> i32 {
        // `ALL` is in the order of the numbers, and so is the enum.
        self as i32 + 1
    }

    /// The type of that number, if there is one.
    pub fn from_number(number: i32) -> Option<EventType> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        EventType::ALL.get(index).copied()
    }
}

/// Appends the event's record to `out`.
///
/// Writes straight from the borrowed event: the derived encoder would first need a copy of each text.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    let user_id = event.user_id.as_deref().unwrap_or_default();
    let texts = event.event_id.len()
        + event.account_id.len()
        + user_id.len()
        + event.name.len()
        + event.source.len()
        + event.properties.len();
    // Six texts with at most 1 + 5 bytes before each, two times of at most 11 bytes, one type of 2.
    out.reserve(texts + 60);
    put_text(1, &event.event_id, out);
    put_text(2, &event.account_id, out);
    put_text(3, user_id, out);
    put_number(4, i64::from(event.event_type.number()), out);
    put_text(5, &event.name, out);
    put_number(6, event.occurred_at, out);
    put_number(7, event.received_at, out);
    put_text(8, &event.source, out);
    put_text(9, &event.properties, out);
}

/// Reads a record's value.
///
/// # Errors
/// When the bytes are not the message, name a type that this version does not know, lack the id
/// of the event or the account, or hold what is out of an event's bounds.
pub fn decode(record: &[u8]) -> Result<Event, WireError> {
    let wire = WireEvent::decode(record)?;
    let Some(event_type) = EventType::from_number(wire.event_type) else {
        return Err(WireError::UnknownType(wire.event_type));
    };
    if wire.event_id.is_empty() {
        return Err(WireError::EmptyField("event_id"));
    }
    if wire.account_id.is_empty() {
        return Err(WireError::EmptyField("account_id"));
    }
    for (field, text, most) in [
        ("event_id", &wire.event_id, MAX_ID_BYTES),
        ("account_id", &wire.account_id, MAX_ID_BYTES),
        ("user_id", &wire.user_id, MAX_ID_BYTES),
        ("name", &wire.name, MAX_NAME_BYTES),
    ] {
        if text.len() > most {
            return Err(WireError::OutOfBounds(field));
        }
    }
    for (field, at) in [
        ("occurred_at", wire.occurred_at),
        ("received_at", wire.received_at),
    ] {
        if !Event::TIMES.contains(&at) {
            return Err(WireError::OutOfBounds(field));
        }
    }
    Ok(Event {
        event_id: wire.event_id,
        account_id: wire.account_id,
        user_id: Some(wire.user_id).filter(|user_id| !user_id.is_empty()),
        event_type,
        name: wire.name,
        occurred_at: wire.occurred_at,
        received_at: wire.received_at,
        source: wire.source,
        properties: wire.properties,
    })
}

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

fn put_text(tag: u8, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        out.push(tag << 3 | LENGTH_DELIMITED);
        put_varint(text.len() as u64, out);
        out.extend_from_slice(text.as_bytes());
    }
}

fn put_number(tag: u8, number: i64, out: &mut Vec<u8>) {
    if number != 0 {
        out.push(tag << 3 | VARINT);
        // Negative numbers are written in two's complement, in ten bytes.
        put_varint(number as u64, out);
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            event_id: "01J8".into(),
            account_id: "acme".into(),
            user_id: Some("u-17".into()),
            event_type: EventType::Feature,
            name: "report.export".into(),
            occurred_at: 1_795_309_323_004,
            received_at: 1_795_309_324_000,
            source: "usage.events".into(),
            properties: r#"{"count":2}"#.into(),
        }
    }

    fn written(event: &Event) -> Vec<u8> {
        let mut record = Vec::new();
        encode(event, &mut record);
        record
    }

    #[test]
    fn every_type_has_a_number_of_its_own_and_is_found_by_it() {
        for (index, event_type) in EventType::ALL.into_iter().enumerate() {
            assert_eq!(event_type.number(), index as i32 + 1);
            assert_eq!(EventType::from_number(event_type.number()), Some(event_type));
        }
        for number in [i32::MIN, -1, 0, 12, i32::MAX] {
            assert_eq!(EventType::from_number(number), None);
        }
    }

    #[test]
    fn a_type_that_is_not_known_is_named() {
        for number in [0, 12, -3, i32::MAX] {
            let wire = WireEvent {
                event_id: "e".into(),
                account_id: "a".into(),
                event_type: number,
                ..WireEvent::default()
            };
            let error = decode(&wire.encode_to_vec()).unwrap_err();
            assert_eq!(error, WireError::UnknownType(number));
            assert!(error.to_string().contains(&number.to_string()));
        }
    }

    #[test]
    fn a_record_without_its_ids_is_refused() {
        let record = written(&Event {
            event_id: String::new(),
            ..event()
        });
        assert_eq!(decode(&record), Err(WireError::EmptyField("event_id")));
        let record = written(&Event {
            account_id: String::new(),
            ..event()
        });
        assert_eq!(decode(&record), Err(WireError::EmptyField("account_id")));
    }

    #[test]
    fn a_record_whose_fields_are_out_of_bounds_is_refused() {
        let refused = |change: fn(&mut Event)| {
            let mut event = event();
            change(&mut event);
            decode(&written(&event)).unwrap_err()
        };
        for (change, field) in [
            (
                (|event| event.event_id = "e".repeat(129)) as fn(&mut Event),
                "event_id",
            ),
            (|event| event.account_id = "a".repeat(129), "account_id"),
            (|event| event.user_id = Some("u".repeat(129)), "user_id"),
            (|event| event.name = "n".repeat(201), "name"),
            (|event| event.occurred_at = i64::MAX, "occurred_at"),
            (
                |event| event.occurred_at = Event::TIMES.start() - 1,
                "occurred_at",
            ),
            (|event| event.received_at = Event::TIMES.end() + 1, "received_at"),
            (|event| event.received_at = i64::MIN, "received_at"),
        ] {
            assert_eq!(refused(change), WireError::OutOfBounds(field));
        }
    }

    #[test]
    fn a_record_cut_short_or_of_broken_text_is_refused() {
        let record = written(&event());
        for length in 1..record.len() {
            // A cut between two fields leaves a sound message of fewer fields.
            if let Ok(shorter) = decode(&record[..length]) {
                assert_ne!(shorter, event());
            }
        }
        assert!(matches!(
            decode(&record[..record.len() - 1]),
            Err(WireError::Malformed(_))
        ));
        assert!(matches!(
            decode(&[0x0a, 2, 0xff, 0xfe]),
            Err(WireError::Malformed(_))
        ));
    }

    #[test]
    fn a_field_of_a_newer_writer_is_skipped() {
        let mut record = written(&event());
        record.extend_from_slice(&[15 << 3 | LENGTH_DELIMITED, 3, b'n', b'e', b'w']);
        assert_eq!(decode(&record), Ok(event()));
    }

    #[test]
    fn encoding_appends() {
        let mut out = vec![7];
        encode(&event(), &mut out);
        assert_eq!(out[0], 7);
        assert_eq!(decode(&out[1..]), Ok(event()));
    }
}
