//! Saved states of accounts, and accounts that grow from any events.
//!
//! A state that was saved reads back as the account that it was. Bytes that are no state are refused; those
//! that are taken for one make an account that can be looked at, evaluated and lived on with.

use std::sync::OnceLock;

use event::Event;
use health::{Account, HealthConfig, MilestoneConfig, Mode, Model, SegmentBaselines};

use crate::decode::{RECEIVED_AT, strict};
use crate::wire::kind_of;

const DAY_MS: i64 = 86_400_000;

/// Bytes of memory that a state may take for one of its own, and those that every account takes.
const MEMORY_FACTOR: usize = 40;
const MEMORY_BASE: usize = 4096;

/// The saved state of an account.
pub fn account_state(data: &[u8]) -> String {
    let mut account = match Account::decode("acme", data) {
        Ok(account) => account,
        Err(error) => {
            assert!(
                error.to_string().contains("\"acme\""),
                "names no account: {error}"
            );
            return kind_of(&error.to_string().replace("\"acme\"", "acme"));
        }
    };
    let most = MEMORY_BASE + MEMORY_FACTOR * data.len();
    let memory = account.memory_bytes();
    assert!(
        memory <= most,
        "{memory} bytes of memory for a state of {}",
        data.len()
    );
    let must_refold = account.must_refold();
    live_on(&mut account, model());
    format!("read, must be folded again: {must_refold}")
}

/// An account's life: an event a line, in the native form; what is refused did not happen. A line `evaluate`
/// evaluates the account an hour after the last event.
pub fn account_life(data: &[u8]) -> String {
    let mut account = Account::new("acme");
    let mut folded = 0;
    let mut evaluated = 0;
    for (line, offset) in data.split(|byte| *byte == b'\n').zip(0..) {
        if line == b"evaluate" {
            let at = account.last_event_at().unwrap_or(RECEIVED_AT) + 3_600_000;
            account.evaluate(at, Mode::Live, at, &SegmentBaselines::default(), model());
            evaluated += 1;
        } else if let Ok(event) = strict().decode(line, &[], RECEIVED_AT, "usage.events") {
            account.fold(&event, offset, model());
            folded += 1;
            if account.must_recount() {
                account.recount([&event], model());
            }
        }
    }
    live_on(&mut account, model());
    format!("folded {} and evaluated {}", folded.min(3), evaluated.min(1))
}

/// Does with an account whatever the worker and the API may do with one.
pub(crate) fn live_on(account: &mut Account, model: &Model) {
    let again = saved_and_read(account, model);
    look_at(account, &again, model);

    let midnight = RECEIVED_AT - RECEIVED_AT.rem_euclid(DAY_MS) + DAY_MS;
    let segments = SegmentBaselines::default();
    account.evaluate(RECEIVED_AT, Mode::Lagging, 0, &segments, model);
    account.begin_history(midnight);
    account.evaluate(midnight, Mode::Live, RECEIVED_AT, &segments, model);
    let now = account.assess(midnight + 40 * DAY_MS, &segments, model);
    account.retract(|_, _| Some(false), &now, 0, model);
    account.adopt_episodes(&again);
    account.history_stated();

    for event in later_events() {
        account.recall(event);
        let folded = account.fold(event, account.offset().min(i64::MAX - 2) + 1, model);
        if let Some(user) = folded.user {
            account.user(user);
        }
        if let Some(day) = folded.day {
            account.daily(day);
        }
    }
    if account.must_recount() {
        account.recount(later_events(), model);
    }
    if account.must_refold() {
        account.refold(later_events().iter().zip(0..), model);
    }
    account.forget_ids(model);
    account.pass(i64::MAX - 1);
    account.clear_outbox();
    let again = saved_and_read(account, model);
    look_at(account, &again, model);
}

/// The account that is read of what is saved of `account`.
fn saved_and_read(account: &mut Account, model: &Model) -> Account {
    let saved = account.encode(model);
    let mut again = Account::decode(account.account_id(), &saved).expect("what was saved is a state");
    assert_eq!(
        again.encode(model),
        saved,
        "the state is another after it was read"
    );
    again
}

/// Everything that can be asked, of an account and of the one that was read of its state.
fn look_at(account: &Account, again: &Account, model: &Model) {
    let now = RECEIVED_AT;
    let segments = SegmentBaselines::default();
    assert_eq!(account.profile(), again.profile());
    assert!(account.users().eq(again.users()));
    assert_eq!(account.outbox(), again.outbox());
    assert!(account.open_episodes().eq(again.open_episodes()));
    assert_eq!(account.stage_history(now, model), again.stage_history(now, model));
    assert_eq!(account.history_from(now), again.history_from(now));
    let own = account.assess(now, &segments, model);
    // Debug text, because what is no number equals nothing.
    let others = again.assess(now, &segments, model);
    assert_eq!(format!("{own:?}"), format!("{others:?}"));
    for score in [own.scores.health, own.scores.activity, own.scores.expansion] {
        assert!(
            score.is_none_or(|score| (0.0..=100.0).contains(&score)),
            "{score:?}"
        );
    }
    assert!(
        own.scores
            .churn_risk
            .is_none_or(|risk| (0.0..=1.0).contains(&risk))
    );
    let Some((first, last)) = account.life(model) else {
        return;
    };
    assert!(first <= last);
    for day in [first, last, last.saturating_sub(1), last.saturating_sub(60)] {
        assert_eq!(account.daily(day), again.daily(day));
        let (begins, ends) = account.day_bounds(day, model);
        assert!(begins < ends, "day {day} is from {begins} to {ends}");
    }
}

/// Events that come to an account when its state has been read: one of now, one that is late, one that
/// moves it to another time zone.
fn later_events() -> &'static [Event] {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let lines = [
            r#"{"event_id":"later-1","account_id":"acme","user_id":"u-later","type":"feature","name":"report.export",
                "occurred_at":"2026-11-22T01:02:03Z","properties":{"count":3}}"#,
            r#"{"event_id":"later-2","account_id":"acme","user_id":"u-1","type":"login","occurred_at":"2026-09-20T01:02:03Z"}"#,
            r#"{"event_id":"later-3","account_id":"acme","type":"account","occurred_at":"2026-11-22T01:00:00Z",
                "properties":{"timezone":"America/St_Johns","seats":40}}"#,
            r#"{"event_id":"later-4","account_id":"acme","type":"ticket","name":"escalated",
                "occurred_at":"2026-11-21T23:00:00Z","properties":{"ticket_id":"T-later"}}"#,
        ];
        let decode = |line: &str| strict().decode(line.as_bytes(), &[], RECEIVED_AT, "usage.events");
        lines.map(|line| decode(line).expect("is an event")).to_vec()
    })
}

/// A model that follows everything.
pub(crate) fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let named = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let config = HealthConfig {
            timezone: "Asia/Tokyo".to_string(),
            key_features: named(&simulate::KEY_FEATURES),
            advanced_features: named(&simulate::ADVANCED_FEATURES),
            sticky_actions: named(&simulate::STICKY_ACTIONS),
            milestones: simulate::MILESTONES
                .iter()
                .zip([1.0, 7.0, 14.0, 21.0, 30.0])
                .map(|(name, expected_days)| MilestoneConfig {
                    name: name.to_string(),
                    expected_days,
                })
                .collect(),
            ..HealthConfig::default()
        };
        Model::new(config).expect("the model holds")
    })
}
