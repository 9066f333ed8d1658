//! Between the asynchronous connection and the thread of a statement: the request's body one
//! way, the response the other.
//!
//! Both ways are channels with a bound, so a side that is slow slows the other. Either wait
//! ends when the statement is cancelled or the client has moved nothing for the idle timeout;
//! that for the body also when the statement's `max_execution_time` is over. A body counts as whole only when its end was announced: one that breaks off is an error.

use std::{
    io::{self, BufRead, Read},
    time::Duration,
};

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    time::{Instant, timeout},
};

use super::{
    compression::Encoder,
    exception::{Exception, code},
};

/// Parts of a body that wait between the two sides.
pub(super) const PARTS_WAITING: usize = 8;

/// How a statement's thread waits for its client.
#[derive(Clone)]
pub(super) struct Wait {
    pub handle: Handle,
    pub idle: Duration,
    pub cancelled: watch::Receiver<bool>,
    /// How long the body may take from now on, all in all.
    pub body_limit: Option<Duration>,
}

impl Wait {
    fn until<T>(&mut self, moved: impl Future<Output = T>, limit: Limit) -> Result<T, Exception> {
        let (handle, idle, cancelled) = (&self.handle, self.idle, &mut self.cancelled);
        handle.block_on(async {
            tokio::select! {
                moved = timeout(idle, moved) => moved.map_err(|_| {
                    let reason = format!("the client moved nothing for {} s", idle.as_secs());
                    Exception::new(code::NETWORK_ERROR, reason)
                }),
                _ = cancelled.wait_for(|cancelled| *cancelled) => {
                    Err(Exception::new(code::QUERY_WAS_CANCELLED, "the statement was cancelled"))
                }
                limit = limit.over() => {
                    let reason = format!("timeout exceeded: the body was not whole after {} s", limit.as_secs_f64());
                    Err(Exception::new(code::TIMEOUT_EXCEEDED, reason))
                }
            }
        })
    }
}

/// A limit, and the instant at which it is over.
#[derive(Clone, Copy)]
struct Limit(Option<(Duration, Instant)>);

impl Limit {
    const NONE: Limit = Limit(None);

    async fn over(self) -> Duration {
        let Some((limit, end)) = self.0 else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(end).await;
        limit
    }
}

/// A piece of a request's body.
pub(super) enum BodyPart {
    Data(Bytes),
    /// The body is complete.
    End,
    Failed(Exception),
}

/// A request's body, for the statement's thread.
pub(super) struct BodyReader {
    parts: mpsc::Receiver<BodyPart>,
    wait: Wait,
    limit: Limit,
    chunk: Bytes,
    ended: bool,
}

impl BodyReader {
    pub fn new(parts: mpsc::Receiver<BodyPart>, wait: Wait) -> BodyReader {
        let end = |limit| Some((limit, Instant::now().checked_add(limit)?));
        BodyReader {
            parts,
            limit: Limit(wait.body_limit.and_then(end)),
            wait,
            chunk: Bytes::new(),
            ended: false,
        }
    }
}

impl BufRead for BodyReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() && !self.ended {
            let part = match self.parts.try_recv() {
                Ok(part) => Some(part),
                Err(_) => self.wait.until(self.parts.recv(), self.limit)?,
            };
            match part {
                Some(BodyPart::Data(data)) => self.chunk = data,
                Some(BodyPart::End) => self.ended = true,
                Some(BodyPart::Failed(exception)) => return Err(exception.into()),
                None => return Err(Exception::new(code::NETWORK_ERROR, "the request broke off").into()),
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount.min(self.chunk.len()));
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// Refuses a body that is larger than it may be, counted after decompression.
pub(super) struct Capped<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Capped<R> {
    pub fn new(inner: R, limit: u64) -> Capped<R> {
        Capped {
            inner,
            left: limit,
            limit,
        }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                let reason = format!("the body is larger than {} bytes: send it in parts", self.limit);
                return Err(Exception::new(code::QUERY_IS_TOO_LARGE, reason).into());
            }
        }
        Ok(read)
    }
}

