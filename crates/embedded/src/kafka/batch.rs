//! Record batches, as far as a broker must look into them.
//!
//! A batch is kept byte for byte as the client sent it. Only the base offset and the leader epoch are
//! written over; both lie outside the part that the checksum covers. Records are never decompressed.

use kafka_protocol::error::ResponseError;

/// Bytes of a batch before its first record.
pub const HEADER_BYTES: usize = 61;
/// Bytes at the front that the broker writes over or that frame the batch: offset and length.
const PREFIX_BYTES: usize = 12;
/// Where the checksummed part begins.
const CHECKED_FROM: usize = 21;

const COMPRESSION_MASK: i16 = 0x07;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The fixed part of a record batch (message format 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Length of the whole batch in bytes, this header included.
    pub bytes: usize,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; `None` when it is not one of format 2.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        const MAGIC: usize = 16;
        if bytes.len() < HEADER_BYTES || bytes[MAGIC] != 2 {
            return None;
        }
        let length = i32::from_be_bytes(array(bytes, 8));
        let length = usize::try_from(length).ok()? + PREFIX_BYTES;
        if length < HEADER_BYTES {
            return None;
        }
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(array(bytes, 0)),
            bytes: length,
            leader_epoch: i32::from_be_bytes(array(bytes, 12)),
            crc: u32::from_be_bytes(array(bytes, 17)),
            attributes: i16::from_be_bytes(array(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            base_timestamp: i64::from_be_bytes(array(bytes, 27)),
            max_timestamp: i64::from_be_bytes(array(bytes, 35)),
            producer_id: i64::from_be_bytes(array(bytes, 43)),
            producer_epoch: i16::from_be_bytes(array(bytes, 51)),
            base_sequence: i32::from_be_bytes(array(bytes, 53)),
            record_count: i32::from_be_bytes(array(bytes, 57)),
        };
        (header.base_offset >= 0 && header.last_offset_delta >= 0).then_some(header)
    }

    /// The offset after this batch's last record.
    pub fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// The sequence number of the last record; sequence numbers wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Whether an idempotent producer wrote it.
    pub fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }
}

/// `sequence + by`, wrapping from `i32::MAX` to 0.
pub fn add_sequence(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}

/// Whether the checksum of the whole batch in `batch` is the one its header names.
pub fn is_intact(batch: &[u8], header: &BatchHeader) -> bool {
    batch.len() == header.bytes && crc32c::crc32c(&batch[CHECKED_FROM..]) == header.crc
}

/// Checks what a client wants appended: exactly one whole, intact batch of plain records.
pub fn check_produced(batch: &[u8]) -> Result<BatchHeader, (ResponseError, &'static str)> {
    let Some(header) = BatchHeader::parse(batch) else {
        return Err((ResponseError::InvalidRecord, "not a record batch of format 2"));
    };
    if header.bytes != batch.len() {
        return Err((
            ResponseError::CorruptMessage,
            "not exactly one whole record batch",
        ));
    }
    if !is_intact(batch, &header) {
        return Err((ResponseError::CorruptMessage, "the checksum does not match"));
    }
    if header.record_count < 1 || header.record_count - 1 != header.last_offset_delta {
        return Err((
            ResponseError::InvalidRecord,
            "record count and last offset do not agree",
        ));
    }
    if header.attributes & (TRANSACTIONAL | CONTROL) != 0 {
        return Err((ResponseError::InvalidTxnState, "transactions are not supported"));
    }
    if header.attributes & COMPRESSION_MASK > 4 {
        return Err((ResponseError::UnsupportedCompressionType, "unknown compression"));
    }
    if header.is_idempotent() && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return Err((
            ResponseError::InvalidRecord,
            "a producer id without epoch or sequence",
        ));
    }
    Ok(header)
}

