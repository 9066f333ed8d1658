//! What an account did, by its own local days.
//!
//! Days are kept in ascending order, only those with an event, and only [`KEPT_DAYS`] back from the
//! newest: an event that is at most 90 days late finds its day.

/// Days that are kept, the newest included: 90 for the widest window, and one more on either side so
/// that a change of time zone or an evaluation just past midnight finds its first day whole.
pub const KEPT_DAYS: i32 = 92;

/// One local day of an account.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Day {
    /// Days since 1970-01-01 in the account's time zone.
    #[prost(sint32, tag = "1")]
    pub number: i32,
    /// Logins.
    #[prost(uint32, tag = "2")]
    pub logins: u32,
    /// Events of any type.
    #[prost(uint32, tag = "3")]
    pub events: u32,
    /// Users with a login or a feature use, by their index in the account, ascending.
    #[prost(uint32, repeated, tag = "4")]
    pub users: Vec<u32>,
    /// Features used, by their index in the account, ascending.
    #[prost(uint32, repeated, tag = "5")]
    pub features: Vec<u32>,
    /// How often the feature at the same place was used.
    #[prost(uint64, repeated, tag = "6")]
    pub uses: Vec<u64>,
}

impl Day {
    /// Marks a user as active.
    pub fn add_user(&mut self, user: u32) {
        if let Err(place) = self.users.binary_search(&user) {
            self.users.insert(place, user);
        }
    }

    /// Counts uses of a feature.
    pub fn add_uses(&mut self, feature: u32, uses: u64) {
        match self.features.binary_search(&feature) {
            Ok(place) => self.uses[place] = self.uses[place].saturating_add(uses),
            Err(place) => {
                self.features.insert(place, feature);
                self.uses.insert(place, uses);
            }
        }
    }

    /// Uses of all features.
    pub fn total_uses(&self) -> u64 {
        self.uses.iter().fold(0, |sum, uses| sum.saturating_add(*uses))
    }
}

/// The day of that number, made when it is missing; `None` when it lies too far back to be kept.
pub fn day_mut(days: &mut Vec<Day>, number: i32) -> Option<&mut Day> {
    let newest = days.last().map_or(number, |day| day.number);
    if number <= newest.saturating_sub(KEPT_DAYS) {
        return None;
    }
    let place = match days.binary_search_by_key(&number, |day| day.number) {
        Ok(place) => place,
        Err(place) => {
            days.insert(
                place,
                Day {
                    number,
                    ..Day::default()
                },
            );
            place
        }
    };
    if number > newest {
        let kept_from = number.saturating_sub(KEPT_DAYS);
        let gone = days.partition_point(|day| day.number <= kept_from);
        days.drain(..gone);
        return days.last_mut();
    }
    days.get_mut(place)
}

/// The days from `first` to `last`, both included, that had an event.
pub fn window(days: &[Day], first: i32, last: i32) -> &[Day] {
    let begin = days.partition_point(|day| day.number < first);
    let end = days.partition_point(|day| day.number <= last);
    &days[begin..end.max(begin)]
}

/// Distinct users over some days; `users` is how many the account has had in all.
pub fn distinct_users(days: &[Day], users: usize) -> u32 {
    let mut seen = vec![false; users];
    let mut distinct = 0;
    for day in days {
        for user in &day.users {
            if let Some(seen) = seen.get_mut(*user as usize)
                && !*seen
            {
                *seen = true;
                distinct += 1;
            }
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(days: &[Day]) -> Vec<i32> {
        days.iter().map(|day| day.number).collect()
    }

    #[test]
    fn days_come_in_order_whatever_the_order_of_events_and_old_ones_go() {
        let mut days = Vec::new();
        for number in [100, 98, 99, 10, 100] {
            if let Some(day) = day_mut(&mut days, number) {
                day.events += 1;
            }
        }
        assert_eq!(numbers(&days), [10, 98, 99, 100]);
        assert_eq!(days[3].events, 2);
        day_mut(&mut days, 102).unwrap().events += 1;
        assert_eq!(
            numbers(&days),
            [98, 99, 100, 102],
            "day 10 is 92 days before day 102"
        );
        assert!(day_mut(&mut days, 10).is_none());
        assert!(day_mut(&mut days, 11).is_some());
    }

    #[test]
    fn a_window_holds_both_its_ends() {
        let mut days = Vec::new();
        for number in [1, 3, 5, 7] {
            day_mut(&mut days, number);
        }
        assert_eq!(numbers(window(&days, 3, 5)), [3, 5]);
        assert_eq!(numbers(window(&days, 4, 4)), [0i32; 0]);
        assert_eq!(numbers(window(&days, 9, 2)), [0i32; 0]);
    }

    #[test]
    fn a_user_of_two_days_is_counted_once() {
        let mut days = Vec::new();
        day_mut(&mut days, 1).unwrap().add_user(0);
        let second = day_mut(&mut days, 2).unwrap();
        second.add_user(1);
        second.add_user(0);
        second.add_user(1);
        assert_eq!(distinct_users(&days, 2), 2);
        assert_eq!(second_users(&days), [0, 1]);
    }

    fn second_users(days: &[Day]) -> Vec<u32> {
        days[1].users.clone()
    }
}
