//! Which of the rejected records.

use std::collections::BTreeSet;

use event::Reason;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span as TimeSpan, SpanRelativeTo, Timestamp};
use stream::{Span, TopicReader};

use super::entry::{HTTP, Origin, Rejected};
use crate::cli::RejectedFilterArgs;
use crate::config::ConfigError;

/// What aggregate gives as the reason when an event could not be folded.
const FOLDING_FAILED: &str = "folding_failed";

/// What a record must be like to be taken.
#[derive(Debug, Default)]
pub struct Filter {
    reasons: BTreeSet<String>,
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    source_topic: Option<String>,
}

impl Filter {
    /// # Errors
    /// Names the flag and what would be right.
    pub fn new(args: &RejectedFilterArgs, now_ms: i64) -> Result<Filter, ConfigError> {
        for reason in &args.reason {
            if Reason::from_name(reason).is_none() && reason != FOLDING_FAILED {
                let known: Vec<&str> = Reason::ALL.into_iter().map(Reason::as_str).collect();
                return Err(ConfigError(format!(
                    "--reason {reason:?} is none of {}, {FOLDING_FAILED}",
                    known.join(", ")
                )));
            }
        }
        let filter = Filter {
            reasons: args.reason.iter().cloned().collect(),
            since_ms: time("--since", args.since.as_deref(), now_ms)?,
            until_ms: time("--until", args.until.as_deref(), now_ms)?,
            source_topic: args.source_topic.clone(),
        };
        if let (Some(since), Some(until)) = (filter.since_ms, filter.until_ms)
            && since >= until
        {
            return Err(ConfigError("--since must be before --until".to_string()));
        }
        Ok(filter)
    }

    /// Whether it takes everything.
    pub fn is_empty(&self) -> bool {
        let Filter {
            reasons,
            since_ms,
            until_ms,
            source_topic,
        } = self;
        reasons.is_empty() && since_ms.is_none() && until_ms.is_none() && source_topic.is_none()
    }

    /// What must be read: nothing that is wanted stands before it.
    pub async fn spans(&self, reader: &TopicReader) -> Result<Vec<Span>, stream::Error> {
        match self.since_ms {
            Some(since) => reader.since(since).await,
            None => Ok(reader.spans().to_vec()),
        }
    }

    /// Whether it takes this record.
    pub fn wants(&self, rejected: &Rejected) -> bool {
        let from = match &rejected.origin {
            Origin::Topic { topic, .. } => Some(topic.as_str()),
            Origin::Http => Some(HTTP),
            Origin::Unknown => None,
        };
        // A record without a time is of no time.
        let at = rejected.at_ms.unwrap_or(i64::MIN);
        (self.reasons.is_empty() || self.reasons.contains(&rejected.reason))
            && self.since_ms.is_none_or(|since| at >= since)
            && self.until_ms.is_none_or(|until| at < until)
            && self
                .source_topic
                .as_deref()
                .is_none_or(|wanted| from == Some(wanted))
    }
}

/// A time given as RFC 3339, as a date, or as how long ago it was.
/// A time in any of the ways that the command line takes one, in milliseconds.
///
/// # Errors
/// Names the flag and what would be right.
pub fn time(flag: &str, text: Option<&str>, now_ms: i64) -> Result<Option<i64>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let at = text.parse::<Timestamp>().ok();
    let at = at.or_else(|| {
        let date: Date = text.parse().ok().filter(|_| text.len() == "2026-11-01".len())?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    let at = at.map(Timestamp::as_millisecond).or_else(|| {
        let ago: TimeSpan = text.parse().ok()?;
        let ago = ago.abs().to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        now_ms.checked_sub(i64::try_from(ago.as_millis()).ok()?)
    });
    at.map(Some).ok_or_else(|| {
        ConfigError(format!(
            "{flag} {text:?} is neither RFC 3339 such as 2026-11-01T00:00:00Z, nor a date such as 2026-11-01, \
             nor how long ago it was such as 90m, 2h or 7d"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::rejected::Address;

    const NOW: i64 = 1_795_309_324_000; // 2026-11-22T01:02:04Z

    fn at(text: &str) -> Option<String> {
        let ms = time("--since", Some(text), NOW).ok()??;
        Some(Timestamp::from_millisecond(ms).unwrap().to_string())
    }

    #[test]
    fn a_time_is_rfc_3339_or_a_date_or_how_long_ago() {
        for (text, expected) in [
            ("2026-11-01T09:00:00+09:00", "2026-11-01T00:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2h", "2026-11-21T23:02:04Z"),
            ("90m", "2026-11-21T23:32:04Z"),
            ("7d", "2026-11-15T01:02:04Z"),
            ("1w", "2026-11-15T01:02:04Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
        for wrong in [
            "",
            "yesterday",
            "7",
            "2026-11",
            "2026-13-01",
            "2026-11-01T00:00:00",
            "1y",
        ] {
            let error = time("--since", Some(wrong), NOW).unwrap_err();
            assert!(
                error.0.starts_with(&format!("--since {wrong:?} is neither")),
                "{}",
                error.0
            );
        }
    }

    fn rejected(reason: &str, topic: &str, at_ms: i64) -> Rejected {
        Rejected {
            address: Address {
                partition: 0,
                offset: 0,
            },
            at_ms: Some(at_ms),
            reason: reason.to_string(),
            detail: String::new(),
            origin: Origin::Topic {
                topic: topic.to_string(),
                at: None,
            },
            original_bytes: None,
            key: None,
            headers: Vec::new(),
            all_headers: Vec::new(),
            value: Vec::new(),
        }
    }

    #[test]
    fn a_filter_takes_what_all_its_parts_take() {
        let args = RejectedFilterArgs {
            reason: vec!["too_old".to_string(), "not_json".to_string()],
            since: Some("2h".to_string()),
            until: Some("1h".to_string()),
            source_topic: Some("usage.events".to_string()),
        };
        let filter = Filter::new(&args, NOW).unwrap();
        let hours_ago = |hours: i64| NOW - hours * 3_600_000;
        assert!(filter.wants(&rejected("too_old", "usage.events", hours_ago(2))));
        assert!(filter.wants(&rejected("not_json", "usage.events", hours_ago(1) - 1)));
        assert!(!filter.wants(&rejected("not_json", "usage.events", hours_ago(1))));
        assert!(!filter.wants(&rejected("too_old", "usage.events", hours_ago(2) - 1)));
        assert!(!filter.wants(&rejected("not_utf8", "usage.events", hours_ago(2))));
        assert!(!filter.wants(&rejected("too_old", "mimamori.events", hours_ago(2))));
        assert!(!filter.is_empty() && Filter::default().is_empty());
    }

    #[test]
    fn a_reason_that_there_is_not_is_refused_with_those_that_there_are() {
        let args = RejectedFilterArgs {
            reason: vec!["to_old".to_string()],
            ..RejectedFilterArgs::default()
        };
        let error = Filter::new(&args, NOW).unwrap_err();
        assert!(
            error.0.contains("\"to_old\"") && error.0.contains("too_old"),
            "{}",
            error.0
        );
        let args = RejectedFilterArgs {
            since: Some("1h".to_string()),
            until: Some("2h".to_string()),
            ..RejectedFilterArgs::default()
        };
        assert!(Filter::new(&args, NOW).is_err());
    }
}
