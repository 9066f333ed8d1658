//! From bytes to an [`Event`], whichever of the accepted formats they are in.
//!
//! Each format only finds where its fields are; every rule about what they may hold is applied in
//! one place, so that no format lets through what another refuses. Nothing that a client can send
//! panics, overflows the stack, or takes more than a few walks over its bytes.

mod cloudevents;
mod native;
mod segment;

use std::borrow::Cow;

use serde::Deserialize;

use crate::config::{ConfigError, DecoderConfig};
use crate::field::{MAX_ID_BYTES, optional_text, required_text};
use crate::json::{self, Scalar};
use crate::model::{Event, EventType};
use crate::names::NameMapping;
use crate::rejection::{Reason, Rejection};
use crate::rules;
use crate::time::{MS_PER_DAY, STORABLE};

pub(crate) use cloudevents::is_binary as is_binary_cloudevent;
use native::Native;

/// The formats that an event can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// mimamori's own JSON.
    Native,
    /// A message of Segment's tracking API.
    Segment,
    /// CloudEvents 1.0, structured or binary.
    CloudEvent,
}

impl Format {
    /// The name, for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Native => "native",
            Format::Segment => "segment",
            Format::CloudEvent => "cloudevents",
        }
    }
}

const MS_PER_HOUR: i64 = 3_600_000;

/// Decodes and validates events.
///
/// # Formats
/// Told apart by their content:
/// - **CloudEvents 1.0**, binary when a header `ce_specversion` (Kafka) or `ce-specversion` (HTTP)
///   is there, structured when the content type is `application/cloudevents+json` or the object has
///   `specversion` and no `event_id`. A batch is for the transport to take apart.
/// - **Segment**, when `type` is one of its six calls and there is no `event_id`, or when there is a
///   `messageId` and none of the native fields.
/// - **native JSON**, when there is an `event_id`, `account_id` or `occurred_at`, or `type` is one of
///   the eleven.
///
/// # What native JSON may hold
/// Fields that are not known are ignored, so that a newer client can talk to an older server. One
/// that is null counts as absent, and so does an empty `user_id`. One that is known and given twice
/// is refused as `not_json`, because readers would disagree on which one holds. Beyond the fields
/// that are required by name, `user` needs a `user_id`. The properties are kept as text, as they
/// were sent.
#[derive(Debug, Clone)]
pub struct Decoder {
    max_event_bytes: usize,
    /// `None` = no bound of its own.
    max_age_ms: Option<i64>,
    max_future_ms: i64,
    mapping: NameMapping,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::from_checked(&DecoderConfig::default())
    }
}

impl Decoder {
    /// A decoder with these bounds and names.
    ///
    /// # Errors
    /// When the configuration would reject every event, or leaves open what a name means.
    pub fn new(config: DecoderConfig) -> Result<Decoder, ConfigError> {
        config.check()?;
        Ok(Decoder::from_checked(&config))
    }

    fn from_checked(config: &DecoderConfig) -> Decoder {
        Decoder {
            max_event_bytes: config.max_event_bytes,
            max_age_ms: (config.max_age_days > 0).then(|| i64::from(config.max_age_days) * MS_PER_DAY),
            max_future_ms: i64::from(config.max_future_hours) * MS_PER_HOUR,
            mapping: NameMapping::new(config),
        }
    }

    /// Decodes one event.
    ///
    /// `headers` are the record's or the request's; only the content type and those of CloudEvents
    /// are looked at. `received_at_ms`, in milliseconds since the Unix epoch, should be when the
    /// transport took the event in, which for Kafka is the record's timestamp: Segment's correction
    /// for clocks that differ rests on it, and a backlog must not shift it. `source` names where the
    /// event came in and is copied into it.
    ///
    /// # Errors
    /// The first rule broken, in the order size, encoding, JSON, format, fields.
    pub fn decode(
        &self,
        payload: &[u8],
        headers: &[(&str, &[u8])],
        received_at_ms: i64,
        source: &str,
    ) -> Result<Event, Rejection> {
        if payload.len() > self.max_event_bytes {
            let detail = format!(
                "the event has {} bytes: {} are allowed",
                payload.len(),
                self.max_event_bytes
            );
            return Err(Rejection::new(Reason::EventTooLarge, detail));
        }
        let Ok(text) = std::str::from_utf8(payload) else {
            return Err(Rejection::new(
                Reason::NotUtf8,
                "the payload is not utf-8: encode the json as utf-8",
            ));
        };
        json::check(text)?;

        let draft = self.draft(text, headers, received_at_ms)?;
        self.finish(draft, received_at_ms, source)
    }

    /// Which format a payload is taken for; `None` when it is none of them, or no JSON object.
    ///
    /// For showing how events would be read: [`decode`](Self::decode) finds it out by itself.
    pub fn format(&self, payload: &[u8], headers: &[(&str, &[u8])]) -> Option<Format> {
        if cloudevents::is_binary(headers) || cloudevents::is_structured(headers) {
            return Some(Format::CloudEvent);
        }
        let text = std::str::from_utf8(payload).ok()?;
        json::check(text).ok()?;
        Native::read(text).ok()?.format()
    }

