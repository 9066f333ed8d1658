//! Alerts from the topic to the receiver, through stops, kills and moves.

use std::collections::BTreeMap;
use std::time::Duration;

use alert::Destination;
use serde_json::json;
use tokio::net::TcpListener;

use crate::bed::{Bed, alert, destination};
use crate::receiver::{Receiver, SECRET};

#[tokio::test]
async fn another_implementation_verifies_what_the_worker_sends() {
    let bed = Bed::new("verifies").await;
    let mut receiver = Receiver::start(0, 2).await;
    let worker = bed.worker(vec![destination(receiver.port)]).await;
    bed.produce(&[alert("acme", "opened", 0)]).await;
    receiver.wait_for(1).await;
    bed.produce_bytes("acme", b"\xff not a message").await;
    bed.produce(&[alert("acme", "resolved", 60_000)]).await;
    receiver.wait_for(2).await;

    let first = &receiver.received[0];
    assert_eq!(first["id"], "al-acme-opened");
    assert_eq!(first["headers"]["content-type"], "application/json");
    assert_eq!(
        first["body"],
        json!({
            "type": "account.at_risk.opened", "timestamp": "2026-11-22T01:02:03Z",
            "data": {
                "account_id": "acme", "alert_id": "al-acme-opened", "episode_id": "ep-acme",
                "rule": "login_drop", "severity": "critical", "change": "opened",
                "reason": "logins fell by half", "reason_ja": "ログインが半減しました", "health": 31.5,
                "drivers": [{"input": "logins_7d", "points": -12.25}],
            },
        })
    );
    assert_eq!(receiver.received[1]["body"]["type"], "account.at_risk.resolved");
    assert_eq!(receiver.received[1]["body"]["timestamp"], "2026-11-22T01:03:03Z");
    bed.wait_for(2, "delivered").await;
    let row = |alert: &str, attempt, status: &str, http| {
        (alert.to_string(), attempt, status.to_string(), Some(http))
    };
    assert_eq!(
        bed.deliveries().await,
        [
            row("al-acme-opened", 1, "retrying", 500),
            row("al-acme-opened", 2, "retrying", 500),
            row("al-acme-opened", 3, "delivered", 204),
            row("al-acme-resolved", 1, "delivered", 204),
        ]
    );
    assert_eq!(worker.counter("mimamori_deliveries_total"), 4.0);
    assert_eq!(worker.counter("mimamori_alerts_undecodable_total"), 1.0);

    // What is committed is not read again, and what is read again is known.
    let took = worker.stop().await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    let worker = bed.worker(vec![destination(receiver.port)]).await;
    bed.produce(&[alert("acme", "opened", 0), alert("beta", "opened", 0)])
        .await;
    let ids = receiver.wait_for(3).await;
    assert_eq!(ids, ["al-acme-opened", "al-acme-resolved", "al-beta-opened"]);
    worker.stop().await;
}

#[tokio::test]
async fn a_signature_of_another_secret_is_refused() {
    let bed = Bed::new("refused").await;
    let receiver = Receiver::start(0, 0).await;
    let mut wrong = destination(receiver.port);
    wrong.secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
    let worker = bed.worker(vec![wrong]).await;
    bed.produce(&[alert("acme", "opened", 0)]).await;
    bed.wait_for(1, "failed").await;
    assert_eq!(bed.deliveries().await[0].3, Some(400));
    worker.stop().await;
}

#[tokio::test]
async fn while_a_secret_changes_either_of_both_is_enough_for_a_receiver() {
    const NEXT: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let bed = Bed::new("rotation").await;
    let mut late = Receiver::start(0, 0).await;
    let mut early = Receiver::knowing(NEXT, 0, 0).await;
    let rotating = |name: &str, port| Destination {
        name: name.into(),
        secret: NEXT.into(),
        previous_secret: SECRET.into(),
        ..destination(port)
    };
    let worker = bed
        .worker(vec![rotating("late", late.port), rotating("early", early.port)])
        .await;
    bed.produce(&[alert("acme", "opened", 0)]).await;
    for receiver in [&mut late, &mut early] {
        assert_eq!(receiver.wait_for(1).await, ["al-acme-opened"]);
        let signatures = receiver.received[0]["headers"]["webhook-signature"]
            .as_str()
            .unwrap();
        assert_eq!(signatures.split(' ').count(), 2);
    }
    worker.stop().await;
}

#[tokio::test]
async fn what_waits_survives_a_kill_and_keeps_its_order() {
    let bed = Bed::new("kill").await;
    // A port that nobody listens on until the receiver takes it.
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let worker = bed.worker(vec![destination(port)]).await;
    let mut changes = Vec::new();
    for n in 0..20 {
        changes.push(alert(&format!("account-{n}"), "opened", n));
        changes.push(alert(&format!("account-{n}"), "resolved", 1_000 + n));
    }
    bed.produce(&changes).await;
    // Each open has been tried; their resolves wait.
    bed.wait_for(20, "retrying").await;
    worker.kill().await;

    let mut receiver = Receiver::start(port, 3).await;
    let worker = bed.worker(vec![destination(port)]).await;
    let ids = receiver.wait_for(40).await;
    assert_eq!(
        receiver.during(Duration::from_secs(1)).await.len(),
        40,
        "nothing comes twice"
    );
    let place: BTreeMap<&str, usize> = ids.iter().enumerate().map(|(n, id)| (id.as_str(), n)).collect();
    assert_eq!(place.len(), 40);
    for n in 0..20 {
        let of = |change: &str| place[format!("al-account-{n}-{change}").as_str()];
        assert!(of("opened") < of("resolved"), "account {n}");
    }
    bed.wait_for(40, "delivered").await;
    worker.stop().await;
}

#[tokio::test]
async fn workers_of_one_group_share_the_deliveries_and_take_over_from_each_other() {
    let bed = Bed::new("group").await;
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let first = bed.worker(vec![destination(port)]).await;
    let second = bed.worker(vec![destination(port)]).await;
    let changes: Vec<_> = (0..40)
        .map(|n| alert(&format!("account-{n}"), "opened", n))
        .collect();
    bed.produce(&changes).await;
    bed.wait_for(40, "retrying").await;
    // A stop says in what state everything is; the other one goes on from there.
    let took = first.stop().await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    let mut receiver = Receiver::start(port, 0).await;
    let mut ids = receiver.wait_for(40).await;
    assert_eq!(
        receiver.during(Duration::from_secs(1)).await.len(),
        40,
        "nothing comes twice"
    );
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40);
    bed.wait_for(40, "delivered").await;
    second.stop().await;
}
