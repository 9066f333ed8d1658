use store::{HoldEnd, Opening};

use super::*;
use crate::fate::{HELD, SUPPRESSED};

const MINUTE: Duration = Duration::from_secs(60);

fn guarded(ledger: &Memory, clock: &Clock, lanes: Vec<(Limits, Fake)>) -> Bench {
    let metrics = AlertMetrics::register(&Registry::new()).unwrap();
    let names: Vec<&str> = lanes
        .iter()
        .map(|(limits, _)| limits.destination.as_str())
        .collect();
    let policy = everything_to(&names);
    let lanes = lanes
        .into_iter()
        .map(|(limits, transport)| (Lane::new(limits), transport))
        .collect();
    let bounds = Bounds {
        breaker: BreakerConfig::default(),
        ..bounds()
    };
    let (engine, failure) = Engine::start(
        ledger.clone(),
        policy,
        lanes,
        bounds,
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

fn ended(accounts: std::ops::Range<usize>, at: i64) -> Vec<AlertChange> {
    accounts
        .map(|n| alert(&format!("a{n:03}"), "resolved", ORIGIN + at))
        .collect()
}

/// Records of partition 0 from `offset` on.
fn from(offset: i64, changes: impl IntoIterator<Item = AlertChange>) -> Vec<Arrival> {
    let mut records = arrivals(changes);
    for record in &mut records {
        record.offset += offset;
    }
    records
}

fn count(ledger: &Memory, destination: &str, status: &str) -> usize {
    let statuses = ledger.statuses(destination);
    statuses.values().filter(|found| *found == status).count()
}

/// Waits until the ledger says this of so many alerts.
async fn until(ledger: &Memory, bench: &Bench, status: &str, expected: usize) {
    let reached = async {
        while count(ledger, "one", status) != expected {
            tokio::select! {
                () = bench.engine.progress() => {}
                () = sleep(Duration::from_millis(100)) => {}
            }
        }
    };
    if timeout(10 * MINUTE, reached).await.is_err() {
        panic!("{:?}", ledger.statuses("one"));
    }
}

/// The alerts that were sent, without summaries; and the summaries.
fn sent(fake: &Fake) -> (Vec<String>, Vec<String>) {
    fake.sent().into_iter().partition(|id| !id.starts_with("hd_"))
}

#[tokio::test(start_paused = true)]
async fn a_flood_in_one_batch_becomes_one_summary_to_each_destination() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    ledger.set_accounts(100);
    let (one, two) = (
        Fake::new(&clock, |_, _| at_once(200)),
        Fake::new(&clock, |_, _| at_once(200)),
    );
    let lanes = vec![(limits("one"), one.clone()), (limits("two"), two.clone())];
    let bench = guarded(&ledger, &clock, lanes);
    bench.engine.submit(arrivals(opened(0..21))).await.unwrap();
    position(&bench, 21).await;
    // What comes after it of the same rule is held, too.
    bench.engine.submit(from(21, opened(21..30))).await.unwrap();
    position(&bench, 30).await;
    until(&ledger, &bench, DELIVERED, 1).await;
    for fake in [&one, &two] {
        let (alerts, summaries) = sent(fake);
        assert_eq!((alerts.len(), summaries.len()), (0, 1));
        let seconds = fake.seconds_of(&summaries[0])[0];
        assert!(seconds <= 1, "{seconds} s");
    }
    assert_eq!(count(&ledger, "two", HELD), 30);
    let row = &ledger.rows("one", "al-a000-opened")[0];
    assert!(
        row.error.starts_with("held by rule:login_drop (hd_"),
        "{}",
        row.error
    );
    assert!(row.body.contains("al-a000-opened"), "it keeps its body");
    assert_eq!(ledger.tripped(), ["rule:login_drop"]);
    sleep(MINUTE).await;
    assert_eq!(bench.metrics.held.with_label_values(&["login_drop"]).get(), 30);
    assert_eq!(
        bench.metrics.deliveries.with_label_values(&["one", HELD]).get(),
        30
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_told_before_goes_on_and_nobody_hears_of_the_end_of_what_was_held() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let bench = guarded(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    bench.engine.submit(arrivals(opened(0..15))).await.unwrap();
    position(&bench, 15).await;
    bench.engine.submit(from(15, opened(15..30))).await.unwrap();
    position(&bench, 30).await;
    assert_eq!(count(&ledger, "one", HELD), 15);
    // One that was told and one that was not get worse, and end.
    let worse = ["a000", "a015"].map(|account| alert(account, "escalated", ORIGIN + 1));
    bench.engine.submit(from(30, worse)).await.unwrap();
    position(&bench, 32).await;
    assert_eq!(count(&ledger, "one", HELD), 16);
    let mut ends = ended(0..1, 5);
    ends.extend(ended(15..17, 5));
    bench.engine.submit(from(32, ends)).await.unwrap();
    position(&bench, 35).await;
    until(&ledger, &bench, SUPPRESSED, 5).await;
    until(&ledger, &bench, DELIVERED, 15 + 2 + 1).await;
    assert_eq!(count(&ledger, "one", HELD), 13);
    let (alerts, summaries) = sent(&fake);
    assert_eq!((alerts.len(), summaries.len()), (17, 1));
    assert!(alerts.ends_with(&["al-a000-escalated".to_string(), "al-a000-resolved".to_string()]));
    let of_held: Vec<String> = ["opened", "escalated", "resolved"]
        .map(|change| {
            ledger
                .rows("one", &format!("al-a015-{change}"))
                .pop()
                .unwrap()
                .status
        })
        .to_vec();
    assert_eq!(of_held, [SUPPRESSED; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_opening_and_its_end_in_one_held_batch_are_over_at_once() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let bench = guarded(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    let mut changes = opened(0..25);
    changes.extend(ended(3..4, 5));
    bench.engine.submit(arrivals(changes)).await.unwrap();
    position(&bench, 26).await;
    assert_eq!(
        (count(&ledger, "one", HELD), count(&ledger, "one", SUPPRESSED)),
        (24, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_released_is_told_once_in_order_and_what_is_over_is_not() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let small = Limits {
        queue: 5,
        ..limits("one")
    };
    let bench = guarded(&ledger, &clock, vec![(small, fake.clone())]);
    let mut changes = opened(0..25);
    changes.push(alert("a003", "escalated", ORIGIN + 1));
    bench.engine.submit(arrivals(changes)).await.unwrap();
    position(&bench, 26).await;
    // This one's end is in the table of alerts, and the record of it has not come yet.
    ledger.end_episode("ep-a007");
    sleep(Duration::from_millis(1)).await;
    ledger.end_hold("rule:login_drop", HoldEnd::Released, clock.now());
    until(&ledger, &bench, DELIVERED, 24 + 1 + 1).await;
    let (mut alerts, summaries) = sent(&fake);
    assert_eq!((alerts.len(), summaries.len()), (25, 1));
    let place = |id: &str| alerts.iter().position(|sent| sent == id);
    assert!(place("al-a003-opened") < place("al-a003-escalated"));
    assert_eq!(place("al-a007-opened"), None);
    alerts.sort();
    alerts.dedup();
    assert_eq!(alerts.len(), 25, "each once");

    // Their ends are told, but that of the one that nobody was told of.
    bench.engine.submit(from(26, ended(0..25, 5))).await.unwrap();
    position(&bench, 51).await;
    until(&ledger, &bench, DELIVERED, 24 + 1 + 1 + 24).await;
    assert_eq!(count(&ledger, "one", SUPPRESSED), 2);
    // The counting has begun anew.
    bench.engine.submit(from(51, opened(100..119))).await.unwrap();
    position(&bench, 70).await;
    until(&ledger, &bench, DELIVERED, 50 + 19).await;
    bench.engine.submit(from(70, opened(119..120))).await.unwrap();
    position(&bench, 71).await;
    assert_eq!(count(&ledger, "one", HELD), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_never_told_nor_is_its_end() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let bench = guarded(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    bench.engine.submit(arrivals(opened(0..25))).await.unwrap();
    position(&bench, 25).await;
    ledger.end_hold("rule:login_drop", HoldEnd::Dropped, clock.now());
    until(&ledger, &bench, SUPPRESSED, 25).await;
    bench.engine.submit(from(25, ended(0..25, 5))).await.unwrap();
    position(&bench, 50).await;
    assert_eq!(count(&ledger, "one", SUPPRESSED), 50);
    assert_eq!(sent(&fake).0, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_kill_forgets_neither_the_hold_nor_its_summary() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let bench = guarded(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    bench.engine.submit(arrivals(opened(0..25))).await.unwrap();
    position(&bench, 25).await;
    // Killed before the summary could go: its row may be missing, too.
    drop(bench);
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let lanes = vec![(limits("one"), fake.clone()), (limits("late"), fake.clone())];
    let bench = guarded(&ledger, &clock, lanes);
    bench.engine.submit(arrivals(opened(0..26))).await.unwrap();
    position(&bench, 26).await;
    until(&ledger, &bench, DELIVERED, 1).await;
    assert_eq!(count(&ledger, "one", HELD), 26);
    assert_eq!(ledger.tripped().len(), 1, "it tripped once");
    let (alerts, summaries) = sent(&fake);
    assert_eq!(
        (alerts.len(), summaries.len()),
        (0, 1),
        "and no summary to a destination that came later"
    );

    // A release while no worker runs is carried out by the next.
    drop(bench);
    ledger.end_hold("rule:login_drop", HoldEnd::Released, clock.now());
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let bench = guarded(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    until(&ledger, &bench, DELIVERED, 27).await;
    assert_eq!(sent(&fake).0.len(), 26);
}

#[tokio::test(start_paused = true)]
async fn records_that_are_read_again_count_no_second_time() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = Fake::new(&clock, |_, _| at_once(200));
    let bench = guarded(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    for (n, account) in (0..19).enumerate() {
        bench
            .engine
            .submit(from(n as i64, opened(account..account + 1)))
            .await
            .unwrap();
    }
    position(&bench, 19).await;
    until(&ledger, &bench, DELIVERED, 19).await;
    drop(bench);
    // Two hours later all of the topic is read once more, by whatever mishap.
    sleep(120 * MINUTE).await;
    let bench = guarded(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    bench.engine.submit(arrivals(opened(0..20))).await.unwrap();
    position(&bench, 20).await;
    until(&ledger, &bench, DELIVERED, 20).await;
    assert_eq!(ledger.tripped(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_opened_before_a_start_counts_but_not_from_before_a_release() {
    let clock = Clock::of_tokio(ORIGIN);
    let opening = |n: usize| Opening {
        account_id: format!("told-{n}"),
        rule: "login_drop".into(),
        cause: String::new(),
        at: ORIGIN - 1_000,
    };
    for (released, expected) in [(false, HELD), (true, DELIVERED)] {
        let ledger = Memory::new();
        ledger.set_openings((0..19).map(opening).collect());
        if released {
            let hold = crate::summary::hold(
                crate::summary::Tripping {
                    name: "rule:login_drop",
                    held: &[&alert("old", "opened", ORIGIN)],
                    accounts: 20,
                    accounts_total: 20,
                    destinations: Vec::new(),
                    now: ORIGIN - 2_000,
                },
                &BreakerConfig::default(),
            );
            HoldLedger::save_hold(&ledger, &hold).await.unwrap();
            ledger.end_hold("rule:login_drop", HoldEnd::Released, ORIGIN - 500);
        }
        let fake = Fake::new(&clock, |_, _| at_once(200));
        let bench = guarded(&ledger, &clock, vec![(limits("one"), fake.clone())]);
        bench.engine.submit(arrivals(opened(0..1))).await.unwrap();
        position(&bench, 1).await;
        let status = ledger.rows("one", "al-a000-opened").pop().unwrap().status;
        assert_eq!(status, expected, "released: {released}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_replayed_is_delivered_under_its_id_within_seconds() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let mended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let fake = Fake::new(&clock, move |_, _| {
        at_once(if is_mended.load(Ordering::SeqCst) {
            200
        } else {
            410
        })
    });
    let bench = guarded(&ledger, &clock, vec![(limits("one"), fake.clone())]);
    bench.engine.submit(arrivals(opened(0..3))).await.unwrap();
    position(&bench, 3).await;
    assert_eq!(count(&ledger, "one", FAILED), 3);
    sleep(MINUTE).await;
    mended.store(true, Ordering::SeqCst);
    let asked_at = clock.now();
    for account in ["a000", "a001"] {
        ledger.replay("one", &format!("al-{account}-opened"), clock.now());
    }
    until(&ledger, &bench, DELIVERED, 2).await;
    assert!(clock.now() - asked_at < 3_000, "{} ms", clock.now() - asked_at);
    let rows = ledger.rows("one", "al-a001-opened");
    let attempts: Vec<(u32, &str)> = rows
        .iter()
        .map(|row| (row.attempt, row.status.as_str()))
        .collect();
    assert_eq!(attempts, [(1, FAILED), (2, RETRYING), (3, DELIVERED)]);
    assert_eq!(count(&ledger, "one", FAILED), 1, "the third was not asked for");
    // The destination is in use again.
    bench.engine.submit(from(3, opened(3..4))).await.unwrap();
    position(&bench, 4).await;
    assert_eq!(count(&ledger, "one", DELIVERED), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_costs_others_nothing_and_its_deliveries_few_attempts() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let now = clock.clone();
    let back = ORIGIN + 100_000;
    let fake = Fake::new(&clock, move |_, _| {
        at_once(if now.now() < back { 500 } else { 200 })
    });
    let breaks = Limits {
        circuit: CircuitLimits {
            failures: 5,
            ..limits("one").circuit
        },
        ..limits("one")
    };
    let bench = start(&ledger, &clock, vec![(breaks, fake.clone())]);
    bench.engine.submit(arrivals(opened(0..40))).await.unwrap();
    position(&bench, 40).await;
    assert_eq!(bench.metrics.circuit_open.with_label_values(&["one"]).get(), 1);
    until(&ledger, &bench, DELIVERED, 40).await;
    assert_eq!(bench.metrics.circuit_open.with_label_values(&["one"]).get(), 0);
    // Four at a time until the fifth failure, then a probe after 30 s and one after 60 more.
    let failed = fake.sent().len() - 40;
    assert!((5..=12).contains(&failed), "{failed} attempts failed");
    let seconds = (clock.now() - ORIGIN) / 1_000;
    assert!(
        seconds < 300,
        "{seconds} s: the probe after 210 s closes the circuit"
    );
}
