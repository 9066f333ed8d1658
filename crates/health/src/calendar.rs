//! Working days: which days the customers of a time zone work, and how many of them lie between two
//! days.
//!
//! A calendar is a week of working weekdays and the days that differ from it, each list ascending and
//! free of days that the week alone decides; so a count over any span is whole weeks and two binary
//! searches.

mod japan;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::config::{ConfigError, Model, wrong};

/// The weekdays by their names in the configuration; a weekday's place here is its number.
pub const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const SUNDAY: usize = 6;

/// The key of the calendar of the zones that have none of their own.
const DEFAULT: &str = "default";

const TOKYO: &str = "Asia/Tokyo";

/// An older name of the same zone.
const TOKYO_TOO: &str = "Japan";

/// Days that a range in the configuration may span: longer ones are slips of the pen.
const LONGEST_RANGE: i32 = 366;

/// Which days are worked in a time zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalendarConfig {
    /// Weekdays off: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`. Default `sat` and `sun`.
    pub weekend: Vec<String>,
    /// Holidays that are computed: `none`, or `japan` (1970–2099). Default `none`.
    pub holidays: String,
    /// Further days off: dates as `2026-12-29`, or ranges as `2026-12-29..2027-01-03`, both ends
    /// included. Default none.
    pub extra: Vec<String>,
    /// Days that are worked although they fall on a weekend, a holiday or an extra day off; written
    /// as those are. Default none.
    pub workdays: Vec<String>,
}

impl Default for CalendarConfig {
    fn default() -> Self {
        CalendarConfig {
            weekend: vec!["sat".to_string(), "sun".to_string()],
            holidays: "none".to_string(),
            extra: Vec::new(),
            workdays: Vec::new(),
        }
    }
}

/// The calendars that ship: Japan's holidays for `Asia/Tokyo`.
pub(crate) fn shipped() -> BTreeMap<String, CalendarConfig> {
    let japan = CalendarConfig {
        holidays: "japan".to_string(),
        ..CalendarConfig::default()
    };
    BTreeMap::from([(TOKYO.to_string(), japan)])
}

/// The working days of a time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    /// Whether the weekday is worked, Monday first.
    week: [bool; 7],
    /// Days off that the week has as worked, ascending.
    off: Vec<i32>,
    /// Days worked that the week has off, ascending.
    worked: Vec<i32>,
}

impl Calendar {
    /// The days that a team works, apart from any customer's.
    ///
    /// # Errors
    /// [`ConfigError`] of which the field is one of [`CalendarConfig`]'s.
    pub fn try_new(config: &CalendarConfig) -> Result<Calendar, ConfigError> {
        Calendar::compile(config, str::to_string)
    }

    /// `key` is how the calendar is named in the configuration.
    fn new(key: &str, config: &CalendarConfig) -> Result<Calendar, ConfigError> {
        Calendar::compile(config, |name| format!("calendars.{key:?}.{name}"))
    }

    fn compile(config: &CalendarConfig, field: impl Fn(&str) -> String) -> Result<Calendar, ConfigError> {
        let mut week = [true; 7];
        for (position, name) in config.weekend.iter().enumerate() {
            let Some(weekday) = WEEKDAYS.iter().position(|weekday| weekday == name) else {
                let problem = format!("{name:?} is not a weekday; weekdays are {}", WEEKDAYS.join(", "));
                return Err(wrong(&field(&format!("weekend[{position}]")), problem));
            };
            week[weekday] = false;
        }
        if week == [false; 7] {
            let problem = "must leave a weekday to work on".to_string();
            return Err(wrong(&field("weekend"), problem));
        }
        let holidays = match config.holidays.as_str() {
            "none" => &BTreeSet::new(),
            "japan" => japan::days_off(),
            other => {
                let problem = format!("{other:?} is not known; must be none or japan");
                return Err(wrong(&field("holidays"), problem));
            }
        };
        let extra = days(&field("extra"), &config.extra)?;
        let workdays = days(&field("workdays"), &config.workdays)?;
        let is_worked_week = |day: &i32| week[weekday(*day)];
        Ok(Calendar {
            off: holidays
                .union(&extra)
                .copied()
                .filter(|day| is_worked_week(day) && !workdays.contains(day))
                .collect(),
            worked: workdays
                .iter()
                .copied()
                .filter(|day| !is_worked_week(day))
                .collect(),
            week,
        })
    }

