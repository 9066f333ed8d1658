//! What would become of a rejected record if it came again, under the present configuration.
//!
//! A replayed record is received now, which is what the event will say, with one exception: where the
//! time of the event rests on the time of its receipt (Segment messages with `sentAt`, or without a
//! time of their own), it is sent with the time at which it was rejected, or a replay would shift it.

use event::{Door, Event, Rejection, wire};
use stream::topics;

use super::entry::{Origin, Rejected};
use crate::config::{Config, ConfigError};
use crate::output;

const MS_PER_DAY: i64 = 86_400_000;

/// Decodes as ingest and aggregate do.
pub struct Judge {
    door: Door,
    raw_topic: String,
    trust_timestamp_days: u32,
    now_ms: i64,
}

/// A record on its way back.
#[derive(Debug)]
pub struct Replay {
    pub topic: String,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub value: Vec<u8>,
    /// When it is to count as received; without it, when it is sent.
    pub received_at_ms: Option<i64>,
    /// What it will be; nothing when it is sent although it will be rejected.
    pub event: Option<Event>,
}

/// Why a record is left where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// A reason code: one of the decoder's, or of this command.
    pub reason: String,
    pub detail: String,
}

impl Refusal {
    pub fn new(reason: &str, detail: impl Into<String>) -> Refusal {
        Refusal {
            reason: reason.to_string(),
            detail: detail.into(),
        }
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Refusal {
        Refusal::new(rejection.reason.as_str(), rejection.detail)
    }
}

impl Judge {
    pub fn new(config: &Config, now_ms: i64) -> Result<Judge, ConfigError> {
        let door = config
            .ingest
            .door()
            .map_err(|error| ConfigError(error.to_string()))?;
        Ok(Judge {
            door,
            raw_topic: config.ingest.topic.clone(),
            trust_timestamp_days: config.ingest.trust_timestamp_days,
            now_ms,
        })
    }

    /// What is sent for this record, with `mended` in place of its own bytes if given. With `force` also
    /// what will be rejected again is sent.
    ///
    /// # Errors
    /// Why it is left.
    pub fn judge(&self, rejected: &Rejected, mended: Option<&[u8]>, force: bool) -> Result<Replay, Refusal> {
        if let Some(whole) = rejected.cut_from().filter(|_| mended.is_none()) {
            let detail = format!(
                "only the first {} of its {whole} bytes were kept: give the whole record with --file",
                rejected.value.len()
            );
            return Err(Refusal::new("cut", detail));
        }
        let value = mended.unwrap_or(&rejected.value);
        // An event that was mended as JSON goes the way of all JSON.
        if rejected.is_of_events() && !(mended.is_some() && is_object(value)) {
            return self.judge_event(rejected, value, force);
        }
        match &rejected.origin {
            Origin::Http => {}
            Origin::Topic { topic, .. } if *topic == self.raw_topic || topic == topics::EVENTS => {}
            Origin::Topic { topic, .. } => {
                let detail = format!(
                    "it came from {topic}, which is neither {} (ingest.topic) nor {}: give the configuration that it \
                     was rejected under with --config",
                    self.raw_topic,
                    topics::EVENTS
                );
                return Err(Refusal::new("other_topic", detail));
            }
            Origin::Unknown => {
                let detail =
                    "it has neither a header source_topic nor source=http: mimamori did not put it there";
                return Err(Refusal::new("unknown_source", detail));
            }
        }
        let (event, received_at_ms) = match self.decode(rejected, value) {
            Ok((event, received_at_ms)) => (Some(event), received_at_ms),
            Err(_) if force => (None, None),
            Err(refusal) => return Err(refusal),
        };
        Ok(Replay {
            topic: self.raw_topic.clone(),
            key: rejected.key.clone(),
            headers: rejected.headers.clone(),
            value: value.to_vec(),
            received_at_ms,
            event,
        })
    }

    fn judge_event(&self, rejected: &Rejected, value: &[u8], force: bool) -> Result<Replay, Refusal> {
        let event = match wire::decode(value) {
            Ok(event) => Some(event),
            Err(_) if force => None,
            Err(error) => {
                let detail = format!("{error}; a mended event may be given as JSON with --file");
                return Err(Refusal::new("unknown_format", detail));
            }
        };
        // An account lives where its id belongs, whatever the record's key was.
        let key = event.as_ref().map(|event| event.account_id.clone().into_bytes());
        Ok(Replay {
            topic: topics::EVENTS.to_string(),
            key: key.or_else(|| rejected.key.clone()),
            headers: rejected.headers.clone(),
            value: value.to_vec(),
            received_at_ms: None,
            event,
        })
    }

