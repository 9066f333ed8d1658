//! The aggregate role of the simulated world: the real core; every action that it wants done may fail,
//! be done without its knowing, or be done when it is long gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use aggregate::{Action, Answer, Core, CoreError, HistoryRequest, Incoming, Lane, Lives, Outlook, SetAside};
use event::wire;
use fastrand::Rng;
use health::{AlertChange, Model, SegmentBaselines};

use crate::group::{Group, Member, Note};
use crate::log::Log;
use crate::tables::Tables;

/// What an aggregate process meets.
pub(crate) struct Servers<'a> {
    pub(crate) log: &'a mut Log,
    pub(crate) tables: &'a mut Tables,
    pub(crate) rejected: &'a mut Vec<SetAside>,
    pub(crate) alerts: &'a mut Vec<AlertChange>,
    pub(crate) raw_lag: i64,
}

/// How a process starts.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) config: Arc<aggregate::Config>,
    pub(crate) model: Arc<Model>,
    pub(crate) metrics: aggregate::Metrics,
}

/// Why a process starts over.
pub(crate) enum Ended {
    Fenced,
    Poison(i32, i64, String),
}

pub(crate) struct AggregateProcess {
    pub(crate) member: Member,
    pub(crate) paused_until: i64,
    /// Without a way to the broker until then.
    pub(crate) cut_off_until: i64,
    pub(crate) core: Core,
    /// What is being done in each lane.
    pub(crate) pending: Vec<(Lane, Action)>,
    /// Where each started partition is read on.
    pub(crate) positions: BTreeMap<i32, i64>,
    draining: Option<i32>,
    histories: Vec<(i32, HistoryRequest)>,
}

impl AggregateProcess {
    pub(crate) fn new(
        id: u64,
        setup: &Setup,
        poison: BTreeMap<(i32, i64), String>,
        now: i64,
    ) -> AggregateProcess {
        let (config, model) = (Arc::clone(&setup.config), Arc::clone(&setup.model));
        let core = Core::new(
            config,
            model,
            setup.metrics.clone(),
            format!("p{id}"),
            poison,
            now,
        );
        AggregateProcess {
            member: Member {
                id,
                last_heartbeat: now,
                ..Member::default()
            },
            paused_until: now,
            cut_off_until: now,
            core,
            pending: Vec::new(),
            positions: BTreeMap::new(),
            draining: None,
            histories: Vec::new(),
        }
    }

    /// Whether nothing is being done, and all that the log has was taken.
    pub(crate) fn is_at_rest(&self, log: &Log) -> bool {
        let is_read = |(number, position): (&i32, &i64)| log.end(*number) == *position;
        self.pending.is_empty()
            && self.member.inbox.is_empty()
            && self.draining.is_none()
            && self.histories.is_empty()
            && self.positions.len() == self.member.assigned.len()
            && self.positions.iter().all(is_read)
    }

    /// One step: something of what a real one does in its turn.
    pub(crate) fn step(
        &mut self,
        group: &mut Group,
        servers: &mut Servers<'_>,
        rng: &mut Rng,
        now: i64,
        calm: bool,
    ) -> Result<(), Failed> {
        // Everything else goes on while something is being done, but for what waits until all is done.
        if !self.pending.is_empty() && (self.draining.is_some() || rng.bool()) {
            let (lane, action) = self.pending.swap_remove(rng.usize(..self.pending.len()));
            return self.go_on(lane, action, group, servers, rng, now, calm);
        }
        if let Some((lane, action)) = self.core.next(now).map_err(ended)? {
            // The fence is asked before each thing.
            if !group.owns(&self.member, now) {
                return Err(Failed::Ended(Ended::Fenced));
            }
            self.pending.push((lane, action));
            return Ok(());
        }
        if !self.pending.is_empty() && self.draining.is_some() {
            return Ok(());
        }
        if let Some(number) = self.draining.take() {
            self.core.forget(&[number]);
            self.positions.remove(&number);
            self.member.assigned.remove(&number);
            group.give_up(self.member.id, number);
            return Ok(());
        }
        match rng.u8(0..4) {
            0 if self.pending.is_empty() => self.take_note(now),
            0 => {}
            1 => {
                let can_read = now >= self.cut_off_until;
                if can_read {
                    self.read(servers.log, rng);
                }
            }
            2 => self.see_to_what_is_due(servers, rng, now, calm),
            _ => self.state_histories(servers.tables, rng, now, calm),
        }
        Ok(())
    }

    fn take_note(&mut self, now: i64) {
        match self.member.inbox.pop_front() {
            Some(Note::Assigned(number)) => {
                self.member.assigned.insert(number);
                // It is not read before it is started.
                self.positions.remove(&number);
                self.core.assigned(&[number]);
            }
            Some(Note::Revoked(number)) => {
                self.core.checkpoint(now);
                self.draining = Some(number);
            }
            None => {}
        }
    }

