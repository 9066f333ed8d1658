//! What a rebuild asks of the tables and does to them.

use store::{Checkpoint, EventRow, Layout, Rebuild, StateRow};

use crate::harness::{client, fresh};
use crate::rows::{DAY, MARCH, alert, daily, event, scores};

/// Accounts whose murmur2 hashes Kafka's own tests publish, with those hashes, the sign cut off as its
/// partitioner does.
const HASHED: [(&str, i64); 5] = [
    ("21", -973_932_308 & 0x7fff_ffff),
    ("foobar", -790_332_482 & 0x7fff_ffff),
    ("a-little-bit-long-string", -985_981_536 & 0x7fff_ffff),
    ("a-little-bit-longer-string", -1_486_304_829 & 0x7fff_ffff),
    (
        "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
        -58_897_971 & 0x7fff_ffff,
    ),
];

fn partition(account: &str, partitions: i64) -> i32 {
    let (_, hash) = HASHED.iter().find(|(known, _)| *known == account).unwrap();
    (hash % partitions) as i32
}

fn at(account: &str, id: &str, partition: i32, offset: i64) -> EventRow {
    EventRow {
        kafka_partition: partition,
        kafka_offset: offset,
        ..event(account, id, offset)
    }
}

async fn places(store: &str) -> Vec<(String, i32, i64)> {
    client(store)
        .query("SELECT account_id, kafka_partition, kafka_offset FROM events FINAL ORDER BY account_id, event_id")
        .fetch_all()
        .await
        .unwrap()
}

fn state(partition: i32, account: &str, version: u64) -> StateRow {
    StateRow {
        partition,
        account_id: account.to_string(),
        version,
        offset: 1,
        state: vec![version as u8],
        saved_at: MARCH,
    }
}

#[tokio::test]
async fn accounts_have_the_partitions_that_kafka_gives_them() {
    let store = fresh("rebuild_partitions").await;
    let rows = HASHED.map(|(account, _)| event(account, "e", 1));
    store.insert_events("a", &rows).await.unwrap();
    let accounts: Vec<String> = HASHED.iter().map(|(account, _)| account.to_string()).collect();
    for partitions in [1, 7, 16, 24] {
        let next_offsets = vec![10; partitions];
        for extent in store.account_extents(&accounts, &next_offsets).await.unwrap() {
            assert_eq!(
                extent.partition,
                partition(&extent.account_id, partitions as i64),
                "{} of {partitions}",
                extent.account_id
            );
        }
    }
}

#[tokio::test]
async fn events_that_the_log_does_not_hold_are_detached_and_others_are_not_touched() {
    let store = fresh("rebuild_detach").await;
    let home = partition("foobar", 16);
    let rows = [
        at("foobar", "a-kept", home, 4),
        at("foobar", "b-cut off", home, 5),
        at("foobar", "c-elsewhere", home + 1, 0),
        at("foobar", "d-detached before", -1, -1),
        at("foobar", "e-of a partition that is gone", 40, 0),
    ];
    store.insert_events("a", &rows).await.unwrap();
    let mut limits = vec![100; 16];
    limits[home as usize] = 5;
    let layout = Layout {
        partitions: 16,
        limits,
    };
    assert_eq!(store.count_out_of_place(&layout).await.unwrap(), 3);
    store.detach_events(&layout).await.unwrap();
    assert_eq!(store.count_out_of_place(&layout).await.unwrap(), 0);
    let gone = ("foobar".to_string(), -1, -1);
    let mut expected = vec![("foobar".to_string(), home, 4)];
    expected.extend(std::iter::repeat_n(gone, 4));
    assert_eq!(places("rebuild_detach").await, expected);
    // Wherever the partition is cut, what is detached is folded.
    let extents = store.account_extents(&["foobar".to_string()], &[0; 16]).await;
    assert_eq!(extents.unwrap()[0].partition, home);
    let until = store.folded_until(&[0; 16]).await.unwrap();
    assert_eq!(until[home as usize], MARCH + 5, "b-cut off happened then");
    assert!(until.iter().filter(|until| **until > 0).count() == 1, "{until:?}");
}

#[tokio::test]
async fn events_are_picked_from_all_over_a_stretch_of_the_log() {
    let store = fresh("rebuild_spread").await;
    let rows: Vec<EventRow> = (0..100)
        .map(|offset| at("acme", &format!("e{offset}"), 2, offset))
        .chain([at("acme", "other", 3, 50)])
        .collect();
    store.insert_events("a", &rows).await.unwrap();
    let picked = store.events_spread(2, 10, 90, 4).await.unwrap();
    let offsets: Vec<i64> = picked.iter().map(|event| event.kafka_offset).collect();
    assert_eq!(offsets, [29, 49, 69, 89]);
    assert_eq!(picked[0].event_id, "e29");
    assert_eq!(picked[0].account_id, "acme");
    assert_eq!(store.events_spread(2, 95, 1_000, 4).await.unwrap().len(), 1);
    assert_eq!(store.events_spread(9, 0, 1_000, 4).await.unwrap().len(), 0);
    assert_eq!(store.count_landed(2, 10, 90).await.unwrap(), 80);
}

