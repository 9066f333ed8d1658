//! Why an input was not accepted.
//!
//! A rejection always names the field at fault and what would be right, and never carries more than
//! [`QUOTED_BYTES`] bytes of what the client sent: details end up in logs, metrics and headers.

use std::fmt;

/// The most bytes of a client's value that a detail repeats.
const QUOTED_BYTES: usize = 64;

/// The reason codes, as they appear in metrics and in the headers of `mimamori.rejected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The payload is not one JSON text, repeats a field, or nests deeper than 127 levels.
    NotJson,
    /// The payload, or a header that had to be read, is not UTF-8.
    NotUtf8,
    /// JSON, but neither a native event nor a Segment message nor a CloudEvent.
    UnknownFormat,
    /// A field or property that the event cannot do without is absent or null.
    MissingField,
    /// A field that must say something is the empty string.
    EmptyField,
    /// A field is longer than its bound, counted in bytes of UTF-8.
    FieldTooLong,
    /// The event's `type`, or its `name` where the type has a closed list of names, is not one of
    /// those known; or a field is of the wrong JSON type.
    InvalidType,
    /// The time is neither RFC 3339 with an offset nor an integer of epoch milliseconds.
    InvalidTimestamp,
    /// The time lies further ahead of the time of receipt than clocks may differ.
    OccurredInFuture,
    /// The time lies further back than the configured age.
    TooOld,
    /// The payload is longer than the configured bound.
    EventTooLarge,
    /// A property that the type reads has the wrong JSON type or is out of its range.
    InvalidProperty,
    /// The properties are JSON, but not an object.
    PropertiesNotObject,
    /// The source's tracking plan has no such event.
    UnplannedEvent,
    /// A property that the tracking plan requires is absent.
    RequiredMissing,
    /// A property has another type, or a value, than the tracking plan allows.
    DatatypeMismatch,
    /// A property that the tracking plan does not have.
    AdditionalProperties,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 17] = [
        Reason::NotJson,
        Reason::NotUtf8,
        Reason::UnknownFormat,
        Reason::MissingField,
        Reason::EmptyField,
        Reason::FieldTooLong,
        Reason::InvalidType,
        Reason::InvalidTimestamp,
        Reason::OccurredInFuture,
        Reason::TooOld,
        Reason::EventTooLarge,
        Reason::InvalidProperty,
        Reason::PropertiesNotObject,
        Reason::UnplannedEvent,
        Reason::RequiredMissing,
        Reason::DatatypeMismatch,
        Reason::AdditionalProperties,
    ];

    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NotJson => "not_json",
            Reason::NotUtf8 => "not_utf8",
            Reason::UnknownFormat => "unknown_format",
            Reason::MissingField => "missing_field",
            Reason::EmptyField => "empty_field",
            Reason::FieldTooLong => "field_too_long",
            Reason::InvalidType => "invalid_type",
            Reason::InvalidTimestamp => "invalid_timestamp",
            Reason::OccurredInFuture => "occurred_in_future",
            Reason::TooOld => "too_old",
            Reason::EventTooLarge => "event_too_large",
            Reason::InvalidProperty => "invalid_property",
            Reason::PropertiesNotObject => "properties_not_object",
            Reason::UnplannedEvent => "unplanned_event",
            Reason::RequiredMissing => "required_missing",
            Reason::DatatypeMismatch => "datatype_mismatch",
            Reason::AdditionalProperties => "additional_properties",
        }
    }

    /// The reason of that code, if there is one.
    pub fn from_name(code: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An input that was not accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejection {
    /// The reason code.
    pub reason: Reason,
    /// Which field was wrong and what would be right, for a person; starts with the field's name
    /// where a field is at fault.
    pub detail: String,
}

impl Rejection {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Rejection {
        Rejection {
            reason,
            detail: detail.into(),
        }
    }
}

/// A client's text, escaped, in quotes, and cut at [`QUOTED_BYTES`] with a mark that it was cut.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        let before = quoted.len();
        quoted.extend(character.escape_debug());
        if quoted.len() > QUOTED_BYTES {
            quoted.truncate(before);
            quoted.push_str("\"…");
            return quoted;
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own_and_is_found_by_it() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::from_name("nonsense"), None);
    }

    #[test]
    fn a_quote_is_bounded_and_escaped() {
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
        for long in ["x".repeat(5_000), "\u{1}".repeat(5_000), "守".repeat(5_000)] {
            let text = quoted(&long);
            assert!(text.len() <= QUOTED_BYTES + 4, "{} bytes", text.len());
            assert!(text.ends_with("\"…"));
        }
    }
}
