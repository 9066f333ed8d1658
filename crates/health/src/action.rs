//! What people did about an account: they acknowledge an alert's episode, put it off, or end it.
//!
//! What holds: an action is no deed of the customer, so nothing but episodes depends on it; and it is
//! about the one episode that it names, of whatever rule.

use event::{Event, Properties};
use serde_json::{Value, json};

use crate::stamped::Stamp;

/// The most characters that are kept of a note.
const MAX_NOTE: usize = 2_000;
/// The most characters that are kept of who acted, and of the playbook.
const MAX_NAMED: usize = 200;
/// The most characters of a note that a reason repeats.
const SHORT_NOTE: usize = 200;

/// What an action does to an episode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Somebody sees to it.
    Acknowledge,
    /// Nobody wants to hear that it got worse before this time, milliseconds.
    Snooze { until: f64 },
    /// It is over, as far as people are concerned.
    Resolve,
}

/// An action on an episode.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Action {
    pub(crate) episode_id: String,
    pub(crate) kind: Kind,
    pub(crate) stamp: Stamp,
    pub(crate) words: Words,
}

/// Who did it, and what he says about it; empty is what is not known. It waits in the episode until it is
/// told.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Words {
    #[prost(string, tag = "1")]
    pub(crate) by: String,
    #[prost(string, tag = "2")]
    pub(crate) note: String,
    #[prost(string, tag = "3")]
    pub(crate) playbook: String,
}

impl Action {
    /// The action of an event; `None` when it does nothing to any episode, as a note.
    pub(crate) fn of(event: &Event, properties: &Properties<'_>) -> Option<Action> {
        let kind = match event.name.as_str() {
            "acknowledged" => Kind::Acknowledge,
            "snoozed" => Kind::Snooze {
                until: properties.timestamp_ms("until")? as f64,
            },
            "resolved" => Kind::Resolve,
            _ => return None,
        };
        let text = |name: &str, most: usize| {
            let text = properties.str(name).unwrap_or_default();
            cut(text.trim(), most).to_string()
        };
        Some(Action {
            episode_id: properties.str("episode_id")?.into_owned(),
            kind,
            stamp: Stamp::of(event.happened_at(), &event.event_id),
            words: Words {
                by: text("by", MAX_NAMED),
                note: text("note", MAX_NOTE),
                playbook: text("playbook", MAX_NAMED),
            },
        })
    }
}

impl Words {
    /// `data.action` of a webhook; `until` is when the episode's snooze ends, milliseconds.
    pub(crate) fn payload(&self, until: Option<i64>) -> Value {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_string());
        let until = until.and_then(|until| jiff::Timestamp::from_millisecond(until).ok());
        json!({
            "by": known(&self.by), "note": known(&self.note), "playbook": known(&self.playbook),
            "until": until.map(|until| until.to_string()),
        })
    }

    /// The note as a reason ends with it, behind `between`; nothing when there is none.
    pub(crate) fn note_after(&self, between: &str) -> String {
        // One line: what goes on below is in the payload.
        let line = self.note.lines().next().unwrap_or_default();
        let short = cut(line, SHORT_NOTE);
        let more = if short.len() < self.note.len() { "…" } else { "" };
        if short.is_empty() {
            String::new()
        } else {
            format!("{between}{short}{more}")
        }
    }
}

fn cut(text: &str, characters: usize) -> &str {
    match text.char_indices().nth(characters) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
#[path = "action_tests.rs"]
mod tests;
