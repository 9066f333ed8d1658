//! CloudEvents 1.0: structured, where the object holds attributes and data, and binary, where
//! headers hold the attributes and the payload is the data.
//!
//! `id` is the event's id, `subject` the account unless the data have an `account_id`, `time` when
//! it occurred, and `type` stands for a type and name by the configured mapping.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Belonging, Draft, Labels, says_something, unknown_format};
use crate::field::{required_text, required_time};
use crate::json::{self, Scalar};
use crate::names::NameMapping;
use crate::rejection::{Reason, Rejection, quoted};

const LABELS: Labels = Labels {
    event_id: "id",
    account_id: "subject (or data.account_id)",
    user_id: "data.user_id",
    name: "type",
    occurred_at: "time",
    properties: "data",
};

#[derive(Default, Deserialize)]
struct Attributes<'a> {
    #[serde(borrow, default)]
    specversion: Scalar<'a>,
    #[serde(borrow, default)]
    id: Scalar<'a>,
    #[serde(borrow, default, rename = "type")]
    kind: Scalar<'a>,
    #[serde(borrow, default)]
    subject: Scalar<'a>,
    #[serde(borrow, default)]
    time: Scalar<'a>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_base64: Scalar<'a>,
}

/// Whether the headers are those of a binary CloudEvent.
pub(crate) fn is_binary(headers: &[(&str, &[u8])]) -> bool {
    headers
        .iter()
        .any(|(name, _)| attribute_of(name).is_some_and(|name| name.eq_ignore_ascii_case("specversion")))
}

/// Whether the content type is that of a structured CloudEvent.
pub(super) fn is_structured(headers: &[(&str, &[u8])]) -> bool {
    media_type(headers)
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case(b"application/cloudevents+json"))
}

pub(super) fn structured<'t>(text: &'t str, mapping: &'t NameMapping) -> Result<Draft<'t>, Rejection> {
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| json::refused(&error))?;
        return Err(unknown_format(
            "the payload is not a json object: send one cloudevent as one object",
        ));
    }
    let attributes: Attributes<'t> = serde_json::from_str(text).map_err(|error| json::refused(&error))?;
    if says_something(&attributes.data_base64) {
        let detail = "data_base64 is given: send data as a json object";
        return Err(Rejection::new(Reason::PropertiesNotObject, detail));
    }
    let data = attributes.data.map_or("", RawValue::get);
    draft(attributes, data, mapping)
}

pub(super) fn binary<'t>(
    text: &'t str,
    headers: &'t [(&str, &[u8])],
    mapping: &'t NameMapping,
) -> Result<Draft<'t>, Rejection> {
    if let Some(media_type) = media_type(headers) {
        let suffix = media_type.len().saturating_sub(5);
        let is_json = media_type.eq_ignore_ascii_case(b"application/json")
            || media_type.eq_ignore_ascii_case(b"text/json")
            || media_type[suffix..].eq_ignore_ascii_case(b"+json");
        if !is_json {
            return Err(unknown_format(
                "the content type of the cloudevent's data must be json",
            ));
        }
    }
    let mut attributes = Attributes::default();
    for &(name, value) in headers {
        let Some(attribute) = attribute_of(name) else {
            continue;
        };
        let slot = match attribute.to_ascii_lowercase().as_str() {
            "specversion" => &mut attributes.specversion,
            "id" => &mut attributes.id,
            "type" => &mut attributes.kind,
            "subject" => &mut attributes.subject,
            "time" => &mut attributes.time,
            _ => continue,
        };
        let Ok(value) = std::str::from_utf8(value) else {
            let detail = format!("header {} is not utf-8", quoted(name));
            return Err(Rejection::new(Reason::NotUtf8, detail));
        };
        let over_http = name.as_bytes()[2] == b'-';
        *slot = Scalar::Text(if over_http {
            percent_decoded(value, name)?
        } else {
            Cow::Borrowed(value)
        });
    }
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if !text.is_empty() {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| json::refused(&error))?;
    }
    draft(attributes, if text == "null" { "" } else { text }, mapping)
}

fn draft<'t>(
    attributes: Attributes<'t>,
    data: &'t str,
    mapping: &'t NameMapping,
) -> Result<Draft<'t>, Rejection> {
    match required_text(attributes.specversion, "specversion", usize::MAX)?.as_ref() {
        "1.0" => {}
        other => {
            let detail = format!("specversion is {}: cloudevents 1.0 are read", quoted(other));
            return Err(unknown_format(&detail));
        }
    }
    let kind = required_text(attributes.kind, LABELS.name, usize::MAX)?;
    let (event_type, name) = mapping.resolve(&kind);
    let belonging = Belonging::of(data)?;
    let account_id = if says_something(&belonging.account_id) {
        belonging.account_id
    } else {
        attributes.subject
    };
    Ok(Draft {
        event_id: attributes.id,
        account_id,
        user_id: belonging.user_id,
        event_type: Ok(event_type),
        name: Scalar::Text(name),
        occurred_at: required_time(attributes.time, LABELS.occurred_at),
        properties: Cow::Borrowed(data),
        labels: &LABELS,
    })
}

/// The attribute that a header carries: `ce_` before it over Kafka, `ce-` over HTTP.
fn attribute_of(header: &str) -> Option<&str> {
    let prefix = header.get(..3)?;
    (prefix.eq_ignore_ascii_case("ce_") || prefix.eq_ignore_ascii_case("ce-")).then(|| &header[3..])
}

/// The content type without its parameters.
fn media_type<'h>(headers: &[(&str, &'h [u8])]) -> Option<&'h [u8]> {
    let (_, value) = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))?;
    let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    Some(value[..end].trim_ascii())
}

/// Header values over HTTP carry what is not printable ASCII as `%XX`, in UTF-8.
fn percent_decoded<'v>(value: &'v str, header: &str) -> Result<Cow<'v, str>, Rejection> {
    if !value.contains('%') {
        return Ok(Cow::Borrowed(value));
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if first == b'%' => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                decoded.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| {
        Rejection::new(
            Reason::NotUtf8,
            format!("header {} is not percent-encoded utf-8", quoted(header)),
        )
    })
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
