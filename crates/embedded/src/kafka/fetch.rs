//! Reading: Fetch, ListOffsets and OffsetForLeaderEpoch.
//!
//! Holds: an answer never holds more record bytes than the client or the broker allows, save for one
//! batch that is larger by itself. A fetch that waits is woken by appends to its topics and by its
//! deadline, by nothing else. There are no transactions, so both isolation levels read the same.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use kafka_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use tokio::time::Instant;

use super::log::{Found, Log, Slice};
use super::topics::Topic;
use super::{Node, lock, off_the_runtime};

/// No fetch waits longer, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long further appends are gathered when a fetch asks for more bytes than there are.
const GATHERING: Duration = Duration::from_millis(5);

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST_TIMESTAMP: i64 = -3;

/// Serves Fetch; with `refuse`, nothing is read.
pub async fn fetch(node: &Arc<Node>, request: FetchRequest, refuse: Option<ResponseError>) -> FetchResponse {
    if request.session_id != 0 {
        // Sessions are never opened; a client that gets no session id sends full requests.
        return FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
    }
    let topics: Vec<Option<Arc<Topic>>> = request
        .topics
        .iter()
        .map(|wanted| node.topics.get(wanted.topic.as_str()))
        .collect();
    let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64).min(LONGEST_WAIT);
    let deadline = Instant::now() + wait;
    let enough = request.min_bytes.max(0) as usize;
    let request = Arc::new(request);
    loop {
        let mut appended = Vec::new();
        for topic in topics.iter().flatten() {
            let mut told = Box::pin(topic.appended.notified());
            told.as_mut().enable();
            appended.push(told);
        }
        let round = read_all(node, &request, &topics, refuse).await;
        if round.failed || round.bytes >= enough || Instant::now() >= deadline {
            return FetchResponse::default().with_responses(round.responses);
        }
        let any_append = poll_fn(|context| {
            let told = appended
                .iter_mut()
                .any(|told| told.as_mut().poll(context).is_ready());
            if told { Poll::Ready(()) } else { Poll::Pending }
        });
        let told = tokio::time::timeout_at(deadline, any_append).await.is_ok();
        if told && enough > 1 {
            tokio::time::sleep_until(deadline.min(Instant::now() + GATHERING)).await;
        }
    }
}

struct Round {
    responses: Vec<FetchableTopicResponse>,
    bytes: usize,
    failed: bool,
}

/// Reads what there is now for every partition of the request.
async fn read_all(
    node: &Node,
    request: &FetchRequest,
    topics: &[Option<Arc<Topic>>],
    refuse: Option<ResponseError>,
) -> Round {
    let mut left = (request.max_bytes.max(0) as usize).min(node.config.max_fetch_bytes);
    let mut round = Round {
        responses: Vec::with_capacity(topics.len()),
        bytes: 0,
        failed: false,
    };
    for (wanted, topic) in request.topics.iter().zip(topics) {
        let mut partitions = Vec::with_capacity(wanted.partitions.len());
        for partition in &wanted.partitions {
            let log = topic
                .as_ref()
                .and_then(|topic| topic.partition(partition.partition));
            let mut data = PartitionData::default().with_partition_index(partition.partition);
            data.records = Some(Bytes::new());
            (
                data.high_watermark,
                data.last_stable_offset,
                data.log_start_offset,
            ) = (-1, -1, -1);
            let found = match (refuse, log) {
                (Some(error), _) => Err(error),
                (None, Some(log)) => find(node, log, partition, &mut data),
                (None, None) => Err(ResponseError::UnknownTopicOrPartition),
            };
            let read = match found {
                Ok(Some(_)) if left == 0 => Ok(Bytes::new()),
                Ok(Some(slice)) => {
                    let most = left.min(partition.partition_max_bytes.max(0) as usize);
                    let first = round.bytes == 0;
                    let work = move || slice.read(most, first);
                    let read = off_the_runtime(most, work).await;
                    read.unwrap_or_else(|| Err(io::Error::other("reading was cut short")))
                        .map_err(storage)
                }
                Ok(None) => Ok(Bytes::new()),
                Err(error) => Err(error),
            };
            match read {
                Ok(records) => {
                    left = left.saturating_sub(records.len());
                    round.bytes += records.len();
                    data.records = Some(records);
                }
                Err(error) => {
                    round.failed = true;
                    data.error_code = error.code();
                }
            }
            partitions.push(data);
        }
        round.responses.push(
            FetchableTopicResponse::default()
                .with_topic(wanted.topic.clone())
                .with_partitions(partitions),
        );
    }
    round
}

fn storage(error: io::Error) -> ResponseError {
    tracing::error!(%error, "could not read the log");
    ResponseError::KafkaStorageError
}

