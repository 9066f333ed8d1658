use store::{DeadLetterQuery, DeliveryRow, Replay, Store, WaitingQuery};

use crate::harness::fresh;
use crate::rows::{MARCH, alert, delivery};

const NOW: i64 = MARCH + 3_600_000;

fn all() -> DeadLetterQuery {
    DeadLetterQuery {
        limit: 100,
        ..DeadLetterQuery::default()
    }
}

/// A delivery of `acme`, or of whom the alert's id begins with, that keeps its body.
fn row(alert: &str, destination: &str, attempt: u32, status: &str) -> DeliveryRow {
    let account = alert.split_once('-').map_or(alert, |(account, _)| account);
    let body = format!(
        r#"{{"timestamp":"2026-03-01T00:00:00Z","data":{{"account_id":"{account}","rule":"rule of {account}","episode_id":"ep-{account}","change":"opened"}}}}"#
    );
    DeliveryRow {
        error: "answered 500".to_string(),
        body: if status == "delivered" {
            String::new()
        } else {
            body
        },
        episode_id: format!("ep-{account}"),
        variant: "call".to_string(),
        reference: "1700.5".to_string(),
        ..delivery(alert, destination, attempt, status)
    }
}

async fn outcomes(store: &Store, alert_ids: &[&str]) -> Vec<(String, String, Replay)> {
    let ids: Vec<String> = alert_ids.iter().map(ToString::to_string).collect();
    let replayed = store.replay(&ids, None, NOW).await.unwrap();
    replayed
        .into_iter()
        .map(|delivery| (delivery.alert_id, delivery.destination, delivery.outcome))
        .collect()
}

