//! Instants in text: RFC 3339 in UTC with milliseconds, never an epoch number.

use jiff::Timestamp;
use jiff::civil::Date;

const MILLIS_PER_DAY: i64 = 86_400_000;

/// `2026-03-01T00:00:00.000Z`; `None` when the year does not fit into four digits.
pub(crate) fn rfc3339(millis: i64) -> Option<String> {
    let instant = Timestamp::from_millisecond(millis).ok()?;
    Some(format!("{instant:.3}"))
}

/// Milliseconds of a time in RFC 3339 with an offset.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let instant: Timestamp = text.parse().ok()?;
    Some(instant.as_millisecond())
}

/// `2026-03-01` of a day counted from 1970-01-01.
pub(crate) fn date(day: u16) -> String {
    let instant =
        Timestamp::from_millisecond(start_of(day)).expect("65535 days after 1970 lie within jiff's range");
    let date: Date = instant.to_zoned(jiff::tz::TimeZone::UTC).date();
    date.to_string()
}

/// `2026-03` of a day counted from 1970-01-01.
pub(crate) fn month(day: u16) -> String {
    let mut date = date(day);
    date.truncate("2026-03".len());
    date
}

/// The first millisecond of a day counted from 1970-01-01, UTC.
pub(crate) fn start_of(day: u16) -> i64 {
    i64::from(day) * MILLIS_PER_DAY
}

/// `millis` less so many days.
pub(crate) fn days_before(millis: i64, days: u32) -> i64 {
    millis.saturating_sub(i64::from(days) * MILLIS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_survives_its_text() {
        assert_eq!(rfc3339(1_772_323_200_004).unwrap(), "2026-03-01T00:00:00.004Z");
        assert_eq!(parse("2026-03-01T09:00:00.004+09:00"), Some(1_772_323_200_004));
        assert_eq!(rfc3339(i64::MAX), None);
    }

    #[test]
    fn a_time_without_an_offset_says_nothing() {
        assert_eq!(parse("2026-03-01T09:00:00"), None);
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn a_day_number_is_a_date() {
        assert_eq!(date(20_513), "2026-03-01");
        assert_eq!(month(20_513), "2026-03");
        assert_eq!(date(u16::MAX), "2149-06-06");
    }
}
