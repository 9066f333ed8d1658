//! The routes: who sends, what the body is, and each event of it on its way.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use event::{Reason, Rejection};
use serde_json::value::RawValue;

use super::body::{Whole, whole};
use super::line_stream::take_lines;
use super::outcome::Outcome;
use super::outlet::Item;
use super::refusal::Refusal;
use super::segment::{self, CALLS, Envelope, Inherited};
use super::window::Window;
use super::write_keys::Writer;
use super::{Collector, cors, now_ms};
use crate::problem::Problem;

/// Content types of a stream of lines.
const LINES: [&str; 4] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
];
const CLOUDEVENT: &str = "application/cloudevents+json";
const CLOUDEVENTS: &str = "application/cloudevents-batch+json";

type Shared = State<Arc<Collector>>;

pub(super) fn routes() -> Router<Arc<Collector>> {
    let mut router = Router::new()
        .route("/v1/events", post(events).options(preflight))
        .route("/v1/import", post(import).options(preflight));
    for path in ["/v1/batch", "/v1/b"] {
        router = router.route(path, post(batch).options(preflight));
    }
    // Segment's browser SDK sends to the first letter of a call.
    for call in CALLS {
        for path in [call, &call[..1]] {
            let single = move |shared: Shared, request: Request| single(shared, request, call);
            router = router.route(&format!("/v1/{path}"), post(single).options(preflight));
        }
    }
    router.method_not_allowed_fallback(wrong_method)
}

/// The layer around has the answer.
async fn preflight() {}

async fn wrong_method(method: Method, request: Request) -> Problem {
    Problem::wrong_method(method.as_str(), request.uri().path())
}

async fn single(State(collector): Shared, request: Request, call: &'static str) -> Response {
    let taken = take_single(&collector, request, call).await;
    answer(&collector, taken)
}

async fn batch(State(collector): Shared, request: Request) -> Response {
    let bound = (collector.config.max_batch_bytes, "max_batch_bytes");
    let taken = take_batch(&collector, request, bound).await;
    answer(&collector, taken)
}

async fn import(State(collector): Shared, request: Request) -> Response {
    let bound = (collector.config.max_import_bytes, "max_import_bytes");
    let taken = if is_one_of(&LINES, request.headers()) {
        take_lines(&collector, request).await
    } else {
        take_batch(&collector, request, bound).await
    };
    answer(&collector, taken)
}

async fn events(State(collector): Shared, request: Request) -> Response {
    let is_binary = request.headers().contains_key("ce-specversion");
    let taken = if !is_binary && is_one_of(&LINES, request.headers()) {
        take_lines(&collector, request).await
    } else {
        take_events(&collector, request, is_binary).await
    };
    answer(&collector, taken)
}

/// The status follows one rule: bad events alone never make a client send the good ones again. Segment's
/// SDKs repeat after 429 and 5xx only.
fn answer(collector: &Collector, taken: Result<Outcome, Refusal>) -> Response {
    let taken = taken.and_then(|outcome| {
        if outcome.is_all_rejected() {
            Err(Refusal::AllRejected(outcome))
        } else {
            Ok(outcome)
        }
    });
    collector.metrics.look_at(&collector.budget);
    match taken {
        Ok(outcome) => outcome.into_response(),
        Err(refusal) => {
            collector.metrics.refused(refusal.label());
            refusal.into_response()
        }
    }
}

/// A request whose sender is not known before the body has been read.
pub(super) struct Arrived {
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// By the headers.
    pub(super) writer: Option<Writer>,
}

impl Arrived {
    pub(super) fn new(collector: &Collector, request: Request) -> Result<Arrived, Refusal> {
        if collector.is_away() {
            return Err(Refusal::NotAcknowledged(Outcome::default()));
        }
        let (parts, body) = request.into_parts();
        let writer = match presented(&parts.headers)? {
            Some(key) => Some(admitted(collector, &parts.headers, Some(&key))?),
            None => None,
        };
        Ok(Arrived {
            headers: parts.headers,
            body,
            writer,
        })
    }

