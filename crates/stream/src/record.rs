//! One record, and how it is taken out of the client's buffers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message as _};
use tracing::debug;

/// One record, copied out of the client's buffers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset within the partition.
    pub offset: i64,
    /// Milliseconds since the epoch: when the producer made it, or the broker took it, as the topic says.
    pub timestamp_ms: Option<i64>,
    /// The key, if any.
    pub key: Option<Vec<u8>>,
    /// The headers, in their order; a null value is an empty one.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The value; a null value is an empty one.
    pub payload: Vec<u8>,
}

pub(crate) fn copy(topic: &Arc<str>, message: &BorrowedMessage<'_>) -> Record {
    Record {
        topic: Arc::clone(topic),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        headers: message.headers().map_or_else(Vec::new, copy_headers),
        payload: message.payload().map_or_else(Vec::new, <[u8]>::to_vec),
    }
}

/// The client library panics at a header whose name is not UTF-8, which anybody can send. Such a
/// header is left out, the record goes on.
fn copy_headers(headers: &BorrowedHeaders) -> Vec<(String, Vec<u8>)> {
    let mut copied = Vec::with_capacity(headers.count());
    for index in 0..headers.count() {
        let header = catch_unwind(AssertUnwindSafe(|| {
            let header = headers.try_get(index)?;
            Some((
                header.key.to_owned(),
                header.value.map_or_else(Vec::new, <[u8]>::to_vec),
            ))
        }));
        match header {
            Ok(header) => copied.extend(header),
            Err(_) => debug!("left out a header whose name is not utf-8"),
        }
    }
    copied
}
