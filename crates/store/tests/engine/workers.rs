use std::collections::BTreeSet;

use store::{Checkpoint, StateRow};

use crate::harness::fresh;
use crate::rows::{MARCH, alert, delivery, event};

fn checkpoint(partition: i32, version: u64, next_offset: i64) -> Checkpoint {
    Checkpoint {
        partition,
        version,
        next_offset,
        watermark: MARCH,
        partitions: 16,
        saved_at: MARCH + version as i64,
        accounts: 2,
    }
}

fn state(partition: i32, account: &str, version: u64, state: &[u8]) -> StateRow {
    StateRow {
        partition,
        account_id: account.to_string(),
        version,
        offset: 10 * version as i64,
        state: state.to_vec(),
        saved_at: MARCH,
    }
}

#[tokio::test]
async fn the_newest_checkpoint_of_a_partition_wins_in_whatever_order_they_were_written() {
    let store = fresh("checkpoints").await;
    assert_eq!(store.checkpoint(3).await.unwrap(), None);
    assert_eq!(store.checkpointed_partitions().await.unwrap(), None);
    store.insert_checkpoint(&checkpoint(3, 9, 900)).await.unwrap();
    store.insert_checkpoint(&checkpoint(3, 4, 400)).await.unwrap();
    store.insert_checkpoint(&checkpoint(5, 1, 100)).await.unwrap();
    assert_eq!(store.checkpoint(3).await.unwrap(), Some(checkpoint(3, 9, 900)));
    assert_eq!(store.checkpoint(5).await.unwrap(), Some(checkpoint(5, 1, 100)));
    assert_eq!(store.checkpointed_partitions().await.unwrap(), Some(16));
}

#[tokio::test]
async fn states_come_back_byte_by_byte_with_the_newest_of_each_account() {
    let store = fresh("states").await;
    let bytes: Vec<u8> = (0..=255).collect();
    let old = state(3, "acme", 1, b"old");
    let new = state(3, "acme", 2, &bytes);
    let other = state(3, "beta", 1, b"");
    let elsewhere = state(4, "gamma", 1, b"x");
    store
        .insert_states("s-2", &[new.clone(), other.clone()])
        .await
        .unwrap();
    store.insert_states("s-1", &[old, elsewhere]).await.unwrap();

    let mut found = store.states(3).await.unwrap();
    found.sort_by(|a, b| a.account_id.cmp(&b.account_id));
    assert_eq!(found, [new, other]);
    assert_eq!(store.states(9).await.unwrap(), []);
}

#[tokio::test]
async fn the_offsets_that_landed_are_told_once_and_in_order() {
    let store = fresh("landed").await;
    let rows: Vec<_> = [7, 5, 9]
        .map(|offset| event("acme", &format!("e-{offset}"), offset))
        .to_vec();
    store.insert_events("a", &rows).await.unwrap();
    store.insert_events("b", &rows[..2]).await.unwrap();
    assert_eq!(store.landed_offsets(3, 6).await.unwrap(), [7, 9]);
    assert_eq!(store.landed_offsets(4, 0).await.unwrap(), Vec::<i64>::new());
}

