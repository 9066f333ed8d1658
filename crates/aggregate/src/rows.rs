//! From the core's types to the rows of the tables.

use event::{Event, EventType};
use health::{Account, Daily, Evaluation, Metrics, Model, Scores, UserSummary};
use store::{
    AccountRow, DailyRow, Driver, EventRow, HistoricEvent, MetricsRow, Milestone, ScoresRow, StageEntry,
    UserRow,
};

const DAY_MS: i64 = 86_400_000;

/// What an evaluation rests on besides the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// The newest event time that was read of the partition, milliseconds.
    pub(crate) watermark: i64,
    /// The offset of the last event of the account that it covers; -1 before any.
    pub(crate) cut_offset: i64,
}

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

/// The same of a row of an account's history.
pub(crate) fn historic_event(row: HistoricEvent) -> Option<Event> {
    Some(Event {
        event_type: EventType::from_name(&row.r#type)?,
        event_id: row.event_id,
        account_id: row.account_id,
        user_id: (!row.user_id.is_empty()).then_some(row.user_id),
        name: row.name,
        occurred_at: row.occurred_at,
        received_at: row.received_at,
        source: String::new(),
        properties: row.properties,
    })
}

// ClickHouse's Date spans 1970 to 2149; accepted events lie well within.
fn date(day: i32) -> u16 {
    day.clamp(0, i32::from(u16::MAX)) as u16
}

/// A day that has no event any more.
pub(crate) fn empty_day(account_id: &str, day: i32, version: u64, now: i64) -> DailyRow {
    let empty = Daily {
        day,
        logins: 0,
        events: 0,
        active_users: 0,
        feature_uses: Vec::new(),
    };
    daily(account_id, empty, version, now)
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
        department: (!user.department.is_empty()).then_some(user.department),
        removed: user.removed,
        first_seen_at: user.first_seen_at,
        last_login_at: user.last_login_at,
        last_active_at: user.last_active_at,
        updated_at: now,
    }
}

