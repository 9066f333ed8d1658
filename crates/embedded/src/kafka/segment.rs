//! One segment file of a partition: batches end to end, named by the offset of its first record.
//!
//! Holds: every byte below `len` belongs to a whole batch whose checksum was checked, either when it was
//! received or when the file was opened. Beside the file lies a checkpoint: what was known of the log up
//! to some length of the segment, written only after the data it speaks of were synced. Opening reads
//! the batches after the checkpoint and cuts the file where the first torn one begins.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::batch::{BatchHeader, HEADER_BYTES, first_at_or_after, is_intact};
use super::codec::{Reader, put, put_bytes, replace_file};
use super::producer_state::ProducerStates;

/// Bytes of batches between two entries of the index, and bytes read at a time when looking for one.
const INDEX_INTERVAL: u64 = 64 * 1024;
/// No valid batch is larger: a length beyond it in a file is damage.
const LARGEST_BATCH: usize = 1 << 30;
const CHECKPOINT_MAGIC: u32 = 0x6d6d_6b31;

/// What the log up to some place says of its future: the next offset, the producers' sequences and the
/// first offset of each leader epoch.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Tail {
    pub next_offset: i64,
    pub epochs: Vec<(i32, i64)>,
    pub producers: ProducerStates,
}

impl Tail {
    /// Takes note of a batch that is in the log.
    pub fn follow(&mut self, batch: &BatchHeader) {
        self.next_offset = batch.next_offset();
        if self
            .epochs
            .last()
            .is_none_or(|(epoch, _)| *epoch < batch.leader_epoch)
        {
            self.epochs.push((batch.leader_epoch, batch.base_offset));
        }
        self.producers.remember(batch);
    }
}

/// In what state a segment was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found {
    /// A checkpoint speaks for all of it: it was synced to its end.
    Complete,
    /// Its batches are whole, but it may have had more of them before a power cut.
    Whole,
    /// Its end was torn and has been cut off.
    Torn,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct IndexEntry {
    offset: i64,
    position: u64,
    /// Newest timestamp of the segment's batches before this one.
    newest_before: i64,
}

/// What is known of one segment file.
#[derive(Debug, Clone)]
pub struct Segment {
    pub base_offset: i64,
    pub len: u64,
    /// Newest timestamp of its records, in milliseconds; `i64::MIN` when empty.
    pub max_timestamp: i64,
    pub path: PathBuf,
    index: Vec<IndexEntry>,
}

impl Segment {
    /// An empty segment that will begin at `base_offset`, and its file.
    pub fn create(folder: &Path, base_offset: i64) -> io::Result<(Self, File)> {
        let segment = Segment::unread(folder, base_offset);
        let file = segment.open_to_append()?;
        file.set_len(0)?;
        Ok((segment, file))
    }

    fn unread(folder: &Path, base_offset: i64) -> Self {
        let path = folder.join(format!("{base_offset:020}.log"));
        Segment {
            base_offset,
            len: 0,
            max_timestamp: i64::MIN,
            path,
            index: Vec::new(),
        }
    }

