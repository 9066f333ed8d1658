//! Messages of Segment's tracking API, as its SDKs and its pipelines write them.
//!
//! A message belongs to the account of `context.groupId`, else `groupId`, else the `account_id`
//! among its properties or traits; `group` speaks of the very account in its own `groupId`. An
//! anonymous visitor is not a user: only `userId` names one.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Belonging, Draft, Labels, says_something};
use crate::field::{MAX_ID_BYTES, optional_time, required_text};
use crate::json::{self, Scalar};
use crate::model::EventType;
use crate::names::NameMapping;
use crate::rejection::{Reason, Rejection, quoted};

/// The calls, as `type` names them.
pub(super) const CALLS: [&str; 6] = ["track", "identify", "group", "page", "screen", "alias"];

const TRACK: Labels = Labels {
    event_id: "messageId",
    account_id: "context.groupId (or groupId, or properties.account_id)",
    user_id: "userId",
    name: "event",
    occurred_at: "timestamp",
    properties: "properties",
};
const PAGE: Labels = Labels {
    name: "name",
    ..TRACK
};
const TRAITS: Labels = Labels {
    account_id: "context.groupId (or groupId, or traits.account_id)",
    properties: "traits",
    ..TRACK
};
const GROUP: Labels = Labels {
    account_id: "groupId",
    ..TRAITS
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow, default, rename = "type")]
    call: Scalar<'a>,
    #[serde(borrow, default)]
    message_id: Scalar<'a>,
    #[serde(borrow, default)]
    user_id: Scalar<'a>,
    #[serde(borrow, default)]
    group_id: Scalar<'a>,
    #[serde(borrow, default)]
    previous_id: Scalar<'a>,
    #[serde(borrow, default)]
    event: Scalar<'a>,
    #[serde(borrow, default)]
    name: Scalar<'a>,
    #[serde(borrow, default)]
    category: Scalar<'a>,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
    #[serde(borrow, default)]
    traits: Option<&'a RawValue>,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    original_timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    sent_at: Scalar<'a>,
    #[serde(borrow, default)]
    received_at: Scalar<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(borrow, default)]
    group_id: Scalar<'a>,
}

/// What a page or screen is called when the message itself does not say.
#[derive(Default, Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    name: Scalar<'a>,
    #[serde(borrow, default)]
    path: Scalar<'a>,
}

pub(super) fn draft<'t>(
    text: &'t str,
    received_at_ms: i64,
    mapping: &'t NameMapping,
) -> Result<Draft<'t>, Rejection> {
    let message: Message<'t> = serde_json::from_str(text).map_err(|error| json::refused(&error))?;
    let Scalar::Text(call) = &message.call else {
        return Err(unknown_call(&message.call));
    };
    let properties = message.properties.map_or("", RawValue::get);
    let traits = message.traits.map_or("", RawValue::get);
    let draft = match call.as_ref() {
        "track" => {
            let event = required_text(message.event.clone(), TRACK.name, usize::MAX)?;
            let (event_type, name) = mapping.resolve(&event);
            Parts {
                event_type,
                name: Scalar::Text(name),
                properties: properties.into(),
                labels: &TRACK,
            }
        }
        "page" | "screen" => Parts {
            event_type: EventType::Feature,
            name: Scalar::Text(Cow::Owned(format!("page:{}", page_name(&message, properties)?))),
            properties: properties.into(),
            labels: &PAGE,
        },
        "identify" => Parts {
            event_type: EventType::User,
            name: Scalar::Absent,
            properties: traits.into(),
            labels: &TRAITS,
        },
        "group" => Parts {
            event_type: EventType::Account,
            name: Scalar::Absent,
            properties: traits.into(),
            labels: &GROUP,
        },
        "alias" => Parts {
            event_type: EventType::User,
            name: Scalar::Absent,
            properties: alias_properties(message.previous_id.clone())?.into(),
            labels: &TRACK,
        },
        _ => return Err(unknown_call(&message.call)),
    };
    let account_id = account(
        &message,
        call,
        if traits.is_empty() { properties } else { traits },
    )?;
    let occurred_at = occurred_at(&message, received_at_ms);
    Ok(Draft {
        event_id: message.message_id,
        account_id,
        user_id: message.user_id,
        event_type: Ok(draft.event_type),
        name: draft.name,
        occurred_at,
        properties: draft.properties,
        labels: draft.labels,
    })
}

