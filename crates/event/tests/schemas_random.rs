//! On random events, too, the published JSON Schemas say what the decoder does.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use boon::{Compiler, SchemaIndex, Schemas};
use event::{Decoder, EventType};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const RECEIVED_AT: i64 = 1_795_309_324_000;

fn published() -> &'static (Schemas, BTreeMap<&'static str, SchemaIndex>) {
    static PUBLISHED: OnceLock<(Schemas, BTreeMap<&'static str, SchemaIndex>)> = OnceLock::new();
    PUBLISHED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/events");
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        let mut by_type = BTreeMap::new();
        for event_type in EventType::ALL.map(EventType::as_str) {
            let text = std::fs::read_to_string(folder.join(format!("{event_type}.schema.json"))).unwrap();
            let id = format!("urn:mimamori:events:{event_type}");
            compiler
                .add_resource(&id, serde_json::from_str(&text).unwrap())
                .unwrap();
            by_type.insert(event_type, compiler.compile(&id, &mut schemas).unwrap());
        }
        (schemas, by_type)
    })
}

/// Values around the edges of what is allowed; nothing of what the schemas cannot say (lengths in bytes,
/// the calendar, `2.0` for a whole number, the time window).
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..12).prop_map(Value::from),
        Just(json!(1_000_000_000)),
        Just(json!(1_000_000_001)),
        Just(json!(0.5)),
        Just(json!(-0.5)),
        Just(json!(RECEIVED_AT)),
        Just(json!("")),
        Just(json!("x".repeat(128))),
        Just(json!("x".repeat(129))),
        Just(json!("x".repeat(200))),
        Just(json!("x".repeat(201))),
        Just(json!("x".repeat(2_000))),
        Just(json!("x".repeat(2_001))),
        prop::sample::select(vec![
            "u-17",
            "champion",
            "boss",
            "JPY",
            "yens",
            "2026-11-22",
            "2026-11-22T01:02:03Z",
            "2026-11-22T01:02:03",
            "soon",
            "opened",
            "closed",
            "started",
            "nps",
            "csat",
            "ces",
            "stars",
            "f",
        ])
        .prop_map(Value::from),
        Just(json!([1])),
        Just(json!({"a": 1})),
    ]
}

const READ: [&str; 31] = [
    "count",
    "duration_ms",
    "name",
    "plan",
    "segment",
    "tier",
    "seats",
    "timezone",
    "owner",
    "signed_up_at",
    "value_event",
    "onboarding_due",
    "role",
    "removed",
    "department",
    "mrr",
    "currency",
    "starts_at",
    "ends_at",
    "discount_ends_at",
    "ticket_id",
    "severity",
    "score",
    "results",
    "episode_id",
    "until",
    "by",
    "note",
    "playbook",
    "rule",
    "alert_id",
];

fn any_properties() -> impl Strategy<Value = Value> {
    let some = prop::collection::vec((prop::sample::select(READ.to_vec()), any_value()), 0..4);
    let object = some.prop_map(|entries| {
        let entries = entries.into_iter().map(|(name, value)| (name.to_owned(), value));
        Value::Object(entries.collect::<Map<String, Value>>())
    });
    prop_oneof![12 => object, 1 => any_value()]
}

fn any_event() -> impl Strategy<Value = Value> {
    let change = (
        prop::sample::select(vec!["event_id", "account_id", "user_id", "name", "occurred_at"]),
        prop::option::of(any_value()),
    );
    let named = prop::sample::select(EventType::ALL.to_vec()).prop_flat_map(|event_type| {
        let names: Vec<&str> = match event_type {
            EventType::Contract => vec!["started", "renewed", "cancelled"],
            EventType::Ticket => vec!["opened", "resolved"],
            EventType::Survey => vec!["nps", "csat", "ces"],
            EventType::Action => vec!["acknowledged", "snoozed", "resolved", "noted", "called"],
            _ => vec!["f"],
        };
        (Just(event_type), prop::sample::select(names))
    });
    let changes = prop::collection::vec(change, 0..3);
    (named, prop::option::of(any_properties()), changes).prop_map(|((event_type, name), properties, changes)| {
        let mut event = json!({
            "event_id": "e", "account_id": "acme", "user_id": "u", "type": event_type.as_str(), "name": name,
            "occurred_at": RECEIVED_AT,
        });
        if let Some(properties) = properties {
            event["properties"] = properties;
        }
        for (field, value) in changes {
            match value {
                Some(value) => event[field] = value,
                None => {
                    event.as_object_mut().unwrap().remove(field);
                }
            }
        }
        event
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn schema_and_decoder_agree_on_any_event(event in any_event()) {
        let (schemas, by_type) = published();
        let decoded = Decoder::default().decode(event.to_string().as_bytes(), &[], RECEIVED_AT, "test");
        // The time window is not a schema's affair.
        let of_the_window = decoded.as_ref().is_err_and(|rejection| {
            matches!(rejection.reason, event::Reason::TooOld | event::Reason::OccurredInFuture)
        });
        prop_assume!(!of_the_window);
        let index = by_type[event["type"].as_str().unwrap()];
        let validated = schemas.validate(&event, index);
        prop_assert_eq!(decoded.is_ok(), validated.is_ok(), "{}: {:?}, {:?}", event, decoded, validated.map_err(|error| error.to_string()));
    }
}
