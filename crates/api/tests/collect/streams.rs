//! Lines without end, read only as fast as the broker takes them.

use std::fmt::Write;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{bed, bed_with, eventually, login, quick, read};

const NDJSON: &str = "application/x-ndjson";

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_far_longer_than_a_batch_comes_through_within_its_bounds() {
    let config = api::CollectorConfig {
        max_request_in_flight: 500,
        max_in_flight_bytes: 2 << 20,
        max_batch_bytes: 100_000,
        max_import_bytes: 100_000,
        ..quick()
    };
    let bed = bed_with(config, api::Config::default()).await;
    let mut text = String::new();
    for id in 0..40_000 {
        writeln!(text, "{}", login(id)).unwrap();
    }
    assert!(text.len() > 3 << 20, "more than may be held at once");
    let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
    for (encoding, body) in [("identity", text.into_bytes()), ("zstd", packed)] {
        let request = bed
            .post("/v1/events")
            .header("content-type", NDJSON)
            .header("content-encoding", encoding);
        let (status, answer) = read(request.body(body).send().await.unwrap()).await;
        assert_eq!((status, &answer["accepted"]), (200, &json!(40_000)), "{answer}");
    }
    let ids = bed.accepted_ids().await;
    assert_eq!(ids.len(), 40_000);
    assert!(ids.values().all(|times| *times == 2), "as often as sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_told_by_its_number_and_one_without_end_is_not_held() {
    let bed = bed().await;
    let long = format!("{{\"x\":\"{}\"}}", "a".repeat(3 << 20));
    let text = format!("{}\n\nnonsense\r\n{long}\n{}", login(1), login(2));
    let request = bed.post("/v1/events").header("content-type", NDJSON);
    let (status, answer) = read(request.body(text).send().await.unwrap()).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(2)), "{answer}");
    let told: Vec<String> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| format!("{} {}", error["index"], error["reason"]))
        .collect();
    assert_eq!(told, ["2 \"not_json\"", "3 \"event_too_large\""]);
    let rejected = bed.rejected().await;
    let cut = rejected
        .iter()
        .find(|(_, headers)| headers["reason"] == "event_too_large")
        .unwrap();
    assert_eq!(cut.1["original_bytes"], long.len().to_string());
    assert_eq!(cut.0, long[..32 * 1024], "its beginning is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lists_only_so_many_errors_and_counts_the_rest() {
    let bed = bed().await;
    let text = "x\n".repeat(250);
    let request = bed.post("/v1/import").header("content-type", NDJSON);
    let (status, problem) = read(request.body(text).send().await.unwrap()).await;
    assert_eq!(status, 400);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 100);
    assert_eq!(
        (&problem["rejected"], &problem["errors_left_out"]),
        (&json!(250), &json!(150))
    );
    assert_eq!(bed.rejected().await.len(), 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pauses_holds_no_place_of_what_is_acknowledged() {
    let config = api::CollectorConfig {
        max_in_flight_records: 3,
        ..quick()
    };
    let bed = bed_with(config, api::Config::default()).await;
    let mut stream = TcpStream::connect(bed.url.trim_start_matches("http://"))
        .await
        .unwrap();
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
         connection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let lines = format!("{}\n{}\n{}\n", login(1), login(2), login(3));
    let chunk = format!("{head}{:x}\r\n{lines}\r\n", lines.len());
    stream.write_all(chunk.as_bytes()).await.unwrap();
    // The stream is open, and holds all the places there are until they are acknowledged.
    eventually("acknowledgements", async || {
        bed.metric("mimamori_collector_events_total", "accepted") >= 3.0
    })
    .await;
    let (status, answer) = bed
        .post_json("/v1/events", &json!([login(4), login(5), login(6)]))
        .await;
    assert_eq!(status, 200, "others find room: {answer}");
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"accepted\":3"), "{answer}");
}
