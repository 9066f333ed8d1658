//! What there is: ApiVersions, Metadata, and the topics' creation, growth, removal and settings.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsRequest;
use kafka_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use kafka_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use kafka_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
};
use kafka_protocol::messages::metadata_request::MetadataRequest;
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{ApiKey, BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::server::Peer;
use super::topics::{Refusal, Settings, Topic, is_valid_name};
use super::wire::{SERVED, once};
use super::{Node, lock, off_the_runtime};

/// The only broker of the cluster.
pub const NODE_ID: BrokerId = BrokerId(1);
const CLUSTER_ID: StrBytes = StrBytes::from_static_str("mimamori-embedded");

// Of the DescribeConfigs protocol.
const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;
const SET_ON_TOPIC: i8 = 1;
const DEFAULT: i8 = 5;

/// Serves ApiVersions.
pub fn api_versions() -> ApiVersionsResponse {
    let listed = SERVED.iter().map(|served| {
        // Older librdkafka takes a broker that does not list the first version of Produce for one that
        // cannot decompress.
        let min = if served.key == ApiKey::Produce {
            0
        } else {
            served.min
        };
        ApiVersion::default()
            .with_api_key(served.key as i16)
            .with_min_version(min)
            .with_max_version(served.max)
    });
    ApiVersionsResponse::default().with_api_keys(listed.collect())
}

/// Serves Metadata; topics that are asked for and missing are made when both sides allow it.
pub async fn metadata(
    node: &Arc<Node>,
    peer: &Peer,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let (host, port) = node.advertised(peer);
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE_ID)
        .with_host(host)
        .with_port(port);
    let response = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(CLUSTER_ID))
        .with_controller_id(NODE_ID);
    let all = request.topics.is_none() || version == 0 && request.topics.as_ref().is_some_and(Vec::is_empty);
    if all {
        let topics = node.topics.all();
        let described = topics
            .iter()
            .map(|topic| describe(node, TopicName(topic.name.clone().into()), Ok(topic)));
        return response.with_topics(described.collect());
    }
    let may_create = node.config.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
    let mut topics = Vec::new();
    let named = request
        .topics
        .into_iter()
        .flatten()
        .filter_map(|topic| topic.name);
    for name in once(named, TopicName::clone) {
        let mut found = node.topics.get(name.as_str());
        if found.is_none() && may_create && is_valid_name(name.as_str()) {
            let (shared, wanted) = (Arc::clone(node), name.to_string());
            let work = move || {
                let count = shared.config.default_partitions;
                // A refusal shows below, as a topic that is still missing.
                let _ = shared.topics.create(&wanted, count, Settings::default(), false);
                shared.topics.get(&wanted)
            };
            found = off_the_runtime(usize::MAX, work).await.flatten();
        }
        let missing = match is_valid_name(name.as_str()) {
            true => ResponseError::UnknownTopicOrPartition,
            false => ResponseError::InvalidTopicException,
        };
        topics.push(describe(node, name, found.as_ref().ok_or(missing)));
    }
    response.with_topics(topics)
}

fn describe(
    node: &Node,
    name: TopicName,
    topic: Result<&Arc<Topic>, ResponseError>,
) -> MetadataResponseTopic {
    let response = MetadataResponseTopic::default().with_name(Some(name));
    let topic = match topic {
        Ok(topic) => topic,
        Err(error) => return response.with_error_code(error.code()),
    };
    let partitions = (0..topic.partitions.len() as i32).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE_ID)
            .with_leader_epoch(node.epoch)
            .with_replica_nodes(vec![NODE_ID])
            .with_isr_nodes(vec![NODE_ID])
    });
    response.with_partitions(partitions.collect())
}

