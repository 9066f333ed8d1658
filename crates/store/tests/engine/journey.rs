use store::{AccountRow, JourneyQuery, MetricsRow, Milestone, Store, TtvQuery};

use crate::harness::fresh;
use crate::rows::{DAY, MARCH, account, metrics};

fn milestone(name: &str, state: &str, dwell_days: Option<f64>) -> Milestone {
    let reached_at = (state == "done").then_some(MARCH - DAY);
    (name.to_string(), state.to_string(), reached_at, dwell_days)
}

/// An account and its numbers; `ttv` is the days to the first value, or else those waited for it.
fn life(
    id: &str,
    ttv: Result<f64, f64>,
    change: impl Fn(&mut AccountRow, &mut MetricsRow),
) -> (AccountRow, MetricsRow) {
    let mut account = account(id, 1);
    let mut metrics = metrics(id, MARCH, 1);
    metrics.ttv_days = ttv.ok();
    metrics.ttv_running_days = ttv.err();
    metrics.days_in_stage = Some(10.0);
    metrics.onboarding_state = Some("done".to_string());
    metrics.milestones = vec![
        milestone("invited", "done", Some(4.0)),
        milestone("connected", "done", Some(6.0)),
    ];
    change(&mut account, &mut metrics);
    (account, metrics)
}

async fn furnished(name: &str) -> Store {
    let store = fresh(name).await;
    let lives = [
        life("a-10", Ok(10.0), |_, metrics| metrics.days_in_stage = Some(30.0)),
        life("a-20", Ok(20.0), |_, _| {}),
        life("a-40", Ok(40.0), |account, metrics| {
            account.stage = "onboarding".to_string();
            metrics.onboarding_state = Some("behind".to_string());
            metrics.milestones = vec![
                milestone("invited", "done", Some(8.0)),
                milestone("connected", "behind", Some(70.0)),
            ];
        }),
        life("b-waits", Err(30.0), |account, metrics| {
            account.stage = "onboarding".to_string();
            metrics.onboarding_state = Some("stalled".to_string());
            metrics.milestones = vec![
                milestone("invited", "stalled", Some(30.0)),
                milestone("connected", "on_track", None),
            ];
        }),
        life("c-waits", Err(50.0), |account, _| {
            account.plan = None;
            account.tier = "tech".to_string();
            account.started_at = Some(MARCH - 50 * DAY);
        }),
        life("d-left", Err(80.0), |account, metrics| {
            account.stage = "churned".to_string();
            metrics.onboarding_state = Some("stalled".to_string());
            metrics.milestones = vec![milestone("invited", "stalled", Some(80.0))];
        }),
    ];
    let (mut accounts, numbers): (Vec<_>, Vec<_>) = lives.into_iter().unzip();
    accounts.push(account("no-numbers", 1));
    store.insert_accounts("a", &accounts).await.unwrap();
    store.insert_evaluations("e", &numbers, &[]).await.unwrap();
    store
}

#[tokio::test]
async fn cohorts_tell_how_soon_value_came_and_how_long_it_is_waited_for() {
    let store = furnished("cohorts").await;
    let query = TtvQuery {
        limit: 10,
        ..TtvQuery::default()
    };
    let cohorts = store.ttv_cohorts(&query).await.unwrap();
    assert_eq!(cohorts.len(), 2, "{cohorts:?}");
    let newest = &cohorts[0];
    assert_eq!(newest.start_month, 20_454, "2026-01-01");
    assert_eq!((newest.accounts, newest.reached, newest.waiting), (1, 0, 1));
    assert_eq!((&newest.plan, newest.ttv_days_median), (&None, None));
    let older = &cohorts[1];
    assert_eq!(older.segment.as_deref(), Some("smb"));
    assert_eq!((older.accounts, older.reached, older.waiting), (5, 3, 1));
    assert_eq!(
        (
            older.ttv_days_p25,
            older.ttv_days_median,
            older.ttv_days_p75,
            older.ttv_days_p90
        ),
        (Some(15.0), Some(20.0), Some(30.0), Some(36.0)),
        "10, 20 and 40 days"
    );
    assert_eq!(
        older.waiting_days_median,
        Some(30.0),
        "who has left waits no more"
    );

    let waiting = store.waiting_for_value(&query).await.unwrap();
    let told: Vec<(&str, f64)> = waiting
        .iter()
        .map(|row| (row.account_id.as_str(), row.ttv_running_days))
        .collect();
    assert_eq!(told, [("c-waits", 50.0), ("b-waits", 30.0)]);
    let counted: u64 = cohorts.iter().map(|cohort| cohort.waiting).sum();
    assert_eq!(counted, waiting.len() as u64);

    let standard = TtvQuery {
        plan: Some("standard".to_string()),
        limit: 1,
        ..TtvQuery::default()
    };
    assert_eq!(store.ttv_cohorts(&standard).await.unwrap().len(), 1);
    assert_eq!(
        store.waiting_for_value(&standard).await.unwrap()[0].account_id,
        "b-waits"
    );
    let elsewhere = TtvQuery {
        segment: Some("enterprise".to_string()),
        ..query
    };
    assert_eq!(store.ttv_cohorts(&elsewhere).await.unwrap(), []);
    assert_eq!(store.waiting_for_value(&elsewhere).await.unwrap(), []);
}

