//! What the API proves: the receipt of an evaluation, and the scores as they were known.

use api::Readiness;
use serde_json::{Map, Value, json};
use store::{Driver, EventRow, MetricsRow, ScoresRow, Store};
use tokio::sync::OnceCell;
use verify::Definition;

use crate::data::{MARCH, clickhouse_drop};
use crate::engine;
use crate::support::{Running, definition, local, serve, serve_by, store_at};

const DATABASE: &str = "api_test_receipts";
const DAY: i64 = 86_400_000;

/// When the newest evaluation was made; a day after the first.
const EVALUATED: &str = "2026-03-01T00:00:00Z";

/// Two accounts of the same life: what is stored of `honest` is what its events say, and of `wrong` a
/// number and a score are not.
///
/// By March 1st they logged in twice and used a feature four times; one of the logins was received two
/// days after it had happened, on March 1st, 12:00.
pub async fn proven() -> (Running, Store) {
    static FILLED: OnceCell<()> = OnceCell::const_new();
    let url = engine::url();
    let store = store_at(&url, DATABASE);
    FILLED
        .get_or_init(|| async {
            clickhouse_drop(&url, DATABASE).await;
            store.migrate().await.unwrap();
            let server = serve(local(), store.clone()).await;
            for account in ["honest", "wrong"] {
                store.insert_events(account, &life(account)).await.unwrap();
                for at in ["2026-02-28T00:00:00Z", EVALUATED] {
                    evaluate(&server, &store, account, at).await;
                }
            }
        })
        .await;
    (serve(local(), store.clone()).await, store)
}