#[tokio::test]
async fn an_event_is_seen_only_under_its_own_account() {
    let store = fresh("seen").await;
    let awkward = r"e-'\ ?見";
    let rows = [
        event("acme", awkward, 1),
        event("beta", "e-2", 2),
        event("acme", "e-3", 3),
    ];
    store.insert_events("a", &rows).await.unwrap();

    let pairs = [
        ("acme", awkward),
        ("acme", "e-2"),
        ("beta", "e-2"),
        ("acme", "e-9"),
    ]
    .map(|(account, id)| (account.to_string(), id.to_string()));
    let seen = store.seen_events(&pairs).await.unwrap();
    let wanted: BTreeSet<_> = pairs.iter().cloned().collect();
    let found: BTreeSet<(String, String)> = seen
        .iter()
        .map(|event| (event.account_id.clone(), event.event_id.clone()))
        .filter(|pair| wanted.contains(pair))
        .collect();
    let expected = [pairs[0].clone(), pairs[2].clone()];
    assert_eq!(found, expected.into_iter().collect());
    let first = seen.iter().find(|event| event.event_id == awkward).unwrap();
    assert_eq!((first.kafka_partition, first.kafka_offset), (3, 1));
    assert_eq!(store.seen_events(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_lookup_of_very_many_late_events_is_cut_into_queries_that_the_server_takes() {
    let store = fresh("seen_many").await;
    let rows: Vec<_> = (0..12_000)
        .map(|n| event("acme", &format!("{n:0128}"), n))
        .collect();
    store.insert_events("a", &rows).await.unwrap();
    let pairs: Vec<(String, String)> = (0..12_000)
        .step_by(2)
        .map(|n| ("acme".to_string(), format!("{n:0128}")))
        .collect();
    assert_eq!(store.seen_events(&pairs).await.unwrap().len(), 6_000);
}

#[tokio::test]
async fn only_deliveries_whose_last_attempt_is_to_be_repeated_are_pending() {
    let store = fresh("pending").await;
    let rows = [
        delivery("a-1", "cs-team", 1, "retrying"),
        delivery("a-1", "cs-team", 2, "retrying"),
        delivery("a-1", "pager", 1, "delivered"),
        delivery("a-2", "cs-team", 1, "retrying"),
        delivery("a-2", "cs-team", 2, "delivered"),
        delivery("a-3", "cs-team", 1, "retrying"),
        delivery("a-3", "cs-team", 2, "failed"),
        delivery("a-4", "cs-team", 1, "retrying"),
    ];
    store.insert_deliveries("d", &rows).await.unwrap();
    store.insert_deliveries("d-again", &rows).await.unwrap();

    let pending = store.pending_deliveries().await.unwrap();
    let found: Vec<(&str, u32, i64)> = pending
        .iter()
        .map(|row| (row.alert_id.as_str(), row.attempt, row.next_attempt_at))
        .collect();
    assert_eq!(found, [("a-4", 1, MARCH + 60_000), ("a-1", 2, MARCH + 120_000)]);
    assert_eq!(pending[0].destination, "cs-team");
    assert_eq!(pending[0].body, r#"{"type":"test"}"#);
}

#[tokio::test]
async fn an_attempt_is_known_by_its_destination() {
    let store = fresh("attempted").await;
    let rows = [
        delivery("a-1", "cs-team", 1, "retrying"),
        delivery("a-1", "cs-team", 2, "delivered"),
        delivery("a-2", "pager", 1, "failed"),
    ];
    store.insert_deliveries("d", &rows).await.unwrap();
    let asked = ["a-1", "a-2", "a-3"].map(String::from);
    assert_eq!(store.attempted("cs-team", &asked).await.unwrap(), ["a-1"]);
    assert_eq!(store.attempted("pager", &asked).await.unwrap(), ["a-2"]);
    assert_eq!(
        store.attempted("cs-team", &[]).await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn the_first_name_that_a_receiver_gave_to_an_episode_is_known() {
    let store = fresh("reference").await;
    let named = |alert: &str, destination: &str, at: i64, reference: &str| store::DeliveryRow {
        at: MARCH + at,
        episode_id: "ep-1".to_string(),
        reference: reference.to_string(),
        ..delivery(alert, destination, 1, "delivered")
    };
    let rows = [
        named("a-2", "channel", 2_000, "20.2"),
        named("a-1", "channel", 1_000, "20.1"),
        named("a-0", "channel", 0, ""),
        named("a-1", "other", 0, "7"),
    ];
    store.insert_deliveries("d", &rows).await.unwrap();
    let found = |destination: &'static str, episode: &'static str| {
        let store = store.clone();
        async move { store.delivery_reference(destination, episode).await.unwrap() }
    };
    assert_eq!(found("channel", "ep-1").await.as_deref(), Some("20.1"));
    assert_eq!(found("other", "ep-1").await.as_deref(), Some("7"));
    assert_eq!(found("channel", "ep-2").await, None);
    assert_eq!(found("nobody", "ep-1").await, None);
}

#[tokio::test]
async fn alerts_come_newest_first_of_one_account_or_of_all() {
    let store = fresh("alerts_recent").await;
    let mut later = alert("acme", "a-2", 1);
    later.at += 1_000;
    later.change = "resolved".to_string();
    let rows = [alert("acme", "a-1", 1), later.clone(), alert("beta", "b-1", 1)];
    store.insert_alerts("a", &rows).await.unwrap();
    store.insert_alerts("a-again", &rows).await.unwrap();

    let of_acme = store.recent_alerts(Some("acme"), 10).await.unwrap();
    assert_eq!(of_acme, [later.clone(), rows[0].clone()]);
    let all = store.recent_alerts(None, 2).await.unwrap();
    assert_eq!(all, [later, rows[0].clone()]);
}
