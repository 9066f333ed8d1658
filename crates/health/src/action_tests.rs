//! What people do about an account's alerts, from the event to what is told of it.

use event::{Event, EventType};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::account::Account;
use crate::account::tests::{DAY, MONDAY, any_event, distinct, event, fold_all, numbers_of};
use crate::config::{HealthConfig, Model};
use crate::episode::{Mode, ToldChange};
use crate::evaluate::SegmentBaselines;
use crate::history::Replay;
use crate::rules::{RuleConfig, RuleKind, Severity, shipped_rules};
use crate::{AlertChange, Evaluation};

const HOUR: i64 = DAY / 24;

/// A ticket is trouble, two are more; the trouble is gone when none is open.
fn model() -> Model {
    Model::new(HealthConfig {
        rules: vec![RuleConfig {
            name: "tickets".into(),
            kind: RuleKind::AtRisk,
            severity: Severity::Warning,
            when: "open_tickets >= 1".into(),
            clear: None,
            escalate: Some("open_tickets >= 2".into()),
            hold: 1,
            cooldown_days: 1.0,
            tiers: vec!["high".into(), "low".into(), "tech".into()],
            absence: false,
            message: None,
        }],
        without_rules: shipped_rules().into_iter().map(|rule| rule.name).collect(),
        ..HealthConfig::default()
    })
    .unwrap()
}

/// An account whose every hour can be lived.
struct Life {
    account: Account,
    model: Model,
    events: usize,
}

impl Life {
    /// With a ticket that has been told of, at hour 1.
    fn in_trouble() -> Life {
        let mut life = Life {
            account: Account::new("acme"),
            model: model(),
            events: 0,
        };
        life.ticket(0, "opened", "t1");
        let told = life.evaluate(1);
        assert_eq!(changes(&told), ["opened"]);
        life
    }

    fn fold(&mut self, hour: i64, event_type: EventType, name: &str, properties: &Value) {
        self.events += 1;
        let id = format!("e{}", self.events);
        let at = MONDAY + hour * HOUR;
        let event = event(&id, event_type, name, "", at, &properties.to_string());
        let offset = self.account.offset() + 1;
        self.account.fold(&event, offset, &self.model);
    }

    fn ticket(&mut self, hour: i64, name: &str, ticket_id: &str) {
        self.fold(hour, EventType::Ticket, name, &json!({ "ticket_id": ticket_id }));
    }

    /// On the rule's episode of that number.
    fn act(&mut self, hour: i64, name: &str, number: u32, mut properties: Value) {
        properties["episode_id"] = episode_id(number).into();
        self.fold(hour, EventType::Action, name, &properties);
    }

    fn evaluate(&mut self, hour: i64) -> Vec<AlertChange> {
        self.evaluate_in(hour, Mode::Live)
    }

    fn evaluate_in(&mut self, hour: i64, mode: Mode) -> Vec<AlertChange> {
        // Whatever was found, a crash must not lose it.
        let saved = self.account.encode(&self.model);
        self.account = Account::decode("acme", &saved).unwrap();
        let now = MONDAY + hour * HOUR;
        self.account
            .evaluate(now, mode, 0, &SegmentBaselines::default(), &self.model);
        let told = self.account.outbox().to_vec();
        self.account.clear_outbox();
        told
    }
}

fn episode_id(number: u32) -> String {
    crate::episode_id("acme", "tickets", number)
}

fn changes(told: &[AlertChange]) -> Vec<&str> {
    told.iter().map(|change| change.change.as_str()).collect()
}

fn payload(change: &AlertChange) -> Value {
    serde_json::from_str(&change.payload).unwrap()
}

#[test]
fn that_somebody_is_on_it_is_told_once_with_who_and_what_he_says() {
    let mut life = Life::in_trouble();
    life.act(
        2,
        "acknowledged",
        1,
        json!({"by": "田中 翔", "note": "I call them.\nTomorrow.", "playbook": "call"}),
    );
    let told = life.evaluate(2);
    assert_eq!(changes(&told), ["acknowledged"]);
    assert_eq!(told[0].episode_id, episode_id(1));
    // Receivers know the ids: they must not change between versions.
    assert_eq!(
        told[0].alert_id,
        crate::episode::id("al", &["acme", "tickets", "1", "acknowledged"])
    );
    assert_eq!(told[0].reason, "acme: 田中 翔 is on it: I call them.…");
    assert_eq!(told[0].reason_ja, "acme：田中 翔が対応中：I call them.…");
    assert_eq!(
        payload(&told[0])["action"],
        json!({"by": "田中 翔", "note": "I call them.\nTomorrow.", "playbook": "call", "until": null})
    );

    life.act(3, "acknowledged", 1, json!({"by": "Sato"}));
    assert_eq!(life.evaluate(3), []);
    // A change that no person made names no action.
    life.ticket(4, "resolved", "t1");
    let told = life.evaluate(4);
    assert_eq!(changes(&told), ["resolved"]);
    assert_eq!(payload(&told[0]).get("action"), None);
}

