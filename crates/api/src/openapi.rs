use axum::http::HeaderMap;
use axum::response::Response;

use crate::answer;

/// What the API answers, as OpenAPI 3.1.
pub(crate) const DOCUMENT: &str = include_str!("openapi.json");

pub(crate) async fn document(asked: HeaderMap) -> Response {
    answer::tagged(&asked, DOCUMENT, "application/json", "no-cache")
}
