//! What people do about an account's alerts, among the events of the customers.

use event::EventType;
use health::episode_id;

use super::tests::{HOUR, NOON, SECOND, empty, evaluated_at, event, model, send_all};
use super::*;

const MINUTE: i64 = 60 * SECOND;

fn ticket(id: &str, name: &str, ticket: &str, at: i64) -> Event {
    Event {
        properties: format!(r#"{{"ticket_id":"{ticket}"}}"#),
        ..event("acme", id, EventType::Ticket, name, at)
    }
}

fn action(account: &str, id: &str, name: &str, at: i64, until: i64) -> Event {
    let episode = episode_id(account, "escalated_ticket", 1);
    Event {
        properties: format!(r#"{{"episode_id":"{episode}","by":"Sato","until":{until}}}"#),
        ..event(account, id, EventType::Action, name, at)
    }
}

/// What is told of the only account at `now`, on a partition that was read to its end.
fn told(partition: &mut Partition, now: i64) -> Vec<String> {
    partition.evaluate_due(now, true, 100, false, |_| {});
    let mut told = Vec::new();
    for place in partition.take_alerting() {
        told.extend(partition.outbox(place).iter().map(|change| change.change.clone()));
        send_all(partition, place);
    }
    told
}

/// An account that was told of, because its ticket is escalated.
fn in_trouble(model: &Arc<Model>) -> Partition {
    let mut partition = empty(model, NOON);
    partition.take(ticket("e1", "opened", "t1", NOON), 0, false, NOON);
    partition.take(ticket("e2", "escalated", "t1", NOON), 1, false, NOON);
    assert_eq!(told(&mut partition, NOON), ["opened"]);
    partition
}

#[test]
fn an_action_is_told_at_once_though_nothing_else_comes_and_says_nothing_of_the_customer() {
    let model = model();
    let mut partition = in_trouble(&model);
    // For hours nothing; then somebody acts, and the partition is no less live for it.
    let now = NOON + 3 * HOUR;
    assert!(partition.is_live(now, true));
    partition.take(action("acme", "a1", "acknowledged", now, 0), 2, false, now);
    assert_eq!(told(&mut partition, now + 1), ["acknowledged"]);
    assert_eq!(partition.watermark, Some(NOON));

    // One that was done long ago is not a past that has to settle.
    partition.take(
        action("acme", "a2", "resolved", now - 2 * HOUR, 0),
        3,
        false,
        now + SECOND,
    );
    assert_eq!(told(&mut partition, now + 2 * SECOND), ["resolved"]);

    let mut unsaved = Unsaved::default();
    partition.take_unsaved(now + 2 * SECOND, &mut unsaved);
    let days: Vec<u32> = unsaved.daily.iter().map(|row| row.events).collect();
    assert_eq!(days, [2], "the actions are no events of the day");
    assert_eq!(partition.waiting.events.len(), 4, "and land like all others");
    assert!(partition.histories.is_empty());
}

#[test]
fn what_a_snooze_kept_quiet_is_told_when_it_ends_and_not_at_the_next_sweep() {
    let model = model();
    let mut partition = in_trouble(&model);
    let until = NOON + 90 * MINUTE;
    partition.take(
        action("acme", "a1", "snoozed", NOON + MINUTE, until),
        2,
        false,
        NOON + MINUTE,
    );
    let now = NOON + 2 * MINUTE;
    partition.take(ticket("e3", "opened", "t2", now), 3, false, now);
    partition.take(ticket("e4", "escalated", "t2", now), 4, false, now);
    assert_eq!(told(&mut partition, now), Vec::<String>::new());
    for minute in [10, 62, 75, 89] {
        assert_eq!(
            told(&mut partition, NOON + minute * MINUTE),
            Vec::<String>::new(),
            "{minute}"
        );
    }
    assert_eq!(told(&mut partition, until), ["escalated"]);
}

#[test]
fn an_account_of_which_only_actions_are_known_is_kept_and_has_no_rows() {
    let model = model();
    let mut partition = empty(&model, NOON);
    let ghost = action("ghost", "a1", "acknowledged", NOON, 0);
    assert_eq!(
        partition.take(ghost.clone(), 0, false, NOON),
        Taken::Folded { counted: true }
    );
    partition.evaluate_due(NOON + SECOND, true, 100, false, |_| {});
    partition.evaluate_due(NOON + 30 * HOUR, true, 100, false, |_| {});
    assert_eq!(evaluated_at(&partition, "ghost"), Vec::<i64>::new());
    let mut unsaved = Unsaved::default();
    partition.take_unsaved(NOON + SECOND, &mut unsaved);
    assert_eq!(
        (unsaved.accounts.len(), unsaved.daily.len(), unsaved.users.len()),
        (0, 0, 0)
    );
    assert_eq!(unsaved.states.len(), 1);
    assert_eq!(partition.take(ghost, 1, false, NOON + SECOND), Taken::Duplicate);
    // Once the customer does something it is an account like any other.
    let now = NOON + 31 * HOUR;
    partition.take(event("ghost", "e1", EventType::Login, "", now), 2, false, now);
    partition.evaluate_due(now, true, 100, false, |_| {});
    assert_eq!(evaluated_at(&partition, "ghost"), [now]);
}
