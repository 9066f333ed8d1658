//! The events of the benches, and what must come of them.
//!
//! Usage events of a subscription product as native JSON, 220 bytes each: accounts are drawn by Zipf's law,
//! time runs evenly over the days, some events come out of order, and some come twice. The same workload
//! gives the same events, byte for byte.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use jiff::Timestamp;

/// Milliseconds of a day.
pub const MS_PER_DAY: i64 = 86_400_000;
/// Of so many events one is a login; the others are uses of features.
const LOGIN_ONE_IN: u64 = 5;
/// Of so many records one repeats an event that came before.
const REPEATED_ONE_IN: u64 = 100;
/// A repeated event is one of so many newest.
const REPEATED_OF: usize = 10_000;
/// Of so many events one happened earlier than its place says, …
const LATE_ONE_IN: u64 = 20;
/// … by up to this, in milliseconds.
const LATE_BY: i64 = 2 * MS_PER_DAY;
/// Users of an account.
const USERS: u64 = 10;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Records, the repeated ones among them.
    pub records: u64,
    /// Accounts; the first ones have the most events.
    pub accounts: usize,
    /// Days over which the events happened.
    pub days: i64,
    /// When the last one happened, in milliseconds since 1970.
    pub end: i64,
    /// What chance is drawn from.
    pub seed: u64,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    number: u64,
    account: u32,
    user: u8,
    /// A feature; none is a login.
    feature: Option<u8>,
    /// Milliseconds since 1970.
    occurred_at: i64,
}

impl Event {
    /// The account's id, which is the record's key.
    pub fn account_id(&self) -> String {
        account_id(self.account)
    }

    /// Native JSON.
    pub fn json(&self) -> String {
        let mut text = String::with_capacity(240);
        let at = Timestamp::from_millisecond(self.occurred_at).unwrap_or(Timestamp::MAX);
        let (account, number) = (self.account, self.number);
        let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (kind, name) = match self.feature {
            Some(feature) => ("feature", simulate::FEATURES[usize::from(feature)]),
            None => ("login", "login"),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{{"event_id":"{id:016x}-{number:06}","account_id":"account-{account:06}","user_id":"user-{account:06}-{}","type":"{kind}","name":"{name}","occurred_at":"{at:.3}","properties":{{"duration_ms":{},"device":"desktop"}}}}"#,
            self.user,
            100 + number % 900,
        );
        text
    }
}

fn account_id(account: u32) -> String {
    format!("account-{account:06}")
}

/// What an account did on a day of UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Events of any type.
    pub events: u64,
    /// Logins.
    pub logins: u64,
    /// Users who did anything.
    pub users: u64,
    /// Uses by feature.
    pub features: BTreeMap<String, u64>,
}

/// What must come of the records: each event counted once.
#[derive(Debug, Default)]
pub struct Truth {
    /// Different events.
    pub events: u64,
    /// By account and day, counted from 1970-01-01.
    pub days: HashMap<(String, i64), Day>,
}

impl Workload {
    /// The events in the order in which they are sent.
    pub fn events(&self) -> impl Iterator<Item = Event> + Send + use<> {
        let workload = *self;
        let mut rng = fastrand::Rng::with_seed(workload.seed);
        let ranks = Ranks::new(workload.accounts);
        let mut newest: Vec<Event> = Vec::with_capacity(REPEATED_OF);
        (0..workload.records).map(move |number| {
            if newest.len() == REPEATED_OF && rng.u64(..REPEATED_ONE_IN) == 0 {
                return newest[rng.usize(..REPEATED_OF)];
            }
            let event = workload.event(number, &ranks, &mut rng);
            let place = (number as usize) % REPEATED_OF;
            match newest.get_mut(place) {
                Some(old) => *old = event,
                None => newest.push(event),
            }
            event
        })
    }

