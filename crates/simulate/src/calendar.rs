//! Where the customers are, and how much of a working day each day is there.
//!
//! A day is counted from 1970-01-01 on the zone's own calendar; the number says nothing about instants until
//! [`Zone::midnight`] turns it into one.

use jiff::civil::{Date, Weekday, date};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::ConfigError;

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const HOUR: i64 = 3_600 * SECOND;
pub(crate) const DAY: i64 = 24 * HOUR;

/// The time zones that accounts live in and how many in a hundred do.
pub(crate) const ZONES: [(&str, u32); 4] = [
    ("Asia/Tokyo", 80),
    ("America/New_York", 8),
    ("Europe/Berlin", 7),
    ("Etc/UTC", 5),
];

pub(crate) const TOKYO: u8 = 0;

/// A time zone with its working days.
#[derive(Debug)]
pub(crate) struct Zone {
    index: u8,
    rules: TimeZone,
    /// How far the calendar is ahead of the clock, in milliseconds.
    shift_ms: i64,
}

/// The zones of [`ZONES`], in that order, their calendars ahead of the clock by `shift_ms`.
pub(crate) fn zones(shift_ms: i64) -> Result<Vec<Zone>, ConfigError> {
    let mut zones = Vec::with_capacity(ZONES.len());
    for (index, (name, _)) in ZONES.iter().enumerate() {
        let rules = TimeZone::get(name).map_err(|source| ConfigError::TimeZone { name, source })?;
        zones.push(Zone {
            index: index as u8,
            rules,
            shift_ms,
        });
    }
    Ok(zones)
}

impl Zone {
    /// The instant at which `day` begins, in epoch milliseconds.
    ///
    /// Counted back twelve hours from noon, so that it is defined on the days on which the clocks change; on those
    /// (Sundays) it is an hour off, which a simulation may be.
    pub(crate) fn midnight(&self, day: i32) -> i64 {
        let noon = to_date(day).at(12, 0, 0, 0);
        let instant = self.rules.to_ambiguous_timestamp(noon).compatible();
        // Only dates at the ends of the calendar (year ±9999) have no instant.
        instant.map_or(i64::from(day) * DAY, |noon| noon.as_millisecond() - DAY / 2) - self.shift_ms
    }

