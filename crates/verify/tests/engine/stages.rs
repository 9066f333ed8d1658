//! Start, onboarding, contract, stage and tier.

use std::collections::BTreeMap;

use serde_json::json;
use verify::{Definition, Milestone, Tier};

use crate::life::Life;

fn onboarding() -> Definition {
    let milestone = |name: &str, expected_days: f64| Milestone {
        name: name.to_string(),
        expected_days,
    };
    Definition {
        milestones: vec![
            milestone("invited", 3.0),
            milestone("imported", 10.0),
            milestone("first_value", 14.0),
        ],
        ..Definition::default()
    }
}

#[tokio::test]
async fn the_way_through_onboarding() {
    let life = Life::of("onboarding").contract("2026-05-01T00:00:00Z", "started", "{}");
    // Day 3 exactly: nothing is overdue.
    let numbers = life.by(onboarding(), "2026-05-04T00:00:00Z").await;
    numbers
        .is("milestones_done", 0.0)
        .is("milestones_total", 3.0)
        .says("onboarding_state", "on_track")
        .is("account_age_days", 3.0)
        .is("ttv_running_days", 3.0)
        .says("stage", "onboarding")
        .is("days_in_stage", 3.0)
        .unknown(&["ttv_days"]);
    life.by(onboarding(), "2026-05-04T00:00:01Z")
        .await
        .says("onboarding_state", "behind");
    // 14 days overdue, and nothing for 17.
    life.by(onboarding(), "2026-05-18T00:00:00Z")
        .await
        .says("onboarding_state", "stalled");
    // The second step came on day 8: it is the newest, 9 days ago.
    let life = life.event("2026-05-09T00:00:00Z", "milestone", "imported", "", "");
    let numbers = life.by(onboarding(), "2026-05-18T00:00:00Z").await;
    numbers
        .says("onboarding_state", "behind")
        .is("milestones_done", 1.0);
    assert_eq!(
        numbers.value("milestones"),
        &json!([
            {"name": "invited", "state": "behind", "reached_at": null, "dwell_days": 17},
            {"name": "imported", "state": "done", "reached_at": "2026-05-09 00:00:00.000", "dwell_days": 8},
            {"name": "first_value", "state": "behind", "reached_at": null, "dwell_days": null},
        ])
    );
    // The first step came late: its dwell is from the start, the second's is not below 0. A feature of
    // the name counts like a milestone.
    let life = life
        .event("2026-05-11T00:00:00Z", "feature", "invited", "u", "")
        .event("2026-05-21T12:00:00Z", "milestone", "first_value", "", "")
        .event("2026-05-22T12:00:00Z", "milestone", "first_value", "", "");
    let numbers = life.by(onboarding(), "2026-06-01T12:00:00Z").await;
    numbers
        .says("onboarding_state", "done")
        .is("ttv_days", 20.5)
        .unknown(&["ttv_running_days"])
        // Onboarded on May 21st at noon.
        .says("stage", "adoption")
        .is("days_in_stage", 11.0);
    let dwells: Vec<f64> = numbers
        .value("milestones")
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["dwell_days"].as_f64().unwrap())
        .collect();
    assert_eq!(dwells, [10.0, 0.0, 10.5]);
    life.at("2026-06-01T12:00:00Z")
        .await
        .unknown(&["onboarding_state", "milestones_done"]);
}

