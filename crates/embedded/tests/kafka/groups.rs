//! Consumer groups: joining, leaving, committing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use embedded::kafka::{Fault, On};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use std::sync::Mutex;

use crate::support::{DEADLINE, broker, client, create_topic, eventually, poll, producer, send, value_of};

const PARTITIONS: usize = 6;

/// What all members together have read.
type Seen = Arc<Mutex<BTreeSet<u32>>>;

/// A member of the group in a thread of its own; leaves when stopped.
struct Member {
    stop: Arc<AtomicBool>,
    assigned: Arc<Mutex<usize>>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    fn join(address: SocketAddr, strategy: &str, seen: &Seen) -> Self {
        let settings = [
            ("group.id", "g"),
            ("auto.offset.reset", "earliest"),
            ("partition.assignment.strategy", strategy),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "200"),
            ("enable.auto.commit", "false"),
        ];
        let consumer: BaseConsumer = client(address, &settings).create().unwrap();
        consumer.subscribe(&["t"]).unwrap();
        let (stop, assigned) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
        let (stopped, count, seen) = (Arc::clone(&stop), Arc::clone(&assigned), Arc::clone(seen));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                *count.lock().unwrap() = consumer.assignment().unwrap().count();
                if let Some(message) = poll(&consumer) {
                    seen.lock().unwrap().insert(value_of(&message).parse().unwrap());
                    // A commit that a rebalance refuses is made good by whoever reads next.
                    let _ = consumer.commit_message(&message, CommitMode::Async);
                }
            }
            consumer.unsubscribe();
        });
        Member {
            stop,
            assigned,
            thread: Some(thread),
        }
    }

    fn assigned(&self) -> usize {
        *self.assigned.lock().unwrap()
    }

    fn leave(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn shares(members: &[Member]) -> Vec<usize> {
    members.iter().map(Member::assigned).collect()
}

async fn members_come_and_go(strategy: &str) {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let address = broker.address();
    create_topic(address, "t", PARTITIONS as i32, &[]).await;
    let producer = producer(address, &[]);
    let seen = Seen::default();
    let mut sent = 0;
    let mut members: Vec<Member> = Vec::new();

    for share in [vec![6], vec![3, 3], vec![2, 2, 2]] {
        let joined = Instant::now();
        members.push(Member::join(address, strategy, &seen));
        send(&producer, "t", sent..sent + 500).await;
        sent += 500;
        eventually("the partitions are shared", || shares(&members) == share).await;
        if members.len() == 1 {
            let took = joined.elapsed();
            assert!(
                took < Duration::from_secs(3),
                "the first member had its partitions after {took:?}"
            );
        }
    }
    for share in [vec![3, 3], vec![6]] {
        members.remove(0).leave();
        send(&producer, "t", sent..sent + 500).await;
        sent += 500;
        eventually("the partitions are shared anew", || shares(&members) == share).await;
    }
    eventually("every record is read", || {
        seen.lock().unwrap().len() == sent as usize
    })
    .await;
    members.remove(0).leave();
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_consumers_share_by_range_and_miss_nothing() {
    members_come_and_go("range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_consumers_share_by_cooperative_sticky_and_miss_nothing() {
    members_come_and_go("cooperative-sticky").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_survives_a_moved_coordinator_and_lost_answers() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let address = broker.address();
    create_topic(address, "t", PARTITIONS as i32, &[]).await;
    let producer = producer(address, &[]);
    let seen = Seen::default();
    broker.faults().inject(On::Group, Fault::DropAnswer, 2);
    let members = vec![
        Member::join(address, "range", &seen),
        Member::join(address, "range", &seen),
    ];
    send(&producer, "t", 0..300).await;
    eventually("the partitions are shared", || shares(&members) == [3, 3]).await;
    broker.faults().move_coordinator(5);
    send(&producer, "t", 300..600).await;
    eventually("the faults have struck", || {
        broker.faults().remaining(On::Group) == 0
    })
    .await;
    send(&producer, "t", 600..900).await;
    eventually("every record is read", || seen.lock().unwrap().len() == 900).await;
    members.into_iter().for_each(Member::leave);
    broker.shutdown().await.unwrap();
}

/// Reads `count` records of "t" as group "g", commits, and gives what was read.
fn read_on(address: SocketAddr, count: usize) -> BTreeSet<u32> {
    let settings = [
        ("group.id", "g"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    let consumer: BaseConsumer = client(address, &settings).create().unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let mut found = BTreeSet::new();
    let began = Instant::now();
    while found.len() < count {
        assert!(
            began.elapsed() < DEADLINE,
            "{} of {count} records came",
            found.len()
        );
        if let Some(message) = poll(&consumer) {
            assert!(
                found.insert(value_of(&message).parse().unwrap()),
                "a record came twice"
            );
            consumer
                .store_offset(message.topic(), message.partition(), message.offset())
                .unwrap();
        }
    }
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_where_it_was_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = BTreeSet::new();
    for round in 0..3 {
        let broker = broker(folder.path()).await;
        let address = broker.address();
        if round == 0 {
            create_topic(address, "t", 3, &[]).await;
        }
        send(&producer(address, &[]), "t", round * 200..round * 200 + 200).await;
        let read = tokio::task::spawn_blocking(move || read_on(address, 200))
            .await
            .unwrap();
        all.extend(read);
        broker.shutdown().await.unwrap();
    }
    assert_eq!(all, (0..600).collect());
}
