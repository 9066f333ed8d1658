//! The group coordinator: carries requests to the groups, time to their state machines, and commits to
//! the file of offsets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use kafka_protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use kafka_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use kafka_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    BrokerId, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::{Notify, oneshot};
use tracing::error;

use super::admin::NODE_ID;
use super::group::{Group, Join, Joined};
use super::offsets::{Change, Committed};
use super::server::Peer;
use super::wire::once;
use super::{Node, lock};

/// Groups with members, and ids promised, at any time.
const MOST_GROUPS: usize = 10_000;
/// Bytes of free text beside a committed offset.
const MOST_METADATA: usize = 4096;
const SHORTEST_SESSION: Duration = Duration::from_millis(100);
const LONGEST_SESSION: Duration = Duration::from_secs(30 * 60);

/// All groups that have members.
pub struct Groups {
    by_id: Mutex<HashMap<StrBytes, Group>>,
    /// Told when something may be due earlier than before.
    hurried: Notify,
    next_member: AtomicU64,
    first_delay: Duration,
}

impl Groups {
    pub fn new(first_delay: Duration) -> Self {
        let next_member = AtomicU64::new(0);
        Groups {
            by_id: Mutex::default(),
            hurried: Notify::new(),
            next_member,
            first_delay,
        }
    }

    /// Keeps time for the groups, for ever.
    pub async fn keep_time(&self) {
        loop {
            let next = self.tick(Instant::now());
            match next {
                Some(due) => {
                    let _ = tokio::time::timeout_at(due.into(), self.hurried.notified()).await;
                }
                None => self.hurried.notified().await,
            }
        }
    }

    fn tick(&self, now: Instant) -> Option<Instant> {
        let mut by_id = lock(&self.by_id);
        let next = by_id.values_mut().filter_map(|group| group.tick(now)).min();
        by_id.retain(|_, group| !group.is_forgettable());
        next
    }

    /// Lets `work` at a group that exists.
    fn with<T>(&self, id: &StrBytes, work: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let done = lock(&self.by_id).get_mut(id).map(work);
        self.hurried.notify_one();
        done
    }
}