#[tokio::test]
async fn the_start_and_the_value_event() {
    let life = Life::of("start").event("2026-05-10T00:00:00Z", "account", "", "", r#"{"plan":"pro"}"#);
    let at = "2026-06-10T00:00:00Z";
    life.at(at).await.is("account_age_days", 31.0);
    let life = life.event(
        "2026-05-10T00:00:00Z",
        "account",
        "",
        "",
        r#"{"signed_up_at":"2026-05-09","segment":"smb"}"#,
    );
    life.at(at).await.is("account_age_days", 32.0);
    let life = life.contract("2026-05-20T00:00:00Z", "started", r#"{"starts_at":"2026-05-31"}"#);
    life.at(at).await.is("account_age_days", 10.0);
    let life = life.contract("2026-05-21T00:00:00Z", "trial_started", "");
    life.at(at).await.is("account_age_days", 20.0);

    let life = life
        .event("2026-05-22T00:00:00Z", "milestone", "by_segment", "", "")
        .event("2026-05-23T00:00:00Z", "feature", "by_plan", "u", "")
        .event("2026-05-24T00:00:00Z", "milestone", "own", "", "");
    let definition = || Definition {
        value_events_by_segment: BTreeMap::from([("smb".into(), "by_segment".into())]),
        ..Definition::default()
    };
    life.at(at)
        .await
        .is("ttv_running_days", 20.0)
        .unknown(&["ttv_days"]);
    life.by(definition(), at).await.is("ttv_days", 1.0);
    let definition = || Definition {
        value_events_by_plan: BTreeMap::from([("pro".into(), "by_plan".into())]),
        ..definition()
    };
    life.by(definition(), at).await.is("ttv_days", 2.0);
    life.event(
        "2026-05-25T00:00:00Z",
        "account",
        "",
        "",
        r#"{"value_event":"own"}"#,
    )
    .by(definition(), at)
    .await
    .is("ttv_days", 3.0);
}

#[tokio::test]
async fn stages_follow_from_moments() {
    let life = Life::of("stages").event("2026-01-01T00:00:00Z", "account", "", "", r#"{"plan":"p"}"#);
    // No contract: the start is the first event.
    life.at("2026-01-11T00:00:00Z")
        .await
        .says("stage", "onboarding")
        .is("days_in_stage", 10.0);
    let life = life.contract(
        "2026-01-05T00:00:00Z",
        "trial_started",
        r#"{"ends_at":"2026-01-19"}"#,
    );
    life.at("2026-01-11T00:00:00Z")
        .await
        .says("stage", "trial")
        .is("days_in_stage", 6.0);
    // The trial lapsed.
    let lapsed = life.at("2026-01-20T00:00:00Z").await;
    lapsed
        .says("stage", "churned")
        .is("days_in_stage", 1.0)
        .says("band", "unknown")
        .is("confidence", 0.0)
        .unknown(&["health", "ttv", "activity", "churn_risk", "expansion"]);
    assert_eq!(lapsed.0.contributions, json!([]));
    let life = life.contract("2026-01-15T00:00:00Z", "started", r#"{"ends_at":"2027-01-15"}"#);
    // From the trial to onboarding on the 15th.
    life.at("2026-01-20T00:00:00Z")
        .await
        .says("stage", "onboarding")
        .is("days_in_stage", 5.0);
    // Onboarding ends 90 days after the start of the trial: on April 5th.
    life.at("2026-04-15T00:00:00Z")
        .await
        .says("stage", "adoption")
        .is("days_in_stage", 10.0);
    let life = life.contract("2026-05-01T00:00:00Z", "upgraded", "{}");
    life.at("2026-05-03T00:00:00Z")
        .await
        .says("stage", "expansion")
        .is("days_in_stage", 2.0);
    life.at("2026-08-03T00:00:00Z")
        .await
        .says("stage", "adoption")
        .is("days_in_stage", 4.0);
    // Renewal from 60 days before 2027-01-15, 2026-11-16, until renewed.
    life.at("2026-11-20T00:00:00Z")
        .await
        .says("stage", "renewal")
        .is("days_in_stage", 4.0);
    let renewed = life.contract("2026-12-01T00:00:00Z", "renewed", "{}");
    renewed
        .at("2026-12-03T00:00:00Z")
        .await
        .says("stage", "adoption")
        .is("days_in_stage", 2.0);
    let gone = renewed.contract("2026-12-05T00:00:00Z", "cancelled", "{}");
    gone.at("2026-12-08T00:00:00Z")
        .await
        .says("stage", "churned")
        .is("days_in_stage", 3.0);
    let back = gone.contract("2026-12-10T00:00:00Z", "upgraded", "{}");
    back.at("2026-12-12T00:00:00Z")
        .await
        .says("stage", "expansion")
        .is("days_in_stage", 2.0);
    // A downgrade ends the expansion.
    back.contract("2026-12-11T00:00:00Z", "option_removed", "{}")
        .at("2026-12-12T00:00:00Z")
        .await
        .says("stage", "adoption")
        .is("days_in_stage", 1.0)
        .is("downgrades_28d", 1.0);
}

#[tokio::test]
async fn days_to_what_ends_and_the_tier_of_the_contract() {
    let definition = || Definition {
        tiers: BTreeMap::from([
            (
                "default".to_string(),
                Tier {
                    high: 2000.0,
                    tech: 200.0,
                },
            ),
            (
                "JPY".to_string(),
                Tier {
                    high: 300_000.0,
                    tech: 30_000.0,
                },
            ),
        ]),
        ..Definition::default()
    };
    let at = "2026-06-30T12:00:00Z";
    let life = Life::of("tier");
    let life = life.contract(
        "2026-06-01T00:00:00Z",
        "started",
        r#"{"mrr":2000,"ends_at":"2026-07-01","discount_ends_at":"2026-06-20"}"#,
    );
    life.by(definition(), at)
        .await
        .says("tier", "high")
        .is("days_to_renewal", 1.0)
        .is("days_to_discount_end", -10.0);
    let life = life.contract("2026-06-02T00:00:00Z", "started", r#"{"currency":"JPY"}"#);
    life.by(definition(), at).await.says("tier", "tech");
    let life = life.contract("2026-06-03T00:00:00Z", "started", r#"{"mrr":30000}"#);
    life.by(definition(), at).await.says("tier", "low");
    life.event("2026-06-04T00:00:00Z", "account", "", "", r#"{"tier":"tech"}"#)
        .by(definition(), at)
        .await
        .says("tier", "tech");
    Life::in_zone("tierless", "UTC", "2026-06-04T00:00:00Z")
        .by(definition(), at)
        .await
        .says("tier", "low");
}
