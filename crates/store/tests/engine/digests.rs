//! What waits for a digest and what one has taken in, and what became of an episode's changes.

use store::{DeliveryRow, DigestQuery, DigestedEpisode, EpisodeDelivery, Store};

use crate::harness::fresh;
use crate::rows::{MARCH, delivery};

/// The change of an episode that waits for a digest.
fn put_off(episode: &str, change: &str, severity: &str, at: i64) -> DeliveryRow {
    let alert = format!("{episode}-{change}");
    let timestamp = jiff::Timestamp::from_millisecond(MARCH + at).unwrap();
    let body = format!(
        r#"{{"timestamp":"{timestamp}","data":{{"account_id":"acme","alert_id":"{alert}","episode_id":"{episode}","change":"{change}","severity":"{severity}"}}}}"#
    );
    DeliveryRow {
        at: MARCH + at,
        body,
        episode_id: episode.to_string(),
        variant: "mail".to_string(),
        ..delivery(&alert, "cs-team", 0, "digest")
    }
}

/// The row that says that a digest has taken it in.
fn taken(row: &DeliveryRow, digest: &str) -> DeliveryRow {
    DeliveryRow {
        attempt: row.attempt + 1,
        status: "digested".to_string(),
        at: MARCH + 1_000_000,
        body: String::new(),
        reference: digest.to_string(),
        ..row.clone()
    }
}

fn query(digest: &str, before: i64) -> DigestQuery {
    DigestQuery {
        destination: "cs-team".to_string(),
        digest_id: digest.to_string(),
        before: MARCH + before,
        limit: 100,
    }
}

async fn awaiting(store: &Store, query: &DigestQuery) -> Vec<(String, u32)> {
    let rows = store.awaiting_digest(query).await.unwrap();
    rows.into_iter().map(|row| (row.alert_id, row.attempt)).collect()
}

#[tokio::test]
async fn a_digest_takes_what_came_before_it_and_what_no_other_one_tells_of() {
    let store = fresh("digests_awaiting").await;
    let (early, late) = (
        put_off("ep-early", "opened", "warning", 10),
        put_off("ep-late", "opened", "warning", 500),
    );
    let (told, orphan) = (
        put_off("ep-told", "opened", "warning", 1),
        put_off("ep-orphan", "opened", "warning", 2),
    );
    let elsewhere = DeliveryRow {
        destination: "pager".to_string(),
        ..put_off("ep-pager", "opened", "warning", 1)
    };
    let rows = [
        taken(&told, "dg_1"),
        taken(&orphan, "dg_2"),
        delivery("dg_1", "cs-team", 1, "delivered"),
        // A digest of that name at another destination is another one.
        delivery("dg_2", "pager", 1, "delivered"),
        delivery("a-1", "cs-team", 1, "retrying"),
        early.clone(),
        late,
        told,
        orphan.clone(),
        elsewhere,
    ];
    store.insert_deliveries("d", &rows).await.unwrap();
    let waiting = |names: &[(&str, u32)]| -> Vec<(String, u32)> {
        names
            .iter()
            .map(|(id, attempt)| (id.to_string(), *attempt))
            .collect()
    };
    assert_eq!(
        awaiting(&store, &query("dg_3", 500)).await,
        waiting(&[("ep-orphan-opened", 1), ("ep-early-opened", 0)])
    );
    assert_eq!(
        awaiting(&store, &query("dg_3", 501)).await,
        waiting(&[
            ("ep-orphan-opened", 1),
            ("ep-early-opened", 0),
            ("ep-late-opened", 0)
        ])
    );
    // The digest that died goes on: what it has taken is its own.
    assert_eq!(
        awaiting(&store, &query("dg_2", 500)).await,
        waiting(&[("ep-early-opened", 0)])
    );
    let first = DigestQuery {
        limit: 1,
        ..query("dg_3", 500)
    };
    assert_eq!(awaiting(&store, &first).await.len(), 1);
    let rows = store.awaiting_digest(&query("dg_2", 500)).await.unwrap();
    assert_eq!(
        (rows[0].episode_id.as_str(), rows[0].variant.as_str()),
        ("ep-early", "mail")
    );

    // Two have never been taken in by a digest.
    assert_eq!(store.count_awaiting_digest("cs-team").await.unwrap(), 2);
    assert_eq!(store.count_awaiting_digest("pager").await.unwrap(), 1);
    assert_eq!(store.count_awaiting_digest("nobody").await.unwrap(), 0);
    store
        .insert_deliveries("e", &[taken(&early, "dg_3")])
        .await
        .unwrap();
    assert_eq!(store.count_awaiting_digest("cs-team").await.unwrap(), 1);
}

