//! The table of malformed inputs, and what the tracking plan and privacy do, through the worker.

use std::collections::BTreeMap;

use ingest::Config;
use stream::{Record, topics};

use crate::support::{Reader, bed, decode, now_ms, worker};

#[path = "../../../event/tests/malformed/table.rs"]
mod table;

fn header<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    let found = record.headers.iter().find(|(header, _)| header == name);
    found.map(|(_, value)| std::str::from_utf8(value).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_input_lands_in_the_rejected_topic_with_its_reason() {
    let bed = bed().await;
    let worker = bed.worker();
    let table = table::table(now_ms());
    assert!(table.len() >= 60);
    let mut expected = BTreeMap::new();
    for case in &table {
        let headers: Vec<(&str, &[u8])> = case
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect();
        let delivery = bed.producer.send(topics::RAW, None, &case.payload, &headers);
        let (partition, offset) = delivery.unwrap().await.unwrap();
        expected.insert((partition.to_string(), offset.to_string()), case);
    }
    let mut rejected = Reader::of(topics::REJECTED, &bed.kafka());
    let records = rejected
        .until("every reject", |records| records.len() >= table.len())
        .await;
    for record in records {
        let place =
            ["source_partition", "source_offset"].map(|name| header(record, name).unwrap().to_owned());
        let case = expected.remove(&place.into()).expect("each comes once");
        assert_eq!(header(record, "reason"), Some(case.reason), "{}", case.what);
        assert_eq!(record.payload, case.payload, "{}", case.what);
        assert!(header(record, "detail").is_some_and(|detail| !detail.is_empty()));
        for (name, value) in &case.headers {
            let kept = record
                .headers
                .iter()
                .find(|(kept, _)| *kept == format!("original.{name}"));
            assert_eq!(&kept.unwrap().1, value, "{}", case.what);
        }
    }
    assert!(expected.is_empty(), "not rejected: {}", expected.len());
    let accepted = worker.metric("mimamori_ingest_events_total", "accepted");
    assert_eq!(accepted, 0.0);
    worker.stop().await;
}

fn event(id: &str, name: &str, properties: &str) -> String {
    let at = now_ms() - 1_000;
    format!(
        r#"{{"event_id":"{id}","account_id":"a","user_id":"SECRET","type":"feature","name":"{name}","occurred_at":{at},"properties":{properties}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tracking_plan_counts_or_rejects_and_privacy_covers_events_and_rejects() {
    let bed = bed().await;
    let config: Config = serde_json::from_str(
        r#"{
            "plans": [{
                "sources": ["web"],
                "unplanned_event": "reject",
                "required_missing": "reject",
                "events": [{ "name": "export", "properties": {
                    "required": ["rows"], "properties": { "rows": { "type": "integer" } }
                } }]
            }],
            "privacy": {
                "key": "0123456789abcdef", "pseudonymise": ["user_id"], "drop": ["properties.email"],
                "unreadable": "drop"
            }
        }"#,
    )
    .unwrap();
    let worker = worker(config, bed.kafka());
    let inputs = [
        (event("ok", "export", r#"{"rows":1,"email":"SECRET"}"#), "web"),
        (event("off", "export", r#"{"rows":"SECOND"}"#), "web"),
        (event("other", "anything", "{}"), "crm"),
        (event("unplanned", "import", r#"{"email":"SECRET"}"#), "web"),
        (event("missing", "export", "{}"), "web"),
        ("{ not json, SECRET".to_owned(), "web"),
    ];
    for (payload, source) in &inputs {
        let headers: &[(&str, &[u8])] = &[("source", source.as_bytes()), ("x-user", b"SECRET")];
        let sent = bed
            .producer
            .send(topics::RAW, Some(b"SECRET"), payload.as_bytes(), headers);
        sent.unwrap().await.unwrap();
    }

    let mut events = Reader::of(topics::EVENTS, &bed.kafka());
    let ids = events.ids(3).await;
    assert_eq!(ids.keys().collect::<Vec<_>>(), ["off", "ok", "other"]);
    for record in &events.records {
        let event = decode(record);
        assert!(event.user_id.unwrap().starts_with("p1_"));
        assert!(!event.properties.contains("SECRET"), "{}", event.properties);
    }

    let mut rejected = Reader::of(topics::REJECTED, &bed.kafka());
    let records = rejected.until("3 rejects", |records| records.len() >= 3).await;
    let mut reasons = BTreeMap::new();
    for record in records {
        let everything = format!("{record:?}{}", String::from_utf8_lossy(&record.payload));
        assert!(!everything.contains("SECRET"), "{everything}");
        assert_eq!(record.key, None);
        assert_eq!(header(record, "original.source"), Some("web"));
        assert_eq!(header(record, "original.x-user"), None);
        let kept = String::from_utf8_lossy(&record.payload).into_owned();
        reasons.insert(header(record, "reason").unwrap().to_owned(), kept);
    }
    assert_eq!(
        reasons.keys().collect::<Vec<_>>(),
        ["not_json", "required_missing", "unplanned_event"]
    );
    assert_eq!(reasons["not_json"], "");
    assert!(reasons["unplanned_event"].contains(r#""event_id":"unplanned""#));
    assert!(reasons["unplanned_event"].contains("p1_"));
    let violations = |kind| worker.metric("mimamori_ingest_plan_violations_total", kind);
    assert_eq!(
        (violations("Datatype-Mismatch"), violations("Unplanned-Event")),
        (1.0, 0.0)
    );
    worker.stop().await;
}
