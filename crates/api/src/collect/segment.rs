//! Segment's requests taken apart: the envelope of a batch, and what a message has from around it.
//!
//! A message is completed in its own text, so that the rest of it stays byte for byte as it came. What it
//! takes over is what decoding reads: its call from the route, and from its batch `sentAt` and
//! `context.groupId`. `integrations` and the rest of the batch's context say nothing about an account.

use std::borrow::Cow;
use std::ops::Range;

use event::{Reason, Rejection};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The calls that have a route of their own.
pub(super) const CALLS: [&str; 6] = ["track", "identify", "group", "page", "screen", "alias"];

/// What of a batch goes over to its messages may have so many bytes; longer, it is none of the two.
const MAX_INHERITED_BYTES: usize = 512;

/// The body of `/v1/batch` and `/v1/import`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    batch: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    context: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    sent_at: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    write_key: Option<&'a RawValue>,
}

/// A message's fields that are looked at before it is decoded.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow, default, rename = "type", deserialize_with = "present")]
    call: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    context: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    sent_at: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    write_key: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    group_id: Option<&'a RawValue>,
}

/// A field that is null is there.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads the fields of an object. An array is none: serde would take its items for the fields, in their order.
fn fields<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    if text.trim_start().starts_with('[') {
        return Err(serde::de::Error::custom("an array in place of an object"));
    }
    serde_json::from_str(text)
}

/// What the messages of a batch take over from it.
#[derive(Clone, Copy, Default)]
pub(super) struct Inherited<'a> {
    sent_at: Option<&'a str>,
    group_id: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// Reads it, and the messages within.
    pub(super) fn read(text: &'a str) -> Result<(Envelope<'a>, Vec<&'a RawValue>), Rejection> {
        let refused = |error: serde_json::Error| Rejection {
            reason: Reason::NotJson,
            detail: format!("the body is not one JSON object with batch: {error}"),
        };
        let envelope: Envelope<'a> = fields(text).map_err(refused)?;
        let Some(batch) = envelope.batch else {
            let detail = "batch is missing: give the messages as an array".to_owned();
            return Err(Rejection {
                reason: Reason::MissingField,
                detail,
            });
        };
        if !batch.get().starts_with('[') {
            return Err(Rejection {
                reason: Reason::InvalidType,
                detail: "batch must be an array of messages".to_owned(),
            });
        }
        let messages = serde_json::from_str(batch.get()).map_err(refused)?;
        Ok((envelope, messages))
    }

    pub(super) fn write_key(&self) -> Option<Cow<'a, str>> {
        text_of(self.write_key?)
    }

    /// Its messages, each with what it takes over.
    pub(super) fn completed(
        &self,
        messages: Vec<&'a RawValue>,
    ) -> impl ExactSizeIterator<Item = Cow<'a, str>> + use<'a> {
        let inherited = self.inherited();
        messages
            .into_iter()
            .map(move |message| completed(message.get(), None, inherited))
    }

    fn inherited(&self) -> Inherited<'a> {
        let context = self.context.map_or("", RawValue::get);
        let context: Context<'a> = fields(context).unwrap_or_default();
        let short = |value: &'a RawValue| {
            let text = value.get();
            (text != "null" && text.len() <= MAX_INHERITED_BYTES).then_some(text)
        };
        Inherited {
            sent_at: self.sent_at.and_then(short),
            group_id: context.group_id.and_then(short),
        }
    }
}

/// The messages of the body of a batch, as they are decoded: each with what it takes over.
///
/// # Errors
/// The body is no batch.
pub fn batch_messages(body: &str) -> Result<Vec<Cow<'_, str>>, Rejection> {
    let (envelope, messages) = Envelope::read(body)?;
    Ok(envelope.completed(messages).collect())
}

fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(value.get())
        .ok()
        .map(|text| text.0)
}

/// The write key that a single message holds.
pub(super) fn write_key(message: &str) -> Option<Cow<'_, str>> {
    let message: Message<'_> = fields(message).ok()?;
    text_of(message.write_key?)
}

/// The message with what it has from around it: `call` is its route's, if it has a route of its own. A
/// write key is taken out: what is kept of a rejected message must not hold one. What is not an object, or
/// says a thing twice, stays as it is, for the decoder to refuse.
pub(super) fn completed<'m>(message: &'m str, call: Option<&str>, inherited: Inherited<'_>) -> Cow<'m, str> {
    let text = message.trim_matches([' ', '\t', '\r', '\n']);
    let Ok(own) = fields::<Message<'_>>(text) else {
        return Cow::Borrowed(message);
    };
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut added = String::new();
    if let Some(call) = call {
        let call = format!("\"{call}\"");
        match own.call {
            None => added.push_str(&format!("\"type\":{call},")),
            Some(given) if given.get() != call => edits.push((place(text, given), call)),
            Some(_) => {}
        }
    }
    if let (None, Some(sent_at)) = (own.sent_at, inherited.sent_at) {
        added.push_str(&format!("\"sentAt\":{sent_at},"));
    }
    if let Some(group_id) = inherited.group_id {
        match own.context {
            None => added.push_str(&format!("\"context\":{{\"groupId\":{group_id}}},")),
            Some(given) => edits.extend(group_into(text, given, group_id)),
        }
    }
    if let Some(given) = own.write_key {
        edits.push((place(text, given), "null".to_owned()));
    }
    if !added.is_empty() {
        let is_empty = text[1..text.len() - 1].trim().is_empty();
        if is_empty {
            added.pop();
        }
        edits.push((1..1, added));
    }
    if edits.is_empty() {
        return Cow::Borrowed(message);
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut completed = String::with_capacity(text.len() + 128);
    let mut done = 0;
    for (range, with) in edits {
        completed.push_str(&text[done..range.start]);
        completed.push_str(&with);
        done = range.end;
    }
    completed.push_str(&text[done..]);
    Cow::Owned(completed)
}

