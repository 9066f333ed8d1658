//! Which records were replayed: what the notes say.

use std::collections::BTreeMap;

use stream::Span;

use super::entry::Entry;
use super::{Address, Topic};

/// A bit for each offset that was read, so that also a hundred million records take little memory.
#[derive(Debug, Default)]
pub struct Replayed {
    partitions: BTreeMap<i32, Bits>,
}

#[derive(Debug, Default)]
struct Bits {
    /// The offset of the first bit.
    first: i64,
    words: Vec<u64>,
}

impl Replayed {
    /// Reads the notes about the records of these stretches. A note stands behind its record in the
    /// same partition, so the stretches must go on to the ends of the partitions.
    pub async fn read(topic: &Topic, spans: &[Span]) -> anyhow::Result<Replayed> {
        let mut replayed = Replayed::of(spans);
        topic
            .read("looking for what was replayed", spans, async |entry| {
                if let Entry::Note(note) = entry {
                    replayed.add(note.of);
                }
                Ok(true)
            })
            .await?;
        Ok(replayed)
    }

    fn of(spans: &[Span]) -> Replayed {
        let partitions = spans.iter().map(|span| {
            let bits = Bits {
                first: span.first,
                words: Vec::new(),
            };
            (span.partition, bits)
        });
        Replayed {
            partitions: partitions.collect(),
        }
    }

    fn add(&mut self, address: Address) {
        let Some(bits) = self.partitions.get_mut(&address.partition) else {
            return;
        };
        if let Some((word, bit)) = bits.place(address.offset) {
            if bits.words.len() <= word {
                bits.words.resize(word + 1, 0);
            }
            bits.words[word] |= bit;
        }
    }

    /// Whether the record was replayed.
    pub fn has(&self, address: Address) -> bool {
        let found = self.partitions.get(&address.partition).and_then(|bits| {
            let (word, bit) = bits.place(address.offset)?;
            Some(bits.words.get(word)? & bit != 0)
        });
        found.unwrap_or(false)
    }
}

impl Bits {
    fn place(&self, offset: i64) -> Option<(usize, u64)> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        Some((index / 64, 1 << (index % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_note_speaks_of_is_known_and_nothing_else() {
        let span = Span {
            partition: 1,
            first: 1_000,
            end: 5_000,
        };
        let mut replayed = Replayed::of(&[span]);
        let at = |partition, offset| Address { partition, offset };
        for offset in [1_000, 1_063, 1_064, 4_999] {
            replayed.add(at(1, offset));
        }
        // Of another partition, and from before what is looked at.
        replayed.add(at(2, 1_001));
        replayed.add(at(1, 999));
        let known: Vec<i64> = (0..6_000).filter(|offset| replayed.has(at(1, *offset))).collect();
        assert_eq!(known, [1_000, 1_063, 1_064, 4_999]);
        assert!(!replayed.has(at(2, 1_001)));
    }
}
