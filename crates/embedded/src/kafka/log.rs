//! The log of one partition: segments end to end, appended at the last.
//!
//! Holds: offsets are dense and never given twice; a batch that [`Log::append`] has returned for is in
//! the page cache, so it survives the death of the process, and is on the disk after the next
//! [`Flush`]. Readers get a [`Slice`] of a file whose bytes never change, and read it without the lock.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tracing::{error, warn};

use super::batch::{BatchHeader, placed_front};
use super::codec::sync_folder_of;
use super::producer_state::Verdict;
use super::segment::{self, Segment, Tail, walk};

/// How large a log may grow and how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub segment_bytes: u64,
    pub retention_bytes: Option<u64>,
    pub retention_age: Option<Duration>,
}

/// One partition's log.
pub struct Log {
    folder: PathBuf,
    /// Never empty; the last one is appended to.
    segments: Vec<Segment>,
    /// The last segment's file.
    file: Arc<File>,
    tail: Tail,
    /// Written into every batch; higher after each start of the broker.
    epoch: i32,
    /// Whether the last segment has bytes that were not synced.
    dirty: bool,
    /// Full segments that were not synced, each with its checkpoint.
    sealed: Vec<(Arc<File>, PathBuf, Vec<u8>)>,
    /// Set once the topic is deleted.
    deleted: bool,
}

/// Where a batch went.
#[derive(Debug, PartialEq)]
pub struct Appended {
    pub base_offset: i64,
    /// Whether it had been there before.
    pub duplicate: bool,
}

/// What a reader finds at an offset.
pub enum Found {
    Records(Slice),
    /// The offset is the end of the log.
    Nothing,
    OutOfRange,
}

impl Log {
    /// Opens or creates the log in `folder`, cutting off a torn end.
    pub fn open(folder: &Path, epoch: i32) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let base_offsets = base_offsets_in(folder)?;
        let mut tail = Tail::default();
        let mut segments: Vec<Segment> = Vec::new();
        let mut last_found = segment::Found::Complete;
        let mut rest_is_lost = false;
        for base_offset in base_offsets {
            let follows = segments.is_empty() || base_offset == tail.next_offset;
            if !follows && last_found == segment::Found::Complete {
                let detail = format!(
                    "{}: offsets {}..{base_offset} are missing, restore the file or move the earlier ones away",
                    folder.display(),
                    tail.next_offset,
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
            }
            // A power cut can take the end of a segment and leave some of the next.
            rest_is_lost |= !follows || last_found == segment::Found::Torn;
            if rest_is_lost {
                warn!(folder = %folder.display(), base_offset, "removing a segment behind lost records");
                Segment::recover(folder, base_offset, &mut Tail::default())?
                    .0
                    .remove()?;
                continue;
            }
            let (segment, found) = Segment::recover(folder, base_offset, &mut tail)?;
            last_found = found;
            segments.push(segment);
        }
        let file = match segments.last() {
            Some(last) => last.open_to_append()?,
            None => {
                let (first, file) = Segment::create(folder, 0)?;
                sync_folder_of(&first.path)?;
                segments.push(first);
                file
            }
        };
        Ok(Log {
            folder: folder.to_owned(),
            segments,
            file: Arc::new(file),
            tail,
            epoch,
            dirty: false,
            sealed: Vec::new(),
            deleted: false,
        })
    }

    /// The first offset that is still kept.
    pub fn start_offset(&self) -> i64 {
        self.segments[0].base_offset
    }

    /// The offset that the next record will get.
    pub fn end_offset(&self) -> i64 {
        self.tail.next_offset
    }

    fn active(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has at least one segment")
    }

