//! What must hold of folding whatever the events: their order, their repeats, a stop in between and the
//! time zone change nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use event::{Event, EventType};
use health::{Account, Evaluation, HealthConfig, MilestoneConfig, Model, SegmentBaselines};
use proptest::prelude::*;

const DAY: i64 = 86_400_000;

/// Days on which something is special: 2028-02-25 before a leap day, 2026-03-20 and 2026-10-10 before
/// the clocks change in Europe and America, 2026-04-25 before Golden Week.
const BEGINS: [i64; 4] = [
    1_835_049_600_000,
    1_773_964_800_000,
    1_791_590_400_000,
    1_777_075_200_000,
];

const ZONES: [&str; 6] = [
    "Pacific/Kiritimati",
    "Etc/GMT+12",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
];

fn model() -> Model {
    let milestone = |name: &str, expected_days| MilestoneConfig {
        name: name.into(),
        expected_days,
    };
    Model::new(HealthConfig {
        key_features: vec!["report".into(), "export".into(), "share".into()],
        advanced_features: vec!["automate".into()],
        milestones: vec![milestone("invited", 3.0), milestone("first_value", 10.0)],
        ..HealthConfig::default()
    })
    .unwrap()
}

/// An event of any type, `second` seconds after the beginning.
fn any_event(begin: i64) -> impl Strategy<Value = Event> {
    let kinds = prop::sample::select(vec![
        (EventType::Login, "", ""),
        (EventType::Feature, "report", r#"{"count":3}"#),
        (EventType::Feature, "export", ""),
        (EventType::Feature, "automate", r#"{"count":20}"#),
        (EventType::Milestone, "invited", ""),
        (EventType::Milestone, "first_value", ""),
        (
            EventType::Account,
            "",
            r#"{"plan":"pro","seats":9,"segment":"smb"}"#,
        ),
        (
            EventType::Account,
            "",
            r#"{"plan":"basic","signed_up_at":"2026-01-05"}"#,
        ),
        (EventType::User, "", r#"{"role":"champion","department":"sales"}"#),
        (
            EventType::User,
            "",
            r#"{"role":"decision_maker","department":"legal"}"#,
        ),
        (EventType::User, "", r#"{"removed":true}"#),
        (EventType::Contract, "trial_started", ""),
        (
            EventType::Contract,
            "started",
            r#"{"mrr":100,"ends_at":"2027-02-28","discount_ends_at":"2026-12-01"}"#,
        ),
        (EventType::Contract, "upgraded", r#"{"mrr":200,"currency":"JPY"}"#),
        (EventType::Contract, "option_removed", ""),
        (EventType::Contract, "cancelled", ""),
        (EventType::Ticket, "opened", r#"{"ticket_id":"t1"}"#),
        (EventType::Ticket, "escalated", r#"{"ticket_id":"t1"}"#),
        (EventType::Ticket, "replied", r#"{"ticket_id":"t1"}"#),
        (EventType::Ticket, "resolved", r#"{"ticket_id":"t1"}"#),
        (EventType::Survey, "nps", r#"{"score":9}"#),
        (EventType::Survey, "nps", r#"{"score":3}"#),
        (EventType::Survey, "csat", r#"{"score":4}"#),
        (EventType::Engagement, "help_search", r#"{"results":0}"#),
        (EventType::Error, "timeout", ""),
    ]);
    let users = prop::sample::select(vec!["ann", "bob", "carl", ""]);
    (0_u32..400, kinds, users, 0_i64..85 * 86_400).prop_map(move |(id, kind, user, second)| {
        let (event_type, name, properties) = kind;
        let at = begin + second * 1000;
        Event {
            event_id: format!("e{id}"),
            account_id: "acme".into(),
            user_id: (!user.is_empty()).then(|| user.to_string()),
            event_type,
            name: name.into(),
            occurred_at: at,
            // One in some has a clock that is ahead.
            received_at: if id % 17 == 0 { at - 3_600_000 } else { at + 500 },
            source: "test".into(),
            properties: properties.into(),
        }
    })
}

/// A life of one to two hundred events in a time zone that is told somewhere among them.
fn any_life() -> impl Strategy<Value = (i64, Vec<Event>)> {
    (
        prop::sample::select(BEGINS.to_vec()),
        prop::sample::select(ZONES.to_vec()),
    )
        .prop_flat_map(|(begin, zone)| {
            let told = Event {
                event_id: "zone".into(),
                account_id: "acme".into(),
                user_id: None,
                event_type: EventType::Account,
                name: String::new(),
                occurred_at: begin + 40 * DAY,
                received_at: begin + 40 * DAY,
                source: "test".into(),
                properties: format!(r#"{{"timezone":"{zone}"}}"#),
            };
            let events = prop::collection::vec(any_event(begin), 1..200);
            (Just(begin), events, any::<prop::sample::Index>()).prop_map(move |(begin, mut events, place)| {
                let mut seen = HashSet::new();
                events.retain(|event| seen.insert(event.event_id.clone()));
                events.insert(place.index(events.len() + 1), told.clone());
                (begin, events)
            })
        })
}

/// Folds what has not been folded, as the worker does: days that were counted in another zone are
/// counted anew in the end.
fn lived(mut account: Account, events: &[Event], before: &[Event], model: &Model) -> Account {
    let mut folded: HashSet<&str> = before.iter().map(|event| event.event_id.as_str()).collect();
    for event in events {
        if folded.insert(&event.event_id) {
            account.fold(event, account.offset() + 1, model);
        }
    }
    if account.must_recount() {
        let all: Vec<&Event> = before.iter().chain(events).collect();
        let mut seen = HashSet::new();
        let distinct = all.into_iter().filter(|event| seen.insert(&event.event_id));
        account.recount(distinct, model);
    }
    account
}

fn found(account: &Account, begin: i64, model: &Model) -> Vec<Evaluation> {
    let segments = SegmentBaselines {
        stickiness: [("smb".to_string(), 0.3)].into(),
    };
    let instants = [85 * DAY, 85 * DAY + DAY / 3, 89 * DAY];
    instants
        .map(|after| account.assess(begin + after, &segments, model))
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_order_and_any_repeats_give_the_same_numbers((begin, events) in any_life(), seed in any::<u64>()) {
        let model = model();
        let straight = lived(Account::new("acme"), &events, &[], &model);
        let mut shuffled: Vec<Event> = events.iter().chain(events.iter().step_by(3)).cloned().collect();
        // Sorted by something that has nothing to do with time.
        shuffled.sort_by_key(|event| {
            let number: u64 = event.event_id.bytes().map(u64::from).sum::<u64>() + event.occurred_at as u64;
            number.wrapping_mul(seed | 1)
        });
        let other = lived(Account::new("acme"), &shuffled, &[], &model);
        prop_assert_eq!(found(&straight, begin, &model), found(&other, begin, &model));
        prop_assert_eq!(straight.stage_history(begin + 89 * DAY, &model), other.stage_history(begin + 89 * DAY, &model));
    }

    #[test]
    fn a_run_that_stops_anywhere_goes_on_from_its_saved_state(
        (begin, events) in any_life(), cut in any::<prop::sample::Index>(),
    ) {
        let model = model();
        let whole = lived(Account::new("acme"), &events, &[], &model);
        let (before, after) = events.split_at(cut.index(events.len() + 1));
        let mut first = lived(Account::new("acme"), before, &[], &model);
        let saved = first.encode(&model);
        let second = Account::decode("acme", &saved).unwrap();
        prop_assert_eq!(found(&first, begin, &model), found(&second, begin, &model), "what was saved is what is read");
        let second = lived(second, after, before, &model);
        prop_assert_eq!(found(&whole, begin, &model), found(&second, begin, &model));
    }

    /// The replay of the events in the order in which they happened, which states histories.
    #[test]
    fn lived_again_in_order_it_comes_to_the_same((begin, events) in any_life()) {
        let model = model();
        let whole = lived(Account::new("acme"), &events, &[], &model);
        let segments = SegmentBaselines { stickiness: [("smb".to_string(), 0.3)].into() };
        let mut ordered = events.clone();
        ordered.sort_by_key(Event::happened_at);
        let instants = vec![begin + 85 * DAY, begin + 85 * DAY + DAY / 3, begin + 89 * DAY];
        let mut replay = health::Replay::new("acme", instants, &segments, &model);
        let mut again = Vec::new();
        for (offset, event) in (0..).zip(ordered) {
            replay.take(event, offset, |found, _| again.push(found));
        }
        replay.finish(|found, _| again.push(found));
        for found in &mut again {
            found.episodes_moved = false;
        }
        prop_assert_eq!(found(&whole, begin, &model), again);
    }
}
