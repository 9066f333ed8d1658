//! What cannot be accepted, one way after the other: each is answered with its reason and kept as it came.

use std::collections::BTreeMap;

use api::{CollectorConfig, Config};
use serde_json::{Value, json};
use stream::topics;

use crate::support::{bed, bed_with, login, now_ms, quick, read};

#[path = "../../../event/tests/malformed/table.rs"]
mod table;

/// A sound event with these members in place of its own; null takes one out.
fn native(changes: Value) -> String {
    changed(login(1), changes)
}

fn changed(mut event: Value, changes: Value) -> String {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            event.as_object_mut().unwrap().remove(name);
        } else {
            event[name] = value.clone();
        }
    }
    event.to_string()
}

/// A native event of a type, with a name and properties.
fn of(event_type: &str, name: &str, properties: Value) -> String {
    native(json!({"type": event_type, "name": name, "properties": properties}))
}

fn segment(changes: Value) -> String {
    let message = json!({"type": "track", "messageId": "m", "userId": "u", "event": "x",
        "context": {"groupId": "acme"}, "timestamp": now_ms()});
    changed(message, changes)
}

fn cloudevent(changes: Value) -> String {
    let event = json!({"specversion": "1.0", "id": "c", "source": "/app", "type": "x", "subject": "acme",
        "time": "2026-11-01T00:00:00Z"});
    changed(event, changes)
}

