//! Japan's holidays, 1970–2099, by the Act on National Holidays (国民の祝日に関する法律) as it was in
//! each of those years and is now; what a later law moves can be configured day by day.
//!
//! The act knows three kinds of days off, and each follows from the former: national holidays; the
//! substitute for one that falls on a Sunday (振替休日); and a day between two national holidays
//! (国民の休日).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use jiff::civil::date;

use super::{SUNDAY, day_number, weekday};

const YEARS: RangeInclusive<i16> = 1970..=2099;

/// Every day off, weekends aside, in days since 1970-01-01.
pub(super) fn days_off() -> &'static BTreeSet<i32> {
    static DAYS_OFF: LazyLock<BTreeSet<i32>> = LazyLock::new(by_law);
    &DAYS_OFF
}

fn by_law() -> BTreeSet<i32> {
    let first_with_substitute = day_number(date(1973, 4, 12));
    let first_with_between = day_number(date(1985, 12, 27));
    let since_2007 = day_number(date(2007, 1, 1));

    let national: BTreeSet<i32> = YEARS.flat_map(national_holidays).collect();
    let mut days_off = national.clone();
    for &day in &national {
        if weekday(day) == SUNDAY && day >= first_with_substitute {
            let mut substitute = day + 1;
            while day >= since_2007 && national.contains(&substitute) {
                substitute += 1;
            }
            days_off.insert(substitute);
        }
        let between = day + 1;
        let is_between = national.contains(&(day + 2)) && !national.contains(&between);
        let may_be_sunday = between >= since_2007;
        if is_between && between >= first_with_between && (may_be_sunday || weekday(between) != SUNDAY) {
            days_off.insert(between);
        }
    }
    days_off
}

/// The national holidays of a year, in no order.
fn national_holidays(year: i16) -> Vec<i32> {
    let on = |month: i8, day: i8| Some(day_number(date(year, month, day)));
    let nth_monday = |month: i8, nth: i32| {
        let first = day_number(date(year, month, 1));
        let to_monday = (7 - weekday(first) as i32) % 7;
        Some(first + to_monday + 7 * (nth - 1))
    };
    let coming_of_age = match year {
        ..=1999 => on(1, 15),
        _ => nth_monday(1, 2),
    };
    let emperors_birthday = match year {
        // 29 April, which stayed a holiday under other names.
        ..=1988 => None,
        1989..=2018 => on(12, 23),
        2019 => None,
        _ => on(2, 23),
    };
    let greenery = match year {
        ..=2006 => None,
        _ => on(5, 4),
    };
    // Marine, mountain and sports day made room for the Olympic ceremonies in 2020 and 2021.
    let marine = match year {
        ..=1995 => None,
        1996..=2002 => on(7, 20),
        2020 => on(7, 23),
        2021 => on(7, 22),
        _ => nth_monday(7, 3),
    };
    let mountain = match year {
        ..=2015 => None,
        2020 => on(8, 10),
        2021 => on(8, 8),
        _ => on(8, 11),
    };
    let sports = match year {
        ..=1999 => on(10, 10),
        2020 => on(7, 24),
        2021 => on(7, 23),
        _ => nth_monday(10, 2),
    };
    let respect_for_the_aged = match year {
        ..=2002 => on(9, 15),
        _ => nth_monday(9, 3),
    };
    // Funeral of the emperor, enthronements, a wedding.
    let of_that_year = match year {
        1989 => [on(2, 24), None],
        1990 => [on(11, 12), None],
        1993 => [on(6, 9), None],
        2019 => [on(5, 1), on(10, 22)],
        _ => [None, None],
    };
    let every_year = [(1, 1), (2, 11), (4, 29), (5, 3), (5, 5), (11, 3), (11, 23)];
    every_year
        .map(|(month, day)| on(month, day))
        .into_iter()
        .chain([on(3, equinox(year, 20.8431)), on(9, equinox(year, 23.2488))])
        .chain([coming_of_age, emperors_birthday, greenery, marine, mountain])
        .chain([sports, respect_for_the_aged])
        .chain(of_that_year)
        .flatten()
        .collect()
}