#[tokio::test]
async fn a_digest_tells_of_episodes_the_open_ones_first() {
    let store = fresh("digests_episodes").await;
    let members = [
        put_off("ep-warning", "opened", "warning", 50),
        put_off("ep-critical", "opened", "critical", 10),
        put_off("ep-worse", "opened", "warning", 20),
        put_off("ep-worse", "escalated", "critical", 40),
        // Ended: one that an earlier digest told of, one that came and went since.
        put_off("ep-ended", "resolved", "critical", 60),
        put_off("ep-passed", "opened", "critical", 30),
        put_off("ep-passed", "retracted", "critical", 31),
    ];
    let mut rows = members.to_vec();
    rows.extend(members.iter().map(|row| taken(row, "dg_1")));
    let other = put_off("ep-other", "opened", "critical", 5);
    rows.extend([other.clone(), taken(&other, "dg_0")]);
    // Carried over into a later digest.
    let moved = put_off("ep-moved", "opened", "critical", 5);
    let moved_on = DeliveryRow {
        attempt: 2,
        ..taken(&moved, "dg_2")
    };
    rows.extend([moved.clone(), taken(&moved, "dg_1"), moved_on]);
    store.insert_deliveries("d", &rows).await.unwrap();

    let found = store.digested_episodes("cs-team", "dg_1", 10).await.unwrap();
    let told = |row: &DeliveryRow, state| DigestedEpisode {
        body: row.body.clone(),
        state,
        episodes: 5,
        open: 3,
        passed: 1,
    };
    assert_eq!(
        found,
        [
            told(&members[3], 0),
            told(&members[1], 0),
            told(&members[0], 0),
            told(&members[4], 1),
            told(&members[6], 2),
        ]
    );
    assert_eq!(
        store.digested_episodes("cs-team", "dg_1", 2).await.unwrap(),
        found[..2]
    );
    assert_eq!(store.digested_episodes("pager", "dg_1", 2).await.unwrap(), []);
}

#[tokio::test]
async fn an_episode_is_known_by_the_newest_rows_about_its_changes() {
    let store = fresh("episode_deliveries").await;
    let of = |alert: &str, destination: &str, attempt, status: &str, version| DeliveryRow {
        episode_id: "ep-1".to_string(),
        variant: "call".to_string(),
        version,
        ..delivery(alert, destination, attempt, status)
    };
    let rows = [
        of("a-1", "cs-team", 0, "retrying", 1),
        of("a-1", "cs-team", 1, "delivered", 1),
        of("a-1", "pager", 0, "digest", 9),
        of("a-1", "pager", 0, "shadow", 8),
        of("a-2", "", 0, "suppressed", 1),
        DeliveryRow {
            episode_id: "ep-2".to_string(),
            ..delivery("a-3", "cs-team", 1, "failed")
        },
    ];
    for row in &rows {
        store
            .insert_deliveries(&format!("{row:?}"), std::slice::from_ref(row))
            .await
            .unwrap();
    }
    let asked = ["ep-1", "ep-9"].map(str::to_string);
    let row = |alert: &str, destination: &str, status: &str| EpisodeDelivery {
        episode_id: "ep-1".to_string(),
        alert_id: alert.to_string(),
        destination: destination.to_string(),
        status: status.to_string(),
        variant: "call".to_string(),
    };
    assert_eq!(
        store.episode_deliveries(&asked).await.unwrap(),
        [
            row("a-1", "cs-team", "delivered"),
            row("a-1", "pager", "digest"),
            row("a-2", "", "suppressed"),
        ]
    );
    assert_eq!(store.episode_deliveries(&[]).await.unwrap(), []);
}