/// Serves FindCoordinator, in the form for one key and in the form for several: it is always this broker.
pub fn find_coordinator(
    node: &Node,
    peer: &Peer,
    request: FindCoordinatorRequest,
    version: i16,
    refuse: Option<ResponseError>,
) -> FindCoordinatorResponse {
    let (host, port) = node.advertised(peer);
    let (node_id, error) = match refuse {
        None => (NODE_ID, 0),
        Some(_) => (BrokerId(-1), ResponseError::CoordinatorNotAvailable.code()),
    };
    if version < 4 {
        return FindCoordinatorResponse::default()
            .with_node_id(node_id)
            .with_host(host)
            .with_port(port)
            .with_error_code(error);
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_node_id(node_id)
            .with_host(host.clone())
            .with_port(port)
            .with_error_code(error)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

/// Serves JoinGroup; waits until the round is complete.
pub async fn join_group(
    node: &Node,
    peer: &Peer,
    request: JoinGroupRequest,
    version: i16,
    refuse: Option<ResponseError>,
) -> JoinGroupResponse {
    let joined = match refuse {
        Some(error) => Joined::refused(error, request.member_id),
        None => join(node, peer, request, version).await,
    };
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(id)
            .with_group_instance_id(instance)
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_error_code(code(joined.error))
        .with_generation_id(joined.generation)
        .with_protocol_type((!joined.protocol_type.is_empty()).then_some(joined.protocol_type))
        .with_protocol_name(if version < 7 || joined.error.is_none() {
            Some(joined.protocol)
        } else {
            None
        })
        .with_leader(joined.leader)
        .with_member_id(joined.member_id)
        .with_members(members.collect())
}

async fn join(node: &Node, peer: &Peer, request: JoinGroupRequest, version: i16) -> Joined {
    let millis = |millis: i32| Duration::from_millis(millis.max(0) as u64);
    let session = millis(request.session_timeout_ms);
    if request.group_id.is_empty() {
        return Joined::refused(ResponseError::InvalidGroupId, request.member_id);
    }
    if !(SHORTEST_SESSION..=LONGEST_SESSION).contains(&session) {
        return Joined::refused(ResponseError::InvalidSessionTimeout, request.member_id);
    }
    let protocols = request
        .protocols
        .into_iter()
        .map(|protocol| (protocol.name, protocol.metadata));
    let join = Join {
        member_id: request.member_id.clone(),
        instance: request.group_instance_id,
        client_id: peer.client_id.clone(),
        client_host: peer.remote.ip().to_string().into(),
        session,
        rebalance: if version == 0 {
            session
        } else {
            millis(request.rebalance_timeout_ms)
        },
        protocol_type: request.protocol_type,
        protocols: protocols.collect(),
        id_required: version >= 4,
    };
    let fresh_id = || {
        // Unique over all starts, so that a member of an earlier one is told apart.
        let count = node.groups.next_member.fetch_add(1, Ordering::Relaxed);
        format!("{}-{}-{count}", peer.client_id, node.epoch).into()
    };
    let (reply, answer) = oneshot::channel();
    {
        let mut groups = lock(&node.groups.by_id);
        if groups.len() >= MOST_GROUPS && !groups.contains_key(&request.group_id.0) {
            return Joined::refused(ResponseError::GroupMaxSizeReached, request.member_id);
        }
        let first_delay = node.groups.first_delay;
        let group = groups
            .entry(request.group_id.0)
            .or_insert_with(|| Group::new(first_delay));
        group.join(Instant::now(), join, fresh_id, reply);
    }
    node.groups.hurried.notify_one();
    answer
        .await
        .unwrap_or_else(|_| Joined::refused(ResponseError::UnknownMemberId, request.member_id))
}

/// Serves SyncGroup; waits for the leader's assignments.
pub async fn sync_group(
    node: &Node,
    request: SyncGroupRequest,
    refuse: Option<ResponseError>,
) -> SyncGroupResponse {
    let (reply, answer) = oneshot::channel();
    let assignments = request
        .assignments
        .into_iter()
        .map(|given| (given.member_id, given.assignment));
    let work = |group: &mut Group| {
        let instance = request.group_instance_id.as_ref();
        let (generation, member) = (request.generation_id, &request.member_id);
        group.sync(
            Instant::now(),
            generation,
            member,
            instance,
            assignments.collect(),
            reply,
        );
        (group.protocol_type.clone(), group.protocol.clone())
    };
    let synced = match refuse {
        Some(error) => Err(error),
        None => match node.groups.with(&request.group_id.0, work) {
            Some(protocol) => answer
                .await
                .unwrap_or(Err(ResponseError::UnknownMemberId))
                .map(|assignment| (protocol, assignment)),
            None => Err(ResponseError::UnknownMemberId),
        },
    };
    let response = SyncGroupResponse::default();
    match synced {
        Ok(((protocol_type, protocol), assignment)) => response
            .with_protocol_type(Some(protocol_type))
            .with_protocol_name(Some(protocol))
            .with_assignment(assignment),
        Err(error) => response.with_error_code(error.code()),
    }
}

/// Serves Heartbeat.
pub fn heartbeat(
    node: &Node,
    request: &HeartbeatRequest,
    refuse: Option<ResponseError>,
) -> HeartbeatResponse {
    let beat = |group: &mut Group| {
        let instance = request.group_instance_id.as_ref();
        group.heartbeat(
            Instant::now(),
            request.generation_id,
            &request.member_id,
            instance,
        )
    };
    let error = match refuse {
        Some(error) => Some(error),
        None => node
            .groups
            .with(&request.group_id.0, beat)
            .unwrap_or(Err(ResponseError::UnknownMemberId))
            .err(),
    };
    HeartbeatResponse::default().with_error_code(code(error))
}

/// Serves LeaveGroup.
pub fn leave_group(
    node: &Node,
    request: LeaveGroupRequest,
    version: i16,
    refuse: Option<ResponseError>,
) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    if let Some(error) = refuse {
        return response.with_error_code(error.code());
    }
    let leave = |member_id: &StrBytes, instance: Option<&StrBytes>| {
        let work = |group: &mut Group| group.leave(Instant::now(), member_id, instance);
        let left = node.groups.with(&request.group_id.0, work);
        code(left.unwrap_or(Err(ResponseError::UnknownMemberId)).err())
    };
    if version < 3 {
        return response.with_error_code(leave(&request.member_id, None));
    }
    let members = request.members.iter().map(|member| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(leave(&member.member_id, member.group_instance_id.as_ref()))
    });
    response.with_members(members.collect())
}

