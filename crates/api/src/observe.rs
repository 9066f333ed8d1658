//! What holds for every answer: it carries the request's id and the headers that keep a browser from
//! doing more with it than was meant, and it is counted.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tracing::{debug, warn};
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// No script, style or connection but the server's own, no framing, no plug-ins, no forms elsewhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

const SECURITY_HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// Counts of what was asked and how long the answers took.
#[derive(Clone)]
pub(crate) struct HttpMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
}

impl HttpMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<HttpMetrics, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("mimamori_http_requests_total", "Requests that were answered"),
            &["route", "method", "status"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "mimamori_http_request_duration_seconds",
                "Time from the request's head to the answer's",
            )
            .buckets(prometheus::exponential_buckets(0.001, 2.0, 15)?),
            &["route"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        Ok(HttpMetrics { requests, duration })
    }
}

pub(crate) async fn observe(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let begun = now();
    // The pattern, not the path: accounts must not become label values.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_string();
    let method = known_method(&request);
    let id = request_id(&request);

    let mut response = next.run(request).await;

    let took = begun.elapsed();
    let status = response.status();
    // Not being ready is an answer, not a failure.
    if status.is_server_error() && route != "/readyz" {
        warn!(route, method, status = status.as_u16(), ?took, request_id = ?id, "request failed");
    } else {
        debug!(route, method, status = status.as_u16(), ?took, request_id = ?id, "request answered");
    }
    metrics
        .requests
        .with_label_values(&[&route, method, status.as_str()])
        .inc();
    metrics
        .duration
        .with_label_values(&[&route])
        .observe(took.as_secs_f64());

    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A client can write any word where the method stands; only the usual ones become label values.
fn known_method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// The id that the client or a proxy gave, when it is harmless to repeat, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    if let Some(given) = request.headers().get(REQUEST_ID) {
        let bytes = given.as_bytes();
        if !bytes.is_empty() && bytes.len() <= 128 && bytes.iter().all(u8::is_ascii_graphic) {
            return given.clone();
        }
    }
    let id = Uuid::new_v4().to_string();
    HeaderValue::from_str(&id).expect("a UUID is ASCII")
}

#[allow(
    clippy::disallowed_methods,
    reason = "this crate is an edge: it measures how long an answer takes"
)]
fn now() -> Instant {
    Instant::now()
}
