use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::Registry;
use store::{AwaitingDigest, DigestQuery, DigestedEpisode, EpisodeDelivery, WaitingDelivery, WaitingQuery};

#[path = "engine/routing_tests.rs"]
mod routing;

use super::*;
use crate::config::{Config, Destination};
use crate::destination::{Means, Parcel, Sender};
use crate::lane::{CircuitLimits, DELIVERED, FAILED, Limits, RETRYING};
use crate::outcome::Answer;
use crate::schedule::Schedule;
use crate::testing::{Memory, PATIENCE, Receiver, Reply, SECRET, alert, everything_to};

const ORIGIN: i64 = 1_795_309_323_000;

/// What a fake receiver does with the `n`th request for an alert: answers after a while.
type Script = Arc<dyn Fn(&str, usize) -> (Duration, Answer) + Send + Sync>;

/// A receiver without a network, on tokio's clock.
#[derive(Clone)]
struct Fake {
    script: Script,
    clock: Clock,
    sent: Arc<Mutex<Vec<(String, i64)>>>,
}

impl Fake {
    fn new(
        clock: &Clock,
        script: impl Fn(&str, usize) -> (Duration, Answer) + Send + Sync + 'static,
    ) -> Fake {
        Fake {
            script: Arc::new(script),
            clock: clock.clone(),
            sent: Arc::default(),
        }
    }

    /// The alerts in the order in which they were sent.
    fn sent(&self) -> Vec<String> {
        lock(&self.sent)
            .iter()
            .map(|(alert_id, _)| alert_id.clone())
            .collect()
    }

    /// When an alert was sent, in seconds since the test began.
    fn seconds_of(&self, alert_id: &str) -> Vec<i64> {
        let sent = lock(&self.sent);
        let of_alert = sent.iter().filter(|(id, _)| id == alert_id);
        of_alert.map(|(_, at)| (at - ORIGIN) / 1_000).collect()
    }
}

impl Transport for Fake {
    async fn send(&self, parcel: Parcel<'_>) -> Answer {
        let alert_id = parcel.alert_id;
        let nth = {
            let mut sent = lock(&self.sent);
            let nth = sent.iter().filter(|(id, _)| id == alert_id).count();
            sent.push((alert_id.to_string(), self.clock.now()));
            nth
        };
        let (after, answer) = (self.script)(alert_id, nth);
        sleep(after).await;
        answer
    }
}

fn status(code: u16) -> Answer {
    Answer::Status {
        code,
        retry_after: None,
        excerpt: String::new(),
    }
}

fn at_once(code: u16) -> (Duration, Answer) {
    (Duration::from_millis(10), status(code))
}

fn limits(destination: &str) -> Limits {
    Limits {
        destination: destination.into(),
        queue: 100,
        concurrency: 4,
        rate_per_second: 0.0,
        schedule: Schedule::try_new(&[0.0, 5.0, 300.0, 1_800.0], 0.0).unwrap(),
        set_aside: Duration::from_secs(2),
        reload_pause: Duration::from_secs(1),
        circuit: CircuitLimits {
            failures: 0,
            pause: Duration::from_secs(30),
            longest: Duration::from_secs(600),
        },
    }
}

fn bounds() -> Bounds {
    Bounds {
        max_uncommitted: 1_000,
        recorder_queue: 100,
        drain: Duration::from_secs(1),
        breaker: BreakerConfig {
            share: 0.0,
            ..BreakerConfig::default()
        },
        look: Duration::from_secs(1),
    }
}

struct Bench {
    engine: Engine<Memory>,
    metrics: AlertMetrics,
    _failure: oneshot::Receiver<Stopped>,
}

/// An engine that owns partition 0 of 2 and tells everything to everybody.
fn start<T: Transport>(ledger: &Memory, clock: &Clock, lanes: Vec<(Limits, T)>) -> Bench {
    let names: Vec<&str> = lanes
        .iter()
        .map(|(limits, _)| limits.destination.as_str())
        .collect();
    let policy = everything_to(&names);
    start_with(ledger, clock, policy, lanes)
}

