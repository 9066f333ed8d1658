//! The ingest role of the simulated world: the real bookkeeping of what is in flight, around a producer
//! and a consumer of which anything may be lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use ingest::Outcome;
use ingest::in_flight::{Entry, InFlight};
use stream::{Error, Receipt, Record};

use crate::group::{Member, Note};
use crate::log::Log;

/// Records in flight at most.
const MOST_IN_FLIGHT: usize = 12;

pub(crate) struct IngestProcess {
    pub(crate) member: Member,
    pub(crate) paused_until: i64,
    in_flight: InFlight,
    /// What the producer has not sent yet, with the number of each record …
    sending: VecDeque<(u64, Vec<u8>)>,
    /// … and what it has to tell of those that it has.
    receipts: Vec<Receipt>,
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
            receipts: Vec::new(),
            positions: BTreeMap::new(),
            draining: Vec::new(),
        }
    }

    /// What the producer holds is lost with the process; some of it may have been on its way.
    pub(crate) fn die(&mut self, log: &mut Log, rng: &mut Rng) {
        for (_, payload) in self.sending.drain(..) {
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
            self.sending.push_back((self.in_flight.next_number(), payload));
            self.in_flight.push(Entry {
                record,
                received_at: 0,
                outcome: Outcome::Accepted,
                since: Instant::now(),
            });
        }
    }

    /// The broker takes something, or not, and says so, or not.
    fn deliver(&mut self, log: &mut Log, rng: &mut Rng, calm: bool) {
        for _ in 0..rng.usize(1..8) {
            let Some((number, payload)) = self.sending.pop_front() else {
                return;
            };
            let luck = if calm { 0 } else { rng.u8(0..20) };
            let timed_out = || Err(Error::Client("timed out".to_string()));
            let outcome = match luck {
                0..=17 => {
                    log.append_event(&payload);
                    Ok(())
                }
                18 => {
                    log.append_event(&payload);
                    timed_out()
                }
                _ => timed_out(),
            };
            self.receipts.push(Receipt { number, outcome });
        }
    }

    fn settle(&mut self, raw: &mut Log) {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let receipts = std::mem::take(&mut self.receipts);
        self.in_flight.take_receipts(receipts, |entry| {
            next.insert(entry.record.partition, entry.record.offset + 1);
        });
        for (number, offset) in next {
            if self.member.assigned.contains(&number) {
                raw.commit(number, offset);
            }
        }
        let sending = &mut self.sending;
        let resent = self.in_flight.resend(|number, record, _, _| {
            sending.push_back((number, record.payload.clone()));
            Ok(Outcome::Accepted)
        });
        debug_assert!(resent.is_ok(), "the simulated producer takes everything");
    }
}
