//! A type for the rows of each table. Times are milliseconds since the Unix epoch, as ClickHouse's
//! `DateTime64(3)` wants them; `version` says which of two rows with the same key is the newer.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

/// What moved a score: the score, the input, the input's value, what is usual for the account, and the
/// points that it added.
pub type Driver = (String, String, Option<f64>, Option<f64>, f64);

/// How far an account is with a milestone: its name, its state, when it was reached, and the days from
/// the step before to it, up to the evaluation for the one that is waited for.
pub type Milestone = (String, String, Option<i64>, Option<f64>);

/// A stage, and when it was entered.
pub type StageEntry = (String, i64);

/// A row of `events`.
#[derive(Debug, Clone, PartialEq, Default, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct EventRow {
    pub event_id: String,
    pub account_id: String,
    pub user_id: String,
    pub r#type: String,
    pub name: String,
    pub occurred_at: i64,
    pub received_at: i64,
    pub source: String,
    pub properties: String,
    pub kafka_partition: i32,
    pub kafka_offset: i64,
}

/// A row of `accounts_versions`.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct AccountRow {
    pub account_id: String,
    pub version: u64,
    pub name: Option<String>,
    pub plan: Option<String>,
    pub segment: Option<String>,
    pub tier: String,
    pub stage: String,
    pub stage_since: Option<i64>,
    pub stage_history: Vec<StageEntry>,
    pub seats: Option<u32>,
    pub timezone: Option<String>,
    pub owner: Option<String>,
    pub mrr: Option<f64>,
    pub currency: Option<String>,
    pub started_at: Option<i64>,
    pub contract_ends_at: Option<i64>,
    pub churned_at: Option<i64>,
    pub first_event_at: Option<i64>,
    pub last_event_at: Option<i64>,
    pub updated_at: i64,
}

/// A row of `users_versions`.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct UserRow {
    pub account_id: String,
    pub user_id: String,
    pub version: u64,
    pub role: String,
    pub department: Option<String>,
    pub removed: bool,
    pub first_seen_at: Option<i64>,
    pub last_login_at: Option<i64>,
    pub last_active_at: Option<i64>,
    pub updated_at: i64,
}

/// A row of `account_daily_versions`; `day` counts days since 1970-01-01.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct DailyRow {
    pub account_id: String,
    pub day: u16,
    pub version: u64,
    pub logins: u32,
    pub events: u32,
    pub active_users: u32,
    pub feature_uses: Vec<(String, u64)>,
    pub updated_at: i64,
}

/// A row of `metrics_versions`.
#[derive(Debug, Clone, PartialEq, Default, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct MetricsRow {
    pub account_id: String,
    pub evaluated_at: i64,
    pub version: u64,
    pub watermark: i64,
    pub cut_offset: i64,
    pub is_daily: bool,
    pub logins_1d: u32,
    pub logins_7d: u32,
    pub logins_28d: u32,
    pub logins_90d: u32,
    pub logins_prior_28d: Option<u32>,
    pub logins_trend: Option<f64>,
    pub logins_week_ratio: Option<f64>,
    pub logins_per_user_28d: Option<f64>,
    pub days_since_last_login: Option<i32>,
    pub days_since_last_active: Option<i32>,
    pub workdays_since_last_login: Option<i32>,
    pub workdays_since_last_active: Option<i32>,
    pub active_users_1d: u32,
    pub active_users_7d: u32,
    pub active_users_28d: u32,
    pub active_users_prior_28d: Option<u32>,
    pub active_users_trend: Option<f64>,
    pub stickiness: Option<f64>,
    pub segment_stickiness: Option<f64>,
    pub relative_stickiness: Option<f64>,
    pub seats: Option<u32>,
    pub seat_utilisation: Option<f64>,
    pub key_features_used_28d: Option<u32>,
    pub feature_breadth: Option<f64>,
    pub advanced_features_used_28d: Option<u32>,
    pub usage_28d: u64,
    pub usage_prior_28d: Option<u64>,
    pub usage_trend: Option<f64>,
    pub feature_depth: Option<f64>,
    pub usage_z: Option<f64>,
    pub top_user_share: Option<f64>,
    pub ttv_days: Option<f64>,
    pub ttv_running_days: Option<f64>,
    pub milestones_done: Option<u32>,
    pub milestones_total: Option<u32>,
    pub account_age_days: Option<f64>,
    pub days_in_stage: Option<f64>,
    pub sticky_actions: Option<u32>,
    pub open_tickets: u32,
    pub oldest_open_ticket_days: Option<f64>,
    pub oldest_unanswered_ticket_days: Option<f64>,
    pub open_ticket_age_days: Option<f64>,
    pub open_escalations: Option<u32>,
    pub escalations_90d: u32,
    pub tickets_opened_90d: u32,
    pub nps: Option<f64>,
    pub csat: Option<f64>,
    pub last_nps: Option<f64>,
    pub days_since_last_nps: Option<i32>,
    pub champion_days_silent: Option<i32>,
    pub decision_maker_days_silent: Option<i32>,
    pub champions_removed_28d: u32,
    pub new_departments_28d: Option<u32>,
    pub mrr: Option<f64>,
    pub days_to_renewal: Option<i32>,
    pub days_to_discount_end: Option<i32>,
    pub downgrades_28d: u32,
    pub errors_7d: u32,
    pub errors_usual_7d: Option<f64>,
    pub errors_trend: Option<f64>,
    pub empty_searches_28d: u32,
    pub engagements_28d: u32,
    pub usual_gap_workdays: Option<f64>,
    pub onboarding_state: Option<String>,
    pub unused_key_features: Vec<String>,
    pub milestones: Vec<Milestone>,
}

/// A row of `scores_versions`.
#[derive(Debug, Clone, PartialEq, Default, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct ScoresRow {
    pub account_id: String,
    pub evaluated_at: i64,
    pub version: u64,
    pub watermark: i64,
    pub cut_offset: i64,
    pub is_daily: bool,
    pub health: Option<f64>,
    pub ttv: Option<f64>,
    pub activity: Option<f64>,
    pub adoption: Option<f64>,
    pub sentiment: Option<f64>,
    pub support: Option<f64>,
    pub churn_risk: Option<f64>,
    pub expansion: Option<f64>,
    pub confidence: f64,
    pub band: String,
    pub stage: String,
    pub tier: String,
    pub drivers: Vec<Driver>,
    pub model_hash: String,
}

/// A row of `account_state`.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct StateRow {
    pub partition: i32,
    pub account_id: String,
    pub version: u64,
    pub offset: i64,
    #[serde(with = "serde_bytes")]
    pub state: Vec<u8>,
    pub saved_at: i64,
}

/// A row of `alerts_versions`.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct AlertRow {
    pub alert_id: String,
    pub episode_id: String,
    pub account_id: String,
    pub rule: String,
    pub severity: String,
    pub change: String,
    pub at: i64,
    pub reason: String,
    pub reason_ja: String,
    pub payload: String,
    pub version: u64,
}

/// A row of `deliveries_versions`.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are described in the schema")]
pub struct DeliveryRow {
    pub alert_id: String,
    pub destination: String,
    pub attempt: u32,
    pub status: String,
    pub http_status: Option<u16>,
    pub at: i64,
    pub duration_ms: u32,
    pub error: String,
    pub next_attempt_at: Option<i64>,
    pub body: String,
    pub episode_id: String,
    pub variant: String,
    pub reference: String,
    pub version: u64,
}
