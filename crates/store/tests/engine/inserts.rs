use std::time::Duration;

use store::{ClickHouseConfig, Error, Store};

use crate::harness::{client, empty, fresh, metrics};
use crate::rows::{MARCH, event, scores};

#[tokio::test]
async fn a_batch_that_is_sent_again_with_its_token_is_dropped_by_the_table() {
    let store = fresh("insert_token").await;
    let rows = [event("acme", "e-1", 1), event("acme", "e-2", 2)];
    for _ in 0..3 {
        store.insert_events("batch-1", &rows).await.unwrap();
    }
    let counted: u64 = client("insert_token")
        .query("SELECT count() FROM events")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(counted, 2);
}

#[tokio::test]
async fn no_rows_ask_nothing_of_the_server() {
    let config = ClickHouseConfig {
        url: "http://127.0.0.1:1".to_string(),
        ..ClickHouseConfig::default()
    };
    let store = Store::new(config, metrics());
    store.insert_events("none", &[]).await.unwrap();
}

#[tokio::test]
async fn a_table_that_is_missing_is_an_error_and_not_a_wait() {
    let store = empty("insert_missing").await;
    let rows = [event("acme", "e-1", 1)];
    let asked = store.insert_events("batch-1", &rows);
    let answered = tokio::time::timeout(Duration::from_secs(20), asked).await;
    let error = answered.expect("an answer").unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(error.to_string().contains("insert into events"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named_with_its_address() {
    let config = ClickHouseConfig {
        url: "http://127.0.0.1:1".to_string(),
        ..ClickHouseConfig::default()
    };
    let error = Store::new(config, metrics()).ping().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_server_that_answers_is_alive_before_its_database_is_there() {
    let store = empty("insert_ping").await;
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_score_row_comes_back_as_it_was_written() {
    let store = fresh("insert_scores").await;
    let row = scores("acme", MARCH, 7);
    store
        .insert_evaluations("e", &[], std::slice::from_ref(&row))
        .await
        .unwrap();
    assert_eq!(store.latest_scores("acme").await.unwrap(), Some(row));
    assert_eq!(store.latest_scores("nobody").await.unwrap(), None);
}
