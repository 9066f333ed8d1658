use serde::Deserialize;

use crate::harness::{client, fresh};
use crate::rows::{DAY, MARCH, account, alert, daily, delivery, metrics, scores, user};

async fn count(database: &str, statement: &str) -> u64 {
    client(database)
        .query(statement)
        .fetch_one()
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"))
}

/// Rows, and what a plain `SELECT` over the view answers for them.
async fn one_row_per_key(database: &str, view: &str, key: &str, rows: u64) {
    let all = count(database, &format!("SELECT count() FROM {view}")).await;
    let keys = count(database, &format!("SELECT uniqExact({key}) FROM {view}")).await;
    assert_eq!((all, keys), (rows, rows), "{view}");
}

#[tokio::test]
async fn every_view_gives_one_row_per_key_after_doubled_inserts() {
    let name = "views";
    let store = fresh(name).await;
    for token in ["first", "again"] {
        let accounts = [account("acme", 2), account("beta", 2)];
        store.insert_accounts(token, &accounts).await.unwrap();
        let users = [user("acme", "u-1", 2), user("acme", "u-2", 2)];
        store.insert_users(token, &users).await.unwrap();
        let days = [
            daily("acme", 20_512, 2),
            daily("acme", 20_513, 2),
            daily("beta", 20_513, 2),
        ];
        store.insert_daily(token, &days).await.unwrap();
        let numbers = [
            metrics("acme", MARCH - 40 * DAY, 2),
            metrics("acme", MARCH, 2),
            metrics("beta", MARCH, 2),
        ];
        let results = [
            scores("acme", MARCH - 40 * DAY, 2),
            scores("acme", MARCH, 2),
            scores("beta", MARCH, 2),
        ];
        store.insert_evaluations(token, &numbers, &results).await.unwrap();
        store
            .insert_alerts(token, &[alert("acme", "a-1", 2), alert("beta", "b-1", 2)])
            .await
            .unwrap();
        let attempts = [
            delivery("a-1", "cs-team", 1, "retrying"),
            delivery("a-1", "cs-team", 2, "delivered"),
        ];
        store.insert_deliveries(token, &attempts).await.unwrap();
    }
    let doubled = count(name, "SELECT count() FROM scores_versions").await;
    assert_eq!(
        doubled, 6,
        "the inserts must have doubled the rows for the test to mean anything"
    );

    one_row_per_key(name, "accounts", "account_id", 2).await;
    one_row_per_key(name, "users", "(account_id, user_id)", 2).await;
    one_row_per_key(name, "account_daily", "(account_id, day)", 3).await;
    one_row_per_key(name, "account_metrics", "(account_id, evaluated_at)", 3).await;
    one_row_per_key(name, "account_metrics_latest", "account_id", 2).await;
    one_row_per_key(name, "account_scores", "(account_id, evaluated_at)", 3).await;
    one_row_per_key(name, "account_scores_latest", "account_id", 2).await;
    one_row_per_key(name, "account_milestones", "(account_id, position)", 4).await;
    one_row_per_key(name, "stage_transitions", "(account_id, position)", 4).await;
    one_row_per_key(name, "ttv_cohorts", "(start_month, segment, plan)", 1).await;
    one_row_per_key(name, "alerts", "alert_id", 2).await;
    one_row_per_key(name, "deliveries", "(alert_id, destination, attempt)", 2).await;
    one_row_per_key(name, "alert_outcomes", "episode_id", 1).await;
}

#[tokio::test]
async fn a_row_of_an_older_version_that_arrives_later_does_not_win() {
    let name = "views_version";
    let store = fresh(name).await;
    let mut old_account = account("acme", 1);
    old_account.name = Some("before".to_string());
    store.insert_accounts("new", &[account("acme", 2)]).await.unwrap();
    store.insert_accounts("old", &[old_account]).await.unwrap();

    let mut old_day = daily("acme", 20_513, 1);
    old_day.logins = 1;
    store
        .insert_daily("new", &[daily("acme", 20_513, 2)])
        .await
        .unwrap();
    store.insert_daily("old", &[old_day]).await.unwrap();

    let mut old_scores = scores("acme", MARCH, 1);
    old_scores.health = Some(1.0);
    store
        .insert_evaluations("new", &[], &[scores("acme", MARCH, 2)])
        .await
        .unwrap();
    store.insert_evaluations("old", &[], &[old_scores]).await.unwrap();
    let mut old_numbers = metrics("acme", MARCH, 1);
    old_numbers.logins_7d = 1;
    store
        .insert_evaluations("new", &[metrics("acme", MARCH, 2)], &[])
        .await
        .unwrap();
    store
        .insert_evaluations("old", &[old_numbers], &[])
        .await
        .unwrap();

    let found: String = client(name)
        .query("SELECT assumeNotNull(name) FROM accounts")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(found, "株式会社 acme");
    assert_eq!(count(name, "SELECT toUInt64(logins) FROM account_daily").await, 4);
    for view in ["account_scores", "account_scores_latest"] {
        let health: f64 = client(name)
            .query(&format!("SELECT assumeNotNull(health) FROM {view}"))
            .fetch_one()
            .await
            .unwrap();
        assert_eq!(health, 62.5, "{view}");
    }
    for view in ["account_metrics", "account_metrics_latest"] {
        let logins = count(name, &format!("SELECT toUInt64(logins_7d) FROM {view}")).await;
        assert_eq!(logins, 9, "{view}");
    }
}

