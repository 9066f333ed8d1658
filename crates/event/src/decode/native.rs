//! mimamori's own JSON, and the telling apart of formats: the path of nearly every event.
//!
//! One walk reads the fields and notices what would make the object one of another format.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Draft, Format, Labels, unknown_format};
use crate::field::required_time;
use crate::json::{self, Scalar};
use crate::model::EventType;
use crate::rejection::{Reason, Rejection, quoted};

const LABELS: Labels = Labels {
    event_id: "event_id",
    account_id: "account_id",
    user_id: "user_id",
    name: "name",
    occurred_at: "occurred_at",
    properties: "properties",
};

/// A JSON object's native fields.
#[derive(Debug, Default)]
pub(super) struct Native<'a> {
    event_id: Scalar<'a>,
    account_id: Scalar<'a>,
    user_id: Scalar<'a>,
    event_type: Scalar<'a>,
    name: Scalar<'a>,
    occurred_at: Scalar<'a>,
    properties: Option<&'a RawValue>,
    /// The object has Segment's `messageId`.
    has_message_id: bool,
    /// The object has CloudEvents' `specversion`.
    has_specversion: bool,
    /// A native field that was given twice.
    repeated: Option<&'static str>,
    /// The JSON is an object, and nothing else.
    is_object: bool,
}

impl<'a> Native<'a> {
    /// Reads a JSON text; an object that has none of the fields is no error here.
    pub(super) fn read(text: &'a str) -> Result<Native<'a>, Rejection> {
        let mut native = Native::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer.deserialize_any(NativeVisitor(&mut native));
        read.and_then(|()| deserializer.end())
            .map_err(|error| json::refused(&error))?;
        if !native.is_object {
            return Err(unknown_format(
                "the payload is not a json object: send one event as one object",
            ));
        }
        Ok(native)
    }

    pub(super) fn format(&self) -> Option<Format> {
        let has_event_id = self.event_id != Scalar::Absent;
        if has_event_id {
            return Some(Format::Native);
        }
        if self.has_specversion {
            return Some(Format::CloudEvent);
        }
        let type_name = match &self.event_type {
            Scalar::Text(name) => name.as_ref(),
            _ => "",
        };
        if super::segment::CALLS.contains(&type_name) {
            return Some(Format::Segment);
        }
        let has_native_field = self.account_id != Scalar::Absent || self.occurred_at != Scalar::Absent;
        if has_native_field || EventType::from_name(type_name).is_some() {
            return Some(Format::Native);
        }
        self.has_message_id.then_some(Format::Segment)
    }

    pub(super) fn draft(self) -> Result<Draft<'a>, Rejection> {
        if let Some(field) = self.repeated {
            let detail = format!("{field} is given twice: give it once");
            return Err(Rejection::new(Reason::NotJson, detail));
        }
        let properties = self.properties.map(RawValue::get).filter(|text| *text != "null");
        Ok(Draft {
            event_id: self.event_id,
            account_id: self.account_id,
            user_id: self.user_id,
            event_type: event_type(&self.event_type),
            name: self.name,
            occurred_at: required_time(self.occurred_at, LABELS.occurred_at),
            properties: Cow::Borrowed(properties.unwrap_or_default()),
            labels: &LABELS,
        })
    }
}

fn event_type(value: &Scalar<'_>) -> Result<EventType, Rejection> {
    let (reason, problem) = match value {
        Scalar::Absent | Scalar::Null => (Reason::MissingField, "missing".to_owned()),
        Scalar::Text(name) if name.is_empty() => (Reason::EmptyField, "empty".to_owned()),
        Scalar::Text(name) => match EventType::from_name(name) {
            Some(event_type) => return Ok(event_type),
            None => (Reason::InvalidType, quoted(name)),
        },
        _ => (Reason::InvalidType, "not a string".to_owned()),
    };
    let names = EventType::ALL.map(EventType::as_str).join(", ");
    Err(Rejection::new(
        reason,
        format!("type is {problem}: give one of {names}"),
    ))
}

/// Fills in the fields in place: they are too wide to be handed up through the reader's layers.
struct NativeVisitor<'n, 'a>(&'n mut Native<'a>);

impl<'de> Visitor<'de> for NativeVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let native = self.0;
        native.is_object = true;
        while let Some(field) = entries.next_key_seed(FieldName)? {
            let (value, name) = match field {
                Field::EventId => (&mut native.event_id, "event_id"),
                Field::AccountId => (&mut native.account_id, "account_id"),
                Field::UserId => (&mut native.user_id, "user_id"),
                Field::Type => (&mut native.event_type, "type"),
                Field::Name => (&mut native.name, "name"),
                Field::OccurredAt => (&mut native.occurred_at, "occurred_at"),
                Field::Properties => {
                    if native.properties.replace(entries.next_value()?).is_some() {
                        native.repeated = Some("properties");
                    }
                    continue;
                }
                Field::MessageId | Field::Specversion | Field::Other => {
                    native.has_message_id |= field == Field::MessageId;
                    native.has_specversion |= field == Field::Specversion;
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if *value != Scalar::Absent {
                native.repeated = Some(name);
            }
            *value = entries.next_value()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    EventId,
    AccountId,
    UserId,
    Type,
    Name,
    OccurredAt,
    Properties,
    MessageId,
    Specversion,
    Other,
}

/// Reads a key as the field it names.
struct FieldName;

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for FieldName {
    type Value = Field;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Field, E> {
        Ok(match key {
            "event_id" => Field::EventId,
            "account_id" => Field::AccountId,
            "user_id" => Field::UserId,
            "type" => Field::Type,
            "name" => Field::Name,
            "occurred_at" => Field::OccurredAt,
            "properties" => Field::Properties,
            "messageId" => Field::MessageId,
            "specversion" => Field::Specversion,
            _ => Field::Other,
        })
    }
}
