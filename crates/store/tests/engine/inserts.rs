use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use store::{ClickHouseConfig, Error, EventRow, Store};
use tokio::net::TcpListener;

use crate::faulty::{Fault, faulty, serve};
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

/// A store that may write until it has been asked `times` times.
fn fenced_after(store: &Store, times: u32) -> Store {
    let asked = AtomicU32::new(0);
    store.fenced_by(Arc::new(move || asked.fetch_add(1, Ordering::Relaxed) < times))
}

async fn count_events(name: &str) -> u64 {
    let count = client(name).query("SELECT count() FROM events");
    count.fetch_one().await.unwrap()
}

#[tokio::test]
async fn a_writer_that_lost_its_right_writes_nothing_not_even_what_it_has_begun() {
    let store = fresh("insert_fenced").await;
    let rows = [event("acme", "e-1", 1)];
    for times in [0, 1] {
        let error = fenced_after(&store, times).insert_events("zombie", &rows).await;
        assert!(matches!(error, Err(Error::Fenced { .. })), "{error:?}");
    }
    assert_eq!(count_events("insert_fenced").await, 0);
    // Others of the same origin go on.
    store.insert_events("owner", &rows).await.unwrap();
    assert_eq!(count_events("insert_fenced").await, 1);
}

#[tokio::test]
async fn a_writer_that_waits_for_the_server_stops_waiting_once_it_lost_its_right() {
    let config = ClickHouseConfig {
        url: "http://127.0.0.1:1".to_string(),
        retry_seconds: 0.01,
        ..ClickHouseConfig::default()
    };
    let store = fenced_after(&Store::new(config, metrics()), 4);
    let insert = store.insert_events("waits", &[event("acme", "e-1", 1)]).await;
    assert!(matches!(insert, Err(Error::Fenced { .. })), "{insert:?}");
}

#[tokio::test]
async fn an_insert_is_done_when_the_server_says_so_and_not_before() {
    let faults = [
        (
            "refused_500",
            Fault::Answer("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "disk_full",
            Fault::Answer(
                "HTTP/1.1 500 Internal Server Error\r\nx-clickhouse-exception-code: 243\r\n\
                 content-length: 42\r\n\r\nCode: 243. DB::Exception: not enough space",
            ),
        ),
        (
            "exception_in_200",
            Fault::Answer(
                "HTTP/1.1 200 OK\r\nx-clickhouse-exception-code: 241\r\ncontent-length: 41\r\n\r\n\
                 Code: 241. DB::Exception: too much memory",
            ),
        ),
        (
            "exception_text_in_200",
            Fault::Answer(
                "HTTP/1.1 200 OK\r\ncontent-length: 76\r\n\r\n\
                 Code: 241. DB::Exception: too much memory (version 26.3.1 (official build))\n",
            ),
        ),
        (
            "cut_200",
            Fault::Answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
        ),
        ("cut_head", Fault::Answer("HTTP/1.1 200 OK\r\nx-click")),
        ("hang", Fault::Hang),
        ("drop_answer", Fault::DropAnswer),
        ("cut_answer", Fault::CutAnswer(1)),
        ("cut_answer_in_its_head", Fault::CutAnswer(120)),
    ];
    fresh("insert_answers").await;
    let mut inserted = 0;
    for (name, fault) in faults {
        let (store, asked) = faulty("insert_answers", &[fault, fault]).await;
        let rows = [event("acme", name, 1), event("other", name, 2)];
        let done = tokio::time::timeout(Duration::from_secs(20), store.insert_events(name, &rows)).await;
        done.unwrap_or_else(|_| panic!("{name} has no end")).unwrap();
        inserted += 2;
        assert_eq!(count_events("insert_answers").await, inserted, "{name}");
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 3, "{name}: {asked:?}");
        assert!(asked.iter().all(|one| *one == asked[0]), "{name}: {asked:?}");
    }
}

#[tokio::test]
async fn what_inserts_rest_on_cannot_be_set_otherwise() {
    fresh("insert_settings").await;
    let settings = [
        ("async_insert", "1"),
        ("insert_deduplicate", "0"),
        ("log_comment", "mine"),
    ];
    let config = ClickHouseConfig {
        settings: settings.map(|(name, value)| (name.into(), value.into())).into(),
        ..crate::harness::config("insert_settings")
    };
    let (through, asked) = faulty("insert_settings", &[]).await;
    let store = Store::new(config, metrics()).at(through.url());
    for _ in 0..2 {
        store
            .insert_events("batch", &[event("acme", "e-1", 1)])
            .await
            .unwrap();
    }
    let asked = asked.lock().unwrap().clone();
    for wanted in [
        "async_insert=0",
        "insert_deduplicate=1",
        "log_comment=mine",
        "max_execution_time=10",
    ] {
        assert!(asked[0].contains(wanted), "{wanted} in {}", asked[0]);
    }
    assert!(!asked[0].contains("async_insert=1"), "{}", asked[0]);
    assert_eq!(count_events("insert_settings").await, 1);
}