    async fn read(
        self,
        collector: &Arc<Collector>,
        bound: (usize, &'static str),
    ) -> Result<(HeaderMap, Option<Writer>, Whole), Refusal> {
        let whole = whole(collector, &self.headers, self.body, bound).await?;
        Ok((self.headers, self.writer, whole))
    }
}

/// The key in the headers: the user of Basic, or Bearer.
fn presented(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let unreadable =
        Refusal::KeyWanted("the Authorization header must be Basic, with the write key as user, or Bearer");
    let Some((scheme, rest)) = given.to_str().ok().and_then(|given| given.split_once(' ')) else {
        return Err(unreadable);
    };
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unreadable);
    }
    let decoded = BASE64.decode(rest.trim()).ok();
    let Some(pair) = decoded.and_then(|decoded| String::from_utf8(decoded).ok()) else {
        return Err(unreadable);
    };
    let user = pair.split_once(':').map_or(pair.as_str(), |(user, _)| user);
    Ok(Some(user.to_owned()))
}

pub(super) fn admitted(
    collector: &Collector,
    headers: &HeaderMap,
    key: Option<&str>,
) -> Result<Writer, Refusal> {
    let writer = match key {
        Some(key) => collector.keys.admit(key, cors::is_from_page(headers))?,
        None => collector.keys.admit_without()?,
    };
    let allowed = &collector.config.allowed_origins;
    if collector.keys.is_open()? && !cors::may_write_without_key(allowed, headers) {
        return Err(Refusal::Forbidden(
            "while no write key exists, events are taken from web pages of this machine alone: make a key \
             with mimamori keys create --kind browser, or name the page's origin in collector.allowed_origins"
                .to_owned(),
        ));
    }
    Ok(writer)
}

async fn take_single(collector: &Arc<Collector>, request: Request, call: &str) -> Result<Outcome, Refusal> {
    let bound = (collector.config.max_batch_bytes, "max_batch_bytes");
    let (headers, writer, whole) = Arrived::new(collector, request)?.read(collector, bound).await?;
    let received_at = now_ms();
    let text = std::str::from_utf8(&whole.bytes);
    let writer = match writer {
        Some(writer) => writer,
        None => admitted(
            collector,
            &headers,
            text.ok().and_then(segment::write_key).as_deref(),
        )?,
    };
    let mut window = Window::new(collector, writer, false);
    window.admit(1)?;
    let message = text.map(|text| segment::completed(text, Some(call), Inherited::default()));
    let bytes = message.as_deref().map_or(&whole.bytes[..], str::as_bytes);
    window.take(0, plain(bytes), received_at).await?;
    window.settle().await
}

