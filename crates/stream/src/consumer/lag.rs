//! Asks for the ends of the owned partitions, on a thread beside the consumer's: the question goes
//! over the network and must not hold up polling, and it must be asked also while partitions are
//! paused, when fetches tell nothing.
//!
//! One request per broker and interval, whatever the number of partitions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

use super::callbacks::Callbacks;
use super::shared::Shared;
use crate::metrics::ConsumerMetrics;

/// Short, so that the thread ends soon after the consumer wants to.
const DEADLINE: Duration = Duration::from_millis(800);

/// Watches until `stop` is dropped.
pub(super) fn watch(
    consumer: &BaseConsumer<Callbacks>,
    shared: &Arc<Shared>,
    metrics: &ConsumerMetrics,
    interval: Duration,
    stop: &Receiver<()>,
) {
    // The first answers are wanted soon after an assignment, which takes a moment to come.
    let mut wait = interval.min(Duration::from_millis(100));
    let mut shown: BTreeSet<i32> = BTreeSet::new();
    loop {
        match stop.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let partitions = shared.assigned();
        shown.retain(|partition| {
            let ours = partitions.binary_search(partition).is_ok();
            if !ours {
                // Gone is gone: an error only says that it was never shown.
                let _ = metrics.lag.remove_label_values(&[&partition.to_string()]);
            }
            ours
        });
        if partitions.is_empty() {
            // Whether the broker is there is wanted of a member without partitions as well.
            if shared.silent_for() >= interval
                && consumer.fetch_metadata(Some(&shared.topic), DEADLINE).is_ok()
            {
                shared.hear();
            }
            continue;
        }
        wait = interval;
        if let Err(error) = look(consumer, shared, &partitions) {
            debug!(topic = %shared.topic, %error, "cannot ask for the end of the partitions");
        }
        for partition in partitions {
            if let Some(lag) = shared.with(partition, |found| found.lag()) {
                metrics.lag.with_label_values(&[&partition.to_string()]).set(lag);
                shown.insert(partition);
            }
        }
    }
}

fn look(consumer: &BaseConsumer<Callbacks>, shared: &Shared, partitions: &[i32]) -> KafkaResult<()> {
    for (partition, end) in ask(consumer, &shared.topic, partitions, Offset::End)? {
        shared.set_end(partition, end);
    }
    shared.hear();

    // A partition without new records has no position of its own: it stands where the group
    // committed, else at the oldest record.
    let unknown = shared.without_position();
    if unknown.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i32> = unknown.iter().map(|(partition, _)| *partition).collect();
    let committed = consumer.committed_offsets(list(&shared.topic, &numbers, Offset::Invalid)?, DEADLINE)?;
    let oldest = ask(consumer, &shared.topic, &numbers, Offset::Beginning)?;
    for (partition, assigned_by) in unknown {
        let committed = committed
            .find_partition(&shared.topic, partition)
            .and_then(|found| found.offset().to_raw());
        let oldest = oldest
            .iter()
            .find(|(found, _)| *found == partition)
            .map(|(_, offset)| *offset);
        let position = match (committed.filter(|offset| *offset >= 0), oldest) {
            (Some(committed), Some(oldest)) => Some(committed.max(oldest)),
            (committed, oldest) => committed.or(oldest),
        };
        if let Some(position) = position {
            shared.set_position(partition, assigned_by, position);
        }
    }
    Ok(())
}

/// The offsets at the beginning or the end of partitions. Kafka's lookup by time takes these as two
/// special times, and answers for all partitions of a broker at once.
fn ask(
    consumer: &BaseConsumer<Callbacks>,
    topic: &str,
    partitions: &[i32],
    which: Offset,
) -> KafkaResult<Vec<(i32, i64)>> {
    let answer = consumer.offsets_for_times(list(topic, partitions, which)?, DEADLINE)?;
    let mut offsets = Vec::with_capacity(partitions.len());
    for element in answer.elements() {
        if element.error().is_ok()
            && let Some(offset) = element.offset().to_raw().filter(|offset| *offset >= 0)
        {
            offsets.push((element.partition(), offset));
        }
    }
    Ok(offsets)
}

fn list(topic: &str, partitions: &[i32], offset: Offset) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for &partition in partitions {
        list.add_partition_offset(topic, partition, offset)?;
    }
    Ok(list)
}
