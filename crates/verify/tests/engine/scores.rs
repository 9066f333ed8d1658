//! Scores and drivers.

use std::collections::BTreeMap;

use verify::Definition;

use crate::life::Life;

const D: &str = "2026-06-30T12:00:00Z";

fn before(days: i64) -> String {
    let noon: jiff::Timestamp = D.parse().unwrap();
    (noon - jiff::SignedDuration::from_hours(24 * days)).to_string()
}

/// Started 200 days ago, first value 21 days later. 18 uses in four weeks (a 12, b 6) after 20 in the
/// four before, by two users each; ten logins, five of them in the last week; two of ten seats; a
/// promoter today; a ticket open for 7 days and escalated.
fn customer(account: &str) -> Life {
    let mut life = Life::in_zone(account, "UTC", &before(200))
        .event(&before(200), "account", "", "", r#"{"segment":"smb"}"#)
        .contract(
            &before(200),
            "started",
            &format!(r#"{{"seats":10,"ends_at":"{}"}}"#, before(-200)),
        )
        .event(&before(179), "milestone", "first_value", "", "")
        .uses(&before(0), "f", "a", 4)
        .uses(&before(0), "f", "b", 2)
        .uses(&before(7), "f", "a", 4)
        .uses(&before(14), "f", "a", 4)
        .uses(&before(21), "f", "b", 4);
    for week in 4..8 {
        life = life
            .uses(&before(7 * week), "f", "a", 3)
            .uses(&before(7 * week), "f", "b", 2);
    }
    for day in [0, 1, 2, 3, 6, 7, 8, 9, 10, 27] {
        life = life.login(&before(day), "a");
    }
    life.event(&before(0), "survey", "nps", "a", r#"{"score":10}"#)
        .event(&before(7), "ticket", "opened", "a", r#"{"ticket_id":"T"}"#)
        .event(&before(6), "ticket", "escalated", "a", r#"{"ticket_id":"T"}"#)
}

#[tokio::test]
async fn every_score_of_a_customer() {
    let numbers = customer("customer").at(D).await;
    // usage_trend 18 / 20; weeks 4 4 4 5 5 5 5 0 0 0 0 before 6: median 4, spread √4.
    numbers
        .is("usage_trend", 0.9)
        .is("usage_z", 1.0)
        .is("logins_week_ratio", 2.0)
        .is("top_user_share", 12.0 / 18.0)
        .says("stage", "adoption")
        .is("days_to_renewal", 200.0);
    // 21 days lie half way from 14 → 100 to 28 → 50.
    numbers.is("ttv", 75.0);
    // Active today 100; trend 0.9 → 65; as many users: 80 + 20 / 3; 5 logins a user → 50; 0.2 of the seats:
    // 25 + 35 / 4. Of weights 0.25, 0.25, 0.15, 0.15, 0.15.
    let activity = (25.0 + 16.25 + 13.0 + 7.5 + 5.0625) / 0.95;
    numbers.is("activity", activity);
    // 9 uses a user → 45; breadth is unknown.
    numbers.is("adoption", 45.0).is("sentiment", 100.0);
    // Open for 7 days → 50, an escalation → 30.
    numbers.is("support", 0.6 * 50.0 + 0.4 * 30.0);
    let health = 0.05 * 75.0 + 0.4 * activity + 0.3 * 45.0 + 0.1 * 100.0 + 0.15 * 42.0;
    numbers
        .is("health", health)
        .is("confidence", 1.0)
        .says("band", "yellow");
    // Recency, trend, week, seats, ticket, escalation, promoter; the others are at their reference.
    let z = -3.892 - 0.3 + 0.155 - 0.35 + 0.4 + 0.28 + 0.5 - 0.4;
    numbers.is("churn_risk", 1.0 / (1.0 + f64::exp(-z)));
    // Top user 2/3 → 66.67 and promoter 100 of weights 0.1; seats and trends nothing of 0.7.
    numbers.is("expansion", (20.0 / 3.0 + 10.0) / 0.9);

    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    let (value, baseline, points) = numbers.driver("health", "usage_trend");
    assert_eq!((value, baseline), (Some(0.9), Some(1.0)));
    close(points, 0.4 * 0.25 / 0.95 * 15.0);
    close(numbers.driver("health", "open_escalations").2, -1.2);
    close(numbers.driver("churn_risk", "seat_utilisation").2, 0.4);
    assert_eq!(numbers.driver("churn_risk", "nps").1, None);
    let sum = |score: &str| -> f64 {
        let drivers = numbers.0.contributions.as_array().unwrap();
        let of_score = drivers.iter().filter(|one| one["score"] == score);
        of_score.map(|one| one["points"].as_f64().unwrap()).sum()
    };
    close(sum("health"), health - 50.0);
    close(sum("churn_risk"), z + 3.892);
    close(sum("expansion"), (20.0 / 3.0 + 10.0) / 0.9 - 50.0);
    // The strongest first within each score.
    let drivers = numbers.0.contributions.as_array().unwrap();
    let order: Vec<(&str, f64)> = drivers
        .iter()
        .map(|one| {
            (
                one["score"].as_str().unwrap(),
                one["points"].as_f64().unwrap().abs(),
            )
        })
        .collect();
    for pair in order.windows(2) {
        let next_score = pair[0].0 != pair[1].0;
        assert!(next_score || pair[0].1 >= pair[1].1, "{order:?}");
    }
    assert_eq!(order.first().map(|one| one.0), Some("health"));
    assert_eq!(order.last().map(|one| one.0), Some("expansion"));
}

#[tokio::test]
async fn weights_are_those_of_the_segment_and_the_stage() {
    let definition = |segment: &str| Definition {
        segment_weights: BTreeMap::from([(
            segment.to_string(),
            BTreeMap::from([("adoption".to_string(), [0.0, 0.0, 1.0, 0.0, 3.0])]),
        )]),
        ..Definition::default()
    };
    let life = customer("customer-smb");
    let numbers = life.by(definition("smb"), D).await;
    numbers
        .is("health", (45.0 + 3.0 * 42.0) / 4.0)
        .is("confidence", 1.0)
        .says("band", "red");
    life.by(definition("large"), D).await.says("band", "yellow");
    // In renewal, time to value does not count.
    let numbers = customer("customer-renewal")
        .contract(
            &before(1),
            "started",
            &format!(r#"{{"ends_at":"{}"}}"#, before(-30)),
        )
        .at(D)
        .await;
    let activity = (25.0 + 16.25 + 13.0 + 7.5 + 5.0625) / 0.95;
    numbers
        .says("stage", "renewal")
        .is("health", 0.4 * activity + 0.25 * 45.0 + 0.2 * 100.0 + 0.15 * 42.0)
        .is("days_in_stage", 30.0);
}

#[tokio::test]
async fn what_is_unknown_gives_its_weight_to_the_others() {
    let numbers = Life::in_zone("newcomer", "UTC", &before(1))
        .login(&before(0), "a")
        .at(D)
        .await;
    numbers
        .says("stage", "onboarding")
        .is("ttv", 75.0)
        // Active today 100 of weight 0.25, one login 10 of weight 0.15.
        .is("activity", (25.0 + 1.5) / 0.4)
        .is("adoption", 0.0)
        .unknown(&["sentiment", "support"])
        .is("confidence", 0.85)
        .is("health", (0.35 * 75.0 + 0.3 * 66.25) / 0.85);
}

#[tokio::test]
async fn churn_risk_needs_activity_or_a_wait_for_the_first_value() {
    let life = Life::in_zone("waiting", "UTC", &before(44));
    // 44 days: half way from 14 → 0 to 74 → 1.8. Nobody was removed, nothing downgraded.
    life.at(D)
        .await
        .is("churn_risk", 1.0 / (1.0 + f64::exp(3.892 - 0.9)));
    life.event(&before(40), "milestone", "first_value", "", "")
        .at(D)
        .await
        .unknown(&["churn_risk", "activity"])
        .is("ttv", 100.0);
}
