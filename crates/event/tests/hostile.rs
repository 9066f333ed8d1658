//! Whatever the bytes, decoding answers: an event within its bounds, or a rejection within its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use event::{Decoder, DecoderConfig, Event, EventType, Properties, wire};
use proptest::prelude::*;
use serde_json::json;

const RECEIVED_AT: i64 = 1_795_309_324_000;
const DAY: i64 = 86_400_000;

const SEEDS: [&str; 6] = [
    r#"{"event_id":"01J8","account_id":"acme","user_id":"u-17","type":"feature","name":"report.export",
        "occurred_at":"2026-11-22T10:02:03.004+09:00","properties":{"count":2,"duration_ms":1.5,"a":[{"b":"\ud83d\ude00"}]}}"#,
    r#"{"event_id":"e","account_id":"a","type":"contract","name":"renewed","occurred_at":1795309323004,
        "properties":{"mrr":1e3,"currency":"JPY","ends_at":"2027-03-31","seats":25}}"#,
    r#"{"event_id":"e","account_id":"守","type":"survey","name":"nps","occurred_at":1795309323004,"properties":{"score":9}}"#,
    r#"{"type":"track","messageId":"m","event":"Report Exported","userId":"u","context":{"groupId":"acme"},
        "originalTimestamp":"2026-11-22T00:02:00Z","sentAt":"2026-11-22T00:02:05Z","properties":{"count":3}}"#,
    r#"{"type":"page","messageId":"m","groupId":"acme","timestamp":"2026-11-22T00:02:00Z","properties":{"path":"/x"}}"#,
    r#"{"specversion":"1.0","id":"c","type":"com.acme.ReportExported","subject":"acme","time":"2026-11-22T01:02:03Z",
        "data":{"user_id":"u-17","count":2}}"#,
];

/// What every answer must keep, whatever was asked.
fn check_answer(payload: &[u8], headers: &[(&str, &[u8])], received_at: i64) {
    let decoder = Decoder::default();
    match decoder.decode(payload, headers, received_at, "usage.events") {
        Ok(event) => {
            assert!((1..=128).contains(&event.event_id.len()));
            assert!((1..=128).contains(&event.account_id.len()));
            assert!(
                event
                    .user_id
                    .as_ref()
                    .is_none_or(|user_id| (1..=128).contains(&user_id.len()))
            );
            assert!(event.name.len() <= 200);
            assert!(event.occurred_at <= received_at.saturating_add(DAY));
            assert!(event.occurred_at >= received_at.saturating_sub(400 * DAY));
            let properties = Properties::parse(&event.properties).unwrap();
            for name in properties.names() {
                let _ = (
                    properties.str(name),
                    properties.f64(name),
                    properties.timestamp_ms(name),
                );
            }
            let mut record = Vec::new();
            wire::encode(&event, &mut record);
            assert_eq!(wire::decode(&record), Ok(event));
        }
        Err(rejection) => {
            assert!(!rejection.detail.is_empty());
            assert!(rejection.detail.len() <= 400, "{rejection}");
        }
    }
}

