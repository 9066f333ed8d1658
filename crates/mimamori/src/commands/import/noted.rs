//! How far a file was imported, noted beside it, so that the next run can go on there.
//!
//! A note holds for one file as it was then (its length and the time of its last change) and for one
//! destination; any other is begun anew, which costs time and doubles nothing.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// What the name of a note ends with.
const SUFFIX: &str = ".mimamori-import";

/// The note about one file.
pub struct Noted {
    /// Nothing for standard input, of which nothing can be noted.
    place: Option<PathBuf>,
    note: Note,
    told: bool,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Note {
    destination: String,
    file_bytes: u64,
    file_changed_ms: u64,
    /// Lines up to which all were acknowledged.
    lines: u64,
    complete: bool,
}

impl Noted {
    /// What is noted about a file.
    ///
    /// # Errors
    /// When the file is not there.
    pub fn of(file: &Path, destination: &str, afresh: bool) -> anyhow::Result<Noted> {
        let Some(place) = place(file) else {
            return Ok(Noted {
                place: None,
                note: Note::default(),
                told: false,
            });
        };
        let metadata = std::fs::metadata(file).with_context(|| format!("cannot open {}", file.display()))?;
        let changed = metadata
            .modified()
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let mut note = Note {
            destination: destination.to_owned(),
            file_bytes: metadata.len(),
            file_changed_ms: changed.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
            ..Note::default()
        };
        let earlier = std::fs::read(&place).ok();
        let earlier = earlier.and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        if let Some(earlier) = earlier.filter(|_| !afresh) {
            let is_of_this = earlier.destination == note.destination
                && earlier.file_bytes == note.file_bytes
                && earlier.file_changed_ms == note.file_changed_ms;
            if is_of_this {
                note = earlier;
                info!(file = %file.display(), after_line = note.lines, "going on where an earlier import stopped");
            } else {
                info!(file = %file.display(), "the file or its destination is another than in the earlier import; beginning anew");
            }
        }
        Ok(Noted {
            place: Some(place),
            note,
            told: false,
        })
    }

    /// The lines that have arrived.
    pub fn lines(&self) -> u64 {
        self.note.lines
    }

    /// Whether the whole file has.
    pub fn is_complete(&self) -> bool {
        self.note.complete
    }

    /// Notes how far it is. A folder that cannot be written is told once and is no reason to stop.
    pub fn note(&mut self, lines: u64, complete: bool) {
        self.note.lines = lines;
        self.note.complete = complete;
        let Some(place) = &self.place else {
            return;
        };
        if let Err(error) = write(place, &self.note)
            && !std::mem::replace(&mut self.told, true)
        {
            warn!(file = %place.display(), %error,
                "cannot note how far the import is; one that is stopped begins at the first line again");
        }
    }

    /// Removes the note about a file.
    pub fn forget(file: &Path) {
        if let Some(place) = place(file)
            && let Err(error) = std::fs::remove_file(&place)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            warn!(file = %place.display(), %error, "cannot remove the note of a finished import");
        }
    }
}

fn place(file: &Path) -> Option<PathBuf> {
    if file == Path::new("-") {
        return None;
    }
    let mut place = file.as_os_str().to_owned();
    place.push(SUFFIX);
    Some(PathBuf::from(place))
}

/// In one step, so that a note is never half written.
fn write(place: &Path, note: &Note) -> std::io::Result<()> {
    let mut new = place.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, serde_json::to_vec(note)?)?;
    std::fs::rename(&new, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_holds_for_the_same_file_and_destination_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.ndjson");
        std::fs::write(&file, "{}\n{}\n").unwrap();
        let lines = |destination: &str, afresh| Noted::of(&file, destination, afresh).unwrap().lines();

        Noted::of(&file, "a", false).unwrap().note(2, false);
        assert_eq!(lines("a", false), 2);
        assert_eq!(lines("b", false), 0);
        assert_eq!(lines("a", true), 0);

        std::fs::write(&file, "{}\n{}\n{}\n").unwrap();
        assert_eq!(lines("a", false), 0);

        Noted::of(&file, "a", false).unwrap().note(3, true);
        assert!(Noted::of(&file, "a", false).unwrap().is_complete());
        Noted::forget(&file);
        assert_eq!(lines("a", false), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Noted::of(Path::new("/nowhere/x.ndjson"), "a", false)
            .err()
            .unwrap();
        assert!(format!("{error:#}").contains("/nowhere/x.ndjson"));
    }
}