/// The front of a batch with its place in the log: write it over the batch's first bytes.
pub fn placed_front(batch: &[u8], base_offset: i64, leader_epoch: i32) -> [u8; 16] {
    let mut front: [u8; 16] = array(batch, 0);
    front[0..8].copy_from_slice(&base_offset.to_be_bytes());
    front[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    front
}

/// Offset and timestamp of the first record at or after `timestamp` (milliseconds) in a batch whose
/// newest record is not before it. A compressed batch is not opened, and what is in the records is the
/// client's word: where it cannot be, the batch's first record is named, which is never too late.
pub fn first_at_or_after(batch: &[u8], header: &BatchHeader, timestamp: i64) -> (i64, i64) {
    let start = (header.base_offset, header.base_timestamp);
    if header.attributes & COMPRESSION_MASK != 0 || header.base_timestamp >= timestamp {
        return start;
    }
    let mut rest = &batch[HEADER_BYTES..];
    for _ in 0..header.record_count {
        let Some((offset_delta, timestamp_delta, after)) = record_front(rest) else {
            return start;
        };
        let at = header.base_timestamp.saturating_add(timestamp_delta);
        if at >= timestamp {
            let is_inside = (0..=i64::from(header.last_offset_delta)).contains(&offset_delta);
            return match is_inside {
                true => (header.base_offset + offset_delta, at),
                false => start,
            };
        }
        rest = after;
    }
    start
}

/// Offset delta and timestamp delta of the record at the front, and what follows the record.
fn record_front(mut rest: &[u8]) -> Option<(i64, i64, &[u8])> {
    let length = usize::try_from(varint(&mut rest)?).ok()?;
    let mut record = rest.get(..length)?;
    let after = &rest[length..];
    record = record.get(1..)?;
    let timestamp_delta = varint(&mut record)?;
    let offset_delta = varint(&mut record)?;
    Some((offset_delta, timestamp_delta, after))
}

fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// `N` bytes from `at`; the caller has checked that they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A batch of `values`, one record each, as a client would send it.
    pub fn batch(values: &[&[u8]], timestamp: i64, producer: (i64, i16, i32)) -> Vec<u8> {
        let mut records = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let mut record = vec![0u8];
            put_varint(&mut record, index as i64);
            put_varint(&mut record, index as i64);
            put_varint(&mut record, -1);
            put_varint(&mut record, value.len() as i64);
            record.extend_from_slice(value);
            put_varint(&mut record, 0);
            put_varint(&mut records, record.len() as i64);
            records.extend_from_slice(&record);
        }
        let last = values.len() as i32 - 1;
        let mut checked = Vec::new();
        checked.extend_from_slice(&0i16.to_be_bytes());
        checked.extend_from_slice(&last.to_be_bytes());
        checked.extend_from_slice(&timestamp.to_be_bytes());
        checked.extend_from_slice(&(timestamp + i64::from(last)).to_be_bytes());
        checked.extend_from_slice(&producer.0.to_be_bytes());
        checked.extend_from_slice(&producer.1.to_be_bytes());
        checked.extend_from_slice(&producer.2.to_be_bytes());
        checked.extend_from_slice(&(last + 1).to_be_bytes());
        checked.extend_from_slice(&records);
        let mut out = Vec::new();
        out.extend_from_slice(&0i64.to_be_bytes());
        out.extend_from_slice(&(checked.len() as i32 + 9).to_be_bytes());
        out.extend_from_slice(&(-1i32).to_be_bytes());
        out.push(2);
        out.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
        out.extend_from_slice(&checked);
        out
    }

    fn put_varint(out: &mut Vec<u8>, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }

    #[test]
    fn a_whole_batch_is_accepted_and_a_changed_one_is_not() {
        let good = batch(&[b"one", b"two"], 1000, (-1, -1, -1));
        let header = check_produced(&good).unwrap();
        assert_eq!(
            (header.record_count, header.max_timestamp, header.next_offset()),
            (2, 1001, 2)
        );
        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(
            check_produced(&changed).unwrap_err().0,
            ResponseError::CorruptMessage
        );
        let doubled = [good.clone(), good.clone()].concat();
        assert_eq!(
            check_produced(&doubled).unwrap_err().0,
            ResponseError::CorruptMessage
        );
        assert_eq!(
            check_produced(&good[..40]).unwrap_err().0,
            ResponseError::InvalidRecord
        );
    }

    #[test]
    fn placing_a_batch_keeps_its_checksum() {
        let mut placed = batch(&[b"one"], 1000, (-1, -1, -1));
        let front = placed_front(&placed, 77, 3);
        placed[..16].copy_from_slice(&front);
        let header = check_produced(&placed).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch), (77, 3));
    }

    #[test]
    fn the_first_record_at_a_time_is_found_inside_a_batch() {
        let bytes = batch(&[b"a", b"b", b"c"], 1000, (-1, -1, -1));
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(first_at_or_after(&bytes, &header, 1), (0, 1000));
        assert_eq!(first_at_or_after(&bytes, &header, 1001), (1, 1001));
        assert_eq!(first_at_or_after(&bytes, &header, 1002), (2, 1002));
    }

    #[test]
    fn records_that_claim_impossible_times_and_offsets_are_found_at_the_front() {
        let mut bytes = batch(&[b"a", b"b"], 1000, (-1, -1, -1));
        let second = bytes.len() - 7;
        assert_eq!(bytes[second..second + 3], [0, 2, 2], "attributes, time, offset");
        bytes[second + 2] = 100;
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(first_at_or_after(&bytes, &header, 1001), (0, 1000));
        bytes[second + 2] = 2;
        let newest = BatchHeader {
            base_timestamp: i64::MAX - 1,
            ..header
        };
        bytes[second + 1] = 100;
        assert_eq!(first_at_or_after(&bytes, &newest, i64::MAX), (1, i64::MAX));
    }

    #[test]
    fn sequence_numbers_wrap_to_zero() {
        assert_eq!(add_sequence(i32::MAX, 1), 0);
        assert_eq!(add_sequence(i32::MAX - 1, 3), 1);
    }
}