    /// Whether `day`, in days since 1970-01-01, is worked.
    pub fn is_workday(&self, day: i32) -> bool {
        if self.week[weekday(day)] {
            self.off.binary_search(&day).is_err()
        } else {
            self.worked.binary_search(&day).is_ok()
        }
    }

    /// Whether the date is worked.
    pub fn works_on(&self, date: Date) -> bool {
        self.is_workday(day_number(date))
    }

    /// How many days strictly between the two are worked, both in days since 1970-01-01; 0 when none
    /// lies between them.
    pub fn workdays_between(&self, after: i32, before: i32) -> i32 {
        let first = after.saturating_add(1);
        if first >= before {
            return 0;
        }
        let workdays = self.workdays_before(before) - self.workdays_before(first);
        // Only a span of over five million years has more.
        i32::try_from(workdays).unwrap_or(i32::MAX)
    }

    /// The days from `first` to `last`, both included, that are not worked, ascending, in days since
    /// 1970-01-01.
    pub fn days_off(&self, first: i32, last: i32) -> Vec<i32> {
        (first..=last).filter(|day| !self.is_workday(*day)).collect()
    }

    /// Working days since a fixed Monday up to the day before `day`; only differences mean something.
    fn workdays_before(&self, day: i32) -> i64 {
        let since_monday = days_since_monday(day);
        let weeks = since_monday.div_euclid(7);
        let rest = since_monday.rem_euclid(7) as usize;
        let worked = |days: &[bool]| days.iter().filter(|worked| **worked).count() as i64;
        let before = |days: &[i32]| days.partition_point(|other| *other < day) as i64;
        weeks * worked(&self.week) + worked(&self.week[..rest]) - before(&self.off) + before(&self.worked)
    }
}

/// The calendars of all time zones.
#[derive(Debug, Clone)]
pub(crate) struct Calendars {
    by_zone: BTreeMap<String, Calendar>,
    of_others: Calendar,
}

impl Calendars {
    /// Checks what is configured, and adds the calendars that ship for the zones that it does not name.
    pub(crate) fn new(config: &BTreeMap<String, CalendarConfig>) -> Result<Calendars, ConfigError> {
        let of_others = config.get(DEFAULT).cloned().unwrap_or_default();
        let of_others = Calendar::new(DEFAULT, &of_others)?;
        let mut by_zone = BTreeMap::new();
        for (key, calendar) in config {
            if key == DEFAULT {
                continue;
            }
            let field = format!("calendars.{key:?}");
            let zone = TimeZone::get(key).ok();
            let Some(name) = zone.as_ref().and_then(TimeZone::iana_name) else {
                let problem = "is not an IANA time zone such as Asia/Tokyo, nor default".to_string();
                return Err(wrong(&field, problem));
            };
            let compiled = Calendar::new(key, calendar)?;
            if by_zone.insert(name.to_string(), compiled).is_some() {
                return Err(wrong(&field, format!("the time zone {name} is there twice")));
            }
        }
        for (zone, calendar) in shipped() {
            let compiled = Calendar::new(&zone, &calendar)?;
            by_zone.entry(zone).or_insert(compiled);
        }
        if let Some(tokyo) = by_zone.get(TOKYO).cloned() {
            by_zone.entry(TOKYO_TOO.to_string()).or_insert(tokyo);
        }
        Ok(Calendars { by_zone, of_others })
    }

    /// Each calendar with its zone, and the one of all other zones as `default`.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Calendar)> {
        let by_zone = self
            .by_zone
            .iter()
            .map(|(zone, calendar)| (zone.as_str(), calendar));
        by_zone.chain([(DEFAULT, &self.of_others)])
    }

    /// The calendar of a time zone.
    pub(crate) fn of(&self, zone: &TimeZone) -> &Calendar {
        zone.iana_name()
            .and_then(|name| self.by_zone.get(name))
            .unwrap_or(&self.of_others)
    }
}

