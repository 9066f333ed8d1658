//! Which events an account has had.
//!
//! The invariant: the id of every folded event that occurred after `horizon` is remembered. So an
//! event that occurred after the horizon and whose id is not remembered is new, and only one at or
//! before it has to be looked up elsewhere. The horizon only ever moves forward.
//!
//! An id is kept as a 64-bit hash. That two different ids among the some thousand of one account
//! agree by chance, and an event is taken for a repeat, has odds below one in 10^12.

use xxhash_rust::xxh3::xxh3_64;

/// What is known of an event's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recall {
    /// It has not been folded.
    New,
    /// It has been folded.
    Known,
    /// It occurred so long ago that its id may have been forgotten: ask the table of events.
    Forgotten,
}

/// The remembered ids of one account.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RememberedIds {
    /// Ids of events that occurred at or before are not remembered; milliseconds.
    #[prost(sint64, tag = "1")]
    horizon: i64,
    /// Hashes in ascending order.
    #[prost(fixed64, repeated, tag = "2")]
    hashes: Vec<u64>,
    /// In which second the event of the hash at the same place occurred, since 1970.
    #[prost(uint32, repeated, tag = "4")]
    seconds: Vec<u32>,
}

impl RememberedIds {
    /// Remembers nothing, and has nothing to forget.
    pub fn empty() -> RememberedIds {
        RememberedIds::forgotten_until(i64::MIN)
    }

    /// Remembers nothing of what occurred up to `horizon`, milliseconds.
    pub fn forgotten_until(horizon: i64) -> RememberedIds {
        RememberedIds {
            horizon,
            hashes: Vec::new(),
            seconds: Vec::new(),
        }
    }

    /// What is known of this event.
    pub fn recall(&self, event_id: &str, occurred_at: i64) -> Recall {
        if self.hashes.binary_search(&hash(event_id)).is_ok() {
            Recall::Known
        } else if occurred_at > self.horizon {
            Recall::New
        } else {
            Recall::Forgotten
        }
    }

    /// Remembers an event that is being folded, unless it lies behind the horizon.
    pub fn remember(&mut self, event_id: &str, occurred_at: i64) {
        if occurred_at <= self.horizon {
            return;
        }
        let hash = hash(event_id);
        if let Err(place) = self.hashes.binary_search(&hash) {
            self.hashes.insert(place, hash);
            self.seconds.insert(place, second(occurred_at));
        }
    }

    /// Moves the horizon to `until`, or up to a second before it, and further when more than `max` ids
    /// would be left.
    pub fn forget(&mut self, until: i64, max: usize) {
        let horizon = self.horizon_to_keep(until, max);
        if horizon == self.horizon {
            return;
        }
        self.horizon = horizon;
        let mut kept = 0;
        for place in 0..self.hashes.len() {
            if is_left(horizon, self.seconds[place]) {
                self.hashes[kept] = self.hashes[place];
                self.seconds[kept] = self.seconds[place];
                kept += 1;
            }
        }
        self.hashes.truncate(kept);
        self.seconds.truncate(kept);
    }

    /// What would be remembered after [`RememberedIds::forget`].
    pub fn without_forgotten(&self, until: i64, max: usize) -> RememberedIds {
        let horizon = self.horizon_to_keep(until, max);
        if horizon == self.horizon {
            return self.clone();
        }
        let places = self.seconds.iter().zip(&self.hashes);
        let left = places.filter(|(second, _)| is_left(horizon, **second));
        let (seconds, hashes) = left.unzip();
        RememberedIds {
            horizon,
            hashes,
            seconds,
        }
    }

    /// The horizon behind which at most `max` ids are left, `until` or later.
    fn horizon_to_keep(&self, until: i64, max: usize) -> i64 {
        let mut horizon = self.horizon;
        if until > 0 {
            horizon = horizon.max(until - until.rem_euclid(1000) - 1);
        }
        if self.seconds.len() <= max {
            return horizon;
        }
        let seconds = self.seconds.iter().copied();
        let mut left: Vec<u32> = seconds.filter(|second| is_left(horizon, *second)).collect();
        if left.len() <= max {
            return horizon;
        }
        // A quarter more than needed goes, so that this is not done again for every event.
        let last_to_go = left.len() - max + max / 4;
        let place = last_to_go.min(left.len()) - 1;
        let (_, newest_gone, _) = left.select_nth_unstable(place);
        end_of(*newest_gone)
    }

