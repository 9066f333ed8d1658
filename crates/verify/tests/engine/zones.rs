//! Days, times and statements.

use xxhash_rust::xxh3::xxh3_64;

use crate::life::{Life, ms};

#[tokio::test]
async fn a_day_is_the_accounts_own() {
    // 15:00 UTC is midnight in Tokyo: t is 2026-03-02.
    let numbers = Life::in_zone("tokyo", "Asia/Tokyo", "2026-01-01T00:00:00Z")
        .login("2026-03-01T15:00:00Z", "a") // t
        .login("2026-03-01T14:59:59.999Z", "a") // t - 1
        .login("2026-02-23T15:00:00Z", "b") // t - 6
        .login("2026-02-23T14:59:59Z", "c") // t - 7
        .login("2026-02-02T15:00:00Z", "c") // t - 27
        .login("2026-02-02T14:59:59Z", "d") // t - 28
        .login("2026-01-05T15:00:00Z", "d") // t - 55
        .login("2026-01-05T14:59:59Z", "d") // t - 56
        .login("2026-03-02T01:00:00.001Z", "d") // after D
        .at("2026-03-02T01:00:00Z")
        .await;
    numbers
        .is("logins_1d", 1.0)
        .is("logins_7d", 3.0)
        .is("logins_28d", 5.0)
        .is("logins_90d", 8.0)
        .is("logins_prior_28d", 2.0)
        .is("logins_trend", 2.5)
        .is("logins_week_ratio", 3.0 / (5.0 / 4.0))
        .is("active_users_1d", 1.0)
        .is("active_users_7d", 2.0)
        .is("active_users_28d", 3.0)
        .is("active_users_prior_28d", 1.0)
        .is("active_users_trend", 3.0)
        .is("logins_per_user_28d", 5.0 / 3.0)
        // Five days with one user each.
        .is("stickiness", 5.0 / 28.0 / 3.0)
        .is("days_since_last_login", 0.0)
        .is("errors_usual_7d", 0.0)
        .unknown(&[
            "errors_trend",
            "seats",
            "seat_utilisation",
            "usage_trend",
            "feature_breadth",
        ]);
}

#[tokio::test]
async fn a_day_may_have_23_or_25_hours() {
    // 2026-03-08 begins at 05:00 UTC (EST) and ends at 04:00 UTC of the next (EDT).
    let spring = Life::in_zone("ny-spring", "America/New_York", "2026-03-01T00:00:00Z")
        .login("2026-03-08T04:59:59Z", "a")
        .login("2026-03-08T05:00:00Z", "b")
        .login("2026-03-09T03:59:59Z", "c")
        .at("2026-03-09T03:59:59Z")
        .await;
    spring.is("logins_1d", 2.0).is("logins_7d", 3.0);
    // 2026-11-01 begins at 04:00 UTC (EDT) and ends at 05:00 UTC of the next (EST).
    let autumn = Life::in_zone("ny-autumn", "America/New_York", "2026-10-20T00:00:00Z")
        .login("2026-11-01T03:59:59Z", "a")
        .login("2026-11-01T04:00:00Z", "b")
        .login("2026-11-02T04:59:59Z", "c")
        .at("2026-11-02T04:59:59Z")
        .await;
    autumn
        .is("logins_1d", 2.0)
        .is("logins_7d", 3.0)
        .is("days_since_last_login", 0.0);
    let next = Life::in_zone("ny-next", "America/New_York", "2026-10-20T00:00:00Z")
        .login("2026-11-02T04:59:59Z", "c")
        .at("2026-11-02T05:00:00Z")
        .await;
    next.is("logins_1d", 0.0).is("days_since_last_login", 1.0);
}

#[tokio::test]
async fn the_ends_of_the_world_have_days_too() {
    let east = Life::in_zone("kiritimati", "Pacific/Kiritimati", "2026-05-01T00:00:00Z")
        .login("2026-05-10T09:59:59Z", "a")
        .at("2026-05-10T10:00:00Z")
        .await;
    east.is("days_since_last_login", 1.0).is("logins_1d", 0.0);
    let west = Life::in_zone("baker", "Etc/GMT+12", "2026-05-01T00:00:00Z")
        .login("2026-05-10T11:59:59Z", "a")
        .login("2026-05-10T00:00:00Z", "b")
        .at("2026-05-10T12:00:00Z")
        .await;
    west.is("days_since_last_login", 1.0)
        .is("logins_7d", 2.0)
        .is("logins_1d", 0.0);
    // A zone that there is not counts as the configured one, and letter case does not matter.
    let nowhere = Life::in_zone("nowhere", "Mars/Olympus", "2026-05-01T00:00:00Z")
        .login("2026-05-10T00:00:00Z", "a")
        .at("2026-05-10T12:00:00Z")
        .await;
    nowhere.is("logins_1d", 1.0);
    let lower = Life::in_zone("lower", "pacific/kiritimati", "2026-05-01T00:00:00Z")
        .login("2026-05-10T09:59:59Z", "a")
        .at("2026-05-10T10:00:00Z")
        .await;
    lower.is("logins_1d", 0.0);
}

