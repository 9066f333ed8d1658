//! A broker that is away or slow, and more at once than there is room for.

use std::time::Duration;

use api::{CollectorConfig, Config};
use embedded::kafka::{Fault, On};
use serde_json::json;

use crate::support::{bed_with, eventually, login, quick, read};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_200_that_the_broker_has_not_acknowledged() {
    let config = CollectorConfig {
        ack_timeout_ms: 700,
        ..quick()
    };
    let bed = bed_with(config, Config::default()).await;
    assert_eq!(bed.post_json("/v1/events", &login(0)).await.0, 200);
    bed.broker.faults().inject(On::Produce, Fault::Close, u32::MAX);
    let answer = bed
        .post("/v1/events")
        .body(login(1).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let (_, problem) = read(answer).await;
    assert_eq!(
        (&problem["accepted"], &problem["rejected"]),
        (&json!(0), &json!(0))
    );
    let bad = bed.post("/v1/events").body("nonsense").send().await.unwrap();
    assert_eq!(bad.status(), 503, "what is bad is answered for once it is kept");
    assert_eq!(bed.metric("mimamori_collector_events_total", "accepted"), 1.0);
    let ready = bed
        .client
        .get(format!("{}/readyz", bed.url))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 503);

    bed.broker.faults().clear();
    eventually("events after the outage", async || {
        bed.post_json("/v1/events", &login(2)).await.0 == 200
    })
    .await;
    let ids = bed.accepted_ids().await;
    assert!(ids.contains_key("e0") && ids.contains_key("e2"), "{ids:?}");
    eventually("readiness", async || {
        let ready = bed
            .client
            .get(format!("{}/readyz", bed.url))
            .send()
            .await
            .unwrap();
        ready.status() == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_at_once_is_refused_and_what_was_taken_is_there() {
    let config = CollectorConfig {
        max_batch_bytes: 20_000,
        max_import_bytes: 20_000,
        max_in_flight_bytes: 100_000,
        max_in_flight_records: 100,
        ..quick()
    };
    let bed = bed_with(config, Config::default()).await;
    // The broker takes its time, so that what comes meanwhile piles up.
    let slow = Fault::Delay(Duration::from_secs(2));
    bed.broker.faults().inject(On::Produce, slow, 4);
    let mut requests = tokio::task::JoinSet::new();
    for request in 0..60 {
        let events: Vec<_> = (0..10).map(|event| login(request * 10 + event)).collect();
        let sent = bed.post("/v1/events").body(json!(events).to_string()).send();
        requests.spawn(async move { (request, sent.await.unwrap().status().as_u16()) });
    }
    let (mut taken, mut refused) = (Vec::new(), 0);
    while let Some(answered) = requests.join_next().await {
        match answered.unwrap() {
            (request, 200) => taken.push(request),
            (_, 503) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        !taken.is_empty() && refused > 0,
        "{} taken, {refused} refused",
        taken.len()
    );
    let ids = bed.accepted_ids().await;
    for request in taken {
        for event in 0..10 {
            let id = format!("e{}", request * 10 + event);
            assert!(ids.contains_key(&id), "{id} was answered for");
        }
    }
    assert_eq!(
        bed.metric("mimamori_collector_refused_total", "overload"),
        f64::from(refused)
    );
    // All room is given back.
    eventually("room", async || {
        bed.post_json("/v1/events", &json!([login(0)])).await.0 == 200
    })
    .await;
}
