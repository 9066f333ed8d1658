//! `mimamori rejected list`

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde_json::{Map, Value, json};

use super::entry::{self, Entry, Rejected};
use super::filter::Filter;
use super::notes::Replayed;
use super::text::{excerpt, visible};
use super::{Address, Topic};
use crate::cli::{Format, RejectedListArgs};
use crate::config::{Config, ConfigError};
use crate::output;

/// Characters of a value that are listed at most.
const EXCERPT: usize = 120;
/// Characters of a detail that are listed at most; `show` has all.
const DETAIL: usize = 300;

/// What is kept of a record that may be listed.
struct Line {
    address: Address,
    at_ms: Option<i64>,
    reason: String,
    detail: String,
    origin: entry::Origin,
    bytes: usize,
    cut_from: Option<u64>,
    excerpt: String,
    replayed: bool,
}

/// How many records there are.
#[derive(Clone, Copy, Default)]
struct Count {
    records: u64,
    replayed: u64,
}

pub async fn run(config: Config, args: RejectedListArgs, format: Option<Format>) -> anyhow::Result<()> {
    if args.limit == 0 {
        return Err(ConfigError("--limit must be over 0".to_string()).into());
    }
    let filter = Filter::new(&args.filter, crate::commands::wall_ms())?;
    let topic = Topic::open(&config).await?;
    let spans = filter.spans(&topic.reader).await?;
    let replayed = Replayed::read(&topic, &spans).await?;

    let mut by_reason: BTreeMap<String, Count> = BTreeMap::new();
    // The newest so far; the oldest of them on top.
    let mut newest: BinaryHeap<Reverse<(Option<i64>, Address)>> = BinaryHeap::new();
    let mut lines: BTreeMap<Address, Line> = BTreeMap::new();
    topic
        .read("records", &spans, async |entry| {
            let Entry::Rejected(rejected) = entry else {
                return Ok(true);
            };
            if !filter.wants(&rejected) {
                return Ok(true);
            }
            let was_replayed = replayed.has(rejected.address);
            let count = by_reason.entry(rejected.reason.clone()).or_default();
            count.records += 1;
            count.replayed += u64::from(was_replayed);
            newest.push(Reverse((rejected.at_ms, rejected.address)));
            lines.insert(rejected.address, Line::of(&rejected, was_replayed));
            if newest.len() > args.limit
                && let Some(Reverse((_, oldest))) = newest.pop()
            {
                lines.remove(&oldest);
            }
            Ok(true)
        })
        .await?;

    let mut lines: Vec<Line> = lines.into_values().collect();
    lines.sort_by_key(|line| Reverse((line.at_ms, line.address)));
    let mut total = Count::default();
    for count in by_reason.values() {
        total.records += count.records;
        total.replayed += count.replayed;
    }
    let found = json!({
        "records": lines.iter().map(Line::json).collect::<Vec<_>>(),
        "by_reason": by_reason
            .iter()
            .map(|(reason, count)| json!({
                "reason": reason, "records": count.records, "replayed": count.replayed,
            }))
            .collect::<Vec<_>>(),
        "total": total.records,
        "replayed": total.replayed,
    });
    output::result(format, &found, || table(&lines, &by_reason, total))
}

impl Line {
    fn of(rejected: &Rejected, replayed: bool) -> Line {
        let excerpt = match rejected.event() {
            Some(event) => excerpt(entry::native(&event).get().as_bytes(), EXCERPT),
            None => excerpt(&rejected.value, EXCERPT),
        };
        Line {
            address: rejected.address,
            at_ms: rejected.at_ms,
            reason: rejected.reason.clone(),
            detail: self::excerpt(rejected.detail.as_bytes(), DETAIL),
            origin: rejected.origin.clone(),
            bytes: rejected.value.len(),
            cut_from: rejected.cut_from(),
            excerpt,
            replayed,
        }
    }

    fn json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("address".into(), self.address.to_string().into());
        fields.insert("at".into(), json!(self.at_ms.map(output::time)));
        fields.insert("reason".into(), self.reason.as_str().into());
        fields.insert("detail".into(), self.detail.as_str().into());
        entry::origin_fields(&self.origin, &mut fields);
        fields.insert("bytes".into(), self.bytes.into());
        if let Some(bytes) = self.cut_from {
            fields.insert("original_bytes".into(), bytes.into());
        }
        fields.insert("replayed".into(), self.replayed.into());
        fields.insert("excerpt".into(), self.excerpt.as_str().into());
        Value::Object(fields)
    }
}

fn table(lines: &[Line], by_reason: &BTreeMap<String, Count>, total: Count) -> String {
    if total.records == 0 {
        return "no rejected records".to_string();
    }
    let mut text = Vec::new();
    for line in lines {
        let bytes = match line.cut_from {
            Some(whole) => format!("{} of {whole} bytes", line.bytes),
            None => format!("{} bytes", line.bytes),
        };
        let replayed = if line.replayed { "  replayed" } else { "" };
        text.push(format!(
            "{:<9} {}  {:<20} from {}, {bytes}{replayed}",
            line.address,
            line.at_ms.map_or_else(|| "no time".to_string(), output::time),
            shown(&line.reason),
            visible(&line.origin.to_string()),
        ));
        text.push(format!("          {}", line.detail));
        text.push(format!("          {}", line.excerpt));
        text.push(String::new());
    }
    text.push(format!("{:<24} {:>9} {:>9}", "reason", "records", "replayed"));
    for (reason, count) in by_reason {
        text.push(format!(
            "{:<24} {:>9} {:>9}",
            shown(reason),
            count.records,
            count.replayed
        ));
    }
    text.push(format!(
        "{:<24} {:>9} {:>9}",
        "all", total.records, total.replayed
    ));
    if (lines.len() as u64) < total.records {
        text.push(format!("the newest {} are listed (--limit)", lines.len()));
    }
    text.join("\n")
}

fn shown(reason: &str) -> String {
    if reason.is_empty() {
        "(none)".to_string()
    } else {
        visible(reason)
    }
}
