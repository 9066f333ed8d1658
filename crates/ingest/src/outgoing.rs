//! What becomes of a raw record: an accepted event, or the rejected original with its reason.
//!
//! The outcome is a function of the record and of the time of receipt alone, so that a record that
//! must be sent again becomes the same again.

use event::{Decoder, Event, Reason, Rejection, wire};
use stream::{Delivery, Error, Producer, Record, topics};

use crate::metrics::Outcome;

/// Names of sources longer than this are not names.
const MAX_SOURCE_BYTES: usize = 64;
/// What is kept of an original that is too large for the topic of rejected records.
const KEPT_BYTES: usize = 256 * 1024;
/// Prefix of the original headers of a rejected record, so that it can be replayed as it was.
const ORIGINAL_HEADER: &str = "original.";

/// The source that a record names in its header `source`, else its topic.
pub(crate) fn source(record: &Record) -> &str {
    let named = record.headers.iter().find(|(name, _)| name == "source");
    named
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
        .filter(|name| {
            !name.is_empty() && name.len() <= MAX_SOURCE_BYTES && !name.chars().any(char::is_control)
        })
        .unwrap_or(&record.topic)
}

/// Decodes, and sends where the outcome belongs.
pub(crate) struct Sender {
    pub(crate) producer: Producer,
    pub(crate) decoder: Decoder,
    /// Reused for every event.
    pub(crate) encoded: Vec<u8>,
}

impl Sender {
    /// Puts a record's outcome into the producer's queue.
    ///
    /// # Errors
    /// As [`Producer::send`], save that too large a record is rejected, or cut, in place of failing.
    pub(crate) fn send(&mut self, record: &Record, received_at: i64) -> Result<(Outcome, Delivery), Error> {
        let source = source(record);
        let decoded = if record.headers.is_empty() {
            self.decoder.decode(&record.payload, &[], received_at, source)
        } else {
            let headers: Vec<(&str, &[u8])> = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()))
                .collect();
            self.decoder
                .decode(&record.payload, &headers, received_at, source)
        };
        match decoded {
            Ok(event) => self.accept(record, &event),
            Err(rejection) => self.reject(record, &rejection),
        }
    }

    fn accept(&mut self, record: &Record, event: &Event) -> Result<(Outcome, Delivery), Error> {
        self.encoded.clear();
        wire::encode(event, &mut self.encoded);
        let sent = self.producer.send(
            topics::EVENTS,
            Some(event.account_id.as_bytes()),
            &self.encoded,
            &[],
        );
        match sent {
            Err(Error::TooLarge { bytes, .. }) => {
                let detail = format!(
                    "the event takes {bytes} bytes on the wire, more than {} takes",
                    topics::EVENTS
                );
                self.reject(
                    record,
                    &Rejection {
                        reason: Reason::EventTooLarge,
                        detail,
                    },
                )
            }
            sent => Ok((Outcome::Accepted, sent?)),
        }
    }

    fn reject(&self, record: &Record, rejection: &Rejection) -> Result<(Outcome, Delivery), Error> {
        match self.keep(record, rejection, record.payload.len()) {
            Err(Error::TooLarge { .. }) => self
                .keep(record, rejection, KEPT_BYTES)
                .map(|delivery| (Outcome::Rejected(rejection.reason), delivery)),
            kept => Ok((Outcome::Rejected(rejection.reason), kept?)),
        }
    }

    /// Sends what is kept of an original: all of it, or its beginning.
    fn keep(&self, record: &Record, rejection: &Rejection, kept: usize) -> Result<Delivery, Error> {
        let kept = kept.min(record.payload.len());
        let partition = record.partition.to_string();
        let offset = record.offset.to_string();
        let length = record.payload.len().to_string();
        let originals: Vec<(String, &[u8])> = record
            .headers
            .iter()
            .map(|(name, value)| (format!("{ORIGINAL_HEADER}{name}"), value.as_slice()))
            .collect();

        let mut headers: Vec<(&str, &[u8])> = vec![
            ("reason", rejection.reason.as_str().as_bytes()),
            ("detail", rejection.detail.as_bytes()),
            ("source_topic", record.topic.as_bytes()),
            ("source_partition", partition.as_bytes()),
            ("source_offset", offset.as_bytes()),
        ];
        if kept < record.payload.len() {
            headers.push(("original_bytes", length.as_bytes()));
        } else {
            headers.extend(originals.iter().map(|(name, value)| (name.as_str(), *value)));
        }
        let key = record.key.as_deref().filter(|key| key.len() <= KEPT_BYTES);
        self.producer
            .send(topics::REJECTED, key, &record.payload[..kept], &headers)
    }

    /// A record's delivery failed because it is too large after all (the topic's bound is the
    /// broker's to know): it is rejected, with its beginning.
    pub(crate) fn send_cut(&self, record: &Record) -> Result<(Outcome, Delivery), Error> {
        let detail =
            "the broker refuses a record of this size: raise max.message.bytes of the topic".to_owned();
        let rejection = Rejection {
            reason: Reason::EventTooLarge,
            detail,
        };
        let delivery = self.keep(record, &rejection, KEPT_BYTES)?;
        Ok((Outcome::Rejected(rejection.reason), delivery))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn record(headers: &[(&str, &[u8])]) -> Record {
        Record {
            topic: Arc::from("usage.events"),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: None,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
                .collect(),
            payload: Vec::new(),
        }
    }

    #[test]
    fn the_source_is_the_header_if_it_is_a_name_else_the_topic() {
        assert_eq!(source(&record(&[])), "usage.events");
        assert_eq!(
            source(&record(&[("other", b"x"), ("source", b"billing")])),
            "billing"
        );
        for not_a_name in [b"".as_slice(), b"\xff", b"a\nb", &[b'a'; 65]] {
            assert_eq!(
                source(&record(&[("source", not_a_name)])),
                "usage.events",
                "{not_a_name:?}"
            );
        }
    }
}
