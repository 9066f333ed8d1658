//! What an episode's earlier changes came to, which decides about its later ones.
//!
//! What is not yet written about a change that was taken is remembered here until it is, so that what
//! is remembered and what the ledger says together are complete.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use store::EpisodeDelivery;

use super::{Decided, What};
use crate::lane::{DIGEST, DIGESTED, HELD_OUT, SHADOW, SUPPRESSED};
use crate::offsets::Ticket;

/// What a destination has of an episode; what it has more of is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Had {
    /// Nothing: rows of this status say what it would have had.
    Recorded(&'static str),
    /// It is or was told in a digest.
    Digest,
    /// It is or was told, or is to be.
    Told,
}

impl Had {
    fn of_status(status: &str) -> Had {
        let is_digest = [DIGEST, DIGESTED].contains(&status);
        let recorded = [SHADOW, HELD_OUT, SUPPRESSED]
            .into_iter()
            .find(|known| *known == status);
        match recorded {
            Some(known) => Had::Recorded(known),
            None if is_digest => Had::Digest,
            None => Had::Told,
        }
    }

    fn of(what: &What) -> Had {
        match what {
            What::Send { .. } => Had::Told,
            What::Digest => Had::Digest,
            What::Record { status, .. } => Had::Recorded(status),
        }
    }
}

/// What there is of an episode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// By the destination's name; empty for what concerned none.
    pub had: BTreeMap<String, Had>,
    /// The variant that its account was put into.
    pub variant: String,
}

impl Earlier {
    fn add(&mut self, destination: &str, had: Had, variant: &str) {
        let most = self.had.entry(destination.to_string()).or_insert(had);
        *most = (*most).max(had);
        if self.variant.is_empty() {
            self.variant = variant.to_string();
        }
    }

    /// Adds what the ledger says about a change.
    pub fn add_row(&mut self, row: &EpisodeDelivery) {
        self.add(&row.destination, Had::of_status(&row.status), &row.variant);
    }

    /// Adds what was decided about a change.
    pub fn add_decided(&mut self, decided: &Decided) {
        for decision in &decided.decisions {
            self.add(&decision.destination, Had::of(&decision.what), &decided.variant);
        }
    }
}

/// The episodes of the changes that were taken and are not yet written.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    episodes: HashMap<Arc<str>, Remembered>,
}

#[derive(Debug)]
struct Remembered {
    earlier: Earlier,
    partition: i32,
    last_offset: i64,
}

impl Recent {
    pub fn get(&self, episode_id: &str) -> Option<&Earlier> {
        self.episodes
            .get(episode_id)
            .map(|remembered| &remembered.earlier)
    }

    /// A change was taken, and this was decided about it.
    pub fn add(&mut self, episode_id: &str, decided: &Decided, ticket: Ticket) {
        let remembered = self
            .episodes
            .entry(episode_id.into())
            .or_insert_with(|| Remembered {
                earlier: Earlier::default(),
                partition: ticket.partition,
                last_offset: ticket.offset,
            });
        remembered.last_offset = ticket.offset;
        remembered.earlier.add_decided(decided);
    }

    /// Forgets what is written: all of which `is_open` says no, given a partition and an offset.
    pub fn keep(&mut self, is_open: impl Fn(i32, i64) -> bool) {
        self.episodes
            .retain(|_, remembered| is_open(remembered.partition, remembered.last_offset));
    }
}
