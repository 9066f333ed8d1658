//! What ClickHouse says about waiting deliveries.

use serde_json::json;
use store::{DeliveryRow, WaitingQuery};

use crate::bed::{AT, alert, store, waiting_row};

fn row(account: &str, change: &str, at: i64, attempt: u32, due: i64) -> DeliveryRow {
    let told = alert(account, change, at);
    let timestamp = jiff::Timestamp::from_millisecond(told.at).unwrap();
    let body = json!({
        "type": format!("account.at_risk.{change}"),
        "timestamp": timestamp.to_string(),
        "data": {"account_id": account, "episode_id": told.episode_id, "change": change},
    });
    waiting_row(&told, body.to_string(), attempt, due)
}

fn all_of(partition_count: i32, limit: u32) -> WaitingQuery {
    WaitingQuery {
        destination: "cs-team".into(),
        partitions: (0..partition_count).collect(),
        partition_count,
        limit,
    }
}

#[tokio::test]
async fn an_account_waits_in_the_partition_that_its_key_leads_to() {
    let store = store("partitions").await;
    // Kafka's own vectors of murmur2, the sign cut off as its partitioner does.
    let vectors: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let rows: Vec<DeliveryRow> = vectors
        .iter()
        .map(|(account, _)| row(account, "opened", 0, 1, AT))
        .collect();
    store.insert_deliveries("rows", &rows).await.unwrap();
    for (account, hash) in vectors {
        let partition = (hash & 0x7fff_ffff) % 97;
        let query = WaitingQuery {
            partitions: vec![partition],
            ..all_of(97, 10)
        };
        let found = store.waiting_deliveries(&query).await.unwrap();
        let ids: Vec<&str> = found.iter().map(|delivery| delivery.alert_id.as_str()).collect();
        assert_eq!(ids, [format!("al-{account}-opened")]);
        assert_eq!(found[0].partition, partition);
    }
    let nothing = WaitingQuery {
        partitions: vec![],
        ..all_of(97, 10)
    };
    assert_eq!(store.waiting_deliveries(&nothing).await.unwrap(), []);
}

#[tokio::test]
async fn what_waits_comes_by_episode_and_within_one_in_order() {
    let store = store("order").await;
    let rows = [
        // Due late, and its resolve at once: that waits behind it.
        row("late", "opened", 0, 3, AT + 900_000),
        row("late", "resolved", 10, 0, AT + 10),
        // Of the same time: an escalation comes after its opening.
        row("soon", "escalated", 5, 0, AT + 5),
        row("soon", "opened", 5, 1, AT + 5_000),
        // Was tried again since, with success.
        row("done", "opened", 0, 1, AT),
        DeliveryRow {
            status: "delivered".into(),
            next_attempt_at: None,
            body: String::new(),
            ..row("done", "opened", 0, 2, AT)
        },
        DeliveryRow {
            destination: "other".into(),
            ..row("elsewhere", "opened", 0, 1, AT)
        },
    ];
    store.insert_deliveries("rows", &rows).await.unwrap();
    let found = store.waiting_deliveries(&all_of(4, 10)).await.unwrap();
    let told: Vec<(&str, u32, i64, i64)> = found
        .iter()
        .map(|delivery| {
            (
                delivery.alert_id.as_str(),
                delivery.attempt,
                delivery.next_attempt_at - AT,
                delivery.episode_due_at - AT,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("al-soon-opened", 1, 5_000, 5_000),
            ("al-soon-escalated", 0, 5, 5_000),
            ("al-late-opened", 3, 900_000, 900_000),
            ("al-late-resolved", 0, 10, 900_000),
        ]
    );
    assert_eq!(found[0].body, rows[3].body);
    let two = store.waiting_deliveries(&all_of(4, 2)).await.unwrap();
    assert_eq!(two, found[..2]);
}

#[tokio::test]
async fn a_summary_waits_with_the_account_of_its_first_example() {
    let store = store("summaries").await;
    let body = json!({
        "type": "alerts.held", "timestamp": "2026-11-22T01:02:03Z",
        "data": {"episode_id": "hd_1", "change": "held", "examples": [{"account_id": "foobar"}, {"account_id": "21"}]},
    });
    let mut summary = row("foobar", "opened", 0, 0, AT);
    summary.alert_id = "hd_1".into();
    summary.body = body.to_string();
    let alert = row("foobar", "opened", 0, 0, AT);
    store.insert_deliveries("rows", &[summary, alert]).await.unwrap();
    let found = store.waiting_deliveries(&all_of(97, 10)).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].partition, found[1].partition);
}
