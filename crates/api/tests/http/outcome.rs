//! Whether telling helped, asked over HTTP of rows that the test makes.

use serde_json::{Value, json};
use store::{AlertRow, DeliveryRow, ScoresRow, Store};
use tokio::sync::OnceCell;

use crate::data::{DAY, MARCH, account, alert, bare, clickhouse_drop, scores};
use crate::engine;
use crate::support::{Running, local, serve, store_at};

/// A server over 140 accounts that the rule `inactive` alarmed about on 1 March, known until 2 April: 60
/// told by `call` (48 recover), 40 told by `mail` (20 do), 40 held out (12 do). One of the told leaves.
/// The rule `silence` alarmed about two accounts and told of both.
pub async fn alarmed() -> Running {
    static FILLED: OnceCell<()> = OnceCell::const_new();
    let database = "api_test_outcome";
    let url = engine::url();
    FILLED
        .get_or_init(|| async {
            clickhouse_drop(&url, database).await;
            let store = store_at(&url, database);
            store.migrate().await.unwrap();
            fill(&store).await;
        })
        .await;
    serve(local(), store_at(&url, database)).await
}

async fn fill(store: &Store) {
    let mut rows = Rows::default();
    for (status, variant, accounts, recover) in [
        ("delivered", "call", 60, 48),
        ("digested", "mail", 40, 20),
        ("held_out", "mail", 40, 12),
    ] {
        for number in 0..accounts {
            let id = format!("{status}-{variant}-{number}");
            rows.episode(&id, "inactive", status, variant, number < recover);
        }
    }
    rows.episode("delivered-call-0", "silence", "delivered", "", false);
    rows.episode("delivered-call-1", "silence", "delivered", "", false);

    let ids: Vec<&String> = rows.scores.iter().map(|row| &row.account_id).collect();
    let mut accounts: Vec<_> = ids.iter().map(|id| account(id)).collect();
    accounts[59]
        .stage_history
        .push(("churned".to_string(), MARCH + DAY));
    store.insert_accounts("a", &accounts).await.unwrap();
    store.insert_alerts("l", &rows.alerts).await.unwrap();
    store.insert_deliveries("d", &rows.deliveries).await.unwrap();
    let known_until = scores("elsewhere", MARCH + 32 * DAY, 50.0);
    rows.scores.push(known_until);
    store.insert_evaluations("e", &[], &rows.scores).await.unwrap();
}

#[derive(Default)]
struct Rows {
    alerts: Vec<AlertRow>,
    deliveries: Vec<DeliveryRow>,
    scores: Vec<ScoresRow>,
}

impl Rows {
    fn episode(&mut self, id: &str, rule: &str, status: &str, variant: &str, recovers: bool) {
        let number = self.scores.len();
        let change = |change: &str, days: i64| AlertRow {
            alert_id: format!("{id}-{rule}-{change}"),
            episode_id: format!("{id}-{rule}"),
            rule: rule.to_string(),
            change: change.to_string(),
            at: MARCH + days * DAY,
            payload: json!({"kind": "at_risk", "scores": {"health": 40.0}}).to_string(),
            ..alert(id, "", 0)
        };
        let opened = change("opened", 0);
        self.deliveries.push(DeliveryRow {
            alert_id: opened.alert_id.clone(),
            destination: "cs".to_string(),
            attempt: 1,
            status: status.to_string(),
            http_status: None,
            at: MARCH,
            duration_ms: 1,
            error: String::new(),
            next_attempt_at: None,
            body: String::new(),
            episode_id: opened.episode_id.clone(),
            variant: variant.to_string(),
            reference: String::new(),
            version: 1,
        });
        self.alerts.push(opened);
        if recovers {
            self.alerts.push(change("resolved", 12));
        }
        if rule == "inactive" {
            let gained = if status == "held_out" { 0.0 } else { 10.0 };
            let spread = (number % 5) as f64;
            self.scores
                .push(scores(id, MARCH + 30 * DAY, 40.0 + gained + spread));
        }
    }
}

fn codes(warnings: &Value) -> Vec<&str> {
    let warnings = warnings.as_array().unwrap();
    warnings
        .iter()
        .map(|warning| warning["code"].as_str().unwrap())
        .collect()
}

fn is_about(found: &Value, expected: [f64; 3]) {
    for (name, expected) in ["value", "low", "high"].into_iter().zip(expected) {
        let value = found[name].as_f64().unwrap();
        assert!(
            (value - expected).abs() < 5e-4,
            "{name} of {found} instead of {expected}"
        );
    }
}