/// The day of the month on which the equinox falls in Japan, by the customary approximation: the
/// equinox of 1980, moved by the excess of the tropical year over 365 days and by the leap days. It
/// agrees with every equinox that was published for these years.
fn equinox(year: i16, day_in_1980: f64) -> i8 {
    let since_1980 = year - 1980;
    let leap_days = since_1980.div_euclid(4);
    (day_in_1980 + 0.242194 * f64::from(since_1980) - f64::from(leap_days)).floor() as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The days off of a year as `MM-DD`.
    fn of(year: i16) -> Vec<String> {
        let (first, last) = (day_number(date(year, 1, 1)), day_number(date(year, 12, 31)));
        days_off()
            .range(first..=last)
            .map(|day| super::super::date_of(*day).strftime("%m-%d").to_string())
            .collect()
    }

    /// The lists that the Cabinet Office publishes (`syukujitsu.csv`).
    const PUBLISHED: [(i16, &str); 14] = [
        (
            1973,
            "01-01 01-15 02-11 03-21 04-29 04-30 05-03 05-05 09-15 09-23 09-24 10-10 11-03 11-23",
        ),
        (
            1989,
            "01-01 01-02 01-15 01-16 02-11 02-24 03-21 04-29 05-03 05-04 05-05 09-15 09-23 10-10 11-03 \
             11-23 12-23",
        ),
        (
            1990,
            "01-01 01-15 02-11 02-12 03-21 04-29 04-30 05-03 05-04 05-05 09-15 09-23 09-24 10-10 11-03 \
             11-12 11-23 12-23 12-24",
        ),
        (
            1993,
            "01-01 01-15 02-11 03-20 04-29 05-03 05-04 05-05 06-09 09-15 09-23 10-10 10-11 11-03 11-23 12-23",
        ),
        (
            2003,
            "01-01 01-13 02-11 03-21 04-29 05-03 05-05 07-21 09-15 09-23 10-13 11-03 11-23 11-24 12-23",
        ),
        (
            2009,
            "01-01 01-12 02-11 03-20 04-29 05-03 05-04 05-05 05-06 07-20 09-21 09-22 09-23 10-12 11-03 \
             11-23 12-23",
        ),
        (
            2015,
            "01-01 01-12 02-11 03-21 04-29 05-03 05-04 05-05 05-06 07-20 09-21 09-22 09-23 10-12 11-03 \
             11-23 12-23",
        ),
        (
            2019,
            "01-01 01-14 02-11 03-21 04-29 04-30 05-01 05-02 05-03 05-04 05-05 05-06 07-15 08-11 08-12 \
             09-16 09-23 10-14 10-22 11-03 11-04 11-23",
        ),
        (
            2020,
            "01-01 01-13 02-11 02-23 02-24 03-20 04-29 05-03 05-04 05-05 05-06 07-23 07-24 08-10 09-21 \
             09-22 11-03 11-23",
        ),
        (
            2021,
            "01-01 01-11 02-11 02-23 03-20 04-29 05-03 05-04 05-05 07-22 07-23 08-08 08-09 09-20 09-23 \
             11-03 11-23",
        ),
        (
            2024,
            "01-01 01-08 02-11 02-12 02-23 03-20 04-29 05-03 05-04 05-05 05-06 07-15 08-11 08-12 09-16 \
             09-22 09-23 10-14 11-03 11-04 11-23",
        ),
        (
            2025,
            "01-01 01-13 02-11 02-23 02-24 03-20 04-29 05-03 05-04 05-05 05-06 07-21 08-11 09-15 09-23 \
             10-13 11-03 11-23 11-24",
        ),
        (
            2026,
            "01-01 01-12 02-11 02-23 03-20 04-29 05-03 05-04 05-05 05-06 07-20 08-11 09-21 09-22 09-23 \
             10-12 11-03 11-23",
        ),
        (
            2027,
            "01-01 01-11 02-11 02-23 03-21 03-22 04-29 05-03 05-04 05-05 07-19 08-11 09-20 09-23 10-11 \
             11-03 11-23",
        ),
    ];

    #[test]
    fn the_holidays_are_those_that_the_cabinet_office_published() {
        for (year, published) in PUBLISHED {
            assert_eq!(of(year).join(" "), published, "{year}");
        }
    }

    #[test]
    fn a_substitute_goes_past_the_holidays_after_it_only_since_2007() {
        // 3 May is a Sunday in 1992 and in 2009.
        assert!(!of(1992).contains(&"05-06".to_string()));
        assert!(of(2009).contains(&"05-06".to_string()));
        // 11 February 1973 was a Sunday before there were substitutes.
        assert!(!of(1973).contains(&"02-12".to_string()));
    }
}
