//! The ingest role of the simulated world: the real bookkeeping of what is in flight, around a producer
//! and a consumer of which anything may be lost.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use fastrand::Rng;
use ingest::Outcome;
use ingest::in_flight::{Entry, InFlight, State};
use stream::{Delivered, Error, Record};

use crate::group::{Member, Note};
use crate::log::Log;

/// Records in flight at most.
const MOST_IN_FLIGHT: usize = 12;

type Settled = Rc<RefCell<Option<Result<Delivered, Error>>>>;

/// An acknowledgement that the world settles.
pub(crate) struct Ack(Settled);

impl std::future::Future for Ack {
    type Output = Result<Delivered, Error>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)
    }
}

pub(crate) struct IngestProcess {
    pub(crate) member: Member,
    pub(crate) paused_until: i64,
    in_flight: InFlight<Ack>,
    /// What the producer has not sent yet.
    sending: VecDeque<(Vec<u8>, Settled)>,
    positions: BTreeMap<i32, i64>,
    draining: Vec<i32>,
}

impl IngestProcess {
    pub(crate) fn new(id: u64, now: i64) -> IngestProcess {
        IngestProcess {
            member: Member {
                id,
                last_heartbeat: now,
                ..Member::default()
            },
            paused_until: now,
            in_flight: InFlight::new(),
            sending: VecDeque::new(),
            positions: BTreeMap::new(),
            draining: Vec::new(),
        }
    }

    /// What the producer holds is lost with the process; some of it may have been on its way.
    pub(crate) fn die(&mut self, log: &mut Log, rng: &mut Rng) {
        for (payload, _) in self.sending.drain(..) {
            if rng.bool() {
                log.append_event(&payload);
            } else {
                break;
            }
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.member.inbox.is_empty() && self.draining.is_empty()
    }

    /// One step: something of what a real one does at the same time. Returns partitions that it gave up.
    pub(crate) fn step(&mut self, raw: &mut Log, log: &mut Log, rng: &mut Rng, calm: bool) -> Vec<i32> {
        match rng.u8(0..4) {
            0 => self.read(raw, rng),
            1 => self.deliver(log, rng, calm),
            2 => self.settle(raw),
            _ => {}
        }
        if let Some(note) = self.member.inbox.pop_front() {
            match note {
                Note::Assigned(number) => {
                    self.in_flight.forget(&[number]);
                    self.member.assigned.insert(number);
                    self.positions.insert(number, raw.committed(number));
                }
                Note::Revoked(number) => {
                    self.positions.remove(&number);
                    self.draining.push(number);
                }
            }
        }
        let in_flight = &self.in_flight;
        let (waiting, done): (Vec<i32>, Vec<i32>) = self
            .draining
            .iter()
            .partition(|number| in_flight.holds(&[**number]));
        self.draining = waiting;
        for number in &done {
            self.member.assigned.remove(number);
        }
        done
    }

    fn read(&mut self, raw: &Log, rng: &mut Rng) {
        if self.in_flight.len() >= MOST_IN_FLIGHT || self.positions.is_empty() {
            return;
        }
        let chosen = rng.usize(0..self.positions.len());
        let Some((number, position)) = self.positions.iter_mut().nth(chosen) else {
            return;
        };
        for payload in raw.read(*number, *position, rng.usize(1..6)) {
            let record = Record {
                topic: Arc::from("usage.events"),
                partition: *number,
                offset: *position,
                timestamp_ms: None,
                key: None,
                headers: Vec::new(),
                payload: payload.clone(),
            };
            *position += 1;
            let settled = Settled::default();
            self.sending.push_back((payload, Rc::clone(&settled)));
            self.in_flight.push(Entry {
                record,
                received_at: 0,
                outcome: Outcome::Accepted,
                since: Instant::now(),
                state: State::Sent(Ack(settled)),
            });
        }
    }

    /// The broker takes something, or not, and says so, or not.
    fn deliver(&mut self, log: &mut Log, rng: &mut Rng, calm: bool) {
        for _ in 0..rng.usize(1..8) {
            let Some((payload, settled)) = self.sending.pop_front() else {
                return;
            };
            let luck = if calm { 0 } else { rng.u8(0..20) };
            let timed_out = || Err(Error::Client("timed out".to_string()));
            let outcome = match luck {
                0..=17 => Ok(log.append_event(&payload)),
                18 => {
                    log.append_event(&payload);
                    timed_out()
                }
                _ => timed_out(),
            };
            settled.replace(Some(outcome));
        }
    }

    fn settle(&mut self, raw: &mut Log) {
        let mut task = Context::from_waker(Waker::noop());
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        // Whether anything was settled is seen in `next`.
        let _ = self.in_flight.poll_settled(&mut task, |entry| {
            next.insert(entry.record.partition, entry.record.offset + 1);
        });
        for (number, offset) in next {
            if self.member.assigned.contains(&number) {
                raw.commit(number, offset);
            }
        }
        let sending = &mut self.sending;
        let resent = self.in_flight.resend(|record, _, _| {
            let settled = Settled::default();
            sending.push_back((record.payload.clone(), Rc::clone(&settled)));
            Ok((Outcome::Accepted, Ack(settled)))
        });
        debug_assert!(resent.is_ok(), "the simulated producer takes everything");
    }
}
