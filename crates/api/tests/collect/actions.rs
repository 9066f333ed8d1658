//! What people do about an alert over HTTP: it becomes an event, and is refused where it cannot be done.

use api::{ApiKey, Config, WriteKeyKind};
use event::EventType;
use serde_json::{Value, json};
use store::{AlertRow, EventRow};

use crate::support::{Bed, bed, bed_with, now_ms, quick, read};

fn alert(account: &str, episode: &str, change: &str) -> AlertRow {
    AlertRow {
        alert_id: format!("{episode}-{change}"),
        episode_id: episode.to_string(),
        account_id: account.to_string(),
        rule: "silence".to_string(),
        severity: "warning".to_string(),
        change: change.to_string(),
        at: now_ms(),
        reason: "Acme: nothing for 16 days".to_string(),
        reason_ja: "Acme：16日間利用なし".to_string(),
        payload: r#"{"account":{"name":"Acme"}}"#.to_string(),
        version: 1,
    }
}

/// An open alert, `e-1`, and one that is over, `e-2`.
async fn furnish(bed: &Bed) {
    let rows = [
        alert("acme", "e-1", "opened"),
        alert("beta", "e-2", "opened"),
        alert("beta", "e-2", "resolved"),
    ];
    bed.store.insert_alerts("alerts", &rows).await.unwrap();
}

async fn open(bed: &Bed) -> Value {
    let url = format!("{}/api/v1/alerts?state=open", bed.url);
    let (status, answer) = read(bed.client.get(url).send().await.unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    answer["alerts"].clone()
}

/// What aggregate does with the events on their way.
async fn land(bed: &Bed) {
    let rows: Vec<EventRow> = bed
        .accepted()
        .await
        .into_iter()
        .enumerate()
        .map(|(offset, event)| EventRow {
            event_id: event.event_id,
            account_id: event.account_id,
            user_id: event.user_id.unwrap_or_default(),
            r#type: event.event_type.as_str().to_string(),
            name: event.name,
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            source: event.source,
            properties: event.properties,
            kafka_partition: 0,
            kafka_offset: offset as i64,
        })
        .collect();
    bed.store
        .insert_events(&format!("land-{}", rows.len()), &rows)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_an_event_once_it_is_answered_and_stands_in_the_list_when_it_landed() {
    let bed = bed().await;
    furnish(&bed).await;
    assert_eq!(open(&bed).await[0]["state"], "open");
    let mut expected = Vec::new();
    for (path, name, body) in [
        (
            "e-1-opened/acknowledge",
            "acknowledged",
            json!({"by": "佐藤", "playbook": "call"}),
        ),
        ("e-1/note", "noted", json!({"by": "佐藤", "note": "<b>moved</b>"})),
        ("e-1/snooze", "snoozed", json!({"by": "Mori", "hours": 24})),
    ] {
        let (status, answer) = bed.post_json(&format!("/api/v1/alerts/{path}"), &body).await;
        assert_eq!(status, 202, "{path}: {answer}");
        assert_eq!(
            (&answer["episode_id"], &answer["account_id"]),
            (&json!("e-1"), &json!("acme"))
        );
        let accepted = bed.accepted().await;
        let event = accepted
            .iter()
            .find(|event| answer["event_id"] == event.event_id.as_str());
        let event = event.unwrap_or_else(|| panic!("{path}: no event of {answer}"));
        assert_eq!((event.event_type, event.name.as_str()), (EventType::Action, name));
        let properties: Value = serde_json::from_str(&event.properties).unwrap();
        assert_eq!(properties["by"], body["by"]);
        assert_eq!(
            (&properties["episode_id"], &properties["rule"]),
            (&json!("e-1"), &json!("silence"))
        );
        expected.push((event.event_id.clone(), properties));
    }
    assert_eq!(bed.accepted().await.len(), 3);
    assert_eq!(expected[0].1["alert_id"], "e-1-opened");

    land(&bed).await;
    let listed = open(&bed).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let alert = &listed[0];
    assert_eq!(
        (&alert["state"], &alert["reason"]["ja"]),
        (&json!("snoozed"), &json!("Acme：16日間利用なし"))
    );
    assert_eq!(
        (&alert["acknowledged_by"], &alert["playbook"]),
        (&json!("佐藤"), &json!("call"))
    );
    assert_eq!(
        (&alert["note"]["text"], &alert["note"]["by"]),
        (&json!("<b>moved</b>"), &json!("佐藤"))
    );
    assert_eq!(alert["snoozed_until"], expected[2].1["until"]);

    let (status, answer) = bed
        .post_json("/api/v1/alerts/e-1/resolve", &json!({"by": "Mori"}))
        .await;
    assert_eq!(status, 202, "{answer}");
    land(&bed).await;
    assert_eq!(open(&bed).await[0]["state"], "resolving");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_and_nothing_is_sent() {
    let bed = bed().await;
    furnish(&bed).await;
    let sato = json!({"by": "Sato"});
    for (path, body, status) in [
        ("e-9/acknowledge", &sato, 404),
        ("e-2/acknowledge", &sato, 409),
        ("e-2-opened/resolve", &sato, 409),
        ("e-1/snooze", &sato, 400),
        ("e-1/note", &sato, 400),
        ("e-1/acknowledge", &json!({}), 400),
        ("e-1/dance", &sato, 404),
    ] {
        let (found, problem) = bed.post_json(&format!("/api/v1/alerts/{path}"), body).await;
        assert_eq!(found, status, "{path}: {problem}");
        assert!(problem["detail"].is_string(), "{problem}");
    }
    let send = |content_type: &'static str, origin: Option<&'static str>| {
        let mut request = bed
            .post("/api/v1/alerts/e-1/acknowledge")
            .header("content-type", content_type);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.body(sato.to_string());
        async move { request.send().await.unwrap().status().as_u16() }
    };
    // What a form of a foreign page can send, and what a script of it can.
    assert_eq!(send("text/plain", None).await, 415);
    assert_eq!(send("application/json", Some("https://evil.example")).await, 403);
    assert_eq!(send("application/json", Some("null")).await, 403);
    assert_eq!(bed.accepted().await, []);
    assert_eq!(
        send("application/json; charset=utf-8", Some("http://localhost:3000")).await,
        202
    );
    assert_eq!(bed.accepted().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_the_api_key_and_not_the_collector() {
    let api = Config {
        api_keys: vec![ApiKey::new("secret-of-the-team")],
        ..Config::default()
    };
    let bed = bed_with(quick(), api).await;
    furnish(&bed).await;
    let key = bed.make_key("web", WriteKeyKind::Server, 0, 0).await;
    let act = |bearer: &str| {
        bed.post("/api/v1/alerts/e-1/acknowledge")
            .header("content-type", "application/json")
            .bearer_auth(bearer)
            .body(json!({"by": "Sato"}).to_string())
            .send()
    };
    assert_eq!(act(&key.key).await.unwrap().status(), 401);
    assert_eq!(act("secret-of-the-team").await.unwrap().status(), 202);

    let mut off = quick();
    off.enabled = false;
    let bed = bed_with(off, Config::default()).await;
    furnish(&bed).await;
    stream::ensure_topics(&bed.kafka(), &stream::topics::all(4))
        .await
        .unwrap();
    let (status, answer) = bed
        .post_json("/api/v1/alerts/e-1/acknowledge", &json!({"by": "Sato"}))
        .await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(bed.accepted().await.len(), 1);
}
