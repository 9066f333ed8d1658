//! The rows behind the tests: what is known of four accounts.

use store::{AccountRow, AlertRow, EventRow, MetricsRow, ScoresRow, Store};
use tokio::sync::OnceCell;

use crate::engine;
use crate::support::{Running, local, serve, store_at};

/// 2026-03-01T00:00:00Z in milliseconds.
pub const MARCH: i64 = 1_772_323_200_000;
pub const DAY: i64 = 86_400_000;

/// An id with everything that paths, queries and SQL give a meaning to.
pub const AWKWARD: &str = "a/b c?d=e&f%20'\"見";

/// A server over a database with the rows of [`fill`].
pub async fn furnished() -> Running {
    static FILLED: OnceCell<()> = OnceCell::const_new();
    let database = "api_test";
    let url = engine::url();
    FILLED
        .get_or_init(|| async {
            clickhouse_drop(&url, database).await;
            let store = store_at(&url, database);
            store.migrate().await.unwrap();
            fill(&store).await;
        })
        .await;
    serve(local(), store_at(&url, database)).await
}

/// A server over a database without a row.
pub async fn bare() -> Running {
    static MADE: OnceCell<()> = OnceCell::const_new();
    let database = "api_test_bare";
    let url = engine::url();
    MADE.get_or_init(|| async {
        clickhouse_drop(&url, database).await;
        store_at(&url, database).migrate().await.unwrap();
    })
    .await;
    serve(local(), store_at(&url, database)).await
}

pub async fn clickhouse_drop(url: &str, database: &str) {
    let dropped = reqwest::Client::new()
        .post(url)
        .body(format!("DROP DATABASE IF EXISTS {database} SYNC"))
        .send()
        .await
        .unwrap();
    assert_eq!(dropped.status(), 200);
}

async fn fill(store: &Store) {
    let mut beta = account("beta");
    beta.name = Some("ベータ工業".to_string());
    beta.owner = Some("Tanaka".to_string());
    beta.segment = Some("enterprise".to_string());
    beta.mrr = Some(500.0);
    beta.currency = Some("USD".to_string());
    let accounts = [account("acme"), beta, account(AWKWARD)];
    store.insert_accounts("a", &accounts).await.unwrap();

    let mut history: Vec<ScoresRow> = (1..=40)
        .map(|day| scores("acme", MARCH - day * DAY, 60.0))
        .collect();
    history.push(scores("acme", MARCH, 62.5));
    history.push(scores("acme", MARCH - DAY / 2, 50.0));
    let mut red = scores("beta", MARCH, 20.0);
    red.band = "red".to_string();
    red.stage = "onboarding".to_string();
    red.tier = "tech".to_string();
    red.churn_risk = Some(0.6);
    history.push(red);
    history.push(scores(AWKWARD, MARCH, 70.0));
    let mut unknown = scores("only-scores", MARCH, 0.0);
    unknown.band = "unknown".to_string();
    unknown.health = None;
    unknown.churn_risk = None;
    unknown.drivers = Vec::new();
    history.push(unknown);
    let numbers = [metrics("acme"), metrics("beta"), metrics(AWKWARD)];
    store.insert_evaluations("e", &numbers, &history).await.unwrap();

    let mut nameless = event("acme", "e-1", 1);
    nameless.r#type = "login".to_string();
    nameless.name = String::new();
    nameless.user_id = String::new();
    nameless.properties = String::new();
    let events = [nameless, event("acme", "e-2", 2), event(AWKWARD, "e-3", 3)];
    store.insert_events("v", &events).await.unwrap();
    store
        .insert_alerts(
            "l",
            &[
                alert("acme", "l-1", 0),
                alert("acme", "l-2", 9),
                alert("beta", "l-3", 5),
            ],
        )
        .await
        .unwrap();
}

pub fn account(id: &str) -> AccountRow {
    AccountRow {
        account_id: id.to_string(),
        version: 1,
        name: Some(format!("株式会社 {id}")),
        plan: None,
        segment: Some("smb".to_string()),
        tier: "high".to_string(),
        stage: "adoption".to_string(),
        stage_since: Some(MARCH - 30 * DAY),
        stage_history: vec![
            ("onboarding".to_string(), MARCH - 90 * DAY),
            ("adoption".to_string(), MARCH - 30 * DAY),
        ],
        seats: Some(20),
        timezone: Some("Asia/Tokyo".to_string()),
        owner: Some("佐藤".to_string()),
        mrr: Some(120_000.0),
        currency: Some("JPY".to_string()),
        started_at: Some(MARCH - 90 * DAY),
        contract_ends_at: None,
        churned_at: None,
        first_event_at: Some(MARCH - 90 * DAY),
        last_event_at: Some(MARCH + 4),
        updated_at: MARCH,
    }
}