fn start_with<T: Transport>(
    ledger: &Memory,
    clock: &Clock,
    policy: Policy,
    lanes: Vec<(Limits, T)>,
) -> Bench {
    let metrics = AlertMetrics::register(&Registry::new()).unwrap();
    let lanes = lanes
        .into_iter()
        .map(|(limits, transport)| (Lane::new(limits), transport))
        .collect();
    let (engine, failure) = Engine::start(
        ledger.clone(),
        policy,
        lanes,
        bounds(),
        metrics.clone(),
        clock.clone(),
    );
    engine.assign(&[0], 2);
    Bench {
        engine,
        metrics,
        _failure: failure,
    }
}

fn arrivals(changes: impl IntoIterator<Item = AlertChange>) -> Vec<Arrival> {
    let numbered = changes.into_iter().zip(0..);
    numbered
        .map(|(change, offset)| Arrival {
            partition: 0,
            offset,
            change: Some(change),
        })
        .collect()
}

fn opened(accounts: std::ops::Range<usize>) -> Vec<AlertChange> {
    accounts
        .map(|n| alert(&format!("a{n:03}"), "opened", ORIGIN))
        .collect()
}

/// Waits until the position of partition 0 is `offset`.
async fn position(bench: &Bench, offset: i64) {
    let moved = async {
        let mut reached = -1;
        while reached < offset {
            for (_, next) in bench.engine.take_moved() {
                reached = next;
            }
            if reached < offset {
                bench.engine.progress().await;
            }
        }
    };
    if timeout(PATIENCE, moved).await.is_err() {
        panic!("the position did not reach {offset}");
    }
}

/// Waits until the ledger says this of every alert.
async fn until_all(ledger: &Memory, bench: &Bench, destination: &str, count: usize, status: &str) {
    let reached = async {
        loop {
            let statuses = ledger.statuses(destination);
            if statuses.len() == count && statuses.values().all(|found| found == status) {
                return;
            }
            bench.engine.progress().await;
        }
    };
    // On a paused clock this is how far the clock may run.
    if timeout(Duration::from_secs(48 * 3_600), reached).await.is_err() {
        panic!("{:?}", ledger.statuses(destination));
    }
}

