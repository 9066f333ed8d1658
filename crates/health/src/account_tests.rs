use event::{Event, EventType};
use proptest::prelude::*;

use super::*;
use crate::config::{HealthConfig, MilestoneConfig};
use crate::evaluate::SegmentBaselines;

pub(crate) const DAY: i64 = 86_400_000;
/// 2026-03-02T00:00:00Z, a Monday.
pub(crate) const MONDAY: i64 = 1_772_409_600_000;

pub(crate) fn model() -> Model {
    Model::new(HealthConfig {
        key_features: vec!["report".into(), "export".into(), "share".into(), "alert".into()],
        milestones: vec![
            MilestoneConfig {
                name: "invited".into(),
                expected_days: 3.0,
            },
            MilestoneConfig {
                name: "first_value".into(),
                expected_days: 10.0,
            },
        ],
        ..HealthConfig::default()
    })
    .unwrap()
}

pub(crate) fn event(
    id: &str,
    event_type: EventType,
    name: &str,
    user: &str,
    at: i64,
    properties: &str,
) -> Event {
    Event {
        event_id: id.into(),
        account_id: "acme".into(),
        user_id: (!user.is_empty()).then(|| user.to_string()),
        event_type,
        name: name.into(),
        occurred_at: at,
        received_at: at + 1000,
        source: "test".into(),
        properties: properties.into(),
    }
}

/// Folds what has not been folded, at ascending offsets.
pub(crate) fn fold_all(account: &mut Account, events: &[Event], model: &Model) {
    for event in events {
        let offset = account.offset() + 1;
        match account.recall(event) {
            Recall::New => {
                account.fold(event, offset, model);
            }
            Recall::Known => account.pass(offset),
            Recall::Forgotten => panic!("{} lies behind the horizon", event.event_id),
        }
    }
}

#[test]
fn a_replayed_event_is_folded_once() {
    let model = model();
    let mut account = Account::new("acme");
    let login = event("e1", EventType::Login, "", "ann", MONDAY, "");
    fold_all(&mut account, &[login.clone(), login], &model);
    assert_eq!(
        account
            .metrics(MONDAY, &SegmentBaselines::default(), &model)
            .logins_28d,
        1
    );
    assert_eq!(account.offset(), 1, "the repeat was passed");
}

#[test]
fn an_event_counts_on_the_local_day_of_the_account() {
    let model = model();
    let mut account = Account::new("acme");
    // 15:30 UTC on Monday is 00:30 on Tuesday in Tokyo.
    let events = [
        event(
            "e0",
            EventType::Account,
            "",
            "",
            MONDAY,
            r#"{"timezone":"Asia/Tokyo"}"#,
        ),
        event(
            "e1",
            EventType::Login,
            "",
            "ann",
            MONDAY + 15 * 3_600_000 + 1_800_000,
            "",
        ),
    ];
    fold_all(&mut account, &events, &model);
    let tuesday = (MONDAY / DAY) as i32 + 1;
    assert_eq!(account.daily(tuesday).unwrap().logins, 1);
    assert_eq!(
        account.daily(tuesday - 1).unwrap().logins,
        0,
        "only the account event"
    );
}

#[test]
fn a_time_zone_that_is_told_late_has_the_days_counted_anew() {
    let model = model();
    let half_past_midnight = MONDAY + 15 * 3_600_000 + 1_800_000;
    let events = [
        event("e1", EventType::Login, "", "ann", half_past_midnight, ""),
        event(
            "e2",
            EventType::Feature,
            "report",
            "bob",
            half_past_midnight + 1,
            r#"{"count":4}"#,
        ),
        event(
            "e0",
            EventType::Account,
            "",
            "",
            MONDAY,
            r#"{"timezone":"Asia/Tokyo"}"#,
        ),
    ];
    let mut late = Account::new("acme");
    fold_all(&mut late, &events, &model);
    assert!(late.must_recount());
    let mut saved = Account::decode("acme", &late.encode(&model)).unwrap();
    assert!(saved.must_recount(), "it is not forgotten over a restart");
    saved.recount(&events, &model);
    assert!(!saved.must_recount());

    let mut early = Account::new("acme");
    fold_all(
        &mut early,
        &[events[2].clone(), events[0].clone(), events[1].clone()],
        &model,
    );
    assert!(!early.must_recount());
    let (monday, tuesday) = ((MONDAY / DAY) as i32, (MONDAY / DAY) as i32 + 1);
    for day in [monday, tuesday] {
        assert_eq!(saved.daily(day), early.daily(day));
    }
    assert_eq!(
        saved.daily(tuesday).unwrap().feature_uses,
        [("report".to_string(), 4)]
    );
    assert_eq!(
        saved.day_bounds(tuesday, &model),
        (MONDAY + 15 * 3_600_000, MONDAY + 39 * 3_600_000)
    );
}