/// Serves OffsetCommit.
pub fn offset_commit(
    node: &Node,
    request: OffsetCommitRequest,
    refuse: Option<ResponseError>,
) -> OffsetCommitResponse {
    let allowed = |group: &mut Group| {
        let (generation, instance) = (
            request.generation_id_or_member_epoch,
            request.group_instance_id.as_ref(),
        );
        group.may_commit(Instant::now(), generation, &request.member_id, instance)
    };
    let without_group = match request.generation_id_or_member_epoch {
        ..0 => Ok(()),
        _ => Err(ResponseError::UnknownMemberId),
    };
    let mut refusal = match refuse {
        Some(error) => Some(error),
        None => node
            .groups
            .with(&request.group_id.0, allowed)
            .unwrap_or(without_group)
            .err(),
    };
    let mut changes = Vec::new();
    let mut errors = Vec::new();
    for wanted in &request.topics {
        let topic = node.topics.get(wanted.name.as_str());
        for partition in &wanted.partitions {
            let known = topic
                .as_ref()
                .and_then(|topic| topic.partition(partition.partition_index));
            let metadata = partition.committed_metadata.as_ref().map_or("", StrBytes::as_str);
            let error = match known {
                None => Some(ResponseError::UnknownTopicOrPartition),
                Some(_) if metadata.len() > MOST_METADATA => Some(ResponseError::OffsetMetadataTooLarge),
                Some(_) => None,
            };
            errors.push(error);
            if error.is_none() {
                let committed = Committed {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: metadata.to_owned(),
                };
                let topic = wanted.name.to_string();
                changes.push(Change {
                    topic,
                    partition: partition.partition_index,
                    committed: Some(committed),
                });
            }
        }
    }
    if refusal.is_none()
        && let Err(failure) = lock(&node.offsets).change(&request.group_id, changes)
    {
        error!(group = %request.group_id.as_str(), %failure, "could not write the committed offsets");
        refusal = Some(ResponseError::KafkaStorageError);
    }
    let mut errors = errors.into_iter();
    let topics = request.topics.into_iter().map(|wanted| {
        let partitions = wanted.partitions.iter().map(|partition| {
            let error = refusal.or(errors.next().flatten());
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(error))
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default()
            .with_name(wanted.name)
            .with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// Serves OffsetFetch, in the form for one group and in the form for several.
pub fn offset_fetch(
    node: &Node,
    request: OffsetFetchRequest,
    version: i16,
    refuse: Option<ResponseError>,
) -> OffsetFetchResponse {
    if version >= 8 {
        let groups = once(request.groups, |group| group.group_id.clone()).map(|group| {
            let topics = group.topics.map(|topics| {
                topics
                    .into_iter()
                    .map(|t| (t.name, t.partition_indexes))
                    .collect()
            });
            let topics = positions(node, &group.group_id, topics, refuse)
                .into_iter()
                .map(|(name, found)| {
                    let partitions = found.into_iter().map(|(index, committed)| {
                        OffsetFetchResponsePartitions::default()
                            .with_partition_index(index)
                            .with_committed_offset(committed.offset)
                            .with_committed_leader_epoch(committed.leader_epoch)
                            .with_metadata(Some(committed.metadata.into()))
                    });
                    OffsetFetchResponseTopics::default()
                        .with_name(name)
                        .with_partitions(partitions.collect())
                });
            let topics = topics.collect();
            OffsetFetchResponseGroup::default()
                .with_group_id(group.group_id)
                .with_topics(topics)
                .with_error_code(code(refuse))
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let topics = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|t| (t.name, t.partition_indexes))
            .collect()
    });
    let topics = positions(node, &request.group_id, topics, refuse)
        .into_iter()
        .map(|(name, found)| {
            let partitions = found.into_iter().map(|(index, committed)| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(committed.metadata.into()))
                    .with_error_code(code(refuse))
            });
            OffsetFetchResponseTopic::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
    OffsetFetchResponse::default()
        .with_topics(topics.collect())
        .with_error_code(code(refuse))
}

type Positions = Vec<(TopicName, Vec<(i32, Committed)>)>;

/// What a group has committed in the partitions asked for, or in all; offset -1 where it has not.
fn positions(
    node: &Node,
    group: &GroupId,
    wanted: Option<Vec<(TopicName, Vec<i32>)>>,
    refuse: Option<ResponseError>,
) -> Positions {
    let offsets = lock(&node.offsets);
    let everything = || {
        let all = offsets.partitions_of(group).into_iter();
        all.map(|(topic, partitions)| (TopicName(topic.into()), partitions))
            .collect()
    };
    let mut found = Vec::new();
    for (topic, partitions) in once(wanted.unwrap_or_else(everything), |(topic, _)| topic.clone()) {
        let of_partition = |index: i32| {
            let committed = offsets
                .get(group, &topic, index)
                .filter(|_| refuse.is_none())
                .cloned();
            let none = Committed {
                offset: -1,
                leader_epoch: -1,
                metadata: String::new(),
            };
            (index, committed.unwrap_or(none))
        };
        let positions = once(partitions, |index| *index).map(of_partition).collect();
        found.push((topic, positions));
    }
    found
}

/// Serves ListGroups: those with members and those with positions only.
pub fn list_groups(node: &Node, request: &ListGroupsRequest) -> ListGroupsResponse {
    let groups = lock(&node.groups.by_id);
    let mut listed: Vec<(StrBytes, StrBytes, &'static str)> = Vec::new();
    for (id, group) in groups.iter() {
        listed.push((id.clone(), group.protocol_type.clone(), group.state()));
    }
    for id in lock(&node.offsets)
        .groups()
        .filter(|id| !groups.contains_key(&StrBytes::from_string((*id).clone())))
    {
        listed.push((id.clone().into(), StrBytes::default(), "Empty"));
    }
    let filter = &request.states_filter;
    listed.retain(|(_, _, state)| filter.is_empty() || filter.iter().any(|wanted| wanted.as_str() == *state));
    let listed = listed.into_iter().map(|(id, protocol_type, state)| {
        ListedGroup::default()
            .with_group_id(GroupId(id))
            .with_protocol_type(protocol_type)
            .with_group_state(StrBytes::from_static_str(state))
    });
    ListGroupsResponse::default().with_groups(listed.collect())
}

/// Serves DescribeGroups.
pub fn describe_groups(node: &Node, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = lock(&node.groups.by_id);
    let described = once(request.groups, GroupId::clone).map(|id| {
        let group = groups.get(&id.0);
        let has_positions = || !lock(&node.offsets).partitions_of(&id).is_empty();
        let answer = DescribedGroup::default().with_group_id(id.clone());
        let Some(group) = group else {
            let state = if has_positions() { "Empty" } else { "Dead" };
            return answer.with_group_state(StrBytes::from_static_str(state));
        };
        let members = group.members.iter().map(|(member_id, member)| {
            DescribedGroupMember::default()
                .with_member_id(member_id.clone())
                .with_group_instance_id(member.instance.clone())
                .with_client_id(member.client_id.clone())
                .with_client_host(member.client_host.clone())
                .with_member_metadata(member.metadata(&group.protocol))
                .with_member_assignment(member.assignment.clone())
        });
        answer
            .with_group_state(StrBytes::from_static_str(group.state()))
            .with_protocol_type(group.protocol_type.clone())
            .with_protocol_data(group.protocol.clone())
            .with_members(members.collect())
    });
    DescribeGroupsResponse::default().with_groups(described.collect())
}

/// Serves DeleteGroups: forgets the positions of groups without members.
pub fn delete_groups(node: &Arc<Node>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let has_members = lock(&node.groups.by_id)
            .get(&id.0)
            .is_some_and(|group| !group.is_empty());
        let error = match has_members {
            true => Some(ResponseError::NonEmptyGroup),
            false => match lock(&node.offsets).forget_group(&id) {
                Ok(true) => None,
                Ok(false) => Some(ResponseError::GroupIdNotFound),
                Err(_) => Some(ResponseError::KafkaStorageError),
            },
        };
        DeletableGroupResult::default()
            .with_group_id(id)
            .with_error_code(code(error))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}

fn code(error: Option<ResponseError>) -> i16 {
    error.map_or(0, |error| error.code())
}