#[test]
fn every_seed_is_sound_before_it_is_mutated() {
    for seed in SEEDS {
        let decoded = Decoder::default().decode(seed.as_bytes(), &[], RECEIVED_AT, "s");
        assert!(decoded.is_ok(), "{decoded:?}: {seed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_are_answered(payload in prop::collection::vec(any::<u8>(), 0..300), received_at in any::<i64>()) {
        check_answer(&payload, &[], received_at);
        check_answer(&payload, &[("ce_specversion", b"1.0"), ("ce_type", &payload), ("ce-time", &payload)], received_at);
        let _ = wire::decode(&payload);
    }

    #[test]
    fn arbitrary_json_like_text_is_answered(payload in r#"[\[\]{}":,\\u0-9a-fd+e.\- ntrl]{0,200}"#) {
        check_answer(payload.as_bytes(), &[], RECEIVED_AT);
        check_answer(format!("{{\"event_id\":{payload}}}").as_bytes(), &[], RECEIVED_AT);
        check_answer(payload.as_bytes(), &[("content-type", b"application/cloudevents+json")], RECEIVED_AT);
        let _ = Properties::parse(&payload);
    }

    #[test]
    fn mutated_events_are_answered(
        seed in prop::sample::select(SEEDS.to_vec()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..6),
        received_at in prop_oneof![4 => Just(RECEIVED_AT), 1 => any::<i64>()],
    ) {
        let mut payload = seed.as_bytes().to_vec();
        for (at, byte, edit) in edits {
            let at = at.index(payload.len());
            match edit {
                0 => payload[at] = byte,
                1 => payload.insert(at, byte),
                2 if payload.len() > 1 => { payload.remove(at); }
                _ => payload[at] = br#""{}[],:\0"#[usize::from(byte) % 9],
            }
        }
        check_answer(&payload, &[], received_at);
    }

    #[test]
    fn one_piece_of_an_event_put_in_anothers_place_is_answered(
        first in prop::sample::select(SEEDS.to_vec()),
        second in prop::sample::select(SEEDS.to_vec()),
        cut in any::<prop::sample::Index>(),
        take in any::<prop::sample::Index>(),
    ) {
        let (first, second) = (first.as_bytes(), second.as_bytes());
        let spliced = [&first[..cut.index(first.len())], &second[take.index(second.len())..]].concat();
        check_answer(&spliced, &[], RECEIVED_AT);
    }

    #[test]
    fn a_truncated_wire_record_never_becomes_another_event(cut in any::<prop::sample::Index>()) {
        let event = Decoder::default().decode(SEEDS[0].as_bytes(), &[], RECEIVED_AT, "s").unwrap();
        let mut record = Vec::new();
        wire::encode(&event, &mut record);
        let length = cut.index(record.len());
        prop_assert_ne!(wire::decode(&record[..length]), Ok(event));
    }

    #[test]
    fn an_event_survives_json_and_wire(
        event_id in "\\PC{1,30}",
        account_id in "\\PC{1,30}",
        user_id in prop::option::of("\\PC{1,30}"),
        name in "\\PC{1,40}",
        kind in prop::sample::select(vec![EventType::Login, EventType::Feature, EventType::Milestone, EventType::Error]),
        occurred_at in (RECEIVED_AT - 400 * DAY)..(RECEIVED_AT + DAY),
        as_text in any::<bool>(),
        values in prop::collection::btree_map("[a-z]{4}", "\\PC{0,20}", 0..5),
    ) {
        let time = if as_text {
            json!(jiff::Timestamp::from_millisecond(occurred_at).unwrap().to_string())
        } else {
            json!(occurred_at)
        };
        let properties = json!(values);
        let payload = json!({
            "event_id": event_id, "account_id": account_id, "user_id": user_id, "type": kind.as_str(),
            "name": name, "occurred_at": time, "properties": properties,
        });
        let decoded = Decoder::default().decode(payload.to_string().as_bytes(), &[], RECEIVED_AT, "s").unwrap();
        let expected = Event {
            event_id,
            account_id,
            user_id,
            event_type: kind,
            name,
            occurred_at,
            received_at: RECEIVED_AT,
            source: "s".into(),
            properties: properties.to_string(),
        };
        prop_assert_eq!(&decoded, &expected);

        let mut record = Vec::new();
        wire::encode(&decoded, &mut record);
        prop_assert_eq!(wire::decode(&record).unwrap(), expected);
    }
}

#[test]
fn a_decoder_for_large_events_still_bounds_nesting() {
    let decoder = Decoder::new(DecoderConfig {
        max_event_bytes: 64 << 20,
        ..DecoderConfig::default()
    })
    .unwrap();
    for open in [
        "[",
        "{\"a\":",
        "{\"properties\":",
        "{\"event_id\":[",
        "{\"context\":",
    ] {
        let bomb = open.repeat(1_000_000);
        let rejection = decoder
            .decode(bomb.as_bytes(), &[], RECEIVED_AT, "s")
            .unwrap_err();
        assert_eq!(rejection.reason, event::Reason::NotJson);
    }
}