async fn take_batch(
    collector: &Arc<Collector>,
    request: Request,
    bound: (usize, &'static str),
) -> Result<Outcome, Refusal> {
    let (headers, writer, whole) = Arrived::new(collector, request)?.read(collector, bound).await?;
    let received_at = now_ms();
    let envelope = text_of(&whole.bytes).and_then(Envelope::read);
    let writer = match writer {
        Some(writer) => writer,
        None => {
            let key = envelope
                .as_ref()
                .ok()
                .and_then(|(envelope, _)| envelope.write_key());
            admitted(collector, &headers, key.as_deref())?
        }
    };
    let (envelope, messages) = match envelope {
        Ok(read) => read,
        Err(rejection) => return reject_whole(collector, writer, &whole.bytes, rejection).await,
    };
    take_all(collector, writer, envelope.completed(messages), &[], received_at).await
}

async fn take_events(
    collector: &Arc<Collector>,
    request: Request,
    is_binary: bool,
) -> Result<Outcome, Refusal> {
    let bound = (collector.config.max_batch_bytes, "max_batch_bytes");
    let (headers, writer, whole) = Arrived::new(collector, request)?.read(collector, bound).await?;
    let received_at = now_ms();
    let text = text_of(&whole.bytes);
    let writer = match writer {
        Some(writer) => writer,
        None => {
            let key = text.as_ref().ok().and_then(|text| segment::write_key(text));
            admitted(collector, &headers, key.as_deref())?
        }
    };
    if is_binary {
        let kept = cloudevent_headers(&headers);
        let item = Item {
            headers: &kept,
            ..plain(&whole.bytes)
        };
        return take_one(collector, writer, item, received_at).await;
    }
    let text = match text {
        Ok(text) => text,
        Err(rejection) => return reject_whole(collector, writer, &whole.bytes, rejection).await,
    };
    let structured = [(header::CONTENT_TYPE.as_str(), CLOUDEVENT.as_bytes())];
    let is_cloudevents = is_one_of(&[CLOUDEVENTS], &headers);
    if is_cloudevents || text.trim_start().starts_with('[') {
        let items: Vec<&RawValue> = match serde_json::from_str(text) {
            Ok(items) => items,
            Err(error) => {
                let detail = format!("the body is not one JSON array of events: {error}");
                let reason = Reason::NotJson;
                return reject_whole(collector, writer, &whole.bytes, Rejection { reason, detail }).await;
            }
        };
        let items = items.into_iter().map(|item| Cow::Borrowed(item.get()));
        let headers = if is_cloudevents { &structured[..] } else { &[] };
        return take_all(collector, writer, items, headers, received_at).await;
    }
    let is_structured = is_one_of(&[CLOUDEVENT], &headers);
    let message = segment::completed(text, None, Inherited::default());
    let item = Item {
        headers: if is_structured { &structured } else { &[] },
        ..plain(message.as_bytes())
    };
    take_one(collector, writer, item, received_at).await
}

async fn take_one(
    collector: &Arc<Collector>,
    writer: Writer,
    item: Item<'_>,
    received_at: i64,
) -> Result<Outcome, Refusal> {
    let mut window = Window::new(collector, writer, false);
    window.admit(1)?;
    window.take(0, item, received_at).await?;
    window.settle().await
}

async fn take_all<'t>(
    collector: &Arc<Collector>,
    writer: Writer,
    items: impl ExactSizeIterator<Item = Cow<'t, str>>,
    headers: &[(&str, &[u8])],
    received_at: i64,
) -> Result<Outcome, Refusal> {
    if items.len() == 0 {
        return Ok(Outcome::default());
    }
    let mut window = Window::new(collector, writer, false);
    window.admit(items.len() as u64)?;
    for (index, item) in items.enumerate() {
        let item = Item {
            headers,
            ..plain(item.as_bytes())
        };
        window.take(index as u64, item, received_at).await?;
    }
    window.settle().await
}

/// A body that cannot be taken apart is one rejected item.
async fn reject_whole(
    collector: &Arc<Collector>,
    writer: Writer,
    bytes: &[u8],
    rejection: Rejection,
) -> Result<Outcome, Refusal> {
    let mut window = Window::new(collector, writer, false);
    window.admit(1)?;
    window.reject(0, plain(bytes), rejection).await?;
    window.settle().await
}

pub(super) fn plain(bytes: &[u8]) -> Item<'_> {
    Item {
        bytes,
        headers: &[],
        cut_from: None,
    }
}

fn text_of(bytes: &[u8]) -> Result<&str, Rejection> {
    std::str::from_utf8(bytes).map_err(|_| Rejection {
        reason: Reason::NotUtf8,
        detail: "the body is not utf-8: encode the json as utf-8".to_owned(),
    })
}

/// What a binary CloudEvent has in its headers.
fn cloudevent_headers(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| name.starts_with("ce-") || *name == header::CONTENT_TYPE.as_str())
        .collect()
}

fn is_one_of(types: &[&str], headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = given.split(';').next().unwrap_or("").trim();
    types.iter().any(|known| known.eq_ignore_ascii_case(media_type))
}