fn life(account: &str) -> Vec<EventRow> {
    let event = |place: i64, at: i64, received_at: i64, kind: &str, name: &str, properties: &str| EventRow {
        event_id: format!("{account}-{place}"),
        account_id: account.to_string(),
        user_id: if kind == "account" { "" } else { "u-1" }.to_string(),
        r#type: kind.to_string(),
        name: name.to_string(),
        occurred_at: at,
        received_at,
        source: "test".to_string(),
        properties: properties.to_string(),
        kafka_partition: 0,
        kafka_offset: place,
    };
    let promptly = |place, at, kind, name, properties| event(place, at, at, kind, name, properties);
    vec![
        promptly(0, MARCH - 100 * DAY, "account", "", r#"{"seats":10}"#),
        promptly(1, MARCH - 20 * DAY, "login", "", ""),
        promptly(2, MARCH - 10 * DAY, "feature", "report", r#"{"count":4}"#),
        event(3, MARCH - 36 * 3_600_000, MARCH + DAY / 2, "login", "", ""),
    ]
}

/// Stores what the events of an account say at an instant.
async fn evaluate(server: &Running, store: &Store, account: &str, at: &str) {
    let known = server
        .json(&format!(
            "/api/v1/accounts/{account}/scores?at={at}&known_at=2026-03-09T00:00:00Z"
        ))
        .await;
    let row = ran(store, &known["sql"]).await;
    let mut metrics: MetricsRow = of_row(serde_json::to_value(MetricsRow::default()).unwrap(), &row);
    let scores = json!({"account_id": "", "evaluated_at": 0, "version": 0, "watermark": 0, "cut_offset": 0,
        "is_daily": false, "health": null, "ttv": null, "activity": null, "adoption": null, "sentiment": null,
        "support": null, "churn_risk": null, "expansion": null, "confidence": 0.0, "band": "", "stage": "",
        "tier": "", "drivers": [], "model_hash": "abc"});
    let mut scores: ScoresRow = of_row(scores, &row);
    let drivers = row["drivers"].as_array().unwrap().iter().map(|one| -> Driver {
        let parts = ["score", "input", "value", "baseline", "points"].map(|part| one[part].clone());
        serde_json::from_value(Value::from(parts.to_vec())).unwrap()
    });
    scores.drivers = drivers.collect();
    metrics.cut_offset = 41;
    scores.cut_offset = 41;
    metrics.watermark = metrics.evaluated_at;
    scores.watermark = metrics.evaluated_at;
    if account == "wrong" && at == EVALUATED {
        metrics.logins_28d += 1;
        scores.churn_risk = scores.churn_risk.map(|risk| risk + 1e-6);
    }
    let token = format!("{account}-{at}");
    store
        .insert_evaluations(&token, &[metrics], &[scores])
        .await
        .unwrap();
}

/// `blank` with the columns of `row` that both have and that are no list.
fn of_row<T: serde::de::DeserializeOwned>(mut blank: Value, row: &Value) -> T {
    for (name, value) in blank.as_object_mut().unwrap() {
        let found = row.get(name).filter(|found| !found.is_array());
        *value = found.cloned().unwrap_or_else(|| value.take());
    }
    serde_json::from_value(blank).unwrap()
}

/// The one row that a receipt's query answers.
async fn ran(store: &Store, sql: &Value) -> Value {
    let answered = store.json_rows("run the receipt", sql.as_str().unwrap()).await;
    serde_json::from_str(answered.unwrap().trim()).unwrap()
}

fn values(inputs: &Value) -> Map<String, Value> {
    let numbers = inputs.as_object().unwrap().iter();
    numbers
        .map(|(name, number)| (name.clone(), number["value"].clone()))
        .collect()
}

#[tokio::test]
async fn a_receipt_has_every_input_and_the_query_that_makes_the_stored_numbers_again() {
    let (server, store) = proven().await;
    let receipt = server.json("/api/v1/accounts/honest/receipt").await;
    assert_eq!(receipt["evaluated_at"], "2026-03-01T00:00:00.000Z");
    assert_eq!(receipt["watermark"], "2026-03-01T00:00:00.000Z");
    assert_eq!(
        (&receipt["cut_offset"], &receipt["model_hash"]),
        (&json!(41), &json!("abc"))
    );
    assert_eq!(
        (&receipt["stage"], &receipt["check"]),
        (&json!("adoption"), &Value::Null)
    );

    let inputs = values(&receipt["inputs"]);
    for name in health::NUMBERS {
        assert!(inputs.contains_key(*name), "{name}");
    }
    assert_eq!(
        (&inputs["logins_28d"], &inputs["usage_28d"]),
        (&json!(2), &json!(4))
    );
    assert_eq!(
        (&inputs["seats"], &inputs["seat_utilisation"]),
        (&json!(10), &json!(0.1))
    );
    assert_eq!(inputs["nps"], Value::Null);
    let label = &receipt["inputs"]["logins_28d"]["label"];
    assert_eq!(label["en"], health::words::label("logins_28d").en);
    assert_eq!(label["ja"], health::words::label("logins_28d").ja);

    let silence = receipt["contributions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["score"] == "health" && one["input"] == "seat_utilisation")
        .expect("use of seats drives health");
    assert_eq!(
        (&silence["value"], &silence["effect"]),
        (&json!(0.1), &json!("bad"))
    );
    let told = health::words::sentence_with_baseline("seat_utilisation", 0.1, silence["baseline"].as_f64());
    assert_eq!(
        (&silence["sentence"]["en"], &silence["sentence"]["ja"]),
        (&json!(told.en), &json!(told.ja))
    );

    let row = ran(&store, &receipt["sql"]).await;
    for (name, value) in &inputs {
        assert_eq!(value, &row[name], "{name}");
    }
    let stored = store.latest_scores("honest").await.unwrap().unwrap();
    assert_eq!(receipt["scores"]["health"].as_f64(), stored.health);
    for (name, value) in receipt["scores"].as_object().unwrap() {
        assert_eq!(value.as_f64(), row[name].as_f64(), "{name}");
    }
}

#[tokio::test]
async fn a_receipt_that_is_checked_says_whether_the_events_still_give_the_same() {
    let (server, _) = proven().await;
    let honest = server.json("/api/v1/accounts/honest/receipt?check=true").await;
    assert_eq!(honest["check"], json!({"same": true, "differences": []}));

    let wrong = server.json("/api/v1/accounts/wrong/receipt?check=true").await;
    assert_eq!(wrong["check"]["same"], false);
    let differences = wrong["check"]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 2, "{differences:#?}");
    assert_eq!(
        differences[0],
        json!({"table": "account_metrics", "column": "logins_28d", "stored": 3, "recomputed": 2})
    );
    assert_eq!(differences[1]["column"], "churn_risk");

    let before = server
        .json("/api/v1/accounts/wrong/receipt?check=true&at=2026-02-28T23:59:59Z")
        .await;
    assert_eq!(before["evaluated_at"], "2026-02-28T00:00:00.000Z");
    assert_eq!(before["check"]["same"], true, "the evaluation before is right");
    let unchecked = server.json("/api/v1/accounts/wrong/receipt?check=false").await;
    assert_eq!(unchecked["check"], Value::Null);
}

#[tokio::test]
async fn what_was_received_later_does_not_leak_into_what_was_known() {
    let (server, store) = proven().await;
    let logins = async |query: &str| -> (Value, Value) {
        let path = format!("/api/v1/accounts/honest/scores?{query}");
        let known = server.json(&path).await;
        (known["inputs"]["logins_28d"]["value"].clone(), known)
    };
    let (before, known) = logins("at=2026-03-01T00:00:00Z&known_at=2026-03-01T11:59:59.999Z").await;
    assert_eq!(before, 1);
    assert_eq!(
        (&known["at"], &known["known_at"]),
        (
            &json!("2026-03-01T00:00:00.000Z"),
            &json!("2026-03-01T11:59:59.999Z")
        )
    );
    assert_eq!(ran(&store, &known["sql"]).await["logins_28d"], 1);
    let (after, later) = logins("at=2026-03-01T00:00:00Z&known_at=2026-03-01T12:00:00Z").await;
    assert_eq!(after, 2);
    assert_ne!(known["scores"]["activity"], later["scores"]["activity"]);
    let (_, same) = logins("known_at=2026-03-01T11:00:00Z").await;
    assert_eq!(same["at"], same["known_at"], "at is known_at by default");
}

#[tokio::test]
async fn what_cannot_be_proven_says_why_and_what_to_do() {
    let (server, store) = proven().await;
    for path in ["receipt", "scores?known_at=2026-03-01T00:00:00Z"] {
        let problem = server
            .problem(&format!("/api/v1/accounts/nobody/{path}"), 404)
            .await;
        assert_eq!(problem["type"], "urn:mimamori:problem:no-such-account");
    }
    for path in [
        "receipt?at=2026-02-27T23:59:59Z",
        "scores?known_at=2025-01-01T00:00:00Z",
    ] {
        let problem = server
            .problem(&format!("/api/v1/accounts/honest/{path}"), 404)
            .await;
        assert_eq!(
            problem["type"], "urn:mimamori:problem:nothing-by-then",
            "{problem}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains("later time"),
            "{problem}"
        );
    }

    let other = Definition {
        model_hash: "another".to_string(),
        ..definition()
    };
    let other = serve_by(other, local(), store, Readiness::new()).await;
    let problem = other.problem("/api/v1/accounts/honest/receipt", 409).await;
    let detail = problem["detail"].as_str().unwrap();
    for told in ["abc", "another", "start it with the configuration"] {
        assert!(detail.contains(told), "{told}: {detail}");
    }
}

#[tokio::test]
async fn a_time_that_cannot_be_taken_is_named() {
    let (server, _) = proven().await;
    let at = "at=2026-03-01T00:00:00Z";
    for (path, named) in [
        ("receipt?at=yesterday".to_string(), "at"),
        ("receipt?at=9999-01-01T00:00:00Z".to_string(), "at"),
        ("receipt?check=1".to_string(), "check"),
        ("scores?known_at=soon".to_string(), "known_at"),
        (format!("scores?{at}&known_at=0001-01-01T00:00:00Z"), "known_at"),
        (format!("scores?{at}"), "at"),
        (format!("scores?known_{at}&limit=3"), "limit"),
        (format!("scores?known_{at}&from=2026-01-01T00:00:00Z"), "from"),
    ] {
        let problem = server
            .problem(&format!("/api/v1/accounts/honest/{path}"), 400)
            .await;
        assert_eq!(problem["errors"][0]["parameter"], named, "{path}");
        assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{path}");
    }
    let bounds = ["1970-01-01T00:00:00Z", "2199-12-31T23:59:59Z"];
    server
        .problem(&format!("/api/v1/accounts/honest/receipt?at={}", bounds[0]), 404)
        .await;
    server
        .json(&format!("/api/v1/accounts/honest/receipt?at={}", bounds[1]))
        .await;
    server
        .json(&format!(
            "/api/v1/accounts/honest/scores?known_at={0}&at={0}",
            bounds[1]
        ))
        .await;
}
