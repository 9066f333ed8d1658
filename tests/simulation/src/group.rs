//! A consumer group of the simulated world: who reads which partition, as its coordinator sees it, and
//! what one member knows of it.

use std::collections::{BTreeSet, VecDeque};

use fastrand::Rng;

/// How long a member may be silent, milliseconds.
pub(crate) const SESSION: i64 = 15_000;

/// How much later than the member the coordinator finds the session to be over, at most.
const SLACK: i64 = 1_000;

/// How long a member may take to finish with a partition that is to go.
const REVOKE_WITHIN: i64 = 8_000;

/// What the coordinator tells a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    Assigned(i32),
    Revoked(i32),
}

/// One life of one process, as a member.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) last_heartbeat: i64,
    pub(crate) inbox: VecDeque<Note>,
    pub(crate) assigned: BTreeSet<i32>,
}

/// The coordinator.
pub(crate) struct Group {
    owners: Vec<Option<u64>>,
    /// A partition that is to go, from whom, and until when it may take.
    revoking: Option<(i32, u64, i64)>,
    pub(crate) rebalances: usize,
}

impl Group {
    pub(crate) fn new(partitions: usize) -> Group {
        Group {
            owners: vec![None; partitions],
            revoking: None,
            rebalances: 0,
        }
    }

    /// Whether a member may still write what came from its partitions, as far as it can know.
    pub(crate) fn owns(&self, member: &Member, now: i64) -> bool {
        let owner = |number: &i32| self.owners[*number as usize] == Some(member.id);
        now - member.last_heartbeat < SESSION && member.assigned.iter().all(owner)
    }

    /// The member gives everything up at once.
    pub(crate) fn leave(&mut self, member: u64) {
        for owner in &mut self.owners {
            if *owner == Some(member) {
                *owner = None;
            }
        }
    }

    /// The member has finished with a partition that it was to give up.
    pub(crate) fn give_up(&mut self, member: u64, number: i32) {
        if self.owners[number as usize] == Some(member) {
            self.owners[number as usize] = None;
        }
        self.revoking = None;
    }

    /// Has a partition go from its owner to somebody, in good order.
    pub(crate) fn move_one(&mut self, members: &mut [&mut Member], rng: &mut Rng, now: i64) {
        let number = rng.usize(0..self.owners.len());
        let owner = self.owners[number];
        let Some(member) = members.iter_mut().find(|member| owner == Some(member.id)) else {
            return;
        };
        if self.revoking.is_none() && member.assigned.contains(&(number as i32)) {
            member.inbox.push_back(Note::Revoked(number as i32));
            self.revoking = Some((number as i32, member.id, now + REVOKE_WITHIN));
            self.rebalances += 1;
        }
    }

    /// Takes partitions from members that are silent, and gives those without an owner to members.
    pub(crate) fn tick(&mut self, members: &mut [&mut Member], rng: &mut Rng, now: i64) {
        if let Some((number, from, until)) = self.revoking
            && now >= until
        {
            self.give_up(from, number);
        }
        for (number, owner) in self.owners.iter_mut().enumerate() {
            let has_owner = members
                .iter()
                .any(|member| Some(member.id) == *owner && now - member.last_heartbeat < SESSION + SLACK);
            if owner.is_some() && !has_owner {
                *owner = None;
                self.rebalances += 1;
            }
            if owner.is_some() {
                continue;
            }
            let mut alive: Vec<&mut &mut Member> = members
                .iter_mut()
                .filter(|member| now - member.last_heartbeat < SESSION / 2)
                .collect();
            if alive.is_empty() {
                continue;
            }
            let chosen = rng.usize(0..alive.len());
            *owner = Some(alive[chosen].id);
            alive[chosen].inbox.push_back(Note::Assigned(number as i32));
        }
    }
}
