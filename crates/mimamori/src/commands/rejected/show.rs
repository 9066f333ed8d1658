//! `mimamori rejected show`

use std::io::Write;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use stream::Span;

use super::entry::{self, Entry, Note, Rejected};
use super::text::{excerpt, hex, hex_dump, indented, visible, visible_lines};
use super::{Address, Topic};
use crate::cli::{Format, RejectedShowArgs};
use crate::config::Config;
use crate::output;

/// Characters of a key or a header that people are shown at most; JSON has all.
const EXCERPT: usize = 1_000;

/// A value as what it is.
enum Shape {
    Json(Box<RawValue>),
    Event(Box<RawValue>),
    Text(String),
    Bytes,
}

pub async fn run(config: Config, args: RejectedShowArgs, format: Option<Format>) -> anyhow::Result<()> {
    let topic = Topic::open(&config).await?;
    let span = topic.find(args.address)?;
    let rejected = read(&topic, args.address, span).await?;
    if args.raw {
        let mut stdout = std::io::stdout().lock();
        return match stdout.write_all(&rejected.value).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        };
    }
    let notes = notes(&topic, args.address).await?;
    let shape = Shape::of(&rejected);
    let found = json(&rejected, &notes, &shape)?;
    output::result(format, &found, || lines(&rejected, &notes, &shape))
}

async fn read(topic: &Topic, address: Address, span: Span) -> anyhow::Result<Rejected> {
    let mut found = None;
    topic
        .read("records", &[span], async |entry| {
            found = Some(entry);
            Ok(false)
        })
        .await?;
    match found {
        Some(Entry::Rejected(rejected)) => Ok(rejected),
        Some(Entry::Note(note)) => anyhow::bail!(
            "{address} is no rejected record but the note that {} was replayed",
            note.of
        ),
        None => anyhow::bail!("there is no record {address} any more"),
    }
}

/// The notes about this record, which stand behind it in its partition.
async fn notes(topic: &Topic, address: Address) -> anyhow::Result<Vec<Note>> {
    let behind = topic
        .reader
        .spans()
        .iter()
        .find(|span| span.partition == address.partition);
    let behind: Vec<Span> = behind
        .map(|span| Span {
            first: address.offset + 1,
            ..*span
        })
        .into_iter()
        .collect();
    let mut notes = Vec::new();
    topic
        .read("looking for what was replayed", &behind, async |entry| {
            if let Entry::Note(note) = entry
                && note.of == address
            {
                notes.push(note);
            }
            Ok(true)
        })
        .await?;
    Ok(notes)
}

impl Shape {
    fn of(rejected: &Rejected) -> Shape {
        if let Some(event) = rejected.event() {
            return Shape::Event(entry::native(&event));
        }
        let Ok(text) = std::str::from_utf8(&rejected.value) else {
            return Shape::Bytes;
        };
        match serde_json::from_str::<Box<RawValue>>(text) {
            Ok(json) => Shape::Json(json),
            // Text with a zero byte, say, is a file of some other kind.
            Err(_)
                if text
                    .chars()
                    .any(|char| char.is_control() && !char.is_whitespace()) =>
            {
                Shape::Bytes
            }
            Err(_) => Shape::Text(text.to_string()),
        }
    }
}

/// What programs get. The value's own JSON is handed on as it is, digit by digit.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    known: Map<String, Value>,
    format: &'static str,
    value: Box<RawValue>,
}

fn json(rejected: &Rejected, notes: &[Note], shape: &Shape) -> anyhow::Result<Shown> {
    let mut known = Map::new();
    known.insert("address".into(), rejected.address.to_string().into());
    known.insert("at".into(), json!(rejected.at_ms.map(output::time)));
    known.insert("reason".into(), rejected.reason.as_str().into());
    known.insert("detail".into(), rejected.detail.as_str().into());
    entry::origin_fields(&rejected.origin, &mut known);
    known.insert("bytes".into(), rejected.value.len().into());
    if let Some(bytes) = rejected.original_bytes {
        known.insert("original_bytes".into(), bytes.into());
    }
    known.insert(
        "key".into(),
        rejected.key.as_deref().map_or(Value::Null, bytes_json),
    );
    let headers = rejected.all_headers.iter().map(|(name, value)| {
        let value = bytes_json(value);
        json!({ "name": name, "value": value })
    });
    known.insert("headers".into(), headers.collect());
    let replays = notes.iter().map(|note| {
        json!({
            "at": note.at_ms.map(output::time), "topic": note.topic,
            "partition": note.to.map(|to| to.partition), "offset": note.to.map(|to| to.offset),
        })
    });
    known.insert("replays".into(), replays.collect());
    let (format, value) = match shape {
        Shape::Json(json) => ("json", RawValue::from_string(indented(json.get()))?),
        Shape::Event(event) => ("event", RawValue::from_string(indented(event.get()))?),
        Shape::Text(text) => ("text", to_raw_value(text)?),
        Shape::Bytes => ("hex", to_raw_value(&hex(&rejected.value))?),
    };
    Ok(Shown { known, format, value })
}

/// Bytes as text if they are, else in hexadecimal.
fn bytes_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}

fn lines(rejected: &Rejected, notes: &[Note], shape: &Shape) -> String {
    let mut lines = vec![
        format!("record    {}", rejected.address),
        format!(
            "when      {}",
            rejected.at_ms.map_or_else(|| "unknown".to_string(), output::time)
        ),
        format!("reason    {}", visible(&rejected.reason)),
        format!("detail    {}", visible(&rejected.detail)),
        format!("from      {}", visible(&rejected.origin.to_string())),
        match &rejected.key {
            Some(key) => format!("key       {}", excerpt(key, EXCERPT)),
            None => "key       none".to_string(),
        },
        format!(
            "size      {} bytes{}{}",
            rejected.value.len(),
            rejected
                .cut_from()
                .map_or_else(String::new, |whole| format!(", the first of {whole}")),
            if rejected.original_bytes.is_some() {
                "; its own headers were not kept"
            } else {
                ""
            },
        ),
    ];
    if notes.is_empty() {
        lines.push("replayed  no".to_string());
    }
    for note in notes {
        let to = note.to.map_or_else(String::new, |to| format!(" {to}"));
        let at = note
            .at_ms
            .map_or_else(|| "at an unknown time".to_string(), output::time);
        lines.push(format!("replayed  {at} to {}{to}", visible(&note.topic)));
    }
    lines.extend([String::new(), "headers".to_string()]);
    let width = rejected
        .all_headers
        .iter()
        .map(|(name, _)| name.chars().count())
        .max();
    let width = width.unwrap_or(0).min(40);
    for (name, value) in &rejected.all_headers {
        lines.push(format!(
            "  {:<width$}  {}",
            visible(name),
            excerpt(value, EXCERPT)
        ));
    }
    let (title, value) = match shape {
        Shape::Json(json) => ("value, JSON", indented(json.get())),
        Shape::Event(event) => ("value, an event as JSON", indented(event.get())),
        Shape::Text(text) => ("value, text", visible_lines(text)),
        Shape::Bytes => ("value, bytes", hex_dump(&rejected.value)),
    };
    lines.extend([String::new(), title.to_string(), value]);
    lines.join("\n")
}
