//! Up to where the log is the one that the landed events were read from, and what of it has not landed.
//!
//! A log is the same up to some offset, and another from there on; that offset is looked for by halves.

use std::collections::{BTreeMap, HashSet};

use event::Event;
use store::{Checkpoint, EventRow, SeenEvent, Store};
use stream::{Producer, Span, TopicReader};
use tracing::warn;

use super::{RebuildError, RebuildWiring};
use crate::action::SetAside;
use crate::config::Config;
use crate::continuity::{Records, is_there, place_of, read};
use crate::outlet::set_aside;
use crate::rows;

/// Rows of a partition that are looked at in one look.
const LOOKED_AT: i64 = 4;

/// Of each of so many partitions the offset from which on the log does not hold what the landed events
/// say; the end of the log when it holds all of it.
pub(super) async fn same_until(
    store: &Store,
    log: &TopicReader,
    partitions: i32,
) -> Result<Vec<i64>, RebuildError> {
    let mut until = vec![0; usize::try_from(partitions).unwrap_or(0)];
    // What is not known yet of each partition; beyond it all is settled.
    let mut unknown: Vec<Span> = log.spans().to_vec();
    for span in &unknown {
        if let Some(until) = place(span.partition, &mut until) {
            *until = span.end;
        }
    }
    while !unknown.is_empty() {
        let mut rows: BTreeMap<i32, Vec<SeenEvent>> = BTreeMap::new();
        for span in &unknown {
            let found = store.events_spread(span.partition, span.first, span.end, LOOKED_AT);
            rows.insert(span.partition, found.await?);
        }
        let asked: Vec<Span> = rows.values().flatten().map(place_of).collect();
        let records = read(log.read(&asked)?).await?;
        let mut narrower = Vec::new();
        for span in unknown {
            let rows = rows.remove(&span.partition).unwrap_or_default();
            if let Some(rest) = first_difference(&span, &rows, &records) {
                if let Some(until) = place(span.partition, &mut until) {
                    *until = rest.end;
                }
                narrower.push(rest);
            }
        }
        unknown = narrower;
    }
    Ok(until)
}

fn place(partition: i32, until: &mut [i64]) -> Option<&mut i64> {
    until.get_mut(usize::try_from(partition).ok()?)
}

/// The stretch in which the first difference lies, given rows of all over it, ascending: it ends before the
/// first row that is known to differ. `None` when none of them does.
fn first_difference(span: &Span, rows: &[SeenEvent], records: &Records) -> Option<Span> {
    let differs = rows.iter().position(|row| !is_there(row, records))?;
    let same = rows[..differs].last().map(|row| row.kafka_offset + 1);
    Some(Span {
        first: same.unwrap_or(span.first),
        end: rows[differs].kafka_offset,
        ..*span
    })
}

/// How many offsets the log let go of before they were read, but for those that have landed all the same.
pub(super) async fn lost(
    store: &Store,
    spans: &[Span],
    checkpoints: &[Checkpoint],
    limits: &[i64],
) -> Result<u64, RebuildError> {
    let mut lost = 0;
    for known in checkpoints {
        let span = spans.iter().find(|span| span.partition == known.partition);
        let limit = usize::try_from(known.partition)
            .ok()
            .and_then(|number| limits.get(number));
        let (Some(span), Some(limit)) = (span, limit) else {
            continue;
        };
        // Of another log the checkpoint says nothing.
        let is_the_same = *limit == span.end && known.next_offset <= span.end;
        if is_the_same && known.next_offset < span.first {
            let landed = store.count_landed(known.partition, known.next_offset, span.first);
            let gone = u64::try_from(span.first - known.next_offset).unwrap_or(0);
            lost += gone.saturating_sub(landed.await?);
        }
    }
    Ok(lost)
}

