//! The OpenAPI document says what is there, no less and no more.

use std::collections::BTreeSet;

use boon::{Compiler, Schemas};
use serde_json::Value;

use crate::data::furnished;
use crate::support::{body, local, nowhere, serve};

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
async fn every_route_takes_the_documented_parameters_and_no_others() {
    let document = document().await;
    let server = serve(local(), nowhere()).await;
    let mut checked = 0;
    for (path, route) in document["paths"].as_object().unwrap() {
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
    assert_eq!(checked, 5, "routes of the API that take parameters apart");
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
    assert_eq!(checked, 6);
}

#[tokio::test]
async fn every_answer_has_the_documented_shape() {
    let document = document().await;
    let server = furnished().await;
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
    ];
    for (route, path) in answers {
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
