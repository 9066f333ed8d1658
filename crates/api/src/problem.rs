use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::collect::Outcome;

/// An answer that is not a success, as RFC 9457 writes it down.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: Box<str>,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<WrongParameter>,
    /// What became of the events of a request to the collector.
    #[serde(flatten)]
    pub(crate) collected: Option<Box<Outcome>>,
    #[serde(skip)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// A query parameter that cannot be taken.
#[derive(Debug, Serialize)]
pub(crate) struct WrongParameter {
    /// Its name.
    pub(crate) parameter: String,
    /// What is wrong with it.
    pub(crate) detail: String,
    /// What may stand there instead; empty when it cannot be listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowed: Vec<String>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        kind: &str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem {
            kind: format!("urn:mimamori:problem:{kind}").into(),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            collected: None,
            headers: Vec::new(),
        }
    }

    pub(crate) fn wrong_parameters(errors: Vec<WrongParameter>) -> Problem {
        let details: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: {}", error.parameter, error.detail))
            .collect();
        let mut problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "wrong-parameter",
            "A query parameter cannot be taken",
            details.join("; "),
        );
        problem.errors = errors;
        problem
    }

    pub(crate) fn wrong_path(detail: String) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "wrong-path",
            "The path cannot be read",
            detail,
        )
    }

    pub(crate) fn no_such_account(account_id: &str) -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-account",
            "No such account",
            format!("no event of account {account_id:?} has been accepted"),
        )
    }

    pub(crate) fn not_json(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-json",
            "The body must be JSON",
            detail,
        )
    }

    pub(crate) fn wrong_body(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "wrong-body",
            "The body cannot be taken",
            detail,
        )
    }

    pub(crate) fn no_such_hold(asked: &str, tripped: &[String]) -> Problem {
        let detail = if tripped.is_empty() {
            format!("{asked:?} has not tripped, and nothing else has")
        } else {
            format!(
                "{asked:?} has not tripped, or is not one name; these have: {}",
                tripped.join(", ")
            )
        };
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-hold",
            "Nothing is held by that name",
            detail,
        )
    }

    pub(crate) fn no_such_route(path: &str) -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-route",
            "Nothing is here",
            format!("nothing answers at {path}; /api/v1/openapi.json lists what does"),
        )
    }

    pub(crate) fn wrong_method(method: &str, path: &str) -> Problem {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong-method",
            "The method is not answered here",
            format!("{path} does not answer {method}; /api/v1/openapi.json lists what it answers"),
        )
    }

    pub(crate) fn key_wanted(detail: &str) -> Problem {
        let mut problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "key-wanted",
            "An API key is wanted",
            detail,
        );
        problem.headers = vec![(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"mimamori\""),
        )];
        problem
    }

    pub(crate) fn wrong_host(host: &str) -> Problem {
        Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong-host",
            "Not under this host name",
            format!(
                "without an API key only loopback names are answered, not {host:?}: add it to api.allowed_hosts, or configure api.api_keys"
            ),
        )
    }

    pub(crate) fn too_large(bound: usize) -> Problem {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large",
            format!("a body may have {bound} bytes (api.max_body_bytes)"),
        )
    }

    pub(crate) fn busy() -> Problem {
        let mut problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "Too many requests at once",
            "as many requests as api.max_concurrent_requests allows are at work; ask again",
        );
        problem.headers = vec![(header::RETRY_AFTER, HeaderValue::from_static("1"))];
        problem
    }

    pub(crate) fn too_slow(seconds: u64) -> Problem {
        Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "too-slow",
            "The answer took too long",
            format!("no answer within {seconds} s (api.request_timeout_seconds)"),
        )
    }

    pub(crate) fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The answer could not be written",
            "the log names the reason under this request's x-request-id",
        )
    }
}

impl From<verify::Error> for Problem {
    fn from(error: verify::Error) -> Problem {
        match error {
            verify::Error::NoSuchAccount(account_id) => Problem::no_such_account(&account_id),
            verify::Error::NoRow(_) | verify::Error::NoEvents(_) => Problem::new(
                StatusCode::NOT_FOUND,
                "nothing-by-then",
                "Nothing of the account by then",
                error.to_string(),
            ),
            verify::Error::AnotherModel {
                account_id,
                at,
                made_by,
                configured,
            } => Problem::new(
                StatusCode::CONFLICT,
                "another-model",
                "Another model made the evaluation",
                format!(
                    "the evaluation of account {account_id:?} at {at} was made by the model {made_by}, and this \
                     server has the configuration of {configured}: start it with the configuration of the role \
                     aggregate, or ask with at for an evaluation that this one made"
                ),
            ),
            verify::Error::Store(error) => Problem::from(error),
            error @ (verify::Error::NoColumn(_) | verify::Error::Answer(_)) => {
                tracing::error!(%error, "the answer of the database could not be read");
                Problem::new(
                    StatusCode::BAD_GATEWAY,
                    "database",
                    "The database cannot answer",
                    "what ClickHouse answered cannot be read: run mimamori migrate; the log has its words",
                )
            }
        }
    }
}

impl From<store::Error> for Problem {
    /// The reader learns that the database is at fault; what it said is for the log, since it may
    /// quote addresses and queries.
    fn from(error: store::Error) -> Problem {
        tracing::warn!(%error, "query failed");
        let (status, detail) = match error {
            store::Error::Unreachable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ClickHouse does not answer; /readyz tells when it does",
            ),
            _ => (
                StatusCode::BAD_GATEWAY,
                "ClickHouse refused the query; the log has its words",
            ),
        };
        Problem::new(status, "database", "The database cannot answer", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}
