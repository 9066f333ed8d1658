//! The published JSON Schemas say what the decoder does.
//!
//! Where they cannot: lengths in bytes, the calendar, `2.0` for a whole number, the time window.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use event::{Decoder, EventType};
use serde_json::{Value, json};

const RECEIVED_AT: i64 = 1_795_309_324_000;

fn published() -> (Schemas, BTreeMap<&'static str, SchemaIndex>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/events");
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    let mut by_type = BTreeMap::new();
    for event_type in EventType::ALL {
        let path = folder.join(format!("{}.schema.json", event_type.as_str()));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let document: Value = serde_json::from_str(&text).unwrap();
        let id = document["$id"].as_str().unwrap().to_owned();
        assert_eq!(id, format!("urn:mimamori:events:{}", event_type.as_str()));
        compiler.add_resource(&id, document).unwrap();
        let index = compiler
            .compile(&id, &mut schemas)
            .unwrap_or_else(|error| panic!("{id}: {error:#}"));
        by_type.insert(event_type.as_str(), index);
    }
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(
        files,
        EventType::ALL.len(),
        "a schema of no type in {}",
        folder.display()
    );
    (schemas, by_type)
}

fn event(event_type: &str, name: Value, properties: Value) -> Value {
    json!({
        "event_id": "e-1", "account_id": "acme", "user_id": "u-17", "type": event_type, "name": name,
        "occurred_at": "2026-11-22T10:02:03.5+09:00", "properties": properties, "extra": [1],
    })
}

fn changed(field: &str, value: Value) -> Value {
    let mut sample = event("feature", json!("report.export"), json!({"count": 2}));
    sample[field] = value;
    sample
}

fn without(field: &str, mut sample: Value) -> Value {
    sample.as_object_mut().unwrap().remove(field).unwrap();
    sample
}

fn sound() -> Vec<Value> {
    vec![
        event("login", json!(null), json!(null)),
        without(
            "name",
            without("properties", event("login", json!("x"), json!({}))),
        ),
        without(
            "user_id",
            event("login", json!("sso"), json!({"count": "not read"})),
        ),
        event(
            "feature",
            json!("report.export"),
            json!({"count": 1, "duration_ms": 0.5, "more": {"a": []}}),
        ),
        event("feature", json!("f"), json!({"count": null})),
        changed("occurred_at", json!(RECEIVED_AT)),
        changed("user_id", json!(null)),
        changed("user_id", json!("")),
        changed("name", json!("n".repeat(200))),
        event("milestone", json!("first_report"), json!({})),
        event(
            "account",
            json!(null),
            json!({"name": "Acme", "plan": "team", "segment": "smb", "tier": "high", "seats": 0,
                "timezone": "Asia/Tokyo", "owner": "sato", "signed_up_at": "2026-01-05",
                "value_event": "first_report", "onboarding_due": RECEIVED_AT}),
        ),
        event("user", json!(null), json!({"role": "champion", "removed": true})),
        event("user", json!(null), json!({"role": null})),
        event("user", json!(null), json!({"department": "sales"})),
        event(
            "contract",
            json!("renewed"),
            json!({"mrr": 120000, "currency": "JPY", "starts_at": null, "ends_at": "2027-03-31T00:00:00Z",
                "discount_ends_at": "2026-12-31", "seats": 25, "plan": "team"}),
        ),
        event("contract", json!("cancelled"), json!({})),
        event(
            "ticket",
            json!("opened"),
            json!({"ticket_id": "T-1", "severity": "high", "channel": "phone"}),
        ),
        event("survey", json!("nps"), json!({"score": 0})),
        event("survey", json!("csat"), json!({"score": 5})),
        event("survey", json!("ces"), json!({"score": 7})),
        event("engagement", json!("help_search"), json!({"results": 0})),
        event("error", json!("import_failed"), json!({"severity": "fatal"})),
        event(
            "action",
            json!("acknowledged"),
            json!({"episode_id": "ep_1", "by": "田中", "note": "見".repeat(2_000), "playbook": "call", "rule": "silence",
                "alert_id": "al_1"}),
        ),
        event(
            "action",
            json!("snoozed"),
            json!({"episode_id": "ep_1", "until": "2026-12-01"}),
        ),
        event(
            "action",
            json!("resolved"),
            json!({"episode_id": "ep_1", "note": null}),
        ),
        event("action", json!("noted"), json!({"note": "has moved"})),
        event("action", json!("called"), json!(null)),
    ]
}

