//! The log, the groups and the wire, each without a socket.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest,
    GroupId, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, RequestHeader, RequestKind, ResponseHeader, ResponseKind,
    SyncGroupRequest, TopicName, create_partitions_request, create_topics_request, describe_configs_request,
    fetch_request, join_group_request, leave_group_request, list_offsets_request, metadata_request,
    offset_commit_request, offset_fetch_request, offset_for_leader_epoch_request, produce_request,
    sync_group_request,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::batch::tests::batch;
use super::batch::{BatchHeader, check_produced};
use super::group::{Group, Join, Joined, Synced};
use super::log::{Appended, Found, Limits, Log};
use super::topics::Settings;
use super::wire::{self, Request, SERVED};
use super::{Broker, Config, start};

const NO_PRODUCER: (i64, i16, i32) = (-1, -1, -1);
const LIMITS: Limits = Limits {
    segment_bytes: 4096,
    retention_bytes: None,
    retention_age: None,
};

fn append(log: &mut Log, bytes: &[u8]) -> Result<Appended, ResponseError> {
    let header = check_produced(bytes).unwrap();
    log.append(bytes, &header, &LIMITS)
}

fn fill(log: &mut Log, batches: i64) {
    for n in 0..batches {
        let value = [n as u8; 100];
        append(log, &batch(&[&value, &value], 1_000 + 10 * n, NO_PRODUCER)).unwrap();
    }
}

/// The base offsets of all batches from `offset` on.
fn offsets_from(log: &Log, mut offset: i64) -> Vec<i64> {
    let mut found = Vec::new();
    while let Found::Records(slice) = log.find(offset).unwrap() {
        let bytes = slice.read(700, true).unwrap();
        let mut rest = &bytes[..];
        while let Some(header) = BatchHeader::parse(rest) {
            assert!(header.bytes <= rest.len(), "a batch was cut");
            found.push(header.base_offset);
            offset = header.next_offset();
            rest = &rest[header.bytes..];
        }
    }
    found
}

#[test]
fn a_log_is_read_across_its_segments_and_after_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<i64> = (0..100).map(|n| n * 2).collect();
    {
        let mut log = Log::open(folder.path(), 1).unwrap();
        fill(&mut log, 100);
        assert_eq!(offsets_from(&log, 0), all);
        assert_eq!(offsets_from(&log, 31), all[15..]);
    }
    let mut log = Log::open(folder.path(), 2).unwrap();
    assert_eq!(offsets_from(&log, 0), all);
    fill(&mut log, 1);
    assert_eq!(log.end_offset(), 202);
    assert!(matches!(log.find(203).unwrap(), Found::OutOfRange));
    assert!(matches!(log.find(202).unwrap(), Found::Nothing));
    assert!(
        std::fs::read_dir(folder.path()).unwrap().count() > 5,
        "the log never began another segment"
    );
}

#[test]
fn a_torn_end_is_cut_and_the_offsets_go_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    fill(&mut Log::open(folder.path(), 1).unwrap(), 3);
    let file = folder.path().join("00000000000000000000.log");
    let whole = std::fs::read(&file).unwrap();
    for torn in [1, 60, 61, 100, whole.len() / 3 - 1] {
        std::fs::write(&file, [&whole[..], &whole[..torn]].concat()).unwrap();
        let log = Log::open(folder.path(), 2).unwrap();
        assert_eq!(log.end_offset(), 6);
        assert_eq!(std::fs::metadata(&file).unwrap().len(), whole.len() as u64);
    }
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 0xff;
    std::fs::write(&file, &damaged).unwrap();
    let mut log = Log::open(folder.path(), 3).unwrap();
    assert_eq!(log.end_offset(), 4);
    let placed = append(&mut log, &batch(&[b"after"], 5_000, NO_PRODUCER)).unwrap();
    assert_eq!(placed.base_offset, 4);
    assert_eq!(offsets_from(&log, 0), [0, 2, 4]);
}