    fn read(&mut self, log: &Log, rng: &mut Rng) {
        for (number, position) in &mut self.positions {
            let records = log.read(*number, *position, rng.usize(0..10));
            let incoming: Vec<(i32, i64, Incoming)> = records
                .into_iter()
                .zip(*position..)
                .map(|(payload, offset)| (*number, offset, incoming(*number, offset, payload)))
                .collect();
            *position += incoming.len() as i64;
            self.core.records(incoming);
        }
    }

    fn see_to_what_is_due(&mut self, servers: &Servers<'_>, rng: &mut Rng, now: i64, calm: bool) {
        let lag = |number: i32| {
            let position = self.positions.get(&number)?;
            Some(servers.log.end(number) - position)
        };
        let outlook = Outlook {
            ingest_is_behind: servers.raw_lag > 5 || (!calm && rng.u8(0..10) == 0),
            lag: &lag,
        };
        self.core.see_to_what_is_due(now, &outlook);
    }

    /// Histories are read beside all else: begun in one step, ended in a later one or never.
    fn state_histories(&mut self, tables: &Tables, rng: &mut Rng, now: i64, calm: bool) {
        if self.histories.is_empty() {
            self.histories = self.core.take_histories(now);
            return;
        }
        let requests = std::mem::take(&mut self.histories);
        if !calm && rng.u8(0..8) == 0 {
            for (number, request) in requests {
                self.core.history_failed(number, &request);
            }
            return;
        }
        let accounts: Vec<String> = requests
            .iter()
            .map(|(_, request)| request.account_id().to_string())
            .collect();
        let segments = SegmentBaselines::default();
        let model = Arc::clone(self.core.model());
        let mut lives = Lives::new(requests, &segments, &model);
        for row in tables.histories(&accounts) {
            lives.take(row);
        }
        for (number, history) in lives.finish() {
            self.core.history_stated(number, history, now);
        }
    }

    /// Tries to do what is to be done.
    #[allow(
        clippy::too_many_arguments,
        reason = "the world, the process and what is to be done"
    )]
    fn go_on(
        &mut self,
        lane: Lane,
        action: Action,
        group: &Group,
        servers: &mut Servers<'_>,
        rng: &mut Rng,
        now: i64,
        calm: bool,
    ) -> Result<(), Failed> {
        let luck = if calm { 0 } else { rng.u8(0..32) };
        if luck == 31 {
            // It takes its time.
            self.pending.push((lane, action));
            return Ok(());
        }
        // It is asked again before each try.
        if !group.owns(&self.member, now) {
            self.pending.push((lane, action));
            return Err(Failed::Ended(Ended::Fenced));
        }
        let needs_broker = matches!(action, Action::Send(_) | Action::SetAside(_));
        if luck == 30 || (needs_broker && now < self.cut_off_until) {
            self.pending.push((lane, action));
            return Ok(());
        }
        let answer = match &action {
            Action::Insert(inserts) => {
                let mut inserts: Vec<_> = inserts.iter().collect();
                rng.shuffle(&mut inserts);
                // An answer that is lost may be that to a part of them.
                let done = if luck == 29 {
                    rng.usize(0..=inserts.len())
                } else {
                    inserts.len()
                };
                for insert in &inserts[..done] {
                    servers.tables.insert(insert);
                }
                Answer::Done
            }
            Action::Start { number, offset } => {
                self.positions.insert(*number, *offset);
                Answer::Done
            }
            Action::SetAside(bad) => {
                servers.rejected.push(bad.clone());
                Answer::Done
            }
            Action::Send(changes) => {
                servers.alerts.extend(changes.iter().cloned());
                Answer::Done
            }
            Action::Commit(offsets) => {
                for (number, offset) in offsets {
                    servers.log.commit(*number, *offset);
                }
                Answer::Done
            }
            reading => match servers.tables.read(reading) {
                Some(answer) => answer,
                None => return Err(Failed::Broken(format!("nobody answers {reading:?}"))),
            },
        };
        let is_lost = luck == 29 && !matches!(action, Action::Start { .. });
        if is_lost {
            self.pending.push((lane, action));
            return Ok(());
        }
        self.core.answer(lane, answer, now).map_err(ended)
    }
}

/// Why a step failed.
pub(crate) enum Failed {
    /// The process starts over, as it should.
    Ended(Ended),
    /// This must not happen.
    Broken(String),
}

fn ended(error: CoreError) -> Failed {
    match error {
        CoreError::Poison {
            number,
            offset,
            detail,
        } => Failed::Ended(Ended::Poison(number, offset, detail)),
        error => Failed::Broken(error.to_string()),
    }
}

fn incoming(number: i32, offset: i64, payload: Vec<u8>) -> Incoming {
    match wire::decode(&payload) {
        Ok(event) => Incoming::Event(event),
        Err(error) => Incoming::Bad(SetAside {
            number,
            offset,
            key: None,
            payload,
            reason: "unknown_format",
            detail: error.to_string(),
        }),
    }
}