#[tokio::test]
async fn what_was_given_up_is_listed_with_its_reason_and_by_any_filter() {
    let store = fresh("dead_list").await;
    let rows = [
        row("acme-1", "cs-team", 1, "retrying"),
        row("acme-1", "cs-team", 2, "failed"),
        row("acme-1", "pager", 1, "delivered"),
        row("beta-1", "pager", 3, "failed"),
        // Of an older version, which kept no bodies.
        DeliveryRow {
            body: String::new(),
            ..row("gamma-1", "pager", 4, "failed")
        },
        // Given up once, and delivered since.
        row("delta-1", "pager", 1, "failed"),
        row("delta-1", "pager", 2, "retrying"),
        row("delta-1", "pager", 3, "delivered"),
    ];
    store.insert_deliveries("d", &rows).await.unwrap();
    let (letters, total) = store.dead_letters(&all()).await.unwrap();
    let found: Vec<(&str, &str, u32, bool)> = letters
        .iter()
        .map(|letter| {
            (
                letter.alert_id.as_str(),
                letter.destination.as_str(),
                letter.attempt,
                letter.replayable,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("gamma-1", "pager", 4, false),
            ("beta-1", "pager", 3, true),
            ("acme-1", "cs-team", 2, true)
        ],
        "those given up last first"
    );
    assert_eq!(total, 3);
    let beta = &letters[1];
    assert_eq!(
        (beta.account_id.as_str(), beta.rule.as_str(), beta.change.as_str()),
        ("beta", "rule of beta", "opened")
    );
    assert_eq!((beta.error.as_str(), beta.at), ("answered 500", MARCH + 3));

    let some = |text: &str| Some(text.to_string());
    let of = async |query: DeadLetterQuery| -> Vec<String> {
        let (letters, total) = store.dead_letters(&query).await.unwrap();
        assert_eq!(letters.len() as u64, total);
        letters.into_iter().map(|letter| letter.alert_id).collect()
    };
    assert_eq!(
        of(DeadLetterQuery {
            destination: some("cs-team"),
            ..all()
        })
        .await,
        ["acme-1"]
    );
    assert_eq!(
        of(DeadLetterQuery {
            rule: some("rule of beta"),
            ..all()
        })
        .await,
        ["beta-1"]
    );
    assert_eq!(
        of(DeadLetterQuery {
            account_id: some("acme"),
            ..all()
        })
        .await,
        ["acme-1"]
    );
    assert_eq!(
        of(DeadLetterQuery {
            alert_id: some("gamma-1"),
            ..all()
        })
        .await,
        ["gamma-1"]
    );
    assert_eq!(
        of(DeadLetterQuery {
            since: Some(MARCH + 3),
            ..all()
        })
        .await,
        ["gamma-1", "beta-1"]
    );
    let (first, total) = store
        .dead_letters(&DeadLetterQuery { limit: 1, ..all() })
        .await
        .unwrap();
    assert_eq!((first.len(), total), (1, 3));

    let history = store.deliveries_of("acme-1").await.unwrap();
    assert_eq!(history, rows[..3]);
}

#[tokio::test]
async fn a_replay_waits_once_with_its_body_and_its_schedule_begins_anew() {
    let store = fresh("dead_replay").await;
    let rows = [
        row("acme-1", "cs-team", 10, "failed"),
        row("acme-1", "pager", 1, "delivered"),
    ];
    store.insert_deliveries("d", &rows).await.unwrap();
    let asked = outcomes(&store, &["acme-1", "unknown"]).await;
    let told = |destination: &str, outcome| ("acme-1".to_string(), destination.to_string(), outcome);
    assert_eq!(
        asked,
        [
            told("cs-team", Replay::Replayed),
            told("pager", Replay::Delivered)
        ]
    );
    let again = outcomes(&store, &["acme-1"]).await;
    assert_eq!(again[0], told("cs-team", Replay::Waiting));

    let history = store.deliveries_of("acme-1").await.unwrap();
    assert_eq!(history.len(), 3, "one row for both");
    let waits = &history[1];
    assert_eq!(
        (waits.attempt, waits.status.as_str(), waits.next_attempt_at),
        (11, "retrying", Some(NOW))
    );
    assert_eq!(
        (&waits.body, &waits.variant, &waits.reference),
        (&rows[0].body, &rows[0].variant, &rows[0].reference)
    );
    let query = WaitingQuery {
        destination: "cs-team".into(),
        partitions: vec![0],
        partition_count: 1,
        limit: 10,
    };
    let waiting = store.waiting_deliveries(&query).await.unwrap();
    assert_eq!((waiting[0].attempt, waiting[0].uncounted), (11, 11));
    store
        .insert_deliveries("tried", &[row("acme-1", "cs-team", 12, "retrying")])
        .await
        .unwrap();
    let waiting = store.waiting_deliveries(&query).await.unwrap();
    assert_eq!(
        (waiting[0].attempt, waiting[0].uncounted),
        (12, 11),
        "one has been made since"
    );

    let requests = store.requests().await.unwrap();
    let told: Vec<(&str, &str, u64)> = requests
        .iter()
        .map(|request| (request.what.as_str(), request.destination.as_str(), request.count))
        .collect();
    assert_eq!(told, [("replay", "cs-team", 2)]);
    assert!(requests[0].newest_at > MARCH);
}

#[tokio::test]
async fn what_would_be_taken_for_newer_than_it_is_is_not_replayed() {
    let store = fresh("dead_overtaken").await;
    let change = |account: &str, id: &str, change: &str, at| {
        let mut row = alert(account, id, 1);
        row.episode_id = format!("ep-{account}");
        row.change = change.to_string();
        row.at += at;
        row
    };
    let alerts = [
        change("acme", "acme-1", "opened", 0),
        // Of the same time: by what can only come after.
        change("acme", "acme-2", "resolved", 0),
        change("beta", "beta-1", "opened", 0),
        change("beta", "beta-2", "resolved", 9),
    ];
    store.insert_alerts("a", &alerts).await.unwrap();
    let rows = [
        row("acme-1", "cs-team", 3, "failed"),
        row("acme-2", "cs-team", 1, "delivered"),
        // Elsewhere both failed.
        row("acme-1", "pager", 3, "failed"),
        row("acme-2", "pager", 1, "failed"),
        // The opening went out, by a replay later than its end failed.
        row("beta-1", "cs-team", 9, "delivered"),
        row("beta-2", "cs-team", 1, "failed"),
        DeliveryRow {
            body: String::new(),
            ..row("gamma-1", "cs-team", 1, "failed")
        },
        row("delta-1", "cs-team", 0, "held"),
    ];
    store.insert_deliveries("d", &rows).await.unwrap();
    let asked = outcomes(&store, &["acme-1", "acme-2", "beta-2", "gamma-1", "delta-1"]).await;
    let told =
        |alert: &str, destination: &str, outcome| (alert.to_string(), destination.to_string(), outcome);
    assert_eq!(
        asked,
        [
            told("acme-1", "cs-team", Replay::Overtaken),
            told("acme-1", "pager", Replay::Replayed),
            told("acme-2", "cs-team", Replay::Delivered),
            told("acme-2", "pager", Replay::Replayed),
            told("beta-2", "cs-team", Replay::Replayed),
            told("delta-1", "cs-team", Replay::NotFailed),
            told("gamma-1", "cs-team", Replay::NoBody),
        ]
    );
}

#[tokio::test]
async fn all_that_a_filter_finds_is_replayed_however_much_it_is() {
    let store = fresh("dead_all").await;
    let mut rows: Vec<DeliveryRow> = (0..1_200)
        .map(|n| row(&format!("acme-{n:04}"), "cs-team", 2, "failed"))
        .collect();
    for row in rows.iter_mut().take(600) {
        // As many as fit one page stay where they are.
        row.body.clear();
    }
    rows.push(row("acme-1", "pager", 2, "failed"));
    store.insert_deliveries("d", &rows).await.unwrap();
    let query = DeadLetterQuery {
        destination: Some("cs-team".into()),
        limit: 1,
        ..DeadLetterQuery::default()
    };
    let replayed = store.replay_all(&query, NOW).await.unwrap();
    let count = |outcome| {
        replayed
            .iter()
            .filter(|delivery| delivery.outcome == outcome)
            .count()
    };
    assert_eq!(
        (replayed.len(), count(Replay::Replayed), count(Replay::NoBody)),
        (1_200, 600, 600)
    );
    let (left, total) = store.dead_letters(&all()).await.unwrap();
    assert_eq!((total, left.len()), (601, 100));
}