#[tokio::test]
async fn the_journey_counts_stages_states_and_milestones_and_names_who_is_late() {
    let store = furnished("journey").await;
    let query = JourneyQuery {
        limit: 10,
        ..JourneyQuery::default()
    };
    let journey = store.journey(&query).await.unwrap();
    let stages: Vec<(&str, &str, u64, Option<f64>)> = journey
        .stages
        .iter()
        .map(|group| {
            (
                group.stage.as_str(),
                group.tier.as_str(),
                group.accounts,
                group.mean_days_in_stage,
            )
        })
        .collect();
    assert_eq!(
        stages,
        [
            ("adoption", "high", 3, Some(20.0)),
            ("adoption", "tech", 1, Some(10.0)),
            ("churned", "high", 1, Some(10.0)),
            ("onboarding", "high", 2, Some(10.0)),
        ]
    );
    let states: Vec<(&str, u64)> = journey
        .onboarding
        .iter()
        .map(|group| (group.state.as_str(), group.accounts))
        .collect();
    assert_eq!(states, [("behind", 1), ("done", 3), ("stalled", 1)]);

    let [invited, connected] = &journey.milestones[..] else {
        panic!("{:?}", journey.milestones);
    };
    assert_eq!(
        (invited.name.as_str(), invited.done, invited.stalled),
        ("invited", 4, 1)
    );
    assert_eq!(invited.dwell_days_median, Some(4.0), "4, 4, 4 and 8");
    assert_eq!((invited.next_of, invited.waiting_days_median), (1, Some(30.0)));
    assert_eq!(
        (
            connected.name.as_str(),
            connected.done,
            connected.behind,
            connected.on_track
        ),
        ("connected", 3, 1, 1)
    );
    assert_eq!(
        (connected.next_of, connected.waiting_days_median),
        (1, Some(70.0))
    );

    let late: Vec<(&str, Option<&str>, Option<f64>)> = journey
        .late
        .iter()
        .map(|row| {
            (
                row.account_id.as_str(),
                row.next_milestone.as_deref(),
                row.next_milestone_days,
            )
        })
        .collect();
    assert_eq!(
        late,
        [
            ("b-waits", Some("invited"), Some(30.0)),
            ("a-40", Some("connected"), Some(70.0)),
        ]
    );

    let tech = JourneyQuery {
        tier: Some("tech".to_string()),
        ..query
    };
    let journey = store.journey(&tech).await.unwrap();
    assert_eq!((journey.stages.len(), journey.late.len()), (1, 0));
}

#[tokio::test]
async fn a_segment_is_judged_by_the_median_of_its_accounts_once_it_has_enough() {
    let store = fresh("segments").await;
    let mut accounts = Vec::new();
    let mut numbers = Vec::new();
    for (id, segment, stage, stickiness) in [
        ("a", Some("smb"), "adoption", Some(0.2)),
        ("b", Some("smb"), "adoption", Some(0.3)),
        ("c", Some("smb"), "adoption", Some(0.9)),
        ("d", Some("smb"), "churned", Some(0.01)),
        ("e", Some("smb"), "adoption", None),
        ("f", Some("enterprise"), "adoption", Some(0.5)),
        ("g", None, "adoption", Some(0.4)),
        ("h", None, "trial", Some(0.4)),
        ("i", None, "trial", Some(0.6)),
    ] {
        let mut row = account(id, 1);
        row.segment = segment.map(String::from);
        row.stage = stage.to_string();
        accounts.push(row);
        let mut row = metrics(id, MARCH, 1);
        row.stickiness = stickiness;
        numbers.push(row);
    }
    store.insert_accounts("a", &accounts).await.unwrap();
    store.insert_evaluations("e", &numbers, &[]).await.unwrap();
    assert_eq!(store.segment_baselines().await.unwrap(), []);

    store.compute_segment_baselines(MARCH, 1).await.unwrap();
    store.compute_segment_baselines(MARCH + DAY, 3).await.unwrap();
    let found = store.segment_baselines().await.unwrap();
    let told: Vec<(&str, f64, u32, i64)> = found
        .iter()
        .map(|row| {
            (
                row.segment.as_str(),
                row.stickiness,
                row.accounts,
                row.computed_at,
            )
        })
        .collect();
    assert_eq!(
        told,
        [("", 0.4, 3, MARCH + DAY), ("smb", 0.3, 3, MARCH + DAY)],
        "one account is no segment to be judged by, though it was a day before"
    );
}