    /// The file, to read from and to append to.
    pub fn open_to_append(&self) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
    }

    /// Opens an existing segment, following its batches into `tail`.
    pub fn recover(folder: &Path, base_offset: i64, tail: &mut Tail) -> io::Result<(Self, Found)> {
        let mut segment = Segment::unread(folder, base_offset);
        let file = segment.open_to_append()?;
        let file_len = file.metadata()?.len();
        tail.next_offset = base_offset;
        let known = segment.load_checkpoint(file_len, tail);
        if known && segment.len == file_len {
            return Ok((segment, Found::Complete));
        }

        let mut whole = Vec::new();
        let mut failure = None;
        walk(&file, segment.len, file_len, |position, batch| {
            whole.resize(batch.bytes, 0);
            if let Err(error) = file.read_exact_at(&mut whole, position) {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            if batch.base_offset != tail.next_offset || !is_intact(&whole, batch) {
                return ControlFlow::Break(());
            }
            segment.follow(batch);
            tail.follow(batch);
            ControlFlow::Continue(())
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        let torn = file_len - segment.len;
        if torn > 0 {
            warn!(file = %segment.path.display(), torn, kept = segment.len, "cut a torn end off the log");
            file.set_len(segment.len)?;
            file.sync_all()?;
        }
        Ok((segment, if torn > 0 { Found::Torn } else { Found::Whole }))
    }

    /// Takes note of a batch written at the end.
    pub fn follow(&mut self, batch: &BatchHeader) {
        if self
            .index
            .last()
            .is_none_or(|last| self.len - last.position >= INDEX_INTERVAL)
        {
            self.index.push(IndexEntry {
                offset: batch.base_offset,
                position: self.len,
                newest_before: self.max_timestamp,
            });
        }
        self.len += batch.bytes as u64;
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp);
    }

    /// A position at or before the batch that holds `offset`.
    pub fn position_before(&self, offset: i64) -> u64 {
        let after = self.index.partition_point(|entry| entry.offset <= offset);
        after.checked_sub(1).map_or(0, |at| self.index[at].position)
    }

    /// Offset and timestamp of the first record at or after `timestamp`, if the segment has one.
    pub fn first_at_or_after(&self, file: &File, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let after = self
            .index
            .partition_point(|entry| entry.newest_before < timestamp);
        let from = after.checked_sub(1).map_or(0, |at| self.index[at].position);
        let mut found = None;
        walk(file, from, self.len, |position, batch| {
            if batch.max_timestamp < timestamp {
                return ControlFlow::Continue(());
            }
            found = Some((position, *batch));
            ControlFlow::Break(())
        })?;
        let Some((position, header)) = found else {
            return Ok(None);
        };
        let mut batch = vec![0; header.bytes];
        file.read_exact_at(&mut batch, position)?;
        Ok(Some(first_at_or_after(&batch, &header, timestamp)))
    }

    fn checkpoint_path(&self) -> PathBuf {
        self.path.with_extension("checkpoint")
    }

    /// What [`Segment::write_checkpoint`] writes, for the segment as it is now.
    pub fn encode_checkpoint(&self, tail: &Tail) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, self.len);
        put(&mut body, self.max_timestamp);
        put(&mut body, tail.next_offset);
        put(&mut body, self.index.len() as u32);
        for entry in &self.index {
            put(&mut body, entry.offset);
            put(&mut body, entry.position);
            put(&mut body, entry.newest_before);
        }
        put(&mut body, tail.epochs.len() as u32);
        for (epoch, from) in &tail.epochs {
            put(&mut body, *epoch);
            put(&mut body, *from);
        }
        tail.producers.encode(&mut body);
        let mut out = Vec::with_capacity(body.len() + 12);
        put(&mut out, CHECKPOINT_MAGIC);
        put(&mut out, crc32c::crc32c(&body));
        put_bytes(&mut out, &body);
        out
    }

    /// Writes a checkpoint; the data it speaks of must be synced already.
    pub fn write_checkpoint(path: &Path, checkpoint: &[u8]) -> io::Result<()> {
        replace_file(&path.with_extension("checkpoint"), checkpoint)
    }

    /// Takes over a checkpoint if there is a sound one that speaks of no more than the file holds.
    fn load_checkpoint(&mut self, file_len: u64, tail: &mut Tail) -> bool {
        let Ok(bytes) = std::fs::read(self.checkpoint_path()) else {
            return false;
        };
        let Some((segment, known)) = self.decode_checkpoint(&bytes) else {
            warn!(file = %self.checkpoint_path().display(), "unreadable checkpoint, reading the log instead");
            return false;
        };
        if segment.len > file_len {
            return false;
        }
        *self = segment;
        *tail = known;
        true
    }

    fn decode_checkpoint(&self, bytes: &[u8]) -> Option<(Segment, Tail)> {
        let mut from = Reader::new(bytes);
        if from.u32()? != CHECKPOINT_MAGIC {
            return None;
        }
        let crc = from.u32()?;
        let body = from.bytes()?;
        if crc32c::crc32c(body) != crc {
            return None;
        }
        let mut from = Reader::new(body);
        let mut segment = self.clone();
        let mut tail = Tail::default();
        segment.len = from.u64()?;
        segment.max_timestamp = from.i64()?;
        tail.next_offset = from.i64()?;
        for _ in 0..from.u32()? {
            segment.index.push(IndexEntry {
                offset: from.i64()?,
                position: from.u64()?,
                newest_before: from.i64()?,
            });
        }
        for _ in 0..from.u32()? {
            tail.epochs.push((from.i32()?, from.i64()?));
        }
        tail.producers = ProducerStates::decode(&mut from)?;
        Some((segment, tail))
    }

    /// Deletes the files.
    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(self.checkpoint_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::remove_file(&self.path)
    }
}

/// Visits the whole batches between two positions, in order, until one that is no batch or is cut off.
pub fn walk(
    file: &File,
    from: u64,
    to: u64,
    mut visit: impl FnMut(u64, &BatchHeader) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut chunk = vec![0; INDEX_INTERVAL.min(to.saturating_sub(from)) as usize];
    let mut chunk_from = from;
    let mut chunk_len = 0u64;
    let mut position = from;
    while position + HEADER_BYTES as u64 <= to {
        if position + HEADER_BYTES as u64 > chunk_from + chunk_len {
            chunk_len = INDEX_INTERVAL.min(to - position);
            chunk_from = position;
            file.read_exact_at(&mut chunk[..chunk_len as usize], position)?;
        }
        let at = (position - chunk_from) as usize;
        let Some(batch) = BatchHeader::parse(&chunk[at..chunk_len as usize]) else {
            break;
        };
        if batch.bytes > LARGEST_BATCH || position + batch.bytes as u64 > to {
            break;
        }
        if visit(position, &batch).is_break() {
            break;
        }
        position += batch.bytes as u64;
    }
    Ok(())
}
