use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::problem::Problem;

/// `value` as JSON, or 304 when the client holds the same already. It is about customers: nothing on
/// the way may keep it.
pub(crate) fn json<T: Serialize>(asked: &HeaderMap, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => tagged(asked, bytes, "application/json", "no-store"),
        Err(error) => {
            tracing::error!(%error, "answer could not be written as JSON");
            Problem::internal().into_response()
        }
    }
}

/// `bytes` with a tag made of them, or 304 when the client holds the same already.
pub(crate) fn tagged(
    asked: &HeaderMap,
    bytes: impl Into<Vec<u8>>,
    content_type: &'static str,
    cache_control: &'static str,
) -> Response {
    let bytes = bytes.into();
    let tag = format!("\"{:032x}\"", xxh3_128(&bytes));
    let mut response = if holds(asked, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut full = Body::from(bytes).into_response();
        full.headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        full
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    headers.insert(
        header::ETAG,
        HeaderValue::from_str(&tag).expect("hexadecimal digits and quotes are ASCII"),
    );
    response
}

fn holds(asked: &HeaderMap, tag: &str) -> bool {
    asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|held| held.trim().trim_start_matches("W/"))
        .any(|held| held == tag || held == "*")
}
