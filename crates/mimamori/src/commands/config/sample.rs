//! `mimamori config check --sample`: how given events would be read.

use std::path::Path;

use event::{Door, Event, EventType, Rejection, Violation};
use health::HealthConfig;
use serde::Serialize;

use crate::cli::Format;
use crate::commands::rejected::text::visible;
use crate::commands::wall_ms;
use crate::config::Config;
use crate::ndjson::{Line, Lines};
use crate::output;

/// What a record of Kafka may have at most; a longer line cannot be sent.
const MAX_LINE_BYTES: usize = 16 << 20;

/// How one line would be read.
#[derive(Debug, Serialize)]
struct Reading {
    line: u64,
    /// The format it is taken for; none for what is none of them.
    format: Option<&'static str>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Accepted {
        account_id: String,
        user_id: Option<String>,
        #[serde(rename = "type")]
        event_type: &'static str,
        name: String,
        occurred_at: String,
        event_id: String,
        /// What the event counts as, by the section `[health]`.
        counts_as: Vec<String>,
        /// How it differs from the tracking plan of its source.
        violations: Vec<&'static str>,
    },
    Rejected {
        reason: &'static str,
        detail: String,
    },
}

pub fn run(
    config: &Config,
    door: &Door,
    sample: &Path,
    source: Option<&str>,
    format: Option<Format>,
) -> anyhow::Result<()> {
    let source = source.unwrap_or(&config.ingest.topic);
    let mut lines = Lines::open(sample, MAX_LINE_BYTES)?;
    let received_at = wall_ms();
    let mut readings = Vec::new();
    while let Some(line) = lines.next()? {
        readings.push(read(door, &config.health, &line, received_at, source));
    }
    let rejected = readings
        .iter()
        .filter(|reading| matches!(reading.outcome, Outcome::Rejected { .. }))
        .count();
    let found = serde_json::json!({
        "events": readings, "accepted": readings.len() - rejected, "rejected": rejected,
    });
    output::result(format, &found, || table(&readings, rejected))?;
    match (readings.len(), rejected) {
        (0, _) => anyhow::bail!("{} holds no events", lines.name()),
        (_, 0) => Ok(()),
        (_, 1) => anyhow::bail!("one event of {} would be rejected", lines.name()),
        (_, rejected) => anyhow::bail!("{rejected} events of {} would be rejected", lines.name()),
    }
}

fn read(door: &Door, health: &HealthConfig, line: &Line, received_at: i64, source: &str) -> Reading {
    let taken = door.take(&line.text, &[], received_at, source);
    let outcome = match taken.event {
        _ if line.too_long => Outcome::Rejected {
            reason: event::Reason::EventTooLarge.as_str(),
            detail: format!("the line has more than {MAX_LINE_BYTES} bytes"),
        },
        Ok(event) => Outcome::Accepted {
            counts_as: counts_as(&event, health),
            violations: taken.violations.iter().map(Violation::as_str).collect(),
            event_type: event.event_type.as_str(),
            occurred_at: output::time(event.occurred_at),
            account_id: event.account_id,
            user_id: event.user_id,
            name: event.name,
            event_id: event.event_id,
        },
        Err(Rejection { reason, detail }) => Outcome::Rejected {
            reason: reason.as_str(),
            detail,
        },
    };
    Reading {
        line: line.number,
        format: door.format(&line.text, &[]).map(event::Format::as_str),
        outcome,
    }
}

/// What the account model makes of an event of that name.
fn counts_as(event: &Event, health: &HealthConfig) -> Vec<String> {
    let is_feature = event.event_type == EventType::Feature;
    let is_milestone = event.event_type == EventType::Milestone;
    if !is_feature && !is_milestone {
        return Vec::new();
    }
    let name = &event.name;
    let mut roles = Vec::new();
    if is_feature && health.key_features.contains(name) {
        roles.push("key feature".to_owned());
    }
    if is_feature && health.advanced_features.contains(name) {
        roles.push("advanced feature".to_owned());
    }
    if is_milestone && let Some(place) = health.milestones.iter().position(|one| one.name == *name) {
        roles.push(format!("milestone {} of {}", place + 1, health.milestones.len()));
    }
    if health.sticky_actions.contains(name) {
        roles.push("sticky action".to_owned());
    }
    if health.value_event == *name {
        roles.push("value event".to_owned());
    }
    for (kind, events) in [
        ("plan", &health.value_events.plan),
        ("segment", &health.value_events.segment),
    ] {
        let whose = events.iter().filter(|(_, event)| *event == name);
        roles.extend(whose.map(|(whose, _)| format!("value event of {kind} {whose}")));
    }
    roles
}