#[test]
fn producers_are_remembered_across_a_crash_and_a_clean_close() {
    let folder = tempfile::tempdir().unwrap();
    let sent = |n: i32| batch(&[&[7; 900], &[8; 900]], 1_000, (42, 0, n * 2));
    let mut log = Log::open(folder.path(), 1).unwrap();
    for n in 0..9 {
        append(&mut log, &sent(n)).unwrap();
    }
    drop(log);
    for clean in [false, true] {
        let mut log = Log::open(folder.path(), 2).unwrap();
        let repeated = append(&mut log, &sent(6)).unwrap();
        assert_eq!(
            repeated,
            Appended {
                base_offset: 12,
                duplicate: true
            },
            "clean: {clean}"
        );
        assert_eq!(
            append(&mut log, &sent(10)),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
        log.close().unwrap();
    }
    // Only the checkpoints are left to tell of producers whose segments are not read.
    let mut log = Log::open(folder.path(), 3).unwrap();
    assert_eq!(
        append(&mut log, &sent(9)).unwrap(),
        Appended {
            base_offset: 18,
            duplicate: false
        }
    );
}

#[test]
fn a_checkpoint_spares_reading_but_not_what_came_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), 1).unwrap();
    fill(&mut log, 3);
    log.close().unwrap();
    fill(&mut log, 2);
    drop(log);
    assert_eq!(
        offsets_from(&Log::open(folder.path(), 2).unwrap(), 0),
        [0, 2, 4, 6, 8]
    );
    // A file shorter than its checkpoint says is read from its start.
    let file = folder.path().join("00000000000000000000.log");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() * 2 / 5]).unwrap();
    assert_eq!(offsets_from(&Log::open(folder.path(), 3).unwrap(), 0), [0, 2]);
}

#[test]
fn the_first_record_at_a_time_is_found_in_any_segment() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), 1).unwrap();
    fill(&mut log, 100);
    assert_eq!(log.first_at_or_after(0).unwrap(), Some((0, 1_000)));
    assert_eq!(log.first_at_or_after(1_501).unwrap(), Some((101, 1_501)));
    assert_eq!(log.first_at_or_after(1_502).unwrap(), Some((102, 1_510)));
    assert_eq!(log.first_at_or_after(1_992).unwrap(), None);
    assert_eq!(log.newest().unwrap(), Some((199, 1_991)));
}

#[test]
fn each_start_ends_the_epoch_before_it() {
    let folder = tempfile::tempdir().unwrap();
    for epoch in [1, 2, 4] {
        fill(&mut Log::open(folder.path(), epoch).unwrap(), 2);
    }
    let log = Log::open(folder.path(), 5).unwrap();
    assert_eq!(log.epoch_end(0), None);
    assert_eq!(log.epoch_end(1), Some((1, 4)));
    assert_eq!(log.epoch_end(2), Some((2, 8)));
    assert_eq!(log.epoch_end(3), Some((2, 8)));
    assert_eq!(log.epoch_end(4), Some((4, 12)));
    assert_eq!(log.epoch_end(5), Some((5, 12)));
    assert_eq!(log.epoch_end(6), None);
    assert_eq!((log.epoch_at(3), log.epoch_at(4), log.epoch_at(11)), (1, 2, 4));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "file times are wall-clock times")]
fn retention_removes_the_oldest_segments_by_size_and_all_but_the_last_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), 1).unwrap();
    fill(&mut log, 100);
    let now = SystemTime::now();
    assert_eq!(log.retain(now, &LIMITS).unwrap(), 0);

    log.retain(
        now,
        &Limits {
            retention_bytes: Some(10_000),
            ..LIMITS
        },
    )
    .unwrap();
    let kept = offsets_from(&log, log.start_offset());
    assert!(
        log.start_offset() > 0 && kept.len() >= 35 && kept.len() < 60,
        "kept {} batches",
        kept.len()
    );
    assert!(matches!(log.find(0).unwrap(), Found::OutOfRange));

    let by_age = Limits {
        retention_age: Some(Duration::from_secs(60)),
        ..LIMITS
    };
    assert_eq!(log.retain(now, &by_age).unwrap(), 0);
    log.retain(now + Duration::from_secs(120), &by_age).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (200, 200));
    drop(log);
    let mut log = Log::open(folder.path(), 2).unwrap();
    assert_eq!(
        append(&mut log, &batch(&[b"next"], 1, NO_PRODUCER))
            .unwrap()
            .base_offset,
        200
    );
}

