//! How fast and how much a key may write. Time is a parameter.
//!
//! The rate is a bucket of tokens that holds one second of it. A request is taken whole while there is any
//! token, and may leave a debt that later ones wait for: so a batch larger than the bucket goes through,
//! and the rate holds over time. The quota is taken when a request is let through, and what of it does not
//! become an accepted event is given back.

const MS_PER_DAY: i64 = 86_400_000;
const TOKEN: i64 = 1_000;

#[derive(Debug)]
pub(super) struct Meter {
    /// In thousandths.
    tokens: i64,
    at_ms: i64,
    day: i64,
    /// Of the quota of the day.
    used: u64,
}

/// Why not now, and after how many milliseconds again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    Rate(i64),
    Quota(i64),
}

impl Meter {
    /// A full bucket, and so much of the quota used already.
    pub(super) fn new(rate: u32, used: u64, now_ms: i64) -> Meter {
        Meter {
            tokens: i64::from(rate) * TOKEN,
            at_ms: now_ms,
            day: now_ms.div_euclid(MS_PER_DAY),
            used,
        }
    }

    /// Lets `events` through, or says why not. A bound of 0 is none.
    pub(super) fn admit(&mut self, rate: u32, quota: u64, events: u64, now_ms: i64) -> Result<(), Exceeded> {
        self.turn_day(now_ms);
        if quota > 0 && self.used.saturating_add(events) > quota {
            return Err(Exceeded::Quota((self.day + 1) * MS_PER_DAY - now_ms));
        }
        if rate > 0 {
            self.take_tokens(i64::from(rate), events, now_ms)?;
        }
        self.used = self.used.saturating_add(events);
        Ok(())
    }

    fn take_tokens(&mut self, rate: i64, events: u64, now_ms: i64) -> Result<(), Exceeded> {
        // A clock that is set back gives nothing.
        let passed = (now_ms - self.at_ms).max(0);
        self.at_ms = now_ms;
        // So many a second are so many thousandths a millisecond.
        let more = passed.saturating_mul(rate);
        self.tokens = self.tokens.saturating_add(more).min(rate * TOKEN);
        if self.tokens < TOKEN {
            let missing = TOKEN - self.tokens;
            return Err(Exceeded::Rate((missing + rate - 1) / rate));
        }
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        self.tokens = self.tokens.saturating_sub(events.saturating_mul(TOKEN));
        Ok(())
    }

    /// Takes back events that did not become accepted ones. Their tokens are gone: they were work.
    pub(super) fn give_back(&mut self, events: u64) {
        self.used = self.used.saturating_sub(events);
    }

    fn turn_day(&mut self, now_ms: i64) {
        let day = now_ms.div_euclid(MS_PER_DAY);
        if day > self.day {
            self.day = day;
            self.used = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn over_any_time_the_rate_holds_but_for_one_second_and_one_request(
            rate in 1_u32..500,
            requests in proptest::collection::vec((0_i64..2_000, 1_u64..300), 1..200),
        ) {
            let mut meter = Meter::new(rate, 0, 0);
            let (mut now, mut let_through, mut largest) = (0, 0, 0);
            for (pause, events) in requests {
                now += pause;
                match meter.admit(rate, 0, events, now) {
                    Ok(()) => {
                        let_through += events;
                        largest = largest.max(events);
                    }
                    Err(exceeded) => {
                        let Exceeded::Rate(wait) = exceeded else { panic!("{exceeded:?}") };
                        prop_assert!(wait > 0);
                        // Who waits as told comes through.
                        now += wait;
                        prop_assert_eq!(meter.admit(rate, 0, events, now), Ok(()));
                        let_through += events;
                        largest = largest.max(events);
                    }
                }
                let allowed = f64::from(rate) * (now as f64 / 1_000.0 + 1.0) + largest as f64;
                prop_assert!(let_through as f64 <= allowed + 1.0, "{let_through} of {allowed} at {now}");
            }
        }
    }

    #[test]
    fn the_quota_is_of_the_day_in_utc_and_what_was_not_accepted_is_given_back() {
        let noon = MS_PER_DAY / 2;
        let mut meter = Meter::new(0, 7, noon);
        assert_eq!(meter.admit(0, 10, 4, noon), Err(Exceeded::Quota(MS_PER_DAY / 2)));
        assert_eq!(meter.admit(0, 10, 3, noon), Ok(()));
        assert!(meter.admit(0, 10, 1, MS_PER_DAY - 1).is_err());
        meter.give_back(1);
        assert_eq!(meter.admit(0, 10, 1, noon), Ok(()));
        assert_eq!(meter.admit(0, 10, 10, MS_PER_DAY), Ok(()));
    }

    #[test]
    fn what_the_rate_refuses_costs_no_quota() {
        let mut meter = Meter::new(1, 0, 0);
        assert_eq!(meter.admit(1, 10, 9, 0), Ok(()));
        assert!(matches!(meter.admit(1, 10, 1, 0), Err(Exceeded::Rate(_))));
        assert_eq!(meter.admit(1, 10, 1, 60_000), Ok(()));
    }
}