/// How a context of the message's own gets the batch's group, when it names none.
fn group_into(text: &str, context: &RawValue, group_id: &str) -> Option<(Range<usize>, String)> {
    let at = place(text, context);
    let own = context.get();
    if own == "null" {
        return Some((at, format!("{{\"groupId\":{group_id}}}")));
    }
    let named: Context<'_> = fields(own).ok()?;
    match named.group_id {
        Some(given) if given.get() == "null" => Some((place(text, given), group_id.to_owned())),
        Some(_) => None,
        None => {
            let comma = if own[1..own.len() - 1].trim().is_empty() {
                ""
            } else {
                ","
            };
            let start = at.start + 1;
            Some((start..start, format!("\"groupId\":{group_id}{comma}")))
        }
    }
}

/// Where a value that was borrowed from `text` stands in it.
fn place(text: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + value.get().len()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn completed_json(message: &str, call: Option<&str>, batch: &str) -> Value {
        let (envelope, _) = Envelope::read(batch).unwrap();
        let text = completed(message, call, envelope.inherited());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    #[test]
    fn a_message_takes_over_what_it_does_not_say_itself() {
        let batch = r#"{"batch":[],"sentAt":"t2","context":{"groupId":"acme","ip":"1.2.3.4"}}"#;
        let around = json!({"sentAt": "t2", "context": {"groupId": "acme"}});
        assert_eq!(completed_json(" {} ", None, batch), around);
        for (message, wanted) in [
            (
                r#"{"a":1}"#,
                json!({"a": 1, "sentAt": "t2", "context": {"groupId": "acme"}}),
            ),
            (
                r#"{"sentAt":"t1","context":null}"#,
                json!({"sentAt": "t1", "context": {"groupId": "acme"}}),
            ),
            (
                r#"{"sentAt":"t1","context":{ }}"#,
                json!({"sentAt": "t1", "context": {"groupId": "acme"}}),
            ),
            (
                r#"{"context":{"ip":"::1"},"sentAt":null}"#,
                json!({"context": {"groupId": "acme", "ip": "::1"}, "sentAt": null}),
            ),
            (
                r#"{"context":{"groupId":"own"},"sentAt":1}"#,
                json!({"context": {"groupId": "own"}, "sentAt": 1}),
            ),
            (
                r#"{"context":{"groupId":null},"sentAt":1}"#,
                json!({"context": {"groupId": "acme"}, "sentAt": 1}),
            ),
            (r#"{"context":7,"sentAt":1}"#, json!({"context": 7, "sentAt": 1})),
        ] {
            assert_eq!(completed_json(message, None, batch), wanted, "{message}");
        }
    }

    #[test]
    fn the_route_says_which_call_it_is_and_no_key_is_kept() {
        let none = r#"{"batch":[]}"#;
        assert_eq!(
            completed_json("{}", Some("track"), none),
            json!({"type": "track"})
        );
        let message = r#"{"writeKey":"k","type":"page","x":"守"}"#;
        assert_eq!(
            completed_json(message, Some("track"), none),
            json!({"writeKey": null, "type": "track", "x": "守"})
        );
        assert_eq!(write_key(message).as_deref(), Some("k"));
    }

    #[test]
    fn what_needs_nothing_or_cannot_be_read_stays_as_it_came() {
        for message in [
            "{\"type\":\"track\" }",
            "[1]",
            "nonsense",
            "{\"type\":1,\"type\":2}",
            "",
            "{",
        ] {
            let same = completed(message, Some("track"), Inherited::default());
            assert_eq!(same, message);
        }
    }

    #[test]
    fn an_envelope_that_is_none_is_told_apart() {
        for (body, reason) in [
            ("{", Reason::NotJson),
            ("{}", Reason::MissingField),
            (r#"{"batch":{}}"#, Reason::InvalidType),
            (r#"{"batch":null}"#, Reason::InvalidType),
            ("[[{}]]", Reason::NotJson),
            (r#"{"batch":[],"batch":[]}"#, Reason::NotJson),
        ] {
            assert_eq!(Envelope::read(body).err().unwrap().reason, reason, "{body}");
        }
    }

    #[test]
    fn a_list_is_no_context() {
        let batch = r#"{"batch":[],"context":["acme"]}"#;
        assert_eq!(completed_json("{\"a\":1}", None, batch), json!({"a": 1}));
        let batch = r#"{"batch":[],"context":{"groupId":"acme"}}"#;
        assert_eq!(
            completed_json(r#"{"context":["own"]}"#, None, batch),
            json!({"context": ["own"]})
        );
    }

    #[test]
    fn what_a_batch_hands_on_cannot_make_its_messages_large() {
        let batch = format!(
            r#"{{"batch":[],"context":{{"groupId":"{}"}}}}"#,
            "a".repeat(5_000)
        );
        assert_eq!(completed_json("{\"a\":1}", None, &batch), json!({"a": 1}));
    }
}