#[tokio::test]
async fn events_of_several_months_are_inserted_month_by_month() {
    fresh("insert_months").await;
    let (store, asked) = faulty("insert_months", &[Fault::DropAnswer]).await;
    let at = |id: &str, day: i64| EventRow {
        occurred_at: MARCH + day * 86_400_000,
        ..event("acme", id, day + 100)
    };
    let rows = [
        at("e-1", 40),
        at("e-2", 0),
        at("e-3", 41),
        at("e-4", -1),
        at("e-5", 1),
    ];
    store.insert_events("batch", &rows).await.unwrap();
    let tokens: Vec<String> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|head| {
            let (_, rest) = head.split_once("insert_deduplication_token=").unwrap();
            rest.split(['&', ' ']).next().unwrap().to_string()
        })
        .collect();
    let first = &tokens[0];
    assert_eq!(
        tokens.len(),
        4,
        "three months, and one that was sent again: {tokens:?}"
    );
    assert_eq!(first, &tokens[1]);
    assert!(tokens.is_sorted(), "{tokens:?}");
    assert_eq!(count_events("insert_months").await, 5);
}

#[tokio::test]
async fn a_row_that_reached_its_table_but_not_its_views_reaches_them_with_the_next_attempt() {
    let store = fresh("insert_views").await;
    let row = scores("acme", MARCH, 7);
    let insert = || store.insert_evaluations("e", &[], std::slice::from_ref(&row));
    insert().await.unwrap();
    let outside = client("insert_views");
    // As if the server had ended between the table and the view that feeds the newest rows.
    outside
        .query("TRUNCATE TABLE scores_newest")
        .execute()
        .await
        .unwrap();
    assert_eq!(store.latest_scores("acme").await.unwrap(), None);
    insert().await.unwrap();
    assert_eq!(store.latest_scores("acme").await.unwrap(), Some(row));
    let count = outside.query("SELECT count() FROM scores_versions");
    assert_eq!(count.fetch_one::<u64>().await.unwrap(), 1);
}

#[tokio::test]
async fn an_attempt_that_nobody_waits_for_is_under_way_until_its_deadline() {
    fresh("insert_ended").await;
    let (store, asked) = faulty("insert_ended", &[Fault::Hang]).await;
    let worker = store.fenced_by(Arc::new(|| true));
    let rows = [event("acme", "e-1", 1)];
    tokio::select! {
        done = worker.insert_events("batch", &rows) => panic!("nobody answered, and yet: {done:?}"),
        () = wait_until("the server is asked", || !asked.lock().unwrap().is_empty()) => {}
    }
    store.inserts_ended().await;
    let early = tokio::time::timeout(Duration::from_millis(300), worker.inserts_ended()).await;
    assert!(early.is_err(), "the server may still take it");
    let ended = tokio::time::timeout(Duration::from_secs(10), worker.inserts_ended()).await;
    ended.expect("it ends with its deadline, which is a second");
}

/// A store whose deadlines and pauses are far off, and that notices soon when its server is back.
fn patient(name: &str, address: SocketAddr) -> Store {
    let config = ClickHouseConfig {
        url: format!("http://{address}"),
        insert_timeout_seconds: 60,
        retry_seconds: 60.0,
        retry_max_seconds: 60.0,
        sign_of_life_seconds: 0.2,
        ..crate::harness::config(name)
    };
    Store::new(config, metrics())
}

#[tokio::test]
async fn a_server_that_is_back_is_asked_again_at_once() {
    fresh("insert_returns").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let store = patient("insert_returns", address);
    let waits = store.clone();
    let insert = tokio::spawn(async move { waits.insert_events("batch", &[event("acme", "e-1", 1)]).await });
    wait_until("the store says that it waits", || store.waiting().is_some()).await;
    let waiting = store.waiting().unwrap();
    assert_eq!(waiting.action, "insert into events");
    serve(TcpListener::bind(address).await.unwrap());
    let done = tokio::time::timeout(Duration::from_secs(10), insert).await;
    done.expect("it does not wait for its pause to end")
        .unwrap()
        .unwrap();
    assert_eq!(store.waiting(), None);
    assert_eq!(count_events("insert_returns").await, 1);
}

#[tokio::test]
async fn what_a_server_owes_from_before_it_was_away_is_not_waited_for() {
    fresh("insert_owed").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = patient("insert_owed", listener.local_addr().unwrap());
    let waits = store.clone();
    let insert = tokio::spawn(async move { waits.insert_events("batch", &[event("acme", "e-1", 1)]).await });
    // The insert, and the question whether anybody is there; both stay open and are never answered.
    let never_answered = (listener.accept().await.unwrap(), listener.accept().await.unwrap());
    wait_until("the store says that it waits", || store.waiting().is_some()).await;
    serve(listener);
    let done = tokio::time::timeout(Duration::from_secs(10), insert).await;
    done.expect("it does not wait for its deadline").unwrap().unwrap();
    assert_eq!(count_events("insert_owed").await, 1);
    drop(never_answered);
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