    /// Appends one checked batch.
    pub fn append(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        limits: &Limits,
    ) -> Result<Appended, ResponseError> {
        if self.deleted {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        match self.tail.producers.judge(header) {
            Verdict::Append => {}
            Verdict::Duplicate(base_offset) => {
                return Ok(Appended {
                    base_offset,
                    duplicate: true,
                });
            }
            Verdict::Refuse(reason) => return Err(reason),
        }
        self.write(batch, header, limits).map_err(|failure| {
            error!(folder = %self.folder.display(), %failure, "could not append to the log");
            ResponseError::KafkaStorageError
        })
    }

    fn write(&mut self, batch: &[u8], header: &BatchHeader, limits: &Limits) -> io::Result<Appended> {
        let filled = self.active().len;
        if filled > 0 && filled + batch.len() as u64 > limits.segment_bytes {
            self.roll()?;
        }
        let base_offset = self.tail.next_offset;
        let front = placed_front(batch, base_offset, self.epoch);
        let position = self.active().len;
        // What a failed write leaves behind lies after `len`: the next one goes over it, and recovery
        // cuts it.
        self.file
            .write_all_at(&batch[front.len()..], position + front.len() as u64)?;
        self.file.write_all_at(&front, position)?;
        let placed = BatchHeader {
            base_offset,
            leader_epoch: self.epoch,
            ..*header
        };
        self.active().follow(&placed);
        self.tail.follow(&placed);
        self.dirty = true;
        Ok(Appended {
            base_offset,
            duplicate: false,
        })
    }

    /// Seals the last segment and begins another.
    fn roll(&mut self) -> io::Result<()> {
        let (next, file) = Segment::create(&self.folder, self.tail.next_offset)?;
        let last = self.segments.last().expect("a log has at least one segment");
        let checkpoint = last.encode_checkpoint(&self.tail);
        self.sealed
            .push((Arc::clone(&self.file), last.path.clone(), checkpoint));
        self.segments.push(next);
        self.file = Arc::new(file);
        Ok(())
    }

    /// What lies at `offset`.
    pub fn find(&self, offset: i64) -> io::Result<Found> {
        if offset == self.end_offset() {
            return Ok(Found::Nothing);
        }
        if offset < self.start_offset() || offset > self.end_offset() {
            return Ok(Found::OutOfRange);
        }
        let after = self
            .segments
            .partition_point(|segment| segment.base_offset <= offset);
        let segment = &self.segments[after - 1];
        let file = self.file_of(after - 1)?;
        Ok(Found::Records(Slice {
            file,
            from: segment.position_before(offset),
            to: segment.len,
            offset,
        }))
    }

    fn file_of(&self, at: usize) -> io::Result<Arc<File>> {
        if at + 1 == self.segments.len() {
            return Ok(Arc::clone(&self.file));
        }
        Ok(Arc::new(File::open(&self.segments[at].path)?))
    }

    /// Offset and timestamp of the first record at or after `timestamp` (milliseconds).
    pub fn first_at_or_after(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        for (at, segment) in self.segments.iter().enumerate() {
            if segment.max_timestamp >= timestamp {
                return segment.first_at_or_after(self.file_of(at)?.as_ref(), timestamp);
            }
        }
        Ok(None)
    }

    /// Offset and timestamp of the newest record by timestamp.
    pub fn newest(&self) -> io::Result<Option<(i64, i64)>> {
        match self.segments.iter().map(|segment| segment.max_timestamp).max() {
            Some(i64::MIN) | None => Ok(None),
            Some(timestamp) => self.first_at_or_after(timestamp),
        }
    }

    /// The largest epoch not above `epoch` that wrote records, and the offset where it ended.
    pub fn epoch_end(&self, epoch: i32) -> Option<(i32, i64)> {
        if epoch == self.epoch {
            return Some((epoch, self.end_offset()));
        }
        if epoch > self.epoch {
            return None;
        }
        let after = self.tail.epochs.partition_point(|(known, _)| *known <= epoch);
        let (found, _) = self.tail.epochs.get(after.checked_sub(1)?)?;
        let end = self
            .tail
            .epochs
            .get(after)
            .map_or(self.end_offset(), |(_, from)| *from);
        Some((*found, end))
    }

    /// The epoch that wrote the record at `offset`.
    pub fn epoch_at(&self, offset: i64) -> i32 {
        let after = self.tail.epochs.partition_point(|(_, from)| *from <= offset);
        after
            .checked_sub(1)
            .map_or(self.epoch, |at| self.tail.epochs[at].0)
    }

    /// Removes the oldest segments that are beyond the limits. Age is the time since a segment was last
    /// appended to, not the time its records bear: history that is loaded today is kept from today.
    pub fn retain(&mut self, now: SystemTime, limits: &Limits) -> io::Result<usize> {
        let older = |time: io::Result<SystemTime>, age: Option<Duration>| -> io::Result<bool> {
            let Some(age) = age else { return Ok(false) };
            Ok(now.duration_since(time?).is_ok_and(|passed| passed > age))
        };
        let active = self.file.metadata()?;
        let began = active.created().or_else(|_| active.modified());
        if self.active().len > 0 && older(began, limits.retention_age.map(|age| age / 2))? {
            self.roll()?;
        }
        let mut total: u64 = self.segments.iter().map(|segment| segment.len).sum();
        let mut removed = 0;
        while self.segments.len() > 1 {
            let oldest = &self.segments[0];
            let expired = older(oldest.path.metadata()?.modified(), limits.retention_age)?;
            let too_large = limits
                .retention_bytes
                .is_some_and(|most| total - oldest.len >= most);
            if !expired && !too_large {
                break;
            }
            total -= oldest.len;
            let gone = oldest.path.clone();
            oldest.remove()?;
            self.segments.remove(0);
            self.sealed.retain(|(_, path, _)| *path != gone);
            removed += 1;
        }
        let start = self.start_offset();
        let before_start = self.tail.epochs.partition_point(|(_, from)| *from <= start);
        self.tail.epochs.drain(..before_start.saturating_sub(1));
        Ok(removed)
    }

    /// What must still be synced, if anything.
    pub fn take_flush(&mut self) -> Option<Flush> {
        if !self.dirty && self.sealed.is_empty() {
            return None;
        }
        self.dirty = false;
        Some(Flush {
            sealed: std::mem::take(&mut self.sealed),
            active: Arc::clone(&self.file),
        })
    }

    /// Gives back a flush that failed, to be tried again.
    pub fn return_flush(&mut self, flush: Flush) {
        self.dirty = true;
        if !self.deleted {
            self.sealed.extend(flush.sealed);
        }
    }

    /// Syncs everything and leaves a checkpoint, so that the next start reads no batch.
    pub fn close(&mut self) -> io::Result<()> {
        if self.deleted {
            return Ok(());
        }
        if let Some(flush) = self.take_flush() {
            flush.run()?;
        }
        let last = self.segments.last().expect("a log has at least one segment");
        Segment::write_checkpoint(&last.path, &last.encode_checkpoint(&self.tail))
    }

    /// Refuses every later append; the files are removed with the topic's folder.
    pub fn delete(&mut self) {
        self.deleted = true;
        self.dirty = false;
        self.sealed.clear();
    }
}

fn base_offsets_in(folder: &Path) -> io::Result<Vec<i64>> {
    let mut base_offsets = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".log"));
        base_offsets.extend(stem.and_then(|stem| stem.parse::<i64>().ok()));
    }
    base_offsets.sort_unstable();
    Ok(base_offsets)
}

