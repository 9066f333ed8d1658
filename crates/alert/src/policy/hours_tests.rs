use proptest::prelude::*;

use super::*;

fn hours(zone: &str, change: impl FnOnce(&mut WorkHoursConfig, &mut DigestConfig)) -> Hours {
    let (mut work, mut digest) = (WorkHoursConfig::default(), DigestConfig::default());
    change(&mut work, &mut digest);
    Hours::new(zone, &work, &digest).unwrap()
}

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

/// When what is told at `now` is sent.
fn opening(hours: &Hours, now: &str) -> String {
    Timestamp::from_millisecond(hours.opening(ms(now)))
        .unwrap()
        .to_string()
}

#[test]
fn work_begins_with_its_first_moment_and_ends_before_its_last() {
    let hours = hours("UTC", |_, _| {});
    // A Friday, and the Monday after it.
    for (now, sent) in [
        ("2026-11-27T00:00:00Z", "2026-11-27T09:00:00Z"),
        ("2026-11-27T08:59:59.999Z", "2026-11-27T09:00:00Z"),
        ("2026-11-27T09:00:00Z", "2026-11-27T09:00:00Z"),
        ("2026-11-27T17:59:59.999Z", "2026-11-27T17:59:59.999Z"),
        ("2026-11-27T18:00:00Z", "2026-11-30T09:00:00Z"),
        ("2026-11-28T12:00:00Z", "2026-11-30T09:00:00Z"),
        ("2026-11-29T23:59:59Z", "2026-11-30T09:00:00Z"),
    ] {
        assert_eq!(opening(&hours, now), sent, "{now}");
    }
}

#[test]
fn hours_are_those_of_the_zone_with_its_holidays() {
    let tokyo = hours("Asia/Tokyo", |work, _| {
        work.holidays = "japan".into();
        work.extra = vec!["2026-12-29..2027-01-03".into()];
        work.workdays = vec!["2026-12-26".into()];
    });
    for (now, sent) in [
        // 17:59 and 18:00 of a Friday; the Monday is a holiday.
        ("2026-11-20T08:59:00Z", "2026-11-20T08:59:00Z"),
        ("2026-11-20T09:00:00Z", "2026-11-24T00:00:00Z"),
        // A Saturday that is worked, and the days off around the new year.
        ("2026-12-25T10:00:00Z", "2026-12-26T00:00:00Z"),
        ("2026-12-28T09:00:00Z", "2027-01-04T00:00:00Z"),
    ] {
        assert_eq!(opening(&tokyo, now), sent, "{now}");
    }
}

#[test]
fn a_day_that_ends_at_midnight_ends_with_the_day() {
    let late = hours("UTC", |work, _| {
        work.from = "22:00".into();
        work.until = "24:00".into();
    });
    assert_eq!(
        opening(&late, "2026-11-27T23:59:59.999Z"),
        "2026-11-27T23:59:59.999Z"
    );
    assert_eq!(opening(&late, "2026-11-28T00:00:00Z"), "2026-11-30T22:00:00Z");
}

#[test]
fn hours_keep_to_the_clock_when_it_is_changed() {
    // On 2026-03-08 02:00 becomes 03:00 in New York, on 2026-11-01 it becomes 01:00.
    let every_day = |from: &str, until: &str| {
        hours("America/New_York", |work, _| {
            work.days = WEEKDAYS.map(str::to_string).to_vec();
            work.from = from.into();
            work.until = until.into();
        })
    };
    let day = every_day("09:00", "18:00");
    for (now, sent) in [
        ("2026-03-07T23:00:00Z", "2026-03-08T13:00:00Z"),
        ("2026-03-06T23:00:00Z", "2026-03-07T14:00:00Z"),
        ("2026-10-31T22:00:00Z", "2026-11-01T14:00:00Z"),
        ("2026-10-30T22:00:00Z", "2026-10-31T13:00:00Z"),
    ] {
        assert_eq!(opening(&day, now), sent, "{now}");
    }
    // 02:30 is left out: it comes at 03:30, which is 07:30 in UTC.
    let skipped = every_day("02:30", "05:00");
    assert_eq!(opening(&skipped, "2026-03-08T06:59:00Z"), "2026-03-08T07:30:00Z");
    // 01:30 comes twice: work begins with the first, at 05:30, and goes on over the second.
    let twice = every_day("01:30", "05:00");
    assert_eq!(opening(&twice, "2026-11-01T05:00:00Z"), "2026-11-01T05:30:00Z");
    assert_eq!(opening(&twice, "2026-11-01T06:15:00Z"), "2026-11-01T06:15:00Z");
}

