use clickhouse::Client;
use prometheus::Registry;
use store::{ClickHouseConfig, Store, StoreMetrics};

use crate::engine::url;

pub fn metrics() -> StoreMetrics {
    StoreMetrics::register(&Registry::new()).unwrap()
}

/// A store over a database that does not exist yet.
pub async fn empty(name: &str) -> Store {
    Client::default()
        .with_url(url())
        .query(&format!("DROP DATABASE IF EXISTS {} SYNC", database(name)))
        .execute()
        .await
        .unwrap();
    Store::new(config(name), metrics())
}

/// A store over a database with all migrations and no rows.
pub async fn fresh(name: &str) -> Store {
    let store = empty(name).await;
    store.migrate().await.unwrap();
    store
}

/// Reads the test's database as a user's own program would.
pub fn client(name: &str) -> Client {
    Client::default().with_url(url()).with_database(database(name))
}

pub fn config(name: &str) -> ClickHouseConfig {
    ClickHouseConfig {
        url: url(),
        database: database(name),
        retry_seconds: 0.01,
        ..ClickHouseConfig::default()
    }
}

fn database(name: &str) -> String {
    format!("store_test_{name}")
}