    /// The event, and when it must count as received, if not now.
    fn decode(&self, rejected: &Rejected, value: &[u8]) -> Result<(Event, Option<i64>), Refusal> {
        let headers: Vec<(&str, &[u8])> = rejected
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let source = ingest::source(&rejected.headers, &self.raw_topic);
        let decode = |received_at| self.door.take(value, &headers, received_at, source).event;
        let now = decode(self.now_ms)?;
        let earlier = decode(self.now_ms - 1);
        let rests_on_receipt = earlier.is_ok_and(|earlier| earlier.occurred_at != now.occurred_at);
        let Some(at) = rejected.at_ms.filter(|_| rests_on_receipt) else {
            return Ok((now, None));
        };
        if at < self.now_ms - i64::from(self.trust_timestamp_days) * MS_PER_DAY {
            let detail = format!(
                "when it happened rests on when it was received, {}, and ingest does not believe so old a time: raise \
                 ingest.trust_timestamp_days ({}), or mend it so that it says its time",
                output::time(at),
                self.trust_timestamp_days
            );
            return Err(Refusal::new("received_too_long_ago", detail));
        }
        Ok((decode(at)?, Some(at)))
    }
}

fn is_object(value: &[u8]) -> bool {
    value.trim_ascii_start().first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use event::EventType;

    use super::*;
    use crate::commands::rejected::Address;

    const NOW: i64 = 1_795_309_324_000; // 2026-11-22T01:02:04Z

    fn judge(config: &Config) -> Judge {
        Judge::new(config, NOW).unwrap()
    }

    fn rejected(topic: &str, value: &[u8]) -> Rejected {
        Rejected {
            address: Address {
                partition: 0,
                offset: 17,
            },
            at_ms: Some(NOW - 3 * MS_PER_DAY),
            reason: "missing_field".to_string(),
            detail: String::new(),
            origin: Origin::Topic {
                topic: topic.to_string(),
                at: None,
            },
            original_bytes: None,
            key: Some(b"k".to_vec()),
            headers: vec![("trace".to_string(), b"1".to_vec())],
            all_headers: Vec::new(),
            value: value.to_vec(),
        }
    }

    fn login(occurred_at: &str) -> Vec<u8> {
        format!(r#"{{"event_id":"e-1","account_id":"acme","type":"login","occurred_at":"{occurred_at}"}}"#)
            .into_bytes()
    }

    #[test]
    fn what_is_too_old_comes_back_once_the_bound_is_raised() {
        let old = rejected("usage.events", &login("2025-06-01T00:00:00Z"));
        let refusal = judge(&Config::default()).judge(&old, None, false).unwrap_err();
        assert_eq!(refusal.reason, "too_old");
        let mut config = Config::default();
        config.ingest.max_age_days = 0;
        let replay = judge(&config).judge(&old, None, false).unwrap();
        assert_eq!(
            (replay.topic.as_str(), replay.key.as_deref()),
            ("usage.events", Some(&b"k"[..]))
        );
        assert_eq!((replay.headers, replay.value), (old.headers, old.value));
        assert_eq!(replay.received_at_ms, None);
    }

    #[test]
    fn what_lay_ahead_comes_back_when_its_time_has_come() {
        let ahead = rejected("usage.events", &login("2026-11-21T01:02:04Z"));
        let replay = judge(&Config::default()).judge(&ahead, None, false).unwrap();
        assert_eq!(replay.event.unwrap().received_at, NOW);
        let still = rejected("usage.events", &login("2026-11-24T01:02:04Z"));
        let refusal = judge(&Config::default()).judge(&still, None, false).unwrap_err();
        assert_eq!(refusal.reason, "occurred_in_future");
    }

    #[test]
    fn a_time_that_rests_on_the_receipt_is_not_shifted_by_the_replay() {
        let message = br#"{"type":"track","event":"login","messageId":"m-1","userId":"u",
            "context":{"groupId":"acme"},"timestamp":"2026-11-19T00:59:00Z","sentAt":"2026-11-19T01:00:00Z"}"#;
        let mut segment = rejected("usage.events", message);
        let replay = judge(&Config::default()).judge(&segment, None, false).unwrap();
        assert_eq!(replay.received_at_ms, segment.at_ms);
        assert_eq!(replay.event.unwrap().occurred_at, NOW - 3 * MS_PER_DAY - 60_000);

        segment.at_ms = Some(NOW - 20 * MS_PER_DAY);
        let refusal = judge(&Config::default())
            .judge(&segment, None, false)
            .unwrap_err();
        assert_eq!(refusal.reason, "received_too_long_ago");
        assert!(
            refusal.detail.contains("ingest.trust_timestamp_days (14)"),
            "{}",
            refusal.detail
        );
    }

    #[test]
    fn mended_bytes_take_the_place_of_its_own_and_are_judged_as_well() {
        let broken = rejected("usage.events", b"{");
        let good = login("2026-11-20T00:00:00Z");
        let replay = judge(&Config::default())
            .judge(&broken, Some(&good), false)
            .unwrap();
        assert_eq!(
            (replay.value, replay.event.unwrap().event_id.as_str()),
            (good, "e-1")
        );
        let nameless = br#"{"account_id":"acme","type":"login","occurred_at":"2026-11-20T00:00:00Z"}"#;
        let refusal = judge(&Config::default())
            .judge(&broken, Some(nameless), false)
            .unwrap_err();
        assert_eq!(refusal.reason, "missing_field");
        assert!(refusal.detail.starts_with("event_id"), "{}", refusal.detail);
    }

    #[test]
    fn what_will_be_rejected_again_is_sent_by_force_alone_and_what_was_cut_never() {
        let mut broken = rejected("usage.events", b"{");
        assert_eq!(
            judge(&Config::default())
                .judge(&broken, None, false)
                .unwrap_err()
                .reason,
            "not_json"
        );
        let forced = judge(&Config::default()).judge(&broken, None, true).unwrap();
        assert!(forced.event.is_none() && forced.value == b"{");
        broken.original_bytes = Some(5_000_000);
        let refusal = judge(&Config::default()).judge(&broken, None, true).unwrap_err();
        assert!(
            refusal.reason == "cut" && refusal.detail.contains("5000000"),
            "{}",
            refusal.detail
        );
        let whole = login("2026-11-20T00:00:00Z");
        assert!(
            judge(&Config::default())
                .judge(&broken, Some(&whole), false)
                .is_ok()
        );
    }

    #[test]
    fn an_event_that_was_set_aside_goes_back_under_its_accounts_id_or_as_json() {
        let event = Event {
            event_id: "e-1".into(),
            account_id: "acme".into(),
            user_id: None,
            event_type: EventType::Login,
            name: String::new(),
            occurred_at: NOW,
            received_at: NOW,
            source: "usage.events".into(),
            properties: String::new(),
        };
        let mut value = Vec::new();
        wire::encode(&event, &mut value);
        let aside = rejected("mimamori.events", &value);
        let replay = judge(&Config::default()).judge(&aside, None, false).unwrap();
        assert_eq!(
            (replay.topic.as_str(), replay.key.as_deref()),
            ("mimamori.events", Some(&b"acme"[..]))
        );
        assert_eq!(replay.value, value);

        let garbage = rejected("mimamori.events", b"\xff\xff");
        let refusal = judge(&Config::default())
            .judge(&garbage, None, false)
            .unwrap_err();
        assert_eq!(refusal.reason, "unknown_format");
        let mended = login("2026-11-20T00:00:00Z");
        let replay = judge(&Config::default())
            .judge(&garbage, Some(&mended), false)
            .unwrap();
        assert_eq!((replay.topic.as_str(), replay.value), ("usage.events", mended));
    }

    #[test]
    fn nothing_is_sent_to_a_topic_that_is_not_ours() {
        let foreign = rejected("payments", &login("2026-11-20T00:00:00Z"));
        let refusal = judge(&Config::default()).judge(&foreign, None, true).unwrap_err();
        assert!(
            refusal.reason == "other_topic" && refusal.detail.contains("payments"),
            "{}",
            refusal.detail
        );
        let mut unknown = foreign;
        unknown.origin = Origin::Unknown;
        assert_eq!(
            judge(&Config::default())
                .judge(&unknown, None, true)
                .unwrap_err()
                .reason,
            "unknown_source"
        );
        unknown.origin = Origin::Http;
        let replay = judge(&Config::default()).judge(&unknown, None, false).unwrap();
        assert_eq!(replay.topic, "usage.events");
    }
}
