//! Committed offsets of consumer groups: a map in memory and a file of its changes.
//!
//! Holds: a commit that was answered is in the file before the answer. The file is read at start, a torn
//! end is cut, and it is written anew with the living entries only whenever it is mostly history.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::codec::{Reader, put, put_bytes, replace_file};

/// The file is not rewritten before it has grown to this many bytes.
const SMALLEST_REWRITE: u64 = 1024 * 1024;
/// The file is rewritten when it is this many times larger than after its last rewrite.
const REWRITE_AT_GROWTH: u64 = 4;

/// A committed position.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

/// One change: the commit of a position, or with `None` its removal.
pub struct Change {
    pub topic: String,
    pub partition: i32,
    pub committed: Option<Committed>,
}

type Positions = BTreeMap<(String, i32), Committed>;

/// All committed offsets.
pub struct Offsets {
    path: PathBuf,
    file: Arc<File>,
    bytes: u64,
    bytes_at_rewrite: u64,
    groups: HashMap<String, Positions>,
    dirty: bool,
    /// Whether a part of a failed write may stand at the file's end.
    torn: bool,
}

impl Offsets {
    /// Reads the file at `path`, or begins it. Blocks.
    pub fn open(path: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut groups = HashMap::new();
        let mut from = Reader::new(&bytes);
        let mut whole = 0;
        while let Some((group, change, length)) = decode(&mut from) {
            apply(&mut groups, group, change);
            whole += length;
        }
        if whole < bytes.len() {
            let torn = bytes.len() - whole;
            tracing::warn!(file = %path.display(), torn, "cut a torn end off the committed offsets");
        }
        let (file, bytes) = rewrite(path, &groups)?;
        let file = Arc::new(file);
        Ok(Offsets {
            path: path.to_owned(),
            file,
            bytes,
            bytes_at_rewrite: bytes,
            groups,
            dirty: false,
            torn: false,
        })
    }

    /// Applies the changes of one group, in the file first.
    pub fn change(&mut self, group: &str, changes: Vec<Change>) -> io::Result<()> {
        if self.torn {
            self.rewrite()?;
        }
        let mut out = Vec::new();
        for change in &changes {
            encode(
                &mut out,
                group,
                &change.topic,
                change.partition,
                change.committed.as_ref(),
            );
        }
        if let Err(error) = (&*self.file).write_all(&out) {
            self.torn = true;
            return Err(error);
        }
        self.bytes += out.len() as u64;
        self.dirty = true;
        for change in changes {
            apply(&mut self.groups, group.to_owned(), change);
        }
        if self.bytes > SMALLEST_REWRITE.max(self.bytes_at_rewrite * REWRITE_AT_GROWTH) {
            self.rewrite()?;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let (file, bytes) = rewrite(&self.path, &self.groups)?;
        (self.file, self.bytes, self.bytes_at_rewrite) = (Arc::new(file), bytes, bytes);
        self.torn = false;
        Ok(())
    }

    /// Removes every position in a topic, which has been deleted.
    pub fn forget_topic(&mut self, topic: &str) -> io::Result<()> {
        let mut changes: HashMap<String, Vec<Change>> = HashMap::new();
        for (group, positions) in &self.groups {
            for (name, partition) in positions.keys().filter(|(name, _)| name == topic) {
                let change = Change {
                    topic: name.clone(),
                    partition: *partition,
                    committed: None,
                };
                changes.entry(group.clone()).or_default().push(change);
            }
        }
        changes
            .into_iter()
            .try_for_each(|(group, changes)| self.change(&group, changes))
    }

    /// Removes every position of a group; `false` when it had none.
    pub fn forget_group(&mut self, group: &str) -> io::Result<bool> {
        let Some(positions) = self.groups.get(group) else {
            return Ok(false);
        };
        let removal = |(topic, partition): &(String, i32)| Change {
            topic: topic.clone(),
            partition: *partition,
            committed: None,
        };
        let changes = positions.keys().map(removal).collect();
        self.change(group, changes).map(|()| true)
    }

    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.groups.get(group)?.get(&(topic.to_owned(), partition))
    }

    /// Every partition of a group with a position, by topic.
    pub fn partitions_of(&self, group: &str) -> BTreeMap<String, Vec<i32>> {
        let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in self.groups.get(group).into_iter().flat_map(BTreeMap::keys) {
            by_topic.entry(topic.clone()).or_default().push(*partition);
        }
        by_topic
    }

    pub fn groups(&self) -> impl Iterator<Item = &String> {
        self.groups.keys()
    }

