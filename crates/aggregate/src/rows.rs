//! From the core's types to the rows of the tables.

use event::{Event, EventType};
use health::{Account, Daily, Evaluation, Model, Stage, Tier, UserSummary};
use store::{AccountRow, CountedDay, DailyRow, DayBounds, EventRow, MetricsRow, ScoresRow, UserRow};

pub(crate) fn event(event: Event, partition: i32, offset: i64) -> EventRow {
    EventRow {
        event_id: event.event_id,
        account_id: event.account_id,
        user_id: event.user_id.unwrap_or_default(),
        r#type: event.event_type.as_str().to_string(),
        name: event.name,
        occurred_at: event.occurred_at,
        received_at: event.received_at,
        source: event.source,
        properties: event.properties,
        kafka_partition: partition,
        kafka_offset: offset,
    }
}

/// The event of a landed row; `None` when the row is none, which no row is that was landed here.
pub(crate) fn landed_event(row: EventRow) -> Option<Event> {
    Some(Event {
        event_type: EventType::from_name(&row.r#type)?,
        event_id: row.event_id,
        account_id: row.account_id,
        user_id: (!row.user_id.is_empty()).then_some(row.user_id),
        name: row.name,
        occurred_at: row.occurred_at,
        received_at: row.received_at,
        source: row.source,
        properties: row.properties,
    })
}

// ClickHouse's Date spans 1970 to 2149; accepted events lie well within.
fn date(day: i32) -> u16 {
    day.clamp(0, i32::from(u16::MAX)) as u16
}

pub(crate) fn day_bounds(account: &Account, day: i32, model: &Model) -> DayBounds {
    let (begins_at, ends_at) = account.day_bounds(day, model);
    DayBounds {
        account_id: account.account_id().to_string(),
        day: date(day),
        begins_at,
        ends_at,
    }
}

/// The numbers of a day that were counted from the events; `None` of a day that has none.
pub(crate) fn counted(bounds: DayBounds, counted: Option<CountedDay>, version: u64, now: i64) -> DailyRow {
    let counted = counted.unwrap_or_else(|| CountedDay {
        account_id: bounds.account_id,
        day: bounds.day,
        logins: 0,
        events: 0,
        active_users: 0,
        feature_uses: Vec::new(),
    });
    DailyRow {
        account_id: counted.account_id,
        day: counted.day,
        version,
        logins: counted.logins,
        events: counted.events,
        active_users: counted.active_users,
        feature_uses: counted.feature_uses,
        updated_at: now,
    }
}

pub(crate) fn daily(account_id: &str, daily: Daily, version: u64, now: i64) -> DailyRow {
    DailyRow {
        account_id: account_id.to_string(),
        day: date(daily.day),
        version,
        logins: daily.logins,
        events: daily.events,
        active_users: daily.active_users,
        feature_uses: daily.feature_uses,
        updated_at: now,
    }
}

pub(crate) fn user(account_id: &str, user: UserSummary, version: u64, now: i64) -> UserRow {
    UserRow {
        account_id: account_id.to_string(),
        user_id: user.user_id,
        version,
        role: user.role,
        removed: user.removed,
        first_seen_at: user.first_seen_at,
        last_login_at: user.last_login_at,
        last_active_at: user.last_active_at,
        updated_at: now,
    }
}

pub(crate) fn account(account: &Account, stage: Stage, tier: Tier, version: u64, now: i64) -> AccountRow {
    let profile = account.profile();
    AccountRow {
        account_id: account.account_id().to_string(),
        version,
        name: profile.name,
        plan: profile.plan,
        segment: profile.segment,
        tier: tier.as_str().to_string(),
        stage: stage.as_str().to_string(),
        seats: profile.seats,
        timezone: profile.timezone,
        owner: profile.owner,
        mrr: profile.mrr,
        currency: profile.currency,
        started_at: profile.started_at,
        contract_ends_at: profile.contract_ends_at,
        churned_at: profile.churned_at,
        first_event_at: profile.first_event_at,
        last_event_at: profile.last_event_at,
        updated_at: now,
    }
}

pub(crate) fn metrics(account_id: &str, evaluation: &Evaluation, watermark: i64, version: u64) -> MetricsRow {
    let metrics = evaluation.metrics.clone();
    MetricsRow {
        account_id: account_id.to_string(),
        evaluated_at: evaluation.at,
        version,
        watermark,
        logins_1d: metrics.logins_1d,
        logins_7d: metrics.logins_7d,
        logins_28d: metrics.logins_28d,
        logins_90d: metrics.logins_90d,
        days_since_last_login: metrics.days_since_last_login,
        days_since_last_active: metrics.days_since_last_active,
        active_users_1d: metrics.active_users_1d,
        active_users_7d: metrics.active_users_7d,
        active_users_28d: metrics.active_users_28d,
        stickiness: metrics.stickiness,
        seats: metrics.seats,
        seat_utilisation: metrics.seat_utilisation,
        key_features_used_28d: metrics.key_features_used_28d,
        feature_breadth: metrics.feature_breadth,
        feature_depth: metrics.feature_depth,
        unused_key_features: metrics.unused_key_features,
        usage_28d: metrics.usage_28d,
        usage_trend: metrics.usage_trend,
        ttv_days: metrics.ttv_days,
        ttv_running_days: metrics.ttv_running_days,
        milestones_done: metrics.milestones_done,
        milestones_total: metrics.milestones_total,
        onboarding_state: metrics.onboarding_state.map(|state| state.as_str().to_string()),
        open_tickets: metrics.open_tickets,
        oldest_open_ticket_days: metrics.oldest_open_ticket_days,
        mrr: metrics.mrr,
        days_to_renewal: metrics.days_to_renewal,
    }
}

pub(crate) fn scores(
    account_id: &str,
    evaluation: &Evaluation,
    watermark: i64,
    version: u64,
    model_hash: &str,
) -> ScoresRow {
    let scores = &evaluation.scores;
    let drivers = scores.drivers.iter();
    ScoresRow {
        account_id: account_id.to_string(),
        evaluated_at: evaluation.at,
        version,
        watermark,
        health: scores.health,
        ttv: scores.ttv,
        activity: scores.activity,
        adoption: scores.adoption,
        sentiment: None,
        support: None,
        churn_risk: scores.churn_risk,
        expansion: None,
        confidence: scores.confidence,
        band: scores.band.as_str().to_string(),
        stage: evaluation.stage.as_str().to_string(),
        tier: evaluation.tier.as_str().to_string(),
        drivers: drivers
            .map(|driver| {
                (
                    driver.score.to_string(),
                    driver.input.to_string(),
                    driver.value,
                    driver.points,
                )
            })
            .collect(),
        model_hash: model_hash.to_string(),
    }
}
