//! The digest of a day, through kills.

use std::collections::BTreeMap;
use std::time::Duration;

use alert::{Config, DigestConfig, RouteConfig, When, WorkHoursConfig};
use serde_json::json;
use store::DeliveryRow;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::bed::{AT, Bed, PATIENCE, alert, destination};
use crate::receiver::Receiver;

#[allow(
    clippy::disallowed_methods,
    reason = "the worker under test goes by the clock on the wall"
)]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Everything goes into a digest that is due every day at the time which it is in so many seconds.
fn in_digest(port: u16, seconds: i64) -> Config {
    let at = now() + jiff::SignedDuration::from_secs(seconds);
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).time();
    Config {
        destinations: vec![destination(port)],
        routes: vec![RouteConfig {
            destinations: vec!["cs-team".into()],
            when: When::Digest,
            ..RouteConfig::default()
        }],
        work_hours: WorkHoursConfig {
            days: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
                .map(str::to_string)
                .to_vec(),
            ..WorkHoursConfig::default()
        },
        digest: DigestConfig {
            at: format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()),
            ..DigestConfig::default()
        },
        ..Config::default()
    }
}

/// The newest status of each delivery, once `holds` says yes to them.
async fn statuses(bed: &Bed, holds: impl Fn(&BTreeMap<String, String>) -> bool) -> BTreeMap<String, String> {
    let reached = async {
        loop {
            let newest = bed.newest().await;
            if holds(&newest) {
                return newest;
            }
        }
    };
    match timeout(PATIENCE, reached).await {
        Ok(newest) => newest,
        Err(_) => panic!("{:#?}", bed.newest().await),
    }
}

fn digest_of(newest: &BTreeMap<String, String>) -> Option<(&String, &String)> {
    newest.iter().find(|(id, _)| id.starts_with("dg_"))
}

#[tokio::test]
async fn a_digest_survives_kills_and_comes_once() {
    let bed = Bed::new("digest").await;
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);

    let worker = bed.worker_with(in_digest(port, 3_600)).await;
    bed.produce(&[
        alert("acme", "opened", 0),
        alert("beta", "opened", 0),
        alert("gamma", "opened", 0),
        alert("acme", "resolved", 60_000),
    ])
    .await;
    statuses(&bed, |newest| {
        newest.len() == 4 && newest.values().all(|status| status == "digest")
    })
    .await;
    worker.kill().await;

    // A worker died after it had begun a digest, which was never made.
    let left = DeliveryRow {
        alert_id: "al-beta-opened".into(),
        destination: "cs-team".into(),
        attempt: 1,
        status: "digested".into(),
        http_status: None,
        at: AT,
        duration_ms: 0,
        error: String::new(),
        next_attempt_at: None,
        body: String::new(),
        episode_id: "ep-beta".into(),
        variant: String::new(),
        reference: "dg_left".into(),
        version: 1,
    };
    bed.store.insert_deliveries("left", &[left]).await.unwrap();

    // The receiver is away when the digest is due, and the worker dies again.
    let config = in_digest(port, 2);
    let worker = bed.worker_with(config.clone()).await;
    statuses(&bed, |newest| {
        digest_of(newest).is_some_and(|(_, status)| status == "retrying")
    })
    .await;
    worker.kill().await;

    let mut receiver = Receiver::start(port, 0).await;
    let worker = bed.worker_with(config).await;
    let ids = receiver.wait_for(1).await;
    assert!(ids[0].starts_with("dg_"), "{ids:?}");
    let body = &receiver.received[0]["body"];
    assert_eq!(body["type"], "alerts.digest");
    let count = ["count", "open", "passed", "listed"].map(|name| body["data"][name].clone());
    assert_eq!(count, [3, 2, 1, 2].map(|count| json!(count)));
    assert_eq!(
        body["data"]["alert_ids"],
        json!(["al-beta-opened", "al-gamma-opened"])
    );
    let newest = statuses(&bed, |newest| {
        digest_of(newest).is_some_and(|(_, status)| status == "delivered")
    })
    .await;
    assert_eq!(newest.len(), 5);
    let members = newest.iter().filter(|(id, _)| id.starts_with("al-"));
    assert!(
        members.clone().all(|(_, status)| status == "digested"),
        "{newest:?}"
    );
    worker.stop().await;
    assert_eq!(
        receiver.during(Duration::from_secs(1)).await.len(),
        1,
        "it came once"
    );
}