/// The log files in a folder, oldest first.
fn log_files(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .collect();
    logs.sort();
    logs
}

#[test]
fn a_missing_segment_is_named_rather_than_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), 1).unwrap();
    fill(&mut log, 100);
    log.close().unwrap();
    std::fs::remove_file(&log_files(folder.path())[1]).unwrap();
    let error = Log::open(folder.path(), 2).err().unwrap().to_string();
    assert!(error.contains("are missing"), "{error}");
}

#[test]
fn what_a_power_cut_left_behind_lost_records_is_removed() {
    for torn in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        fill(&mut Log::open(folder.path(), 1).unwrap(), 100);
        // Nothing was synced: of the second file only its first batch reached the disk, or a bit more.
        let files = log_files(folder.path());
        let second = std::fs::read(&files[1]).unwrap();
        let first_batch = BatchHeader::parse(&second).unwrap();
        let left = first_batch.bytes + if torn { 30 } else { 0 };
        std::fs::write(&files[1], &second[..left]).unwrap();

        let mut log = Log::open(folder.path(), 2).unwrap();
        assert_eq!(log.end_offset(), first_batch.next_offset());
        let placed = append(&mut log, &batch(&[b"after"], 5_000, NO_PRODUCER)).unwrap();
        assert_eq!(placed.base_offset, first_batch.next_offset());
        drop(log);
        let log = Log::open(folder.path(), 3).unwrap();
        assert_eq!(offsets_from(&log, 0).last(), Some(&placed.base_offset));
        assert_eq!(log_files(folder.path()).len(), 2);
    }
}

/// A group whose members are driven by hand.
struct Stage {
    group: Group,
    now: Instant,
    ids: u32,
}

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

impl Stage {
    fn new() -> Self {
        Stage {
            group: Group::new(Duration::from_millis(100)),
            now: Instant::now(),
            ids: 0,
        }
    }

    fn join(&mut self, member_id: &str, protocols: &[&str]) -> oneshot::Receiver<Joined> {
        let names = protocols
            .iter()
            .map(|name| (text(name), Bytes::from(format!("{member_id}:{name}"))));
        self.join_as(Join {
            member_id: text(member_id),
            protocols: names.collect(),
            ..Join::default()
        })
    }

    fn join_as(&mut self, join: Join) -> oneshot::Receiver<Joined> {
        let join = Join {
            session: SESSION,
            rebalance: REBALANCE,
            protocol_type: text("consumer"),
            ..join
        };
        let (reply, answer) = oneshot::channel();
        self.ids += 1;
        let id = text(&format!("m{}", self.ids));
        self.group.join(self.now, join, || id, reply);
        answer
    }

    fn sync(&mut self, generation: i32, member: &str, given: &[(&str, &str)]) -> oneshot::Receiver<Synced> {
        let given = given
            .iter()
            .map(|(id, part)| (text(id), Bytes::from(part.to_string())))
            .collect();
        let (reply, answer) = oneshot::channel();
        self.group
            .sync(self.now, generation, &text(member), None, given, reply);
        answer
    }

    fn heartbeat(&mut self, generation: i32, member: &str) -> Result<(), ResponseError> {
        self.group.heartbeat(self.now, generation, &text(member), None)
    }

    fn pass(&mut self, time: Duration) -> Option<Instant> {
        self.now += time;
        self.group.tick(self.now)
    }

