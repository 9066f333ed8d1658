//! `mimamori migrate`

use std::path::Path;

use serde_json::json;
use store::{Store, StoreMetrics};

use crate::cli::{Format, MigrateArgs};
use crate::config::Loaded;
use crate::output;

pub async fn run(file: Option<&Path>, args: MigrateArgs, format: Option<Format>) -> anyhow::Result<()> {
    let mut loaded = Loaded::read(file)?;
    if let Some(url) = args.clickhouse_url {
        loaded.config.clickhouse.url = url;
    }
    loaded.config.resolve_secrets()?;
    let metrics = StoreMetrics::register(&prometheus::Registry::new())?;
    let store = Store::new(loaded.config.clickhouse, metrics);
    store.ping().await?;
    let applied = store.migrate().await?;
    let found: Vec<_> = applied
        .iter()
        .map(|migration| json!({ "number": migration.number, "name": migration.name }))
        .collect();
    output::result(format, &json!({ "url": store.url(), "applied": found }), || {
        if applied.is_empty() {
            return format!("{} is up to date", store.url());
        }
        let lines: Vec<String> = applied
            .iter()
            .map(|migration| format!("{:04}  {}", migration.number, migration.name))
            .collect();
        format!("applied to {}:\n{}", store.url(), lines.join("\n"))
    })
}