/// The start of a response.
pub(super) struct Head {
    pub status: StatusCode,
    pub headers: Vec<(&'static str, String)>,
}

/// A piece of a response.
pub(super) enum Part {
    Head(Head),
    Data(Bytes),
    /// The response is complete.
    End,
}

/// A response, from the statement's thread.
pub(super) struct Reply {
    parts: mpsc::Sender<Part>,
    wait: Wait,
    encoder: Option<Encoder>,
    version: String,
    query_id: String,
    /// Set apart in the response's headers, so that a client can tell a failure after the first
    /// rows from the rows.
    tag: String,
    has_begun: bool,
}

impl Reply {
    pub fn new(
        parts: mpsc::Sender<Part>,
        wait: Wait,
        encoder: Encoder,
        version: String,
        query_id: String,
    ) -> Reply {
        let tag = uuid::Uuid::new_v4().simple().to_string()[..16].to_owned();
        Reply {
            parts,
            wait,
            encoder: Some(encoder),
            version,
            query_id,
            tag,
            has_begun: false,
        }
    }

    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Begins a response that succeeds so far.
    ///
    /// # Errors
    /// When the client takes nothing any more.
    pub fn begin(
        &mut self,
        mut headers: Vec<(&'static str, String)>,
        has_body: bool,
    ) -> Result<(), Exception> {
        if !has_body {
            self.encoder = None;
        }
        headers.push(("x-clickhouse-exception-tag", self.tag.clone()));
        self.head(StatusCode::OK, headers)
    }

    /// Sends a piece of the result.
    ///
    /// # Errors
    /// When the client takes nothing any more.
    pub fn data(&mut self, data: Vec<u8>) -> Result<(), Exception> {
        let encoded = match &mut self.encoder {
            Some(encoder) => encoder.encode(data),
            None => data,
        };
        self.send(Part::Data(encoded.into()))
    }

    /// Ends a response that succeeded.
    pub fn end(mut self) {
        // A client that is gone needs no end.
        let _gone = self.finish();
    }

    fn finish(&mut self) -> Result<(), Exception> {
        let rest = self.encoder.take().map(Encoder::finish).unwrap_or_default();
        if !rest.is_empty() {
            self.send(Part::Data(rest.into()))?;
        }
        self.send(Part::End)
    }

    /// Tells the client that the statement failed: by the status, or, behind rows already sent,
    /// by a tagged text and a response that breaks off.
    pub fn fail(mut self, exception: &Exception) {
        let text = exception.to_client(&self.version);
        // A client that is gone needs no answer.
        let _gone = if self.has_begun {
            let tag = &self.tag;
            let length = text.len();
            let frame = format!("\r\n__exception__\r\n{tag}\r\n{text}{length} {tag}\r\n__exception__\r\n");
            self.data(frame.into_bytes())
        } else {
            let headers = vec![("x-clickhouse-exception-code", exception.code().to_string())];
            self.head(exception.status(), headers)
                .and_then(|()| self.data(text.into_bytes()))
                .and_then(|()| self.finish())
        };
    }

    fn head(
        &mut self,
        status: StatusCode,
        mut headers: Vec<(&'static str, String)>,
    ) -> Result<(), Exception> {
        headers.push(("x-clickhouse-query-id", self.query_id.clone()));
        if let Some(encoding) = self.encoder.as_ref().and_then(Encoder::content_encoding) {
            headers.push(("content-encoding", encoding.to_owned()));
        }
        self.has_begun = true;
        self.send(Part::Head(Head { status, headers }))
    }

    fn send(&mut self, part: Part) -> Result<(), Exception> {
        let gone = || Exception::new(code::NETWORK_ERROR, "the client went away");
        match self.parts.try_send(part) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(gone()),
            Err(mpsc::error::TrySendError::Full(part)) => self
                .wait
                .until(self.parts.send(part), Limit::NONE)?
                .map_err(|_| gone()),
        }
    }
}