    /// Two members, stable in generation 1; m1 leads.
    fn stable() -> Self {
        let mut stage = Stage::new();
        let mut first = stage.join("", &["range"]);
        let mut second = stage.join("", &["range"]);
        stage.pass(Duration::from_millis(100));
        assert_eq!(first.try_recv().unwrap().members.len(), 2);
        assert_eq!(second.try_recv().unwrap().members.len(), 0);
        let mut follower = stage.sync(1, "m2", &[]);
        assert!(follower.try_recv().is_err());
        let mut leader = stage.sync(1, "m1", &[("m1", "left"), ("m2", "right")]);
        assert_eq!(leader.try_recv().unwrap(), Ok(Bytes::from("left")));
        assert_eq!(follower.try_recv().unwrap(), Ok(Bytes::from("right")));
        assert_eq!(stage.group.state(), "Stable");
        stage
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

#[test]
fn a_first_member_waits_for_the_first_delay_only() {
    let mut stage = Stage::new();
    let mut alone = stage.join("", &["range"]);
    let due = stage.pass(Duration::from_millis(99));
    assert!(alone.try_recv().is_err());
    assert_eq!(due, Some(stage.now + Duration::from_millis(1)));
    stage.pass(Duration::from_millis(1));
    assert_eq!(alone.try_recv().unwrap().generation, 1);
}

#[test]
fn a_newcomer_makes_the_others_rejoin_and_the_assignments_follow() {
    let mut stage = Stage::stable();
    let mut third = stage.join("", &["range"]);
    assert_eq!(stage.heartbeat(1, "m1"), Err(ResponseError::RebalanceInProgress));
    assert_eq!(stage.group.may_commit(stage.now, 1, &text("m1"), None), Ok(()));
    let mut first = stage.join("m1", &["range"]);
    assert!(third.try_recv().is_err(), "the round ended before all had joined");
    let _second = stage.join("m2", &["range"]);
    assert_eq!(third.try_recv().unwrap().generation, 2);
    assert_eq!(first.try_recv().unwrap().members.len(), 3);
    assert_eq!(
        stage.group.may_commit(stage.now, 2, &text("m1"), None),
        Err(ResponseError::RebalanceInProgress)
    );
    assert_eq!(stage.heartbeat(1, "m1"), Err(ResponseError::IllegalGeneration));
}

#[test]
fn a_silent_member_is_removed_after_its_session() {
    let mut stage = Stage::stable();
    stage.pass(SESSION - Duration::from_secs(1));
    assert_eq!(stage.heartbeat(1, "m1"), Ok(()));
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.heartbeat(1, "m2"), Err(ResponseError::UnknownMemberId));
    assert_eq!(stage.heartbeat(1, "m1"), Err(ResponseError::RebalanceInProgress));
    let mut first = stage.join("m1", &["range"]);
    assert_eq!(first.try_recv().unwrap().members.len(), 1);
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_left_behind() {
    let mut stage = Stage::stable();
    let mut third = stage.join("", &["range"]);
    let _first = stage.join("m1", &["range"]);
    let mut passed = Duration::ZERO;
    while passed < REBALANCE - SESSION / 2 {
        assert!(third.try_recv().is_err());
        assert!(stage.heartbeat(1, "m2").is_err());
        stage.pass(SESSION / 2);
        passed += SESSION / 2;
    }
    stage.pass(SESSION / 2);
    assert_eq!(third.try_recv().unwrap().generation, 2);
    assert_eq!(stage.group.members.len(), 2);
    assert_eq!(stage.heartbeat(2, "m2"), Err(ResponseError::UnknownMemberId));
}

#[test]
fn leaving_makes_the_rest_rebalance_and_the_last_one_empties_the_group() {
    let mut stage = Stage::stable();
    assert_eq!(stage.group.leave(stage.now, &text("m1"), None), Ok(()));
    assert_eq!(stage.heartbeat(1, "m2"), Err(ResponseError::RebalanceInProgress));
    let mut second = stage.join("m2", &["range"]);
    assert_eq!(second.try_recv().unwrap().leader, text("m2"));
    assert_eq!(stage.group.leave(stage.now, &text("m2"), None), Ok(()));
    assert_eq!(stage.group.state(), "Empty");
    assert!(stage.group.is_forgettable());
    assert_eq!(stage.group.may_commit(stage.now, -1, &text(""), None), Ok(()));
}

#[test]
fn a_leader_that_never_assigns_is_replaced() {
    let mut stage = Stage::new();
    let _first = stage.join("", &["range"]);
    let _second = stage.join("", &["range"]);
    stage.pass(Duration::from_millis(100));
    let mut follower = stage.sync(1, "m2", &[]);
    stage.pass(SESSION);
    assert_eq!(
        follower.try_recv().unwrap(),
        Err(ResponseError::RebalanceInProgress)
    );
    let mut second = stage.join("m2", &["range"]);
    assert_eq!(second.try_recv().unwrap().leader, text("m2"));
}

#[test]
fn the_group_takes_the_protocol_that_all_support_and_most_prefer() {
    let mut stage = Stage::new();
    let mut answers = [
        stage.join("", &["cooperative-sticky", "range"]),
        stage.join("", &["range", "cooperative-sticky"]),
        stage.join("", &["sticky", "range", "cooperative-sticky"]),
    ];
    let mut other = stage.join("", &["roundrobin"]);
    assert_eq!(
        other.try_recv().unwrap().error,
        Some(ResponseError::InconsistentGroupProtocol)
    );
    stage.pass(Duration::from_millis(100));
    let leader = answers[0].try_recv().unwrap();
    assert_eq!(leader.protocol, text("range"));
    assert_eq!(leader.members[2].2, Bytes::from(":range"));
}

#[test]
fn a_newcomer_must_come_back_with_the_id_it_was_given() {
    let mut stage = Stage::new();
    let newcomer = |id: &str| Join {
        member_id: text(id),
        protocols: vec![(text("range"), Bytes::new())],
        ..Join::default()
    };
    let mut told = stage.join_as(Join {
        id_required: true,
        ..newcomer("")
    });
    let told = told.try_recv().unwrap();
    assert_eq!(
        (told.error, told.member_id.as_str()),
        (Some(ResponseError::MemberIdRequired), "m1")
    );
    let mut stranger = stage.join_as(Join {
        id_required: true,
        ..newcomer("m9")
    });
    assert_eq!(
        stranger.try_recv().unwrap().error,
        Some(ResponseError::UnknownMemberId)
    );
    let mut joined = stage.join_as(Join {
        id_required: true,
        ..newcomer("m1")
    });
    stage.pass(Duration::from_millis(100));
    assert_eq!(joined.try_recv().unwrap().error, None);
}

#[test]
fn a_restarted_static_member_fences_what_it_was_before() {
    let mut stage = Stage::new();
    let fixed = || Join {
        instance: Some(text("worker-1")),
        protocols: vec![(text("range"), Bytes::new())],
        id_required: true,
        ..Join::default()
    };
    let mut before = stage.join_as(fixed());
    let mut after = stage.join_as(fixed());
    assert_eq!(
        before.try_recv().unwrap().error,
        Some(ResponseError::FencedInstanceId)
    );
    stage.pass(Duration::from_millis(100));
    assert_eq!(after.try_recv().unwrap().members.len(), 1);
    let fenced = stage
        .group
        .heartbeat(stage.now, 1, &text("m1"), Some(&text("worker-1")));
    assert_eq!(fenced, Err(ResponseError::FencedInstanceId));
}

/// One request of each kind, with every array filled.
fn sample(key: ApiKey, version: i16) -> Vec<u8> {
    let mut out = Vec::new();
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(text("tester")));
    header
        .encode(&mut out, key.request_header_version(version))
        .unwrap();
    let topic = || TopicName(text("topic"));
    let group = || GroupId(text("group"));
    macro_rules! put {
        ($request:expr) => {
            $request.encode(&mut out, version).unwrap()
        };
    }
    match key {
        ApiKey::Produce => {
            let records = Bytes::from(batch(&[b"one", b"two"], 1_000, NO_PRODUCER));
            let data = produce_request::PartitionProduceData::default().with_records(Some(records));
            let topics = produce_request::TopicProduceData::default()
                .with_name(topic())
                .with_partition_data(vec![data.clone(), data]);
            put!(
                ProduceRequest::default()
                    .with_acks(-1)
                    .with_topic_data(vec![topics])
            )
        }
        ApiKey::Fetch => {
            let wanted = fetch_request::FetchTopic::default()
                .with_topic(topic())
                .with_partitions(vec![Default::default(), Default::default()]);
            let mut request = FetchRequest::default()
                .with_topics(vec![wanted])
                .with_max_wait_ms(5);
            if version >= 7 {
                let gone = fetch_request::ForgottenTopic::default().with_topic(topic());
                request.forgotten_topics_data = vec![gone.with_partitions(vec![1, 2])];
            }
            put!(request)
        }
        ApiKey::ListOffsets => {
            let wanted = list_offsets_request::ListOffsetsTopic::default()
                .with_name(topic())
                .with_partitions(vec![Default::default()]);
            put!(ListOffsetsRequest::default().with_topics(vec![wanted]))
        }
        ApiKey::Metadata => {
            let wanted = metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
            put!(MetadataRequest::default().with_topics(Some(vec![wanted])))
        }
        ApiKey::OffsetCommit => {
            let partition = offset_commit_request::OffsetCommitRequestPartition::default()
                .with_committed_metadata(Some(text("note")));
            let topics = offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition]);
            put!(
                OffsetCommitRequest::default()
                    .with_group_id(group())
                    .with_topics(vec![topics])
            )
        }
        ApiKey::OffsetFetch if version >= 8 => {
            let topics = offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(topic())
                .with_partition_indexes(vec![1, 2]);
            let one = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![topics]));
            put!(OffsetFetchRequest::default().with_groups(vec![one]))
        }
        ApiKey::OffsetFetch => {
            let topics = offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic())
                .with_partition_indexes(vec![1, 2]);
            put!(
                OffsetFetchRequest::default()
                    .with_group_id(group())
                    .with_topics(Some(vec![topics]))
            )
        }
        ApiKey::FindCoordinator if version >= 4 => {
            put!(FindCoordinatorRequest::default().with_coordinator_keys(vec![text("a"), text("b")]))
        }
        ApiKey::FindCoordinator => put!(FindCoordinatorRequest::default().with_key(text("a"))),
        ApiKey::JoinGroup => {
            let protocol = join_group_request::JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata("data".into());
            put!(
                JoinGroupRequest::default()
                    .with_group_id(group())
                    .with_protocols(vec![protocol])
            )
        }
        ApiKey::Heartbeat => put!(HeartbeatRequest::default().with_group_id(group())),
        ApiKey::LeaveGroup if version >= 3 => {
            let member = leave_group_request::MemberIdentity::default().with_member_id(text("m"));
            put!(
                LeaveGroupRequest::default()
                    .with_group_id(group())
                    .with_members(vec![member])
            )
        }
        ApiKey::LeaveGroup => put!(LeaveGroupRequest::default().with_member_id(text("m"))),
        ApiKey::SyncGroup => {
            let given = sync_group_request::SyncGroupRequestAssignment::default()
                .with_member_id(text("m"))
                .with_assignment("part".into());
            let mut request = SyncGroupRequest::default()
                .with_group_id(group())
                .with_assignments(vec![given]);
            if version >= 5 {
                request = request.with_protocol_name(Some(text("range")));
            }
            put!(request)
        }
        ApiKey::DescribeGroups => put!(DescribeGroupsRequest::default().with_groups(vec![group()])),
        ApiKey::ListGroups if version >= 4 => {
            put!(ListGroupsRequest::default().with_states_filter(vec![text("Stable")]))
        }
        ApiKey::ListGroups => put!(ListGroupsRequest::default()),
        ApiKey::ApiVersions => put!(ApiVersionsRequest::default()),
        ApiKey::CreateTopics => {
            let assignment = create_topics_request::CreatableReplicaAssignment::default()
                .with_broker_ids(vec![1.into(), 2.into()]);
            let config = create_topics_request::CreatableTopicConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("5")));
            let wanted = create_topics_request::CreatableTopic::default()
                .with_name(topic())
                .with_assignments(vec![assignment])
                .with_configs(vec![config]);
            put!(CreateTopicsRequest::default().with_topics(vec![wanted]))
        }
        ApiKey::DeleteTopics => {
            put!(DeleteTopicsRequest::default().with_topic_names(vec![topic(), topic()]))
        }
        ApiKey::InitProducerId => put!(InitProducerIdRequest::default()),
        ApiKey::OffsetForLeaderEpoch => {
            let wanted = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(topic())
                .with_partitions(vec![Default::default()]);
            put!(OffsetForLeaderEpochRequest::default().with_topics(vec![wanted]))
        }
        ApiKey::DescribeConfigs => {
            let wanted = describe_configs_request::DescribeConfigsResource::default()
                .with_configuration_keys(Some(vec![text("a"), text("b")]));
            put!(DescribeConfigsRequest::default().with_resources(vec![wanted]))
        }
        ApiKey::CreatePartitions => {
            let assignment = create_partitions_request::CreatePartitionsAssignment::default()
                .with_broker_ids(vec![1.into()]);
            let wanted = create_partitions_request::CreatePartitionsTopic::default()
                .with_name(topic())
                .with_assignments(Some(vec![assignment]));
            put!(CreatePartitionsRequest::default().with_topics(vec![wanted]))
        }
        ApiKey::DeleteGroups => put!(DeleteGroupsRequest::default().with_groups_names(vec![group()])),
        other => panic!("no sample of {other:?}"),
    }
    out
}