/// What depends on the call.
struct Parts<'a> {
    event_type: EventType,
    name: Scalar<'a>,
    properties: Cow<'a, str>,
    labels: &'static Labels,
}

fn unknown_call(call: &Scalar<'_>) -> Rejection {
    let calls = CALLS.join(", ");
    let (reason, problem) = match call {
        Scalar::Absent | Scalar::Null => (Reason::MissingField, "missing".to_owned()),
        Scalar::Text(name) => (Reason::InvalidType, quoted(name)),
        _ => (Reason::InvalidType, "not a string".to_owned()),
    };
    Rejection::new(
        reason,
        format!("type is {problem}: a segment message has one of {calls}"),
    )
}

fn account<'a>(message: &Message<'a>, call: &str, properties: &'a str) -> Result<Scalar<'a>, Rejection> {
    if call == "group" {
        return Ok(message.group_id.clone());
    }
    let context = match message.context.map(RawValue::get) {
        Some(text) if text.starts_with('{') => {
            serde_json::from_str::<Context<'a>>(text).map_err(|error| json::refused(&error))?
        }
        Some(_) => return Err(Rejection::new(Reason::InvalidType, "context must be an object")),
        None => Context::default(),
    };
    if says_something(&context.group_id) {
        return Ok(context.group_id);
    }
    if says_something(&message.group_id) {
        return Ok(message.group_id.clone());
    }
    let belonging = Belonging::of(properties)?;
    // An empty text is as good as none here: the detail then lists every place that was looked at.
    Ok(if says_something(&belonging.account_id) {
        belonging.account_id
    } else {
        Scalar::Absent
    })
}

fn page_name<'a>(message: &Message<'a>, properties: &'a str) -> Result<Cow<'a, str>, Rejection> {
    let page = if properties.starts_with('{') {
        serde_json::from_str::<Page<'a>>(properties).map_err(|error| json::refused(&error))?
    } else {
        Page::default()
    };
    let candidates = [
        message.name.clone(),
        page.name,
        message.category.clone(),
        page.path,
    ];
    let name = candidates.into_iter().find(says_something).unwrap_or_default();
    required_text(name, PAGE.name, usize::MAX)
}

/// An alias tells that a user was known by another id before; it is kept as the user's attribute.
fn alias_properties(previous_id: Scalar<'_>) -> Result<String, Rejection> {
    let previous_id = required_text(previous_id, "previousId", MAX_ID_BYTES)?;
    let quoted = serde_json::Value::from(previous_id.as_ref());
    Ok(format!("{{\"previous_id\":{quoted}}}"))
}

/// When the message's event occurred, with the difference between the client's clock and the
/// server's taken out.
///
/// The client stamps both the event and the sending; what lay between them by its clock is taken
/// from the time of receipt: `receivedAt − (sentAt − originalTimestamp)`. A message that has been
/// through a pipeline carries `receivedAt`, and its `timestamp` is corrected already. One without
/// any time occurred when it was received.
fn occurred_at(message: &Message<'_>, received_at_ms: i64) -> Result<i64, Rejection> {
    let timestamp = optional_time(message.timestamp.clone(), "timestamp")?;
    let original = optional_time(message.original_timestamp.clone(), "originalTimestamp")?;
    let sent_at = optional_time(message.sent_at.clone(), "sentAt")?;
    let pipeline_received_at = optional_time(message.received_at.clone(), "receivedAt")?;

    if let (Some(corrected), Some(_)) = (timestamp, pipeline_received_at) {
        return Ok(corrected);
    }
    let received_at = pipeline_received_at.unwrap_or(received_at_ms);
    match (original.or(timestamp), sent_at) {
        (Some(by_client), Some(sent_at)) => Ok(received_at.saturating_sub(sent_at.saturating_sub(by_client))),
        (Some(by_client), None) => Ok(by_client),
        (None, _) => Ok(received_at),
    }
}