#[test]
fn an_acknowledgement_is_told_though_the_trouble_ends_with_it_and_while_history_is_read() {
    let mut life = Life::in_trouble();
    life.act(2, "acknowledged", 1, json!({}));
    life.ticket(2, "resolved", "t1");
    let told = life.evaluate_in(2, Mode::Replay);
    assert_eq!(changes(&told), ["acknowledged", "resolved"]);
    assert_eq!(told[0].reason, "acme: the team is on it");
    assert_eq!(told[0].reason_ja, "acme：チームが対応中");
}

#[test]
fn while_it_is_snoozed_nobody_hears_that_it_got_worse() {
    let mut life = Life::in_trouble();
    let until = jiff::Timestamp::from_millisecond(MONDAY + 10 * HOUR).unwrap();
    life.act(2, "snoozed", 1, json!({"until": until.to_string()}));
    assert_eq!(
        life.account.next_wake(MONDAY + 2 * HOUR),
        Some(MONDAY + 10 * HOUR)
    );
    life.ticket(3, "opened", "t2");
    assert_eq!(life.evaluate(3), []);
    assert_eq!(life.evaluate(9), []);
    let told = life.evaluate(10);
    assert_eq!(
        (changes(&told), told[0].severity.as_str()),
        (vec!["escalated"], "critical")
    );
    assert_eq!(life.account.next_wake(MONDAY + 10 * HOUR), None);
    assert_eq!(life.evaluate(11), []);
}

#[test]
fn what_got_better_by_the_end_of_the_snooze_is_not_told_and_an_end_is_told_at_once() {
    let mut life = Life::in_trouble();
    life.act(2, "snoozed", 1, json!({"until": MONDAY + 10 * HOUR}));
    life.ticket(3, "opened", "t2");
    assert_eq!(life.evaluate(3), []);
    life.ticket(4, "resolved", "t2");
    assert_eq!(life.evaluate(4), []);
    life.ticket(5, "resolved", "t1");
    assert_eq!(changes(&life.evaluate(5)), ["resolved"]);
    // The next episode is not snoozed.
    life.ticket(40, "opened", "t3");
    assert_eq!(changes(&life.evaluate(40)), ["opened"]);
    assert_eq!(life.account.next_wake(MONDAY), None);
}

#[test]
fn of_two_snoozes_the_one_that_was_said_last_holds_in_whatever_order_they_come() {
    for order in [[0, 1], [1, 0]] {
        let mut life = Life::in_trouble();
        for place in order {
            let (said, until) = [(2, 30), (3, 6)][place];
            life.act(said, "snoozed", 1, json!({"until": MONDAY + until * HOUR}));
        }
        life.ticket(4, "opened", "t2");
        assert_eq!(life.evaluate(5), [], "{order:?}");
        assert_eq!(changes(&life.evaluate(6)), ["escalated"], "{order:?}");
    }
}

#[test]
fn what_a_person_ended_opens_again_only_after_it_was_gone_and_has_cooled() {
    let mut life = Life::in_trouble();
    life.act(2, "resolved", 1, json!({"by": "Sato", "note": "a known fault"}));
    let told = life.evaluate(2);
    assert_eq!(changes(&told), ["resolved"]);
    assert_eq!(told[0].reason, "acme, resolved by Sato: a known fault");
    assert_eq!(told[0].reason_ja, "acme（Satoが解消）：a known fault");
    assert_eq!(payload(&told[0])["action"]["by"], "Sato");
    // It lasts, for longer than the cooldown.
    for hour in [3, 30, 60] {
        assert_eq!(life.evaluate(hour), []);
    }
    life.ticket(61, "resolved", "t1");
    assert_eq!(life.evaluate(61), []);
    life.ticket(62, "opened", "t2");
    let told = life.evaluate(62);
    assert_eq!(changes(&told), ["opened"]);
    assert_eq!(told[0].episode_id, episode_id(2));

    // Gone before it has cooled, and back: then it waits for the cooldown alone.
    life.act(63, "resolved", 2, json!({}));
    assert_eq!(changes(&life.evaluate(63)), ["resolved"]);
    life.ticket(64, "resolved", "t2");
    assert_eq!(life.evaluate(64), []);
    life.ticket(65, "opened", "t3");
    assert_eq!(life.evaluate(65), []);
    assert_eq!(changes(&life.evaluate(63 + 24)), ["opened"]);
}