#[test]
fn every_served_version_of_every_request_is_understood_to_its_last_byte() {
    for served in &SERVED {
        for version in served.min..=served.max {
            let frame = sample(served.key, version);
            let understood = wire::parse(Bytes::from(frame.clone()));
            assert!(
                matches!(understood, Some(Request::Served { .. })),
                "{:?} version {version} was turned away",
                served.key
            );
            // A frame that lacks its last byte claims more than it holds.
            let cut = Bytes::copy_from_slice(&frame[..frame.len() - 1]);
            assert!(
                wire::parse(cut).is_none(),
                "{:?} version {version} was not walked to its end",
                served.key
            );
        }
    }
}

#[tokio::test]
async fn every_served_version_of_every_request_gets_an_answer_of_that_version() {
    let folder = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        listen,
        data_dir: folder.path().to_owned(),
        ..Config::default()
    };
    let broker = start(config).await.unwrap();
    broker
        .node
        .topics
        .create("topic", 2, Settings::default(), false)
        .unwrap();
    // What others are asked about is appended first, and what removes it comes last.
    let last = |key| matches!(key, ApiKey::DeleteTopics | ApiKey::DeleteGroups);
    let (removals, others): (Vec<_>, Vec<_>) = SERVED.iter().partition(|served| last(served.key));
    for served in others.into_iter().chain(removals) {
        for version in served.min..=served.max {
            let mut stream = TcpStream::connect(broker.address()).await.unwrap();
            let request = sample(served.key, version);
            stream.write_i32(request.len() as i32).await.unwrap();
            stream.write_all(&request).await.unwrap();
            let length = stream.read_i32().await;
            let length =
                length.unwrap_or_else(|_| panic!("{:?} version {version} got no answer", served.key));
            let mut answer = vec![0; length as usize];
            stream.read_exact(&mut answer).await.unwrap();
            let mut answer = Bytes::from(answer);
            let header = served.key.response_header_version(version);
            assert_eq!(
                ResponseHeader::decode(&mut answer, header)
                    .unwrap()
                    .correlation_id,
                7
            );
            ResponseKind::decode(served.key, &mut answer, version).unwrap();
            assert!(
                answer.is_empty(),
                "{:?} version {version} got too long an answer",
                served.key
            );
        }
    }
    broker.shutdown().await.unwrap();
}