#[tokio::test]
async fn accounts_come_in_order_and_only_what_is_folded_counts() {
    let store = fresh("rebuild_accounts").await;
    let ids: Vec<String> = (0..250).map(|n| format!("a-{n:03}")).collect();
    let rows: Vec<EventRow> = ids
        .iter()
        .flat_map(|id| [at(id, "first", -1, -1), at(id, "second", -1, -1)])
        .collect();
    store.insert_events("a", &rows).await.unwrap();
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = store.accounts_of_events(&after, 100).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.clone();
        found.extend(page);
    }
    assert_eq!(found, ids);
    let extent = store.extent().await.unwrap();
    assert_eq!((extent.accounts, extent.events), (250, 500));

    let home = partition("foobar", 16);
    let rows = [at("foobar", "x", home, 7), at("foobar", "y", home, 9)];
    store.insert_events("b", &rows).await.unwrap();
    let foobar = ["foobar".to_string()];
    let mut cuts = vec![0; 16];
    assert_eq!(store.account_extents(&foobar, &cuts).await.unwrap(), []);
    cuts[home as usize] = 8;
    let extents = store.account_extents(&foobar, &cuts).await.unwrap();
    assert_eq!(extents[0].first_at, MARCH + 7);
}

#[tokio::test]
async fn the_newest_state_counts_and_older_ones_can_be_removed() {
    let store = fresh("rebuild_states").await;
    let rows = [
        state(1, "acme", 5),
        state(9, "acme", 8),
        state(1, "beta", 5),
        state(2, "gone", 3),
    ];
    store.insert_states("a", &rows).await.unwrap();
    let asked = ["acme".to_string(), "beta".to_string(), "nobody".to_string()];
    let found = store.newest_states(&asked).await.unwrap();
    let found: Vec<(&str, u64)> = found
        .iter()
        .map(|state| (state.account_id.as_str(), state.version))
        .collect();
    assert_eq!(found, [("acme", 8), ("beta", 5)]);
    assert_eq!(store.newest_version().await.unwrap(), 8);
    store.remove_states_before(5).await.unwrap();
    let counts = store.count_states(10).await.unwrap();
    assert_eq!((counts[1], counts[2], counts[9]), (2, 0, 1));
}

#[tokio::test]
async fn checkpoints_of_partitions_that_are_no_more_go() {
    let store = fresh("rebuild_checkpoints").await;
    let checkpoint = |partition: i32, version: u64| Checkpoint {
        partition,
        version,
        next_offset: 7,
        watermark: MARCH,
        partitions: 24,
        saved_at: MARCH,
        accounts: 3,
    };
    let rows = [checkpoint(15, 1), checkpoint(15, 2), checkpoint(16, 1)];
    store.insert_checkpoints("a", &rows).await.unwrap();
    assert_eq!(store.newest_version().await.unwrap(), 2);
    store.remove_checkpoints_from(16).await.unwrap();
    assert_eq!(store.checkpoints().await.unwrap(), [checkpoint(15, 2)]);
}

#[tokio::test]
async fn a_rebuild_is_unfinished_until_it_says_otherwise() {
    let store = fresh("rebuild_record").await;
    assert_eq!(store.unfinished_rebuild().await.unwrap(), None);
    let mut first = Rebuild {
        started_at: MARCH,
        version: 1,
        model_hash: "m".to_string(),
        since: Some(MARCH - DAY),
        partitions: 16,
        ..Rebuild::default()
    };
    store.save_rebuild("1", &first).await.unwrap();
    first.version = 2;
    first.next_offsets = vec![1, 2];
    first.done_until = "acme".to_string();
    store.save_rebuild("2", &first).await.unwrap();
    assert_eq!(store.unfinished_rebuild().await.unwrap(), Some(first.clone()));
    // One that is begun anew takes its place.
    let mut second = Rebuild {
        started_at: MARCH + 1,
        ..first
    };
    store.save_rebuild("3", &second).await.unwrap();
    second.version = 3;
    second.finished_at = Some(MARCH + 2);
    store.save_rebuild("4", &second).await.unwrap();
    assert_eq!(store.unfinished_rebuild().await.unwrap(), None);
    assert_eq!(store.newest_rebuild().await.unwrap(), Some(second));
}

#[tokio::test]
async fn what_was_told_and_which_days_have_rows_is_read_by_account() {
    let store = fresh("rebuild_told").await;
    let mut opened = alert("acme", "al-1", 1);
    opened.change = "opened".to_string();
    opened.payload = r#"{"opened_at":"2026-02-01T03:00:00Z"}"#.to_string();
    let mut resolved = alert("acme", "al-2", 1);
    resolved.change = "resolved".to_string();
    resolved.at = opened.at + 5;
    resolved.payload = "{}".to_string();
    store
        .insert_alerts("a", &[resolved, opened, alert("other", "al-3", 1)])
        .await
        .unwrap();
    let told = store.told_changes(&["acme".to_string()]).await.unwrap();
    let told: Vec<(&str, Option<i64>)> = told
        .iter()
        .map(|change| (change.change.as_str(), change.opened_at))
        .collect();
    assert_eq!(
        told,
        [
            ("opened", Some(MARCH - 28 * DAY + 3 * 3_600_000)),
            ("resolved", None)
        ]
    );

    let mut empty = daily("acme", 20_001, 2);
    empty.events = 0;
    let rows = [daily("acme", 20_000, 1), daily("acme", 20_001, 1), empty];
    store.insert_daily("a", &rows).await.unwrap();
    let days = store.stored_days(&["acme".to_string()]).await.unwrap();
    assert_eq!(days.len(), 1);
    assert_eq!(days[0].day, 20_000);

    let statement = EventRow {
        r#type: "account".to_string(),
        ..event("acme", "s", 1)
    };
    store
        .insert_events("a", &[statement, event("acme", "f", 2)])
        .await
        .unwrap();
    let said = store.account_statements(&["acme".to_string()]).await.unwrap();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].event_id, "s");

    // Rows of any table count for the newest version.
    let row = scores("acme", MARCH, 77);
    store.insert_evaluations("a", &[], &[row]).await.unwrap();
    assert_eq!(store.newest_version().await.unwrap(), 77);
}
