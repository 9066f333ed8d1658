//! Faults for tests: what a broker may do to its clients on a bad day, on demand.
//!
//! Nothing here happens unless a test asks for it; an idle broker pays one atomic load per request.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use super::lock;

/// The requests that a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Appends.
    Produce,
    /// Reads.
    Fetch,
    /// Metadata requests.
    Metadata,
    /// All of the group coordinator's: finding it, joins, syncs, heartbeats, leaves, commits, positions.
    Group,
    /// Commits of offsets only.
    OffsetCommit,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The work is done and the connection closed in place of the answer.
    DropAnswer,
    /// The connection is closed before the work.
    Close,
    /// The work begins this much later.
    Delay(Duration),
    /// Refused as by a broker that does not lead the partition (produce, fetch).
    NotLeader,
    /// Refused as by a broker that does not coordinate the group (group requests).
    NotCoordinator,
}

/// The faults that wait to strike.
#[derive(Debug, Default)]
pub struct Faults {
    armed: AtomicBool,
    waiting: Mutex<Vec<(On, Fault, u32)>>,
}

impl Faults {
    /// Lets the next `times` requests of a kind meet a fault; faults of one kind strike in the order they
    /// were given.
    pub fn inject(&self, on: On, fault: Fault, times: u32) {
        let mut waiting = lock(&self.waiting);
        waiting.push((on, fault, times));
        waiting.retain(|(_, _, times)| *times > 0);
        self.armed.store(!waiting.is_empty(), Ordering::Release);
    }

    /// Moves the coordinator away: the next `requests` of groups are refused until the clients have found
    /// it again.
    pub fn move_coordinator(&self, requests: u32) {
        self.inject(On::Group, Fault::NotCoordinator, requests);
    }

    /// How many requests of a kind have still to meet their fault.
    pub fn remaining(&self, on: On) -> u32 {
        lock(&self.waiting)
            .iter()
            .filter(|(kind, _, _)| *kind == on)
            .map(|(_, _, times)| times)
            .sum()
    }

    /// Withdraws every fault.
    pub fn clear(&self) {
        lock(&self.waiting).clear();
        self.armed.store(false, Ordering::Release);
    }

    /// The fault that strikes a request of this kind now.
    pub(super) fn strike(&self, key: ApiKey) -> Option<Fault> {
        if !self.armed.load(Ordering::Acquire) {
            return None;
        }
        let mut waiting = lock(&self.waiting);
        let at = waiting.iter().position(|(on, _, _)| concerns(*on, key))?;
        let (_, fault, times) = &mut waiting[at];
        let fault = *fault;
        *times -= 1;
        if *times == 0 {
            waiting.remove(at);
        }
        self.armed.store(!waiting.is_empty(), Ordering::Release);
        Some(fault)
    }
}

fn concerns(on: On, key: ApiKey) -> bool {
    use ApiKey as K;
    match on {
        On::Produce => key == K::Produce,
        On::Fetch => key == K::Fetch,
        On::Metadata => key == K::Metadata,
        On::OffsetCommit => key == K::OffsetCommit,
        On::Group => matches!(
            key,
            K::FindCoordinator
                | K::JoinGroup
                | K::SyncGroup
                | K::Heartbeat
                | K::LeaveGroup
                | K::OffsetCommit
                | K::OffsetFetch
        ),
    }
}
