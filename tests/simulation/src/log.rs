//! A topic of the simulated world.

use event::wire;

/// The records of each partition, and what a group has committed.
pub(crate) struct Log {
    partitions: Vec<Vec<Vec<u8>>>,
    committed: Vec<i64>,
}

impl Log {
    pub(crate) fn new(partitions: usize) -> Log {
        Log {
            partitions: vec![Vec::new(); partitions],
            committed: vec![0; partitions],
        }
    }

    pub(crate) fn append(&mut self, number: i32, payload: Vec<u8>) -> (i32, i64) {
        let partition = &mut self.partitions[number as usize];
        partition.push(payload);
        (number, partition.len() as i64 - 1)
    }

    /// Appends an event where its account lives.
    pub(crate) fn append_event(&mut self, payload: &[u8]) -> (i32, i64) {
        let number = match wire::decode(payload) {
            Ok(event) => {
                let sum: usize = event.account_id.bytes().map(usize::from).sum();
                sum % self.partitions.len()
            }
            Err(_) => 0,
        };
        self.append(number as i32, payload.to_vec())
    }

    pub(crate) fn read(&self, number: i32, from: i64, most: usize) -> Vec<Vec<u8>> {
        let partition = &self.partitions[number as usize];
        partition.iter().skip(from as usize).take(most).cloned().collect()
    }

    pub(crate) fn end(&self, number: i32) -> i64 {
        self.partitions[number as usize].len() as i64
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = i32> + use<> {
        0..self.partitions.len() as i32
    }

    pub(crate) fn records(&self) -> usize {
        self.partitions.iter().map(Vec::len).sum()
    }

    pub(crate) fn committed(&self, number: i32) -> i64 {
        self.committed[number as usize]
    }

    pub(crate) fn commit(&mut self, number: i32, offset: i64) {
        let committed = &mut self.committed[number as usize];
        *committed = offset.max(*committed);
    }
}
