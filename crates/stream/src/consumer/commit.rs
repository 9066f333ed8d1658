//! Sends commits, on a thread beside the consumer's: the wait for the answer must not hold up
//! polling.
//!
//! Commits are sent synchronously because their outcome matters: a revoked partition moves on only
//! after its last commit was taken. The client library reports the outcome of an asynchronous one
//! only through a callback that it never registers.

use std::sync::mpsc::Receiver;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::callbacks::{Callbacks, Note};

/// Commits list after list, each answered by a note, until the sender is dropped.
///
/// With the broker away one commit takes up to the session timeout.
pub(super) fn serve(consumer: &BaseConsumer<Callbacks>, lists: &Receiver<TopicPartitionList>) {
    while let Ok(list) = lists.recv() {
        let failure = match consumer.commit(&list, CommitMode::Sync) {
            // Nothing in the list was new to the broker.
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => None,
            Err(error) => Some(error.to_string()),
        };
        let offsets = list
            .elements()
            .iter()
            .filter_map(|element| Some((element.partition(), element.offset().to_raw()?)))
            .collect();
        consumer.context().note(Note::Committed { failure, offsets });
    }
}
