//! Which offsets may be committed.
//!
//! The position of a partition stands behind the longest run of records, from the first one taken on,
//! of which nothing is outstanding. A ticket of an earlier assignment of the partition moves nothing.

use std::collections::{BTreeMap, VecDeque};

/// One destination's share of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub partition: i32,
    pub epoch: u64,
    pub offset: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Offsets {
    partitions: BTreeMap<i32, Partition>,
    epochs: u64,
    outstanding: usize,
}

#[derive(Debug)]
struct Partition {
    epoch: u64,
    records: VecDeque<Record>,
    position: Option<i64>,
    committed: Option<i64>,
}

#[derive(Debug)]
struct Record {
    offset: i64,
    open: usize,
}

impl Offsets {
    /// A partition is ours from here on.
    pub fn assign(&mut self, partition: i32) {
        self.release(partition);
        self.epochs += 1;
        let assigned = Partition {
            epoch: self.epochs,
            records: VecDeque::new(),
            position: None,
            committed: None,
        };
        self.partitions.insert(partition, assigned);
    }

    /// A partition is ours no more.
    pub fn release(&mut self, partition: i32) {
        if let Some(released) = self.partitions.remove(&partition) {
            self.outstanding -= released.records.len();
        }
    }

    /// A record was taken; it is done when its ticket was settled `open` times. `None` when the
    /// partition is not ours. Offsets of a partition come in order.
    pub fn take(&mut self, partition: i32, offset: i64, open: usize) -> Option<Ticket> {
        let taken = self.partitions.get_mut(&partition)?;
        taken.records.push_back(Record { offset, open });
        self.outstanding += 1;
        let ticket = Ticket {
            partition,
            epoch: taken.epoch,
            offset,
        };
        self.advance(partition);
        Some(ticket)
    }

    /// One share of a record is done.
    pub fn settle(&mut self, ticket: Ticket) {
        let Some(partition) = self.partitions.get_mut(&ticket.partition) else {
            return;
        };
        if partition.epoch != ticket.epoch {
            return;
        }
        let found = partition
            .records
            .binary_search_by_key(&ticket.offset, |record| record.offset);
        if let Ok(index) = found {
            let record = &mut partition.records[index];
            record.open = record.open.saturating_sub(1);
        }
        self.advance(ticket.partition);
    }

    fn advance(&mut self, partition: i32) {
        let Some(partition) = self.partitions.get_mut(&partition) else {
            return;
        };
        while let Some(first) = partition.records.front()
            && first.open == 0
        {
            partition.position = Some(first.offset + 1);
            partition.records.pop_front();
            self.outstanding -= 1;
        }
    }

    /// The positions that moved since they were last asked for: for each partition the next offset.
    pub fn take_moved(&mut self) -> Vec<(i32, i64)> {
        let mut moved = Vec::new();
        for (&number, partition) in &mut self.partitions {
            if let Some(position) = partition.position
                && partition.committed != Some(position)
            {
                partition.committed = Some(position);
                moved.push((number, position));
            }
        }
        moved
    }

    /// Whether the record at `offset`, or one before it, is not done.
    pub fn is_open(&self, partition: i32, offset: i64) -> bool {
        let first = self
            .partitions
            .get(&partition)
            .and_then(|owned| owned.records.front());
        first.is_some_and(|first| first.offset <= offset)
    }

    /// Records that are not done, over all partitions.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Records of these partitions that are not done.
    pub fn outstanding_of(&self, partitions: &[i32]) -> usize {
        partitions
            .iter()
            .filter_map(|number| self.partitions.get(number))
            .map(|partition| partition.records.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_stands_behind_the_first_record_that_is_not_done() {
        let mut offsets = Offsets::default();
        offsets.assign(3);
        let first = offsets.take(3, 10, 2).unwrap();
        let second = offsets.take(3, 11, 1).unwrap();
        // A gap, as a transaction's marker leaves one.
        let third = offsets.take(3, 15, 1).unwrap();
        offsets.settle(third);
        offsets.settle(second);
        offsets.settle(first);
        assert_eq!(offsets.take_moved(), vec![], "one share of the first is open");
        assert_eq!(offsets.outstanding(), 3);
        offsets.settle(first);
        assert_eq!(offsets.take_moved(), vec![(3, 16)]);
        assert_eq!(offsets.take_moved(), vec![], "said once");
        assert_eq!(offsets.outstanding(), 0);
    }

    #[test]
    fn a_record_with_nothing_to_do_is_done() {
        let mut offsets = Offsets::default();
        offsets.assign(0);
        offsets.take(0, 0, 0).unwrap();
        assert_eq!(offsets.take_moved(), vec![(0, 1)]);
    }

    #[test]
    fn a_ticket_of_an_earlier_assignment_moves_nothing() {
        let mut offsets = Offsets::default();
        offsets.assign(0);
        let old = offsets.take(0, 5, 1).unwrap();
        offsets.release(0);
        assert_eq!(offsets.outstanding(), 0);
        offsets.settle(old);
        offsets.assign(0);
        let new = offsets.take(0, 5, 1).unwrap();
        offsets.settle(old);
        assert_eq!(offsets.take_moved(), vec![]);
        assert_eq!(offsets.outstanding_of(&[0, 1]), 1);
        offsets.settle(new);
        assert_eq!(offsets.take_moved(), vec![(0, 6)]);
        assert_eq!(offsets.take(9, 0, 1), None);
    }
}
