//! Records of the topics between the roles: events and alert changes as protobuf.
//!
//! What reads as a record reads the same once more after it was written; an event that was read can be
//! folded, whoever wrote it.

use std::sync::OnceLock;

use event::wire;
use health::{Account, AlertChange, HealthConfig, Mode, Model, SegmentBaselines};
use prost::Message;

use crate::account::live_on;
use crate::decode::{RECEIVED_AT, check_event};

/// A record of `mimamori.events`.
pub fn event_record(data: &[u8]) -> String {
    match wire::decode(data) {
        Err(error) => kind_of(&error.to_string()),
        Ok(event) => {
            check_event(&event);
            let mut account = Account::new(&event.account_id);
            account.fold(&event, 0, model());
            account.evaluate(
                RECEIVED_AT,
                Mode::Live,
                event.received_at,
                &SegmentBaselines::default(),
                model(),
            );
            live_on(&mut account, model());
            format!("read {}", event.event_type.as_str())
        }
    }
}

/// A record of `mimamori.alerts`.
pub fn alert_record(data: &[u8]) -> String {
    match AlertChange::decode(data) {
        Err(error) => kind_of(&error.to_string()),
        Ok(change) => {
            let written = change.encode_to_vec();
            assert_eq!(AlertChange::decode(written.as_slice()).as_ref(), Ok(&change));
            let body = alert::webhook_body(&change);
            assert!(body.len() < 20_000, "a body of {} bytes", body.len());
            let read: serde_json::Value = serde_json::from_str(&body).expect("a body is JSON");
            assert!(read["type"].is_string() && read["timestamp"].is_string() && read["data"].is_object());
            let told = if change.payload.is_empty() {
                "without"
            } else {
                "with"
            };
            format!("read {told} a payload")
        }
    }
}

/// The first words of an error: what follows are values.
pub(crate) fn kind_of(error: &str) -> String {
    let words = error.split(|letter: char| letter.is_ascii_digit() || letter == '"');
    words
        .into_iter()
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_string()
}

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::new(HealthConfig::default()).expect("the defaults hold"))
}
