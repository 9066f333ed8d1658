use crate::harness::{client, empty, fresh};

#[tokio::test]
async fn a_start_finds_out_what_becomes_of_an_insert_that_comes_twice() {
    let store = fresh("probe").await;
    let found = store.probe().await.unwrap();
    assert!(found.deduplicates);
    assert_eq!(found.engine, "ReplacingMergeTree");
    assert!(found.version.split('.').count() >= 2, "{}", found.version);

    // The scratch table is made like the real one, whatever somebody made of that.
    let outside = client("probe");
    outside
        .query("ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 0")
        .execute()
        .await
        .unwrap();
    assert!(!store.probe().await.unwrap().deduplicates);
    let left: u64 = outside
        .query("SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'insert_probe%'")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_probe_without_tables_says_what_to_do() {
    let store = empty("probe_empty").await;
    client("probe_empty")
        .with_database("default")
        .query("CREATE DATABASE store_test_probe_empty")
        .execute()
        .await
        .unwrap();
    let error = store.probe().await.unwrap_err().to_string();
    assert!(error.contains("mimamori migrate"), "{error}");
}
