//! What a partition remembers of idempotent producers.
//!
//! Holds: a batch that a producer sends again is appended once. The last five batches of each producer
//! are remembered, as many as a client may have in flight; a repetition of one of them is answered with
//! its first offset, anything else out of sequence is refused. The memory follows from the batch
//! headers in the log alone, so it is rebuilt from them and only its checkpoints are written.

use std::collections::{HashMap, VecDeque};

use kafka_protocol::error::ResponseError;

use super::batch::{BatchHeader, add_sequence};
use super::codec::{Reader, put};

/// Batches remembered per producer; clients keep at most this many in flight.
const REMEMBERED_BATCHES: usize = 5;
/// Producers remembered per partition; beyond it the one silent for longest is forgotten.
const REMEMBERED_PRODUCERS: usize = 2_000;

/// All producers known in one partition, by producer id.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ProducerStates(HashMap<i64, Producer>);

#[derive(Debug, Default, Clone, PartialEq)]
struct Producer {
    epoch: i16,
    recent: VecDeque<Written>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Written {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// What to do with a batch.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Append,
    /// It is in the log already, from this offset.
    Duplicate(i64),
    Refuse(ResponseError),
}

impl ProducerStates {
    /// Judges a batch by its header, before it has an offset.
    pub fn judge(&self, batch: &BatchHeader) -> Verdict {
        if !batch.is_idempotent() {
            return Verdict::Append;
        }
        let Some(producer) = self.0.get(&batch.producer_id) else {
            // Its earlier batches may have left the log by retention: any sequence may begin.
            return Verdict::Append;
        };
        if batch.producer_epoch < producer.epoch {
            return Verdict::Refuse(ResponseError::InvalidProducerEpoch);
        }
        if batch.producer_epoch > producer.epoch {
            return match batch.base_sequence {
                0 => Verdict::Append,
                _ => Verdict::Refuse(ResponseError::OutOfOrderSequenceNumber),
            };
        }
        let span = (batch.base_sequence, batch.last_sequence());
        let known = producer
            .recent
            .iter()
            .find(|w| (w.first_sequence, w.last_sequence) == span);
        if let Some(written) = known {
            return Verdict::Duplicate(written.base_offset);
        }
        let expected = producer.recent.back().map(|w| add_sequence(w.last_sequence, 1));
        match expected {
            Some(expected) if expected != batch.base_sequence => {
                Verdict::Refuse(ResponseError::OutOfOrderSequenceNumber)
            }
            _ => Verdict::Append,
        }
    }

    /// Remembers a batch that is in the log.
    pub fn remember(&mut self, batch: &BatchHeader) {
        if !batch.is_idempotent() {
            return;
        }
        if self.0.len() >= REMEMBERED_PRODUCERS && !self.0.contains_key(&batch.producer_id) {
            self.forget_the_most_silent();
        }
        let producer = self.0.entry(batch.producer_id).or_default();
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.recent.clear();
        }
        if producer.recent.len() == REMEMBERED_BATCHES {
            producer.recent.pop_front();
        }
        producer.recent.push_back(Written {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
        });
    }

    fn forget_the_most_silent(&mut self) {
        let last_offset = |p: &Producer| p.recent.back().map_or(-1, |w| w.base_offset);
        let most_silent = self
            .0
            .iter()
            .min_by_key(|(_, p)| last_offset(p))
            .map(|(id, _)| *id);
        if let Some(id) = most_silent {
            self.0.remove(&id);
        }
    }

    /// Appends the checkpoint form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.0.len() as u32);
        for (id, producer) in &self.0 {
            put(out, *id);
            put(out, producer.epoch);
            put(out, producer.recent.len() as u32);
            for written in &producer.recent {
                put(out, written.first_sequence);
                put(out, written.last_sequence);
                put(out, written.base_offset);
            }
        }
    }

    /// Reads the checkpoint form.
    pub fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut states = ProducerStates::default();
        for _ in 0..from.u32()? {
            let id = from.i64()?;
            let mut producer = Producer {
                epoch: from.i16()?,
                recent: VecDeque::new(),
            };
            for _ in 0..from.u32()? {
                producer.recent.push_back(Written {
                    first_sequence: from.i32()?,
                    last_sequence: from.i32()?,
                    base_offset: from.i64()?,
                });
            }
            states.0.insert(id, producer);
        }
        Some(states)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(producer: (i64, i16, i32), records: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            bytes: 100,
            leader_epoch: 0,
            crc: 0,
            attributes: 0,
            last_offset_delta: records - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: producer.0,
            producer_epoch: producer.1,
            base_sequence: producer.2,
            record_count: records,
        }
    }

    fn states(batches: i32) -> ProducerStates {
        let mut states = ProducerStates::default();
        for n in 0..batches {
            let batch = header((7, 0, n * 10), 10, i64::from(n) * 10);
            assert_eq!(states.judge(&batch), Verdict::Append);
            states.remember(&batch);
        }
        states
    }

    #[test]
    fn the_last_five_batches_are_answered_with_their_offset() {
        let states = states(7);
        for n in 2..7 {
            assert_eq!(
                states.judge(&header((7, 0, n * 10), 10, 0)),
                Verdict::Duplicate(i64::from(n) * 10)
            );
        }
        let refused = Verdict::Refuse(ResponseError::OutOfOrderSequenceNumber);
        assert_eq!(states.judge(&header((7, 0, 10), 10, 0)), refused);
        assert_eq!(states.judge(&header((7, 0, 71), 10, 0)), refused);
        assert_eq!(states.judge(&header((7, 0, 70), 10, 0)), Verdict::Append);
    }

    #[test]
    fn an_older_epoch_is_fenced_and_a_newer_one_begins_at_zero() {
        let mut states = states(1);
        assert_eq!(
            states.judge(&header((7, 1, 10), 1, 0)),
            Verdict::Refuse(ResponseError::OutOfOrderSequenceNumber)
        );
        let bumped = header((7, 1, 0), 1, 10);
        assert_eq!(states.judge(&bumped), Verdict::Append);
        states.remember(&bumped);
        assert_eq!(
            states.judge(&header((7, 0, 10), 1, 0)),
            Verdict::Refuse(ResponseError::InvalidProducerEpoch)
        );
    }

    #[test]
    fn a_checkpoint_reads_back_as_it_was_written() {
        let states = states(9);
        let mut bytes = Vec::new();
        states.encode(&mut bytes);
        assert_eq!(ProducerStates::decode(&mut Reader::new(&bytes)), Some(states));
        assert_eq!(
            ProducerStates::decode(&mut Reader::new(&bytes[..bytes.len() - 1])),
            None
        );
    }

    #[test]
    fn the_number_of_producers_is_bounded() {
        let mut states = ProducerStates::default();
        for id in 0..REMEMBERED_PRODUCERS as i64 + 10 {
            states.remember(&header((id, 0, 0), 1, id));
        }
        assert_eq!(states.0.len(), REMEMBERED_PRODUCERS);
        assert!(!states.0.contains_key(&0));
    }
}
