//! Which alerts are open, and what people did about them.

use store::AlertRow;

use crate::harness::fresh;
use crate::rows::{MARCH, alert, event};

fn change(account: &str, rule: &str, episode: &str, change: &str, minute: i64) -> AlertRow {
    AlertRow {
        episode_id: episode.to_string(),
        rule: rule.to_string(),
        change: change.to_string(),
        severity: if change == "escalated" {
            "critical"
        } else {
            "warning"
        }
        .to_string(),
        at: MARCH + minute * 60_000,
        reason: format!("{change} {minute}"),
        ..alert(account, &format!("{episode}-{change}"), 1)
    }
}

#[tokio::test]
async fn an_episode_is_open_until_it_ends_or_its_rule_opens_another() {
    let store = fresh("episodes_open").await;
    // It was found in a history, and told when the present was reached.
    let mut found_late = change("beta", "churn", "e-6", "opened", 9);
    found_late.payload = r#"{"opened_at":"2026-03-01T00:08:30Z"}"#.to_string();
    let rows = [
        change("acme", "silence", "e-1", "opened", 1),
        change("acme", "silence", "e-1", "resolved", 2),
        change("acme", "silence", "e-2", "opened", 3),
        change("acme", "silence", "e-2", "acknowledged", 4),
        change("acme", "churn", "e-3", "opened", 5),
        change("acme", "churn", "e-3", "retracted", 6),
        change("beta", "silence", "e-4", "opened", 7),
        change("beta", "silence", "e-4", "escalated", 7),
        // Its rule was taken out of force for a while, so that nobody was told of its end.
        change("beta", "churn", "e-5", "opened", 8),
        found_late,
    ];
    store.insert_alerts("a", &rows).await.unwrap();
    store.insert_alerts("a-again", &rows).await.unwrap();

    let open = store.open_episodes(None, 10).await.unwrap();
    let shown: Vec<_> = open
        .iter()
        .map(|row| {
            (
                row.episode_id.as_str(),
                row.severity.as_str(),
                row.change.as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("e-4", "critical", "escalated"),
            ("e-6", "warning", "opened"),
            ("e-2", "warning", "opened"),
        ]
    );
    // What an acknowledgement says is not why it is open.
    assert_eq!(open[2].reason, "opened 3");
    assert_eq!(
        (open[0].opened_at, open[0].at),
        (MARCH + 420_000, MARCH + 420_000)
    );
    assert_eq!(
        (open[1].opened_at, open[1].at),
        (MARCH + 510_000, MARCH + 540_000)
    );
    let of_acme = store.open_episodes(Some("acme"), 10).await.unwrap();
    assert_eq!(of_acme, [open[2].clone()]);
    assert_eq!(store.open_episodes(None, 1).await.unwrap(), [open[0].clone()]);

    for (id, episode, is_over) in [
        ("e-2", "e-2", false),
        ("e-2-opened", "e-2", false),
        ("e-1", "e-1", true),
        ("e-1-resolved", "e-1", true),
        ("e-3-opened", "e-3", true),
        ("e-5", "e-5", true),
    ] {
        let found = store.episode(id).await.unwrap().unwrap();
        assert_eq!(
            (found.episode_id.as_str(), found.is_over),
            (episode, is_over),
            "{id}"
        );
    }
    assert_eq!(store.episode("e-9").await.unwrap(), None);
    assert_eq!(store.episode("").await.unwrap(), None);
}

#[tokio::test]
async fn of_each_kind_of_action_the_newest_holds_and_of_acknowledgements_the_first() {
    let store = fresh("episodes_actions").await;
    let action = |account: &str, name: &str, episode: &str, minute: i64| {
        let mut row = event(account, &format!("{name}-{minute}"), minute);
        row.r#type = "action".to_string();
        row.name = name.to_string();
        row.occurred_at = MARCH + minute * 60_000;
        row.received_at = row.occurred_at;
        row.properties = format!(r#"{{"episode_id":"{episode}","by":"{minute}"}}"#);
        row
    };
    let mut feature = action("acme", "acknowledged", "e-1", 1);
    feature.r#type = "feature".to_string();
    feature.event_id = "feature".to_string();
    let rows = [
        feature,
        action("acme", "acknowledged", "e-1", 3),
        action("acme", "acknowledged", "e-1", 2),
        action("acme", "noted", "e-1", 4),
        action("acme", "noted", "e-1", 5),
        action("acme", "snoozed", "e-2", 6),
        action("beta", "noted", "e-3", 7),
    ];
    store.insert_events("e", &rows).await.unwrap();
    let mut found: Vec<_> = store
        .actions_on(&["acme"], &["e-1", "e-3"])
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.episode_id, row.name, (row.at - MARCH) / 60_000))
        .collect();
    found.sort();
    let expected = [("e-1", "acknowledged", 2), ("e-1", "noted", 5)];
    assert_eq!(
        found,
        expected.map(|(episode, name, minute)| (episode.to_string(), name.to_string(), minute))
    );
    assert_eq!(store.actions_on(&[], &[]).await.unwrap(), []);
}