#[test]
fn without_a_day_of_work_within_a_year_nothing_is_put_off() {
    let never = hours("UTC", |work, _| {
        work.extra = vec![
            "2026-01-01..2026-12-31".into(),
            "2027-01-01..2027-12-31".into(),
            "2028-01-01..2028-12-30".into(),
        ];
    });
    assert_eq!(opening(&never, "2026-01-02T00:00:00Z"), "2026-01-02T00:00:00Z");
    assert_eq!(never.latest_slot(ms("2027-12-02T00:00:00Z")), None);
}

#[test]
fn a_digest_is_due_once_a_day_of_work() {
    let hours = hours("Asia/Tokyo", |work, digest| {
        work.holidays = "japan".into();
        digest.at = "08:30".into();
    });
    let day = |slot: Option<Slot>| slot.unwrap().day.to_string();
    // Monday the 23rd is a holiday; 08:30 in Tokyo is 23:30 of the day before in UTC.
    let before = ms("2026-11-23T23:29:59.999Z");
    assert_eq!(day(hours.latest_slot(before)), "2026-11-20");
    assert_eq!(day(hours.next_slot(before)), "2026-11-24");
    let at = ms("2026-11-23T23:30:00Z");
    assert_eq!(hours.latest_slot(at).unwrap().at, at);
    assert_eq!(day(hours.latest_slot(at)), "2026-11-24");
    assert_eq!(day(hours.next_slot(at)), "2026-11-25");
}

#[test]
fn what_is_wrong_is_named_with_what_would_be_right() {
    let refused = |zone: &str, change: fn(&mut WorkHoursConfig, &mut DigestConfig)| {
        let (mut work, mut digest) = (WorkHoursConfig::default(), DigestConfig::default());
        change(&mut work, &mut digest);
        Hours::new(zone, &work, &digest).unwrap_err().to_string()
    };
    for (found, wanted) in [
        (
            refused("Asia/Tokio", |_, _| ()),
            "alert.timezone: \"Asia/Tokio\" is not an IANA time zone such as Asia/Tokyo or UTC",
        ),
        (
            refused("UTC", |work, _| work.days[1] = "tuesday".into()),
            "alert.work_hours.days[1]: \"tuesday\" is not a weekday; weekdays are mon, tue, wed, thu, fri, sat, sun",
        ),
        (
            refused("UTC", |work, _| work.days.clear()),
            "alert.work_hours.days: is empty, so that nobody would ever be told: name a weekday",
        ),
        (
            refused("UTC", |work, _| work.from = "9:00".into()),
            "alert.work_hours.from: \"9:00\" is not a time of day such as 09:00",
        ),
        (
            refused("UTC", |work, _| work.until = "09:00".into()),
            "alert.work_hours.until: \"09:00\" must be later than from (\"09:00\") on the same day; midnight is 24:00",
        ),
        (
            refused("UTC", |work, _| work.holidays = "france".into()),
            "alert.work_hours.holidays: \"france\" is not known; must be none or japan",
        ),
        (
            refused("UTC", |work, _| work.extra = vec!["soon".into()]),
            "alert.work_hours.extra[0]: \"soon\" is neither a date such as 2026-12-29 nor a range such as 2026-12-29..2027-01-03",
        ),
        (
            refused("UTC", |_, digest| digest.at = "24:00".into()),
            "alert.digest.at: \"24:00\" is not a time of day such as 09:00",
        ),
    ] {
        assert_eq!(found, wanted);
    }
}

proptest! {
    /// Whenever it is: what is put off is put off into the hours of work, and no further than it must be.
    #[test]
    fn what_is_put_off_is_sent_within_the_hours_of_work(
        now in 1_700_000_000_000i64..1_900_000_000_000,
        zone in prop::sample::select(vec!["UTC", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe"]),
    ) {
        let hours = hours(zone, |work, _| work.holidays = "japan".into());
        let opening = hours.opening(now);
        prop_assert!(opening >= now);
        prop_assert_eq!(hours.opening(opening), opening, "it is within them");
        if opening > now {
            prop_assert!(hours.opening(opening - 1) == opening && opening - now < 12 * 86_400_000);
        }
        let (last, next) = (hours.latest_slot(now).unwrap(), hours.next_slot(now).unwrap());
        prop_assert!(last.at <= now && now < next.at && last.day < next.day);
        prop_assert_eq!(hours.latest_slot(next.at), Some(next));
    }
}
