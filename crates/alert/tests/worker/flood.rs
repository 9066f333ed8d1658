//! A flood, a kill and somebody's word, between the real engines.

use std::collections::BTreeSet;
use std::time::Duration;

use alert::{BreakerConfig, Config};
use store::HoldEnd;

use crate::bed::{AT, Bed, alert, destination};
use crate::receiver::Receiver;

fn accounts(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("account-{n:02}")).collect()
}

#[tokio::test]
async fn a_flood_becomes_one_summary_and_is_told_once_when_it_is_released() {
    let bed = Bed::new("flood").await;
    let mut receiver = Receiver::start(0, 0).await;
    let few = BreakerConfig {
        min_accounts: 10,
        ..BreakerConfig::default()
    };
    let worker = bed
        .worker_with(Config {
            destinations: vec![destination(receiver.port)],
            breaker: few.clone(),
            ..Config::default()
        })
        .await;
    let opened: Vec<_> = accounts(0..40)
        .iter()
        .map(|account| alert(account, "opened", 0))
        .collect();
    bed.produce(&opened).await;
    // However the records came in batches: the first few are told, then the summary.
    while !receiver.ids().iter().any(|id| id.starts_with("hd_")) {
        receiver.wait_for(receiver.received.len() + 1).await;
    }
    let told: BTreeSet<String> = receiver
        .ids()
        .into_iter()
        .filter(|id| !id.starts_with("hd_"))
        .collect();
    assert!(told.len() < 10, "{told:?}");
    bed.wait_for_status(40 - told.len(), "held").await;
    let summary = receiver
        .received
        .iter()
        .find(|webhook| webhook["body"]["type"] == "alerts.held")
        .unwrap();
    assert_eq!(summary["body"]["data"]["rule"], "login_drop");
    worker.kill().await;

    // Still held, and what was told before the trip is told to its end.
    let worker = bed
        .worker_with(Config {
            destinations: vec![destination(receiver.port)],
            breaker: few,
            ..Config::default()
        })
        .await;
    let of = |id: &str| {
        id.trim_start_matches("al-")
            .trim_end_matches("-opened")
            .to_string()
    };
    let first_held = accounts(0..40)
        .into_iter()
        .find(|account| !told.contains(&format!("al-{account}-opened")))
        .unwrap();
    let mut ends = vec![alert(&first_held, "resolved", 1_000)];
    ends.extend(told.iter().map(|id| alert(&of(id), "resolved", 1_000)));
    ends.push(alert("late", "opened", 2_000));
    bed.produce(&ends).await;
    bed.wait_for_status(40 - told.len(), "held").await;
    receiver.wait_for(2 * told.len() + 1).await;
    let ids = receiver.during(Duration::from_millis(500)).await;
    assert_eq!(ids.len(), 2 * told.len() + 1, "nothing else: {ids:?}");

    let ended = bed
        .store
        .end_holds("rule:login_drop", HoldEnd::Released, AT)
        .await
        .unwrap();
    assert_eq!(ended.len(), 1);
    // All but the one whose episode is over; and the late one.
    let expected = 2 * told.len() + 1 + (40 - told.len());
    receiver.wait_for(expected).await;
    let ids = receiver.during(Duration::from_secs(1)).await;
    let once: BTreeSet<&String> = ids.iter().collect();
    assert_eq!((ids.len(), once.len()), (expected, expected), "each once");
    assert!(!ids.contains(&format!("al-{first_held}-opened")));
    assert!(ids.contains(&"al-late-opened".to_string()));
    assert_eq!(bed.store.held_counts(None).await.unwrap(), []);
    worker.stop().await;
}

#[tokio::test]
async fn a_dead_letter_is_replayed_by_the_worker_that_runs() {
    let bed = Bed::new("dead").await;
    // Signed by another secret than the receiver's: refused for good.
    let mut receiver = Receiver::start(0, 0).await;
    let mut wrong = destination(receiver.port);
    wrong.secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
    let worker = bed.worker(vec![wrong]).await;
    bed.produce(&[alert("acme", "opened", 0)]).await;
    bed.wait_for(1, "failed").await;
    worker.stop().await;

    let worker = bed.worker(vec![destination(receiver.port)]).await;
    let ids = ["al-acme-opened".to_string()];
    let replayed = bed.store.replay(&ids, None, AT).await.unwrap();
    assert!(replayed[0].outcome.is_under_way());
    assert_eq!(receiver.wait_for(1).await, ids);
    bed.wait_for(1, "delivered").await;
    let again = bed.store.replay(&ids, None, AT).await.unwrap();
    assert_eq!(again[0].outcome, store::Replay::Delivered);
    worker.stop().await;
}
