//! Which events wait to land, and which are being landed: what the table `events` cannot be asked for yet.

use std::collections::VecDeque;

use foldhash::{HashSet, HashSetExt};
use xxhash_rust::xxh3::xxh3_128;

/// Events of a partition on their way into ClickHouse.
pub(super) struct Landings {
    /// Account and id of each event that waits to land …
    waiting: HashSet<u128>,
    /// … and of those that are being landed, the oldest first.
    under_way: VecDeque<Landing>,
    /// Below it everything has landed that was folded.
    below: i64,
}

/// Events that go out together.
struct Landing {
    ids: HashSet<u128>,
    /// Everything that was folded below this offset is among them, or has landed before.
    below: i64,
    has_landed: bool,
}

impl Landings {
    /// Nothing is on its way, and everything below an offset has landed.
    pub(super) fn from(offset: i64) -> Landings {
        Landings {
            waiting: HashSet::new(),
            under_way: VecDeque::new(),
            below: offset,
        }
    }

    /// An event waits to land.
    pub(super) fn add(&mut self, identity: u128) {
        self.waiting.insert(identity);
    }

    /// Whether an event waits to land or is being landed, or has landed and is not forgotten yet.
    pub(super) fn contains(&self, identity: u128) -> bool {
        let mut under_way = self.under_way.iter();
        self.waiting.contains(&identity) || under_way.any(|landing| landing.ids.contains(&identity))
    }

    /// What waits is being landed from now on; everything below an offset was folded before.
    pub(super) fn begin(&mut self, below: i64) {
        self.under_way.push_back(Landing {
            ids: std::mem::take(&mut self.waiting),
            below,
            has_landed: false,
        });
    }

    /// What was begun first, of what had not landed, has landed.
    pub(super) fn landed(&mut self) {
        if let Some(landing) = self.under_way.iter_mut().find(|landing| !landing.has_landed) {
            landing.has_landed = true;
            self.below = landing.below;
        }
    }

    /// Forgets what has landed.
    pub(super) fn forget_landed(&mut self) {
        while self.under_way.front().is_some_and(|landing| landing.has_landed) {
            self.under_way.pop_front();
        }
    }

    /// Whether everything has landed that was folded up to an offset.
    pub(super) fn has_landed(&self, offset: i64) -> bool {
        let is_all_there =
            || self.waiting.is_empty() && self.under_way.iter().all(|landing| landing.has_landed);
        offset < self.below || is_all_there()
    }
}

/// Stands for an event within a partition.
pub(super) fn identity(account_id: &str, event_id: &str) -> u128 {
    let mut bytes = Vec::with_capacity(8 + account_id.len() + event_id.len());
    bytes.extend_from_slice(&(account_id.len() as u64).to_le_bytes());
    bytes.extend_from_slice(account_id.as_bytes());
    bytes.extend_from_slice(event_id.as_bytes());
    xxh3_128(&bytes)
}