impl Account {
    /// The working days of the account's time zone.
    pub fn calendar<'a>(&self, model: &'a Model) -> &'a Calendar {
        model.calendar(self.zone.as_ref().unwrap_or(&model.zone))
    }
}

/// The days that dates and ranges of the configuration name.
fn days(field: &str, texts: &[String]) -> Result<BTreeSet<i32>, ConfigError> {
    let mut days = BTreeSet::new();
    for (position, text) in texts.iter().enumerate() {
        let here = |problem: String| wrong(&format!("{field}[{position}]"), problem);
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (Some(first), Some(last)) = (parse_date(first), parse_date(last)) else {
            return Err(here(format!(
                "{text:?} is neither a date such as 2026-12-29 nor a range such as 2026-12-29..2027-01-03"
            )));
        };
        if last < first || last - first >= LONGEST_RANGE {
            return Err(here(format!(
                "{text:?} must end on its first day or later, and within a year of it"
            )));
        }
        days.extend(first..=last);
    }
    Ok(days)
}

/// The day of a date as `2026-12-29`.
fn parse_date(text: &str) -> Option<i32> {
    const LENGTH: usize = "2026-12-29".len();
    let date: Date = (text.len() == LENGTH).then(|| text.parse().ok())??;
    Some(day_number(date))
}

/// Days since 1970-01-01.
fn day_number(day: Date) -> i32 {
    // The years of a `Date` have four digits.
    (day.duration_since(date(1970, 1, 1)).as_hours() / 24) as i32
}

#[cfg(test)]
fn date_of(day: i32) -> Date {
    date(1970, 1, 1) + jiff::Span::new().days(day)
}

/// The number of the weekday, Monday 0.
fn weekday(day: i32) -> usize {
    days_since_monday(day).rem_euclid(7) as usize
}

