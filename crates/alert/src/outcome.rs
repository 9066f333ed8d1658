//! What an answer means: delivered, to be tried again, or failed for good.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// What came back from one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The receiver answered.
    Status {
        /// The HTTP status.
        code: u16,
        /// How long the receiver asks us to stay away.
        retry_after: Option<Duration>,
        /// The beginning of its body, for the people who read the error.
        excerpt: String,
    },
    /// No answer: refused, reset, unresolvable, not allowed.
    Broken(String),
    /// No answer within so many milliseconds.
    TimedOut(u64),
    /// The receiver answered, and more than the status of HTTP says what that means.
    Judged {
        /// The HTTP status, of a receiver that speaks HTTP.
        status: Option<u16>,
        /// What it means.
        verdict: Verdict,
        /// What the receiver calls what it was sent; empty when it says nothing.
        reference: String,
    },
}

/// What is to happen with the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// It is to be tried again.
    Retry {
        /// What went wrong.
        error: String,
        /// No attempt of this delivery before so much time has passed.
        not_before: Option<Duration>,
        /// Whether the receiver asked that of everything that we send, not of this delivery alone.
        hold: bool,
    },
    /// Sending it again cannot help.
    Failed {
        /// What went wrong.
        error: String,
    },
    /// The receiver is gone for good and wants nothing more.
    Gone,
}

impl Answer {
    /// The HTTP status, when one came.
    pub fn status(&self) -> Option<u16> {
        match self {
            Answer::Status { code, .. } => Some(*code),
            Answer::Judged { status, .. } => *status,
            Answer::Broken(_) | Answer::TimedOut(_) => None,
        }
    }

    /// What the receiver calls what it was sent; empty when it did not say.
    pub fn reference(&self) -> &str {
        match self {
            Answer::Judged { reference, .. } => reference,
            _ => "",
        }
    }

    /// Whether somebody is at work there, however unwilling: an answer that is no server's error.
    pub fn proves_alive(&self) -> bool {
        match self {
            Answer::Status { code, .. } => *code < 500,
            Answer::Judged { verdict, .. } => !matches!(verdict, Verdict::Retry { .. }),
            Answer::Broken(_) | Answer::TimedOut(_) => false,
        }
    }

    /// What this answer means for the delivery.
    pub fn verdict(&self) -> Verdict {
        let retry = |error: String| Verdict::Retry {
            error,
            not_before: None,
            hold: false,
        };
        let (code, retry_after, excerpt) = match self {
            Answer::Broken(reason) => return retry(reason.clone()),
            Answer::TimedOut(after) => return retry(format!("no answer within {after} ms")),
            Answer::Judged { verdict, .. } => return verdict.clone(),
            Answer::Status {
                code,
                retry_after,
                excerpt,
            } => (*code, *retry_after, excerpt),
        };
        match code {
            200..=299 => Verdict::Delivered,
            410 => Verdict::Gone,
            408 | 425 | 429 | 500..=599 => Verdict::Retry {
                error: describe(code, excerpt),
                not_before: retry_after,
                hold: retry_after.is_some() && matches!(code, 429 | 503),
            },
            300..=399 => Verdict::Failed {
                error: format!("answered {code}: redirects are not followed, give the final address"),
            },
            _ => Verdict::Failed {
                error: describe(code, excerpt),
            },
        }
    }
}

fn describe(code: u16, excerpt: &str) -> String {
    if excerpt.is_empty() {
        format!("answered {code}")
    } else {
        format!("answered {code}: {excerpt}")
    }
}

/// Reads a `Retry-After`: seconds, or an HTTP date of which `now_ms` is subtracted. What it asks for
/// beyond `cap` is cut; what cannot be read is no wish at all.
pub fn retry_after(value: &str, now_ms: i64, cap: Duration) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that exceed the type ask for longer than any cap.
        let seconds = value.parse::<u64>().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(cap));
    }
    let at: Timestamp = DateTimeParser::new().parse_timestamp(value).ok()?;
    let wait_ms = u64::try_from(at.as_millisecond().saturating_sub(now_ms)).unwrap_or(0);
    Some(Duration::from_millis(wait_ms).min(cap))
}

/// The beginning of a body as one printable line of at most `limit` characters.
pub fn excerpt(body: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(body);
    let printable: String = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let words: Vec<&str> = printable.split_whitespace().collect();
    words.join(" ").chars().take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: u16) -> Verdict {
        let answer = Answer::Status {
            code,
            retry_after: None,
            excerpt: String::new(),
        };
        answer.verdict()
    }

    #[test]
    fn each_status_means_one_thing() {
        for code in 100..600 {
            let found = verdict(code);
            match code {
                200..=299 => assert_eq!(found, Verdict::Delivered, "{code}"),
                410 => assert_eq!(found, Verdict::Gone),
                408 | 425 | 429 | 500..=599 => {
                    assert!(matches!(found, Verdict::Retry { .. }), "{code}")
                }
                _ => assert!(matches!(found, Verdict::Failed { .. }), "{code}"),
            }
        }
        assert!(matches!(
            Answer::Broken("reset".into()).verdict(),
            Verdict::Retry { .. }
        ));
        assert!(matches!(
            Answer::TimedOut(20_000).verdict(),
            Verdict::Retry { .. }
        ));
    }

    #[test]
    fn only_a_rate_limit_or_unavailability_with_a_wish_holds_everything() {
        let held = |code, retry_after| {
            let answer = Answer::Status {
                code,
                retry_after,
                excerpt: String::new(),
            };
            matches!(answer.verdict(), Verdict::Retry { hold: true, .. })
        };
        let wish = Some(Duration::from_secs(7));
        assert!(held(429, wish));
        assert!(held(503, wish));
        assert!(!held(500, wish));
        assert!(!held(429, None));
    }

    #[test]
    fn only_an_answer_that_is_no_fault_of_the_server_is_a_sign_of_life() {
        let alive = |code| {
            let answer = Answer::Status {
                code,
                retry_after: None,
                excerpt: String::new(),
            };
            answer.proves_alive()
        };
        assert!([200, 302, 404, 410, 429].into_iter().all(alive));
        assert!(![500, 502, 503, 599].into_iter().any(alive));
        assert!(!Answer::Broken("reset".into()).proves_alive());
        assert!(!Answer::TimedOut(20_000).proves_alive());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let cap = Duration::from_secs(3_600);
        let now = 1_445_412_480_000; // 2015-10-21T07:28:00Z
        let read = |value| retry_after(value, now, cap);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            read("Wed, 21 Oct 2015 07:28:30 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(read("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("99999999999999999999999"), Some(cap));
        assert_eq!(read("Fri, 21 Oct 2016 07:28:00 GMT"), Some(cap));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-5"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn an_excerpt_is_one_printable_line() {
        assert_eq!(
            excerpt(b"  no\r\n\tsuch \x1b[31mhook\x00 ", 100),
            "no such [31mhook"
        );
        assert_eq!(excerpt("見守り".repeat(100).as_bytes(), 4), "見守り見");
        assert_eq!(excerpt(&[0xff, b'a'], 10), "\u{fffd}a");
    }
}
