//! The records that were sent and not yet acknowledged, in the order in which they were read.
//!
//! Only a run of acknowledged records from the front is settled, so per partition the settled
//! offsets have no gap. Records that failed stay in their place until they are sent again, all of those that
//! are known to have failed together.

use std::collections::VecDeque;
use std::time::Instant;

use stream::{Error, Receipt, Record};

use crate::Outcome;

/// A record that is out or on its way.
pub struct Entry {
    /// As it was read.
    pub record: Record,
    /// Milliseconds since the epoch.
    pub received_at: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was sent first.
    pub since: Instant,
}

/// Where a record stands.
enum State {
    /// In the producer's queue.
    Sent,
    /// Acknowledged, behind one that is not.
    Out,
    /// To be sent again.
    Failed {
        /// What was sent is larger than the topic takes.
        too_large: bool,
    },
    /// Of a partition that is not ours to commit any more.
    Forgotten,
}

/// The records in flight, each under the number that its receipt will bear: they follow one another.
#[derive(Default)]
pub struct InFlight {
    entries: VecDeque<(Entry, State)>,
    /// The number of the oldest.
    first: u64,
    len: usize,
    bytes: usize,
    failed: usize,
    last_error: Option<Error>,
}

impl InFlight {
    /// None.
    pub fn new() -> InFlight {
        InFlight::default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the records' keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait to be sent again.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Since when the oldest waits.
    pub fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|(entry, _)| entry.since)
    }

    /// The number under which the next record is to be sent.
    pub fn next_number(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Adds the one that was sent under [`InFlight::next_number`].
    pub fn push(&mut self, entry: Entry) {
        self.len += 1;
        self.bytes += size(&entry.record);
        self.entries.push_back((entry, State::Sent));
    }

    /// Whether anything of these partitions is in flight.
    pub fn holds(&self, partitions: &[i32]) -> bool {
        self.entries.iter().any(|(entry, state)| {
            !matches!(state, State::Forgotten) && partitions.contains(&entry.record.partition)
        })
    }

    /// Forgets these partitions: they are not ours to commit.
    pub fn forget(&mut self, partitions: &[i32]) {
        for (entry, state) in &mut self.entries {
            if matches!(state, State::Forgotten) || !partitions.contains(&entry.record.partition) {
                continue;
            }
            self.len -= 1;
            self.bytes -= size(&entry.record);
            self.failed -= usize::from(matches!(state, State::Failed { .. }));
            *state = State::Forgotten;
            // It keeps its place, so that the numbers behind it stay what they are, and nothing else.
            entry.record.payload = Vec::new();
            entry.record.key = None;
        }
        // The oldest is always one that somebody waits for.
        while let Some((_, State::Forgotten)) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
    }

    /// Why the latest failure happened, once.
    pub fn take_error(&mut self) -> Option<Error> {
        self.last_error.take()
    }

    /// Marks everything that is not out as failed: its producer is gone.
    pub fn fail_all(&mut self) {
        for (_, state) in &mut self.entries {
            if matches!(state, State::Sent) {
                *state = State::Failed { too_large: false };
                self.failed += 1;
            }
        }
    }

    /// Notes what became of records. What can be settled is handed to `settle`, in order.
    pub fn take_receipts(&mut self, receipts: Vec<Receipt>, mut settle: impl FnMut(Entry)) {
        for Receipt { number, outcome } in receipts {
            // One that was forgotten may be gone already.
            let place = number
                .checked_sub(self.first)
                .and_then(|place| usize::try_from(place).ok());
            let Some((_, state @ State::Sent)) = place.and_then(|place| self.entries.get_mut(place)) else {
                continue;
            };
            match outcome {
                Ok(()) => *state = State::Out,
                Err(error) => {
                    *state = State::Failed {
                        too_large: matches!(error, Error::TooLarge { .. }),
                    };
                    self.failed += 1;
                    self.last_error = Some(error);
                }
            }
        }
        while let Some((entry, state)) = self.entries.pop_front() {
            match state {
                State::Out => {
                    self.len -= 1;
                    self.bytes -= size(&entry.record);
                    settle(entry);
                }
                State::Forgotten => {}
                State::Sent | State::Failed { .. } => {
                    self.entries.push_front((entry, state));
                    break;
                }
            }
            self.first += 1;
        }
    }

    /// Sends what failed again, in order and each under its number, until `send` cannot: it then gives the error
    /// back.
    ///
    /// # Errors
    /// The first error of `send`; what it concerned stays failed.
    pub fn resend(
        &mut self,
        mut send: impl FnMut(u64, &Record, i64, bool) -> Result<Outcome, Error>,
    ) -> Result<usize, Error> {
        let mut resent = 0;
        if self.failed == 0 {
            return Ok(resent);
        }
        for (number, (entry, state)) in (self.first..).zip(&mut self.entries) {
            if let State::Failed { too_large } = *state {
                entry.outcome = send(number, &entry.record, entry.received_at, too_large)?;
                *state = State::Sent;
                self.failed -= 1;
                resent += 1;
            }
        }
        Ok(resent)
    }
}

