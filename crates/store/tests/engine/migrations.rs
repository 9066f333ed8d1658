use store::{ClickHouseConfig, Error, MigrationError, Store};

use crate::harness::{client, empty, fresh, metrics};

#[tokio::test]
async fn a_second_run_applies_nothing() {
    let store = empty("migrate_twice").await;
    let first = store.migrate().await.unwrap();
    let numbers: Vec<u32> = first.iter().map(|applied| applied.number).collect();
    assert_eq!(numbers, (1..=first.len() as u32).collect::<Vec<u32>>());
    assert!(first.len() >= 5, "{first:?}");
    assert_eq!(store.migrate().await.unwrap(), []);
}

#[tokio::test]
async fn a_migration_that_was_cut_short_is_completed() {
    let store = fresh("migrate_cut").await;
    let client = client("migrate_cut");
    client.query("DROP VIEW deliveries").execute().await.unwrap();
    client
        .query("ALTER TABLE schema_migrations DELETE WHERE number = 5 SETTINGS mutations_sync = 2")
        .execute()
        .await
        .unwrap();

    let applied = store.migrate().await.unwrap();
    assert_eq!(applied.len(), 1);
    assert_eq!(applied[0].number, 5);
    let deliveries: u64 = client
        .query("SELECT count() FROM deliveries")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(deliveries, 0);
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let store = fresh("migrate_newer").await;
    client("migrate_newer")
        .query("INSERT INTO schema_migrations (number, name, checksum) VALUES (99, 'later', 1)")
        .execute()
        .await
        .unwrap();
    let error = store.migrate().await.unwrap_err();
    let refused = matches!(error, Error::Migration(MigrationError::Newer { number: 99, .. }));
    assert!(refused, "{error}");
    assert!(error.to_string().contains("migrate_newer"), "{error}");
}

#[tokio::test]
async fn a_migration_that_was_edited_after_it_was_applied_is_refused() {
    let store = fresh("migrate_edited").await;
    client("migrate_edited")
        .query("INSERT INTO schema_migrations (number, name, checksum) VALUES (2, 'accounts', 1)")
        .execute()
        .await
        .unwrap();
    let error = store.migrate().await.unwrap_err();
    let refused = matches!(error, Error::Migration(MigrationError::Changed { number: 2, .. }));
    assert!(refused, "{error}");
}

#[tokio::test]
async fn a_database_name_that_would_need_quoting_is_refused() {
    for name in ["", "drop table", "見守り", "a`b"] {
        let config = ClickHouseConfig {
            database: name.to_string(),
            ..ClickHouseConfig::default()
        };
        let error = Store::new(config, metrics()).migrate().await.unwrap_err();
        assert!(
            matches!(error, Error::Migration(MigrationError::Name(_))),
            "{error}"
        );
    }
}
