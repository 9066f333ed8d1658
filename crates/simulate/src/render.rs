//! Events as bytes: the native JSON form, written by hand because it is the hot path.
//!
//! Nothing that is written needs escaping: every text is one of [`crate::names`], an id made of those, or a number.

use jiff::Timestamp;

use crate::calendar::{DAY, HOUR, SECOND, ZONES, Zone, to_date};
use crate::life::{Life, TimeForm};
use crate::names::{
    CHANNELS, CLIENTS, DEPARTMENTS, ENGAGEMENTS, ERROR_SEVERITIES, ERRORS, FEATURES, MILESTONES, OWNERS,
    PLANS, ROLES, SEVERITIES, VALUE_EVENT,
};
use crate::script::{Change, NOBODY, Survey, Ticket, What, contract_start};

/// What an event is to be written from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) account: u32,
    pub(crate) account_id: &'a str,
    pub(crate) life: &'a Life,
    pub(crate) zone: &'a Zone,
}

/// Writes instants, remembering the day that was written last.
#[derive(Debug)]
pub(crate) struct Pen {
    day: i64,
    date: [u8; 10],
}

impl Pen {
    pub(crate) fn new() -> Self {
        Self {
            day: 0,
            date: *b"1970-01-01",
        }
    }

    /// Writes one event as a JSON object.
    pub(crate) fn event(
        &mut self,
        out: &mut Vec<u8>,
        subject: &Subject<'_>,
        id: &[u8; 26],
        at: i64,
        user: u16,
        what: What,
    ) {
        out.extend_from_slice(b"{\"event_id\":\"");
        out.extend_from_slice(id);
        out.extend_from_slice(b"\",\"account_id\":\"");
        out.extend_from_slice(subject.account_id.as_bytes());
        out.push(b'"');
        if user != NOBODY {
            out.extend_from_slice(b",\"user_id\":\"");
            write_user(out, subject.account, user);
            out.push(b'"');
        }
        out.extend_from_slice(b",\"type\":\"");
        let (kind, name) = kind_and_name(subject.life, what);
        out.extend_from_slice(kind.as_bytes());
        if let Some(name) = name {
            out.extend_from_slice(b"\",\"name\":\"");
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(b"\",\"occurred_at\":");
        self.instant(out, at, subject.life.time_form);
        let before = out.len();
        out.extend_from_slice(b",\"properties\":{");
        let opened = out.len();
        properties(out, subject, at, user, what);
        if out.len() == opened {
            out.truncate(before);
        } else {
            out.push(b'}');
        }
        out.push(b'}');
    }

    fn instant(&mut self, out: &mut Vec<u8>, at: i64, form: TimeForm) {
        let (shown, offset) = match form {
            TimeForm::Millis => {
                write_number(out, at as u64);
                return;
            }
            TimeForm::Utc => (at, &b"Z\""[..]),
            TimeForm::Tokyo => (at + 9 * HOUR, &b"+09:00\""[..]),
        };
        let day = shown.div_euclid(DAY);
        if day != self.day {
            self.day = day;
            let date = to_date(day as i32).to_string();
            self.date.copy_from_slice(&date.as_bytes()[..10]);
        }
        let millis = shown.rem_euclid(DAY);
        let seconds = millis / SECOND;
        out.push(b'"');
        out.extend_from_slice(&self.date);
        let two = |number: i64| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        out.push(b'T');
        out.extend_from_slice(&two(seconds / 3_600));
        out.push(b':');
        out.extend_from_slice(&two(seconds / 60 % 60));
        out.push(b':');
        out.extend_from_slice(&two(seconds % 60));
        out.push(b'.');
        let fraction = millis % SECOND;
        out.push(b'0' + (fraction / 100) as u8);
        out.extend_from_slice(&two(fraction % 100));
        out.extend_from_slice(offset);
    }
}

/// The reasons for which the malformed records must be turned away, one for each way of spoiling one.
pub(crate) const FLAWS: [&str; 8] = [
    "not_json",
    "not_utf8",
    "missing_field",
    "empty_field",
    "field_too_long",
    "invalid_type",
    "invalid_timestamp",
    "properties_not_object",
];

/// Writes a record that must be turned away for `FLAWS[flaw]`.
pub(crate) fn malformed(out: &mut Vec<u8>, account_id: &str, id: &str, flaw: usize) {
    let at = "2026-01-05T01:00:00.000Z";
    let text = match FLAWS[flaw] {
        "not_json" => format!(r#"{{"event_id":"{id}","account_id":"{account_id}","type":"log"#),
        "missing_field" => format!(r#"{{"event_id":"{id}","type":"login","occurred_at":"{at}"}}"#),
        "empty_field" => {
            format!(r#"{{"event_id":"{id}","account_id":"","type":"login","occurred_at":"{at}"}}"#)
        }
        "field_too_long" => format!(
            r#"{{"event_id":"{id}","account_id":"{}","type":"login","occurred_at":"{at}"}}"#,
            "long-".repeat(30)
        ),
        "invalid_type" => format!(
            r#"{{"event_id":"{id}","account_id":"{account_id}","type":"telemetry","occurred_at":"{at}"}}"#
        ),
        "invalid_timestamp" => format!(
            r#"{{"event_id":"{id}","account_id":"{account_id}","type":"login","occurred_at":"yesterday"}}"#
        ),
        // "not_utf8" is spoilt below.
        "not_utf8" => {
            format!(
                r#"{{"event_id":"{id}","account_id":"?{account_id}","type":"login","occurred_at":"{at}"}}"#
            )
        }
        _ => format!(
            r#"{{"event_id":"{id}","account_id":"{account_id}","type":"login","occurred_at":"{at}","properties":[1]}}"#
        ),
    };
    out.extend_from_slice(text.as_bytes());
    if FLAWS[flaw] == "not_utf8"
        && let Some(mark) = out.iter().position(|byte| *byte == b'?')
    {
        out[mark] = 0xff;
    }
}

/// An event's id: a ULID whose 48 bits of time are the event's, and whose other 80 say where it comes from
/// (`seed`, account, day of the account's life, number within it), so that it is unique, sorts by time, and is the
/// same in every run.
pub(crate) fn event_id(at: i64, seed: u64, account: u32, day: u16, number: u32) -> [u8; 26] {
    let mut id = [0; 26];
    let mut digits = |from: usize, to: usize, mut value: u64| {
        for digit in id[from..to].iter_mut().rev() {
            *digit = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(value & 31) as usize];
            value >>= 5;
        }
    };
    digits(0, 10, at as u64);
    digits(10, 13, seed);
    digits(13, 19, u64::from(account));
    digits(19, 22, u64::from(day));
    digits(22, 26, u64::from(number));
    id
}

fn kind_and_name(life: &Life, what: What) -> (&'static str, Option<&'static str>) {
    match what {
        What::Login { .. } => ("login", None),
        What::Feature { feature, .. } => ("feature", Some(FEATURES[usize::from(feature)])),
        What::Milestone { milestone } => ("milestone", Some(MILESTONES[usize::from(milestone)])),
        What::Attributes | What::TermsChanged => ("account", None),
        What::User { .. } => ("user", None),
        What::Contract(change) => {
            debug_assert!(change != Change::TrialStarted || life.trial_days > 0);
            let name = match change {
                Change::TrialStarted => "trial_started",
                Change::Started => "started",
                Change::Renewed => "renewed",
                Change::Upgraded => "upgraded",
                Change::Downgraded => "downgraded",
                Change::OptionRemoved => "option_removed",
                Change::Cancelled => "cancelled",
            };
            ("contract", Some(name))
        }
        What::Ticket { change, .. } => {
            let name = match change {
                Ticket::Opened => "opened",
                Ticket::Replied => "replied",
                Ticket::Escalated => "escalated",
                Ticket::Resolved => "resolved",
            };
            ("ticket", Some(name))
        }
        What::Survey { survey, .. } => {
            let name = match survey {
                Survey::Nps => "nps",
                Survey::Csat => "csat",
                Survey::Ces => "ces",
            };
            ("survey", Some(name))
        }
        What::Engagement { engagement, .. } => ("engagement", Some(ENGAGEMENTS[usize::from(engagement)])),
        What::Error { error, .. } => ("error", Some(ERRORS[usize::from(error)])),
    }
}

fn properties(out: &mut Vec<u8>, subject: &Subject<'_>, at: i64, user: u16, what: What) {
    let life = subject.life;
    match what {
        What::Login { client } => text(out, "client", CLIENTS[usize::from(client)]),
        What::Feature {
            count, deciseconds, ..
        } => {
            if count != 1 {
                number(out, "count", u64::from(count));
            }
            if deciseconds != 0 {
                number(out, "duration_ms", u64::from(deciseconds) * 100);
            }
        }
        What::Milestone { .. } => {}
        What::Attributes => attributes(out, subject),
        What::TermsChanged => {
            let terms = life.terms[1];
            text(out, "plan", PLANS[usize::from(terms.plan)]);
            number(out, "seats", u64::from(terms.seats));
        }
        What::User { role, removed } => {
            text(out, "role", ROLES[usize::from(role)]);
            if removed {
                flag(out, "removed");
            } else {
                text(out, "department", DEPARTMENTS[usize::from(life.department(user))]);
            }
        }
        What::Contract(change) => contract(out, subject, at, change),
        What::Ticket {
            change,
            number: ticket,
            severity,
            channel,
        } => {
            key(out, "ticket_id");
            out.extend_from_slice(b"\"t");
            write_number(out, u64::from(subject.account));
            out.push(b'-');
            write_number(out, u64::from(ticket));
            out.push(b'"');
            if matches!(change, Ticket::Opened | Ticket::Escalated) {
                text(out, "severity", SEVERITIES[usize::from(severity)]);
            }
            if change == Ticket::Opened {
                text(out, "channel", CHANNELS[usize::from(channel)]);
            }
        }
        What::Survey { score, .. } => number(out, "score", u64::from(score)),
        What::Engagement { engagement, results } => {
            if engagement == 0 {
                number(out, "results", u64::from(results));
            }
        }
        What::Error { severity, .. } => text(out, "severity", ERROR_SEVERITIES[usize::from(severity)]),
    }
}

fn attributes(out: &mut Vec<u8>, subject: &Subject<'_>) {
    let life = subject.life;
    let terms = life.terms[0];
    text(out, "name", &life.company.display());
    text(out, "plan", PLANS[usize::from(terms.plan)]);
    text(out, "segment", life.segment.as_str());
    text(out, "tier", life.tier());
    number(out, "seats", u64::from(terms.seats));
    text(out, "timezone", ZONES[usize::from(life.zone)].0);
    text(out, "owner", OWNERS[usize::from(life.owner)]);
    let signed_up = subject.zone.midnight(life.start_day) + i64::from(life.start_second) * SECOND;
    text(out, "signed_up_at", &rfc3339(signed_up));
    text(out, "value_event", VALUE_EVENT);
    text(
        out,
        "onboarding_due",
        &rfc3339(subject.zone.midnight(life.start_day + 30)),
    );
}

fn contract(out: &mut Vec<u8>, subject: &Subject<'_>, at: i64, change: Change) {
    let (life, zone) = (subject.life, subject.zone);
    let day = zone.day_of(at);
    let terms = life.terms_on(day);
    let trial = change == Change::TrialStarted;
    if !trial {
        number(out, "mrr", u64::from(terms.mrr));
        text(out, "currency", life.currency());
    }
    number(out, "seats", u64::from(terms.seats));
    text(out, "plan", PLANS[usize::from(terms.plan)]);
    let begun = contract_start(life);
    let term = i32::from(life.term_days);
    let passed = (day - begun).div_euclid(term);
    let (from, to) = match change {
        Change::TrialStarted => (life.start_day, life.start_day + i32::from(life.trial_days)),
        // It ends with the day on which it is cancelled.
        Change::Cancelled => (begun + passed * term, day + 1),
        _ => (begun + passed * term, begun + (passed + 1) * term),
    };
    text(out, "starts_at", &rfc3339(zone.midnight(from)));
    text(out, "ends_at", &rfc3339(zone.midnight(to)));
    if life.discount_days > 0 && change == Change::Started {
        text(
            out,
            "discount_ends_at",
            &rfc3339(zone.midnight(begun + i32::from(life.discount_days))),
        );
    }
}

/// An instant in RFC 3339; empty for one outside the calendar, which no life reaches.
pub(crate) fn rfc3339(at: i64) -> String {
    Timestamp::from_millisecond(at)
        .map(|at| at.to_string())
        .unwrap_or_default()
}

fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    write_number(out, value);
}

fn flag(out: &mut Vec<u8>, name: &str) {
    key(out, name);
    out.extend_from_slice(b"true");
}

fn write_user(out: &mut Vec<u8>, account: u32, user: u16) {
    out.push(b'u');
    write_number(out, u64::from(account));
    out.push(b'-');
    write_number(out, u64::from(user));
}

fn write_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_in_each_form() {
        let mut pen = Pen::new();
        let mut written = |at: i64, form: TimeForm| {
            let mut out = Vec::new();
            pen.instant(&mut out, at, form);
            String::from_utf8(out).unwrap()
        };
        let at = "2026-11-22T20:02:03.004Z"
            .parse::<Timestamp>()
            .unwrap()
            .as_millisecond();
        assert_eq!(written(at, TimeForm::Utc), "\"2026-11-22T20:02:03.004Z\"");
        assert_eq!(written(at, TimeForm::Tokyo), "\"2026-11-23T05:02:03.004+09:00\"");
        assert_eq!(written(at, TimeForm::Millis), at.to_string());
        assert_eq!(written(at + DAY, TimeForm::Utc), "\"2026-11-23T20:02:03.004Z\"");
    }

    #[test]
    fn ids_sort_by_time_and_tell_apart() {
        let first = event_id(1_790_000_000_000, 1, 7, 3, 9);
        assert_eq!(first.len(), 26);
        assert!(event_id(1_790_000_000_001, 0, 0, 0, 0) > first);
        for other in [
            event_id(1_790_000_000_000, 2, 7, 3, 9),
            event_id(1_790_000_000_000, 1, 8, 3, 9),
            event_id(1_790_000_000_000, 1, 7, 4, 9),
            event_id(1_790_000_000_000, 1, 7, 3, 10),
        ] {
            assert_ne!(other, first);
        }
    }
}