#[test]
fn days_of_23_and_25_hours_begin_at_local_midnight() {
    let model = Model::new(HealthConfig {
        timezone: "Europe/Berlin".into(),
        ..HealthConfig::default()
    })
    .unwrap();
    let account = Account::new("acme");
    // 2026-03-29 has 23 hours in Berlin, 2026-10-25 has 25.
    let spring = 1_774_738_800_000; // 2026-03-28T23:00Z = 2026-03-29T00:00+01:00
    let day = account.local_day(spring, &model);
    assert_eq!(account.local_day(spring - 1, &model), day - 1);
    assert_eq!(account.local_day(spring + 23 * 3_600_000 - 1, &model), day);
    assert_eq!(account.local_day(spring + 23 * 3_600_000, &model), day + 1);
    let autumn = 1_792_879_200_000; // 2026-10-24T22:00Z = 2026-10-25T00:00+02:00
    let day = account.local_day(autumn, &model);
    assert_eq!(account.local_day(autumn + 25 * 3_600_000 - 1, &model), day);
    assert_eq!(account.local_day(autumn + 25 * 3_600_000, &model), day + 1);
    assert_eq!(account.day_bounds(day, &model), (autumn, autumn + 25 * 3_600_000));
}

#[test]
fn a_late_event_is_counted_on_its_day_up_to_ninety_days_back() {
    let model = model();
    let mut account = Account::new("acme");
    account.fold(&event("new", EventType::Login, "", "ann", MONDAY, ""), 0, &model);
    let late = account.fold(
        &event("late", EventType::Login, "", "ann", MONDAY - 90 * DAY, ""),
        1,
        &model,
    );
    assert_eq!((late.day, late.is_kept), (Some((MONDAY / DAY) as i32 - 90), true));
    let too_late = account.fold(
        &event("old", EventType::Login, "", "ann", MONDAY - 120 * DAY, ""),
        2,
        &model,
    );
    assert_eq!(
        (too_late.day, too_late.is_kept),
        (Some((MONDAY / DAY) as i32 - 120), false)
    );
    assert_eq!(
        account.profile().first_event_at,
        Some(MONDAY - 120 * DAY),
        "it still says when all began"
    );
}

#[test]
fn the_newest_statement_holds_whatever_comes_last() {
    let model = model();
    let mut account = Account::new("acme");
    let events = [
        event(
            "e2",
            EventType::Account,
            "",
            "",
            MONDAY + 10,
            r#"{"plan":"pro","seats":20}"#,
        ),
        event(
            "e1",
            EventType::Account,
            "",
            "",
            MONDAY,
            r#"{"plan":"basic","owner":"sato"}"#,
        ),
        event(
            "e3",
            EventType::Contract,
            "started",
            "",
            MONDAY,
            r#"{"mrr":900,"currency":"JPY"}"#,
        ),
        event("e4", EventType::Contract, "cancelled", "", MONDAY + 5, ""),
        event(
            "e5",
            EventType::Contract,
            "renewed",
            "",
            MONDAY + 3,
            r#"{"mrr":950}"#,
        ),
    ];
    fold_all(&mut account, &events, &model);
    let profile = account.profile();
    assert_eq!(profile.plan.as_deref(), Some("pro"));
    assert_eq!(profile.owner.as_deref(), Some("sato"));
    assert_eq!(
        profile.churned_at,
        Some(MONDAY + 5),
        "the renewal was before the cancellation"
    );
    assert_eq!(
        account
            .metrics(MONDAY + 10, &SegmentBaselines::default(), &model)
            .mrr,
        Some(950.0)
    );
}

#[test]
fn a_state_that_is_not_whole_is_refused_and_never_taken_for_an_empty_one() {
    let model = model();
    let mut account = Account::new("acme");
    fold_all(
        &mut account,
        &[event("e1", EventType::Feature, "report", "ann", MONDAY, "")],
        &model,
    );
    let bytes = account.encode(&model);
    assert!(matches!(
        Account::decode("acme", &bytes[..bytes.len() - 3]),
        Err(StateError::Corrupt { .. })
    ));
    let mut newer = account.clone();
    newer.state.layout = LAYOUT + 1;
    assert!(matches!(
        Account::decode("acme", &newer.encode(&model)),
        Err(StateError::Newer { found: 3, .. })
    ));
    let mut loose = account.clone();
    loose.days.day_mut((MONDAY / DAY) as i32).unwrap().add_user(7, 1);
    assert!(matches!(
        Account::decode("acme", &loose.encode(&model)),
        Err(StateError::Corrupt { .. })
    ));
}

