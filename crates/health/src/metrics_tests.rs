use event::EventType;

use super::*;
use crate::account::tests::{DAY, MONDAY, event, fold_all, model};
use crate::evaluate::SegmentBaselines;

/// Two users over nine weeks. Ann logs in and runs `report` twice every day of days 0–27 (28 days);
/// on days 28–55 she comes every other day (14 days) and uses it once; Bob logs in on day 55 only.
fn nine_weeks() -> Vec<event::Event> {
    let mut events = Vec::new();
    for day in 0..28 {
        let at = MONDAY + day * DAY;
        events.push(event(&format!("l{day}"), EventType::Login, "", "ann", at, ""));
        events.push(event(
            &format!("f{day}"),
            EventType::Feature,
            "report",
            "ann",
            at + 1,
            r#"{"count":2}"#,
        ));
    }
    for day in (28..56).step_by(2) {
        let at = MONDAY + day * DAY;
        events.push(event(&format!("l{day}"), EventType::Login, "", "ann", at, ""));
        events.push(event(
            &format!("f{day}"),
            EventType::Feature,
            "report",
            "ann",
            at + 1,
            "",
        ));
    }
    events.push(event("bob", EventType::Login, "", "bob", MONDAY + 55 * DAY, ""));
    events
}

#[test]
fn the_windows_hold_the_day_of_the_evaluation_and_those_before() {
    let model = model();
    let mut account = Account::new("acme");
    fold_all(&mut account, &nine_weeks(), &model);
    // Evaluated on day 55: 28 days are 28..=55, 7 days are 49..=55.
    let metrics = account.metrics(MONDAY + 55 * DAY + 1000, &SegmentBaselines::default(), &model);
    assert_eq!(metrics.logins_1d, 1, "Bob's");
    assert_eq!(metrics.logins_7d, 4, "Ann on days 50, 52 and 54, Bob on 55");
    assert_eq!(metrics.logins_28d, 15);
    assert_eq!(metrics.logins_90d, 28 + 14 + 1);
    assert_eq!(
        (
            metrics.active_users_1d,
            metrics.active_users_7d,
            metrics.active_users_28d
        ),
        (1, 2, 2)
    );
    assert_eq!(metrics.usage_28d, 14);
    assert_eq!(
        metrics.usage_trend,
        Some(14.0 / 56.0),
        "28 days of two uses before"
    );
    assert_eq!(metrics.stickiness, Some(15.0 / 28.0 / 2.0), "15 user-days");
    assert_eq!(metrics.feature_depth, Some(7.0));
    assert_eq!(metrics.feature_breadth, Some(0.25));
    assert_eq!(metrics.unused_key_features, ["export", "share", "alert"]);
    assert_eq!(metrics.days_since_last_login, Some(0));
}

#[test]
fn a_trend_is_unknown_until_both_its_windows_lie_within_the_life() {
    let model = model();
    let mut account = Account::new("acme");
    fold_all(&mut account, &nine_weeks(), &model);
    assert_eq!(
        account
            .metrics(MONDAY + 54 * DAY, &SegmentBaselines::default(), &model)
            .usage_trend,
        None
    );
    assert!(
        account
            .metrics(MONDAY + 55 * DAY, &SegmentBaselines::default(), &model)
            .usage_trend
            .is_some()
    );
}

#[test]
fn silence_grows_with_the_clock_alone() {
    let model = model();
    let mut account = Account::new("acme");
    fold_all(&mut account, &nine_weeks(), &model);
    let metrics = account.metrics(MONDAY + 75 * DAY, &SegmentBaselines::default(), &model);
    assert_eq!(metrics.days_since_last_login, Some(20));
    assert_eq!(metrics.days_since_last_active, Some(20));
    assert_eq!(metrics.logins_7d, 0);
    assert_eq!(
        Account::new("new")
            .metrics(MONDAY, &SegmentBaselines::default(), &model)
            .days_since_last_login,
        None
    );
}

