//! What becomes of a raw record: an accepted event, or the rejected original with its reason.
//!
//! The outcome is a function of the record and of the time of receipt alone, so that a record that
//! must be sent again becomes the same again.

use std::borrow::Cow;

use event::{Door, Event, Reason, Rejection, Violations, wire};
use stream::{Error, NumberedProducer, Record, topics};

use crate::metrics::Outcome;

/// Names of sources longer than this are not names.
const MAX_SOURCE_BYTES: usize = 64;
/// What is kept of an original that is too large for the topic of rejected records.
const KEPT_BYTES: usize = 256 * 1024;
/// Prefix of the original headers of a rejected record, so that it can be replayed as it was.
const ORIGINAL_HEADER: &str = "original.";

/// The source that a record names in its header `source`, else its topic.
pub fn source<'r>(headers: &'r [(String, Vec<u8>)], topic: &'r str) -> &'r str {
    let named = headers.iter().find(|(name, _)| name == "source");
    named
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
        .filter(|name| {
            !name.is_empty() && name.len() <= MAX_SOURCE_BYTES && !name.chars().any(char::is_control)
        })
        .unwrap_or(topic)
}

/// The headers as the door wants them.
fn headers(record: &Record) -> Vec<(&str, &[u8])> {
    let headers = record.headers.iter();
    headers
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect()
}

/// Whether a header has to do with how a record is read; where personal data are taken out, no other is
/// kept of a rejected one.
fn is_read(name: &str) -> bool {
    const CLOUDEVENTS: [&str; 5] = ["ce_specversion", "ce_id", "ce_type", "ce_subject", "ce_time"];
    let known = CLOUDEVENTS.into_iter().chain(["content-type", "source"]);
    known.into_iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// How much of an original goes to the topic of rejected records.
#[derive(Clone, Copy)]
enum Kept {
    /// All of it.
    Whole,
    /// The beginning of its value, its key unless that is large, and none of its headers.
    Beginning,
}

/// Decodes, and sends where the outcome belongs.
pub(crate) struct Sender {
    pub(crate) producer: NumberedProducer,
    pub(crate) door: Door,
    /// Reused for every event.
    pub(crate) encoded: Vec<u8>,
}

impl Sender {
    /// Puts a record's outcome into the producer's queue, under a number.
    ///
    /// # Errors
    /// As [`NumberedProducer::send`], save that too large a record is rejected, or cut, in place of failing.
    pub(crate) fn send(&mut self, number: u64, record: &Record, received_at: i64) -> Result<Outcome, Error> {
        let source = source(&record.headers, &record.topic);
        let taken = self
            .door
            .take(&record.payload, &headers(record), received_at, source);
        match taken.event {
            Ok(event) => self.accept(number, record, &event, taken.violations),
            Err(rejection) => self.reject(number, record, &rejection),
        }
    }

    fn accept(
        &mut self,
        number: u64,
        record: &Record,
        event: &Event,
        violations: Violations,
    ) -> Result<Outcome, Error> {
        self.encoded.clear();
        wire::encode(event, &mut self.encoded);
        let sent = self.producer.send(
            number,
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
                    number,
                    record,
                    &Rejection {
                        reason: Reason::EventTooLarge,
                        detail,
                    },
                )
            }
            Err(error) => Err(error),
            Ok(()) if violations.is_empty() => Ok(Outcome::Accepted),
            Ok(()) => Ok(Outcome::OffPlan(violations)),
        }
    }

    fn reject(&self, number: u64, record: &Record, rejection: &Rejection) -> Result<Outcome, Error> {
        match self.keep(number, record, rejection, Kept::Whole) {
            Err(Error::TooLarge { .. }) => self.keep(number, record, rejection, Kept::Beginning)?,
            kept => kept?,
        }
        Ok(Outcome::Rejected(rejection.reason))
    }

    /// Sends what is kept of an original.
    fn keep(&self, number: u64, record: &Record, rejection: &Rejection, kept: Kept) -> Result<(), Error> {
        let partition = record.partition.to_string();
        let offset = record.offset.to_string();
        let length = record.payload.len().to_string();
        let mut headers: Vec<(&str, &[u8])> = vec![
            ("reason", rejection.reason.as_str().as_bytes()),
            ("detail", rejection.detail.as_bytes()),
            ("source_topic", record.topic.as_bytes()),
            ("source_partition", partition.as_bytes()),
            ("source_offset", offset.as_bytes()),
        ];
        let originals: Vec<(String, &[u8])>;
        let is_private = self.door.is_private();
        // A key is often a user's id.
        let mut key = record.key.as_deref().filter(|_| !is_private);
        let whole = self.door.kept(&record.payload, &self::headers(record));
        if whole.is_none() {
            headers.push(("original_bytes", length.as_bytes()));
        }
        let is_kept = whole.is_some();
        let whole = whole.unwrap_or(Cow::Borrowed(b""));
        let mut payload: &[u8] = &whole;
        match kept {
            Kept::Whole => {
                originals = record
                    .headers
                    .iter()
                    .filter(|(name, _)| !is_private || is_read(name))
                    .map(|(name, value)| (format!("{ORIGINAL_HEADER}{name}"), value.as_slice()))
                    .collect();
                headers.extend(originals.iter().map(|(name, value)| (name.as_str(), *value)));
            }
            // Small enough for any topic whatever it is that made the original too large: headers
            // without end do it as well, and a reject that is refused again would be sent for ever.
            Kept::Beginning => {
                if is_kept {
                    headers.push(("original_bytes", length.as_bytes()));
                }
                key = key.filter(|key| key.len() <= KEPT_BYTES);
                payload = &payload[..payload.len().min(KEPT_BYTES)];
            }
        }
        self.producer
            .send(number, topics::REJECTED, key, payload, &headers)
    }

    /// A record's delivery failed because it is too large after all (the topic's bound is the
    /// broker's to know): it is rejected, with its beginning.
    pub(crate) fn send_cut(&self, number: u64, record: &Record) -> Result<Outcome, Error> {
        let detail =
            "the broker refuses a record of this size: raise max.message.bytes of the topic".to_owned();
        let rejection = Rejection {
            reason: Reason::EventTooLarge,
            detail,
        };
        self.keep(number, record, &rejection, Kept::Beginning)?;
        Ok(Outcome::Rejected(rejection.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source_of(headers: &[(&str, &[u8])]) -> String {
        let headers: Vec<(String, Vec<u8>)> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect();
        source(&headers, "usage.events").to_owned()
    }

    #[test]
    fn the_source_is_the_header_if_it_is_a_name_else_the_topic() {
        assert_eq!(source_of(&[]), "usage.events");
        assert_eq!(source_of(&[("other", b"x"), ("source", b"billing")]), "billing");
        for not_a_name in [b"".as_slice(), b"\xff", b"a\nb", &[b'a'; 65]] {
            assert_eq!(
                source_of(&[("source", not_a_name)]),
                "usage.events",
                "{not_a_name:?}"
            );
        }
    }
}
