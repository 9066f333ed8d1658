//! Who and what is let through to the handlers.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::router::Shared;

/// While nobody needs a key, a page of somebody else's must not reach the API by giving its own name
/// this machine's address (DNS rebinding): the name asked for must be one that only we have.
pub(crate) async fn host(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if shared.keys.is_empty()
        && let Some(host) = asked_host(&request)
        && !is_ours(host, &shared.config.allowed_hosts)
    {
        return Problem::wrong_host(host).into_response();
    }
    next.run(request).await
}

fn asked_host(request: &Request) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.host());
    }
    let value = request.headers().get(header::HOST)?;
    Some(value.to_str().unwrap_or("not text"))
}

fn is_ours(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host).to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
        return true;
    }
    allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// A body that says it is too large is not read at all; one that does not say is cut by axum.
pub(crate) async fn body(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let bound = shared.config.max_body_bytes;
    let told = request.headers().get(header::CONTENT_LENGTH);
    let length = told.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > bound) {
        return Problem::too_large(bound).into_response();
    }
    next.run(request).await
}

pub(crate) async fn key(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match admitted(&shared, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// As [`key`], unless the configuration opens `/metrics`.
pub(crate) async fn metrics_key(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if shared.config.metrics_without_key {
        return next.run(request).await;
    }
    key(State(shared), request, next).await
}

fn admitted(shared: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    if shared.keys.is_empty() {
        return Ok(());
    }
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return Err(Problem::key_wanted(
            "send Authorization: Bearer and one of api.api_keys",
        ));
    };
    let given = given.to_str().unwrap_or("");
    let bearer = match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => {
            return Err(Problem::key_wanted(
                "the Authorization header must be Bearer and a key",
            ));
        }
    };
    if shared.keys.admit(bearer) {
        Ok(())
    } else {
        Err(Problem::key_wanted("the key is not one of api.api_keys"))
    }
}

/// Bounds how many requests are at work and how long each may be.
pub(crate) async fn pace(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Ok(_slot) = shared.slots.try_acquire() else {
        return Problem::busy().into_response();
    };
    match tokio::time::timeout(shared.config.request_timeout(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::too_slow(shared.config.request_timeout_seconds).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_and_those_allowed_are_ours() {
        let allowed = ["cs.example".to_string()];
        for ours in [
            "localhost",
            "LOCALHOST:8080",
            "app.localhost:80",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
            "CS.example:443",
        ] {
            assert!(is_ours(ours, &allowed), "{ours}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "192.168.0.1:8080",
            "127.0.0.1.nip.io",
            "[fe80::1]",
            "",
        ] {
            assert!(!is_ours(foreign, &allowed), "{foreign}");
        }
    }
}
