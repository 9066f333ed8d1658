use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::Readiness;

use crate::engine;
use crate::support::{Running, body, local, nowhere, serve_when, store_at};

async fn asked(server: &Running) -> (u16, serde_json::Value) {
    let response = server.get("/readyz").send().await.unwrap();
    (response.status().as_u16(), body(response).await)
}

#[tokio::test]
async fn ready_is_when_every_check_and_the_database_say_so() {
    let assigned = Arc::new(AtomicBool::new(false));
    let seen = assigned.clone();
    let readiness = Readiness::new()
        .check("aggregate", || Ok(()))
        .check("ingest", move || {
            let ready = seen.load(Ordering::Relaxed);
            if ready {
                Ok(())
            } else {
                Err("no partition assigned yet".to_string())
            }
        });
    let server = serve_when(local(), store_at(&engine::url(), "mimamori"), readiness).await;

    let (status, told) = asked(&server).await;
    assert_eq!(status, 503);
    let expected = serde_json::json!({"ready": false, "checks": [
        {"name": "aggregate", "ok": true, "reason": null},
        {"name": "ingest", "ok": false, "reason": "no partition assigned yet"},
        {"name": "clickhouse", "ok": true, "reason": null},
    ]});
    assert_eq!(told, expected);

    assigned.store(true, Ordering::Relaxed);
    let (status, told) = asked(&server).await;
    assert_eq!((status, &told["ready"]), (200, &serde_json::json!(true)));
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_named_while_the_process_stays_alive() {
    let server = serve_when(local(), nowhere(), Readiness::new()).await;
    let (status, told) = asked(&server).await;
    assert_eq!(status, 503);
    assert_eq!(told["checks"][0]["name"], "clickhouse");
    assert_eq!(told["checks"][0]["reason"], "does not answer");
    assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
}
