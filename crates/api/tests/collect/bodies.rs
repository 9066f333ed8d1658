//! What a body may be, and what is answered to each.

use std::io::Write;

use event::EventType;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{bed, login, now_ms, read, track};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_segment_call_is_taken_at_its_route() {
    let bed = bed().await;
    for (call, event_type) in [
        ("track", EventType::Feature),
        ("identify", EventType::User),
        ("group", EventType::Account),
        ("page", EventType::Feature),
        ("screen", EventType::Feature),
        ("alias", EventType::User),
    ] {
        // The browser SDK says the first letter alone.
        for path in [call, &call[..1]] {
            let message = json!({"messageId": path, "userId": "u", "event": "Report Exported", "name": "Home",
                "groupId": "acme", "previousId": "v", "traits": {}, "timestamp": now_ms()});
            let (status, answer) = bed.post_json(&format!("/v1/{path}"), &message).await;
            assert_eq!((status, &answer["success"]), (200, &json!(true)), "{answer}");
            let accepted = bed.accepted().await;
            let event = accepted.iter().find(|event| event.event_id == path).unwrap();
            assert_eq!((event.event_type, event.source.as_str()), (event_type, "http"));
        }
    }
    let (status, answer) = bed.post_json("/v1/b", &json!({"batch": [track(1)]})).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
    assert_eq!(bed.metric("mimamori_collector_events_total", "accepted"), 13.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_hands_on_what_its_messages_do_not_say_and_the_clocks_difference_is_taken_out() {
    let bed = bed().await;
    // A client whose clock is a day slow sends what happened a minute before.
    let sent_at = now_ms() - 86_400_000;
    let batch = json!({"sentAt": sent_at, "context": {"groupId": "beta"}, "batch": [
        {"type": "track", "messageId": "a", "event": "x", "timestamp": sent_at - 60_000},
        {"type": "track", "messageId": "b", "event": "x", "timestamp": sent_at - 60_000,
         "context": {"groupId": "own", "ip": "::1"}},
    ]});
    let before = now_ms();
    let (status, answer) = bed.post_json("/v1/batch", &batch).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(2)), "{answer}");
    let mut accepted = bed.accepted().await;
    accepted.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    let accounts: Vec<&str> = accepted.iter().map(|event| event.account_id.as_str()).collect();
    assert_eq!(accounts, ["beta", "own"]);
    for event in &accepted {
        let occurred = event.occurred_at - (before - 60_000);
        assert!((0..10_000).contains(&occurred), "{occurred} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_partly_bad_batch_the_good_is_kept_and_the_bad_told_with_its_place() {
    let bed = bed().await;
    let batch = json!({"batch": [track(1), {"type": "track", "messageId": "m2"}, 7, track(3)]});
    let (status, answer) = bed.post_json("/v1/batch", &batch).await;
    assert_eq!(status, 200, "SDKs must not send the good ones again");
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(2)));
    assert_eq!(answer["success"], false);
    let told: Vec<(&Value, &Value)> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (&error["index"], &error["reason"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!(1), &json!("missing_field")),
            (&json!(2), &json!("unknown_format"))
        ]
    );
    assert!(
        answer["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .starts_with("event"),
        "{answer}"
    );
    assert_eq!(
        bed.accepted_ids().await.into_keys().collect::<Vec<_>>(),
        ["m1", "m3"]
    );
    let mut rejected = bed.rejected().await;
    rejected.sort();
    assert_eq!(rejected[0].0, "7");
    assert_eq!(rejected[1].0, batch["batch"][1].to_string());
    let headers = &rejected[1].1;
    assert_eq!(headers["reason"], "missing_field");
    assert_eq!(
        (headers["source"].as_str(), headers["original.source"].as_str()),
        ("http", "http")
    );
    assert!(headers["detail"].starts_with("event"));
    assert_eq!(
        bed.metric("mimamori_collector_rejected_total", "missing_field"),
        1.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bad_as_a_whole_is_answered_400_and_kept() {
    let bed = bed().await;
    let cases: [(&str, &[u8], &str); 12] = [
        ("/v1/events", b"", "not_json"),
        ("/v1/events", b"{", "not_json"),
        ("/v1/events", b"[{]", "not_json"),
        ("/v1/events", b"\xff", "not_utf8"),
        ("/v1/events", b"3", "unknown_format"),
        ("/v1/events", b"[3]", "unknown_format"),
        ("/v1/track", b"[]", "unknown_format"),
        ("/v1/track", b"{}", "missing_field"),
        ("/v1/batch", b"{}", "missing_field"),
        ("/v1/batch", b"{\"batch\":{}}", "invalid_type"),
        ("/v1/batch", b"nonsense", "not_json"),
        ("/v1/import", b"\xff\xfe", "not_utf8"),
    ];
    for (count, (path, body, reason)) in cases.iter().enumerate() {
        let request = bed.post(path).body(body.to_vec());
        let (status, problem) = read(request.send().await.unwrap()).await;
        let told = String::from_utf8_lossy(body);
        assert_eq!(status, 400, "{path} {told}");
        assert_eq!(
            problem["type"], "urn:mimamori:problem:events-rejected",
            "{path} {told}"
        );
        assert_eq!(
            problem["errors"][0]["reason"], *reason,
            "{path} {told}: {problem}"
        );
        assert_eq!(bed.rejected().await.len(), count + 1, "{path} {told} is kept");
    }
    assert!(bed.accepted().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_key_in_a_rejected_message_is_not_kept() {
    let bed = bed().await;
    let (status, _) = bed
        .post_json("/v1/track", &json!({"writeKey": "s3cret", "messageId": "m"}))
        .await;
    assert_eq!(status, 400);
    let rejected = bed.rejected().await;
    assert_eq!(
        rejected[0].0,
        r#"{"type":"track","messageId":"m","writeKey":null}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_bodies_are_unpacked_and_bombs_do_not_go_off() {
    let bed = bed().await;
    let batch = json!({"batch": [track(1), track(2)]}).to_string();
    let packed = [
        ("gzip", gzip(batch.as_bytes())),
        ("zstd", zstd::encode_all(batch.as_bytes(), 3).unwrap()),
    ];
    for (encoding, body) in packed {
        let request = bed
            .post("/v1/batch")
            .header("content-encoding", encoding)
            .body(body);
        let (status, answer) = read(request.send().await.unwrap()).await;
        assert_eq!(
            (status, &answer["accepted"]),
            (200, &json!(2)),
            "{encoding}: {answer}"
        );
    }
    let bomb = format!("{{\"batch\":[{}]}}", " ".repeat(50 << 20));
    let bombs = [
        ("gzip", gzip(bomb.as_bytes())),
        ("zstd", zstd::encode_all(bomb.as_bytes(), 3).unwrap()),
    ];
    for (encoding, body) in bombs {
        assert!(body.len() < 100_000);
        let request = bed
            .post("/v1/batch")
            .header("content-encoding", encoding)
            .body(body);
        let (status, problem) = read(request.send().await.unwrap()).await;
        assert_eq!(status, 413, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains("512000"),
            "{problem}"
        );
    }
    for (encoding, status) in [("br", 415), ("gzip", 400), ("zstd", 400)] {
        let request = bed
            .post("/v1/batch")
            .header("content-encoding", encoding)
            .body("plain");
        assert_eq!(read(request.send().await.unwrap()).await.0, status, "{encoding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_over_32_kib_is_rejected_and_a_body_over_500_kb_not_read() {
    let bed = bed().await;
    let mut large = login(1);
    large["properties"] = json!({"x": "a".repeat(32 * 1024)});
    let (status, answer) = bed.post_json("/v1/events", &json!([large, login(2)])).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)));
    assert_eq!(answer["errors"][0]["reason"], "event_too_large");
    let many: Vec<Value> = (0..8_000).map(login).collect();
    let (status, _) = bed.post_json("/v1/events", &json!(many)).await;
    assert_eq!(status, 413);
    assert_eq!(bed.accepted().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudevents_come_structured_batched_and_binary() {
    let bed = bed().await;
    let time = "2026-11-22T00:00:00Z";
    let cloudevent = |id: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/app", "type": "login", "subject": "acme",
            "time": time, "data": {"user_id": "u"}})
    };
    let sent = [
        (
            "application/cloudevents+json; charset=utf-8",
            cloudevent("structured"),
        ),
        (
            "application/cloudevents-batch+json",
            json!([cloudevent("b1"), cloudevent("b2"), {"id": "b3"}]),
        ),
    ];
    for (content_type, body) in sent {
        let request = bed.post("/v1/events").header("content-type", content_type);
        let (status, answer) = read(request.body(body.to_string()).send().await.unwrap()).await;
        assert_eq!(status, 200, "{content_type}: {answer}");
    }
    let binary = |id: &str| {
        bed.post("/v1/events")
            .header("content-type", "application/json")
            .header("ce-specversion", "1.0")
            .header("ce-id", id)
            .header("ce-type", "com.acme.report.exported")
            .header("ce-source", "/app")
            .header("ce-subject", "%E8%A6%8B%E5%AE%88%E3%82%8A")
            .header("ce-time", time)
    };
    let (status, _) = read(binary("bin").body("{}").send().await.unwrap()).await;
    assert_eq!(status, 200);
    let ids = bed.accepted_ids().await;
    assert_eq!(
        ids.into_keys().collect::<Vec<_>>(),
        ["b1", "b2", "bin", "structured"]
    );
    let accepted = bed.accepted().await;
    let binary_one = accepted.iter().find(|event| event.event_id == "bin").unwrap();
    assert_eq!(binary_one.account_id, "見守り");

    let (status, _) = read(binary("bad").body("not json").send().await.unwrap()).await;
    assert_eq!(status, 400);
    let rejected = bed.rejected().await;
    let bad = rejected.iter().find(|(body, _)| body == "not json").unwrap();
    assert_eq!(bad.1["original.ce-id"], "bad", "it can be replayed as it was");
    assert_eq!(bad.1["original.content-type"], "application/json");
}
