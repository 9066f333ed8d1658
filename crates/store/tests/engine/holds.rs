use store::{DeliveryRow, HeldCount, HoldEnd, HoldRow, Owned, Store};

use crate::harness::fresh;
use crate::rows::{MARCH, account, alert, delivery};

fn hold(id: &str, name: &str, since: i64) -> HoldRow {
    HoldRow {
        hold_id: id.to_string(),
        name: name.to_string(),
        status: "tripped".to_string(),
        since,
        at: since,
        accounts: 41,
        accounts_total: 200,
        destinations: vec!["cs-team".to_string(), "pager".to_string()],
        summary: r#"{"type":"alerts.held"}"#.to_string(),
        version: since as u64,
    }
}

fn held(account: &str, destination: &str, attempt: u32, status: &str, hold: &HoldRow) -> DeliveryRow {
    DeliveryRow {
        error: hold.reason(),
        body: format!(r#"{{"data":{{"account_id":"{account}","rule":"inactive"}}}}"#),
        episode_id: format!("ep-{account}"),
        ..delivery(&format!("al-{account}"), destination, attempt, status)
    }
}

fn every() -> Owned {
    Owned {
        partitions: (0..4).collect(),
        partition_count: 4,
    }
}

async fn waiting(store: &Store, hold: &HoldRow, owned: &Owned, limit: u32) -> Vec<(String, String)> {
    let found = store.held_deliveries(&hold.reason(), owned, limit).await.unwrap();
    found
        .into_iter()
        .map(|state| (state.alert_id, state.destination))
        .collect()
}

#[tokio::test]
async fn a_hold_ends_once_and_each_change_of_it_is_a_request() {
    let store = fresh("holds").await;
    let (old, new) = (
        hold("h-1", "rule:inactive", MARCH),
        hold("h-2", "rule:inactive", MARCH + 9),
    );
    let other = hold("h-3", "cause:usage_trend", MARCH + 5);
    for hold in [&old, &new, &other] {
        store.save_hold(hold).await.unwrap();
    }
    assert_eq!(
        store.holds().await.unwrap(),
        [new.clone(), other.clone(), old.clone()]
    );

    // A clock that is behind ends it, too.
    let ended = store
        .end_holds("rule:inactive", HoldEnd::Released, MARCH - 50)
        .await
        .unwrap();
    let told: Vec<(&str, &str, i64)> = ended
        .iter()
        .map(|hold| (hold.hold_id.as_str(), hold.status.as_str(), hold.at))
        .collect();
    assert_eq!(
        told,
        [("h-2", "released", MARCH - 50), ("h-1", "released", MARCH - 50)]
    );
    assert_eq!(
        store
            .end_holds("rule:inactive", HoldEnd::Dropped, MARCH)
            .await
            .unwrap(),
        []
    );
    let left: Vec<String> = store
        .holds()
        .await
        .unwrap()
        .into_iter()
        .filter(HoldRow::is_tripped)
        .map(|hold| hold.hold_id)
        .collect();
    assert_eq!(left, ["h-3"]);
    let requests = store.requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].what.as_str(), requests[0].count), ("holds", 5));
}

