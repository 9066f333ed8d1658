//! The OpenAPI document says what is there, no less and no more.

use std::collections::BTreeSet;

use boon::{Compiler, Schemas};
use serde_json::Value;

use crate::data::furnished;
use crate::outcome::alarmed;
use crate::receipts::proven;
use crate::support::{body, header, local, nowhere, problem_of, serve};

async fn document() -> Value {
    let server = serve(local(), nowhere()).await;
    let response = server.get("/api/v1/openapi.json").send().await.unwrap();
    body(response).await
}

/// The names of a route's query parameters.
fn query_parameters(route: &Value) -> BTreeSet<String> {
    let parameters = route["get"]["parameters"].as_array().cloned().unwrap_or_default();
    parameters
        .iter()
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| parameter["name"].as_str().unwrap().to_string())
        .collect()
}

#[tokio::test]
async fn the_schema_of_each_type_of_event_is_served_and_judges_events() {
    let server = serve(local(), nowhere()).await;
    let index = body(server.get("/schemas/events").send().await.unwrap()).await;
    let listed = index["schemas"].as_array().unwrap();
    assert_eq!(listed.len(), 11);
    for entry in listed {
        let event_type = entry["type"].as_str().unwrap();
        let response = server.get(entry["href"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(header(&response, "content-type"), "application/schema+json");
        let schema = body(response).await;
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.add_resource("served", schema).unwrap();
        let index = compiler.compile("served", &mut schemas).unwrap();
        let properties = serde_json::json!({"ticket_id": "t", "score": 9});
        let name = match event_type {
            "contract" => "renewed",
            "ticket" => "opened",
            "survey" => "nps",
            _ => "x",
        };
        let mut event = serde_json::json!({
            "event_id": "e", "account_id": "a", "user_id": "u", "type": event_type, "name": name,
            "occurred_at": "2026-11-22T01:02:03Z", "properties": properties,
        });
        schemas
            .validate(&event, index)
            .unwrap_or_else(|error| panic!("{event_type}: {error}"));
        event["account_id"] = Value::Null;
        assert!(schemas.validate(&event, index).is_err(), "{event_type}");
    }
}

#[tokio::test]
async fn every_route_takes_the_documented_parameters_and_no_others() {
    let document = document().await;
    let server = serve(local(), nowhere()).await;
    let mut checked = 0;
    for (path, route) in document["paths"].as_object().unwrap() {
        // The collector's are looked at by its own tests.
        if route.get("get").is_none() {
            continue;
        }
        let path = path.replace("{id}", "acme");
        assert_ne!(server.get(&path).send().await.unwrap().status(), 404, "{path}");
        let response = server.get(&format!("{path}?surprise=1")).send().await.unwrap();
        if response.status() != 400 {
            assert_eq!(query_parameters(route), BTreeSet::new(), "{path}");
            continue;
        }
        let problem = body(response).await;
        let told: BTreeSet<String> = problem["errors"][0]["allowed"]
            .as_array()
            .map(|names| {
                names
                    .iter()
                    .map(|name| name.as_str().unwrap().to_string())
                    .collect()
            })
            .unwrap_or_default();
        assert_eq!(told, query_parameters(route), "{path}");
        checked += 1;
    }
    assert_eq!(checked, 11, "routes of the API that take parameters apart");
}

#[tokio::test]
async fn every_action_on_an_alert_is_documented_and_needs_kafka() {
    let document = document().await;
    let server = serve(local(), nowhere()).await;
    let mut checked = 0;
    for (path, route) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/v1/alerts/{id}/") || route.get("post").is_none() {
            continue;
        }
        let mut asked = serde_json::json!({"by": "Sato", "note": "x"});
        if path.ends_with("/snooze") {
            asked["hours"] = 24.into();
        }
        let request = server.post(&path.replace("{id}", "al_1"));
        let request = request.header("content-type", "application/json");
        let response = request.body(asked.to_string()).send().await.unwrap();
        let problem = problem_of(response, 503).await;
        assert_eq!(problem["type"], "urn:mimamori:problem:no-kafka", "{path}");
        checked += 1;
    }
    assert_eq!(checked, 4);
}

