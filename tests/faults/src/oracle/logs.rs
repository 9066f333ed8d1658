//! What the roles say in their logs, one JSON object a line.

use std::path::Path;

use serde_json::{Map, Value};

use super::Problems;

/// A line: the message, its fields, when and from where.
pub type Line = Map<String, Value>;

/// The lines of a log that are JSON; others, as of a panic, are noted as a problem when they tell of one.
pub fn read(log: &Path, problems: &mut Problems) -> anyhow::Result<Vec<Line>> {
    let text = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
    let mut lines = Vec::new();
    for line in text.lines() {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => lines.push(line),
            // A line that was cut by a kill.
            Err(_) => problems.check(!line.contains("panicked"), "panics", || {
                format!("{}: {line}", log.display())
            }),
        }
    }
    Ok(lines)
}

/// What workers found when they took partitions over.
#[derive(Debug, Default)]
pub struct Takeovers {
    /// How often one was.
    pub count: u64,
    /// Events that lay in ClickHouse already and were folded again.
    pub replayed: u64,
}

/// Adds up what the logs of the `aggregate` processes say.
pub fn takeovers(lines: &[Line]) -> Takeovers {
    let mut takeovers = Takeovers::default();
    for line in lines {
        if line
            .get("message")
            .is_some_and(|message| message == "partition taken over")
        {
            takeovers.count += 1;
            takeovers.replayed += line.get("landed").and_then(Value::as_u64).unwrap_or(0);
        }
    }
    takeovers
}

/// How often partitions were another's before their worker had let go of them, by what the logs of the `alert`
/// processes say: it stood still past its session, or was busy past the deadline of a revocation.
pub fn held_too_long(lines: &[Line]) -> u64 {
    let is_so = |line: &&Line| {
        let message = line.get("message").and_then(Value::as_str);
        message.is_some_and(|message| {
            message.starts_with("lost partitions") || message.starts_with("giving up revoked partitions")
        })
    };
    lines.iter().filter(is_so).count() as u64
}
