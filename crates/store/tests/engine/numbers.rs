//! The tables of the numbers as their readers see them: by name, with a comment, and after an upgrade.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::harness::{client, fresh};
use crate::rows::{DAY, MARCH, account, metrics, scores, user};

/// The numbers that dashboards and programs rely on.
const PROMISED: [&str; 39] = [
    "logins_1d",
    "logins_7d",
    "logins_28d",
    "logins_90d",
    "days_since_last_login",
    "days_since_last_active",
    "active_users_1d",
    "active_users_7d",
    "active_users_28d",
    "stickiness",
    "seats",
    "seat_utilisation",
    "key_features_used_28d",
    "feature_breadth",
    "feature_depth",
    "unused_key_features",
    "usage_28d",
    "usage_trend",
    "usage_z",
    "top_user_share",
    "ttv_days",
    "ttv_running_days",
    "milestones_done",
    "milestones_total",
    "onboarding_state",
    "days_in_stage",
    "sticky_actions",
    "open_tickets",
    "oldest_open_ticket_days",
    "escalations_90d",
    "nps",
    "csat",
    "champion_days_silent",
    "champions_removed_28d",
    "mrr",
    "days_to_renewal",
    "days_to_discount_end",
    "errors_7d",
    "empty_searches_28d",
];

/// What every row says of itself.
const OF_THE_ROW: [&str; 5] = [
    "account_id",
    "evaluated_at",
    "watermark",
    "cut_offset",
    "is_daily",
];

const SCORES: [&str; 14] = [
    "health",
    "ttv",
    "activity",
    "adoption",
    "sentiment",
    "support",
    "churn_risk",
    "expansion",
    "confidence",
    "band",
    "stage",
    "tier",
    "drivers",
    "model_hash",
];

#[derive(clickhouse::Row, Deserialize)]
struct Column {
    name: String,
    comment: String,
}

async fn columns(database: &str, table: &str) -> BTreeMap<String, String> {
    let found: Vec<Column> = client(database)
        .query("SELECT name, comment FROM system.columns WHERE database = currentDatabase() AND table = ?")
        .bind(table)
        .fetch_all()
        .await
        .unwrap();
    found
        .into_iter()
        .map(|column| (column.name, column.comment))
        .collect()
}

/// The names in the first column of the table that follows a heading of docs/numbers.md.
fn documented(heading: &str) -> Vec<String> {
    let page = include_str!("../../../../docs/numbers.md");
    let (_, after) = page.split_once(heading).expect("the heading");
    let rows = after.lines().skip_while(|line| !line.starts_with("|---"));
    rows.skip(1)
        .take_while(|line| line.starts_with('|'))
        .flat_map(|line| {
            let first = line.split('|').nth(1).unwrap_or_default();
            let names = first
                .split(',')
                .map(|name| name.trim().trim_matches('`').to_string());
            names.collect::<Vec<String>>()
        })
        .collect()
}

#[tokio::test]
async fn every_number_is_a_column_whose_comment_says_what_it_is() {
    fresh("numbers_columns").await;
    let shown = columns("numbers_columns", "account_metrics").await;
    let documented = documented("## Metrics (`account_metrics`)");
    assert!(documented.len() > 60, "{documented:?}");
    let documented = documented.iter().map(String::as_str);
    for name in documented.chain(PROMISED).chain(OF_THE_ROW) {
        let comment = shown.get(name).unwrap_or_else(|| panic!("no column {name}"));
        assert!(!comment.is_empty(), "{name} has no comment");
    }
    let shown = columns("numbers_columns", "account_scores").await;
    for name in SCORES.into_iter().chain(OF_THE_ROW) {
        let comment = shown.get(name).unwrap_or_else(|| panic!("no column {name}"));
        assert!(!comment.is_empty(), "{name} has no comment");
    }
}

