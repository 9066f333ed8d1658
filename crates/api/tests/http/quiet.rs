//! What was not delivered, and the word that it waits for.

use serde_json::{Value, json};
use store::{DeliveryRow, HoldRow, Store};

use crate::data::{MARCH, clickhouse_drop};
use crate::engine;
use crate::support::{Running, body, local, nowhere, problem_of, serve, store_at};

fn row(alert_id: &str, status: &str, error: &str) -> DeliveryRow {
    let account = alert_id.trim_start_matches("al-");
    DeliveryRow {
        alert_id: alert_id.to_string(),
        destination: "cs-team".to_string(),
        attempt: if status == "held" { 0 } else { 3 },
        status: status.to_string(),
        http_status: Some(500),
        at: MARCH,
        duration_ms: 7,
        error: error.to_string(),
        next_attempt_at: None,
        body: json!({"data": {"account_id": account, "rule": "inactive", "change": "opened"}}).to_string(),
        episode_id: format!("ep-{account}"),
        variant: String::new(),
        reference: String::new(),
        version: 1,
    }
}

fn hold(name: &str) -> HoldRow {
    HoldRow {
        hold_id: format!("hd-{name}"),
        name: name.to_string(),
        status: "tripped".to_string(),
        since: MARCH,
        at: MARCH,
        accounts: 41,
        accounts_total: 200,
        destinations: vec!["cs-team".to_string()],
        summary: json!({"type": "alerts.held"}).to_string(),
        version: 1,
    }
}

async fn server(database: &str) -> (Running, Store) {
    let url = engine::url();
    clickhouse_drop(&url, database).await;
    let store = store_at(&url, database);
    store.migrate().await.unwrap();
    (serve(local(), store.clone()).await, store)
}

async fn post(server: &Running, path: &str, wish: Value) -> reqwest::Response {
    let request = server.post(path).header("content-type", "application/json");
    request.body(wish.to_string()).send().await.unwrap()
}

#[tokio::test]
async fn a_dead_letter_is_found_and_replayed() {
    let (server, store) = server("api_test_dead").await;
    let mut delivered = row("al-beta", "delivered", "");
    delivered.body.clear();
    let rows = [
        row("al-acme", "failed", "answered 500; given up after 3 attempts"),
        delivered,
    ];
    store.insert_deliveries("d", &rows).await.unwrap();
    let found = server.json("/api/v1/alerts/dead?account_id=acme&limit=5").await;
    assert_eq!(
        found,
        json!({
            "dead_letters": [{
                "alert_id": "al-acme", "destination": "cs-team", "attempts": 3, "http_status": 500,
                "at": "2026-03-01T00:00:00.000Z", "error": "answered 500; given up after 3 attempts",
                "episode_id": "ep-acme", "account_id": "acme", "rule": "inactive", "change": "opened",
                "replayable": true,
            }],
            "total": 1,
        })
    );
    let wish = json!({"alert_ids": ["al-acme", "al-beta", "al-gamma"]});
    let answer = body(post(&server, "/api/v1/alerts/dead/replay", wish.clone()).await).await;
    let outcome =
        |alert: &str, outcome: &str| json!({"alert_id": alert, "destination": "cs-team", "outcome": outcome});
    assert_eq!(
        answer,
        json!({
            "deliveries": [outcome("al-acme", "replayed"), outcome("al-beta", "delivered")],
            "unknown": ["al-gamma"], "replayed": 1,
        })
    );
    let again = body(post(&server, "/api/v1/alerts/dead/replay", wish).await).await;
    assert_eq!(again["deliveries"][0], outcome("al-acme", "waiting"));
    assert_eq!(server.json("/api/v1/alerts/dead").await["total"], 0);
    store
        .insert_deliveries("d2", &[row("al-delta", "failed", "gone")])
        .await
        .unwrap();
    let wish = json!({"all": true, "destination": "cs-team", "since": "2026-03-01T00:00:00Z"});
    let answer = body(post(&server, "/api/v1/alerts/dead/replay", wish).await).await;
    assert_eq!(answer["replayed"], 1);
}

#[tokio::test]
async fn what_is_held_is_listed_and_ends_by_a_word() {
    let (server, store) = server("api_test_held").await;
    for name in ["rule:inactive", "cause:nps", "rule:nps"] {
        store.save_hold(&hold(name)).await.unwrap();
    }
    let reason = hold("rule:inactive").reason();
    let rows = [row("al-acme", "held", &reason), row("al-beta", "held", &reason)];
    store.insert_deliveries("d", &rows).await.unwrap();
    let found = server.json("/api/v1/alerts/held").await;
    let of = |found: &Value, name: &str| {
        let holds = found["holds"].as_array().unwrap();
        holds.iter().find(|hold| hold["name"] == name).cloned()
    };
    let inactive = of(&found, "rule:inactive").unwrap();
    assert_eq!(
        (&inactive["alerts"], &inactive["status"]),
        (&json!(2), &json!("tripped"))
    );
    assert_eq!(inactive["summary"]["type"], "alerts.held");

    let released = body(post(&server, "/api/v1/alerts/held/inactive/release", json!({})).await).await;
    assert_eq!(
        (&released["holds"][0]["status"], &released["holds"][0]["alerts"]),
        (&json!("released"), &json!(2))
    );
    let dropped = body(post(&server, "/api/v1/alerts/held/cause:nps/drop", json!({})).await).await;
    assert_eq!(dropped["holds"][0]["status"], "dropped");
    let found = server.json("/api/v1/alerts/held").await;
    assert_eq!(
        of(&found, "rule:inactive").unwrap()["status"],
        "released",
        "its alerts still wait"
    );
    assert_eq!(of(&found, "cause:nps"), None);

    let again = post(&server, "/api/v1/alerts/held/inactive/release", json!({})).await;
    let problem = problem_of(again, 404).await;
    assert!(
        problem["detail"].as_str().unwrap().contains("rule:nps"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_wish_that_a_foreign_page_could_send_or_that_is_unclear_is_refused() {
    let server = serve(local(), nowhere()).await;
    for path in [
        "/api/v1/alerts/dead/replay",
        "/api/v1/alerts/held/x/release",
        "/api/v1/alerts/held/x/drop",
    ] {
        let plain = server.post(path).header("content-type", "text/plain").body("{}");
        problem_of(plain.send().await.unwrap(), 415).await;
        problem_of(server.post(path).send().await.unwrap(), 415).await;
        problem_of(post(&server, path, json!({"surprise": 1})).await, 400).await;
    }
    for unclear in [
        json!({}),
        json!({"all": true, "alert_ids": ["a"]}),
        json!({"alert_ids": ["a"], "rule": "x"}),
        json!({"all": true, "since": "noon"}),
        json!({"alert_ids": vec!["a"; 1_001]}),
    ] {
        problem_of(post(&server, "/api/v1/alerts/dead/replay", unclear).await, 400).await;
    }
}
