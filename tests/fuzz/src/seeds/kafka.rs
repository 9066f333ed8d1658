//! One request of each call that the embedded log serves, in every version that can say it.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest,
    GroupId, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, RequestHeader, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::kafka::TOPIC;

/// No version of a served call is above.
const NEWEST: i16 = 12;

pub(crate) fn requests() -> Vec<Vec<u8>> {
    let topic = || TopicName(text(TOPIC));
    let group = || GroupId(text("g"));
    let mut all = Requests(Vec::new());

    let data = PartitionProduceData::default().with_records(Some(Bytes::from_static(&[0; 61])));
    let data = TopicProduceData::default()
        .with_name(topic())
        .with_partition_data(vec![data]);
    all.add(
        ApiKey::Produce,
        &ProduceRequest::default()
            .with_acks(-1)
            .with_topic_data(vec![data]),
    );
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let wanted = FetchTopic::default()
        .with_topic(topic())
        .with_partitions(vec![partition]);
    all.add(
        ApiKey::Fetch,
        &FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_topics(vec![wanted]),
    );
    let partition = ListOffsetsPartition::default().with_timestamp(-1);
    let wanted = ListOffsetsTopic::default()
        .with_name(topic())
        .with_partitions(vec![partition]);
    all.add(
        ApiKey::ListOffsets,
        &ListOffsetsRequest::default().with_topics(vec![wanted]),
    );
    let wanted = MetadataRequestTopic::default().with_name(Some(topic()));
    all.add(
        ApiKey::Metadata,
        &MetadataRequest::default().with_topics(Some(vec![wanted])),
    );
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
    let commit = OffsetCommitRequestTopic::default()
        .with_name(topic())
        .with_partitions(vec![partition]);
    all.add(
        ApiKey::OffsetCommit,
        &OffsetCommitRequest::default()
            .with_group_id(group())
            .with_topics(vec![commit]),
    );
    let wanted = OffsetFetchRequestTopic::default()
        .with_name(topic())
        .with_partition_indexes(vec![0]);
    all.add(
        ApiKey::OffsetFetch,
        &OffsetFetchRequest::default()
            .with_group_id(group())
            .with_topics(Some(vec![wanted])),
    );
    let wanted = OffsetFetchRequestTopics::default()
        .with_name(topic())
        .with_partition_indexes(vec![0]);
    let wanted = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(Some(vec![wanted]));
    all.add(
        ApiKey::OffsetFetch,
        &OffsetFetchRequest::default().with_groups(vec![wanted]),
    );
    all.add(
        ApiKey::FindCoordinator,
        &FindCoordinatorRequest::default().with_key(text("g")),
    );
    all.add(
        ApiKey::FindCoordinator,
        &FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]),
    );
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"\0\0"));
    all.add(
        ApiKey::JoinGroup,
        &JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(6_000)
            .with_rebalance_timeout_ms(6_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]),
    );
    let assignment = SyncGroupRequestAssignment::default().with_member_id(text("m"));
    all.add(
        ApiKey::SyncGroup,
        &SyncGroupRequest::default()
            .with_group_id(group())
            .with_member_id(text("m"))
            .with_assignments(vec![assignment]),
    );
    all.add(
        ApiKey::Heartbeat,
        &HeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(text("m")),
    );
    all.add(
        ApiKey::LeaveGroup,
        &LeaveGroupRequest::default()
            .with_group_id(group())
            .with_member_id(text("m")),
    );
    let member = MemberIdentity::default().with_member_id(text("m"));
    all.add(
        ApiKey::LeaveGroup,
        &LeaveGroupRequest::default()
            .with_group_id(group())
            .with_members(vec![member]),
    );
    all.add(
        ApiKey::DescribeGroups,
        &DescribeGroupsRequest::default().with_groups(vec![group()]),
    );
    all.add(ApiKey::ListGroups, &ListGroupsRequest::default());
    all.add(
        ApiKey::DeleteGroups,
        &DeleteGroupsRequest::default().with_groups_names(vec![group()]),
    );
    all.add(
        ApiKey::ApiVersions,
        &ApiVersionsRequest::default().with_client_software_name(text("x")),
    );
    let setting = CreatableTopicConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("1000")));
    let made = CreatableTopic::default()
        .with_name(TopicName(text("made")))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![setting]);
    all.add(
        ApiKey::CreateTopics,
        &CreateTopicsRequest::default().with_topics(vec![made]),
    );
    let grown = CreatePartitionsTopic::default().with_name(topic()).with_count(2);
    all.add(
        ApiKey::CreatePartitions,
        &CreatePartitionsRequest::default().with_topics(vec![grown]),
    );
    all.add(
        ApiKey::DeleteTopics,
        &DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("made"))]),
    );
    all.add(ApiKey::InitProducerId, &InitProducerIdRequest::default());
    let partition = OffsetForLeaderPartition::default().with_leader_epoch(1);
    let wanted = OffsetForLeaderTopic::default()
        .with_topic(topic())
        .with_partitions(vec![partition]);
    all.add(
        ApiKey::OffsetForLeaderEpoch,
        &OffsetForLeaderEpochRequest::default().with_topics(vec![wanted]),
    );
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(TOPIC));
    all.add(
        ApiKey::DescribeConfigs,
        &DescribeConfigsRequest::default().with_resources(vec![resource]),
    );
    all.0
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

struct Requests(Vec<Vec<u8>>);

impl Requests {
    fn add<R: Encodable>(&mut self, key: ApiKey, request: &R) {
        for version in 0..=NEWEST {
            let header = RequestHeader::default()
                .with_request_api_key(key as i16)
                .with_request_api_version(version)
                .with_correlation_id(7)
                .with_client_id(Some(text("fuzz")));
            let mut bytes = BytesMut::new();
            let written = header
                .encode(&mut bytes, key.request_header_version(version))
                .and_then(|()| request.encode(&mut bytes, version));
            // Some cannot say what is asked, or are none.
            if written.is_ok() {
                self.0.push(bytes.to_vec());
            }
        }
    }
}
