//! What became of alarmed accounts, seen through the view and through its sums.

use clickhouse::Row;
use serde::Deserialize;
use store::{AlertRow, EventRow, OutcomeDays, OutcomeGroup, OutcomeQuery, ScoresRow, Store};

use crate::harness::{client, fresh};
use crate::rows::{DAY, MARCH, account, alert, delivery, event, scores};

#[derive(Debug, PartialEq, Row, Deserialize)]
struct Outcome {
    arm: String,
    resolution: String,
    resolved_by: String,
    recovered: Vec<Option<bool>>,
    retained: Vec<Option<bool>>,
    health: Vec<Option<f64>>,
}

/// The row of an episode, of which there must be one; `None` when there is none.
async fn outcome(database: &str, episode: &str) -> Option<Outcome> {
    let mut rows: Vec<Outcome> = client(database)
        .query(
            "SELECT arm, resolution, resolved_by, [recovered_7d, recovered_30d, recovered_60d] AS recovered,
                    [retained_7d, retained_30d, retained_60d] AS retained,
                    [health_at_opening, health_7d, health_30d, health_60d] AS health
             FROM alert_outcomes WHERE episode_id = ?",
        )
        .bind(episode)
        .fetch_all()
        .await
        .unwrap();
    assert!(rows.len() <= 1, "{episode}: {rows:?}");
    rows.pop()
}

/// A change of the account's episode, so many days after 1 March.
fn change(account: &str, change: &str, days: i64) -> AlertRow {
    let stage = if change == "churn" { "churned" } else { "adoption" };
    AlertRow {
        episode_id: format!("ep-{account}"),
        change: if change == "churn" { "resolved" } else { change }.to_string(),
        at: MARCH + days * DAY,
        payload: format!(
            r#"{{"kind":"at_risk","account":{{"tier":"high","stage":"{stage}","segment":null}},"scores":{{"health":40.5}}}}"#
        ),
        ..alert(account, &format!("{account}-{change}"), 1)
    }
}

fn daily(account: &str, days: i64, health: Option<f64>) -> ScoresRow {
    ScoresRow {
        health,
        ..scores(account, MARCH + days * DAY, 1)
    }
}