#[tokio::test(start_paused = true)]
async fn the_position_moves_when_every_destination_has_its_row() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let (one, two) = (
        Fake::new(&clock, |_, _| at_once(200)),
        Fake::new(&clock, |_, _| at_once(500)),
    );
    let bench = start(
        &ledger,
        &clock,
        vec![(limits("one"), one.clone()), (limits("two"), two.clone())],
    );
    bench.engine.submit(arrivals(opened(0..3))).await.unwrap();
    position(&bench, 3).await;
    assert_eq!(ledger.statuses("one").len(), 3);
    assert!(ledger.statuses("one").values().all(|status| status == DELIVERED));
    assert!(ledger.statuses("two").values().all(|status| status == RETRYING));
    let count = |destination, status| {
        bench
            .metrics
            .deliveries
            .with_label_values(&[destination, status])
            .get()
    };
    assert_eq!((count("one", DELIVERED), count("two", RETRYING)), (3, 3));
    assert_eq!(bench.metrics.event_to_delivery.get_sample_count(), 3);
    let seconds = bench.metrics.event_to_delivery.get_sample_sum();
    assert!(
        (0.15..0.3).contains(&seconds),
        "three times some 50 ms: {seconds}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_while_the_ledger_is_away() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let bench = start(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    bench.engine.submit(arrivals(opened(0..1))).await.unwrap();
    ledger.set_away(true);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(fake.sent(), ["al-a000-opened"]);
    assert_eq!(bench.engine.take_moved(), []);
    ledger.set_away(false);
    position(&bench, 1).await;
    assert_eq!(fake.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_delivery_is_repeated_by_the_schedule() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, nth| at_once(if nth < 3 { 503 } else { 200 }));
    let bench = start(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    bench.engine.submit(arrivals(opened(0..1))).await.unwrap();
    until_all(&ledger, &bench, "one", 1, DELIVERED).await;
    assert_eq!(fake.seconds_of("al-a000-opened"), [0, 5, 305, 2_105]);
    let rows = ledger.rows("one", "al-a000-opened");
    let attempts: Vec<(u32, &str, Option<u16>)> = rows
        .iter()
        .map(|row| (row.attempt, row.status.as_str(), row.http_status))
        .collect();
    let expected = [
        (1, RETRYING, Some(503)),
        (2, RETRYING, Some(503)),
        (3, RETRYING, Some(503)),
    ];
    assert_eq!(attempts[..3], expected);
    assert_eq!(attempts[3], (4, DELIVERED, Some(200)));
    assert!(
        rows[..3]
            .iter()
            .all(|row| row.body.contains("al-a000-opened") && row.duration_ms == 10)
    );
    assert_eq!(rows[3].body, "");
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_hangs_delays_neither_another_nor_the_position() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let slow = Fake::new(&clock, |_, _| (Duration::from_secs(20), Answer::TimedOut(20_000)));
    let quick = Fake::new(&clock, |_, _| at_once(200));
    let small = Limits {
        queue: 5,
        ..limits("slow")
    };
    let bench = start(
        &ledger,
        &clock,
        vec![(small, slow.clone()), (limits("quick"), quick.clone())],
    );
    let begun = clock.now();
    bench.engine.submit(arrivals(opened(0..40))).await.unwrap();
    until_all(&ledger, &bench, "quick", 40, DELIVERED).await;
    assert!(clock.now() - begun < 1_000, "{} ms", clock.now() - begun);
    position(&bench, 40).await;
    assert!(clock.now() - begun < 3_000, "{} ms", clock.now() - begun);
    assert_eq!(slow.sent().len(), 4, "its concurrency");
    assert!(ledger.statuses("slow").values().all(|status| status == RETRYING));
}

#[tokio::test(start_paused = true)]
async fn what_exceeded_the_queue_is_delivered_when_the_receiver_is_back() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let back = ORIGIN + 60_000;
    let now = clock.clone();
    let fake = Fake::new(&clock, move |_, _| {
        at_once(if now.now() < back { 500 } else { 200 })
    });
    let small = Limits {
        queue: 5,
        ..limits("one")
    };
    let bench = start(&ledger, &clock, vec![(small, fake.clone())]);
    bench.engine.submit(arrivals(opened(0..40))).await.unwrap();
    until_all(&ledger, &bench, "one", 40, DELIVERED).await;
    let seconds = (clock.now() - ORIGIN) / 1_000;
    assert!(
        seconds < 400,
        "{seconds} s: all are due for the third time after some 305 s"
    );
    for n in 0..40 {
        let id = format!("al-a{n:03}-opened");
        let rows = ledger.rows("one", &id);
        let delivered = rows.iter().filter(|row| row.status == DELIVERED).count();
        assert_eq!(delivered, 1, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolve_waits_for_its_open() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |id, nth| {
        at_once(if id == "al-a-opened" && nth == 0 { 500 } else { 200 })
    });
    let bench = start(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    let changes = [
        alert("a", "opened", ORIGIN),
        alert("a", "resolved", ORIGIN + 1),
        alert("aa", "opened", ORIGIN + 2),
    ];
    bench.engine.submit(arrivals(changes)).await.unwrap();
    position(&bench, 3).await;
    until_all(&ledger, &bench, "one", 3, DELIVERED).await;
    assert_eq!(
        fake.sent(),
        ["al-a-opened", "al-aa-opened", "al-a-opened", "al-a-resolved"]
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_deliveries_go_on_and_none_that_is_recorded_is_repeated() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let changes = [
        alert("a", "opened", ORIGIN),
        alert("a", "resolved", ORIGIN + 1),
        alert("aa", "opened", ORIGIN + 2),
    ];
    let down = Fake::new(&clock, |id, _| {
        at_once(if id.contains("-aa-") { 200 } else { 500 })
    });
    let bench = start(&ledger, &clock, vec![(limits("one"), down.clone())]);
    bench.engine.submit(arrivals(changes.clone())).await.unwrap();
    position(&bench, 3).await;
    drop(bench);
    assert_eq!(down.sent(), ["al-a-opened", "al-aa-opened"]);

    let up = Fake::new(&clock, |_, _| at_once(200));
    let bench = start(&ledger, &clock, vec![(limits("one"), up.clone())]);
    // The commit was lost with the process: the records are read again.
    bench.engine.submit(arrivals(changes)).await.unwrap();
    position(&bench, 3).await;
    until_all(&ledger, &bench, "one", 3, DELIVERED).await;
    assert_eq!(up.sent(), ["al-a-opened", "al-a-resolved"]);
    assert_eq!(up.seconds_of("al-a-opened"), [5], "when it was due");
}

#[tokio::test(start_paused = true)]
async fn a_partition_moves_on_with_what_waits_and_what_is_under_way() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let old = Fake::new(&clock, |id, _| {
        if id.contains("a001") {
            (Duration::from_secs(20), status(200))
        } else {
            (Duration::from_millis(500), status(200))
        }
    });
    let one_by_one = Limits {
        concurrency: 2,
        ..limits("one")
    };
    let bench = start(&ledger, &clock, vec![(one_by_one, old.clone())]);
    bench.engine.submit(arrivals(opened(0..4))).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let begun = clock.now();
    bench.engine.release(&[0]).await;
    assert!(clock.now() - begun <= 1_500, "{} ms", clock.now() - begun);
    assert_eq!(bench.engine.take_moved(), [(0, 4)]);
    bench.engine.forget(&[0]);
    assert_eq!(old.sent(), ["al-a000-opened", "al-a001-opened"]);
    let statuses: Vec<String> = ledger.statuses("one").into_values().collect();
    assert_eq!(statuses, [DELIVERED, RETRYING, RETRYING, RETRYING]);

    let new = Fake::new(&clock, |_, _| at_once(200));
    let successor = start(&ledger, &clock, vec![(limits("one"), new.clone())]);
    until_all(&ledger, &successor, "one", 4, DELIVERED).await;
    let mut sent = new.sent();
    sent.sort();
    assert_eq!(sent, ["al-a001-opened", "al-a002-opened", "al-a003-opened"]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(old.sent().len(), 2, "the first worker sends nothing more");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_the_partition_may_be_anothers() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let bench = start(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    let is_ours = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = Arc::clone(&is_ours);
    bench.engine.fenced_by(move |_| asked.load(Ordering::SeqCst));
    bench.engine.submit(arrivals(opened(0..2))).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.sent(), Vec::<String>::new());
    is_ours.store(true, Ordering::SeqCst);
    until_all(&ledger, &bench, "one", 2, DELIVERED).await;

    is_ours.store(false, Ordering::SeqCst);
    bench.engine.submit(arrivals(opened(2..3))).await.unwrap();
    bench.engine.release(&[0]).await;
    assert_eq!(fake.sent().len(), 2, "it is the next owner's to send");
    assert_eq!(ledger.statuses("one").len(), 2, "and to write about");
}

#[tokio::test(start_paused = true)]
async fn only_what_waits_of_owned_partitions_is_taken_up() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let down = Fake::new(&clock, |_, _| at_once(500));
    let first = start(&ledger, &clock, vec![(limits("one"), down.clone())]);
    first.engine.assign(&[1], 2);
    let mut both = arrivals([alert("a", "opened", ORIGIN), alert("b", "opened", ORIGIN)]);
    both[1].partition = 1;
    first.engine.submit(both).await.unwrap();
    position(&first, 1).await;
    until_all(&ledger, &first, "one", 2, RETRYING).await;
    drop(first);

    let up = Fake::new(&clock, |_, _| at_once(200));
    let second = start(&ledger, &clock, vec![(limits("one"), up.clone())]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(up.sent(), ["al-a-opened"]);
    second.engine.assign(&[1], 2);
    until_all(&ledger, &second, "one", 2, DELIVERED).await;
    assert_eq!(up.sent(), ["al-a-opened", "al-b-opened"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_owner_before_wrote_too_late_is_taken_in_when_it_comes_again() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let up = Fake::new(&clock, |_, _| at_once(200));
    let second = start(&ledger, &clock, vec![(limits("one"), up.clone())]);
    // By then it has read what waits, which is nothing.
    sleep(Duration::from_secs(5)).await;

    let down = Fake::new(&clock, |_, _| at_once(500));
    let first = start(&ledger, &clock, vec![(limits("one"), down)]);
    first.engine.submit(arrivals(opened(0..1))).await.unwrap();
    until_all(&ledger, &first, "one", 1, RETRYING).await;
    drop(first);

    second.engine.submit(arrivals(opened(0..1))).await.unwrap();
    until_all(&ledger, &second, "one", 1, DELIVERED).await;
    assert_eq!(up.sent(), ["al-a000-opened"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_while_it_comes_again_is_not_sent_again() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let slow = Fake::new(&clock, |_, _| (Duration::from_secs(5), status(200)));
    let quick = Fake::new(&clock, |_, _| at_once(200));
    let lanes = vec![(limits("slow"), slow.clone()), (limits("quick"), quick)];
    let bench = start(&ledger, &clock, lanes);
    bench.engine.submit(arrivals(opened(0..1))).await.unwrap();
    until_all(&ledger, &bench, "quick", 1, DELIVERED).await;

    // The slow lane holds it when it comes again, and has let it go once it is known what the other did.
    ledger.set_slow_to_look_up(true);
    let mut again = arrivals(opened(0..1));
    again[0].offset = 1;
    let looked_up = async {
        until_all(&ledger, &bench, "slow", 1, DELIVERED).await;
        ledger.set_slow_to_look_up(false);
    };
    let (submitted, ()) = tokio::join!(bench.engine.submit(again), looked_up);
    submitted.unwrap();
    position(&bench, 2).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(slow.sent(), ["al-a000-opened"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_destination_alerts_are_passed_over() {
    let clock = Clock::of_tokio(ORIGIN);
    let bench = start::<Fake>(&Memory::new(), &clock, Vec::new());
    let mut records = arrivals(opened(0..5));
    records[2].change = None;
    bench.engine.submit(records).await.unwrap();
    position(&bench, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_passed_over() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let bench = start(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    let mut records = arrivals(opened(0..3));
    records[1].change = None;
    bench.engine.submit(records).await.unwrap();
    position(&bench, 3).await;
    assert_eq!(fake.sent(), ["al-a000-opened", "al-a002-opened"]);
}

#[tokio::test(start_paused = true)]
async fn more_records_than_may_be_uncommitted_are_taken_in_turn() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let metrics = AlertMetrics::register(&Registry::new()).unwrap();
    let few = Bounds {
        max_uncommitted: 3,
        ..bounds()
    };
    let lanes = vec![(Lane::new(limits("one")), fake.clone())];
    let policy = everything_to(&["one"]);
    let (engine, failure) = Engine::start(ledger.clone(), policy, lanes, few, metrics.clone(), clock.clone());
    engine.assign(&[0], 2);
    let bench = Bench {
        engine,
        metrics,
        _failure: failure,
    };
    let submitted = timeout(PATIENCE, bench.engine.submit(arrivals(opened(0..20))));
    submitted.await.expect("room is made").unwrap();
    position(&bench, 20).await;
    assert_eq!(fake.sent().len(), 20);
}

/// The receivers of the worst day, over real connections.
#[tokio::test]
async fn every_alert_arrives_or_says_why_not_whatever_the_receiver_does() {
    let failing_twice = |reply: Reply| {
        move |_: &crate::testing::Request, before: usize| match before {
            0 | 1 => reply.clone(),
            _ => Reply::Status(200, "", ""),
        }
    };
    let receivers = BTreeMap::from([
        (
            "errors",
            Receiver::start(failing_twice(Reply::Status(500, "", "oops"))).await,
        ),
        ("hangs", Receiver::start(failing_twice(Reply::Hang)).await),
        ("resets", Receiver::start(failing_twice(Reply::Reset)).await),
        ("drips", Receiver::start(failing_twice(Reply::DripHeaders)).await),
        (
            "limits",
            Receiver::start(failing_twice(Reply::Status(429, "retry-after: 1\r\n", ""))).await,
        ),
        (
            "redirects",
            Receiver::always(Reply::Status(302, "location: http://127.0.0.1:1/\r\n", "")).await,
        ),
        (
            "refuses",
            Receiver::always(Reply::Status(422, "", "no such hook")).await,
        ),
        ("gone", Receiver::always(Reply::Status(410, "", "")).await),
        ("dead", Receiver::always(Reply::Reset).await),
    ]);
    let config = Config {
        destinations: receivers
            .iter()
            .map(|(name, receiver)| Destination {
                name: name.to_string(),
                url: format!("http://{}/", receiver.address),
                secret: SECRET.into(),
                allow_private_addresses: true,
                timeout_seconds: 0.2,
                concurrency: Some(1),
                ..Destination::default()
            })
            .collect(),
        ..Config::default()
    };
    let clock = Clock::wall();
    let schedule = Schedule::try_new(&[0.0, 0.02, 0.02, 0.02, 0.02], 0.2).unwrap();
    let means = Means {
        telling: Arc::default(),
        retry_after_cap: Duration::from_secs(10),
        clock: clock.clone(),
    };
    let lanes = config
        .endpoints()
        .unwrap()
        .into_iter()
        .map(|endpoint| {
            let limits = Limits {
                schedule: schedule.clone(),
                concurrency: endpoint.concurrency,
                ..limits(&endpoint.name)
            };
            (limits, Sender::new(&endpoint, &means).unwrap())
        })
        .collect();
    let ledger = Memory::new();
    let bench = start(&ledger, &clock, lanes);
    let changes = [
        alert("a", "opened", ORIGIN),
        alert("a", "resolved", ORIGIN + 1),
        alert("aa", "opened", ORIGIN + 2),
    ];
    let begun = tokio::time::Instant::now();
    bench.engine.submit(arrivals(changes)).await.unwrap();
    position(&bench, 3).await;

    for name in ["errors", "hangs", "resets", "drips", "limits"] {
        timeout(PATIENCE, until_all(&ledger, &bench, name, 3, DELIVERED))
            .await
            .unwrap();
        let requests = receivers[name].requests();
        assert_eq!(requests.len(), 5, "{name}: three alerts and two failures");
        let ids: Vec<&str> = requests
            .iter()
            .map(|request| request.header("webhook-id"))
            .collect();
        let place = |id: &str| ids.iter().rposition(|found| *found == id).unwrap();
        assert!(
            place("al-a-opened") < ids.iter().position(|id| *id == "al-a-resolved").unwrap(),
            "{name}: {ids:?}"
        );
        for request in &requests {
            let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!(body["data"]["alert_id"], request.header("webhook-id"), "{name}");
        }
    }
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "the wish of the one that limits was kept"
    );

    for (name, word) in [
        ("redirects", "302"),
        ("refuses", "no such hook"),
        ("gone", "410"),
        ("dead", "given up"),
    ] {
        timeout(PATIENCE, until_all(&ledger, &bench, name, 3, FAILED))
            .await
            .unwrap();
        for id in ["al-a-opened", "al-a-resolved", "al-aa-opened"] {
            let rows = ledger.rows(name, id);
            let last = rows.last().unwrap();
            assert!(last.error.contains(word), "{name}: {}", last.error);
            assert_eq!(last.next_attempt_at, None);
            assert!(last.body.contains(id), "to be replayed");
        }
    }
    assert_eq!(receivers["gone"].requests().len(), 1);
    assert_eq!(receivers["redirects"].requests().len(), 3);
    assert_eq!(receivers["dead"].requests().len(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_refuses_ends_the_engine() {
    #[derive(Default)]
    struct Refusing(AtomicUsize);

    impl HoldLedger for Refusing {
        async fn holds(&self) -> Result<Vec<store::HoldRow>, store::Error> {
            Ok(Vec::new())
        }
        async fn save_hold(&self, _: &store::HoldRow) -> Result<(), store::Error> {
            Ok(())
        }
        async fn standing_of(&self, _: &[String]) -> Result<Vec<store::DeliveryState>, store::Error> {
            Ok(Vec::new())
        }
        async fn held_counts(&self, _: &store::Owned) -> Result<Vec<store::HeldCount>, store::Error> {
            Ok(Vec::new())
        }
        async fn held(
            &self,
            _: &str,
            _: &store::Owned,
            _: u32,
        ) -> Result<Vec<store::DeliveryState>, store::Error> {
            Ok(Vec::new())
        }
        async fn ended(&self, _: &[String], _: &[String]) -> Result<Vec<String>, store::Error> {
            Ok(Vec::new())
        }
        async fn accounts(&self, _: &store::Owned) -> Result<u64, store::Error> {
            Ok(0)
        }
        async fn openings(&self, _: i64, _: &store::Owned) -> Result<Vec<store::Opening>, store::Error> {
            Ok(Vec::new())
        }
        async fn requests(&self) -> Result<Vec<store::Requests>, store::Error> {
            Ok(Vec::new())
        }
    }

    impl Ledger for Refusing {
        async fn reference(&self, _: &str, _: &str) -> Result<Option<String>, store::Error> {
            Ok(None)
        }

        async fn insert(&self, _: &str, _: &[store::DeliveryRow]) -> Result<(), store::Error> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err(store::Error::Refused {
                url: "test".into(),
                action: "insert".into(),
                reason: "no such table".into(),
            })
        }
        async fn waiting(&self, _: &WaitingQuery) -> Result<Vec<WaitingDelivery>, store::Error> {
            Ok(Vec::new())
        }
        async fn attempted(&self, _: &str, _: &[String]) -> Result<Vec<String>, store::Error> {
            Ok(Vec::new())
        }
        async fn of_episodes(&self, _: &[String]) -> Result<Vec<EpisodeDelivery>, store::Error> {
            Ok(Vec::new())
        }
        async fn awaiting_digest(&self, _: &DigestQuery) -> Result<Vec<AwaitingDigest>, store::Error> {
            Ok(Vec::new())
        }
        async fn digested(&self, _: &str, _: &str, _: u32) -> Result<Vec<DigestedEpisode>, store::Error> {
            Ok(Vec::new())
        }
        async fn count_awaiting_digest(&self, _: &str) -> Result<u64, store::Error> {
            Ok(0)
        }
    }

    let clock = Clock::of_tokio(ORIGIN);
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let metrics = AlertMetrics::register(&Registry::new()).unwrap();
    let lanes = vec![(Lane::new(limits("one")), fake)];
    let (engine, failure) = Engine::start(
        Refusing::default(),
        everything_to(&["one"]),
        lanes,
        bounds(),
        metrics,
        clock,
    );
    engine.assign(&[0], 2);
    engine.submit(arrivals(opened(0..1))).await.unwrap();
    let stopped = timeout(PATIENCE, failure).await.unwrap().unwrap();
    assert!(stopped.to_string().contains("no such table"), "{stopped}");
    assert_eq!(engine.take_moved(), []);
}

#[path = "engine/quiet_tests.rs"]
mod quiet_tests;
