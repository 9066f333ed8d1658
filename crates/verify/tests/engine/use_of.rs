//! Use of features, rhythm and trends.

use verify::{Calendar, Definition};

use crate::life::Life;

/// 12:00 UTC of the `days`-th day before 2026-06-30, a Tuesday: D is 2026-06-30T12:00Z.
fn before(days: i64) -> String {
    let noon: jiff::Timestamp = "2026-06-30T12:00:00Z".parse().unwrap();
    (noon - jiff::SignedDuration::from_hours(24 * days)).to_string()
}

const D: &str = "2026-06-30T12:00:00Z";

#[tokio::test]
async fn breadth_depth_and_concentration() {
    let definition = || Definition {
        key_features: ["report", "export", "share", "api"].map(String::from).to_vec(),
        advanced_features: vec!["api".into(), "webhook".into()],
        sticky_actions: vec!["second_member".into(), "connected".into(), "never".into()],
        ..Definition::default()
    };
    let life = Life::in_zone("breadth", "UTC", &before(100))
        .event(&before(90), "milestone", "connected", "", "")
        .contract(&before(90), "started", r#"{"seats":4}"#)
        // 28 days: a 8 uses, b 2, nobody 6; features report, export, webhook.
        .uses(&before(0), "report", "a", 5)
        .event(&before(27), "feature", "export", "a", "")
        .uses(&before(3), "webhook", "a", 2)
        .uses(&before(3), "report", "b", 2)
        .event(
            &before(3),
            "feature",
            "report",
            "",
            r#"{"count":6,"duration_ms":12.5}"#,
        )
        // The 28 days before: c 3, d 1; features report, export, api, share.
        .uses(&before(28), "report", "c", 2)
        .uses(&before(55), "api", "c", 1)
        .uses(&before(40), "share", "d", 1)
        // Before those.
        .uses(&before(56), "export", "e", 100);
    let numbers = life.by(definition(), D).await;
    numbers
        .is("key_features_used_28d", 2.0)
        .is("feature_breadth", 0.5)
        .is("advanced_features_used_28d", 1.0)
        .is("sticky_actions", 2.0)
        .is("usage_28d", 16.0)
        .is("usage_prior_28d", 4.0)
        .is("usage_trend", 4.0)
        .is("active_users_28d", 2.0)
        .is("feature_depth", 8.0)
        .is("top_user_share", 0.8)
        .is("seats", 4.0)
        .is("seat_utilisation", 0.5)
        // a on three days, b on one.
        .is("stickiness", 4.0 / 28.0 / 2.0)
        // Nobody logged in, though somebody was active.
        .is("logins_per_user_28d", 0.0)
        .unknown(&["days_since_last_login", "logins_week_ratio", "logins_trend"]);
    assert_eq!(
        numbers.value("unused_key_features"),
        &serde_json::json!(["share", "api"])
    );
    // The 28 days before: 3 of 4 features, 4 uses of 2 users, c has 3 of 4, 2 of 4 seats.
    assert_eq!(numbers.driver("health", "feature_breadth").1, Some(0.75));
    assert_eq!(numbers.driver("health", "feature_depth").1, Some(2.0));
    assert_eq!(numbers.driver("health", "seat_utilisation").1, Some(0.5));
    assert_eq!(numbers.driver("health", "usage_trend").1, Some(1.0));
    assert_eq!(numbers.driver("expansion", "top_user_share").1, Some(0.75));
    life.at(D).await.unknown(&[
        "key_features_used_28d",
        "feature_breadth",
        "advanced_features_used_28d",
        "sticky_actions",
    ]);
}

#[tokio::test]
async fn what_compares_with_the_28_days_before_needs_a_life_that_long() {
    let short = Life::in_zone("short", "UTC", &before(54))
        .login(&before(54), "a")
        .login(&before(1), "a");
    short.at(D).await.is("logins_per_user_28d", 1.0).unknown(&[
        "logins_prior_28d",
        "logins_trend",
        "active_users_prior_28d",
        "usage_prior_28d",
    ]);
    let long = Life::in_zone("long", "UTC", &before(55))
        .login(&before(54), "a")
        .login(&before(1), "a");
    long.at(D)
        .await
        .is("logins_prior_28d", 1.0)
        .is("logins_trend", 1.0)
        .is("active_users_trend", 1.0)
        .is("usage_prior_28d", 0.0)
        .unknown(&["usage_trend"]);
}

#[tokio::test]
async fn nobody_active_for_28_days_is_nought_and_nobody_ever_is_unknown() {
    let gone = Life::in_zone("gone", "UTC", &before(80)).login(&before(40), "a");
    gone.at(D)
        .await
        .is("logins_per_user_28d", 0.0)
        .is("days_since_last_active", 40.0)
        .unknown(&[
            "stickiness",
            "feature_depth",
            "top_user_share",
            "logins_week_ratio",
        ]);
    let never = Life::in_zone("never", "UTC", &before(80));
    never.at(D).await.is("active_users_28d", 0.0).unknown(&[
        "logins_per_user_28d",
        "days_since_last_active",
        "workdays_since_last_active",
    ]);
}

#[tokio::test]
async fn the_last_week_against_the_weeks_before() {
    // Uses of the weeks 0 … 5: 2, 10, 12, 8, 10, 40; the first event is the first day of week 5.
    let life = |account: &str, first: i64| {
        let mut life = Life::in_zone(account, "UTC", &before(first));
        for (week, uses) in [2, 10, 12, 8, 10, 40].into_iter().enumerate() {
            if 7 * week as i64 <= first {
                life = life.uses(&before(7 * week as i64), "f", "a", uses);
            }
        }
        life
    };
    // Median of 10, 12, 8, 10, 40 is 10, of the distances 0, 2, 2, 0, 30 it is 2: 1.4826 × 2 = 2.9652,
    // less than √10 = 3.1623.
    life("weeks", 41)
        .at(D)
        .await
        .is("usage_z", -8.0 / 10.0_f64.sqrt());
    // Week 5 is not whole: the median of 8, 10, 10, 12 is 10.
    life("weeks-less", 40)
        .at(D)
        .await
        .is("usage_z", -8.0 / 10.0_f64.sqrt());
    // Three whole weeks only.
    life("weeks-few", 33).at(D).await.unknown(&["usage_z"]);
    // With 12, 30, 2, 60: median 21, distances 9, 9, 19, 39: 14; 1.4826 × 14 is more than √21.
    let mut spread = Life::in_zone("weeks-spread", "UTC", &before(34));
    for (week, uses) in [50, 12, 30, 2, 60].into_iter().enumerate() {
        spread = spread.uses(&before(7 * week as i64 + 2), "f", "a", uses);
    }
    spread.at(D).await.is("usage_z", 29.0 / (1.4826 * 14.0));
}

#[tokio::test]
async fn working_days_are_those_of_the_calendar() {
    // D is Tuesday 2026-06-30. The last login was on Wednesday the 24th, use on Friday the 26th:
    // between are Thursday, Friday, Monday; and Monday alone.
    let life = Life::in_zone("rest", "Asia/Dubai", "2026-06-01T00:00:00Z")
        .login("2026-06-10T06:00:00Z", "a") // Wednesday
        .login("2026-06-24T06:00:00Z", "a")
        .uses("2026-06-26T06:00:00Z", "f", "a", 1);
    let numbers = life.at("2026-06-30T06:00:00Z").await;
    numbers
        .is("days_since_last_login", 6.0)
        .is("workdays_since_last_login", 3.0)
        .is("workdays_since_last_active", 1.0)
        // From the 10th to the 26th: 11, 12, 15–19, 22, 23, 25 are ten working days without activity,
        // between three active days.
        .is("usual_gap_workdays", 5.0);
    assert_eq!(
        numbers.driver("churn_risk", "workdays_since_last_active").1,
        Some(5.0)
    );
    // Fridays and Saturdays off, and the Monday a holiday: Thursday and Sunday; Sunday.
    let definition = Definition {
        calendars: vec![Calendar {
            zones: vec!["Asia/Dubai".into()],
            weekend: vec![5, 6],
            holidays: vec![20_633], // 2026-06-29
        }],
        ..Definition::default()
    };
    life.by(definition, "2026-06-30T06:00:00Z")
        .await
        .is("workdays_since_last_login", 2.0)
        .is("workdays_since_last_active", 1.0);
}

#[tokio::test]
async fn errors_and_searches() {
    let numbers = Life::in_zone("faults", "UTC", &before(34))
        .event(&before(0), "error", "e500", "", "")
        .event(&before(6), "error", "e500", "", r#"{"severity":"high"}"#)
        .event(&before(6), "error", "e404", "", "")
        .event(&before(7), "error", "e404", "", "")
        .event(&before(34), "error", "e404", "", "")
        .event(&before(2), "engagement", "search", "a", r#"{"results":0}"#)
        .event(&before(3), "engagement", "search", "a", r#"{"results":4}"#)
        .event(&before(27), "engagement", "seminar", "a", "")
        .event(&before(28), "engagement", "search", "a", r#"{"results":0}"#)
        .at(D)
        .await;
    numbers
        .is("errors_7d", 3.0)
        .is("errors_usual_7d", 0.5)
        .is("errors_trend", 6.0)
        .is("engagements_28d", 3.0)
        .is("empty_searches_28d", 1.0);
    Life::in_zone("faults-young", "UTC", &before(33))
        .event(&before(20), "error", "e", "", "")
        .at(D)
        .await
        .is("errors_7d", 0.0)
        .unknown(&["errors_usual_7d", "errors_trend"]);
}
