//! Appending: Produce and InitProducerId.
//!
//! Holds: a batch is acknowledged only after it was written to the log, and after it was synced when the
//! broker syncs on every request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use kafka_protocol::messages::produce_request::ProduceRequest;
use kafka_protocol::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{InitProducerIdRequest, ProducerId};
use kafka_protocol::protocol::StrBytes;
use tracing::error;

use super::batch::check_produced;
use super::topics::{Refusal, Topic};
use super::{Node, lock, off_the_runtime};

/// Serves Produce; with `refuse`, nothing is appended.
pub async fn produce(
    node: &Arc<Node>,
    request: ProduceRequest,
    refuse: Option<ResponseError>,
) -> ProduceResponse {
    let bytes = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let bytes = bytes
        .map(|partition| partition.records.as_ref().map_or(0, Bytes::len))
        .sum();
    let sync = node.config.fsync_interval.is_zero();
    let refuse = match (&request.transactional_id, request.acks) {
        (Some(_), _) => Some(ResponseError::TransactionalIdAuthorizationFailed),
        (None, -1..=1) => refuse,
        _ => Some(ResponseError::InvalidRequiredAcks),
    };
    let shared = Arc::clone(node);
    let work = move || append_all(&shared, &request, refuse, sync);
    let responses = off_the_runtime(if sync { usize::MAX } else { bytes }, work).await;
    ProduceResponse::default().with_responses(responses.unwrap_or_default())
}

fn append_all(
    node: &Node,
    request: &ProduceRequest,
    refuse: Option<ResponseError>,
    sync: bool,
) -> Vec<TopicProduceResponse> {
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for data in &request.topic_data {
        let topic = node.topics.get(data.name.as_str());
        let mut partitions = Vec::with_capacity(data.partition_data.len());
        for partition in &data.partition_data {
            let appended = match (refuse, &topic) {
                (Some(error), _) => Err((error, "refused".to_owned())),
                (None, Some(topic)) => append(node, topic, partition.index, partition.records.as_ref(), sync),
                (None, None) => Err((
                    ResponseError::UnknownTopicOrPartition,
                    "there is no such topic".to_owned(),
                )),
            };
            let response = PartitionProduceResponse::default().with_index(partition.index);
            partitions.push(match appended {
                Ok((base_offset, log_start)) => response
                    .with_base_offset(base_offset)
                    .with_log_start_offset(log_start),
                Err((error, detail)) => response
                    .with_error_code(error.code())
                    .with_base_offset(-1)
                    .with_error_message(Some(StrBytes::from_string(detail))),
            });
        }
        if let Some(topic) = topic {
            topic.appended.notify_waiters();
        }
        responses.push(
            TopicProduceResponse::default()
                .with_name(data.name.clone())
                .with_partition_responses(partitions),
        );
    }
    responses
}

/// Appends to one partition; gives the first offset and the start of the log.
fn append(
    node: &Node,
    topic: &Topic,
    index: i32,
    records: Option<&Bytes>,
    sync: bool,
) -> Result<(i64, i64), Refusal> {
    let unknown = || {
        (
            ResponseError::UnknownTopicOrPartition,
            "there is no such partition".to_owned(),
        )
    };
    let partition = topic.partition(index).ok_or_else(unknown)?;
    let no_records = || (ResponseError::InvalidRecord, "no records".to_owned());
    let batch = records
        .filter(|records| !records.is_empty())
        .ok_or_else(no_records)?;
    let most = topic.settings.max_message_bytes(&node.config);
    if batch.len() > most {
        let detail = format!("a batch of {} bytes, at most {most} are taken", batch.len());
        return Err((ResponseError::MessageTooLarge, detail));
    }
    let header = check_produced(batch).map_err(|(error, detail)| (error, detail.to_owned()))?;
    let limits = topic.settings.limits(&node.config);
    let mut log = lock(partition);
    let appended = log
        .append(batch, &header, &limits)
        .map_err(|error| (error, error.to_string()))?;
    let placed = (appended.base_offset, log.start_offset());
    if let Some(flush) = sync.then(|| log.take_flush()).flatten()
        && let Err(failure) = flush.run()
    {
        error!(topic = topic.name, index, %failure, "could not sync the log");
        log.return_flush(flush);
        return Err((
            ResponseError::KafkaStorageError,
            "could not sync the log".to_owned(),
        ));
    }
    Ok(placed)
}

/// Serves InitProducerId: a new id every time, never one that was given before, also by earlier starts.
pub fn init_producer_id(node: &Node, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let response = InitProducerIdResponse::default();
    if request.transactional_id.is_some() {
        // The one refusal that clients report at once; others they repeat until their own deadline.
        let refused = ResponseError::TransactionalIdAuthorizationFailed.code();
        return response.with_error_code(refused).with_producer_id(ProducerId(-1));
    }
    let count = node.producer_ids.fetch_add(1, Ordering::Relaxed);
    response
        .with_producer_id(ProducerId((i64::from(node.epoch) << 32) + count))
        .with_producer_epoch(0)
}