fn table(readings: &[Reading], rejected: usize) -> String {
    let mut rows = vec![
        [
            "line",
            "format",
            "account",
            "type",
            "name",
            "occurred at",
            "counts as",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for reading in readings {
        let mut row = vec![reading.line.to_string(), reading.format.unwrap_or("-").to_owned()];
        match &reading.outcome {
            Outcome::Accepted {
                account_id,
                event_type,
                name,
                occurred_at,
                counts_as,
                violations,
                ..
            } => row.extend([
                visible(account_id),
                (*event_type).to_owned(),
                visible(name),
                occurred_at.clone(),
                visible(&counts_as.join(", ")),
                violations.join(", "),
            ]),
            Outcome::Rejected { reason, detail } => {
                row.push(format!("rejected, {reason}: {}", visible(detail)));
            }
        }
        rows.push(row);
    }
    // What was rejected says why in one long cell, which must not widen the columns.
    let columns = rows[0].len();
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| row.len() == columns);
        cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    lines.push(format!(
        "{} would be accepted, {rejected} rejected",
        readings.len() - rejected
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_309_324_000;

    fn reading(config: &Config, text: &str) -> Reading {
        let door = config.ingest.door().unwrap();
        let line = Line {
            number: 7,
            text: text.as_bytes().to_vec(),
            too_long: false,
        };
        read(&door, &config.health, &line, NOW, "test")
    }

    #[test]
    fn each_format_is_told_with_what_its_event_becomes_and_counts_as() {
        let config: Config = toml::from_str(
            "[[ingest.names]]\nevent = \"Workspace Created\"\ntype = \"milestone\"\nname = \"workspace\"\n\
             [health]\nvalue_event = \"workspace\"\nkey_features = [\"report\"]\n\
             [health.value_events.plan]\nteam = \"report\"\n\
             [[health.milestones]]\nname = \"workspace\"\nexpected_days = 3\n",
        )
        .unwrap();
        let native = r#"{"event_id":"1","account_id":"a","type":"feature","name":"report","occurred_at":1795309323000}"#;
        let segment =
            r#"{"type":"track","event":"Workspace Created","messageId":"2","context":{"groupId":"b"}}"#;
        let cloud =
            r#"{"specversion":"1.0","id":"3","type":"login","subject":"c","time":"2026-11-22T01:02:03Z"}"#;
        for (text, format, name, roles) in [
            (
                native,
                "native",
                "report",
                "key feature, value event of plan team",
            ),
            (segment, "segment", "workspace", "milestone 1 of 1, value event"),
            (cloud, "cloudevents", "", ""),
        ] {
            let reading = reading(&config, text);
            assert_eq!(reading.format, Some(format));
            let Outcome::Accepted {
                name: found,
                counts_as,
                ..
            } = reading.outcome
            else {
                panic!("{format}: {reading:?}")
            };
            assert_eq!((found.as_str(), counts_as.join(", ").as_str()), (name, roles));
        }
    }

    #[test]
    fn a_rejected_line_is_told_with_its_reason_and_does_not_widen_the_table() {
        let config = Config::default();
        let bad = reading(&config, r#"{"event_id":"1","type":"login","occurred_at":1}"#);
        assert_eq!(bad.format, Some("native"));
        let text = table(&[bad, reading(&config, "[1]")], 2);
        assert!(text.contains("rejected, missing_field: account_id"), "{text}");
        assert!(text.contains("7     -       rejected, unknown_format"), "{text}");
        let heading = text.lines().next().unwrap();
        assert_eq!(
            heading,
            "line  format  account  type  name  occurred at  counts as"
        );
    }
}