fn cases() -> Vec<(&'static str, String)> {
    let long = "a".repeat(129);
    let day = 86_400_000;
    let ahead = now_ms() + 2 * day;
    let past = now_ms() - 500 * day;
    vec![
        ("not_json", "nonsense".to_owned()),
        ("not_json", "{".to_owned()),
        ("not_json", "{}}".to_owned()),
        ("not_json", "{'event_id':'e'}".to_owned()),
        ("not_json", "{\"event_id\":NaN}".to_owned()),
        ("not_json", "{\"event_id\":\"\\ud800\"}".to_owned()),
        ("not_json", "{\"event_id\":\"e\",\"event_id\":\"f\"}".to_owned()),
        ("not_json", "[".repeat(200)),
        ("not_json", format!("{} {}", login(1), login(2))),
        ("unknown_format", "3".to_owned()),
        ("unknown_format", "null".to_owned()),
        ("unknown_format", "\"event\"".to_owned()),
        ("unknown_format", "[]".to_owned()),
        ("unknown_format", "{}".to_owned()),
        ("unknown_format", "{\"hello\":\"world\"}".to_owned()),
        ("missing_field", native(json!({"account_id": null}))),
        ("missing_field", native(json!({"occurred_at": null}))),
        ("missing_field", native(json!({"type": null}))),
        ("missing_field", native(json!({"event_id": null}))),
        ("missing_field", native(json!({"type": "feature"}))),
        ("missing_field", native(json!({"type": "milestone"}))),
        ("missing_field", native(json!({"type": "user", "user_id": null}))),
        ("missing_field", of("ticket", "opened", json!({}))),
        ("missing_field", of("survey", "nps", json!({}))),
        ("empty_field", native(json!({"event_id": ""}))),
        ("empty_field", native(json!({"account_id": ""}))),
        ("empty_field", native(json!({"type": ""}))),
        ("empty_field", of("feature", "", json!({}))),
        ("field_too_long", native(json!({"event_id": long}))),
        ("field_too_long", native(json!({"account_id": long}))),
        ("field_too_long", native(json!({"user_id": long}))),
        ("field_too_long", of("feature", &"n".repeat(201), json!({}))),
        ("invalid_type", native(json!({"type": "logon"}))),
        ("invalid_type", native(json!({"type": 7}))),
        ("invalid_type", native(json!({"event_id": 7}))),
        ("invalid_type", native(json!({"account_id": ["acme"]}))),
        ("invalid_type", native(json!({"user_id": {"id": "u"}}))),
        ("invalid_type", of("contract", "paused", json!({}))),
        (
            "invalid_type",
            of("ticket", "deleted", json!({"ticket_id": "T-1"})),
        ),
        ("invalid_type", of("survey", "stars", json!({"score": 3}))),
        ("invalid_timestamp", native(json!({"occurred_at": "yesterday"}))),
        (
            "invalid_timestamp",
            native(json!({"occurred_at": "2026-11-01T00:00:00"})),
        ),
        (
            "invalid_timestamp",
            native(json!({"occurred_at": "2026-13-01T00:00:00Z"})),
        ),
        ("invalid_timestamp", native(json!({"occurred_at": 1.5}))),
        ("invalid_timestamp", native(json!({"occurred_at": true}))),
        ("occurred_in_future", native(json!({"occurred_at": ahead}))),
        (
            "occurred_in_future",
            native(json!({"occurred_at": "2999-01-01T00:00:00Z"})),
        ),
        ("too_old", native(json!({"occurred_at": past}))),
        ("too_old", native(json!({"occurred_at": 0}))),
        ("too_old", native(json!({"occurred_at": now_ms() / 1_000}))),
        (
            "event_too_large",
            native(json!({"properties": {"x": "a".repeat(33_000)}})),
        ),
        ("properties_not_object", native(json!({"properties": [1]}))),
        ("properties_not_object", native(json!({"properties": "x"}))),
        ("invalid_property", of("feature", "x", json!({"count": 0}))),
        ("invalid_property", of("feature", "x", json!({"count": "3"}))),
        ("invalid_property", of("feature", "x", json!({"count": 1.5}))),
        ("invalid_property", of("feature", "x", json!({"duration_ms": -1}))),
        ("invalid_property", of("user", "", json!({"role": "boss"}))),
        ("invalid_property", of("user", "", json!({"removed": "yes"}))),
        ("invalid_property", of("contract", "renewed", json!({"mrr": -5}))),
        (
            "invalid_property",
            of("contract", "renewed", json!({"currency": "euro"})),
        ),
        ("invalid_property", of("survey", "nps", json!({"score": 11}))),
        ("invalid_property", of("account", "", json!({"seats": -1}))),
        (
            "invalid_property",
            of("account", "", json!({"signed_up_at": "soon"})),
        ),
        ("missing_field", segment(json!({"messageId": null}))),
        ("missing_field", segment(json!({"event": null}))),
        ("missing_field", segment(json!({"context": null}))),
        ("missing_field", segment(json!({"type": "alias"}))),
        ("invalid_type", segment(json!({"context": 7}))),
        ("invalid_timestamp", segment(json!({"timestamp": "soon"}))),
        ("field_too_long", segment(json!({"context": {"groupId": long}}))),
        ("missing_field", cloudevent(json!({"id": null}))),
        ("missing_field", cloudevent(json!({"subject": null}))),
        ("missing_field", cloudevent(json!({"time": null}))),
        ("missing_field", cloudevent(json!({"type": null}))),
        ("unknown_format", cloudevent(json!({"specversion": "0.3"}))),
        (
            "properties_not_object",
            cloudevent(json!({"data_base64": "AA=="})),
        ),
        ("properties_not_object", cloudevent(json!({"data": "text"}))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_event_gets_its_reason_and_is_kept_as_it_came() {
    let bed = bed().await;
    let cases = cases();
    assert!(cases.len() >= 60);
    // One request: a line each, and a sound one at the end.
    let mut text: String = cases.iter().map(|(_, line)| format!("{line}\n")).collect();
    text.push_str(&login(2).to_string());
    let request = bed
        .post("/v1/events")
        .header("content-type", "application/x-ndjson");
    let (status, answer) = read(request.body(text).send().await.unwrap()).await;
    assert_eq!(status, 200);
    let errors = answer["errors"].as_array().unwrap();
    let missed = (0..cases.len()).find(|index| errors.iter().all(|error| error["index"] != *index));
    assert_eq!(missed.map(|index| &cases[index]), None, "it was accepted");
    assert_eq!(answer["accepted"], 1, "only the sound one");
    assert_eq!(answer["rejected"], cases.len());
    for ((reason, line), error) in cases.iter().zip(errors) {
        assert_eq!(error["reason"], *reason, "{line:.200}: {error}");
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.len() > 15 && detail.len() < 400, "{detail}");
    }
    let mut kept: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (body, headers) in bed.rejected().await {
        assert_eq!(headers["source"], "http");
        *kept.entry((headers["reason"].clone(), body)).or_default() += 1;
    }
    for (reason, line) in &cases {
        let times = kept.get(&((*reason).to_owned(), line.clone()));
        assert_eq!(times, Some(&1), "{reason}: {line:.200}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_decoders_refuse_is_refused_and_kept_byte_for_byte_over_http() {
    let collector = CollectorConfig {
        max_listed_errors: 1_000,
        ..quick()
    };
    let bed = bed_with(collector, Config::default()).await;
    let table = table::table(now_ms());
    // What is a line is sent as one; CloudEvents with their headers, each by itself.
    let is_line = |case: &&table::Malformed| {
        case.headers.is_empty() && !case.payload.contains(&b'\n') && !case.payload.trim_ascii().is_empty()
    };
    let (lines, others): (Vec<_>, Vec<_>) = table.iter().partition(is_line);
    assert!(lines.len() >= 60, "{}", lines.len());
    let body: Vec<u8> = lines
        .iter()
        .flat_map(|case| [&case.payload[..], b"\n"].concat())
        .collect();
    let request = bed
        .post("/v1/events")
        .header("content-type", "application/x-ndjson");
    let (_, answer) = read(request.body(body).send().await.unwrap()).await;
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), lines.len(), "{answer}");
    for ((case, error), line) in lines.iter().zip(errors).zip(0..) {
        assert_eq!(error["index"], line, "{}", case.what);
        assert_eq!(error["reason"], case.reason, "{}: {error}", case.what);
    }
    for case in &others {
        let mut request = bed.post("/v1/events");
        for (name, value) in &case.headers {
            request = request.header(name.replace('_', "-"), value.as_slice());
        }
        let answer = request.body(case.payload.clone()).send().await.unwrap();
        let (status, answer) = read(answer).await;
        assert_eq!(status, 400, "{}: {answer}", case.what);
        assert_eq!(
            answer["errors"][0]["reason"], case.reason,
            "{}: {answer}",
            case.what
        );
    }

    let mut kept = Vec::new();
    for record in bed.records(topics::REJECTED).await {
        let header = |name: &str| record.headers.iter().find(|(header, _)| header == name);
        let text = |name| header(name).map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        assert_eq!(text("source").as_deref(), Some("http"));
        kept.push((text("reason").unwrap(), text("original_bytes"), record));
    }
    assert_eq!(kept.len(), table.len(), "each comes once");
    for case in &table {
        let found = kept.iter().position(|(reason, original_bytes, record)| {
            let is_whole = original_bytes.is_none() && record.payload == case.payload;
            // Of a line that is far too long it is the beginning.
            let is_beginning = *original_bytes == Some(case.payload.len().to_string())
                && case.payload.starts_with(&record.payload);
            let came_with =
                |(name, _): &&(String, Vec<u8>)| name.starts_with("original.") && name != "original.source";
            let has_headers = record.headers.iter().filter(came_with).count() == case.headers.len()
                && case.headers.iter().all(|(name, value)| {
                    let name = format!("original.{}", name.replace('_', "-"));
                    record.headers.contains(&(name, value.clone()))
                });
            reason == case.reason && (is_whole || is_beginning) && has_headers
        });
        let found = found.unwrap_or_else(|| panic!("{} is not kept as it came", case.what));
        kept.swap_remove(found);
    }
}