#[test]
fn an_action_on_anything_but_the_open_episode_that_was_told_is_passed_over() {
    let mut life = Life {
        account: Account::new("acme"),
        model: model(),
        events: 0,
    };
    life.ticket(0, "opened", "t1");
    assert_eq!(life.evaluate_in(1, Mode::Replay), []);
    life.act(2, "resolved", 1, json!({}));
    assert_eq!(changes(&life.evaluate(2)), ["opened"], "nobody had heard of it");
    for (name, properties) in [
        ("acknowledged", json!({})),
        ("snoozed", json!({"until": MONDAY + 90 * HOUR})),
        ("resolved", json!({})),
    ] {
        life.act(3, name, 2, properties);
    }
    life.act(3, "noted", 1, json!({"note": "they have moved"}));
    life.act(3, "called", 1, json!({}));
    life.ticket(3, "opened", "t2");
    assert_eq!(changes(&life.evaluate(3)), ["escalated"]);
    life.act(4, "resolved", 1, json!({}));
    assert_eq!(changes(&life.evaluate(4)), ["resolved"]);
    life.act(5, "resolved", 1, json!({}));
    life.act(5, "acknowledged", 1, json!({}));
    assert_eq!(life.evaluate(5), []);
}

#[test]
fn a_note_from_a_foreign_writer_is_cut() {
    let mut life = Life::in_trouble();
    life.act(
        2,
        "acknowledged",
        1,
        json!({"by": "s".repeat(9_000), "note": "見".repeat(9_000)}),
    );
    let told = life.evaluate(2);
    let action = &payload(&told[0])["action"];
    assert_eq!(action["by"].as_str().unwrap().chars().count(), 200);
    assert_eq!(action["note"].as_str().unwrap().chars().count(), 2_000);
    assert!(told[0].reason.chars().count() < 450, "{}", told[0].reason);
}

#[test]
fn what_is_taken_back_is_not_acknowledged_any_more() {
    let mut life = Life::in_trouble();
    life.act(2, "acknowledged", 1, json!({}));
    let now = MONDAY + 2 * HOUR;
    let evaluation = life
        .account
        .assess(now, &SegmentBaselines::default(), &life.model);
    life.account
        .retract(|_, _| Some(false), &evaluation, 0, &life.model);
    assert_eq!(changes(life.account.outbox()), ["retracted"]);
    life.account.clear_outbox();
    assert_eq!(changes(&life.evaluate(3)), ["opened"]);
}

/// The account's events lived again, with what was known of its alerts taken over.
fn rebuilt(events: &[Event], told: &[AlertChange], state: Option<&Account>, model: &Model) -> Account {
    let segments = SegmentBaselines::default();
    let mut replay = Replay::new("acme", Vec::new(), &segments, model);
    for (offset, event) in events.iter().enumerate() {
        replay.take(event.clone(), offset as i64, |_, _| ());
    }
    let mut account = replay.finish(|_, _| ());
    let told: Vec<ToldChange> = told
        .iter()
        .map(|change| ToldChange {
            episode_id: change.episode_id.clone(),
            rule: change.rule.clone(),
            severity: change.severity.clone(),
            change: change.change.clone(),
            at: change.at,
            opened_at: None,
        })
        .collect();
    match state {
        Some(state) => account.keep_told(state),
        None => account.recall_told(&told),
    }
    let actions = events
        .iter()
        .filter(|event| event.event_type == EventType::Action);
    account.act_again(actions, state.is_none());
    account
}

#[test]
fn a_rebuild_knows_what_people_did_with_and_without_the_state() {
    let model = model();
    let segments = SegmentBaselines::default();
    let at = |hour: i64| MONDAY + hour * HOUR;
    let ticket = |id: &str, hour, name: &str, ticket: &str| {
        let properties = json!({ "ticket_id": ticket }).to_string();
        event(id, EventType::Ticket, name, "", at(hour), &properties)
    };
    let action = |id: &str, hour, name: &str| {
        let properties = json!({"episode_id": episode_id(1), "until": at(40), "by": "Sato"}).to_string();
        event(id, EventType::Action, name, "", at(hour), &properties)
    };
    // Snoozed and acknowledged, or ended; then it gets worse.
    for (did, later) in [
        (
            vec![action("a1", 2, "acknowledged"), action("a2", 2, "snoozed")],
            vec![(20, vec![]), (40, vec!["escalated"])],
        ),
        (
            vec![action("a1", 2, "resolved")],
            vec![(20, vec![]), (40, vec![])],
        ),
    ] {
        let mut events = vec![ticket("t1", 0, "opened", "t1")];
        let mut account = Account::new("acme");
        fold_all(&mut account, &events, &model);
        account.evaluate(at(1), Mode::Live, 0, &segments, &model);
        fold_all(&mut account, &did, &model);
        account.evaluate(at(3), Mode::Live, 0, &segments, &model);
        events.extend(did);
        let told = account.outbox().to_vec();
        assert_eq!(told.len(), 2);
        account.clear_outbox();

        let lives = [
            rebuilt(&events, &told, Some(&account), &model),
            rebuilt(&events, &told, None, &model),
            account,
        ];
        for (which, mut life) in lives.into_iter().enumerate() {
            life.clear_outbox();
            fold_all(&mut life, &[ticket("t2", 4, "opened", "t2")], &model);
            for (hour, expected) in &later {
                life.evaluate(at(*hour), Mode::Live, 0, &segments, &model);
                assert_eq!(changes(life.outbox()), *expected, "life {which} at hour {hour}");
                life.clear_outbox();
            }
        }
    }
}