#[tokio::test]
async fn the_values_that_a_parameter_allows_are_the_documented_ones() {
    let document = document().await;
    let server = serve(local(), nowhere()).await;
    let mut checked = 0;
    for (path, route) in document["paths"].as_object().unwrap() {
        for parameter in route["get"]["parameters"].as_array().into_iter().flatten() {
            let Some(values) = parameter["schema"]["enum"].as_array() else {
                continue;
            };
            let name = parameter["name"].as_str().unwrap();
            let path = path.replace("{id}", "acme");
            let problem = server.problem(&format!("{path}?{name}=surprise"), 400).await;
            assert_eq!(problem["errors"][0]["parameter"], name);
            assert_eq!(
                problem["errors"][0]["allowed"].as_array(),
                Some(values),
                "{path} {name}"
            );
            checked += 1;
        }
    }
    assert_eq!(checked, 11);
}

#[tokio::test]
async fn every_answer_has_the_documented_shape() {
    let document = document().await;
    let server = furnished().await;
    let (proven, _) = proven().await;
    let mut compiler = Compiler::new();
    compiler
        .add_resource("http://api/openapi.json", document.clone())
        .unwrap();
    let mut schemas = Schemas::new();
    let answers = [
        ("/api/v1/accounts", "/api/v1/accounts?history_days=30"),
        ("/api/v1/accounts/{id}", "/api/v1/accounts/acme"),
        ("/api/v1/accounts/{id}", "/api/v1/accounts/only-scores"),
        (
            "/api/v1/accounts/{id}/scores",
            "/api/v1/accounts/acme/scores?limit=3",
        ),
        ("/api/v1/accounts/{id}/timeline", "/api/v1/accounts/acme/timeline"),
        ("/api/v1/alerts", "/api/v1/alerts"),
        ("/api/v1/alerts", "/api/v1/alerts?state=open"),
        ("/api/v1/alerts/dead", "/api/v1/alerts/dead"),
        ("/api/v1/alerts/held", "/api/v1/alerts/held"),
        ("/api/v1/journey", "/api/v1/journey"),
        ("/api/v1/ttv", "/api/v1/ttv"),
    ]
    .map(|(route, path)| (&server, route, path));
    let recomputed = [
        (
            "/api/v1/accounts/{id}/scores",
            "/api/v1/accounts/wrong/scores?known_at=2026-03-02T00:00:00Z",
        ),
        ("/api/v1/accounts/{id}/receipt", "/api/v1/accounts/wrong/receipt"),
        (
            "/api/v1/accounts/{id}/receipt",
            "/api/v1/accounts/wrong/receipt?check=true",
        ),
    ]
    .map(|(route, path)| (&proven, route, path));
    let alarmed = alarmed().await;
    let outcomes =
        [("/api/v1/alerts/outcome", "/api/v1/alerts/outcome")].map(|(route, path)| (&alarmed, route, path));
    for (server, route, path) in answers.into_iter().chain(outcomes).chain(recomputed) {
        let schema =
            &document["paths"][route]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let place = schema["$ref"].as_str().unwrap();
        let compiled = compiler
            .compile(&format!("http://api/openapi.json{place}"), &mut schemas)
            .unwrap();
        let answer = server.json(path).await;
        if let Err(error) = schemas.validate(&answer, compiled) {
            panic!("{path}: {error:#}");
        }
    }
    let problem = server.problem("/api/v1/accounts?limit=0", 400).await;
    let compiled = compiler
        .compile(
            "http://api/openapi.json#/components/schemas/Problem",
            &mut schemas,
        )
        .unwrap();
    assert!(schemas.validate(&problem, compiled).is_ok(), "{problem}");
}