fn metrics(account: &str) -> MetricsRow {
    MetricsRow {
        account_id: account.to_string(),
        evaluated_at: MARCH,
        version: 1,
        watermark: MARCH,
        cut_offset: 41,
        is_daily: true,
        logins_1d: 1,
        logins_7d: 9,
        logins_28d: 33,
        logins_90d: 100,
        days_since_last_login: Some(2),
        days_since_last_active: None,
        active_users_1d: 1,
        active_users_7d: 5,
        active_users_28d: 8,
        stickiness: Some(0.25),
        seats: Some(20),
        seat_utilisation: Some(0.4),
        key_features_used_28d: Some(2),
        feature_breadth: Some(0.5),
        feature_depth: Some(11.5),
        unused_key_features: vec!["連携".to_string()],
        usage_28d: 92,
        usage_trend: Some(0.8),
        ttv_days: None,
        ttv_running_days: Some(12.5),
        milestones_done: Some(2),
        milestones_total: Some(5),
        onboarding_state: Some("behind".to_string()),
        open_tickets: 1,
        oldest_open_ticket_days: Some(3.5),
        mrr: Some(120_000.0),
        days_to_renewal: Some(45),
        nps: Some(-20.0),
        days_in_stage: Some(30.0),
        milestones: vec![
            (
                "invited".to_string(),
                "done".to_string(),
                Some(MARCH - 80 * DAY),
                Some(10.0),
            ),
            ("first_value".to_string(), "behind".to_string(), None, Some(80.0)),
        ],
        ..MetricsRow::default()
    }
}

pub fn scores(account: &str, evaluated_at: i64, health: f64) -> ScoresRow {
    ScoresRow {
        account_id: account.to_string(),
        evaluated_at,
        version: 1,
        watermark: evaluated_at,
        cut_offset: 41,
        is_daily: evaluated_at % DAY == 0,
        health: Some(health),
        ttv: Some(40.0),
        activity: Some(70.0),
        adoption: Some(55.0),
        sentiment: Some(80.0),
        support: None,
        churn_risk: Some(0.18),
        expansion: Some(35.0),
        confidence: 0.75,
        band: "yellow".to_string(),
        stage: "adoption".to_string(),
        tier: "high".to_string(),
        drivers: vec![
            (
                "health".to_string(),
                "feature_breadth".to_string(),
                Some(0.5),
                Some(0.4),
                8.5,
            ),
            (
                "health".to_string(),
                "days_since_last_active".to_string(),
                Some(16.0),
                None,
                -4.0,
            ),
            (
                "churn_risk".to_string(),
                "usage_trend".to_string(),
                Some(0.8),
                Some(1.0),
                0.3,
            ),
            (
                "expansion".to_string(),
                "seat_utilisation".to_string(),
                Some(0.4),
                Some(0.4),
                -15.0,
            ),
        ],
        model_hash: "abc".to_string(),
    }
}

fn event(account: &str, id: &str, offset: i64) -> EventRow {
    EventRow {
        event_id: id.to_string(),
        account_id: account.to_string(),
        user_id: "u-1".to_string(),
        r#type: "feature".to_string(),
        name: "report.export".to_string(),
        occurred_at: MARCH + offset,
        received_at: MARCH + offset + 5,
        source: "kafka".to_string(),
        properties: r#"{"rows":120}"#.to_string(),
        kafka_partition: 3,
        kafka_offset: offset,
    }
}

pub fn alert(account: &str, id: &str, offset: i64) -> AlertRow {
    AlertRow {
        alert_id: id.to_string(),
        episode_id: "episode".to_string(),
        account_id: account.to_string(),
        rule: "inactive".to_string(),
        severity: "warning".to_string(),
        change: "opened".to_string(),
        at: MARCH + offset,
        reason: "no use for 16 days".to_string(),
        reason_ja: "16日間利用なし".to_string(),
        payload: r#"{"days":16}"#.to_string(),
        version: 1,
    }
}
