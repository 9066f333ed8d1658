//! What is yet to come, kept by the hour of its arrival, with the noise of the way there.
//!
//! An hour that has passed is never added to: a record arrives after its event occurred, and is added at the latest
//! in the hour in which that is.

use std::collections::VecDeque;

use crate::calendar::HOUR;
use crate::config::Config;
use crate::life::Life;
use crate::names::HOSTS;
use crate::rhythm::Session;
use crate::rng::Rng;
use crate::script::What;

const NOISE: u64 = 9;

/// An event that is not late arrives within this time.
const PROMPT_MS: u32 = 2_500;
/// An account that signed up before the period is told of in its first hours, in this time.
const HISTORY_SPREAD_MS: u32 = 2 * 3_600_000;

/// A record that is yet to arrive, small because many wait; it becomes bytes when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pending {
    pub(crate) arrives_at: i64,
    pub(crate) account: u32,
    /// 0 for the script, else the day of the account's life as told, counted from 1.
    pub(crate) day: u16,
    pub(crate) number: u32,
    pub(crate) copy: Copied,
    pub(crate) occurred_at: i64,
    pub(crate) user: u16,
    pub(crate) key: u8,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Copied {
    First,
    Again,
    Spoilt,
}

/// What is to come, by the hour.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// The hour (since the epoch) that the front of the queues stands for.
    pub(crate) hour: i64,
    pub(crate) records: VecDeque<Vec<Pending>>,
    pub(crate) sessions: VecDeque<Vec<Session>>,
}

impl Schedule {
    /// An empty schedule that begins with `hour`.
    pub(crate) fn at(hour: i64) -> Self {
        Self {
            hour,
            records: VecDeque::new(),
            sessions: VecDeque::new(),
        }
    }

    fn slot<T>(queue: &mut VecDeque<Vec<T>>, hour: i64, at: i64) -> &mut Vec<T> {
        let ahead = at.div_euclid(HOUR) - hour;
        debug_assert!(ahead >= 0, "an hour that has passed is never added to");
        let ahead = ahead.max(0) as usize;
        while queue.len() <= ahead {
            queue.push_back(Vec::new());
        }
        &mut queue[ahead]
    }

    pub(crate) fn add(&mut self, record: Pending) {
        Self::slot(&mut self.records, self.hour, record.arrives_at).push(record);
    }

    pub(crate) fn add_session(&mut self, session: Session) {
        Self::slot(&mut self.sessions, self.hour, session.at).push(session);
    }
}

/// Where a record comes from: what its id is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) account: u32,
    pub(crate) day: u16,
    pub(crate) number: u32,
    pub(crate) user: u16,
}

/// Puts an event into the schedule, with the noise that belongs to it. Noise has draws of its own, so that the lives
/// are the same whatever noise is asked for.
pub(crate) fn tell(
    config: &Config,
    life: &Life,
    schedule: &mut Schedule,
    origin: Origin,
    occurred_at: i64,
    told_from: Option<i64>,
    what: What,
) {
    let Origin {
        account,
        day,
        number,
        user,
    } = origin;
    let mut rng = Rng::keyed([life.key, NOISE, u64::from(day) << 32 | u64::from(number)]);
    let prompt = 40 + i64::from(rng.below(PROMPT_MS));
    let (late, how_late) = (rng.chance(config.late), rng.unit());
    let (again, how_much_later) = (rng.chance(config.duplicates), rng.unit());
    let spoilt = rng.chance(config.malformed);
    let keys = [rng.unit(), rng.unit(), rng.unit()];

    // Most of the late ones are a little late.
    let range = (config.late_by_ms - crate::LATE_AFTER_MS) as f64;
    let lateness = |draw: f64| (range * draw * draw) as i64;
    let arrives_at = match told_from {
        Some(midnight) => midnight + i64::from(rng.below(HISTORY_SPREAD_MS)),
        None if late => occurred_at + crate::LATE_AFTER_MS + 1 + lateness(how_late),
        None => occurred_at + prompt,
    };
    let key = |draw: f64| miskeyed(config.miskeyed, draw);
    let first = Pending {
        arrives_at,
        account,
        day,
        number,
        copy: Copied::First,
        occurred_at,
        user,
        key: key(keys[0]),
        what,
    };
    schedule.add(first);
    if again {
        // Nine in ten are sent again within minutes; the others as late as a late event.
        let later = if how_much_later < 0.9 {
            (600_000.0 * how_much_later) as i64
        } else {
            lateness((how_much_later - 0.9) * 10.0)
        };
        schedule.add(Pending {
            arrives_at: arrives_at + 1 + later,
            copy: Copied::Again,
            key: key(keys[1]),
            ..first
        });
    }
    if spoilt {
        schedule.add(Pending {
            arrives_at: arrives_at + 1,
            copy: Copied::Spoilt,
            key: key(keys[2]),
            ..first
        });
    }
}

/// 0 for the account as the key; else 1 for none, or a host's number and 2.
fn miskeyed(share: f64, draw: f64) -> u8 {
    if draw >= share {
        return 0;
    }
    // The draw is even below the share: half of the miskeyed have no key.
    let within = draw / share;
    if within < 0.5 {
        1
    } else {
        2 + (((within - 0.5) * 2.0 * HOSTS.len() as f64) as u8).min(HOSTS.len() as u8 - 1)
    }
}