/// Any event of a week of a small account.
#[test]
fn a_state_that_no_events_can_have_made_is_refused() {
    let model = model();
    let mut account = Account::new("acme");
    let ticket = r#"{"ticket_id":"T"}"#;
    let events = [
        event("e1", EventType::Login, "", "ann", MONDAY, ""),
        event("e2", EventType::Ticket, "opened", "ann", MONDAY, ticket),
        event("e3", EventType::Contract, "started", "", MONDAY, r#"{"mrr":10}"#),
    ];
    fold_all(&mut account, &events, &model);
    type Harm = fn(&mut AccountState);
    let harms: [(&str, Harm); 10] = [
        ("offset", |state| state.offset = i64::MAX),
        ("offset", |state| state.offset = -2),
        ("time", |state| state.last_event_at = Some(i64::MAX)),
        ("time", |state| state.first_event_at = Some(MONDAY + DAY)),
        ("time", |state| state.daily_until = Some(i64::MAX)),
        ("users", |state| state.people.seen[0].last_login_at = i64::MIN),
        ("tickets", |state| state.tickets.push(state.tickets[0].clone())),
        ("contract", |state| state.contract.started_at = Some(i64::MAX)),
        ("contract", |state| {
            let mrr = state.contract.mrr.as_mut();
            mrr.unwrap().value = f64::NAN;
        }),
        ("episodes", |state| {
            state.episodes = vec![Default::default(), Default::default()];
        }),
    ];
    for (named, harm) in harms {
        let mut harmed = account.clone();
        harm(&mut harmed.state);
        let error = Account::decode("acme", &harmed.encode(&model)).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}

pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let kinds = prop_oneof![
        Just((EventType::Login, "", "")),
        Just((EventType::Feature, "report", r#"{"count":3}"#)),
        Just((EventType::Feature, "export", "")),
        Just((EventType::Milestone, "invited", "")),
        Just((EventType::Account, "", r#"{"plan":"pro","seats":9}"#)),
        Just((EventType::Account, "", r#"{"plan":"basic","tier":"high"}"#)),
        Just((EventType::User, "", r#"{"role":"champion"}"#)),
        Just((EventType::Contract, "started", r#"{"mrr":100}"#)),
        Just((EventType::Contract, "cancelled", "")),
        Just((EventType::Ticket, "opened", r#"{"ticket_id":"t1"}"#)),
        Just((EventType::Ticket, "resolved", r#"{"ticket_id":"t1"}"#)),
    ];
    (
        0u32..60,
        kinds,
        prop_oneof![Just("ann"), Just("bob"), Just("")],
        0i64..20 * 3600,
    )
        .prop_map(|(id, (event_type, name, properties), user, second)| {
            event(
                &format!("e{id}"),
                event_type,
                name,
                user,
                MONDAY + second * 1000,
                properties,
            )
        })
}

/// One event for each id, since an id stands for one event.
pub(crate) fn distinct(events: Vec<Event>) -> Vec<Event> {
    let mut seen = std::collections::HashSet::new();
    events
        .into_iter()
        .filter(|event| seen.insert(event.event_id.clone()))
        .collect()
}

pub(crate) fn numbers_of(
    account: &Account,
    model: &Model,
) -> (crate::Metrics, crate::Profile, Vec<UserSummary>, Vec<Daily>) {
    let mut users: Vec<UserSummary> = account.users().collect();
    users.sort_by(|one, other| one.user_id.cmp(&other.user_id));
    let mut dailies: Vec<Daily> = (0..40_000).filter_map(|day| account.daily(day)).collect();
    for daily in &mut dailies {
        daily.feature_uses.sort();
    }
    (
        account.metrics(MONDAY + DAY, &SegmentBaselines::default(), model),
        account.profile(),
        users,
        dailies,
    )
}

proptest! {
    #[test]
    fn the_order_of_events_and_their_repeats_change_nothing(
        events in prop::collection::vec(any_event(), 1..40).prop_map(distinct),
        seed in any::<u64>(),
    ) {
        let model = model();
        let mut straight = Account::new("acme");
        fold_all(&mut straight, &events, &model);
        let mut shuffled: Vec<Event> = events.iter().chain(events.iter().step_by(3)).cloned().collect();
        shuffled.sort_by_key(|event| xxhash_rust::xxh3::xxh3_64_with_seed(event.event_id.as_bytes(), seed));
        let mut other = Account::new("acme");
        fold_all(&mut other, &shuffled, &model);
        prop_assert_eq!(numbers_of(&straight, &model), numbers_of(&other, &model));
    }

    #[test]
    fn going_on_from_a_saved_state_is_as_if_nothing_had_stopped(
        events in prop::collection::vec(any_event(), 1..40).prop_map(distinct),
        cut in 0usize..40,
    ) {
        let model = model();
        let cut = cut.min(events.len());
        let mut whole = Account::new("acme");
        fold_all(&mut whole, &events, &model);
        let mut first = Account::new("acme");
        fold_all(&mut first, &events[..cut], &model);
        let mut second = Account::decode("acme", &first.encode(&model)).unwrap();
        fold_all(&mut second, &events[cut..], &model);
        prop_assert_eq!(second.encode(&model), whole.encode(&model));
    }

    #[test]
    fn bytes_that_are_no_state_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let model = model();
        if let Ok(mut account) = Account::decode("acme", &bytes) {
            account.evaluate(MONDAY, crate::Mode::Live, 0, &SegmentBaselines::default(), &model);
        }
    }
}

/// What layout 1 saved: the same tags, with the days, names and tickets of its own.
#[test]
fn a_state_of_the_first_layout_keeps_what_must_not_be_lost_and_asks_to_be_folded_again() {
    use prost::encoding::{WireType, encode_key, encode_varint};

    let model = model();
    let events = [
        event("e1", EventType::Login, "", "ann", MONDAY, ""),
        event("e2", EventType::Feature, "report", "ann", MONDAY + 1, ""),
    ];
    let mut whole = Account::new("acme");
    fold_all(&mut whole, &events, &model);
    let mut old = AccountState {
        layout: 1,
        offset: 1,
        ids: whole.state.ids.clone(),
        last_event_at: Some(MONDAY + 1),
        ..AccountState::default()
    }
    .encode_to_vec();
    // A day, as layout 1 had it: tag 4, a message with its number.
    encode_key(4, WireType::LengthDelimited, &mut old);
    encode_varint(3, &mut old);
    old.extend([8, 0xb0, 0x02]);
    let mut account = Account::decode("acme", &old).unwrap();
    assert!(account.must_refold());
    assert_eq!(
        (account.offset(), account.recall(&events[0])),
        (1, Recall::Forgotten),
        "its id is looked up"
    );
    let unfolded = event("e3", EventType::Login, "", "bob", MONDAY + 2, "");
    let landed = events.iter().chain([&unfolded]).zip(0..);
    account.refold(landed, &model);
    assert!(!account.must_refold());
    assert_eq!(
        numbers_of(&account, &model),
        numbers_of(&whole, &model),
        "what lies behind its offset waits"
    );
    assert_eq!(
        account.history_from(MONDAY + DAY),
        Some(MONDAY),
        "its rows are stated anew"
    );
}

#[test]
fn a_typical_account_takes_at_most_four_kilobytes() {
    let model = model();
    let mut account = Account::new("account-00017");
    let mut id = 0;
    let mut tell = |account: &mut Account, event_type, name: &str, user: &str, at, properties: &str| {
        id += 1;
        let event = event(&format!("e{id}"), event_type, name, user, at, properties);
        account.fold(&event, id, &model);
    };
    let attributes = r#"{"name":"Acme K.K.","plan":"team","segment":"smb","timezone":"UTC","owner":"sato"}"#;
    tell(&mut account, EventType::Account, "", "", MONDAY, attributes);
    let contract = r#"{"mrr":900,"currency":"JPY","ends_at":"2027-03-01","seats":20}"#;
    tell(&mut account, EventType::Contract, "started", "", MONDAY, contract);
    for milestone in ["invited", "first_value", "integration_connected"] {
        tell(
            &mut account,
            EventType::Milestone,
            milestone,
            "user-0",
            MONDAY,
            "",
        );
    }
    // Ten users, twenty features, twenty events on each of the working days of ninety.
    for day in (0..90).filter(|day| day % 7 < 5) {
        for n in 0..20 {
            let at = MONDAY + day * DAY + n * 1_800_000;
            let user = format!("user-{}", (day * 3 + n) % 10);
            if n < 6 {
                tell(&mut account, EventType::Login, "", &user, at, "");
            } else {
                let feature = format!("feature.{:02}", (day * 7 + n * n) % 20);
                tell(&mut account, EventType::Feature, &feature, &user, at, "");
            }
        }
    }
    let saved = account.encode(&model);
    account.forget_ids(&model);
    account.encode(&model);
    let bytes = account.memory_bytes();
    assert!(bytes <= 4096, "{bytes} bytes in memory, {} saved", saved.len());
}
