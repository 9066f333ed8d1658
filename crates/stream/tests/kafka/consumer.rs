//! Assignment, order, commits, revocation, loss, backpressure, leaving.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use stream::{ConsumerEvent, ConsumerOptions, EARLIEST, Error, KafkaConfig, StartFrom};

use crate::support::{
    Bed, GROUP, PATIENCE, bed, broker, committed, eventually, fill, join, join_with, mock, mock_config,
    next_offsets, values,
};

const TOPIC: &str = "t";

#[tokio::test(flavor = "multi_thread")]
async fn every_record_comes_once_and_in_order() {
    let bed = bed(TOPIC, 4).await;
    let config = bed.config();
    fill(&config, TOPIC, 4, 0, 5_000).await;
    let mut member = join(&config, TOPIC, StartFrom::Committed);
    assert_eq!(member.assigned().await, [0, 1, 2, 3]);
    let records = member.records(5_000).await;
    assert_eq!(values(&records), (0..5_000).collect::<Vec<_>>());
    for partition in 0..4 {
        let offsets: Vec<i64> = records
            .iter()
            .filter(|record| record.partition == partition)
            .map(|record| record.offset)
            .collect();
        assert!(
            offsets.iter().copied().eq(0..offsets.len() as i64),
            "partition {partition}"
        );
    }
    eventually("the lag is known to be none", || {
        (0..4).all(|p| member.handle.lag(p) == Some(0))
    })
    .await;
    eventually("and shown", || member.metric("mimamori_consumer_lag") == 0.0).await;
    member.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_goes_on_where_the_last_one_committed() {
    let bed = bed(TOPIC, 2).await;
    let config = bed.config();
    fill(&config, TOPIC, 2, 0, 200).await;
    let mut first = join(&config, TOPIC, StartFrom::Committed);
    first.assigned().await;
    let records = first.records(200).await;
    let half: Vec<_> = records
        .iter()
        .filter(|record| record.offset < 50)
        .cloned()
        .collect();
    // Committed right before leaving: it must not get lost on the way.
    first.handle.commit(&next_offsets(&half));
    first.handle.shutdown().await;

    let mut second = join(&config, TOPIC, StartFrom::Committed);
    second.assigned().await;
    let rest = second.records(records.len() - half.len()).await;
    assert!(rest.iter().all(|record| record.offset >= 50));
    let all: BTreeSet<usize> = values(&half).into_iter().chain(values(&rest)).collect();
    assert_eq!(all.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_partition_has_a_position_and_a_lag_too() {
    let bed = bed(TOPIC, 1).await;
    let config = bed.config();
    fill(&config, TOPIC, 1, 0, 30).await;
    let mut first = join(&config, TOPIC, StartFrom::Committed);
    first.assigned().await;
    first.records(30).await;
    first.handle.commit(&[(0, 30)]);
    first.handle.shutdown().await;

    let mut second = join(&config, TOPIC, StartFrom::Committed);
    second.assigned().await;
    eventually("known without any new record", || second.handle.lag(0) == Some(0)).await;
    assert_eq!(second.handle.position(0), Some(30));
    assert_eq!(second.handle.end_offset(0), Some(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_begins_exactly_where_it_is_asked_to() {
    let bed = bed(TOPIC, 3).await;
    let config = bed.config();
    fill(&config, TOPIC, 3, 0, 600).await;
    let mut member = join(&config, TOPIC, StartFrom::Asked);
    assert_eq!(member.assigned().await, [0, 1, 2]);
    eventually("the ends are known before any start", || {
        (0..3).all(|partition| member.handle.end_offset(partition).is_some_and(|end| end > 20))
    })
    .await;
    assert!(member.events.try_recv().is_none(), "nothing is read unasked");
    assert_eq!(member.handle.lag(0), None);

    member.handle.start(1, 17);
    let end = member.handle.end_offset(1).unwrap();
    let records = member.records(usize::try_from(end - 17).unwrap()).await;
    assert!(
        records
            .iter()
            .map(|record| (record.partition, record.offset))
            .eq((17..end).map(|offset| (1, offset)))
    );

    member.handle.start(2, EARLIEST);
    let end = member.handle.end_offset(2).unwrap();
    let records = member.records(usize::try_from(end).unwrap()).await;
    assert!(
        records
            .iter()
            .map(|record| (record.partition, record.offset))
            .eq((0..end).map(|offset| (2, offset)))
    );

    // A second start of the same assignment would tear a hole; it is ignored.
    member.handle.start(1, 0);
    member.handle.start(0, 0);
    let end = member.handle.end_offset(0).unwrap();
    let records = member.records(usize::try_from(end).unwrap()).await;
    assert!(records.iter().all(|record| record.partition == 0));
    member.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_beyond_the_log_stops_the_consumer_and_never_jumps() {
    let bed = bed(TOPIC, 1).await;
    let config = bed.config();
    fill(&config, TOPIC, 1, 0, 10).await;
    let mut member = join(&config, TOPIC, StartFrom::Asked);
    member.assigned().await;
    member.handle.start(0, 5_000);
    match member.next().await {
        ConsumerEvent::Failed(Error::OffsetOutOfRange { reason }) => {
            assert!(
                reason.starts_with("partition 0 was to be read at 5000"),
                "{reason}"
            );
        }
        other => panic!("expected a failure, got {other:?}"),
    }
    assert!(member.events.recv().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_partition_moves_only_after_the_owner_has_drained_it() {
    let bed = bed(TOPIC, 2).await;
    let config = KafkaConfig {
        revoke_deadline_ms: 9_000,
        ..bed.config()
    };
    fill(&config, TOPIC, 2, 0, 100).await;
    let mut first = join(&config, TOPIC, StartFrom::Committed);
    assert_eq!(first.assigned().await, [0, 1]);
    let records = first.records(100).await;

    let mut second = join(&config, TOPIC, StartFrom::Committed);
    let (moved, drained) = match first.next().await {
        ConsumerEvent::Revoked { partitions, drained } => (partitions, drained),
        other => panic!("expected a revocation, got {other:?}"),
    };
    assert_eq!(moved.len(), 1, "cooperative: only what must move");
    let kept = 1 - moved[0];
    assert!(first.handle.is_owned(moved[0]), "still ours while draining");
    // The second member sees nothing of it for as long as we take.
    let early = tokio::time::timeout(Duration::from_millis(1_500), second.events.recv()).await;
    assert!(early.is_err(), "{early:?}");
    // In two steps: the second commit must not be lost behind the first.
    first.handle.commit(&[(moved[0], 1)]);
    first.handle.commit(&next_offsets(&records));
    let began = Instant::now();
    drained.send(()).unwrap();

    eventually("fenced", || !first.handle.is_owned(moved[0])).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "at once, not at the deadline: {:?}",
        began.elapsed()
    );
    assert_eq!(second.assigned().await, moved);
    assert!(first.handle.is_owned(kept));
    // Everything was committed before it moved: the second member reads only what is new.
    fill(&config, TOPIC, 2, 100, 200).await;
    let mut seen = Vec::new();
    while seen.len() < 200 {
        let event = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                event = first.events.recv() => (0, event),
                event = second.events.recv() => (1, event),
            }
        });
        match event.await.unwrap() {
            (member, Some(ConsumerEvent::Records(batch))) => {
                let owned = if member == 0 { kept } else { moved[0] };
                assert!(batch.iter().all(|record| record.partition == owned));
                seen.extend(batch);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(values(&seen), (100..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_does_not_drain_loses_the_partition_at_the_deadline() {
    let bed = bed(TOPIC, 2).await;
    let config = KafkaConfig {
        revoke_deadline_ms: 500,
        ..bed.config()
    };
    let mut first = join(&config, TOPIC, StartFrom::Asked);
    first.assigned().await;
    let mut second = join(&config, TOPIC, StartFrom::Asked);
    let ConsumerEvent::Revoked { partitions, drained } = first.next().await else {
        panic!("expected a revocation");
    };
    assert_eq!(second.assigned().await, partitions);
    assert!(!first.handle.is_owned(partitions[0]));
    drop(drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_fenced_and_not_committed() {
    let bed = bed(TOPIC, 1).await;
    let config = bed.config();
    fill(&config, TOPIC, 1, 0, 10).await;
    let mut member = join(&config, TOPIC, StartFrom::Committed);
    member.assigned().await;
    member.records(10).await;
    // A broker that has restarted does not know the members of its groups any more.
    let Bed {
        broker: first,
        folder,
    } = bed;
    let address = first.address();
    first.shutdown().await.unwrap();
    let _second = broker(folder.path(), Some(address)).await;
    match member.next().await {
        ConsumerEvent::Lost(partitions) => assert_eq!(partitions, [0]),
        other => panic!("expected a loss, got {other:?}"),
    }
    assert!(!member.handle.is_owned(0));
    member.handle.commit(&[(0, 10)]);
    // It joins again by itself and reads again what was not committed.
    assert_eq!(member.assigned().await, [0]);
    assert_eq!(member.records(10).await[0].offset, 0);
    assert_eq!(committed(&config, TOPIC, 0), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_leaves_while_it_joins_holds_nobody_up() {
    let mut bed = bed(TOPIC, 4).await;
    let config = bed.config();
    // It leaves at every instant of its coming again after it was forgotten. The next one must not wait
    // until its session is over.
    for after in [0, 2, 10, 40] {
        let mut member = join(&config, TOPIC, StartFrom::Committed);
        member.assigned().await;
        let address = bed.broker.address();
        bed.broker.shutdown().await.unwrap();
        bed.broker = broker(bed.folder.path(), Some(address)).await;
        let lost = member.next().await;
        assert!(matches!(lost, ConsumerEvent::Lost(_)), "{lost:?}");
        tokio::time::sleep(Duration::from_millis(after)).await;
        member.handle.shutdown().await;
        let began = Instant::now();
        let mut next = join(&config, TOPIC, StartFrom::Committed);
        next.assigned().await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "left after {after} ms: {took:?}");
        next.handle.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_owner_pauses_consumption_and_bounds_memory() {
    let bed = bed(TOPIC, 2).await;
    let config = bed.config();
    let mut options = ConsumerOptions::new(GROUP, TOPIC, StartFrom::Committed);
    (options.batch_records, options.queue_batches) = (50, 3);
    let mut member = join_with(&config, options);
    member.assigned().await;
    fill(&config, TOPIC, 2, 0, 4_000).await;
    eventually("paused", || member.handle.is_paused()).await;
    assert!(member.metric("mimamori_consumer_paused") == 1.0);
    eventually("the lag is told while paused", || {
        let lags: i64 = (0..2).filter_map(|partition| member.handle.lag(partition)).sum();
        lags == 4_000
    })
    .await;
    // Three batches in the queue, one before it, one being filled.
    let taken = member.metric("mimamori_consumer_records_total");
    assert!(taken <= 250.0, "{taken} records were put into the queue");
    // Longer than the session: the member lives although nobody takes anything.
    let records = member.records(4_000).await;
    assert_eq!(values(&records), (0..4_000).collect::<Vec<_>>());
    eventually("going on", || !member.handle.is_paused()).await;
    eventually("and so it is told", || {
        member.metric("mimamori_consumer_paused") == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_not_served_keeps_its_membership() {
    let bed = bed(TOPIC, 1).await;
    let config = KafkaConfig {
        session_timeout_ms: 6_000,
        heartbeat_interval_ms: 500,
        revoke_deadline_ms: 1_000,
        ..bed.config()
    };
    let mut options = ConsumerOptions::new(GROUP, TOPIC, StartFrom::Committed);
    (options.batch_records, options.queue_batches) = (10, 1);
    let mut member = join_with(&config, options);
    member.assigned().await;
    fill(&config, TOPIC, 1, 0, 1_000).await;
    eventually("paused", || member.handle.is_paused()).await;
    let began = Instant::now();
    eventually("longer than a session", || {
        began.elapsed() > Duration::from_millis(7_000)
    })
    .await;
    assert!(member.handle.is_owned(0));
    assert_eq!(
        values(&member.records(1_000).await),
        (0..1_000).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_commit_that_the_broker_refuses_is_sent_again() {
    let cluster = mock(TOPIC, 1);
    let config = mock_config(&cluster);
    fill(&config, TOPIC, 1, 0, 10).await;
    let mut member = join(&config, TOPIC, StartFrom::Committed);
    member.assigned().await;
    member.records(10).await;
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE; 2];
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &refusals);
    member.handle.commit(&[(0, 7)]);
    eventually("refused twice", || {
        member.metric("mimamori_consumer_commit_failures_total") >= 2.0
    })
    .await;
    eventually("and taken at last", || committed(&config, TOPIC, 0) == Some(7)).await;
}

#[tokio::test]
async fn leaving_is_quick_also_with_the_broker_away() {
    let cluster = mock(TOPIC, 1);
    let config = mock_config(&cluster);
    let mut member = join(&config, TOPIC, StartFrom::Committed);
    member.assigned().await;
    let mut waiting = join(&config, TOPIC, StartFrom::Committed);
    cluster.broker_down(1).unwrap();
    member.handle.commit(&[(0, 1)]);
    let began = Instant::now();
    member.handle.shutdown().await;
    waiting.handle.shutdown().await;
    assert!(
        began.elapsed() < Duration::from_millis(4_500),
        "{:?}",
        began.elapsed()
    );
    assert!(
        waiting.events.recv().await.is_none(),
        "the queue ends with the consumer"
    );
}