fn size(record: &Record) -> usize {
    record.payload.len() + record.key.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn push(in_flight: &mut InFlight, partition: i32, offset: i64) {
        let record = Record {
            topic: Arc::from("t"),
            partition,
            offset,
            timestamp_ms: None,
            key: None,
            headers: Vec::new(),
            payload: vec![0; 10],
        };
        in_flight.push(Entry {
            record,
            received_at: 0,
            outcome: Outcome::Accepted,
            since: Instant::now(),
        });
    }

    fn settled(in_flight: &mut InFlight, receipts: Vec<Receipt>) -> Vec<(i32, i64)> {
        let mut settled = Vec::new();
        in_flight.take_receipts(receipts, |entry| {
            settled.push((entry.record.partition, entry.record.offset))
        });
        settled
    }

    fn receipts(numbers: impl IntoIterator<Item = u64>) -> Vec<Receipt> {
        let acknowledged = |number| Receipt {
            number,
            outcome: Ok(()),
        };
        numbers.into_iter().map(acknowledged).collect()
    }

    fn refused(number: u64) -> Receipt {
        let error = Error::Delivery {
            topic: "t".to_owned(),
            reason: "timed out".to_owned(),
        };
        Receipt {
            number,
            outcome: Err(error),
        }
    }

    #[test]
    fn nothing_is_settled_behind_a_gap() {
        let mut in_flight = InFlight::new();
        for offset in 0..3 {
            push(&mut in_flight, 0, offset);
        }
        assert!(settled(&mut in_flight, receipts([2, 1])).is_empty());
        assert_eq!(in_flight.len(), 3);
        assert_eq!(settled(&mut in_flight, receipts([0])), [(0, 0), (0, 1), (0, 2)]);
        assert_eq!((in_flight.len(), in_flight.bytes()), (0, 0));
        assert_eq!(in_flight.next_number(), 3);
    }

    #[test]
    fn what_failed_is_sent_again_all_at_once_and_settled_in_order() {
        let mut in_flight = InFlight::new();
        for offset in 0..4 {
            push(&mut in_flight, 0, offset);
        }
        let mut answers: Vec<Receipt> = [0, 1, 3].map(refused).into();
        answers.extend(receipts([2]));
        assert!(settled(&mut in_flight, answers).is_empty());
        assert_eq!(in_flight.failed(), 3);
        assert!(in_flight.take_error().is_some());

        let mut again = Vec::new();
        let resent = in_flight.resend(|number, record, _, _| {
            again.push((number, record.offset));
            Ok(Outcome::Accepted)
        });
        assert_eq!(resent.unwrap(), 3);
        assert_eq!(again, [(0, 0), (1, 1), (3, 3)]);
        assert_eq!(
            settled(&mut in_flight, receipts([0, 1, 3])),
            [(0, 0), (0, 1), (0, 2), (0, 3)]
        );
    }

    #[test]
    fn a_full_queue_leaves_the_rest_failed_for_later() {
        let mut in_flight = InFlight::new();
        for offset in 0..3 {
            push(&mut in_flight, 0, offset);
        }
        settled(&mut in_flight, [0, 1, 2].map(refused).into());
        let mut room = 1;
        let outcome = in_flight.resend(|_, _, _, _| {
            if room == 0 {
                return Err(Error::QueueFull);
            }
            room -= 1;
            Ok(Outcome::Accepted)
        });
        assert!(matches!(outcome, Err(Error::QueueFull)));
        assert_eq!(in_flight.failed(), 2);
    }

    #[test]
    fn a_lost_partition_is_forgotten_and_holds_up_no_other() {
        let mut in_flight = InFlight::new();
        push(&mut in_flight, 1, 0);
        push(&mut in_flight, 2, 0);
        push(&mut in_flight, 1, 1);
        assert!(settled(&mut in_flight, receipts([1])).is_empty());
        in_flight.forget(&[1]);
        assert!(!in_flight.holds(&[1]));
        assert_eq!((in_flight.len(), in_flight.bytes()), (1, 10));
        assert_eq!(settled(&mut in_flight, Vec::new()), [(2, 0)]);
        // The receipts of what was forgotten still come, and concern nothing that was sent since.
        push(&mut in_flight, 2, 1);
        assert!(settled(&mut in_flight, receipts([0, 2])).is_empty());
        assert_eq!(settled(&mut in_flight, receipts([3])), [(2, 1)]);
        assert!(in_flight.is_empty());
    }

    #[test]
    fn nobody_waits_for_what_is_forgotten() {
        let mut in_flight = InFlight::new();
        push(&mut in_flight, 1, 0);
        push(&mut in_flight, 1, 1);
        in_flight.forget(&[1]);
        assert_eq!(in_flight.oldest(), None);
        assert_eq!(
            in_flight.next_number(),
            2,
            "the receipts of the two may still come"
        );
    }

    #[test]
    fn what_failed_and_is_forgotten_is_not_sent_again() {
        let mut in_flight = InFlight::new();
        push(&mut in_flight, 1, 0);
        push(&mut in_flight, 2, 0);
        settled(&mut in_flight, [0, 1].map(refused).into());
        in_flight.forget(&[1]);
        let mut again = Vec::new();
        let resent = in_flight.resend(|number, _, _, _| {
            again.push(number);
            Ok(Outcome::Accepted)
        });
        assert_eq!((resent.unwrap(), again), (1, vec![1]));
    }
}
