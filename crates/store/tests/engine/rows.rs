//! Rows to insert: complete ones, of which a test changes what it is about.

use store::{AccountRow, AlertRow, DailyRow, DeliveryRow, EventRow, MetricsRow, ScoresRow, UserRow};

/// 2026-03-01T00:00:00Z in milliseconds.
pub const MARCH: i64 = 1_772_323_200_000;
pub const DAY: i64 = 86_400_000;

pub fn event(account: &str, id: &str, offset: i64) -> EventRow {
    EventRow {
        event_id: id.to_string(),
        account_id: account.to_string(),
        user_id: "u-1".to_string(),
        r#type: "feature".to_string(),
        name: "report.export".to_string(),
        occurred_at: MARCH + offset,
        received_at: MARCH + offset + 5,
        source: "kafka".to_string(),
        properties: r#"{"rows":120,"題":"見守り"}"#.to_string(),
        kafka_partition: 3,
        kafka_offset: offset,
    }
}

pub fn account(id: &str, version: u64) -> AccountRow {
    AccountRow {
        account_id: id.to_string(),
        version,
        name: Some(format!("株式会社 {id}")),
        plan: Some("standard".to_string()),
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
        last_event_at: Some(MARCH),
        updated_at: MARCH,
    }
}

pub fn user(account: &str, id: &str, version: u64) -> UserRow {
    UserRow {
        account_id: account.to_string(),
        user_id: id.to_string(),
        version,
        role: "champion".to_string(),
        department: Some("経理".to_string()),
        removed: false,
        first_seen_at: Some(MARCH - DAY),
        last_login_at: None,
        last_active_at: Some(MARCH),
        updated_at: MARCH,
    }
}

pub fn daily(account: &str, day: u16, version: u64) -> DailyRow {
    DailyRow {
        account_id: account.to_string(),
        day,
        version,
        logins: 4,
        events: 40,
        active_users: 3,
        feature_uses: vec![("report.export".to_string(), 7), ("検索".to_string(), 2)],
        updated_at: MARCH,
    }
}

pub fn metrics(account: &str, evaluated_at: i64, version: u64) -> MetricsRow {
    MetricsRow {
        account_id: account.to_string(),
        evaluated_at,
        version,
        watermark: evaluated_at,
        cut_offset: 41,
        is_daily: evaluated_at % DAY == 0,
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
        unused_key_features: vec!["automation".to_string(), "連携".to_string()],
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

pub fn scores(account: &str, evaluated_at: i64, version: u64) -> ScoresRow {
    ScoresRow {
        account_id: account.to_string(),
        evaluated_at,
        version,
        watermark: evaluated_at,
        cut_offset: 41,
        is_daily: evaluated_at % DAY == 0,
        health: Some(62.5),
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
                "feature_depth".to_string(),
                Some(33.0),
                Some(30.0),
                8.5,
            ),
            ("health".to_string(), "ttv_days".to_string(), None, None, -4.0),
        ],
        model_hash: "abc".to_string(),
    }
}

pub fn alert(account: &str, id: &str, version: u64) -> AlertRow {
    AlertRow {
        alert_id: id.to_string(),
        episode_id: "episode".to_string(),
        account_id: account.to_string(),
        rule: "inactive".to_string(),
        severity: "warning".to_string(),
        change: "opened".to_string(),
        at: MARCH,
        reason: "no login for 15 days".to_string(),
        reason_ja: "15日間ログインがありません".to_string(),
        payload: r#"{"days":15}"#.to_string(),
        version,
    }
}

pub fn delivery(alert: &str, destination: &str, attempt: u32, status: &str) -> DeliveryRow {
    let retrying = status == "retrying";
    DeliveryRow {
        alert_id: alert.to_string(),
        destination: destination.to_string(),
        attempt,
        status: status.to_string(),
        http_status: retrying.then_some(503),
        at: MARCH + i64::from(attempt),
        duration_ms: 12,
        error: if retrying { "503" } else { "" }.to_string(),
        next_attempt_at: retrying.then_some(MARCH + 60_000 * i64::from(attempt)),
        body: if retrying { r#"{"type":"test"}"# } else { "" }.to_string(),
        episode_id: "episode".to_string(),
        variant: String::new(),
        reference: String::new(),
        version: 1,
    }
}
