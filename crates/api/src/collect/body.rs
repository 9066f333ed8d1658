//! Bodies, read a piece at a time within the bounds and deadlines of the configuration.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::BodyExt;

use super::Collector;
use super::budget::HeldBytes;
use super::refusal::Refusal;
use super::unpack::Unpacker;

/// What is passed over of a body that is refused, in bytes and in time.
const PASSED_OVER: usize = 1024 * 1024;
const PASSING_OVER: Duration = Duration::from_millis(500);

pub(super) struct BodyReader {
    body: Body,
    pub(super) unpacker: Unpacker,
    pause: Duration,
}

impl BodyReader {
    pub(super) fn new(collector: &Collector, headers: &HeaderMap, body: Body) -> Result<BodyReader, Refusal> {
        Ok(BodyReader {
            body,
            unpacker: Unpacker::of(headers)?,
            pause: collector.config.read_timeout(),
        })
    }

    /// The next piece, as it came; `None` at the end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = tokio::time::timeout(self.pause, self.body.frame()).await;
            let Ok(frame) = frame else {
                let detail = format!(
                    "nothing came for {} ms (collector.read_timeout_ms)",
                    self.pause.as_millis()
                );
                return Err(Refusal::Unread(detail));
            };
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
                Some(Err(error)) => return Err(Refusal::Unread(format!("the body broke off: {error}"))),
            }
        }
    }
}

/// Passes over what still comes of a refused body, within bounds: a connection that is closed with bytes
/// unread is reset, and a reset may overtake the answer.
async fn pass_over(mut body: Body) {
    let passed = async {
        let mut left = PASSED_OVER;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _in_time = tokio::time::timeout(PASSING_OVER, passed).await;
}

/// A body that was read to its end, and unpacked.
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    _held: HeldBytes,
}

/// Reads a body of at most `bound` bytes (the setting `name`), both packed and unpacked.
pub(super) async fn whole(
    collector: &Arc<Collector>,
    headers: &HeaderMap,
    body: Body,
    (bound, name): (usize, &'static str),
) -> Result<Whole, Refusal> {
    let told = headers.get(header::CONTENT_LENGTH);
    let told = told.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|told| told > bound) {
        pass_over(body).await;
        return Err(Refusal::TooLarge(bound, name));
    }
    let deadline = collector.config.body_timeout();
    let mut reader = BodyReader::new(collector, headers, body)?;
    let read = tokio::time::timeout(deadline, read_whole(collector, &mut reader, bound, name)).await;
    match read {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(refusal)) => {
            pass_over(reader.body).await;
            Err(refusal)
        }
        Err(_) => {
            let detail = format!(
                "it took over {} ms (collector.body_timeout_ms)",
                deadline.as_millis()
            );
            Err(Refusal::Unread(detail))
        }
    }
}

async fn read_whole(
    collector: &Arc<Collector>,
    reader: &mut BodyReader,
    bound: usize,
    name: &'static str,
) -> Result<Whole, Refusal> {
    let budget = &collector.budget;
    let mut held = budget.try_bytes(0).ok_or(Refusal::Overload)?;
    let mut bytes = Vec::new();
    let mut paid = 0;
    let mut pay = |out: &mut Vec<u8>| {
        if out.len() > bound {
            return Err(Refusal::TooLarge(bound, name));
        }
        if out.len() > paid {
            held.add(budget.try_bytes(out.len() - paid).ok_or(Refusal::Overload)?);
            paid = out.len();
        }
        Ok(())
    };
    while let Some(piece) = reader.piece().await? {
        reader.unpacker.unpack(&piece, &mut bytes, &mut pay)?;
    }
    reader.unpacker.finish(&mut bytes)?;
    pay(&mut bytes)?;
    Ok(Whole { bytes, _held: held })
}
