//! Raw records, as whoever may write to the raw topic sends them: native JSON, Segment messages,
//! CloudEvents.
//!
//! Holds of every input: the answer is the same twice; an event that is accepted keeps the bounds of its
//! fields, is still accepted when it is written down in the native form, and travels unharmed; a rejection
//! says why in a line that fits a header.

use std::sync::OnceLock;

use event::{Decoder, DecoderConfig, Event, EventType, NameRule, Properties, Rejection, wire};
use serde_json::json;

/// When inputs are received: 2026-11-22T01:02:04Z.
pub const RECEIVED_AT: i64 = 1_795_309_324_000;

/// 1900-01-01 and the last millisecond of 2299, what the store can hold.
const STORABLE: std::ops::RangeInclusive<i64> = -2_208_988_800_000..=10_413_791_999_999;

/// The longest detail of a rejection, in bytes.
const LONGEST_DETAIL: usize = 400;

/// A record without headers, in the native form or any other that its content tells.
pub fn native(data: &[u8]) -> String {
    decode(data, &[])
}

/// The same; its inputs are the calls of Segment's SDKs.
pub fn segment(data: &[u8]) -> String {
    decode(data, &[])
}

/// A record with headers: lines of `name: value` before the first empty line, the payload after it.
pub fn cloudevents(data: &[u8]) -> String {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, payload) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (&[][..], data),
    };
    let lines = head.split(|byte| *byte == b'\n');
    let headers: Vec<(String, &[u8])> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            // Kafka's clients hand out names as UTF-8, values as bytes.
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            Some((name, line[colon + 1..].trim_ascii()))
        })
        .collect();
    let headers: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    decode(payload, &headers)
}

fn decode(payload: &[u8], headers: &[(&str, &[u8])]) -> String {
    let answer = answer_of(strict(), payload, headers);
    // Only its events differ; what must hold is the same.
    let _ = answer_of(lenient(), payload, headers);
    match answer {
        Ok(event) => format!("accepted {}", event.event_type.as_str()),
        Err(rejection) => kind_of(&rejection),
    }
}

fn answer_of(decoder: &Decoder, payload: &[u8], headers: &[(&str, &[u8])]) -> Result<Event, Rejection> {
    let answer = decoder.decode(payload, headers, RECEIVED_AT, "usage.events");
    let again = decoder.decode(payload, headers, RECEIVED_AT, "usage.events");
    assert_eq!(answer, again, "the second answer is another");
    match &answer {
        Ok(event) => {
            check_event(event);
            check_written_down(event, decoder);
        }
        Err(rejection) => check_rejection(rejection),
    }
    answer
}

/// The reason and the field at fault, without what the client sent.
pub(crate) fn kind_of(rejection: &Rejection) -> String {
    let field = rejection.detail.split([' ', '"']).next().unwrap_or_default();
    format!("{} {field}", rejection.reason)
}

/// What holds of every rejection.
pub(crate) fn check_rejection(rejection: &Rejection) {
    let detail = &rejection.detail;
    assert!(!detail.is_empty());
    assert!(detail.len() <= LONGEST_DETAIL, "{} bytes: {detail}", detail.len());
    assert!(
        !detail.chars().any(char::is_control),
        "does not fit a header: {detail:?}"
    );
}

/// What holds of every event, wherever it was read.
pub fn check_event(event: &Event) {
    let Event {
        event_id,
        account_id,
        user_id,
        name,
        ..
    } = event;
    assert!((1..=128).contains(&event_id.len()), "{event_id:?}");
    assert!((1..=128).contains(&account_id.len()), "{account_id:?}");
    assert!(
        user_id
            .as_ref()
            .is_none_or(|user_id| (1..=128).contains(&user_id.len())),
        "{user_id:?}"
    );
    assert!(name.len() <= 200, "{name:?}");
    assert!(STORABLE.contains(&event.occurred_at), "{}", event.occurred_at);
    let mut record = Vec::new();
    wire::encode(event, &mut record);
    assert_eq!(wire::decode(&record).as_ref(), Ok(event));
}

/// Every rule that another format obeys is also one of the native form.
fn check_written_down(event: &Event, decoder: &Decoder) {
    let properties = Properties::parse(&event.properties).expect("properties of an event are an object");
    for name in properties.names() {
        let value = (properties.str(name), properties.u64(name), properties.bool(name));
        let number = properties.f64(name);
        assert!(number.is_none_or(f64::is_finite), "{value:?}");
        if let Some(at) = properties.timestamp_ms(name) {
            assert!(jiff::Timestamp::from_millisecond(at).is_ok(), "{at}");
        }
    }
    let mut written = json!({
        "event_id": event.event_id, "account_id": event.account_id, "user_id": event.user_id,
        "type": event.event_type, "name": event.name, "occurred_at": event.occurred_at,
    })
    .to_string();
    if !event.properties.is_empty() {
        written.truncate(written.len() - 1);
        written.push_str(",\"properties\":");
        written.push_str(&event.properties);
        written.push('}');
    }
    match decoder.decode(written.as_bytes(), &[], event.received_at, &event.source) {
        Ok(again) => assert_eq!(&again, event, "written down as {written}"),
        // The native form needs more bytes, and a level more for what was the whole payload.
        Err(rejection) => assert!(
            written.len() > 30_000 || rejection.detail.contains("nests deeper"),
            "{rejection}, written down as {written}"
        ),
    }
}

/// The bounds that ship.
pub(crate) fn strict() -> &'static Decoder {
    static DECODER: OnceLock<Decoder> = OnceLock::new();
    DECODER.get_or_init(Decoder::default)
}

/// No bound that can be switched off, and foreign names that mean something.
fn lenient() -> &'static Decoder {
    static DECODER: OnceLock<Decoder> = OnceLock::new();
    DECODER.get_or_init(|| {
        let rule = |event: &str, event_type, name: Option<&str>| NameRule {
            event: event.into(),
            event_type,
            name: name.map(String::from),
        };
        let config = DecoderConfig {
            max_event_bytes: 1 << 20,
            max_age_days: 0,
            max_future_hours: u32::MAX,
            names: vec![
                rule("Deal Won", EventType::Contract, Some("upgraded")),
                rule("Workspace Created", EventType::Milestone, None),
                rule("Ticket Opened", EventType::Ticket, Some("opened")),
            ],
            ..DecoderConfig::default()
        };
        Decoder::new(config).expect("the rules are sound")
    })
}