pub(crate) fn account(account: &Account, model: &Model, version: u64, now: i64) -> AccountRow {
    let profile = account.profile();
    let stage_history: Vec<StageEntry> = account
        .stage_history(now, model)
        .into_iter()
        .map(|(stage, entered_at)| (stage.as_str().to_string(), entered_at))
        .collect();
    AccountRow {
        account_id: account.account_id().to_string(),
        version,
        name: profile.name,
        plan: profile.plan,
        segment: profile.segment,
        tier: account.tier(model).as_str().to_string(),
        stage: account.stage(now, model).as_str().to_string(),
        stage_since: stage_history.last().map(|(_, entered_at)| *entered_at),
        stage_history,
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

/// Whether an evaluation is the one of a midnight (UTC).
fn is_daily(evaluated_at: i64) -> bool {
    evaluated_at.rem_euclid(DAY_MS) == 0
}

pub(crate) fn metrics(
    account_id: &str,
    evaluation: &Evaluation,
    coverage: Coverage,
    version: u64,
) -> MetricsRow {
    // Taken apart in full, so that a new number cannot be forgotten here.
    let Metrics {
        logins_1d,
        logins_7d,
        logins_28d,
        logins_90d,
        logins_prior_28d,
        logins_trend,
        logins_week_ratio,
        logins_per_user_28d,
        days_since_last_login,
        days_since_last_active,
        workdays_since_last_login,
        workdays_since_last_active,
        active_users_1d,
        active_users_7d,
        active_users_28d,
        active_users_prior_28d,
        active_users_trend,
        stickiness,
        segment_stickiness,
        relative_stickiness,
        seats,
        seat_utilisation,
        key_features_used_28d,
        feature_breadth,
        advanced_features_used_28d,
        usage_28d,
        usage_prior_28d,
        usage_trend,
        feature_depth,
        usage_z,
        top_user_share,
        ttv_days,
        ttv_running_days,
        milestones_done,
        milestones_total,
        account_age_days,
        days_in_stage,
        sticky_actions,
        open_tickets,
        oldest_open_ticket_days,
        oldest_unanswered_ticket_days,
        open_ticket_age_days,
        open_escalations,
        escalations_90d,
        tickets_opened_90d,
        nps,
        csat,
        last_nps,
        days_since_last_nps,
        champion_days_silent,
        decision_maker_days_silent,
        champions_removed_28d,
        new_departments_28d,
        mrr,
        days_to_renewal,
        days_to_discount_end,
        downgrades_28d,
        errors_7d,
        errors_usual_7d,
        errors_trend,
        empty_searches_28d,
        engagements_28d,
        usual_gap_workdays,
        onboarding_state,
        unused_key_features,
        milestones,
    } = evaluation.metrics.clone();
    let milestones: Vec<Milestone> = milestones
        .into_iter()
        .map(|progress| {
            let state = progress.state.as_str().to_string();
            (progress.name, state, progress.reached_at, progress.dwell_days)
        })
        .collect();
    MetricsRow {
        account_id: account_id.to_string(),
        evaluated_at: evaluation.at,
        version,
        watermark: coverage.watermark,
        cut_offset: coverage.cut_offset,
        is_daily: is_daily(evaluation.at),
        logins_1d,
        logins_7d,
        logins_28d,
        logins_90d,
        logins_prior_28d,
        logins_trend,
        logins_week_ratio,
        logins_per_user_28d,
        days_since_last_login,
        days_since_last_active,
        workdays_since_last_login,
        workdays_since_last_active,
        active_users_1d,
        active_users_7d,
        active_users_28d,
        active_users_prior_28d,
        active_users_trend,
        stickiness,
        segment_stickiness,
        relative_stickiness,
        seats,
        seat_utilisation,
        key_features_used_28d,
        feature_breadth,
        advanced_features_used_28d,
        usage_28d,
        usage_prior_28d,
        usage_trend,
        feature_depth,
        usage_z,
        top_user_share,
        ttv_days,
        ttv_running_days,
        milestones_done,
        milestones_total,
        account_age_days,
        days_in_stage,
        sticky_actions,
        open_tickets,
        oldest_open_ticket_days,
        oldest_unanswered_ticket_days,
        open_ticket_age_days,
        open_escalations,
        escalations_90d,
        tickets_opened_90d,
        nps,
        csat,
        last_nps,
        days_since_last_nps,
        champion_days_silent,
        decision_maker_days_silent,
        champions_removed_28d,
        new_departments_28d,
        mrr,
        days_to_renewal,
        days_to_discount_end,
        downgrades_28d,
        errors_7d,
        errors_usual_7d,
        errors_trend,
        empty_searches_28d,
        engagements_28d,
        usual_gap_workdays,
        onboarding_state: onboarding_state.map(|state| state.as_str().to_string()),
        unused_key_features,
        milestones,
    }
}

pub(crate) fn scores(
    account_id: &str,
    evaluation: &Evaluation,
    coverage: Coverage,
    version: u64,
    model_hash: &str,
) -> ScoresRow {
    let Scores {
        health,
        ttv,
        activity,
        adoption,
        sentiment,
        support,
        churn_risk,
        expansion,
        confidence,
        band,
        drivers,
    } = &evaluation.scores;
    let drivers: Vec<Driver> = drivers
        .iter()
        .map(|driver| {
            let (score, input) = (driver.score.to_string(), driver.input.to_string());
            (score, input, driver.value, driver.baseline, driver.points)
        })
        .collect();
    ScoresRow {
        account_id: account_id.to_string(),
        evaluated_at: evaluation.at,
        version,
        watermark: coverage.watermark,
        cut_offset: coverage.cut_offset,
        is_daily: is_daily(evaluation.at),
        health: *health,
        ttv: *ttv,
        activity: *activity,
        adoption: *adoption,
        sentiment: *sentiment,
        support: *support,
        churn_risk: *churn_risk,
        expansion: *expansion,
        confidence: *confidence,
        band: band.as_str().to_string(),
        stage: evaluation.stage.as_str().to_string(),
        tier: evaluation.tier.as_str().to_string(),
        drivers,
        model_hash: model_hash.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use event::Event;
    use health::{HealthConfig, MilestoneProgress, OnboardingState, Stage, Tier};

    use super::*;

    fn evaluation(at: i64) -> Evaluation {
        let driver = health::Driver {
            score: "health",
            input: "usage_trend",
            value: Some(0.5),
            baseline: Some(1.0),
            points: -6.0,
        };
        Evaluation {
            at,
            metrics: Metrics {
                nps: Some(-20.0),
                unused_key_features: vec!["export".into()],
                milestones: vec![MilestoneProgress {
                    name: "invited".into(),
                    state: OnboardingState::OnTrack,
                    reached_at: None,
                    dwell_days: Some(3.5),
                }],
                ..Metrics::default()
            },
            scores: Scores {
                sentiment: Some(40.0),
                drivers: vec![driver],
                ..Scores::default()
            },
            stage: Stage::Trial,
            tier: Tier::Tech,
            episodes_moved: false,
        }
    }

    #[test]
    fn a_row_tells_what_was_found_and_what_it_covers() {
        let coverage = Coverage {
            watermark: 7,
            cut_offset: 41,
        };
        let row = metrics("acme", &evaluation(20 * DAY_MS), coverage, 9);
        assert_eq!((row.watermark, row.cut_offset, row.is_daily), (7, 41, true));
        assert_eq!((row.nps, row.csat), (Some(-20.0), None));
        assert_eq!(row.unused_key_features, ["export"]);
        let milestone = ("invited".to_string(), "on_track".to_string(), None, Some(3.5));
        assert_eq!(row.milestones, [milestone]);

        let row = scores("acme", &evaluation(20 * DAY_MS + 1), coverage, 9, "hash");
        assert_eq!((row.watermark, row.cut_offset, row.is_daily), (7, 41, false));
        assert_eq!((row.sentiment, row.support), (Some(40.0), None));
        let driver = (
            "health".to_string(),
            "usage_trend".to_string(),
            Some(0.5),
            Some(1.0),
            -6.0,
        );
        assert_eq!(row.drivers, [driver]);
        assert_eq!((row.stage.as_str(), row.tier.as_str()), ("trial", "tech"));
    }

    #[test]
    fn the_stage_was_entered_with_the_last_of_its_history() {
        let model = Model::new(HealthConfig::default()).unwrap();
        let mut account = Account::new("acme");
        let row = super::account(&account, &model, 1, 9);
        assert_eq!((row.stage_since, row.stage_history), (None, Vec::new()));
        for (offset, (name, at)) in [("trial_started", 1_000), ("started", 5_000)]
            .into_iter()
            .enumerate()
        {
            let event = Event {
                event_id: name.into(),
                account_id: "acme".into(),
                user_id: None,
                event_type: EventType::Contract,
                name: name.into(),
                occurred_at: at,
                received_at: at,
                source: String::new(),
                properties: String::new(),
            };
            account.fold(&event, offset as i64, &model);
        }
        let row = super::account(&account, &model, 1, 9_000);
        assert_eq!(row.stage_since, Some(5_000));
        assert_eq!(
            row.stage_history,
            [("trial".to_string(), 1_000), ("onboarding".to_string(), 5_000)]
        );
    }
}
