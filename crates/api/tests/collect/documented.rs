//! The OpenAPI document says of the collector what is there.

use std::collections::BTreeSet;

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use crate::support::{bed, login, read};

/// Whether a path takes events, or is another name of one that does.
fn documents_a_post(document: &Value, route: &Value) -> bool {
    let named = route["$ref"]
        .as_str()
        .map(|place| document.pointer(place.trim_start_matches('#')));
    match named {
        Some(other) => other.expect("the other name is there").get("post").is_some(),
        None => route.get("post").is_some(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_route_takes_events_and_answers_in_the_documented_shape() {
    let bed = bed().await;
    let document = bed
        .client
        .get(format!("{}/api/v1/openapi.json", bed.url))
        .send()
        .await;
    let (_, document) = read(document.unwrap()).await;
    let routes: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, route)| path.starts_with("/v1/") && documents_a_post(&document, route))
        .map(|(path, _)| path.as_str())
        .collect();
    let expected = [
        "a", "alias", "b", "batch", "events", "g", "group", "i", "identify", "import", "p", "page", "s",
        "screen", "t", "track",
    ];
    assert_eq!(
        routes,
        expected
            .map(|name| format!("/v1/{name}"))
            .iter()
            .map(String::as_str)
            .collect()
    );

    let mut compiler = Compiler::new();
    compiler
        .add_resource("http://api/openapi.json", document.clone())
        .unwrap();
    let mut schemas = Schemas::new();
    let mut shape = |name: &str| {
        let place = format!("http://api/openapi.json#/components/schemas/{name}");
        compiler.compile(&place, &mut schemas).unwrap()
    };
    let (collected, refused) = (shape("Collected"), shape("CollectorProblem"));
    for route in routes {
        let get = bed
            .client
            .get(format!("{}{route}", bed.url))
            .send()
            .await
            .unwrap();
        let (status, problem) = read(get).await;
        assert_eq!(status, 405, "{route}");
        schemas.validate(&problem, refused).unwrap();
        let (status, problem) = bed.post_json(route, &json!({})).await;
        assert_eq!(status, 400, "{route}");
        schemas
            .validate(&problem, refused)
            .unwrap_or_else(|error| panic!("{route}: {error}"));
        assert!(problem["errors"][0]["reason"].is_string(), "{route}: {problem}");
    }
    for body in [json!([login(1)]), json!([login(1), Value::Null]), json!([])] {
        let (status, answer) = bed.post_json("/v1/events", &body).await;
        assert_eq!(status, 200);
        schemas
            .validate(&answer, collected)
            .unwrap_or_else(|error| panic!("{answer}: {error}"));
    }
}