/// Serves CreateTopics.
pub async fn create_topics(node: &Arc<Node>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let shared = Arc::clone(node);
    let work = move || {
        let mut results = Vec::with_capacity(request.topics.len());
        for wanted in request.topics {
            let count = match wanted.num_partitions {
                -1 if !wanted.assignments.is_empty() => wanted.assignments.len() as i32,
                -1 => shared.config.default_partitions,
                count => count,
            };
            let created = settings_of(&wanted).and_then(|settings| {
                shared
                    .topics
                    .create(wanted.name.as_str(), count, settings, request.validate_only)
            });
            let result = CreatableTopicResult::default().with_name(wanted.name);
            results.push(match created {
                Ok(()) => result
                    .with_num_partitions(count)
                    .with_replication_factor(1)
                    .with_error_message(None),
                Err((error, detail)) => result
                    .with_error_code(error.code())
                    .with_error_message(Some(detail.into())),
            });
        }
        results
    };
    let results = off_the_runtime(usize::MAX, work).await.unwrap_or_default();
    CreateTopicsResponse::default().with_topics(results)
}

fn settings_of(wanted: &CreatableTopic) -> Result<Settings, Refusal> {
    if wanted.replication_factor > 1 {
        let detail = format!(
            "replication factor {}: there is one broker",
            wanted.replication_factor
        );
        return Err((ResponseError::InvalidReplicationFactor, detail));
    }
    let mut settings = Settings::default();
    for config in &wanted.configs {
        if let Some(value) = &config.value {
            settings.set(&config.name, value)?;
        }
    }
    Ok(settings)
}

/// Serves CreatePartitions.
pub async fn create_partitions(
    node: &Arc<Node>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let shared = Arc::clone(node);
    let work = move || {
        let mut results = Vec::with_capacity(request.topics.len());
        for wanted in request.topics {
            let grown = shared
                .topics
                .grow(wanted.name.as_str(), wanted.count, request.validate_only);
            let result = CreatePartitionsTopicResult::default().with_name(wanted.name);
            results.push(match grown {
                Ok(()) => result,
                Err((error, detail)) => result
                    .with_error_code(error.code())
                    .with_error_message(Some(detail.into())),
            });
        }
        results
    };
    let results = off_the_runtime(usize::MAX, work).await.unwrap_or_default();
    CreatePartitionsResponse::default().with_results(results)
}

/// Serves DeleteTopics; the committed offsets in a topic go with it.
pub async fn delete_topics(node: &Arc<Node>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let shared = Arc::clone(node);
    let work = move || {
        let mut results = Vec::with_capacity(request.topic_names.len());
        for name in request.topic_names {
            let deleted = shared.topics.delete(name.as_str()).and_then(|()| {
                let forgotten = lock(&shared.offsets).forget_topic(name.as_str());
                forgotten.map_err(|error| (ResponseError::KafkaStorageError, error.to_string()))
            });
            let result = DeletableTopicResult::default().with_name(Some(name));
            results.push(match deleted {
                Ok(()) => result,
                Err((error, detail)) => result
                    .with_error_code(error.code())
                    .with_error_message(Some(detail.into())),
            });
        }
        results
    };
    let results = off_the_runtime(usize::MAX, work).await.unwrap_or_default();
    DeleteTopicsResponse::default().with_responses(results)
}

/// Serves DescribeConfigs for topics and, with the defaults of topics, for the broker.
pub fn describe_configs(node: &Node, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let mut results = Vec::new();
    let key = |wanted: &DescribeConfigsResource| (wanted.resource_type, wanted.resource_name.clone());
    for wanted in once(request.resources, key) {
        let settings = match wanted.resource_type {
            TOPIC_RESOURCE => node.topics.get(&wanted.resource_name).map(|topic| topic.settings),
            BROKER_RESOURCE => Some(Settings::default()),
            _ => None,
        };
        let result = DescribeConfigsResult::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name.clone());
        results.push(match settings {
            Some(settings) => result.with_configs(list_configs(node, &wanted, settings)),
            None => result.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
        });
    }
    DescribeConfigsResponse::default().with_results(results)
}

fn list_configs(
    node: &Node,
    wanted: &DescribeConfigsResource,
    settings: Settings,
) -> Vec<DescribeConfigsResourceResult> {
    let keys = wanted.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
    let mut configs = Vec::new();
    for (name, value, set_here) in settings.list(&node.config) {
        if keys.is_some_and(|keys| !keys.iter().any(|key| key.as_str() == name)) {
            continue;
        }
        configs.push(
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(value.into()))
                .with_read_only(true)
                .with_config_source(if set_here { SET_ON_TOPIC } else { DEFAULT }),
        );
    }
    configs
}
