//! Points in time as text.
//!
//! RFC 3339 is read strictly and without a calendar library: this is on the path of every event, and
//! the result is plain integer arithmetic that cannot leave an `i64` for the years 0000 to 9999.

const MS_PER_SECOND: i64 = 1_000;
const MS_PER_MINUTE: i64 = 60 * MS_PER_SECOND;
const MS_PER_HOUR: i64 = 60 * MS_PER_MINUTE;
/// Milliseconds in a day of 24 hours.
pub(crate) const MS_PER_DAY: i64 = 24 * MS_PER_HOUR;

/// 1900-01-01T00:00:00Z and 2299-12-31T23:59:59.999Z, the bounds of the store's times, in
/// milliseconds since the Unix epoch.
pub(crate) const STORABLE: (i64, i64) = (-2_208_988_800_000, 10_413_791_999_999);

/// The milliseconds since the Unix epoch of an RFC 3339 date and time with its offset.
///
/// Digits below the millisecond are cut off. A leap second (`:60`) is read as the second before it,
/// so that it stays in its minute. `t`, `z` and a space for the `T` are accepted, as the RFC allows.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let midnight = parse_date_bytes(bytes.get(..10)?)?;
    let clock = bytes.get(10..19)?;
    let shaped = matches!(clock[0], b'T' | b't' | b' ') && clock[3] == b':' && clock[6] == b':';
    if !shaped {
        return None;
    }
    let hour = two_digits(clock[1], clock[2], 23)?;
    let minute = two_digits(clock[4], clock[5], 59)?;
    let second = two_digits(clock[7], clock[8], 60)?.min(59);

    let mut rest = &bytes[19..];
    let mut milliseconds = 0;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for place in 0..3 {
            let digit = fraction[..digits].get(place).map_or(0, |byte| byte - b'0');
            milliseconds = milliseconds * 10 + i64::from(digit);
        }
        rest = &fraction[digits..];
    }
    let offset = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let ahead = two_digits(*h1, *h2, 23)? * MS_PER_HOUR + two_digits(*m1, *m2, 59)? * MS_PER_MINUTE;
            if *sign == b'+' { ahead } else { -ahead }
        }
        _ => return None,
    };
    let local =
        midnight + hour * MS_PER_HOUR + minute * MS_PER_MINUTE + second * MS_PER_SECOND + milliseconds;
    Some(local - offset)
}

/// The milliseconds since the Unix epoch of the midnight, in UTC, that begins a date `YYYY-MM-DD`.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    parse_date_bytes(text.as_bytes())
}

fn parse_date_bytes(bytes: &[u8]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = bytes else {
        return None;
    };
    let year = two_digits(y1, y2, 99)? * 100 + two_digits(y3, y4, 99)?;
    let month = two_digits(m1, m2, 12)?;
    let day = two_digits(d1, d2, 31)?;
    if month == 0 || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    Some(days_from_epoch(year, month, day) * MS_PER_DAY)
}

fn two_digits(tens: u8, ones: u8, most: i64) -> Option<i64> {
    if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return None;
    }
    let value = i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
    (value <= most).then_some(value)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, for years 0 to 9999.
///
/// Counts in years that begin in March, so that the leap day is a year's last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_BEFORE_EPOCH: i64 = 719_468; // from 0000-03-01
    let (year, months_since_march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - DAYS_BEFORE_EPOCH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forms_that_the_rfc_allows_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00z", 0),
            ("1970-01-01 00:00:00Z", 0),
            ("1970-01-01T09:00:00+09:00", 0),
            ("1969-12-31T18:30:00-05:30", 0),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1970-01-01T00:00:00.1Z", 100),
            ("1970-01-01T00:00:00.004999999999Z", 4),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("2026-11-22T01:02:03.004Z", 1_795_309_323_004),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
            ("2016-12-31T23:59:60.5Z", 1_483_228_799_500),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999-23:59", 253_402_387_139_999),
        ] {
            assert_eq!(parse_rfc3339(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "2026-11-22",
            "2026-11-22T01:02:03",
            "2026-11-22T01:02Z",
            "2026-11-22T01:02:03.Z",
            "2026-11-22T01:02:03,5Z",
            "2026-11-22T01:02:03+0900",
            "2026-11-22T01:02:03+09",
            "2026-11-22T01:02:03+24:00",
            "2026-11-22T01:02:03+09:60",
            "2026-11-22T01:02:03Z ",
            " 2026-11-22T01:02:03Z",
            "2026-11-22T01:02:03Z[Asia/Tokyo]",
            "2026-11-22T24:00:00Z",
            "2026-11-22T01:60:00Z",
            "2026-11-22T01:02:61Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "+002026-11-22T01:02:03Z",
            "20261122T010203Z",
            "2026-11-22T01:02:03守",
            "２０２６-11-22T01:02:03Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_is_its_midnight_in_utc() {
        assert_eq!(parse_date("1970-01-02"), Some(MS_PER_DAY));
        assert_eq!(parse_date("2000-02-29"), Some(951_782_400_000));
        assert_eq!(parse_date("2100-02-29"), None);
        assert_eq!(parse_date("1970-1-2"), None);
    }

    proptest! {
        #[test]
        fn every_time_is_read_as_the_calendar_library_reads_it(
            ms in -62_167_219_200_000_i64..253_402_207_200_000,
            offset_minutes in -1439_i32..=1439,
        ) {
            let timestamp = jiff::Timestamp::from_millisecond(ms).unwrap();
            prop_assert_eq!(parse_rfc3339(&format!("{timestamp:.3}")), Some(ms));

            let offset = jiff::tz::Offset::from_seconds(offset_minutes * 60).unwrap();
            let local = offset.to_datetime(timestamp);
            if (0..=9999).contains(&local.year()) {
                let sign = if offset_minutes < 0 { '-' } else { '+' };
                let (hours, minutes) = (offset_minutes.abs() / 60, offset_minutes.abs() % 60);
                let text = format!("{local:.3}{sign}{hours:02}:{minutes:02}");
                prop_assert_eq!(parse_rfc3339(&text), Some(ms), "{}", text);
            }
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,40}") {
            let _ = parse_rfc3339(&text);
            let _ = parse_date(&text);
        }
    }
}
