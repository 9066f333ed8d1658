//! What must hold at the end, computed from what was sent and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use event::{Event, EventType};
use health::{Account, Evaluation, Replay, SegmentBaselines};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::script::DAY;
use crate::world::World;

pub(crate) fn judge(world: &mut World) -> Result<(), String> {
    let first = world.first_of_each_id();
    every_event_landed_once(world, &first)?;
    let mut by_account: BTreeMap<String, Vec<(i32, i64, Event)>> = BTreeMap::new();
    for ((number, offset), event) in first {
        let events = by_account.entry(event.account_id.clone()).or_default();
        events.push((number, offset, event));
    }
    world.report.events = by_account.values().map(Vec::len).sum();
    for (account, events) in &by_account {
        let folded = state_is_what_its_events_make(world, account, events)?;
        days_are_counted(world, account, &folded, events)?;
        midnights_are_right(world, account, events)?;
    }
    alerts_are_whole(world)?;
    bad_records_are_kept(world)
}

fn every_event_landed_once(world: &mut World, first: &BTreeMap<(i32, i64), Event>) -> Result<(), String> {
    let sent = world.sent();
    let rows = world.tables.distinct_events();
    world.report.repeated_rows = world.tables.events.len() - rows.len();
    if world.report.repeated_rows > world.late_events {
        return Err(format!(
            "{} rows repeat another, and only {} came from somebody who was gone",
            world.report.repeated_rows, world.late_events
        ));
    }
    let expected = sent
        .values()
        .filter(|event| event.name != "planted.panic")
        .count();
    if rows.len() != expected {
        return Err(format!(
            "{} events landed of {expected} that were sent",
            rows.len()
        ));
    }
    for row in rows {
        let stands_at = (row.kafka_partition, row.kafka_offset);
        let Some(event) = first.get(&stands_at) else {
            return Err(format!(
                "event {} of {} landed from {stands_at:?}, where it does not stand first",
                row.event_id, row.account_id
            ));
        };
        let is_equal = event.event_id == row.event_id
            && event.account_id == row.account_id
            && event.user_id.as_deref().unwrap_or("") == row.user_id
            && event.event_type.as_str() == row.r#type
            && event.name == row.name
            && event.occurred_at == row.occurred_at
            && event.received_at == row.received_at
            && event.properties == row.properties;
        if !is_equal {
            return Err(format!("{row:?} is not {event:?}"));
        }
    }
    Ok(())
}

fn state_is_what_its_events_make(
    world: &World,
    account_id: &str,
    events: &[(i32, i64, Event)],
) -> Result<Account, String> {
    let model = &world.setup.model;
    let key = (events[0].0, account_id.to_string());
    let Some(row) = world.tables.states.get(&key) else {
        return Err(format!("account {account_id} has no saved state"));
    };
    let saved = Account::decode(account_id, &row.state).map_err(|error| error.to_string())?;
    let mut anew = Account::new(account_id);
    for (_, offset, event) in events {
        anew.fold(event, *offset, model);
    }
    if anew.must_recount() {
        anew.recount(events.iter().map(|(_, _, event)| event), model);
    }
    let segments = SegmentBaselines::default();
    let (found, wanted) = (
        saved.metrics(world.now, &segments, model),
        anew.metrics(world.now, &segments, model),
    );
    if found != wanted {
        return Err(format!(
            "account {account_id} has {found:?}, its events make {wanted:?}"
        ));
    }
    if !saved.outbox().is_empty() {
        return Err(format!("account {account_id} still has something to tell"));
    }
    Ok(anew)
}

/// The rows of the days, counted without any of the code that made them.
fn days_are_counted(
    world: &World,
    account_id: &str,
    folded: &Account,
    events: &[(i32, i64, Event)],
) -> Result<(), String> {
    let zone = folded.profile().timezone;
    let zone = zone.map_or(Ok(TimeZone::UTC), |name| TimeZone::get(&name));
    let zone = zone.map_err(|error| error.to_string())?;
    #[derive(Default, PartialEq, Debug)]
    struct Counted {
        logins: u32,
        events: u32,
        users: BTreeSet<String>,
    }
    let mut days: BTreeMap<u16, Counted> = BTreeMap::new();
    for (_, _, event) in events
        .iter()
        .filter(|(_, _, event)| event.event_type.is_of_customer())
    {
        let at = Timestamp::from_millisecond(event.happened_at()).map_err(|error| error.to_string())?;
        let date = at.to_zoned(zone.clone()).date();
        let day = date
            .to_zoned(TimeZone::UTC)
            .map_err(|error| error.to_string())?
            .timestamp()
            .as_millisecond()
            / DAY;
        let counted = days.entry(day as u16).or_default();
        counted.events += 1;
        counted.logins += u32::from(event.event_type == EventType::Login);
        if matches!(event.event_type, EventType::Login | EventType::Feature) {
            counted.users.extend(event.user_id.clone());
        }
    }
    let rows = world.tables.daily.values();
    for row in rows.filter(|row| row.account_id == account_id) {
        let counted = days.remove(&row.day).unwrap_or_default();
        let is_equal = (row.logins, row.events, row.active_users as usize)
            == (counted.logins, counted.events, counted.users.len());
        if !is_equal {
            let happened = events.iter().map(|(_, offset, event)| {
                let at = Timestamp::from_millisecond(event.happened_at()).map(|at| at.to_string());
                format!("{offset} {} {} {at:?}", event.event_id, event.event_type.as_str())
            });
            let happened: Vec<String> = happened.collect();
            return Err(format!(
                "{row:?} should be {counted:?} in {zone:?}: {happened:#?}"
            ));
        }
    }
    match days.first_key_value() {
        Some((day, counted)) => Err(format!(
            "account {account_id} has no row of day {day}: {counted:?}"
        )),
        None => Ok(()),
    }
}

