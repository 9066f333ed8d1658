//! When people work, and when the digest of a day goes out.
//!
//! Times are of the configured zone: one that a change of the clocks leaves out comes by as much later as
//! they are put forward, and of one that comes twice the first counts.

use health::{Calendar, CalendarConfig, WEEKDAYS};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::config::{DigestConfig, WorkHoursConfig};
use crate::config::ConfigError;

/// Days that are looked through for one of work.
const FARTHEST: i32 = 400;

/// The hours of work, and the time of the digest.
#[derive(Debug, Clone)]
pub(crate) struct Hours {
    zone: TimeZone,
    calendar: Calendar,
    from: Time,
    /// `None` is the end of the day.
    until: Option<Time>,
    digest_at: Time,
}

/// The digest of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub day: Date,
    /// When it goes out, milliseconds.
    pub at: i64,
}

impl Hours {
    /// # Errors
    /// Names the field and what would be right.
    pub fn new(zone: &str, work: &WorkHoursConfig, digest: &DigestConfig) -> Result<Hours, ConfigError> {
        let zone = TimeZone::get(zone).map_err(|_| {
            ConfigError::field(
                "timezone",
                format!("{zone:?} is not an IANA time zone such as Asia/Tokyo or UTC"),
            )
        })?;
        for (position, name) in work.days.iter().enumerate() {
            if !WEEKDAYS.contains(&name.as_str()) {
                let field = format!("work_hours.days[{position}]");
                let weekdays = WEEKDAYS.join(", ");
                return Err(ConfigError::field(
                    &field,
                    format!("{name:?} is not a weekday; weekdays are {weekdays}"),
                ));
            }
        }
        if work.days.is_empty() {
            let problem = "is empty, so that nobody would ever be told: name a weekday";
            return Err(ConfigError::field("work_hours.days", problem));
        }
        let from = time("work_hours.from", &work.from)?;
        let until = match work.until.as_str() {
            "24:00" => None,
            text => Some(time("work_hours.until", text)?),
        };
        if until.is_some_and(|until| until <= from) {
            let problem = format!(
                "{:?} must be later than from ({:?}) on the same day; midnight is 24:00",
                work.until, work.from
            );
            return Err(ConfigError::field("work_hours.until", problem));
        }
        let is_off = |name: &&str| !work.days.iter().any(|day| day == name);
        let calendar = Calendar::try_new(&CalendarConfig {
            weekend: WEEKDAYS
                .iter()
                .filter(|name| is_off(name))
                .map(|name| name.to_string())
                .collect(),
            holidays: work.holidays.clone(),
            extra: work.extra.clone(),
            workdays: work.workdays.clone(),
        });
        let calendar = calendar
            .map_err(|error| ConfigError::field(&format!("work_hours.{}", error.field), error.problem))?;
        Ok(Hours {
            zone,
            calendar,
            from,
            until,
            digest_at: time("digest.at", &digest.at)?,
        })
    }

    /// `now` within the hours of work, else when they begin next; milliseconds. `now` too when no day
    /// within a year is one of work: what is told late is worth more than what is never told.
    pub fn opening(&self, now: i64) -> i64 {
        let Some(today) = self.day_of(now) else {
            return now;
        };
        for day in (0..FARTHEST).filter_map(|days| today.checked_add(Span::new().days(days)).ok()) {
            if !self.calendar.works_on(day) {
                continue;
            }
            let (Some(begin), Some(end)) = (self.at(day, self.from), self.end_of(day)) else {
                continue;
            };
            if now < end {
                return now.max(begin);
            }
        }
        now
    }

    /// The last digest that was due at `now`.
    pub fn latest_slot(&self, now: i64) -> Option<Slot> {
        let today = self.day_of(now)?;
        (0..FARTHEST)
            .filter_map(|days| today.checked_sub(Span::new().days(days)).ok())
            .filter_map(|day| self.slot(day))
            .find(|slot| slot.at <= now)
    }

    /// The next digest that will be due after `now`.
    pub fn next_slot(&self, now: i64) -> Option<Slot> {
        let today = self.day_of(now)?;
        (0..FARTHEST)
            .filter_map(|days| today.checked_add(Span::new().days(days)).ok())
            .filter_map(|day| self.slot(day))
            .find(|slot| slot.at > now)
    }

    fn slot(&self, day: Date) -> Option<Slot> {
        if !self.calendar.works_on(day) {
            return None;
        }
        let at = self.at(day, self.digest_at)?;
        Some(Slot { day, at })
    }

    fn day_of(&self, now: i64) -> Option<Date> {
        let now = Timestamp::from_millisecond(now).ok()?;
        Some(now.to_zoned(self.zone.clone()).date())
    }

    fn end_of(&self, day: Date) -> Option<i64> {
        match self.until {
            Some(until) => self.at(day, until),
            None => self.at(day.tomorrow().ok()?, Time::midnight()),
        }
    }

    fn at(&self, day: Date, time: Time) -> Option<i64> {
        let civil = day.to_datetime(time);
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        Some(ambiguous.compatible().ok()?.as_millisecond())
    }
}

/// A time of day as `09:00`, or `09:00:30`.
fn time(field: &str, text: &str) -> Result<Time, ConfigError> {
    const MINUTES: usize = "09:00".len();
    const SECONDS: usize = "09:00:30".len();
    let parsed = matches!(text.len(), MINUTES | SECONDS)
        .then(|| text.parse().ok())
        .flatten();
    parsed.ok_or_else(|| ConfigError::field(field, format!("{text:?} is not a time of day such as 09:00")))
}

#[cfg(test)]
#[path = "hours_tests.rs"]
mod tests;