    fn draft<'t>(
        &'t self,
        text: &'t str,
        headers: &'t [(&str, &[u8])],
        received_at_ms: i64,
    ) -> Result<Draft<'t>, Rejection> {
        if !headers.is_empty() {
            if cloudevents::is_binary(headers) {
                return cloudevents::binary(text, headers, &self.mapping);
            }
            if cloudevents::is_structured(headers) {
                return cloudevents::structured(text, &self.mapping);
            }
        }
        let native = Native::read(text)?;
        match native.format() {
            Some(Format::Native) => native.draft(),
            Some(Format::Segment) => segment::draft(text, received_at_ms, &self.mapping),
            Some(Format::CloudEvent) => cloudevents::structured(text, &self.mapping),
            None => Err(unknown_format(
                "the object is neither a native event (event_id, account_id, type, occurred_at), \
                 nor a segment message (type, messageId), nor a cloudevent (specversion)",
            )),
        }
    }

    fn finish(&self, draft: Draft<'_>, received_at: i64, source: &str) -> Result<Event, Rejection> {
        let labels = draft.labels;
        let event_id = required_text(draft.event_id, labels.event_id, MAX_ID_BYTES)?;
        let account_id = required_text(draft.account_id, labels.account_id, MAX_ID_BYTES)?;
        let user_id = optional_text(draft.user_id, labels.user_id, MAX_ID_BYTES)?;
        let user_id = user_id.filter(|user_id| !user_id.is_empty());
        let event_type = draft.event_type?;
        if event_type == EventType::User && user_id.is_none() {
            let detail = format!(
                "{} is missing: attributes of a user need the user they are of",
                labels.user_id
            );
            return Err(Rejection::new(Reason::MissingField, detail));
        }
        let name = optional_text(draft.name, labels.name, crate::field::MAX_NAME_BYTES)?;
        let name = rules::check_name_given(event_type, name, labels.name)?;
        let occurred_at = draft.occurred_at?;
        self.check_time(occurred_at, received_at, labels.occurred_at)?;
        rules::check_properties(event_type, &name, &draft.properties, labels.properties)?;
        Ok(Event {
            event_id: event_id.into_owned(),
            account_id: account_id.into_owned(),
            user_id: user_id.map(Cow::into_owned),
            event_type,
            name,
            occurred_at,
            received_at,
            source: source.to_owned(),
            properties: draft.properties.into_owned(),
        })
    }

    fn check_time(&self, occurred_at: i64, received_at: i64, label: &str) -> Result<(), Rejection> {
        let latest = received_at.saturating_add(self.max_future_ms).min(STORABLE.1);
        if occurred_at > latest {
            let ahead = occurred_at.saturating_sub(received_at) / MS_PER_HOUR;
            let detail = format!(
                "{label} is {ahead} h after its receipt: {} h are allowed; check the client's clock",
                self.max_future_ms / MS_PER_HOUR
            );
            return Err(Rejection::new(Reason::OccurredInFuture, detail));
        }
        let age_bound = self
            .max_age_ms
            .map_or(STORABLE.0, |age| received_at.saturating_sub(age).max(STORABLE.0));
        if occurred_at < age_bound {
            let age = received_at.saturating_sub(occurred_at) / MS_PER_DAY;
            let allowed = received_at.saturating_sub(age_bound) / MS_PER_DAY;
            let mut detail = format!("{label} is {age} days before its receipt: {allowed} are allowed");
            // Seconds read as milliseconds fall into the weeks after the epoch.
            let as_milliseconds = occurred_at.saturating_mul(1_000);
            if occurred_at > 0 && as_milliseconds <= latest && as_milliseconds >= age_bound {
                detail.push_str("; it looks like seconds, give milliseconds");
            }
            return Err(Rejection::new(Reason::TooOld, detail));
        }
        Ok(())
    }
}

/// An event's parts as a format holds them, before any rule is applied.
///
/// Parts that a format has to work out carry their own rejection, so that the rules are applied in
/// the same order whatever the format.
struct Draft<'a> {
    event_id: Scalar<'a>,
    account_id: Scalar<'a>,
    user_id: Scalar<'a>,
    event_type: Result<EventType, Rejection>,
    name: Scalar<'a>,
    occurred_at: Result<i64, Rejection>,
    /// One JSON value as text; empty = no properties.
    properties: Cow<'a, str>,
    labels: &'static Labels,
}

/// What a client calls the parts of an event in its format.
struct Labels {
    event_id: &'static str,
    account_id: &'static str,
    user_id: &'static str,
    name: &'static str,
    occurred_at: &'static str,
    properties: &'static str,
}

/// Account and user, where a format keeps them among the properties.
#[derive(Debug, Default, Deserialize)]
struct Belonging<'a> {
    #[serde(borrow, default)]
    account_id: Scalar<'a>,
    #[serde(borrow, default)]
    user_id: Scalar<'a>,
}

impl<'a> Belonging<'a> {
    /// Reads them from an object's text; from any other value, neither.
    fn of(properties: &'a str) -> Result<Belonging<'a>, Rejection> {
        if !properties.starts_with('{') {
            return Ok(Belonging::default());
        }
        serde_json::from_str(properties).map_err(|error| json::refused(&error))
    }
}

fn unknown_format(detail: &str) -> Rejection {
    Rejection::new(Reason::UnknownFormat, detail)
}

/// Whether a field is there and says something.
fn says_something(value: &Scalar<'_>) -> bool {
    match value {
        Scalar::Absent | Scalar::Null => false,
        Scalar::Text(text) => !text.is_empty(),
        _ => true,
    }
}