    fn event(&self, number: u64, ranks: &Ranks, rng: &mut fastrand::Rng) -> Event {
        let span = self.days * MS_PER_DAY;
        let place = span as f64 * number as f64 / self.records as f64;
        let mut occurred_at = self.end - span + place as i64;
        if rng.u64(..LATE_ONE_IN) == 0 {
            occurred_at -= rng.i64(0..LATE_BY);
        }
        let is_login = rng.u64(..LOGIN_ONE_IN) == 0;
        Event {
            number,
            account: ranks.draw(rng),
            user: rng.u64(..USERS) as u8,
            feature: (!is_login).then(|| rng.usize(..simulate::FEATURES.len()) as u8),
            occurred_at,
        }
    }

    /// What must come of it.
    pub fn truth(&self) -> Truth {
        let mut truth = Truth::default();
        let mut seen = vec![false; self.records as usize];
        let mut users: HashMap<(u32, i64), HashSet<u8>> = HashMap::new();
        for event in self.events() {
            if std::mem::replace(&mut seen[event.number as usize], true) {
                continue;
            }
            truth.events += 1;
            let number = event.occurred_at.div_euclid(MS_PER_DAY);
            let day = truth.days.entry((event.account_id(), number)).or_default();
            let users = users.entry((event.account, number)).or_default();
            users.insert(event.user);
            day.users = users.len() as u64;
            day.events += 1;
            match event.feature {
                Some(feature) => {
                    let name = simulate::FEATURES[usize::from(feature)];
                    *day.features.entry(name.to_owned()).or_default() += 1;
                }
                None => day.logins += 1,
            }
        }
        truth
    }
}

impl Truth {
    /// Accounts that have an event.
    pub fn accounts(&self) -> u64 {
        let accounts: HashSet<&str> = self.days.keys().map(|(account, _)| account.as_str()).collect();
        accounts.len() as u64
    }

    /// Days of accounts that are in only one of the two, or not the same in both.
    pub fn differences(&self, found: &HashMap<(String, i64), Day>) -> u64 {
        let missing = self
            .days
            .iter()
            .filter(|(place, day)| found.get(place) != Some(day));
        let surplus = found.keys().filter(|place| !self.days.contains_key(place));
        (missing.count() + surplus.count()) as u64
    }
}

/// Draws accounts by Zipf's law with exponent 1.
struct Ranks {
    /// Cumulative weights.
    sums: Vec<f64>,
}

impl Ranks {
    fn new(accounts: usize) -> Ranks {
        let mut sum = 0.0;
        let weights = (1..=accounts).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Ranks {
            sums: weights.collect(),
        }
    }

    fn draw(&self, rng: &mut fastrand::Rng) -> u32 {
        let all = self.sums.last().copied().unwrap_or(0.0);
        let drawn = rng.f64() * all;
        let rank = self.sums.partition_point(|sum| *sum <= drawn);
        rank.min(self.sums.len().saturating_sub(1)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Workload = Workload {
        records: 50_000,
        accounts: 500,
        days: 10,
        end: 1_795_309_324_000,
        seed: 7,
    };

    #[test]
    fn events_repeat_and_come_late_as_often_as_is_said() {
        let events: Vec<Event> = SMALL.events().collect();
        let truth = SMALL.truth();
        let repeated = SMALL.records - truth.events;
        assert!((300..500).contains(&repeated), "{repeated}");
        let late = events
            .windows(2)
            .filter(|two| two[1].occurred_at < two[0].occurred_at);
        let late = late.count();
        assert!((2_000..3_500).contains(&late), "{late}");
        let bytes: usize = events.iter().map(|event| event.json().len()).sum();
        let mean = bytes / events.len();
        assert!((210..=230).contains(&mean), "{mean} bytes");
    }

    #[test]
    fn a_day_that_is_off_by_one_is_a_difference() {
        let truth = SMALL.truth();
        let mut found = truth.days.clone();
        assert_eq!(truth.differences(&found), 0);
        found.values_mut().next().unwrap().logins += 1;
        found.insert(("nobody".to_owned(), 1), Day::default());
        assert_eq!(truth.differences(&found), 2);
    }

    #[test]
    fn the_first_accounts_have_the_most_events() {
        let mut counts = vec![0_u32; SMALL.accounts];
        for event in SMALL.events() {
            counts[event.account as usize] += 1;
        }
        assert!(counts[0] > 15 * counts[99], "{} {}", counts[0], counts[99]);
    }
}
