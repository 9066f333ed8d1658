//! The daily use of the product: who comes on a day, when, and what they do there.
//!
//! A day is planned as a list of [`Session`]s, which are small; what happens in one is played when its hour has
//! come. Both depend on nothing but the account and the day.

use crate::calendar::SECOND;
use crate::life::{Life, Mood};
use crate::names::{ADVANCED_FEATURES, ERRORS, FEATURES};
use crate::rng::Rng;
use crate::script::What;

const PLAN: u64 = 7;
const PLAY: u64 = 8;

/// How likely a session begins in each hour of the day, in thousandths of the busiest.
const HOURS: [u32; 24] = [
    10, 2, 0, 0, 0, 10, 30, 100, 420, 950, 1000, 850, 420, 820, 950, 900, 860, 750, 460, 240, 140, 100, 60,
    30,
];

/// No account has more sessions on one day: their numbers are part of event ids.
pub(crate) const MAX_SESSIONS: u16 = 2_048;
/// No session has more events.
pub(crate) const MAX_EVENTS: u32 = 32;

/// A visit of one user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) account: u32,
    /// When it begins, in epoch milliseconds.
    pub(crate) at: i64,
    /// The local day it was planned on.
    pub(crate) day: i32,
    pub(crate) user: u16,
    /// Its number within the account's day.
    pub(crate) number: u16,
}

/// Plans the sessions of an account's `day`, a `workday` share of a plain one, which begins at `midnight`.
pub(crate) fn plan(
    life: &Life,
    account: u32,
    day: i32,
    midnight: i64,
    workday: f64,
    mut add: impl FnMut(Session),
) {
    // Nobody is there before the day after signing up, save for what the script tells.
    if day <= life.start_day || day > life.end_day {
        return;
    }
    let workday = life.work(workday);
    if workday == 0.0 {
        return;
    }
    let mood = life.mood(day);
    let mut rng = Rng::keyed([life.key, PLAN, day as u64]);
    let mut number = 0;
    for user in 0..life.users {
        let seen = life.keenness(user, day, &mood) * workday;
        if !rng.chance(seen) || life.joins(user) >= day {
            continue;
        }
        for _ in 0..visits(life, user, day, &mut rng) {
            if number == MAX_SESSIONS {
                return;
            }
            let hour = rng.weighted(&HOURS) as i64;
            // The last day ends with the cancellation, in the afternoon.
            let hour = if day == life.end_day { 8 + hour % 8 } else { hour };
            let at = midnight + hour * 3_600 * SECOND + i64::from(rng.below(3_600_000));
            add(Session {
                account,
                at,
                day,
                user,
                number,
            });
            number += 1;
        }
    }
}

fn visits(life: &Life, user: u16, day: i32, rng: &mut Rng) -> u32 {
    let usual = 1 + rng.weighted(&[70, 23, 7]) as u32;
    if life.heavy_user(day) == Some(user) {
        usual + 4
    } else {
        usual
    }
}

/// The mean number of events of one visit.
const EVENTS_A_VISIT: f64 = 4.03;
const VISITS: f64 = 1.37;

/// How many events [`plan`] and [`play`] make of a day, on average.
pub(crate) fn expected(life: &Life, day: i32, workday: f64) -> f64 {
    if day <= life.start_day || day > life.end_day {
        return 0.0;
    }
    let mood: Mood = life.mood(day);
    let mut visits = 0.0;
    for user in 0..life.users {
        if life.joins(user) < day {
            let usual = if life.heavy_user(day) == Some(user) {
                VISITS + 4.0
            } else {
                VISITS
            };
            visits += (life.keenness(user, day, &mood) * workday).min(1.0) * usual;
        }
    }
    visits * EVENTS_A_VISIT
}

/// Plays a session: calls `tell` with each event's instant, its number within the session, and what it says.
///
/// `copy` tells apart sessions that are told several times over to raise the rate of events.
pub(crate) fn play(life: &Life, session: &Session, copy: u16, mut tell: impl FnMut(i64, u32, What)) {
    let Session {
        day, user, number, ..
    } = *session;
    let mut rng = Rng::keyed([
        life.key,
        PLAY,
        day as u64,
        u64::from(number) << 16 | u64::from(copy),
    ]);
    let mood = life.mood(day);
    let mut at = session.at;
    let mut event = 0;
    let mut next = |at: i64, what: What| {
        tell(at, event, what);
        event += 1;
        debug_assert!(event < MAX_EVENTS);
    };
    next(
        at,
        What::Login {
            client: rng.weighted(&[75, 18, 7]) as u8,
        },
    );
    // 1 to 5, and 3 on average.
    for _ in 0..1 + rng.below(5) {
        at += 5 * SECOND + i64::from(rng.below(180_000));
        next(at, use_feature(life, user, day, &mood, &mut rng));
    }
    if rng.chance(0.02 * mood.strain.min(3.0)) {
        at += 3 * SECOND + i64::from(rng.below(60_000));
        let lost = rng.chance(0.12 * mood.strain.min(4.0));
        let results = if lost { 0 } else { 1 + rng.below(30) as u8 };
        next(
            at,
            What::Engagement {
                engagement: 0,
                results,
            },
        );
    }
    let faulty = 0.008;
    if rng.chance((faulty * mood.strain * mood.faults).min(0.6)) {
        let error = rng.below(ERRORS.len() as u32) as u8;
        // What fails in bad times fails again when it is tried again.
        let tries = if mood.faults > 1.0 { 1 + rng.below(4) } else { 1 };
        for _ in 0..tries {
            at += SECOND + i64::from(rng.below(30_000));
            next(
                at,
                What::Error {
                    error,
                    severity: rng.weighted(&[60, 35, 5]) as u8,
                },
            );
        }
    }
}

/// One use of a feature: the account's favourites most, the last of them least.
fn use_feature(life: &Life, user: u16, day: i32, mood: &Mood, rng: &mut Rng) -> What {
    if day >= life.advanced_from && rng.chance(0.08) {
        let advanced = FEATURES.len() - 1 - rng.below(ADVANCED_FEATURES.len() as u32) as usize;
        return What::Feature {
            feature: advanced as u8,
            count: 1,
            deciseconds: 2 + rng.below(600) as u16,
        };
    }
    let draw = rng.unit();
    let favourite = (f64::from(mood.breadth) * draw * (0.3 + 0.7 * draw)) as usize;
    // Users of an account differ a little in what they like best.
    let turned = if user % 3 == 2 && mood.breadth > 6 {
        (favourite + 2) % mood.breadth as usize
    } else {
        favourite
    };
    let feature = life.features[turned.min(FEATURES.len() - 1)];
    let count = if rng.chance(0.2) {
        2 + rng.below(8) as u8
    } else {
        1
    };
    let deciseconds = if rng.chance(0.5) {
        2 + rng.below(600) as u16
    } else {
        0
    };
    What::Feature {
        feature,
        count,
        deciseconds,
    }
}
