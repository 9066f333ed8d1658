//! Events a line, in a body of any length: read as fast as the broker acknowledges, and no faster than the
//! key's rate.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;

use super::body::BodyReader;
use super::handlers::{Arrived, admitted, plain};
use super::lines::{Line, Lines};
use super::meter::Exceeded;
use super::outcome::Outcome;
use super::outlet::Item;
use super::refusal::Refusal;
use super::window::Window;
use super::{Collector, now_ms};

/// What a stream holds beside its longest line and what waits for acknowledgement.
const STREAM_BYTES: usize = 256 * 1024;

pub(super) async fn take_lines(collector: &Arc<Collector>, request: Request) -> Result<Outcome, Refusal> {
    let arrived = Arrived::new(collector, request)?;
    let writer = match arrived.writer {
        Some(writer) => writer,
        None => admitted(collector, &arrived.headers, None)?,
    };
    let longest = collector.max_event_bytes;
    let held = collector.budget.try_bytes(longest + STREAM_BYTES);
    let _held = held.ok_or(Refusal::Overload)?;
    let mut reader = BodyReader::new(collector, &arrived.headers, arrived.body)?;
    let mut stream = LineStream {
        window: Window::new(collector, writer, true),
        collector,
        lines: Lines::new(longest),
        number: 0,
    };
    match stream.run(&mut reader).await {
        Ok(()) => stream.window.settle().await,
        Err(refusal @ Refusal::NotAcknowledged(_)) => Err(refusal),
        Err(refusal) => {
            let outcome = stream.window.settle().await?;
            Err(Refusal::Cut(Box::new(refusal), outcome))
        }
    }
}

struct LineStream<'c> {
    collector: &'c Collector,
    window: Window<'c>,
    lines: Lines,
    number: u64,
}

impl LineStream<'_> {
    async fn run(&mut self, reader: &mut BodyReader) -> Result<(), Refusal> {
        while let Some(piece) = self.piece(reader).await? {
            let received_at = now_ms();
            let mut packed = &piece[..];
            let mut is_more = true;
            while is_more {
                is_more = reader.unpacker.step(&mut packed, self.lines.tail())?;
                self.take_lines(received_at).await?;
            }
        }
        reader.unpacker.finish(self.lines.tail())?;
        let received_at = now_ms();
        self.take_lines(received_at).await?;
        if let Some(line) = self.lines.last() {
            take_line(self.collector, &mut self.window, self.number, line, received_at).await?;
        }
        Ok(())
    }

    /// The next piece. What is acknowledged while the client pauses gives its place back: slow clients must
    /// not hold what others could use.
    async fn piece(&mut self, reader: &mut BodyReader) -> Result<Option<Bytes>, Refusal> {
        loop {
            tokio::select! {
                biased;
                piece = reader.piece() => return piece,
                settled = self.window.settle_oldest(), if self.window.is_waiting() => settled?,
            }
        }
    }

    async fn take_lines(&mut self, received_at: i64) -> Result<(), Refusal> {
        while let Some(line) = self.lines.next() {
            take_line(self.collector, &mut self.window, self.number, line, received_at).await?;
            self.number += 1;
        }
        Ok(())
    }
}

async fn take_line(
    collector: &Collector,
    window: &mut Window<'_>,
    number: u64,
    line: Line<'_>,
    received_at: i64,
) -> Result<(), Refusal> {
    let item = match line {
        Line::Whole(line) if line.trim_ascii().is_empty() => return Ok(()),
        Line::Whole(line) => plain(line),
        Line::TooLong(beginning, bytes) => Item {
            cut_from: Some(bytes),
            ..plain(beginning)
        },
    };
    // A stream is slowed down to its key's rate.
    while let Err(exceeded) = window.admit(1) {
        match exceeded {
            Exceeded::Rate(wait) if wait <= i64::try_from(collector.config.ack_timeout_ms).unwrap_or(0) => {
                tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
            }
            exceeded => return Err(exceeded.into()),
        }
    }
    window.take(number, item, received_at).await
}