fn malformed() -> Vec<Value> {
    let mut samples = vec![
        changed("event_id", json!("")),
        changed("event_id", json!(7)),
        changed("event_id", json!("x".repeat(129))),
        changed("account_id", json!(null)),
        changed("user_id", json!(7)),
        changed("user_id", json!("x".repeat(129))),
        changed("name", json!("")),
        changed("name", json!("n".repeat(201))),
        changed("occurred_at", json!("2026-11-22T10:02:03")),
        changed("occurred_at", json!("2026-11-22")),
        changed("occurred_at", json!(1.5)),
        changed("occurred_at", json!(true)),
        changed("properties", json!([])),
        changed("properties", json!({"count": 0})),
        changed("properties", json!({"count": 1_000_000_001})),
        changed("properties", json!({"count": "2"})),
        changed("properties", json!({"duration_ms": -1})),
        event("milestone", json!(null), json!({})),
        event("login", json!("n".repeat(201)), json!({})),
        event("account", json!(null), json!({"seats": -1})),
        event("account", json!(null), json!({"plan": 3})),
        event("account", json!(null), json!({"signed_up_at": "soon"})),
        event("account", json!(null), json!({"signed_up_at": 1.5})),
        without("user_id", event("user", json!(null), json!({}))),
        event("user", json!(null), json!({"role": "boss"})),
        event("user", json!(null), json!({"removed": "yes"})),
        event("user", json!(null), json!({"department": 7})),
        event("contract", json!("paused"), json!({})),
        event("contract", json!("started"), json!({"mrr": -1})),
        event("contract", json!("started"), json!({"currency": "yens"})),
        event(
            "contract",
            json!("started"),
            json!({"ends_at": "2026-04-01T00:00:00"}),
        ),
        event("ticket", json!("opened"), json!({})),
        event("ticket", json!("opened"), json!(null)),
        without("properties", event("ticket", json!("opened"), json!({}))),
        event("ticket", json!("opened"), json!({"ticket_id": 7})),
        event("ticket", json!("closed"), json!({"ticket_id": "T-1"})),
        event("survey", json!("nps"), json!({})),
        event("survey", json!("nps"), json!({"score": 11})),
        event("survey", json!("csat"), json!({"score": 6})),
        event("survey", json!("csat"), json!({"score": 0})),
        event("survey", json!("ces"), json!({"score": 0})),
        event("survey", json!("nps"), json!({"score": 8.5})),
        event("survey", json!("stars"), json!({"score": 3})),
        event("engagement", json!("search"), json!({"results": -1})),
        event("error", json!(""), json!({})),
        event("error", json!("crash"), json!({"severity": 3})),
        event("action", json!(null), json!({})),
        event("action", json!("acknowledged"), json!(null)),
        event("action", json!("resolved"), json!({"by": "tanaka"})),
        event("action", json!("snoozed"), json!({"episode_id": "ep_1"})),
        event("action", json!("snoozed"), json!({"until": "2026-12-01"})),
        event(
            "action",
            json!("snoozed"),
            json!({"episode_id": "ep_1", "until": "soon"}),
        ),
        event("action", json!("noted"), json!({"note": "見".repeat(2_001)})),
        event("action", json!("noted"), json!({"by": ["tanaka"]})),
    ];
    for field in ["event_id", "account_id", "occurred_at", "name"] {
        samples.push(without(field, event("feature", json!("f"), json!({}))));
    }
    samples
}

#[test]
fn schemas_and_decoder_agree() {
    let (schemas, by_type) = published();
    let decoder = Decoder::default();
    let expected = sound().into_iter().map(|sample| (sample, true));
    for (sample, is_sound) in expected.chain(malformed().into_iter().map(|sample| (sample, false))) {
        let decoded = decoder.decode(sample.to_string().as_bytes(), &[], RECEIVED_AT, "test");
        assert_eq!(
            decoded.is_ok(),
            is_sound,
            "the decoder says {decoded:?} of {sample}"
        );
        let index = by_type[sample["type"].as_str().unwrap()];
        let validated = schemas.validate(&sample, index);
        assert_eq!(
            validated.is_ok(),
            is_sound,
            "the schema says {validated:?} of {sample}"
        );
    }
}

#[test]
fn a_schema_takes_events_of_its_own_type_only() {
    let (schemas, by_type) = published();
    for sample in sound() {
        for (event_type, index) in &by_type {
            let is_own = sample["type"] == **event_type;
            if !is_own {
                assert!(
                    schemas.validate(&sample, *index).is_err(),
                    "{event_type} takes {sample}"
                );
            }
        }
    }
}