#[tokio::test]
async fn a_clock_that_is_ahead_counts_from_when_it_was_received() {
    let numbers = Life::in_zone("ahead", "UTC", "2026-05-01T00:00:00Z")
        .late(
            "2026-05-10T20:00:00Z",
            "2026-05-09T23:00:00Z",
            "login",
            "",
            "a",
            "",
        )
        .at("2026-05-10T12:00:00Z")
        .await;
    numbers.is("logins_7d", 1.0).is("logins_1d", 0.0);
}

#[tokio::test]
async fn the_newest_statement_holds_and_of_two_at_once_the_greater_hash() {
    let told = |life: Life, at: &str, received: &str, seats: u32| {
        life.late(
            at,
            received,
            "account",
            "",
            "",
            &format!(r#"{{"seats":{seats}}}"#),
        )
    };
    let life = told(
        Life::of("corrected"),
        "2026-05-02T00:00:00Z",
        "2026-05-02T00:00:00Z",
        10,
    );
    // Received later, told earlier.
    let life = told(life, "2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z", 20);
    life.at("2026-05-10T00:00:00Z").await.is("seats", 10.0);
    // Null says nothing; the contract's seats come before the account's, and each holds on its own.
    let life = life
        .event(
            "2026-05-04T00:00:00Z",
            "account",
            "",
            "",
            r#"{"seats":null,"plan":"team"}"#,
        )
        .contract("2026-05-04T00:00:00Z", "started", r#"{"seats":7,"mrr":100.5}"#)
        .contract("2026-05-05T00:00:00Z", "upgraded", r#"{"mrr":250}"#);
    life.at("2026-05-10T00:00:00Z")
        .await
        .is("seats", 7.0)
        .is("mrr", 250.0);
    life.contract("2026-05-06T00:00:00Z", "renewed", r#"{"seats":0}"#)
        .at("2026-05-10T00:00:00Z")
        .await
        .unknown(&["seats"]);

    let one = "2026-05-02T00:00:00Z";
    let tied = told(told(Life::of("tied"), one, one, 1), one, one, 2);
    let expected = if xxh3_64(tied.id_of(0).as_bytes()) > xxh3_64(tied.id_of(1).as_bytes()) {
        1.0
    } else {
        2.0
    };
    tied.at("2026-05-10T00:00:00Z").await.is("seats", expected);
    let other_way = told(told(Life::of("tied-too"), one, one, 1).with_id("z"), one, one, 2).with_id("y");
    let expected = if xxh3_64(b"z") > xxh3_64(b"y") { 1.0 } else { 2.0 };
    other_way.at("2026-05-10T00:00:00Z").await.is("seats", expected);
}

#[tokio::test]
async fn times_are_read_in_every_form() {
    for (place, (told, days)) in [
        (r#""2026-05-20""#, 10.0),
        (r#""2026-05-20T23:59:60.123456Z""#, 10.0),
        (r#""2026-05-21T08:59:59+09:00""#, 10.0),
        (r#""2026-05-20t23:00:00-01:00""#, 11.0),
        ("1779235200000", 10.0), // 2026-05-20T00:00:00Z
        (r#""2024-02-29""#, -801.0),
        // Never: 253402207200000 ms is 9999-12-30T22:00Z, day 2932895; 2026-05-10 is day 20583.
        (r#""9999-12-31""#, 2_912_312.0),
        (r#""2400-02-29""#, 136_530.0),
    ]
    .into_iter()
    .enumerate()
    {
        let numbers = Life::of(&format!("time-{place}"))
            .contract(
                "2026-05-01T00:00:00Z",
                "started",
                &format!(r#"{{"ends_at":{told}}}"#),
            )
            .at("2026-05-10T12:00:00Z")
            .await;
        assert_eq!(numbers.value("days_to_renewal").as_f64(), Some(days), "{told}");
    }
    assert_eq!(ms("2026-05-20T00:00:00Z"), 1_779_235_200_000);
    // The day in Tokyo of the latest time there is, is 9999-12-31.
    Life::in_zone("never-in-tokyo", "Asia/Tokyo", "2026-05-01T00:00:00Z")
        .contract("2026-05-01T00:00:00Z", "started", r#"{"ends_at":"9999-12-31"}"#)
        .at("2026-05-10T12:00:00Z")
        .await
        .is("days_to_renewal", 2_912_313.0);
}

#[tokio::test]
async fn what_was_received_later_was_not_known() {
    let life = Life::in_zone("late", "UTC", "2026-05-01T00:00:00Z")
        .login("2026-05-08T10:00:00Z", "a")
        .late(
            "2026-05-09T10:00:00Z",
            "2026-05-12T10:00:00Z",
            "login",
            "",
            "b",
            "",
        );
    life.known_by(
        verify::Definition::default(),
        "2026-05-10T12:00:00Z",
        "2026-05-10T12:00:00Z",
    )
    .await
    .is("logins_7d", 1.0)
    .is("days_since_last_login", 2.0);
    life.at("2026-05-10T12:00:00Z")
        .await
        .is("logins_7d", 2.0)
        .is("days_since_last_login", 1.0);
}
