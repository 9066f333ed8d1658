//! The records that were sent and not yet acknowledged, in the order in which they were read.
//!
//! Only a run of acknowledged records from the front is settled, so per partition the settled
//! offsets have no gap. Records that failed stay in their place until they are sent again; when one
//! is found to have failed, all are looked at, because a broker that was away fails many at once
//! and they must be sent again together, not each after the one before it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use stream::{Delivered, Error, Record};

use crate::Outcome;

/// A record that is out or on its way.
pub struct Entry<D> {
    /// As it was read.
    pub record: Record,
    /// Milliseconds since the epoch.
    pub received_at: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was sent first.
    pub since: Instant,
    /// Where it stands.
    pub state: State<D>,
}

/// Where a record stands.
pub enum State<D> {
    /// In the producer's queue.
    Sent(D),
    /// Acknowledged, behind one that is not.
    Out,
    /// To be sent again.
    Failed {
        /// What was sent is larger than the topic takes.
        too_large: bool,
    },
}

/// The records in flight; `D` is the acknowledgement that each waits for.
pub struct InFlight<D> {
    entries: VecDeque<Entry<D>>,
    bytes: usize,
    failed: usize,
    last_error: Option<Error>,
}

impl<D: Future<Output = Result<Delivered, Error>> + Unpin> Default for InFlight<D> {
    fn default() -> Self {
        InFlight::new()
    }
}

impl<D: Future<Output = Result<Delivered, Error>> + Unpin> InFlight<D> {
    /// None.
    pub fn new() -> InFlight<D> {
        InFlight {
            entries: VecDeque::new(),
            bytes: 0,
            failed: 0,
            last_error: None,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
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
        self.entries.front().map(|entry| entry.since)
    }

    /// Adds one that was sent.
    pub fn push(&mut self, entry: Entry<D>) {
        self.bytes += size(&entry.record);
        self.entries.push_back(entry);
    }

    /// Whether anything of these partitions is in flight.
    pub fn holds(&self, partitions: &[i32]) -> bool {
        self.entries
            .iter()
            .any(|entry| partitions.contains(&entry.record.partition))
    }

    /// Forgets these partitions: they are not ours to commit.
    pub fn forget(&mut self, partitions: &[i32]) {
        self.entries
            .retain(|entry| !partitions.contains(&entry.record.partition));
        self.bytes = self.entries.iter().map(|entry| size(&entry.record)).sum();
        self.failed = self
            .entries
            .iter()
            .filter(|entry| matches!(entry.state, State::Failed { .. }))
            .count();
    }

    /// Why the latest failure happened, once.
    pub fn take_error(&mut self) -> Option<Error> {
        self.last_error.take()
    }

    /// Marks everything that is not out as failed: its producer is gone.
    pub fn fail_all(&mut self) {
        for entry in &mut self.entries {
            if matches!(entry.state, State::Sent(_)) {
                entry.state = State::Failed { too_large: false };
                self.failed += 1;
            }
        }
    }

    /// Ready once something was settled, which `settle` sees in order, or was found to have failed.
    pub fn poll_settled(&mut self, task: &mut Context<'_>, mut settle: impl FnMut(Entry<D>)) -> Poll<()> {
        let mut changed = false;
        while let Some(front) = self.entries.front_mut() {
            if let State::Sent(delivery) = &mut front.state {
                match Pin::new(delivery).poll(task) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(_)) => front.state = State::Out,
                    Poll::Ready(Err(error)) => {
                        front.state = failed(&error);
                        self.failed += 1;
                        self.last_error = Some(error);
                        self.look_at_all(task);
                        changed = true;
                    }
                }
            }
            match self.entries.pop_front() {
                Some(entry) if matches!(entry.state, State::Out) => {
                    self.bytes -= size(&entry.record);
                    settle(entry);
                    changed = true;
                }
                Some(entry) => {
                    self.entries.push_front(entry);
                    break;
                }
                None => break,
            }
        }
        if changed { Poll::Ready(()) } else { Poll::Pending }
    }

    fn look_at_all(&mut self, task: &mut Context<'_>) {
        for entry in &mut self.entries {
            if let State::Sent(delivery) = &mut entry.state {
                match Pin::new(delivery).poll(task) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(_)) => entry.state = State::Out,
                    Poll::Ready(Err(error)) => {
                        entry.state = failed(&error);
                        self.failed += 1;
                    }
                }
            }
        }
    }

    /// Sends what failed again, in order, until `send` cannot: it then gives the error back.
    ///
    /// # Errors
    /// The first error of `send`; what it concerned stays failed.
    pub fn resend(
        &mut self,
        mut send: impl FnMut(&Record, i64, bool) -> Result<(Outcome, D), Error>,
    ) -> Result<usize, Error> {
        let mut resent = 0;
        if self.failed == 0 {
            return Ok(resent);
        }
        for entry in &mut self.entries {
            if let State::Failed { too_large } = entry.state {
                let (outcome, delivery) = send(&entry.record, entry.received_at, too_large)?;
                entry.outcome = outcome;
                entry.state = State::Sent(delivery);
                self.failed -= 1;
                resent += 1;
            }
        }
        Ok(resent)
    }
}

