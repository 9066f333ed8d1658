//! What became of the records that were to be replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use event::Event;
use serde_json::{Map, Value, json};

use super::Address;
use super::judge::{Refusal, Replay};
use super::replay;
use super::sending::Settled;
use super::text::visible;
use crate::output;

/// Records that are told one by one; beyond it they are only counted.
const TOLD: usize = 1_000;

#[derive(Default)]
pub struct Report {
    /// Would be accepted, and were not sent.
    pub replayable: u64,
    pub replayed: u64,
    pub left: u64,
    /// Passed over because there are notes about them.
    pub already_replayed: u64,
    /// Replayed without a note about it.
    pub unnoted: u64,
    /// Of those that were named, the ones that came.
    pub seen: BTreeSet<Address>,
    /// A stop was asked for before the end.
    pub is_cut_short: bool,
    left_by_reason: BTreeMap<String, u64>,
    told: Vec<(Address, Outcome)>,
    untold: u64,
}

enum Outcome {
    /// With the event that it is, if it is one.
    Replayable(String, Option<Summary>),
    Replayed(String, Address, Option<Summary>),
    Left(Refusal),
}

/// What an event is told by.
struct Summary {
    event_id: String,
    account_id: String,
    what: String,
    occurred_at: String,
}

impl Summary {
    fn of(event: &Event) -> Summary {
        let kind = event.event_type.as_str();
        Summary {
            event_id: event.event_id.clone(),
            account_id: event.account_id.clone(),
            what: if event.name.is_empty() {
                kind.to_string()
            } else {
                format!("{kind} {}", event.name)
            },
            occurred_at: output::time(event.occurred_at),
        }
    }
}

impl Report {
    pub fn would_replay(&mut self, address: Address, replay: &Replay) {
        self.replayable += 1;
        let summary = replay.event.as_ref().map(Summary::of);
        self.tell(address, Outcome::Replayable(replay.topic.clone(), summary));
    }

    pub fn leave(&mut self, address: Address, refusal: Refusal) {
        self.left += 1;
        *self.left_by_reason.entry(refusal.reason.clone()).or_default() += 1;
        self.tell(address, Outcome::Left(refusal));
    }

    pub fn settle(&mut self, settled: Option<Settled>) {
        match settled {
            Some(Settled::Replayed(address, replay, (partition, offset))) => {
                self.replayed += 1;
                let to = Address { partition, offset };
                let summary = replay.event.as_ref().map(Summary::of);
                self.tell(address, Outcome::Replayed(replay.topic, to, summary));
            }
            Some(Settled::Left(address, refusal)) => self.leave(address, refusal),
            None => {}
        }
    }

    fn tell(&mut self, address: Address, outcome: Outcome) {
        if self.told.len() < TOLD {
            self.told.push((address, outcome));
        } else {
            self.untold += 1;
        }
    }

    /// Brings what is told into order: what was left is known before what was sent.
    pub fn finish(&mut self) {
        self.told.sort_by_key(|(address, _)| *address);
    }

    /// Fails when not everything that was asked for was done.
    pub fn ending(&self, mended: Option<&Path>) -> anyhow::Result<()> {
        if self.is_cut_short {
            anyhow::bail!("stopped before the end: called again, it passes over what was replayed");
        }
        match (self.left, self.told.first()) {
            (0, _) => Ok(()),
            (1, Some((address, Outcome::Left(refusal)))) if self.told.len() == 1 => {
                let with = mended.map_or_else(String::new, |file| format!(" with {}", replay::name(file)));
                let (reason, detail) = (&refusal.reason, visible(&refusal.detail));
                anyhow::bail!("{address}{with} was not replayed: {reason}: {detail}")
            }
            (1, _) => anyhow::bail!("1 record was not replayed"),
            (left, _) => anyhow::bail!("{left} records were not replayed"),
        }
    }

    pub fn json(&self, is_dry_run: bool) -> Value {
        let records = self.told.iter().map(|(address, outcome)| outcome.json(*address));
        let mut found = json!({
            "dry_run": is_dry_run,
            "replayed": self.replayed,
            "left": self.left,
            "left_by_reason": self.left_by_reason,
            "already_replayed": self.already_replayed,
            "complete": !self.is_cut_short,
            "records": records.collect::<Vec<_>>(),
            "records_not_listed": self.untold,
        });
        if is_dry_run {
            found["replayable"] = self.replayable.into();
        } else {
            found["without_note"] = self.unnoted.into();
        }
        found
    }

    pub fn table(&self) -> String {
        let mut lines: Vec<String> = self
            .told
            .iter()
            .map(|(address, outcome)| format!("{address:<9} {}", outcome.line()))
            .collect();
        if self.untold > 0 {
            lines.push(format!("… and {} more", self.untold));
        }
        let mut counts = Vec::new();
        for (count, what) in [
            (self.replayed, "replayed"),
            (self.replayable, "would be replayed"),
            (self.left, "left"),
            (self.already_replayed, "replayed before and passed over"),
        ] {
            if count > 0 {
                counts.push(format!("{count} {what}"));
            }
        }
        lines.push(if counts.is_empty() {
            "no such records".to_string()
        } else {
            counts.join(", ")
        });
        if self.left_by_reason.len() > 1 {
            let reasons = self.left_by_reason.iter();
            let reasons: Vec<String> = reasons
                .map(|(reason, count)| format!("{count} {reason}"))
                .collect();
            lines.push(format!("left: {}", reasons.join(", ")));
        }
        if self.unnoted > 0 {
            lines.push(format!(
                "of {} the note could not be written: a filter will find them again, which does no harm",
                self.unnoted
            ));
        }
        lines.join("\n")
    }
}

impl Outcome {
    fn json(&self, address: Address) -> Value {
        let mut fields = Map::new();
        fields.insert("address".into(), address.to_string().into());
        let (outcome, summary) = match self {
            Outcome::Replayable(topic, summary) => {
                fields.insert("topic".into(), topic.as_str().into());
                ("replayable", summary.as_ref())
            }
            Outcome::Replayed(topic, to, summary) => {
                fields.insert("topic".into(), topic.as_str().into());
                fields.insert("partition".into(), to.partition.into());
                fields.insert("offset".into(), to.offset.into());
                ("replayed", summary.as_ref())
            }
            Outcome::Left(refusal) => {
                fields.insert("reason".into(), refusal.reason.as_str().into());
                fields.insert("detail".into(), refusal.detail.as_str().into());
                ("left", None)
            }
        };
        fields.insert("outcome".into(), outcome.into());
        if let Some(event) = summary {
            fields.insert(
                "event".into(),
                json!({
                    "event_id": event.event_id, "account_id": event.account_id, "what": event.what,
                    "occurred_at": event.occurred_at,
                }),
            );
        }
        Value::Object(fields)
    }

    fn line(&self) -> String {
        let event = |summary: &Option<Summary>| match summary {
            Some(event) => visible(&format!(
                "{} of {} at {}, event_id {}",
                event.what, event.account_id, event.occurred_at, event.event_id
            )),
            None => "no event, will be rejected again".to_string(),
        };
        match self {
            Outcome::Replayable(topic, summary) => {
                format!("would be replayed to {}: {}", visible(topic), event(summary))
            }
            Outcome::Replayed(topic, to, summary) => {
                format!("replayed to {} {to}: {}", visible(topic), event(summary))
            }
            Outcome::Left(refusal) => format!("left, {}: {}", refusal.reason, visible(&refusal.detail)),
        }
    }
}