fn deed(account: &str, name: &str, days: i64) -> EventRow {
    EventRow {
        r#type: "action".to_string(),
        name: name.to_string(),
        occurred_at: MARCH + days * DAY - 1_000,
        properties: format!(r#"{{"episode_id":"ep-{account}","by":"佐藤","playbook":"call"}}"#),
        ..event(account, &format!("deed-{account}-{name}"), days)
    }
}

/// Six accounts, alarmed about on 1 March and known until `known_days` later; everything is written
/// twice, under tokens of its own.
async fn furnished(name: &str, known_days: i64) -> Store {
    let store = fresh(name).await;
    let mut left = account("left", 1);
    left.stage_history.push(("churned".to_string(), MARCH + 10 * DAY));
    let mut came_back = account("came-back", 1);
    came_back.stage_history.extend([
        ("churned".to_string(), MARCH + 10 * DAY),
        ("adoption".to_string(), MARCH + 40 * DAY),
    ]);
    let accounts = [
        account("told", 1),
        account("held", 1),
        account("declared", 1),
        account("late", 1),
        left,
        came_back,
    ];
    let ids: Vec<String> = accounts
        .iter()
        .map(|account| account.account_id.clone())
        .collect();

    let mut alerts: Vec<AlertRow> = ids.iter().map(|id| change(id, "opened", 0)).collect();
    alerts.push(change("told", "resolved", 20));
    alerts.push(change("declared", "resolved", 3));
    alerts.push(change("left", "churn", 10));
    alerts.push(change("late", "opened", 1));
    alerts.push(change("late", "retracted", 2));
    let deliveries = [
        delivery("told-opened", "cs", 1, "retrying"),
        delivery("told-opened", "cs", 2, "delivered"),
        delivery("held-opened", "cs", 0, "held_out"),
        delivery("declared-opened", "cs", 0, "digest"),
        delivery("declared-opened", "cs", 1, "digested"),
        delivery("left-opened", "cs", 1, "failed"),
        delivery("came-back-opened", "cs", 0, "shadow"),
    ];
    let deeds = [
        deed("declared", "acknowledged", 1),
        deed("declared", "resolved", 3),
        // Too late: it was over.
        deed("told", "resolved", 25),
    ];
    let mut results = vec![
        daily("told", 0, Some(40.5)),
        daily("elsewhere", known_days, Some(1.0)),
    ];
    for day in (1..=known_days.min(61)).filter(|day| *day != 30) {
        results.push(daily("told", day, Some(40.0 + day as f64)));
        results.push(daily("left", day, (day < 10).then_some(20.0)));
    }
    // Within the day: newer than the midnight, but not of it.
    let mut within = daily("told", 7, Some(99.0));
    within.evaluated_at -= DAY / 2;
    within.is_daily = false;
    results.push(within);

    for token in ["first", "again"] {
        store.insert_accounts(token, &accounts).await.unwrap();
        store.insert_alerts(token, &alerts).await.unwrap();
        store.insert_deliveries(token, &deliveries).await.unwrap();
        store.insert_events(token, &deeds).await.unwrap();
        store.insert_evaluations(token, &[], &results).await.unwrap();
    }
    store
}

#[tokio::test]
async fn an_episode_is_one_row_with_what_became_of_it() {
    let name = "outcomes";
    furnished(name, 61).await;
    let told = outcome(name, "ep-told").await.unwrap();
    assert_eq!((told.arm.as_str(), told.resolution.as_str()), ("told", "cleared"));
    assert_eq!(told.resolved_by, "", "a deed after the end ended nothing");
    assert_eq!(told.recovered, [Some(false), Some(true), Some(true)]);
    assert_eq!(told.retained, [Some(true); 3]);
    assert_eq!(
        told.health,
        [Some(40.5), Some(47.0), Some(69.0), Some(100.0)],
        "day 30 has no row, day 29 holds"
    );

    let held = outcome(name, "ep-held").await.unwrap();
    assert_eq!((held.arm.as_str(), held.resolution.as_str()), ("held_out", ""));
    assert_eq!(held.recovered, [Some(false); 3]);
    assert_eq!(
        held.health,
        [Some(40.5), None, None, None],
        "nothing is known of it since"
    );

    let declared = outcome(name, "ep-declared").await.unwrap();
    assert_eq!(
        (declared.arm.as_str(), declared.resolution.as_str()),
        ("told", "declared")
    );
    assert_eq!(declared.resolved_by, "佐藤");
    assert_eq!(declared.recovered, [Some(true); 3]);

    let left = outcome(name, "ep-left").await.unwrap();
    assert_eq!((left.arm.as_str(), left.resolution.as_str()), ("", "churned"));
    assert_eq!(left.recovered, [Some(false); 3], "who leaves has not recovered");
    assert_eq!(left.retained, [Some(true), Some(false), Some(false)]);
    assert_eq!(left.health, [Some(40.5), Some(20.0), None, None]);

    let came_back = outcome(name, "ep-came-back").await.unwrap();
    assert_eq!(came_back.arm, "shadow");
    assert_eq!(came_back.retained, [Some(true), Some(false), Some(true)]);

    assert_eq!(
        outcome(name, "ep-late").await,
        None,
        "what was retracted never was"
    );
}

#[tokio::test]
async fn nothing_is_known_before_the_days_have_passed() {
    let name = "outcomes_early";
    furnished(name, 29).await;
    let told = outcome(name, "ep-told").await.unwrap();
    assert_eq!(told.resolution, "cleared");
    assert_eq!(
        told.recovered,
        [Some(false), None, None],
        "though it is over already"
    );
    assert_eq!(told.retained, [Some(true), None, None]);
    assert_eq!(told.health, [Some(40.5), Some(47.0), None, None]);
}

#[tokio::test]
async fn an_account_counts_once_a_rule_as_its_first_episode() {
    let store = furnished("outcomes_sums", 61).await;
    let mut second = change("told", "opened", 25);
    second.alert_id = "told-opened-again".to_string();
    second.episode_id = "ep-told-again".to_string();
    let mut of_another_rule = change("held", "opened", 0);
    of_another_rule.alert_id = "held-other".to_string();
    of_another_rule.episode_id = "ep-held-other".to_string();
    of_another_rule.rule = "silence".to_string();
    store
        .insert_alerts("second", &[second, of_another_rule])
        .await
        .unwrap();
    let again = delivery("told-opened-again", "cs", 1, "held_out");
    store.insert_deliveries("second", &[again]).await.unwrap();

    let all = |days| OutcomeQuery {
        days,
        ..OutcomeQuery::default()
    };
    let groups = store.outcome_groups(&all(OutcomeDays::Thirty)).await.unwrap();
    let found: Vec<(&str, &str, u64, u64)> = groups
        .iter()
        .map(|group| {
            (
                group.rule.as_str(),
                group.arm.as_str(),
                group.accounts,
                group.episodes,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("inactive", "", 1, 1),
            ("inactive", "held_out", 1, 1),
            ("inactive", "shadow", 1, 1),
            ("inactive", "told", 2, 3),
            ("silence", "", 1, 1),
        ]
    );
    let told: &OutcomeGroup = &groups[3];
    assert_eq!(
        (told.due, told.recovered, told.declared, told.retained),
        (2, 2, 1, 2)
    );
    assert_eq!((told.health_changes, told.health_change_mean), (1, 28.5));

    let later = OutcomeQuery {
        since: Some(MARCH + 20 * DAY),
        rule: Some("inactive".to_string()),
        days: OutcomeDays::Sixty,
    };
    let groups = store.outcome_groups(&later).await.unwrap();
    let [only] = &groups[..] else {
        panic!("{groups:?}");
    };
    assert_eq!(
        (only.arm.as_str(), only.accounts, only.due),
        ("held_out", 1, 0),
        "the second is the first since"
    );
    assert_eq!(
        store.outcomes_known_until().await.unwrap(),
        Some(MARCH + 61 * DAY)
    );
}