fn failed<D>(error: &Error) -> State<D> {
    State::Failed {
        too_large: matches!(error, Error::TooLarge { .. }),
    }
}

fn size(record: &Record) -> usize {
    record.payload.len() + record.key.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    /// A delivery that a test settles by hand.
    struct Fake(oneshot::Receiver<Result<Delivered, Error>>);

    impl Future for Fake {
        type Output = Result<Delivered, Error>;

        fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
            Pin::new(&mut self.0)
                .poll(task)
                .map(|outcome| outcome.expect("the test holds the sender"))
        }
    }

    type Ack = oneshot::Sender<Result<Delivered, Error>>;

    fn fake() -> (Ack, Fake) {
        let (sender, receiver) = oneshot::channel();
        (sender, Fake(receiver))
    }

    fn push(in_flight: &mut InFlight<Fake>, partition: i32, offset: i64) -> Ack {
        let (ack, delivery) = fake();
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
            state: State::Sent(delivery),
        });
        ack
    }

    fn settled(in_flight: &mut InFlight<Fake>) -> Vec<(i32, i64)> {
        let mut settled = Vec::new();
        let mut task = Context::from_waker(Waker::noop());
        let _ = in_flight.poll_settled(&mut task, |entry| {
            settled.push((entry.record.partition, entry.record.offset))
        });
        settled
    }

    fn refused() -> Result<Delivered, Error> {
        Err(Error::Delivery {
            topic: "t".to_owned(),
            reason: "timed out".to_owned(),
        })
    }

    #[test]
    fn nothing_is_settled_behind_a_gap() {
        let mut in_flight = InFlight::new();
        let acks: Vec<Ack> = (0..3).map(|offset| push(&mut in_flight, 0, offset)).collect();
        let [first, second, third] = acks.try_into().ok().unwrap();
        third.send(Ok((0, 0))).unwrap();
        second.send(Ok((0, 0))).unwrap();
        assert!(settled(&mut in_flight).is_empty());
        first.send(Ok((0, 0))).unwrap();
        assert_eq!(settled(&mut in_flight), [(0, 0), (0, 1), (0, 2)]);
        assert_eq!((in_flight.len(), in_flight.bytes()), (0, 0));
    }

    #[test]
    fn what_failed_is_sent_again_all_at_once_and_settled_in_order() {
        let mut in_flight = InFlight::new();
        let acks: Vec<Ack> = (0..4).map(|offset| push(&mut in_flight, 0, offset)).collect();
        for (number, ack) in acks.into_iter().enumerate() {
            ack.send(if number == 2 { Ok((0, 0)) } else { refused() })
                .unwrap();
        }
        assert!(settled(&mut in_flight).is_empty());
        assert_eq!(in_flight.failed(), 3);
        assert!(in_flight.take_error().is_some());

        let mut again = Vec::new();
        let resent = in_flight.resend(|record, _, _| {
            let (ack, delivery) = fake();
            again.push((record.offset, ack));
            Ok((Outcome::Accepted, delivery))
        });
        assert_eq!(resent.unwrap(), 3);
        assert_eq!(
            again.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
            [0, 1, 3]
        );
        for (_, ack) in again {
            ack.send(Ok((0, 0))).unwrap();
        }
        assert_eq!(settled(&mut in_flight), [(0, 0), (0, 1), (0, 2), (0, 3)]);
    }

    #[test]
    fn a_full_queue_leaves_the_rest_failed_for_later() {
        let mut in_flight = InFlight::new();
        for offset in 0..3 {
            push(&mut in_flight, 0, offset).send(refused()).unwrap();
        }
        settled(&mut in_flight);
        let mut room = 1;
        let outcome = in_flight.resend(|_, _, _| {
            if room == 0 {
                return Err(Error::QueueFull);
            }
            room -= 1;
            Ok((Outcome::Accepted, fake().1))
        });
        assert!(matches!(outcome, Err(Error::QueueFull)));
        assert_eq!(in_flight.failed(), 2);
    }

    #[test]
    fn a_lost_partition_is_forgotten_and_holds_up_no_other() {
        let mut in_flight = InFlight::new();
        let _never = push(&mut in_flight, 1, 0);
        push(&mut in_flight, 2, 0).send(Ok((0, 0))).unwrap();
        assert!(settled(&mut in_flight).is_empty());
        in_flight.forget(&[1]);
        assert!(!in_flight.holds(&[1]));
        assert_eq!(settled(&mut in_flight), [(2, 0)]);
    }
}
