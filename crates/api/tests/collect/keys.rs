//! Who may write, how much, and from where.

use api::{ApiKey, Config, WriteKeyKind};
use serde_json::{Value, json};

use crate::support::{Bed, bed, bed_with, eventually, login, now_ms, quick, read, track};

/// Status and answer of one event with this Authorization.
async fn with(bed: &Bed, authorization: &str) -> (u16, Value) {
    let request = bed.post("/v1/events").header("authorization", authorization);
    read(request.body(login(1).to_string()).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_taken_from_wherever_sdks_put_it_and_names_the_source() {
    let bed = bed().await;
    let made = bed.make_key("backend", WriteKeyKind::Server, 0, 0).await;
    let key = &made.key;
    let request = bed
        .post("/v1/track")
        .basic_auth(key, Some(""))
        .body(track(1).to_string());
    assert_eq!(read(request.send().await.unwrap()).await.0, 200);
    assert_eq!(with(&bed, &format!("bearer {key}")).await.0, 200);
    let mut single = track(2);
    single["writeKey"] = json!(key);
    assert_eq!(bed.post_json("/v1/track", &single).await.0, 200);
    assert_eq!(bed.post_json("/v1/events", &single).await.0, 200);
    let batch = json!({"batch": [track(3)], "writeKey": key});
    assert_eq!(bed.post_json("/v1/batch", &batch).await.0, 200);
    let accepted = bed.accepted().await;
    assert_eq!(accepted.len(), 5);
    assert!(accepted.iter().all(|event| event.source == "backend"));
    assert_eq!(bed.metric("mimamori_collector_events_total", "backend"), 5.0);

    single["writeKey"] = json!("wrong");
    let (status, problem) = bed.post_json("/v1/track", &single).await;
    assert_eq!(
        (status, &problem["type"]),
        (401, &json!("urn:mimamori:problem:write-key-wanted"))
    );
    for wrong in ["Bearer", "Bearer x", "Basic !", "Basic Og==", "Digest x"] {
        assert_eq!(with(&bed, wrong).await.0, 401, "{wrong}");
    }
    assert_eq!(
        bed.post_json("/v1/batch", &json!({"batch": [track(4)]})).await.0,
        401
    );
    let lines = bed
        .post("/v1/events")
        .header("content-type", "application/x-ndjson");
    assert_eq!(
        read(lines.body(login(1).to_string()).send().await.unwrap())
            .await
            .0,
        401
    );
    assert_eq!(bed.accepted().await.len(), 5);
    assert!(bed.rejected().await.is_empty(), "of a stranger nothing is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_and_does_not_open_the_door_again() {
    let bed = bed().await;
    assert_eq!(
        bed.post_json("/v1/events", &login(1)).await.0,
        200,
        "open on loopback without any key"
    );
    let mut made = bed.make_key("backend", WriteKeyKind::Server, 0, 0).await;
    assert_eq!(bed.post_json("/v1/events", &login(1)).await.0, 401);
    made.row.revoked_at = Some(made.row.created_at + 1);
    made.row.version += 1;
    bed.store.save_write_key(&made.row).await.unwrap();
    let authorization = format!("Bearer {}", made.key);
    eventually("the key's end", async || {
        with(&bed, &authorization).await.0 == 401
    })
    .await;
    assert_eq!(bed.post_json("/v1/events", &login(1)).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_api_keys_nothing_is_open_and_neither_kind_of_key_opens_the_others_door() {
    let api = Config {
        api_keys: vec![ApiKey::new("api-key")],
        ..Config::default()
    };
    let bed = bed_with(quick(), api).await;
    assert_eq!(bed.post_json("/v1/events", &login(1)).await.0, 401);
    assert_eq!(with(&bed, "Bearer api-key").await.0, 401);
    let made = bed.make_key("backend", WriteKeyKind::Server, 0, 0).await;
    assert_eq!(with(&bed, &format!("Bearer {}", made.key)).await.0, 200);
    let asked = bed.client.get(format!("{}/api/v1/accounts", bed.url));
    let (status, _) = read(asked.bearer_auth(&made.key).send().await.unwrap()).await;
    assert_eq!(status, 401, "a write key only writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_rate_and_over_the_quota_clients_are_told_when_to_come_again() {
    let bed = bed().await;
    let slow = bed.make_key("slow", WriteKeyKind::Server, 2, 0).await;
    let events = json!((0..40).map(login).collect::<Vec<_>>());
    let send = |key: &str, body: &Value| {
        bed.post("/v1/events")
            .bearer_auth(key)
            .body(body.to_string())
            .send()
    };
    assert_eq!(
        send(&slow.key, &events).await.unwrap().status(),
        200,
        "a batch goes through whole"
    );
    let refused = send(&slow.key, &json!([login(99)])).await.unwrap();
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((10..=20).contains(&wait), "{wait} s for 38 events at 2 a second");

    let few = bed.make_key("few", WriteKeyKind::Server, 0, 50).await;
    assert_eq!(send(&few.key, &events).await.unwrap().status(), 200);
    let refused = send(&few.key, &events).await.unwrap();
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=86_400).contains(&wait));
    assert_eq!(read(refused).await.1["type"], "urn:mimamori:problem:quota");
    assert_eq!(bed.accepted().await.len(), 80);
    assert_eq!(bed.metric("mimamori_collector_refused_total", "quota"), 1.0);

    // What landed today before the key was known here is used up, too.
    let landed = (0..30).map(|number| store::EventRow {
        event_id: format!("landed-{number}"),
        account_id: "acme".to_owned(),
        user_id: String::new(),
        r#type: "login".to_owned(),
        name: String::new(),
        occurred_at: now_ms(),
        received_at: now_ms(),
        source: "restarted".to_owned(),
        properties: String::new(),
        kafka_partition: 0,
        kafka_offset: number,
    });
    let landed: Vec<_> = landed.collect();
    bed.store.insert_events("landed", &landed).await.unwrap();
    let restarted = bed.make_key("restarted", WriteKeyKind::Server, 0, 50).await;
    assert_eq!(
        send(&restarted.key, &events).await.unwrap().status(),
        429,
        "40 and 30 of 50"
    );

    // A stream goes as far as it may, and says how far that was.
    let lines: String = (100..120).map(|id| format!("{}\n", login(id))).collect();
    let request = bed
        .post("/v1/events")
        .bearer_auth(&few.key)
        .header("content-type", "application/x-ndjson");
    let (status, problem) = read(request.body(lines).send().await.unwrap()).await;
    assert_eq!(status, 429);
    let (accepted, until) = (
        problem["accepted"].as_u64().unwrap(),
        problem["acknowledged_until"].as_u64(),
    );
    assert_eq!(until, Some(accepted));
    assert_eq!(bed.accepted().await.len() as u64, 80 + accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_are_answered_as_browsers_ask() {
    let bed = bed().await;
    let ask = |origin: &str, headers: &str| {
        bed.client
            .request(reqwest::Method::OPTIONS, format!("{}/v1/batch", bed.url))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", headers)
    };
    let preflight = ask("https://app.example", "authorization,content-type")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    let headers = preflight.headers();
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert_eq!(
        headers["access-control-allow-headers"],
        "authorization,content-type"
    );
    assert!(
        headers["access-control-allow-methods"]
            .to_str()
            .unwrap()
            .contains("POST")
    );

    let from = |origin: &str, key: Option<&str>| {
        let request = bed
            .post("/v1/events")
            .header("origin", origin)
            .body(login(1).to_string());
        match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    };
    let foreign = from("https://evil.example", None).send().await.unwrap();
    assert_eq!(foreign.status(), 403, "any page can reach its reader's loopback");
    assert_eq!(
        foreign.headers()["access-control-allow-origin"],
        "*",
        "the page may read why"
    );
    assert_eq!(
        from("http://localhost:3000", None).send().await.unwrap().status(),
        200
    );

    let server = bed.make_key("backend", WriteKeyKind::Server, 0, 0).await;
    let browser = bed.make_key("web", WriteKeyKind::Browser, 0, 0).await;
    let page = "https://app.example";
    assert_eq!(from(page, Some(&server.key)).send().await.unwrap().status(), 403);
    let taken = from(page, Some(&browser.key)).send().await.unwrap();
    assert_eq!(taken.status(), 200);
    assert_eq!(taken.headers()["access-control-allow-origin"], "*");
    let other = bed
        .client
        .get(format!("{}/api/v1/accounts", bed.url))
        .header("origin", page);
    let other = other.send().await.unwrap();
    assert!(
        other.headers().get("access-control-allow-origin").is_none(),
        "only /v1/ is for other pages"
    );
}
