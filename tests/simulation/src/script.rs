//! What the product apps send in one run: few accounts and few ids, so that repeats, late events and
//! changes of time zone meet in the same account.

use event::{Event, EventType};
use fastrand::Rng;

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// 2026-03-02T12:00:00Z.
pub(crate) const BEGIN: i64 = 1_772_452_800_000;

/// Something that a product app sends.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    pub(crate) at: i64,
    /// Of the raw topic.
    pub(crate) partition: usize,
    pub(crate) event: Event,
}

/// What else may be among it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kinds {
    /// An event that makes folding fail.
    pub(crate) poison: bool,
    /// Ids that come again with another time.
    pub(crate) other_times: bool,
}

/// Draws what is sent, in the order of sending.
pub(crate) fn draw(rng: &mut Rng, raw_partitions: usize, kinds: Kinds) -> Vec<Sending> {
    let accounts = rng.usize(1..=4);
    let ids = rng.usize(5..60);
    let count = rng.usize(20..120);
    // From all at once to some a day.
    let longest_gap = [5, 200, 5_000, 10 * MINUTE, 8 * HOUR][rng.usize(0..5)];
    let oldest = [MINUTE, DAY, 40 * DAY, 120 * DAY][rng.usize(0..4)];
    let mut at = BEGIN;
    let mut sent: Vec<Sending> = Vec::with_capacity(count);
    for number in 0..count {
        at += rng.i64(0..=longest_gap);
        let repeats = !sent.is_empty() && rng.u8(0..4) == 0;
        let mut event = if repeats {
            // An id stands for one event: what comes again is the same, but for when it was received.
            sent[rng.usize(0..sent.len())].event.clone()
        } else {
            let account = format!("a{}", rng.usize(0..accounts));
            let id = format!("e{}", rng.usize(0..ids));
            let known = sent
                .iter()
                .find(|known| known.event.account_id == account && known.event.event_id == id);
            match known {
                Some(known) => known.event.clone(),
                None => something(rng, account, id, at, oldest),
            }
        };
        if kinds.other_times && repeats && rng.bool() {
            event.occurred_at = at;
        }
        if kinds.poison && number == count / 2 {
            event = Event {
                event_id: "poison".to_string(),
                event_type: EventType::Feature,
                name: "planted.panic".to_string(),
                occurred_at: at,
                ..event
            };
        }
        event.received_at = at;
        sent.push(Sending {
            at,
            partition: rng.usize(0..raw_partitions),
            event,
        });
    }
    sent
}

fn something(rng: &mut Rng, account_id: String, event_id: String, at: i64, oldest: i64) -> Event {
    let (event_type, name, properties) = match rng.u8(0..20) {
        0 => {
            let zone = ["Asia/Tokyo", "America/New_York", "Pacific/Kiritimati", "UTC"][rng.usize(0..4)];
            (EventType::Account, "", format!(r#"{{"timezone":"{zone}"}}"#))
        }
        1 => (
            EventType::Contract,
            "started",
            r#"{"mrr":900,"currency":"JPY","seats":5}"#.to_string(),
        ),
        2 => (EventType::Contract, "cancelled", String::new()),
        3..=5 => {
            let name = ["opened", "escalated", "resolved"][rng.usize(0..3)];
            let ticket = rng.u8(0..3);
            (
                EventType::Ticket,
                name,
                format!(r#"{{"ticket_id":"t{ticket}","severity":"high"}}"#),
            )
        }
        6 => {
            let score = rng.u8(0..=10);
            (EventType::Survey, "nps", format!(r#"{{"score":{score}}}"#))
        }
        7..=12 => {
            let feature = ["report", "export", "share"][rng.usize(0..3)];
            (EventType::Feature, feature, String::new())
        }
        13..=14 => {
            let name = ["acknowledged", "snoozed", "resolved", "noted"][rng.usize(0..4)];
            // Rules that such lives meet.
            let rule = ["escalated_ticket", "nps_detractor"][rng.usize(0..2)];
            let episode = health::episode_id(&account_id, rule, rng.u32(1..3));
            let until = at + rng.i64(0..6 * HOUR);
            (
                EventType::Action,
                name,
                format!(r#"{{"episode_id":"{episode}","until":{until},"by":"cs"}}"#),
            )
        }
        _ => (EventType::Login, "", String::new()),
    };
    let late = match rng.u8(0..4) {
        0 => rng.i64(0..=oldest),
        1 => rng.i64(0..=HOUR),
        _ => rng.i64(0..=2_000),
    };
    let user_id = (rng.u8(0..8) > 0).then(|| format!("u{}", rng.u8(0..4)));
    Event {
        event_id,
        account_id,
        user_id,
        event_type,
        name: name.to_string(),
        // Some clocks are a little ahead.
        occurred_at: at - late + i64::from(rng.u8(0..20) == 0) * rng.i64(0..2_000),
        received_at: at,
        source: "app".to_string(),
        properties,
    }
}
