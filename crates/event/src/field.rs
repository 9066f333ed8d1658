//! The bounds of an event's own fields, the same whatever format they were sent in.

use std::borrow::Cow;

use crate::json::Scalar;
use crate::rejection::{Reason, Rejection, quoted};
use crate::time::parse_rfc3339;

/// The most bytes in `event_id`, `account_id` and `user_id`.
pub(crate) const MAX_ID_BYTES: usize = 128;
/// The most bytes in `name`.
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// A text that must be there and say something. `label` is the field as the client knows it.
pub(crate) fn required_text<'a>(
    value: Scalar<'a>,
    label: &str,
    max_bytes: usize,
) -> Result<Cow<'a, str>, Rejection> {
    match optional_text(value, label, max_bytes)? {
        None => {
            let detail = format!("{label} is missing: give {}", wanted(max_bytes));
            Err(Rejection::new(Reason::MissingField, detail))
        }
        Some(text) if text.is_empty() => {
            let detail = format!("{label} is empty: give {}", wanted(max_bytes));
            Err(Rejection::new(Reason::EmptyField, detail))
        }
        Some(text) => Ok(text),
    }
}

/// `usize::MAX` stands for no bound but that of the whole event.
fn wanted(max_bytes: usize) -> String {
    match max_bytes {
        usize::MAX => "a string that is not empty".to_string(),
        most => format!("a string of 1 to {most} bytes"),
    }
}

/// A text that may be absent or null.
pub(crate) fn optional_text<'a>(
    value: Scalar<'a>,
    label: &str,
    max_bytes: usize,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    match value {
        Scalar::Absent | Scalar::Null => Ok(None),
        Scalar::Text(text) => {
            check_length(&text, label, max_bytes)?;
            Ok(Some(text))
        }
        _ => Err(Rejection::new(
            Reason::InvalidType,
            format!("{label} must be a string"),
        )),
    }
}

/// Refuses a text of more than `max_bytes`.
pub(crate) fn check_length(text: &str, label: &str, max_bytes: usize) -> Result<(), Rejection> {
    if text.len() <= max_bytes {
        return Ok(());
    }
    let detail = format!("{label} has {} bytes: {max_bytes} are allowed", text.len());
    Err(Rejection::new(Reason::FieldTooLong, detail))
}

/// A point in time, in milliseconds since the Unix epoch.
pub(crate) fn required_time(value: Scalar<'_>, label: &str) -> Result<i64, Rejection> {
    match optional_time(value, label)? {
        Some(time) => Ok(time),
        None => {
            let detail = format!("{label} is missing: give RFC 3339 with an offset, or epoch milliseconds");
            Err(Rejection::new(Reason::MissingField, detail))
        }
    }
}

/// A point in time that may be absent or null.
pub(crate) fn optional_time(value: Scalar<'_>, label: &str) -> Result<Option<i64>, Rejection> {
    let given = match value {
        Scalar::Absent | Scalar::Null => return Ok(None),
        Scalar::Integer(ms) => return Ok(Some(ms)),
        Scalar::Text(text) => match parse_rfc3339(&text) {
            Some(ms) => return Ok(Some(ms)),
            None => quoted(&text),
        },
        Scalar::Float(_) => "a number that is not a 64-bit integer".to_owned(),
        Scalar::Bool(_) => "a boolean".to_owned(),
        Scalar::Array => "an array".to_owned(),
        Scalar::Object => "an object".to_owned(),
    };
    let detail = format!(
        "{label} is {given}: give RFC 3339 with an offset, such as 2026-11-22T01:02:03Z, \
         or an integer of epoch milliseconds"
    );
    Err(Rejection::new(Reason::InvalidTimestamp, detail))
}
