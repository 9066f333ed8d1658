//! Why a request was not taken at all. What is wrong with single events is not told here, save that none
//! was right: Segment's SDKs send again after 429 and 5xx, and give up after any other 4xx.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::outcome::Outcome;
use crate::problem::Problem;

/// Seconds after which a request that found no room, or no broker, may come again.
const RETRY_SECONDS: u64 = 2;

#[derive(Debug)]
pub(super) enum Refusal {
    /// No key, or not a right one.
    KeyWanted(&'static str),
    /// The key is right, but may not be used like this.
    Forbidden(String),
    /// The bytes that a body may have, and the setting.
    TooLarge(usize, &'static str),
    /// `Content-Encoding` is none that is read.
    Encoding,
    /// The body does not unpack.
    Packed(String),
    /// The body did not come in time, or not to its end.
    Unread(String),
    /// The key's rate is exceeded; seconds to wait.
    Rate(u64),
    /// The key's quota of the day is used up; seconds to wait.
    Quota(u64),
    /// No room.
    Overload,
    /// The keys have not been read yet.
    KeysUnread,
    /// The broker has not acknowledged everything. What of it has been is told.
    NotAcknowledged(Outcome),
    /// None of the events was right.
    AllRejected(Outcome),
    /// A stream was given up for this reason; what of it has been acknowledged is told.
    Cut(Box<Refusal>, Outcome),
}

impl Refusal {
    /// As the metrics have it.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Refusal::KeyWanted(_) => "key_wanted",
            Refusal::Forbidden(_) => "forbidden",
            Refusal::TooLarge(..) => "body_too_large",
            Refusal::Encoding => "unknown_encoding",
            Refusal::Packed(_) => "not_unpacked",
            Refusal::Unread(_) => "body_unread",
            Refusal::Rate(_) => "rate_limit",
            Refusal::Quota(_) => "quota",
            Refusal::Overload => "overload",
            Refusal::KeysUnread => "keys_unread",
            Refusal::NotAcknowledged(_) => "not_acknowledged",
            Refusal::AllRejected(_) => "all_rejected",
            Refusal::Cut(refusal, _) => refusal.label(),
        }
    }

    fn problem(self) -> Problem {
        match self {
            Refusal::KeyWanted(detail) => Problem::new(
                StatusCode::UNAUTHORIZED,
                "write-key-wanted",
                "A write key is wanted",
                detail,
            )
            .with(
                header::WWW_AUTHENTICATE,
                "Basic realm=\"mimamori\", Bearer realm=\"mimamori\"",
            ),
            Refusal::Forbidden(detail) => Problem::new(
                StatusCode::FORBIDDEN,
                "not-from-there",
                "Events are not taken from there",
                detail,
            ),
            Refusal::TooLarge(bound, setting) => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The body is too large",
                format!(
                    "a body may have {bound} bytes, unpacked (collector.{setting}): send fewer events at \
                     once, or application/x-ndjson to /v1/events, of any length"
                ),
            ),
            Refusal::Encoding => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unknown-encoding",
                "The encoding is not read",
                "Content-Encoding may be gzip, zstd or identity",
            )
            .with(header::ACCEPT_ENCODING, "gzip, zstd"),
            Refusal::Packed(reason) => Problem::new(
                StatusCode::BAD_REQUEST,
                "not-unpacked",
                "The body does not unpack",
                format!("the body is not what Content-Encoding says: {reason}"),
            ),
            Refusal::Unread(detail) => Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body-unread",
                "The body could not be read",
                detail,
            ),
            Refusal::Rate(seconds) => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limit",
                "More events a second than the write key may send",
                format!("send again in {seconds} s"),
            )
            .after(seconds),
            Refusal::Quota(seconds) => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "quota",
                "The write key's events of the day are used up",
                format!("the next day begins at midnight UTC, in {seconds} s"),
            )
            .after(seconds),
            Refusal::Overload => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too much is being taken in at once",
                "as much waits for Kafka's acknowledgement as collector.max_in_flight_bytes and \
                 max_in_flight_records allow; send again",
            )
            .after(RETRY_SECONDS),
            Refusal::KeysUnread => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "keys-unread",
                "The write keys are not known yet",
                "ClickHouse, which holds them, has not answered since the start; send again",
            )
            .after(RETRY_SECONDS),
            Refusal::NotAcknowledged(outcome) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-acknowledged",
                "Kafka has not acknowledged every event",
                "send the request again: an event_id that comes twice counts once",
            )
            .after(RETRY_SECONDS)
            .telling(outcome),
            Refusal::AllRejected(outcome) => Problem::new(
                StatusCode::BAD_REQUEST,
                "events-rejected",
                "No event could be accepted",
                outcome.first_words(),
            )
            .telling(outcome),
            Refusal::Cut(refusal, outcome) => refusal.problem().telling(outcome),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

impl Problem {
    fn with(mut self, name: HeaderName, value: &'static str) -> Problem {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    fn after(mut self, seconds: u64) -> Problem {
        self.headers
            .push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }

    fn telling(mut self, outcome: Outcome) -> Problem {
        self.collected = Some(Box::new(outcome));
        self
    }
}
