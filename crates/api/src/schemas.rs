//! The JSON Schemas of the events, for clients that would check what they send.

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use serde_json::json;

use crate::answer;
use crate::router::Shared;

macro_rules! schemas {
    ($($name:literal),*) => {
        [$((
            $name,
            concat!("/schemas/events/", $name, ".schema.json"),
            include_str!(concat!("../../../schemas/events/", $name, ".schema.json")),
        )),*]
    };
}

/// Type, path and schema of each.
const SCHEMAS: [(&str, &str, &str); 11] = schemas![
    "login",
    "feature",
    "milestone",
    "account",
    "user",
    "contract",
    "ticket",
    "survey",
    "engagement",
    "error",
    "action"
];

/// Where they are listed.
const INDEX: &str = "/schemas/events";

pub(crate) fn routes() -> Router<Shared> {
    let listed = SCHEMAS.map(|(name, path, _)| json!({ "type": name, "href": path }));
    let index = json!({ "schemas": listed }).to_string();
    let list =
        move |asked: HeaderMap| async move { answer::tagged(&asked, index, "application/json", "no-cache") };
    let mut routes = Router::new().route(INDEX, get(list));
    for (_, path, schema) in SCHEMAS {
        let serve = move |asked: HeaderMap| async move {
            answer::tagged(&asked, schema, "application/schema+json", "no-cache")
        };
        routes = routes.route(path, get(serve));
    }
    routes
}