#[tokio::test]
async fn the_newest_rows_have_the_columns_of_the_history_and_nothing_is_left_out() {
    let name = "numbers_latest";
    fresh(name).await;
    for (table, history, latest) in [
        ("metrics_versions", "account_metrics", "account_metrics_latest"),
        ("scores_versions", "account_scores", "account_scores_latest"),
    ] {
        let described: Vec<String> = columns(name, history).await.into_keys().collect();
        let newest: Vec<String> = columns(name, latest).await.into_keys().collect();
        assert_eq!(newest, described);
        let mut stored: Vec<String> = columns(name, table).await.into_keys().collect();
        stored.retain(|column| column != "version");
        assert_eq!(stored, described);
    }
}

#[tokio::test]
async fn milestones_and_stages_are_told_row_by_row_with_names() {
    let name = "numbers_rows";
    let store = fresh(name).await;
    let mut earlier = metrics("acme", MARCH - DAY, 1);
    earlier.milestones.clear();
    store
        .insert_evaluations("e", &[metrics("acme", MARCH, 1), earlier], &[])
        .await
        .unwrap();
    store.insert_accounts("a", &[account("acme", 1)]).await.unwrap();
    store.insert_users("u", &[user("acme", "u-1", 1)]).await.unwrap();

    let told = |statement: &'static str| async move {
        let rows: Vec<String> = client(name).query(statement).fetch_all().await.unwrap();
        rows
    };
    let milestones = told(
        "SELECT concat(toString(position), ' ', name, ' ', state, ' ',
                       ifNull(toString(toDate(reached_at)), 'never'), ' ', toString(assumeNotNull(dwell_days)))
         FROM account_milestones WHERE account_id = 'acme' ORDER BY position",
    )
    .await;
    assert_eq!(
        milestones,
        ["1 invited done 2025-12-11 10", "2 first_value behind never 80"]
    );
    let in_history = told("SELECT milestones.name[2] FROM account_metrics WHERE notEmpty(milestones)").await;
    assert_eq!(in_history, ["first_value"]);
    let stages = told(
        "SELECT concat(toString(position), ' ', stage, ' ', toString(toDate(entered_at)))
         FROM stage_transitions ORDER BY position",
    )
    .await;
    assert_eq!(stages, ["1 onboarding 2025-12-01", "2 adoption 2026-01-30"]);
    let since =
        told("SELECT concat(toString(toDate(assumeNotNull(stage_since))), ' ', stage_history.stage[1]) FROM accounts").await;
    assert_eq!(since, ["2026-01-30 onboarding"]);
    assert_eq!(
        told("SELECT assumeNotNull(department) FROM users").await,
        ["経理"]
    );
}

#[tokio::test]
async fn what_was_written_before_the_upgrade_survives_where_it_is_not_written_anew() {
    let name = "numbers_upgrade";
    let store = fresh(name).await;
    let client = client(name);
    let run = async |statement: &str| {
        let done = client.query(statement).execute().await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    };
    // As the database stood before the migration.
    run("ALTER TABLE accounts_versions DROP COLUMN stage_since, DROP COLUMN stage_history").await;
    run("ALTER TABLE users_versions DROP COLUMN department").await;
    run("CREATE TABLE account_scores_versions (account_id String) ENGINE = MergeTree ORDER BY account_id")
        .await;
    run("ALTER TABLE schema_migrations DELETE WHERE number >= 6 SETTINGS mutations_sync = 2").await;
    run("INSERT INTO accounts_versions (account_id, version, stage) VALUES ('acme', 1, 'adoption')").await;

    let scored = scores("acme", MARCH, 1);
    store
        .insert_evaluations("e", &[], std::slice::from_ref(&scored))
        .await
        .unwrap();
    store.migrate().await.unwrap();

    let found = store.account("acme").await.unwrap().unwrap();
    assert_eq!((found.stage.as_str(), found.stage_since), ("adoption", None));
    assert_eq!(found.stage_history, []);
    assert_eq!(
        store.latest_scores("acme").await.unwrap(),
        Some(scored),
        "another process had migrated and written already"
    );
    assert!(
        columns(name, "account_scores_versions").await.is_empty(),
        "the old table is gone"
    );
}