fn any_action() -> impl Strategy<Value = Event> {
    let names = prop_oneof![
        Just("acknowledged"),
        Just("snoozed"),
        Just("resolved"),
        Just("noted"),
        Just("called"),
    ];
    let rules = shipped_rules()
        .into_iter()
        .map(|rule| rule.name)
        .collect::<Vec<_>>();
    (
        0u32..60,
        names,
        prop::sample::select(rules),
        prop_oneof![Just("ann"), Just("zoe"), Just("")],
        -400i64 * 24..400 * 24,
    )
        .prop_map(|(id, name, rule, user, hour)| {
            let about = crate::episode_id("acme", &rule, 1);
            let properties = json!({
                "episode_id": about, "until": MONDAY + (hour + 30) * HOUR, "count": 7, "score": 3, "seats": 99,
                "role": "champion", "timezone": "Asia/Tokyo", "ticket_id": "t1", "mrr": 5,
            });
            let at = MONDAY + hour * HOUR;
            event(&format!("a{id}"), EventType::Action, name, user, at, &properties.to_string())
        })
}

/// All that is known of an account but for its episodes.
fn known(account: &Account, model: &Model) -> impl PartialEq + std::fmt::Debug + use<> {
    let segments = SegmentBaselines::default();
    let evaluations: Vec<Evaluation> = [0, 1, 40, 200]
        .map(|day| account.assess(MONDAY + day * DAY, &segments, model))
        .to_vec();
    let history = [0, 1, 40].map(|day| account.history_from(MONDAY + day * DAY));
    (
        numbers_of(account, model),
        evaluations,
        history,
        account.life(model),
        account.last_event_at(),
        account.stage_history(MONDAY + 40 * DAY, model),
        (account.must_recount(), account.is_begun()),
    )
}

proptest! {
    /// What the team does is no deed of the customer: wherever it comes in between, no number, score, day,
    /// stage or first and last time is another.
    #[test]
    fn actions_change_no_number_and_no_score(
        events in prop::collection::vec(any_event(), 0..30).prop_map(distinct),
        actions in prop::collection::vec((0usize..31, any_action()), 1..20),
    ) {
        let model = Model::new(HealthConfig::default()).unwrap();
        let segments = SegmentBaselines::default();
        let (mut without, mut with) = (Account::new("acme"), Account::new("acme"));
        let (mut counter, mut counter_with) = (without.day_counter(&model), with.day_counter(&model));
        let (mut days, mut days_with) = (Vec::new(), Vec::new());
        for place in 0..=events.len() {
            for (_, action) in actions.iter().filter(|(at, _)| *at == place) {
                fold_all(&mut with, std::slice::from_ref(action), &model);
                days_with.extend(counter_with.take(action));
            }
            let Some(event) = events.get(place) else { break };
            fold_all(&mut without, std::slice::from_ref(event), &model);
            fold_all(&mut with, std::slice::from_ref(event), &model);
            days.extend(counter.take(event));
            days_with.extend(counter_with.take(event));
            let now = event.happened_at() + HOUR;
            let (one, other) = (
                without.evaluate(now, Mode::Live, 0, &segments, &model),
                with.evaluate(now, Mode::Live, 0, &segments, &model),
            );
            prop_assert_eq!((one.metrics, one.scores), (other.metrics, other.scores));
        }
        prop_assert_eq!(known(&without, &model), known(&with, &model));
        prop_assert_eq!((days, counter.finish()), (days_with, counter_with.finish()));
        let mut all: Vec<&Event> = events.iter().chain(actions.iter().map(|(_, action)| action)).collect();
        all.sort_by_key(|event| event.happened_at());
        without.recount(&events, &model);
        with.recount(all, &model);
        prop_assert_eq!(known(&without, &model), known(&with, &model));
    }
}