#[tokio::test]
async fn what_waits_under_a_hold_is_told_to_the_worker_that_owns_the_account() {
    let store = fresh("held").await;
    let (rule, cause) = (
        hold("h-1", "rule:inactive", MARCH),
        hold("h-2", "cause:usage_trend", MARCH),
    );
    let rows = [
        held("acme", "cs-team", 0, "held", &rule),
        held("acme", "pager", 0, "held", &rule),
        held("beta", "cs-team", 0, "held", &rule),
        held("gamma", "cs-team", 0, "held", &cause),
        // Was held, and is not any more.
        held("delta", "cs-team", 0, "held", &rule),
        held("delta", "cs-team", 1, "retrying", &rule),
    ];
    store.insert_deliveries("d", &rows).await.unwrap();
    let pair = |alert: &str, destination: &str| (alert.to_string(), destination.to_string());
    assert_eq!(
        waiting(&store, &rule, &every(), 10).await,
        [
            pair("al-acme", "cs-team"),
            pair("al-acme", "pager"),
            pair("al-beta", "cs-team")
        ]
    );
    assert_eq!(
        waiting(&store, &rule, &every(), 1).await,
        [pair("al-acme", "cs-team")]
    );
    assert_eq!(
        waiting(&store, &cause, &every(), 10).await,
        [pair("al-gamma", "cs-team")]
    );

    let counted = |alerts, accounts, hold: &HoldRow| HeldCount {
        reason: hold.reason(),
        rule: "inactive".to_string(),
        alerts,
        accounts,
    };
    let all = store.held_counts(None).await.unwrap();
    assert_eq!(all, [counted(1, 1, &cause), counted(2, 2, &rule)]);
    let mut alerts = 0;
    for partition in 0..4 {
        let owned = Owned {
            partitions: vec![partition],
            partition_count: 4,
        };
        let counts = store.held_counts(Some(&owned)).await.unwrap();
        alerts += counts.iter().map(|count| count.alerts).sum::<u64>();
        let of_partition = waiting(&store, &rule, &owned, 10).await.len();
        let told = counts.iter().any(|count| count.reason == rule.reason());
        assert_eq!(told, of_partition > 0, "partition {partition}");
    }
    assert_eq!(alerts, 3, "each account in one partition");
}

#[tokio::test]
async fn the_accounts_of_partitions_and_those_in_trouble_are_known() {
    let store = fresh("held_accounts").await;
    let accounts: Vec<_> = (0..50)
        .flat_map(|n| [account(&format!("a-{n}"), 1), account(&format!("a-{n}"), 2)])
        .collect();
    store.insert_accounts("a", &accounts).await.unwrap();
    assert_eq!(store.accounts_of(&every()).await.unwrap(), 50);
    let mut parts = 0;
    for partition in 0..4 {
        let owned = Owned {
            partitions: vec![partition],
            partition_count: 4,
        };
        let of_partition = store.accounts_of(&owned).await.unwrap();
        assert!(of_partition < 50);
        parts += of_partition;
    }
    assert_eq!(parts, 50);

    let opening = |account: &str, id: &str, at: i64, input: &str, change: &str| {
        let mut row = alert(account, id, 1);
        row.at = MARCH + at;
        row.change = change.to_string();
        row.payload = format!(r#"{{"drivers":[{{"input":"{input}"}},{{"input":"other"}}]}}"#);
        row
    };
    let mut without = opening("beta", "b-1", 20, "", "opened");
    without.payload = r#"{"drivers":[]}"#.to_string();
    let rows = [
        opening("acme", "a-0", 0, "usage_trend", "opened"),
        opening("acme", "a-1", 10, "usage_trend", "opened"),
        opening("acme", "a-2", 30, "usage_trend", "resolved"),
        without,
    ];
    store.insert_alerts("a", &rows).await.unwrap();
    let openings = store.openings_after(MARCH, &every()).await.unwrap();
    let told: Vec<(&str, &str, &str, i64)> = openings
        .iter()
        .map(|opening| {
            (
                opening.account_id.as_str(),
                opening.rule.as_str(),
                opening.cause.as_str(),
                opening.at - MARCH,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("beta", "inactive", "", 20),
            ("acme", "inactive", "usage_trend", 10)
        ]
    );
    let nobody = Owned {
        partitions: vec![],
        partition_count: 4,
    };
    assert_eq!(store.openings_after(MARCH, &nobody).await.unwrap(), []);

    let over = store
        .ended_episodes(
            &["acme".into(), "beta".into()],
            &["episode".into(), "other".into()],
        )
        .await
        .unwrap();
    assert_eq!(over, ["episode"]);
    assert!(
        store
            .ended_episodes(&["beta".into()], &["episode".into()])
            .await
            .unwrap()
            .is_empty()
    );
}