/// A request and its answer, over a connection of its own.
async fn ask<R: Encodable>(broker: &Broker, key: ApiKey, version: i16, request: &R) -> ResponseKind {
    let mut frame = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version);
    header
        .encode(&mut frame, key.request_header_version(version))
        .unwrap();
    request.encode(&mut frame, version).unwrap();
    let mut stream = TcpStream::connect(broker.address()).await.unwrap();
    stream.write_i32(frame.len() as i32).await.unwrap();
    stream.write_all(&frame).await.unwrap();
    let length = stream.read_i32().await.unwrap();
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await.unwrap();
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, key.response_header_version(version)).unwrap();
    ResponseKind::decode(key, &mut answer, version).unwrap()
}

#[tokio::test]
async fn what_is_named_often_is_answered_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.path().to_owned(),
        ..Config::default()
    };
    let broker = start(config).await.unwrap();
    let topic = || TopicName(StrBytes::from_static_str("topic"));
    let group = || GroupId(StrBytes::from_static_str("group"));
    broker
        .node
        .topics
        .create("topic", 2, Settings::default(), false)
        .unwrap();

    let named = metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
    let request = MetadataRequest::default().with_topics(Some(vec![named; 1_000]));
    let ResponseKind::Metadata(answer) = ask(&broker, ApiKey::Metadata, 9, &request).await else {
        panic!("another answer")
    };
    assert_eq!(answer.topics.len(), 1);
    assert_eq!(answer.topics[0].partitions.len(), 2);

    let request = DescribeGroupsRequest::default().with_groups(vec![group(); 1_000]);
    let ResponseKind::DescribeGroups(answer) = ask(&broker, ApiKey::DescribeGroups, 5, &request).await else {
        panic!("another answer")
    };
    assert_eq!(answer.groups.len(), 1);

    let wanted = offset_fetch_request::OffsetFetchRequestTopics::default()
        .with_name(topic())
        .with_partition_indexes(vec![0; 100]);
    let wanted = offset_fetch_request::OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(Some(vec![wanted; 10]));
    let request = OffsetFetchRequest::default().with_groups(vec![wanted; 10]);
    let ResponseKind::OffsetFetch(answer) = ask(&broker, ApiKey::OffsetFetch, 8, &request).await else {
        panic!("another answer")
    };
    assert_eq!(answer.groups.len(), 1);
    assert_eq!(answer.groups[0].topics.len(), 1);
    assert_eq!(answer.groups[0].topics[0].partitions.len(), 1);
    broker.shutdown().await.unwrap();
}