    /// The file, if it has changes that were not synced.
    pub fn take_unsynced(&mut self) -> Option<Arc<File>> {
        std::mem::take(&mut self.dirty).then(|| Arc::clone(&self.file))
    }
}

fn apply(groups: &mut HashMap<String, Positions>, group: String, change: Change) {
    let place = (change.topic, change.partition);
    match change.committed {
        Some(committed) => {
            groups.entry(group).or_default().insert(place, committed);
        }
        None => {
            let Some(positions) = groups.get_mut(&group) else {
                return;
            };
            positions.remove(&place);
            if positions.is_empty() {
                groups.remove(&group);
            }
        }
    }
}

/// Writes the living entries only and opens the result to append.
fn rewrite(path: &Path, groups: &HashMap<String, Positions>) -> io::Result<(File, u64)> {
    let mut out = Vec::new();
    for (group, positions) in groups {
        for ((topic, partition), committed) in positions {
            encode(&mut out, group, topic, *partition, Some(committed));
        }
    }
    replace_file(path, &out)?;
    Ok((OpenOptions::new().append(true).open(path)?, out.len() as u64))
}

fn encode(out: &mut Vec<u8>, group: &str, topic: &str, partition: i32, committed: Option<&Committed>) {
    let mut body = Vec::new();
    put_bytes(&mut body, group.as_bytes());
    put_bytes(&mut body, topic.as_bytes());
    put(&mut body, partition);
    put(&mut body, u32::from(committed.is_some()));
    if let Some(committed) = committed {
        put(&mut body, committed.offset);
        put(&mut body, committed.leader_epoch);
        put_bytes(&mut body, committed.metadata.as_bytes());
    }
    put(out, crc32c::crc32c(&body));
    put_bytes(out, &body);
}

/// The next whole change, its group and its length in the file.
fn decode(from: &mut Reader<'_>) -> Option<(String, Change, usize)> {
    let crc = from.u32()?;
    let body = from.bytes()?;
    if crc32c::crc32c(body) != crc {
        return None;
    }
    let length = body.len() + 8;
    let mut from = Reader::new(body);
    let group = from.string()?;
    let topic = from.string()?;
    let partition = from.i32()?;
    let committed = match from.u32()? {
        0 => None,
        _ => Some(Committed {
            offset: from.i64()?,
            leader_epoch: from.i32()?,
            metadata: from.string()?,
        }),
    };
    Some((
        group,
        Change {
            topic,
            partition,
            committed,
        },
        length,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(topic: &str, partition: i32, offset: i64) -> Change {
        let committed = Committed {
            offset,
            leader_epoch: 1,
            metadata: "m".to_owned(),
        };
        Change {
            topic: topic.to_owned(),
            partition,
            committed: Some(committed),
        }
    }

    #[test]
    fn commits_survive_a_reopening_and_a_torn_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offsets");
        let mut offsets = Offsets::open(&path).unwrap();
        offsets
            .change("g", vec![commit("t", 0, 5), commit("t", 1, 6)])
            .unwrap();
        offsets.change("g", vec![commit("t", 0, 9)]).unwrap();
        let sound = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&sound[..], &sound[..20]].concat()).unwrap();

        let mut offsets = Offsets::open(&path).unwrap();
        assert_eq!(offsets.get("g", "t", 0).unwrap().offset, 9);
        assert_eq!(offsets.get("g", "t", 1).unwrap().offset, 6);
        offsets.change("g", vec![commit("t", 1, 7)]).unwrap();
        assert_eq!(Offsets::open(&path).unwrap().get("g", "t", 1).unwrap().offset, 7);
    }

    #[test]
    fn the_file_stays_small_however_often_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offsets");
        let mut offsets = Offsets::open(&path).unwrap();
        for offset in 0..60_000 {
            offsets.change("group", vec![commit("topic", 0, offset)]).unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() <= SMALLEST_REWRITE + 1024);
        assert_eq!(
            Offsets::open(&path)
                .unwrap()
                .get("group", "topic", 0)
                .unwrap()
                .offset,
            59_999
        );
    }

    #[test]
    fn a_deleted_topic_takes_its_positions_along() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offsets");
        let mut offsets = Offsets::open(&path).unwrap();
        offsets
            .change("g", vec![commit("gone", 0, 5), commit("kept", 0, 6)])
            .unwrap();
        offsets.forget_topic("gone").unwrap();
        let offsets = Offsets::open(&path).unwrap();
        assert_eq!(offsets.get("g", "gone", 0), None);
        assert_eq!(offsets.get("g", "kept", 0).unwrap().offset, 6);
    }
}
