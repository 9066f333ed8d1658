//! Web pages of other origins: which of them may send events.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Collector;

/// Seconds for which a browser need not ask again.
const MAX_AGE: &str = "7200";
/// What a page may see of an answer.
const EXPOSED: &str = "retry-after, x-request-id";
/// What a page may send when it does not say what it wants to.
const ALLOWED_HEADERS: &str = "authorization, content-type, content-encoding";

/// Answers what browsers ask before they send, and lets the pages of allowed origins see the answer.
pub(super) async fn cors(State(collector): State<Arc<Collector>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return if is_preflight(&request) {
            StatusCode::NO_CONTENT.into_response()
        } else {
            next.run(request).await
        };
    };
    let allowed = allowance(&collector.config.allowed_origins, &origin);
    let asked = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .cloned();
    let mut response = if is_preflight(&request) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let preflight = response.status() == StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(allowed) = allowed else {
        return response;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if preflight {
        let asked = asked.unwrap_or(HeaderValue::from_static(ALLOWED_HEADERS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        let methods = HeaderValue::from_static("POST, OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    } else {
        let exposed = HeaderValue::from_static(EXPOSED);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
}

/// What stands in `Access-Control-Allow-Origin` for a page of this origin.
fn allowance(allowed: &[String], origin: &HeaderValue) -> Option<HeaderValue> {
    if allowed.iter().any(|allowed| allowed == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    let named = allowed
        .iter()
        .any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
    named.then(|| origin.clone())
}

/// Whether a request came from a web page.
pub(super) fn is_from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
}

/// Whether a page may write while nobody needs a key: one of this machine, or one that is named. Any page
/// that a person visits can reach their own loopback.
pub(super) fn may_write_without_key(allowed: &[String], headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let named = allowed
        .iter()
        .any(|allowed| allowed != "*" && allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
    named || origin.to_str().is_ok_and(is_of_this_machine)
}

/// Whether an origin is a page of this machine.
pub(crate) fn is_of_this_machine(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        headers
    }

    #[test]
    fn without_a_key_only_pages_of_this_machine_and_those_named_may_write() {
        let allowed = ["*".to_owned(), "https://app.example".to_owned()];
        assert!(may_write_without_key(&allowed, &HeaderMap::new()));
        for own in [
            "http://localhost:3000",
            "http://127.0.0.1",
            "http://[::1]:8080",
            "https://app.example",
        ] {
            assert!(may_write_without_key(&allowed, &from(own)), "{own}");
        }
        for foreign in [
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
            "http://127.0.0.1.nip.io",
        ] {
            assert!(!may_write_without_key(&allowed, &from(foreign)), "{foreign}");
        }
    }

    #[test]
    fn an_origin_that_is_not_named_is_not_allowed() {
        let named = ["https://app.example".to_owned()];
        let ask = |origin| allowance(&named, &HeaderValue::from_static(origin));
        assert_eq!(ask("https://app.example").unwrap(), "https://app.example");
        assert_eq!(ask("https://evil.example"), None);
    }
}