/// Lands what stretches of the log hold and `events` does not; returns how many events that were.
pub(super) async fn land(
    wiring: &RebuildWiring,
    config: &Config,
    log: &TopicReader,
    spans: &[Span],
    progress: &mut (dyn FnMut(&str, u64, u64) + Send),
) -> Result<u64, RebuildError> {
    let mut scan = log.read(spans)?;
    let total = scan.total();
    let mut producer = None;
    let (mut read, mut landed) = (0, 0);
    let mut waiting: Vec<EventRow> = Vec::new();
    while let Some(records) = scan.next().await? {
        progress("records to land", read, total);
        read += records.len() as u64;
        for record in records {
            let event: Event = match event::wire::decode(&record.payload) {
                Ok(event) => event,
                Err(error) => {
                    let bad = SetAside {
                        number: record.partition,
                        offset: record.offset,
                        key: record.key,
                        payload: record.payload,
                        reason: "unknown_format",
                        detail: error.to_string(),
                    };
                    let (partition, offset, detail) = (bad.number, bad.offset, &bad.detail);
                    warn!(partition, offset, detail, "record set aside");
                    let producer = match &producer {
                        Some(producer) => producer,
                        None => producer.insert(Producer::new(&wiring.kafka)?),
                    };
                    set_aside(producer, &bad).await?;
                    continue;
                }
            };
            waiting.push(rows::event(event, record.partition, record.offset));
        }
        if waiting.len() >= config.batch_records {
            landed += land_new(&wiring.store, std::mem::take(&mut waiting)).await?;
        }
    }
    landed += land_new(&wiring.store, waiting).await?;
    Ok(landed)
}

/// Lands those of the rows whose account has not had their id.
async fn land_new(store: &Store, rows: Vec<EventRow>) -> Result<u64, store::Error> {
    let pair = |row: &EventRow| (row.account_id.clone(), row.event_id.clone());
    let pairs: Vec<(String, String)> = rows.iter().map(pair).collect();
    let seen = store.seen_events(&pairs).await?.into_iter();
    let mut known: HashSet<(String, String)> = seen.map(|seen| (seen.account_id, seen.event_id)).collect();
    let mut new = rows;
    new.retain(|row| known.insert(pair(row)));
    let Some(first) = new.first() else { return Ok(0) };
    let last = &new[new.len() - 1];
    let token = format!(
        "rebuild-{}-{}-{}-{}-{}",
        first.kafka_partition,
        first.kafka_offset,
        last.kafka_partition,
        last.kafka_offset,
        new.len()
    );
    store.insert_events(&token, &new).await?;
    Ok(new.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(offset: i64, id: &str) -> SeenEvent {
        SeenEvent {
            account_id: "acme".to_string(),
            event_id: id.to_string(),
            kafka_partition: 3,
            kafka_offset: offset,
        }
    }

    /// What a log holds whose events are called by their offsets up to `until` and otherwise from there on.
    fn log(rows: &[SeenEvent], until: i64) -> Records {
        let records = rows.iter().map(|row| {
            let offset = row.kafka_offset;
            let id = if offset < until {
                format!("e{offset}")
            } else {
                format!("new{offset}")
            };
            ((3, offset), ("acme".to_string(), id))
        });
        records.collect()
    }

    /// Narrows as `same_until` does, with every offset of the partition landed.
    fn narrowed(until: i64, end: i64) -> (i64, usize) {
        let mut span = Span {
            partition: 3,
            first: 0,
            end,
        };
        let mut looks = 0;
        loop {
            looks += 1;
            let length = span.end - span.first;
            let rows: Vec<SeenEvent> = (span.first..span.end)
                .filter(|offset| {
                    let share = |offset: i64| (offset - span.first) * LOOKED_AT / length.max(1);
                    offset + 1 == span.end || share(*offset) != share(offset + 1)
                })
                .map(|offset| row(offset, &format!("e{offset}")))
                .collect();
            match first_difference(&span, &rows, &log(&rows, until)) {
                Some(narrower) => span = narrower,
                None => return (span.end, looks),
            }
        }
    }

    #[test]
    fn where_the_log_begins_to_differ_is_found_in_a_few_looks() {
        for until in [0, 1, 7, 499, 500, 998, 999] {
            let (found, looks) = narrowed(until, 1_000);
            assert_eq!(found, until);
            assert!(looks <= 7, "{until} took {looks} looks");
        }
        assert_eq!(
            narrowed(1_000, 1_000),
            (1_000, 1),
            "one look when all is the same"
        );
    }

    #[test]
    fn a_record_that_is_gone_or_is_of_another_account_differs() {
        let span = Span {
            partition: 3,
            first: 0,
            end: 10,
        };
        let rows = [row(2, "e2"), row(5, "e5")];
        let mut records = log(&rows, 10);
        assert_eq!(first_difference(&span, &rows, &records), None);
        records.insert((3, 5), ("other".to_string(), "e5".to_string()));
        let narrower = Span {
            first: 3,
            end: 5,
            ..span
        };
        assert_eq!(first_difference(&span, &rows, &records), Some(narrower));
        records.remove(&(3, 5));
        assert_eq!(first_difference(&span, &rows, &records), Some(narrower));
        assert_eq!(first_difference(&span, &[], &records), None);
    }
}