#[test]
fn a_count_that_a_frame_cannot_hold_is_turned_away_before_anything_is_reserved() {
    for version in [0, 8, 9] {
        let mut frame = Vec::new();
        frame.extend_from_slice(&(ApiKey::Metadata as i16).to_be_bytes());
        frame.extend_from_slice(&i16::to_be_bytes(version));
        frame.extend_from_slice(&7i32.to_be_bytes());
        frame.extend_from_slice(&(-1i16).to_be_bytes());
        match version {
            9 => frame.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            _ => frame.extend_from_slice(&i32::MAX.to_be_bytes()),
        }
        frame.extend_from_slice(&[0; 64]);
        assert!(wire::parse(Bytes::from(frame)).is_none(), "version {version}");
    }
}

#[test]
fn no_damaged_request_panics() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..40_000 {
        let served = &SERVED[round % SERVED.len()];
        let versions = (served.max - served.min + 1) as u64;
        let mut frame = sample(served.key, served.min + (random() % versions) as i16);
        for _ in 0..1 + random() % 4 {
            let at = 4 + (random() as usize) % (frame.len() - 4);
            frame[at] = random() as u8;
        }
        frame.truncate(4 + (random() as usize) % frame.len());
        let Some(Request::Served {
            header,
            key,
            mut body,
        }) = wire::parse(Bytes::from(frame))
        else {
            continue;
        };
        // Any outcome will do but a panic or an abort.
        let _ = RequestKind::decode(key, &mut body, header.version);
    }
}