/// Files to sync, apart from the log's lock.
pub struct Flush {
    sealed: Vec<(Arc<File>, PathBuf, Vec<u8>)>,
    active: Arc<File>,
}

impl Flush {
    /// Syncs the files and writes the checkpoints of the full segments. Blocks.
    pub fn run(&self) -> io::Result<()> {
        for (file, path, checkpoint) in &self.sealed {
            file.sync_data()?;
            // The segment may have left by retention meanwhile; a lone checkpoint would mislead nobody.
            if path.exists() {
                Segment::write_checkpoint(path, checkpoint)?;
            }
        }
        self.active.sync_data()
    }
}

/// A part of a segment file in which a reader's offset lies.
pub struct Slice {
    file: Arc<File>,
    from: u64,
    to: u64,
    offset: i64,
}

impl Slice {
    /// Whole batches from the one that holds the offset, at most `max_bytes` of them. With
    /// `at_least_one`, the first batch is read even when it is larger. Blocks.
    pub fn read(&self, max_bytes: usize, at_least_one: bool) -> io::Result<Bytes> {
        let mut first = None;
        walk(&self.file, self.from, self.to, |position, batch| {
            if batch.next_offset() <= self.offset {
                return ControlFlow::Continue(());
            }
            first = Some((position, batch.bytes));
            ControlFlow::Break(())
        })?;
        let Some((position, first_bytes)) = first else {
            return Ok(Bytes::new());
        };
        let wanted = match first_bytes <= max_bytes {
            true => max_bytes.min((self.to - position) as usize),
            false if at_least_one => first_bytes,
            false => return Ok(Bytes::new()),
        };
        let mut bytes = vec![0; wanted];
        self.file.read_exact_at(&mut bytes, position)?;
        let mut whole = 0;
        while let Some(batch) = bytes.get(whole..).and_then(BatchHeader::parse) {
            if whole + batch.bytes > bytes.len() {
                break;
            }
            whole += batch.bytes;
        }
        bytes.truncate(whole);
        Ok(Bytes::from(bytes))
    }
}