    /// The local day that `at` (epoch milliseconds) falls on.
    pub(crate) fn day_of(&self, at: i64) -> i32 {
        let instant = Timestamp::from_millisecond(at + self.shift_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        to_day(instant.to_zoned(self.rules.clone()).date())
    }

    /// How much work is done on `day`: 1 on a plain working day, near 0 at weekends and on holidays.
    pub(crate) fn workday(&self, day: i32) -> f64 {
        let date = to_date(day);
        if is_weekend(day) {
            return 0.04;
        }
        let (month, on) = (date.month(), date.day());
        if self.index != TOKYO {
            return match (month, on) {
                (1, 1) | (12, 25) => 0.04,
                (7, 4) if self.index == 1 => 0.04,
                (12, 24 | 26 | 31) => 0.3,
                (12, 27..=30) => 0.5,
                _ => 1.0,
            };
        }
        if is_japanese_holiday(date) {
            return 0.05;
        }
        match (month, on) {
            (1, 2..=3) | (12, 29..=31) => 0.06,
            (12, 28) | (1, 4) => 0.5,
            (4, 30) | (5, 1..=2) => 0.55,
            (8, 13..=15) => 0.35,
            (8, 12 | 16) => 0.7,
            _ => 1.0,
        }
    }
}

/// How far ahead of `at` (epoch milliseconds) the next hour of work lies in which Tokyo is busy: from
/// ten to eleven in the morning of a plain working day. 0 when it is such an hour, or when the machine
/// does not know Tokyo.
pub(crate) fn shift_to_work(at: i64) -> i64 {
    let Ok(zones) = zones(0) else { return 0 };
    let tokyo = &zones[TOKYO as usize];
    let is_busy = |at: i64| {
        let day = tokyo.day_of(at);
        let hour = (at - tokyo.midnight(day)).div_euclid(HOUR);
        hour == 10 && tokyo.workday(day) >= 1.0
    };
    // The longest holidays of Japan are shorter than two weeks.
    (0..14 * 24)
        .map(|hours| hours * HOUR)
        .find(|shift| is_busy(at + shift))
        .unwrap_or(0)
}

pub(crate) fn to_date(day: i32) -> Date {
    date(1970, 1, 1)
        .checked_add(Span::new().days(day))
        .unwrap_or(Date::ZERO)
}

pub(crate) fn to_day(on: Date) -> i32 {
    on.duration_since(date(1970, 1, 1)).as_hours() as i32 / 24
}

pub(crate) fn is_weekend(day: i32) -> bool {
    // 1970-01-01 was a Thursday: day 2 was the first Saturday.
    matches!((day + 5).rem_euclid(7), 0 | 1)
}

/// The first working weekday at or after `day`.
pub(crate) fn next_weekday(day: i32) -> i32 {
    match (day + 5).rem_euclid(7) {
        0 => day + 2,
        1 => day + 1,
        _ => day,
    }
}

/// Whether `on` is one of Japan's national holidays, under the law as it has stood since 2022.
fn is_japanese_holiday(on: Date) -> bool {
    if is_named_holiday(on) {
        return true;
    }
    // A holiday on a Sunday is made up for on the next day that is none.
    let mut before = previous(on);
    while is_named_holiday(before) {
        if before.weekday() == Weekday::Sunday {
            return true;
        }
        before = previous(before);
    }
    // A day between two holidays is one too.
    is_named_holiday(previous(on)) && on.tomorrow().is_ok_and(is_named_holiday)
}

fn previous(on: Date) -> Date {
    on.yesterday().unwrap_or(on)
}

fn is_named_holiday(on: Date) -> bool {
    let (month, day) = (on.month(), on.day());
    let monday = |nth: i8| on.weekday() == Weekday::Monday && (day - 1) / 7 + 1 == nth;
    match month {
        1 => day == 1 || monday(2),
        2 => day == 11 || day == 23,
        3 => day == equinox(on.year(), 20.8431),
        4 => day == 29,
        5 => (3..=5).contains(&day),
        7 => monday(3),
        8 => day == 11,
        9 => monday(3) || day == equinox(on.year(), 23.2488),
        10 => monday(2),
        11 => day == 3 || day == 23,
        _ => false,
    }
}

/// The day of March or September on which the equinox falls in Japan, by the customary approximation, which holds
/// from 1980 to 2099.
fn equinox(year: i16, base: f64) -> i8 {
    let years = f64::from(year - 1980);
    (base + 0.242_194 * years - (years / 4.0).floor()).floor() as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn japans_holidays_of_2026_are_known() {
        let mut found = Vec::new();
        let mut on = date(2026, 1, 1);
        while on.year() == 2026 {
            if is_japanese_holiday(on) {
                found.push((on.month(), on.day()));
            }
            on = on.tomorrow().unwrap();
        }
        // As announced by the Cabinet Office; 6 May makes up for the 3rd, 22 September lies between two.
        let announced = [
            (1, 1),
            (1, 12),
            (2, 11),
            (2, 23),
            (3, 20),
            (4, 29),
            (5, 3),
            (5, 4),
            (5, 5),
            (5, 6),
            (7, 20),
            (8, 11),
            (9, 21),
            (9, 22),
            (9, 23),
            (10, 12),
            (11, 3),
            (11, 23),
        ];
        assert_eq!(found, announced);
    }

    #[test]
    fn midnights_follow_the_zone() {
        let zones = zones(0).unwrap();
        let day = to_day(date(2026, 7, 1));
        let utc = i64::from(day) * DAY;
        assert_eq!(zones[3].midnight(day), utc);
        assert_eq!(zones[0].midnight(day), utc - 9 * HOUR);
        assert_eq!(zones[1].midnight(day), utc + 4 * HOUR);
        assert_eq!(zones[2].midnight(day), utc - 2 * HOUR);
        assert_eq!(zones[0].day_of(utc + 20 * HOUR), day + 1);
    }

    #[test]
    fn weekends_are_weekends() {
        for (text, weekend) in [("2026-11-20", false), ("2026-11-21", true), ("2026-11-22", true)] {
            assert_eq!(is_weekend(to_day(text.parse().unwrap())), weekend, "{text}");
        }
        let saturday = to_day(date(2026, 11, 21));
        assert_eq!(next_weekday(saturday), saturday + 2);
        assert_eq!(next_weekday(saturday + 1), saturday + 2);
        assert_eq!(next_weekday(saturday + 2), saturday + 2);
    }

    #[test]
    fn a_calendar_can_be_set_forward_to_when_people_work() {
        // 2026-11-22 is a Sunday and the 23rd a holiday: Tuesday at ten it is, 01:00 UTC.
        let sunday: Timestamp = "2026-11-22T14:22:00Z".parse().unwrap();
        let shift = shift_to_work(sunday.as_millisecond());
        let shown = Timestamp::from_millisecond(sunday.as_millisecond() + shift).unwrap();
        assert_eq!(shown.to_string(), "2026-11-24T01:22:00Z");
        let zones = zones(shift).unwrap();
        let day = zones[TOKYO as usize].day_of(sunday.as_millisecond());
        assert_eq!(to_date(day), date(2026, 11, 24));
        assert_eq!(
            zones[TOKYO as usize].day_of(zones[TOKYO as usize].midnight(day)),
            day
        );
    }
}