    /// How many ids are remembered.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.hashes.shrink_to_fit();
        self.seconds.shrink_to_fit();
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        8 * self.hashes.capacity() + 4 * self.seconds.capacity()
    }

    #[cfg(test)]
    fn horizon(&self) -> i64 {
        self.horizon
    }

    /// Whether the arrays agree, which a state that was read must prove.
    pub(crate) fn is_sound(&self) -> bool {
        self.hashes.len() == self.seconds.len() && self.hashes.is_sorted()
    }
}

/// The second of an instant; what lies outside 1970 to 2106 counts as its nearest end.
fn second(at: i64) -> u32 {
    u32::try_from(at.div_euclid(1000).max(0)).unwrap_or(u32::MAX)
}

/// Whether ids of this second are remembered. Those of one second go together.
fn is_left(horizon: i64, second: u32) -> bool {
    end_of(second) > horizon
}

/// The last millisecond of a second.
fn end_of(second: u32) -> i64 {
    i64::from(second) * 1000 + 999
}

fn hash(event_id: &str) -> u64 {
    xxh3_64(event_id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_new_once_and_known_afterwards() {
        let mut ids = RememberedIds::empty();
        assert_eq!(ids.recall("a", 10), Recall::New);
        ids.remember("a", 10);
        assert_eq!(ids.recall("a", 10), Recall::Known);
        assert_eq!(ids.recall("b", 10), Recall::New);
    }

    #[test]
    fn what_lies_behind_the_horizon_has_to_be_asked_for() {
        let mut ids = RememberedIds::empty();
        for second in 1..=10 {
            ids.remember(&format!("e{second}"), second * 1000);
        }
        ids.forget(5_400, 100);
        assert_eq!(ids.len(), 6, "the second that is not over stays");
        assert_eq!(ids.recall("e4", 4_000), Recall::Forgotten);
        assert_eq!(ids.recall("late", 4_999), Recall::Forgotten);
        assert_eq!(ids.recall("e5", 5_000), Recall::Known);
        assert_eq!(ids.recall("new", 5_000), Recall::New);
        ids.forget(1_000, 100);
        assert_eq!(ids.horizon(), 4_999, "the horizon never goes back");
    }

    #[test]
    fn more_ids_than_the_bound_move_the_horizon_and_no_folded_event_is_called_new() {
        let mut ids = RememberedIds::empty();
        let at = |n: i64| n * 370 - 50_000;
        for n in 0..1000 {
            ids.remember(&format!("e{n}"), at(n));
            if ids.len() > 100 {
                ids.forget(i64::MIN, 100);
            }
        }
        assert!(ids.len() <= 100);
        for n in 0..1000 {
            assert_ne!(ids.recall(&format!("e{n}"), at(n)), Recall::New, "event {n}");
        }
    }

    #[test]
    fn what_would_be_left_is_what_is_left_after_forgetting() {
        let mut ids = RememberedIds::empty();
        for n in 0..100 {
            ids.remember(&format!("e{n}"), n * 700);
        }
        for (until, max) in [(i64::MIN, 1_000), (30_500, 1_000), (30_500, 10), (i64::MIN, 40)] {
            let left = ids.without_forgotten(until, max);
            let mut forgetful = ids.clone();
            forgetful.forget(until, max);
            assert_eq!(left, forgetful, "{until}, {max}");
        }
    }

    #[test]
    fn equal_times_are_forgotten_together() {
        let mut ids = RememberedIds::empty();
        for n in 0..50 {
            ids.remember(&format!("e{n}"), 7_000);
        }
        ids.forget(i64::MIN, 10);
        assert_eq!(ids.len(), 0);
        assert_eq!(ids.recall("e3", 7_000), Recall::Forgotten);
        assert_eq!(ids.recall("x", 8_000), Recall::New);
    }
}
