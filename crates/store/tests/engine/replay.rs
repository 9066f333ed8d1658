use store::{EventRow, Store};

use crate::harness::{client, fresh};
use crate::rows::{DAY, MARCH, event};

fn at(account: &str, id: &str, occurred_at: i64, received_at: i64) -> EventRow {
    EventRow {
        occurred_at,
        received_at,
        ..event(account, id, 1)
    }
}

async fn history(store: &Store, accounts: &[&str], until: Option<i64>) -> Vec<(String, String)> {
    let accounts: Vec<String> = accounts.iter().map(|account| account.to_string()).collect();
    let mut events = store.account_events(&accounts, until);
    let mut found = Vec::new();
    while let Some(event) = events.next().await.unwrap() {
        found.push((event.account_id, event.event_id));
    }
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = expected.iter();
    owned
        .map(|(account, id)| (account.to_string(), id.to_string()))
        .collect()
}

#[tokio::test]
async fn a_history_comes_by_account_and_time_and_id_each_event_once() {
    let store = fresh("replay").await;
    let rows = [
        at("beta", "b", MARCH + 2, MARCH + 9),
        at("beta", "a", MARCH + 2, MARCH + 9),
        // A sender whose clock is ahead: it happened when it was received.
        at("beta", "ahead", MARCH + 90, MARCH + 1),
        at("acme", "late", MARCH - 60 * DAY, MARCH + 50),
        at("acme", "z", MARCH, MARCH),
        at("other", "x", MARCH, MARCH),
    ];
    store.insert_events("a", &rows).await.unwrap();
    store.insert_events("again", &rows).await.unwrap();
    assert_eq!(
        history(&store, &["beta", "acme", "beta", "nobody"], None).await,
        pairs(&[
            ("acme", "late"),
            ("acme", "z"),
            ("beta", "ahead"),
            ("beta", "a"),
            ("beta", "b")
        ])
    );
    assert_eq!(
        history(&store, &["acme", "beta"], Some(MARCH + 1)).await,
        pairs(&[("acme", "z"), ("beta", "ahead")]),
        "what was not received by then is not known then"
    );
    assert_eq!(history(&store, &[], None).await, []);

    let mut events = store.account_events(&["other".to_string()], None);
    let found = events.next().await.unwrap().unwrap();
    assert_eq!((found.kafka_offset, found.user_id.as_str()), (1, "u-1"));
    assert_eq!(
        (found.r#type.as_str(), found.name.as_str()),
        ("feature", "report.export")
    );
    assert_eq!(found.properties, event("other", "x", 1).properties);
}

#[tokio::test]
async fn a_history_of_more_accounts_than_one_query_takes_is_whole_and_in_order() {
    let store = fresh("replay_many").await;
    let accounts: Vec<String> = (0..120).map(|number| format!("account-{number:03}")).collect();
    let rows: Vec<EventRow> = accounts
        .iter()
        .flat_map(|account| {
            [
                at(account, "2", MARCH + 2, MARCH + 2),
                at(account, "1", MARCH + 1, MARCH + 1),
            ]
        })
        .collect();
    store.insert_events("a", &rows).await.unwrap();
    let asked: Vec<&str> = accounts.iter().rev().map(String::as_str).collect();
    let found = history(&store, &asked, None).await;
    let expected: Vec<(String, String)> = accounts
        .iter()
        .flat_map(|account| ["1", "2"].map(|id| (account.clone(), id.to_string())))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_history_that_cannot_be_read_is_an_error_and_not_its_end() {
    let store = fresh("replay_broken").await;
    client("replay_broken")
        .query("DROP TABLE events SYNC")
        .execute()
        .await
        .unwrap();
    let mut events = store.account_events(&["acme".to_string()], None);
    let error = events.next().await.unwrap_err();
    assert!(error.to_string().contains("read the history"), "{error}");
}
