use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::data::{AWKWARD, bare, furnished};
use crate::support::header;

fn ids(answer: &Value) -> Vec<&str> {
    let accounts = answer["accounts"].as_array().unwrap();
    accounts
        .iter()
        .map(|account| account["account_id"].as_str().unwrap())
        .collect()
}

/// The account's id as a part of a path.
fn encoded(id: &str) -> String {
    id.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn the_riskiest_account_comes_first_with_its_reason_in_both_languages() {
    let server = furnished().await;
    let answer = server.json("/api/v1/accounts").await;
    assert_eq!(answer["total"], 4);
    assert_eq!(answer["next"], Value::Null);
    assert_eq!(ids(&answer)[0], "beta");
    assert_eq!(ids(&answer)[3], "only-scores", "the unknown comes last");

    let beta = &answer["accounts"][0];
    assert_eq!(beta["name"], "ベータ工業");
    assert_eq!(
        (&beta["health"], &beta["churn_risk"]),
        (&json!(20.0), &json!(0.6))
    );
    assert_eq!(beta["evaluated_at"], "2026-03-01T00:00:00.000Z");
    assert_eq!(beta["reason"]["input"], "days_since_last_active");
    assert_eq!(beta["reason"]["effect"], "bad");
    assert_eq!(beta["reason"]["sentence"]["en"], "no use for 16 days");
    assert_eq!(beta["reason"]["sentence"]["ja"], "16日間利用なし");
    assert_eq!(beta.get("health_history"), None, "not asked for");
}

#[tokio::test]
async fn what_is_unknown_is_null_and_not_zero() {
    let server = furnished().await;
    let answer = server.json("/api/v1/accounts?search=only-scores").await;
    let account = answer["accounts"][0].as_object().unwrap();
    for name in [
        "name",
        "mrr",
        "health",
        "churn_risk",
        "logins_7d",
        "days_since_last_login",
        "reason",
    ] {
        assert_eq!(account[name], Value::Null, "{name}");
    }
}

#[tokio::test]
async fn filters_narrow_the_list_and_counts_tell_what_they_leave() {
    let server = furnished().await;
    let answer = server.json("/api/v1/accounts?band=red").await;
    assert_eq!((ids(&answer), &answer["total"]), (vec!["beta"], &json!(1)));
    assert_eq!(
        answer["bands"]["red"],
        json!({"accounts": 1, "mrr": {"USD": 500.0}})
    );
    assert_eq!(
        answer["bands"]["yellow"],
        json!({"accounts": 2, "mrr": {"JPY": 240_000.0}})
    );
    assert_eq!(answer["bands"]["green"], json!({"accounts": 0, "mrr": {}}));
    assert_eq!(answer["stages"]["onboarding"], 1);
    assert_eq!(answer["stages"]["adoption"], 0, "no red account is in adoption");

    for (query, expected) in [
        ("q=%E3%83%99%E3%83%BC%E3%82%BF", vec!["beta"]),
        ("search=ACME", vec!["acme"]),
        ("stage=onboarding", vec!["beta"]),
        ("tier=tech", vec!["beta"]),
        ("segment=enterprise", vec!["beta"]),
        ("owner=Tanaka", vec!["beta"]),
        ("owner=Tanaka&band=green", vec![]),
        ("sort=account_id&order=desc&limit=1", vec!["only-scores"]),
    ] {
        let answer = server.json(&format!("/api/v1/accounts?{query}")).await;
        assert_eq!(ids(&answer), expected, "{query}");
    }
}

#[tokio::test]
async fn following_next_shows_every_account_once() {
    let server = furnished().await;
    let mut seen = Vec::new();
    let mut path = "/api/v1/accounts?limit=1&sort=name&owner=".to_string();
    loop {
        let answer = server.json(&path).await;
        seen.extend(ids(&answer).into_iter().map(String::from));
        match answer["next"].as_str() {
            Some(next) => path = next.to_string(),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, [AWKWARD, "acme", "beta", "only-scores"]);
}

#[tokio::test]
async fn history_is_added_by_day_when_it_is_asked_for() {
    let server = furnished().await;
    let answer = server.json("/api/v1/accounts?search=acme&history_days=7").await;
    let history = answer["accounts"][0]["health_history"].as_array().unwrap();
    assert_eq!(history.len(), 8, "{history:?}");
    assert_eq!(history[0]["date"], "2026-02-22");
    assert_eq!(
        history[6],
        json!({"date": "2026-02-28", "health": 50.0, "churn_risk": 0.18})
    );
    assert_eq!(history[7]["health"], 62.5);
}

#[tokio::test]
async fn a_wrong_parameter_is_named_with_what_is_allowed() {
    let server = furnished().await;
    let problem = server
        .problem("/api/v1/accounts?band=blue&limit=501&colour=red", 400)
        .await;
    let errors = problem["errors"].as_array().unwrap();
    let named: Vec<&str> = errors
        .iter()
        .map(|error| error["parameter"].as_str().unwrap())
        .collect();
    assert_eq!(named, ["band", "limit", "colour"]);
    assert_eq!(errors[0]["allowed"], json!(["red", "yellow", "green", "unknown"]));
    assert!(
        errors[1]["detail"].as_str().unwrap().contains("1 to 500"),
        "{problem}"
    );
    for path in [
        "/api/v1/accounts/acme?x=1",
        "/api/v1/accounts/acme/scores?step=week",
        "/api/v1/accounts/acme/scores?from=yesterday",
        "/api/v1/accounts/acme/scores?daily=yes",
        "/api/v1/ttv?month=2026-01",
        "/api/v1/journey?tier=middle",
        "/api/v1/accounts/acme/timeline?limit=x",
        "/api/v1/alerts?account=acme",
    ] {
        server.problem(path, 400).await;
    }
}

#[tokio::test]
async fn the_same_answer_is_not_sent_twice() {
    let server = furnished().await;
    let path = "/api/v1/accounts?sort=name";
    let first = server.get(path).send().await.unwrap();
    let tag = header(&first, "etag").to_string();
    let again = server
        .get(path)
        .header("if-none-match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 304);
    let other = server
        .get("/api/v1/accounts?sort=mrr")
        .header("if-none-match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn an_account_shows_its_attributes_scores_drivers_and_numbers() {
    let server = furnished().await;
    let answer = server.json("/api/v1/accounts/acme").await;
    assert_eq!(answer["account"]["name"], "株式会社 acme");
    assert_eq!(answer["account"]["last_event_at"], "2026-03-01T00:00:00.004Z");
    assert_eq!(answer["account"]["plan"], Value::Null);
    assert_eq!(
        (&answer["scores"]["health"], &answer["scores"]["sentiment"]),
        (&json!(62.5), &json!(80.0))
    );
    assert_eq!(
        (&answer["scores"]["support"], &answer["scores"]["expansion"]),
        (&Value::Null, &json!(35.0))
    );
    assert_eq!(answer["account"]["stage_since"], "2026-01-30T00:00:00.000Z");
    assert_eq!(
        answer["account"]["stage_history"],
        json!([
            {"stage": "onboarding", "entered_at": "2025-12-01T00:00:00.000Z", "left_at": "2026-01-30T00:00:00.000Z"},
            {"stage": "adoption", "entered_at": "2026-01-30T00:00:00.000Z", "left_at": null},
        ])
    );
    assert_eq!(
        answer["milestones"],
        json!([
            {"name": "invited", "state": "done", "reached_at": "2025-12-11T00:00:00.000Z", "dwell_days": 10.0},
            {"name": "first_value", "state": "behind", "reached_at": null, "dwell_days": 80.0},
        ])
    );
    assert_eq!(answer["drivers"].as_array().unwrap().len(), 4);
    let against_usual: Vec<(&Value, &Value)> = answer["drivers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|driver| (&driver["baseline"], &driver["direction"]))
        .collect();
    assert_eq!(
        against_usual,
        [
            (&json!(0.4), &json!("up")),
            (&Value::Null, &Value::Null),
            (&json!(1.0), &json!("down")),
            (&json!(0.4), &json!("level")),
        ]
    );
    assert_eq!(answer["drivers"][0]["effect"], "good");
    assert_eq!(
        answer["drivers"][2]["effect"], "bad",
        "what raises the risk is bad"
    );
    let metrics = &answer["metrics"];
    assert_eq!(metrics["logins_7d"]["value"], 9);
    assert_eq!(metrics["logins_7d"]["unit"], "logins");
    assert_eq!(metrics["days_since_last_active"]["value"], Value::Null);
    assert_eq!(metrics["unused_key_features"]["value"], json!(["連携"]));
    assert_eq!(metrics["seat_utilisation"]["unit"], "ratio");
    assert_eq!(
        metrics["nps"],
        json!({"value": -20.0, "unit": "score", "label": metrics["nps"]["label"]})
    );
    let told: BTreeSet<&str> = metrics.as_object().unwrap().keys().map(String::as_str).collect();
    let numbers = health::NUMBERS.iter().copied().chain(["unused_key_features"]);
    assert_eq!(told, numbers.collect(), "every number by its name");
}

#[tokio::test]
async fn an_account_whose_attributes_have_not_landed_shows_its_scores() {
    let server = furnished().await;
    let answer = server.json("/api/v1/accounts/only-scores").await;
    assert_eq!(answer["account"]["name"], Value::Null);
    assert_eq!(answer["scores"]["band"], "unknown");
    assert_eq!(answer["metrics"], Value::Null);
}

#[tokio::test]
async fn an_account_that_is_not_known_is_not_an_empty_one() {
    let server = furnished().await;
    for path in ["", "/scores", "/timeline"] {
        let problem = server
            .problem(&format!("/api/v1/accounts/nobody{path}"), 404)
            .await;
        assert!(
            problem["detail"].as_str().unwrap().contains("nobody"),
            "{problem}"
        );
    }
    let events = server.json("/api/v1/accounts/beta/timeline").await;
    assert_eq!(events["events"], json!([]), "known, and no event");
}

#[tokio::test]
async fn an_id_with_every_awkward_letter_is_found_under_its_own_path() {
    let server = furnished().await;
    let id = encoded(AWKWARD);
    let answer = server.json(&format!("/api/v1/accounts/{id}")).await;
    assert_eq!(answer["account"]["account_id"], AWKWARD);
    let events = server.json(&format!("/api/v1/accounts/{id}/timeline")).await;
    assert_eq!(events["events"][0]["event_id"], "e-3");
    let found = server.json(&format!("/api/v1/accounts?search={id}")).await;
    assert_eq!(ids(&found), [AWKWARD]);
}

#[tokio::test]
async fn scores_come_newest_first_sampled_and_page_by_page() {
    let server = furnished().await;
    let answer = server.json("/api/v1/accounts/acme/scores?limit=2").await;
    let times: Vec<&str> = answer["scores"]
        .as_array()
        .unwrap()
        .iter()
        .map(|score| score["evaluated_at"].as_str().unwrap())
        .collect();
    assert_eq!(times, ["2026-03-01T00:00:00.000Z", "2026-02-28T12:00:00.000Z"]);

    let mut path = "/api/v1/accounts/acme/scores?step=day&limit=15&from=2026-02-01T00:00:00Z".to_string();
    let mut days = Vec::new();
    loop {
        let answer = server.json(&path).await;
        for score in answer["scores"].as_array().unwrap() {
            days.push(score["evaluated_at"].as_str().unwrap()[..10].to_string());
        }
        match answer["next"].as_str() {
            Some(next) => path = next.to_string(),
            None => break,
        }
    }
    let mut unique = days.clone();
    unique.dedup();
    assert_eq!(days, unique, "each day once");
    assert_eq!(
        (days.len(), days[0].as_str(), days[28].as_str()),
        (29, "2026-03-01", "2026-02-01")
    );
}

#[tokio::test]
async fn the_rows_of_midnights_are_told_apart_from_the_others() {
    let server = furnished().await;
    let times = async |query: &str| -> Vec<String> {
        let answer = server
            .json(&format!("/api/v1/accounts/acme/scores?{query}"))
            .await;
        let scores = answer["scores"].as_array().unwrap();
        let times = scores.iter().map(|score| score["evaluated_at"].as_str().unwrap());
        times.map(|time| time[..16].to_string()).collect()
    };
    assert_eq!(
        times("daily=true&from=2026-02-27T00:00:00Z&to=2026-03-01T00:00:00Z").await,
        ["2026-02-28T00:00", "2026-02-27T00:00"]
    );
    assert_eq!(times("daily=false").await, ["2026-02-28T12:00"]);
    assert_eq!(
        times("from=2026-02-28T00:00:00Z").await,
        ["2026-03-01T00:00", "2026-02-28T12:00", "2026-02-28T00:00"]
    );
}

#[tokio::test]
async fn time_to_value_is_told_by_cohort_with_those_who_wait_for_it() {
    let server = furnished().await;
    let answer = server.json("/api/v1/ttv?limit=2").await;
    let cohorts = answer["cohorts"].as_array().unwrap();
    let smb = cohorts.iter().find(|cohort| cohort["segment"] == "smb").unwrap();
    assert_eq!((&smb["month"], &smb["accounts"]), (&json!("2025-12"), &json!(2)));
    assert_eq!((&smb["reached"], &smb["waiting"]), (&json!(0), &json!(2)));
    assert_eq!(smb["ttv_days"]["median"], Value::Null);
    assert_eq!(smb["waiting_days_median"], 12.5);
    assert_eq!(answer["waiting_total"], 3);
    let waiting = answer["waiting"].as_array().unwrap();
    assert_eq!(waiting.len(), 2);
    assert_eq!(waiting[1]["account_id"], "acme");
    assert_eq!(waiting[1]["ttv_running_days"], 12.5);
    assert_eq!(waiting[1]["started_at"], "2025-12-01T00:00:00.000Z");
    let none = server.json("/api/v1/ttv?plan=gold").await;
    assert_eq!((&none["cohorts"], &none["waiting"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn the_journey_tells_where_accounts_stand_and_who_is_late() {
    let server = furnished().await;
    let answer = server.json("/api/v1/journey?limit=2").await;
    assert_eq!(
        answer["stages"],
        json!([{"stage": "adoption", "tier": "high", "accounts": 3, "mean_days_in_stage": 30.0}])
    );
    assert_eq!(answer["onboarding"], json!([{"state": "behind", "accounts": 3}]));
    assert_eq!(
        answer["milestones"][0],
        json!({"name": "invited", "done": 3, "on_track": 0, "behind": 0, "stalled": 0,
               "dwell_days_median": 10.0, "next_of": 0, "waiting_days_median": null})
    );
    assert_eq!(answer["late_total"], 3);
    assert_eq!(answer["late"].as_array().unwrap().len(), 2);
    assert_eq!(answer["late"][1]["next_milestone"], "first_value");
    assert_eq!(answer["late"][1]["next_milestone_days"], 80.0);
    let one = server.json("/api/v1/journey?owner=Tanaka").await;
    assert_eq!(one["late"].as_array().unwrap().len(), 1);
    let none = server.json("/api/v1/journey?segment=none").await;
    assert_eq!((&none["stages"], &none["late_total"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn the_timeline_shows_events_with_their_properties() {
    let server = furnished().await;
    let answer = server.json("/api/v1/accounts/acme/timeline").await;
    assert_eq!(
        answer["events"],
        json!([
            {"event_id": "e-2", "user_id": "u-1", "type": "feature", "name": "report.export",
             "occurred_at": "2026-03-01T00:00:00.002Z", "received_at": "2026-03-01T00:00:00.007Z",
             "source": "kafka", "properties": {"rows": 120}},
            {"event_id": "e-1", "user_id": null, "type": "login", "name": null,
             "occurred_at": "2026-03-01T00:00:00.001Z", "received_at": "2026-03-01T00:00:00.006Z",
             "source": "kafka", "properties": null},
        ])
    );
}

#[tokio::test]
async fn alerts_come_newest_first_of_one_account_or_all() {
    let server = furnished().await;
    let of = |answer: &Value| -> Vec<String> {
        let alerts = answer["alerts"].as_array().unwrap();
        alerts
            .iter()
            .map(|alert| alert["alert_id"].as_str().unwrap().to_string())
            .collect()
    };
    let all = server.json("/api/v1/alerts").await;
    assert_eq!(of(&all), ["l-2", "l-3", "l-1"]);
    assert_eq!(all["alerts"][0]["reason"]["ja"], "16日間利用なし");
    assert_eq!(all["alerts"][0]["payload"], json!({"days": 16}));
    let one = server.json("/api/v1/alerts?account_id=acme&limit=1").await;
    assert_eq!(of(&one), ["l-2"]);
}

#[tokio::test]
async fn a_database_without_a_row_answers_an_empty_list() {
    let server = bare().await;
    let answer = server.json("/api/v1/accounts?history_days=30").await;
    assert_eq!((&answer["accounts"], &answer["total"]), (&json!([]), &json!(0)));
    assert_eq!(answer["bands"]["red"]["accounts"], 0);
}