#[tokio::test]
async fn the_latest_views_show_the_newest_evaluation_whatever_came_last() {
    let name = "views_latest";
    let store = fresh(name).await;
    let mut restated = scores("acme", MARCH - DAY, 9);
    restated.health = Some(1.0);
    let mut restated_numbers = metrics("acme", MARCH - DAY, 9);
    restated_numbers.logins_7d = 1;
    store
        .insert_evaluations("new", &[metrics("acme", MARCH, 2)], &[scores("acme", MARCH, 2)])
        .await
        .unwrap();
    store
        .insert_evaluations("old", &[restated_numbers], &[restated])
        .await
        .unwrap();

    let health: f64 = client(name)
        .query("SELECT assumeNotNull(health) FROM account_scores_latest")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(health, 62.5);
    assert_eq!(
        count(name, "SELECT toUInt64(logins_7d) FROM account_metrics_latest").await,
        9
    );
    let latest = store.latest_metrics("acme").await.unwrap().unwrap();
    assert_eq!(latest, metrics("acme", MARCH, 2));
}

#[tokio::test]
async fn a_midnight_long_before_what_has_been_read_is_nobodys_newest() {
    let name = "views_midnights";
    let store = fresh(name).await;
    let read_up_to = |watermark: i64, evaluated_at: i64| {
        let (mut metrics, mut scores) = (metrics("acme", evaluated_at, 1), scores("acme", evaluated_at, 1));
        (metrics.watermark, scores.watermark) = (watermark, watermark);
        (vec![metrics], vec![scores])
    };
    let newest =
        "SELECT count() FROM account_metrics_latest INNER JOIN account_scores_latest USING account_id";
    let (metrics, scores) = read_up_to(MARCH, MARCH - 3 * DAY);
    store.insert_evaluations("old", &metrics, &scores).await.unwrap();
    assert_eq!(count(name, newest).await, 0);
    let (metrics, scores) = read_up_to(MARCH, MARCH - 2 * DAY);
    store
        .insert_evaluations("recent", &metrics, &scores)
        .await
        .unwrap();
    assert_eq!(count(name, newest).await, 1);
    assert_eq!(count(name, "SELECT count() FROM account_scores").await, 2);
}

#[tokio::test]
async fn the_views_hide_what_is_not_for_users() {
    #[derive(clickhouse::Row, Deserialize)]
    struct Column {
        table: String,
    }
    let name = "views_columns";
    fresh(name).await;
    let shown: Vec<Column> = client(name)
        .query(
            "SELECT table FROM system.columns
             WHERE database = currentDatabase() AND name IN ('version', 'body', 'rank')
               AND table IN ('accounts', 'users', 'account_daily', 'account_metrics', 'account_metrics_latest',
                             'account_scores', 'account_scores_latest', 'account_milestones', 'stage_transitions',
                             'alerts', 'deliveries', 'alert_outcomes')",
        )
        .fetch_all()
        .await
        .unwrap();
    let tables: Vec<String> = shown.into_iter().map(|column| column.table).collect();
    assert_eq!(tables, Vec::<String>::new());
}

#[tokio::test]
async fn a_day_keeps_its_uses_by_feature_and_its_date() {
    let name = "views_daily";
    let store = fresh(name).await;
    store
        .insert_daily("d", &[daily("acme", 20_513, 1)])
        .await
        .unwrap();
    let uses = count(
        name,
        "SELECT feature_uses['検索'] FROM account_daily WHERE day = '2026-03-01'",
    )
    .await;
    assert_eq!(uses, 2);
}

#[tokio::test]
async fn the_elements_of_a_driver_have_names_in_the_views() {
    let name = "views_drivers";
    let store = fresh(name).await;
    store
        .insert_evaluations("e", &[], &[scores("acme", MARCH, 1)])
        .await
        .unwrap();
    for view in ["account_scores", "account_scores_latest"] {
        let statement = format!(
            "SELECT count() FROM {view} ARRAY JOIN drivers AS driver
             WHERE driver.score = 'health' AND driver.input = 'feature_depth' AND driver.value = 33
               AND driver.baseline = 30 AND driver.points = 8.5"
        );
        assert_eq!(count(name, &statement).await, 1, "{view}");
    }
}