/// Finds where a partition's next records lie, if there are any.
fn find(
    node: &Node,
    log: &Mutex<Log>,
    wanted: &FetchPartition,
    data: &mut PartitionData,
) -> Result<Option<Slice>, ResponseError> {
    check_epoch(node, wanted.current_leader_epoch)?;
    let log = lock(log);
    (data.high_watermark, data.last_stable_offset) = (log.end_offset(), log.end_offset());
    data.log_start_offset = log.start_offset();
    match log.find(wanted.fetch_offset).map_err(storage)? {
        Found::Records(slice) => Ok(Some(slice)),
        Found::Nothing => Ok(None),
        Found::OutOfRange => Err(ResponseError::OffsetOutOfRange),
    }
}

/// Refuses a client whose metadata are of another start of the broker.
fn check_epoch(node: &Node, epoch: i32) -> Result<(), ResponseError> {
    match epoch {
        ..0 => Ok(()),
        older if older < node.epoch => Err(ResponseError::FencedLeaderEpoch),
        newer if newer > node.epoch => Err(ResponseError::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

/// Serves ListOffsets.
pub async fn list_offsets(
    node: &Arc<Node>,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let shared = Arc::clone(node);
    let work = move || {
        let mut topics = Vec::with_capacity(request.topics.len());
        for wanted in request.topics {
            let topic = shared.topics.get(wanted.name.as_str());
            let mut partitions = Vec::with_capacity(wanted.partitions.len());
            for partition in &wanted.partitions {
                let log = topic
                    .as_ref()
                    .and_then(|topic| topic.partition(partition.partition_index));
                let response = ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_timestamp(-1);
                let listed = log
                    .ok_or(ResponseError::UnknownTopicOrPartition)
                    .and_then(|log| list_offset(&shared, log, partition));
                partitions.push(match listed {
                    Ok((offset, timestamp, epoch)) => response
                        .with_offset(offset)
                        .with_timestamp(timestamp)
                        .with_leader_epoch(if version < 4 { -1 } else { epoch }),
                    Err(error) => response.with_error_code(error.code()).with_offset(-1),
                });
            }
            topics.push(
                ListOffsetsTopicResponse::default()
                    .with_name(wanted.name)
                    .with_partitions(partitions),
            );
        }
        topics
    };
    let topics = off_the_runtime(usize::MAX, work).await.unwrap_or_default();
    ListOffsetsResponse::default().with_topics(topics)
}

/// Offset, timestamp and leader epoch of what a client asks for; offset -1 when there is no such record.
fn list_offset(
    node: &Node,
    log: &Mutex<Log>,
    wanted: &ListOffsetsPartition,
) -> Result<(i64, i64, i32), ResponseError> {
    check_epoch(node, wanted.current_leader_epoch)?;
    let log = lock(log);
    let found = match wanted.timestamp {
        LATEST => return Ok((log.end_offset(), -1, node.epoch)),
        EARLIEST => Some((log.start_offset(), -1)),
        NEWEST_TIMESTAMP => log.newest().map_err(storage)?,
        timestamp => log.first_at_or_after(timestamp).map_err(storage)?,
    };
    match found {
        Some((offset, timestamp)) => Ok((offset, timestamp, log.epoch_at(offset))),
        None => Ok((-1, -1, -1)),
    }
}

/// Serves OffsetForLeaderEpoch: where the records of an earlier start of the broker end. A client whose
/// position lies beyond learns that the records it saw were lost, and others may stand in their place.
pub fn offset_for_leader_epoch(
    node: &Node,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for wanted in request.topics {
        let topic = node.topics.get(wanted.topic.as_str());
        let mut partitions = Vec::with_capacity(wanted.partitions.len());
        for partition in &wanted.partitions {
            let log = topic
                .as_ref()
                .and_then(|topic| topic.partition(partition.partition));
            let end = log
                .ok_or(ResponseError::UnknownTopicOrPartition)
                .and_then(|log| check_epoch(node, partition.current_leader_epoch).map(|()| log))
                .map(|log| lock(log).epoch_end(partition.leader_epoch));
            let answer = EpochEndOffset::default().with_partition(partition.partition);
            partitions.push(match end {
                Ok(end) => {
                    let (epoch, offset) = end.unwrap_or((-1, -1));
                    answer.with_leader_epoch(epoch).with_end_offset(offset)
                }
                Err(error) => answer
                    .with_error_code(error.code())
                    .with_leader_epoch(-1)
                    .with_end_offset(-1),
            });
        }
        topics.push(
            OffsetForLeaderTopicResult::default()
                .with_topic(wanted.topic)
                .with_partitions(partitions),
        );
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}