/// Days since the Monday before 1970-01-01, a Thursday.
fn days_since_monday(day: i32) -> i64 {
    i64::from(day) + 3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> i32 {
        parse_date(text).unwrap()
    }

    fn calendar(zone: &str, config: &BTreeMap<String, CalendarConfig>) -> Calendar {
        let calendars = Calendars::new(config).unwrap();
        calendars.of(&TimeZone::get(zone).unwrap()).clone()
    }

    fn of_zone(zone: &str) -> Calendar {
        calendar(zone, &shipped())
    }

    fn between(calendar: &Calendar, after: &str, before: &str) -> i32 {
        calendar.workdays_between(day(after), day(before))
    }

    #[test]
    fn nobody_is_inactive_over_golden_week() {
        // Last seen on the last working day before it, looked at on the first one after it.
        let tokyo = of_zone("Asia/Tokyo");
        assert_eq!(between(&tokyo, "2019-04-26", "2019-05-07"), 0, "ten days off");
        assert_eq!(between(&tokyo, "2026-05-01", "2026-05-07"), 0);
        assert_eq!(
            between(&tokyo, "2026-04-28", "2026-05-07"),
            2,
            "30 April and 1 May are worked"
        );
        assert_eq!(between(&tokyo, "2019-04-26", "2019-05-08"), 1, "7 May was missed");
        assert_eq!(
            between(&of_zone("Europe/Berlin"), "2019-04-26", "2019-05-07"),
            6,
            "elsewhere that is six working days"
        );
    }

    #[test]
    fn a_zone_without_a_calendar_has_the_default_one_and_what_ships_stays() {
        let closed_fridays = CalendarConfig {
            weekend: vec!["fri".into(), "sat".into()],
            ..CalendarConfig::default()
        };
        let config = BTreeMap::from([(DEFAULT.to_string(), closed_fridays)]);
        assert!(!calendar("Asia/Dubai", &config).is_workday(day("2026-05-08")));
        assert!(
            calendar("Asia/Dubai", &config).is_workday(day("2026-05-10")),
            "a Sunday"
        );
        let tokyo = calendar("Asia/Tokyo", &config);
        assert!(!tokyo.is_workday(day("2026-05-06")), "a holiday");
        assert!(tokyo.is_workday(day("2026-05-08")));
        assert_eq!(calendar("Japan", &config), tokyo);
        let own = BTreeMap::from([(TOKYO.to_string(), CalendarConfig::default())]);
        assert!(calendar("Asia/Tokyo", &own).is_workday(day("2026-05-06")));
    }

    #[test]
    fn extra_days_off_and_days_worked_in_spite_are_heeded() {
        let config = BTreeMap::from([(
            TOKYO.to_string(),
            CalendarConfig {
                holidays: "japan".into(),
                extra: vec!["2026-12-29..2027-01-03".into(), "2026-12-24".into()],
                workdays: vec!["2026-12-30".into(), "2026-12-26".into(), "2026-11-23".into()],
                ..CalendarConfig::default()
            },
        )]);
        let tokyo = calendar("Asia/Tokyo", &config);
        assert_eq!(
            tokyo.days_off(day("2026-12-24"), day("2027-01-04")),
            [
                "2026-12-24",
                "2026-12-27",
                "2026-12-29",
                "2026-12-31",
                "2027-01-01",
                "2027-01-02",
                "2027-01-03"
            ]
            .map(day),
            "Saturday the 26th is worked, and the 30th"
        );
        assert_eq!(
            between(&tokyo, "2026-12-23", "2027-01-05"),
            5,
            "25, 26, 28, 30 and 4"
        );
        assert!(tokyo.is_workday(day("2026-11-23")), "a holiday that is worked");
    }

    #[test]
    fn what_is_wrong_in_a_calendar_is_named_with_what_would_be_right() {
        let refused = |zone: &str, change: fn(&mut CalendarConfig)| {
            let mut calendar = CalendarConfig::default();
            change(&mut calendar);
            let config = BTreeMap::from([(zone.to_string(), calendar)]);
            Calendars::new(&config).unwrap_err().to_string()
        };
        assert_eq!(
            refused("Asia/Tokio", |_| ()),
            "health.calendars.\"Asia/Tokio\": is not an IANA time zone such as Asia/Tokyo, nor default"
        );
        assert_eq!(
            refused("default", |calendar| calendar.weekend[1] = "sunday".into()),
            "health.calendars.\"default\".weekend[1]: \"sunday\" is not a weekday; weekdays are mon, tue, \
             wed, thu, fri, sat, sun"
        );
        assert_eq!(
            refused("Asia/Tokyo", |calendar| calendar.holidays = "jp".into()),
            "health.calendars.\"Asia/Tokyo\".holidays: \"jp\" is not known; must be none or japan"
        );
        assert_eq!(
            refused("Asia/Tokyo", |calendar| calendar.extra =
                vec!["2026-02-30".into()]),
            "health.calendars.\"Asia/Tokyo\".extra[0]: \"2026-02-30\" is neither a date such as 2026-12-29 \
             nor a range such as 2026-12-29..2027-01-03"
        );
        let backwards = refused("Asia/Tokyo", |calendar| {
            calendar.workdays = vec!["2027-01-03..2026-12-29".into()];
        });
        assert!(
            backwards.starts_with("health.calendars.\"Asia/Tokyo\".workdays[0]"),
            "{backwards}"
        );
        let never = refused("UTC", |calendar| {
            calendar.weekend = WEEKDAYS.map(str::to_string).to_vec()
        });
        assert!(never.starts_with("health.calendars.\"UTC\".weekend:"), "{never}");
    }

    proptest! {
        #[test]
        fn a_count_is_what_counting_day_by_day_gives(after in -40_000i32..60_000, days in -3i32..4_000) {
            let before = after + days;
            for calendar in [of_zone("Asia/Tokyo"), of_zone("UTC")] {
                let counted = (after + 1..before).filter(|day| calendar.is_workday(*day)).count();
                prop_assert_eq!(calendar.workdays_between(after, before), counted as i32);
                let off = calendar.days_off(after + 1, before - 1);
                prop_assert_eq!(off.len() + counted, (days - 1).max(0) as usize);
            }
        }

        #[test]
        fn the_weekday_is_that_of_the_date(number in -100_000i32..100_000) {
            let monday_first = date_of(number).weekday().to_monday_zero_offset();
            prop_assert_eq!(weekday(number), monday_first as usize);
            prop_assert_eq!(day_number(date_of(number)), number);
        }
    }
}