#[tokio::test]
async fn told_and_held_out_accounts_stand_side_by_side_with_their_difference() {
    let server = alarmed().await;
    let answer = server.json("/api/v1/alerts/outcome?rule=inactive").await;
    assert_eq!(answer["days"], 30);
    assert_eq!(answer["known_until"], "2026-04-02T00:00:00.000Z");
    let [rule] = &answer["rules"].as_array().unwrap()[..] else {
        panic!("{answer}");
    };
    assert_eq!(
        (&rule["rule"], &rule["kind"]),
        (&json!("inactive"), &json!("at_risk"))
    );
    let [told, held_out] = &rule["arms"].as_array().unwrap()[..] else {
        panic!("{rule}");
    };
    assert_eq!(
        (&told["arm"], &told["accounts"], &told["waiting"]),
        (&json!("told"), &json!(100), &json!(0))
    );
    assert_eq!(
        (&told["recovered"]["of"], &told["recovered"]["did"]),
        (&json!(100), &json!(68))
    );
    // Wilson's interval of 68 of 100.
    is_about(&told["recovered"], [0.68, 0.5834, 0.7633]);
    assert_eq!(
        (&told["retained"]["of"], &told["retained"]["did"]),
        (&json!(100), &json!(99))
    );
    let variants: Vec<(&Value, &Value)> = told["variants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variant| (&variant["variant"], &variant["recovered"]["did"]))
        .collect();
    assert_eq!(
        variants,
        [(&json!("call"), &json!(48)), (&json!("mail"), &json!(20))]
    );
    assert_eq!(
        (&held_out["arm"], &held_out["recovered"]["did"]),
        (&json!("held_out"), &json!(12))
    );

    let differences = rule["differences"].as_array().unwrap();
    assert_eq!(
        differences.len(),
        4,
        "all, call and mail less held out, call less mail"
    );
    // Newcombe's interval of 68 of 100 less 12 of 40.
    is_about(&differences[0]["recovered"], [0.38, 0.1979, 0.5255]);
    let health = differences[0]["health_change"]["value"].as_f64().unwrap();
    assert!((health - 10.0).abs() < 1e-9, "{health}");
    let last = &differences[3];
    assert_eq!(
        (&last["variant"], &last["against"]["variant"]),
        (&json!("call"), &json!("mail"))
    );
    assert_eq!(
        codes(&rule["warnings"]),
        [
            "few_events",
            "few_events",
            "few_events",
            "few_events",
            "no_difference",
            "no_difference",
            "no_difference",
            "no_difference",
            "survivors"
        ]
    );
    let words = &rule["warnings"][0]["words"];
    assert!(words["en"].as_str().unwrap().contains("retention"), "{words}");
    assert!(words["ja"].as_str().unwrap().contains("継続率"), "{words}");
}

#[tokio::test]
async fn without_a_holdout_or_before_the_days_have_passed_the_answer_says_so() {
    let server = alarmed().await;
    let answer = server.json("/api/v1/alerts/outcome").await;
    let names: Vec<&Value> = answer["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["rule"])
        .collect();
    assert_eq!(names, [&json!("inactive"), &json!("silence")]);
    assert_eq!(codes(&answer["warnings"]), ["many_comparisons"]);
    let silence = &answer["rules"][1];
    assert_eq!(silence["differences"], json!([]));
    assert_eq!(codes(&silence["warnings"]), ["no_holdout", "few_accounts"]);
    assert!(
        silence["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|warning| warning["serious"] == true)
    );

    let early = server.json("/api/v1/alerts/outcome?rule=inactive&days=60").await;
    let rule = &early["rules"][0];
    assert_eq!(
        (&rule["arms"][0]["accounts"], &rule["arms"][0]["waiting"]),
        (&json!(100), &json!(100))
    );
    assert_eq!(
        rule["arms"][0]["recovered"],
        json!({"of": 0, "did": 0, "value": null, "low": null, "high": null})
    );
    assert_eq!(rule["differences"][0]["recovered"], Value::Null);
    assert_eq!(codes(&rule["warnings"]), ["nothing_yet"]);
}

#[tokio::test]
async fn what_opened_before_is_left_out_and_nothing_is_an_answer_too() {
    let server = alarmed().await;
    let later = server
        .json("/api/v1/alerts/outcome?since=2026-03-01T00:00:00.001Z")
        .await;
    assert_eq!(
        (&later["rules"], &later["since"]),
        (&json!([]), &json!("2026-03-01T00:00:00.001Z"))
    );
    let none = bare().await.json("/api/v1/alerts/outcome").await;
    assert_eq!((&none["rules"], &none["known_until"]), (&json!([]), &Value::Null));
    for wrong in [
        "days=14",
        "since=yesterday",
        "since=1960-01-01T00:00:00Z",
        "limit=5",
    ] {
        server
            .problem(&format!("/api/v1/alerts/outcome?{wrong}"), 400)
            .await;
    }
}