#[test]
fn time_to_value_runs_until_the_value_event_comes() {
    let model = model();
    let mut account = Account::new("acme");
    let start = event(
        "s",
        EventType::Contract,
        "started",
        "",
        MONDAY,
        r#"{"seats":4,"mrr":100}"#,
    );
    fold_all(&mut account, &[start], &model);
    let waiting = account.metrics(MONDAY + 5 * DAY, &SegmentBaselines::default(), &model);
    assert_eq!((waiting.ttv_days, waiting.ttv_running_days), (None, Some(5.0)));
    let value = event(
        "v",
        EventType::Milestone,
        "first_value",
        "ann",
        MONDAY + 6 * DAY,
        "",
    );
    fold_all(&mut account, &[value], &model);
    let reached = account.metrics(MONDAY + 9 * DAY, &SegmentBaselines::default(), &model);
    assert_eq!((reached.ttv_days, reached.ttv_running_days), (Some(6.0), None));
}

#[test]
fn an_account_may_have_a_value_event_of_its_own_even_one_it_had_before() {
    let model = model();
    let mut account = Account::new("acme");
    let events = [
        event("s", EventType::Contract, "started", "", MONDAY, ""),
        event("f", EventType::Feature, "export", "ann", MONDAY + 2 * DAY, ""),
        event(
            "a",
            EventType::Account,
            "",
            "",
            MONDAY + 3 * DAY,
            r#"{"value_event":"export"}"#,
        ),
    ];
    fold_all(&mut account, &events, &model);
    assert_eq!(
        account
            .metrics(MONDAY + 4 * DAY, &SegmentBaselines::default(), &model)
            .ttv_days,
        Some(2.0)
    );
}

#[test]
fn onboarding_goes_from_on_track_to_behind_to_stalled_and_to_done() {
    let model = model();
    let mut account = Account::new("acme");
    fold_all(
        &mut account,
        &[event("s", EventType::Contract, "started", "", MONDAY, "")],
        &model,
    );
    let state = |account: &Account, day: i64| {
        account
            .metrics(MONDAY + day * DAY, &SegmentBaselines::default(), &model)
            .onboarding_state
    };
    assert_eq!(state(&account, 3), Some(OnboardingState::OnTrack));
    assert_eq!(state(&account, 4), Some(OnboardingState::Behind));
    assert_eq!(
        state(&account, 17),
        Some(OnboardingState::Stalled),
        "14 days over the 3 expected"
    );
    let invited = event("i", EventType::Milestone, "invited", "", MONDAY + 16 * DAY, "");
    fold_all(&mut account, &[invited], &model);
    assert_eq!(
        state(&account, 17),
        Some(OnboardingState::Behind),
        "something moved"
    );
    let value = event(
        "v",
        EventType::Milestone,
        "first_value",
        "",
        MONDAY + 18 * DAY,
        "",
    );
    fold_all(&mut account, &[value], &model);
    assert_eq!(state(&account, 40), Some(OnboardingState::Done));
    assert_eq!(
        account
            .metrics(MONDAY + 40 * DAY, &SegmentBaselines::default(), &model)
            .milestones_done,
        Some(2)
    );
}

#[test]
fn a_ticket_is_open_until_it_is_resolved() {
    let model = model();
    let mut account = Account::new("acme");
    let ticket = |id: &str, name: &str, ticket: &str, day: i64| {
        event(
            id,
            EventType::Ticket,
            name,
            "",
            MONDAY + day * DAY,
            &format!(r#"{{"ticket_id":"{ticket}"}}"#),
        )
    };
    let events = [
        ticket("1", "opened", "a", 0),
        ticket("2", "opened", "b", 1),
        ticket("3", "resolved", "a", 2),
    ];
    fold_all(&mut account, &events, &model);
    let metrics = account.metrics(MONDAY + 4 * DAY, &SegmentBaselines::default(), &model);
    assert_eq!(
        (metrics.open_tickets, metrics.oldest_open_ticket_days),
        (1, Some(3.0))
    );
    fold_all(&mut account, &[ticket("4", "opened", "a", 3)], &model);
    assert_eq!(
        account
            .metrics(MONDAY + 4 * DAY, &SegmentBaselines::default(), &model)
            .open_tickets,
        2,
        "opened again"
    );
}