/// The row of each midnight, given all that is known now.
fn midnights_are_right(world: &World, account_id: &str, events: &[(i32, i64, Event)]) -> Result<(), String> {
    let of_customer = events
        .iter()
        .filter(|(_, _, event)| event.event_type.is_of_customer());
    let happened = of_customer.map(|(_, _, event)| event.happened_at());
    let Some(begun) = happened.min() else {
        return Ok(());
    };
    let last = world.now.div_euclid(DAY) * DAY;
    let first = (begun.div_euclid(DAY) + 1) * DAY;
    let kept_from = last - (world.setup.config.history_days - 1) * DAY;
    let midnights: Vec<i64> = (first.max(kept_from)..=last).step_by(DAY as usize).collect();
    let mut in_order: Vec<(i64, &Event)> = events.iter().map(|(_, offset, event)| (*offset, event)).collect();
    in_order.sort_by_key(|(_, event)| (event.happened_at(), event.event_id.clone()));
    let segments = SegmentBaselines::default();
    let mut replay = Replay::new(account_id, midnights.clone(), &segments, &world.setup.model);
    let mut wrong = None;
    let mut seen = 0;
    let mut look = |found: Evaluation, _: &Account| {
        seen += 1;
        let wanted = &found.metrics;
        let row = world.tables.metrics.get(&(account_id.to_string(), found.at));
        let is_right = row.is_some_and(|row| {
            (row.logins_1d, row.logins_28d, row.logins_90d)
                == (wanted.logins_1d, wanted.logins_28d, wanted.logins_90d)
                && (row.active_users_28d, row.usage_28d) == (wanted.active_users_28d, wanted.usage_28d)
                && (row.days_since_last_login, row.open_tickets)
                    == (wanted.days_since_last_login, wanted.open_tickets)
                && (row.mrr, row.nps) == (wanted.mrr, wanted.nps)
        });
        let scored = world.tables.scores.get(&(account_id.to_string(), found.at));
        let is_scored = scored.is_some_and(|row| row.health == found.scores.health);
        if wrong.is_none() && !(is_right && is_scored) {
            wrong = Some(format!(
                "midnight {} of {account_id} should have {wanted:?} and health {:?}; its rows are {row:?} and {scored:?}",
                found.at, found.scores.health
            ));
        }
    };
    for (offset, event) in in_order {
        replay.take(event.clone(), offset, &mut look);
    }
    replay.finish(&mut look);
    if seen != midnights.len() {
        return Err(format!("{seen} midnights of {} were looked at", midnights.len()));
    }
    wrong.map_or(Ok(()), Err)
}

/// What was stored was sent and what was sent was stored; an episode opens once, and ends once.
fn alerts_are_whole(world: &World) -> Result<(), String> {
    let sent: BTreeSet<&str> = world
        .alerts
        .iter()
        .map(|change| change.alert_id.as_str())
        .collect();
    for stored in world.tables.alerts.keys() {
        if !sent.contains(stored.as_str()) {
            return Err(format!("alert {stored} is stored and was never sent"));
        }
    }
    for alert in &sent {
        if !world.tables.alerts.contains_key(*alert) {
            return Err(format!("alert {alert} was sent and is not stored"));
        }
    }
    let mut open: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for change in &world.alerts {
        if !seen.insert(&change.alert_id) {
            // A receiver drops what it has had.
            continue;
        }
        let of = (change.account_id.as_str(), change.rule.as_str());
        let known = open.get(&of).copied();
        match change.change.as_str() {
            "opened" if known.is_none() => {
                open.insert(of, &change.episode_id);
            }
            "escalated" | "acknowledged" if known == Some(change.episode_id.as_str()) => {}
            "resolved" | "retracted" if known == Some(change.episode_id.as_str()) => {
                open.remove(&of);
            }
            other => {
                return Err(format!(
                    "{of:?} is told of {other} of episode {} while {known:?} is open",
                    change.episode_id
                ));
            }
        }
    }
    Ok(())
}

fn bad_records_are_kept(world: &World) -> Result<(), String> {
    let kept: BTreeSet<(i32, i64)> = world
        .rejected
        .iter()
        .map(|bad| (bad.number, bad.offset))
        .collect();
    let mut bad = BTreeSet::new();
    for number in world.log.numbers() {
        for (offset, payload) in world.log.read(number, 0, usize::MAX).into_iter().enumerate() {
            let is_bad = match event::wire::decode(&payload) {
                Ok(event) => event.name == "planted.panic",
                Err(_) => true,
            };
            if is_bad {
                bad.insert((number, offset as i64));
            }
        }
    }
    if kept != bad {
        return Err(format!("set aside were {kept:?}, and {bad:?} should be"));
    }
    Ok(())
}
