//! `mimamori keys`

use std::path::Path;

use anyhow::{Context, bail};
use api::{NewWriteKey, WriteKeyKind};
use serde_json::{Value, json};
use store::{Store, StoreMetrics, WriteKeyRow};

use super::wall_ms;
use crate::cli::{Format, KeyKind, KeysCommand, KeysCreateArgs, KeysListArgs, KeysRevokeArgs};
use crate::config::{ConfigError, Loaded};
use crate::output;

pub async fn run(file: Option<&Path>, command: KeysCommand, format: Option<Format>) -> anyhow::Result<()> {
    match command {
        KeysCommand::Create(args) => create(file, args, format).await,
        KeysCommand::List(args) => list(file, args, format).await,
        KeysCommand::Revoke(args) => revoke(file, args, format).await,
    }
}

/// The database, with its tables there.
pub async fn store(file: Option<&Path>, url: Option<String>) -> anyhow::Result<Store> {
    let mut loaded = Loaded::read(file)?;
    if let Some(url) = url {
        loaded.config.clickhouse.url = url;
    }
    loaded.config.resolve_secrets()?;
    let metrics = StoreMetrics::register(&prometheus::Registry::new())?;
    let store = Store::new(loaded.config.clickhouse, metrics);
    store.ping().await?;
    store.migrate().await?;
    Ok(store)
}

async fn create(file: Option<&Path>, args: KeysCreateArgs, format: Option<Format>) -> anyhow::Result<()> {
    let kind = match args.kind {
        KeyKind::Server => WriteKeyKind::Server,
        KeyKind::Browser => WriteKeyKind::Browser,
    };
    let made = NewWriteKey::make(&args.source, kind, args.rate_limit, args.daily_quota, wall_ms())
        .map_err(|problem| ConfigError(format!("--source: {problem}")))?;
    let store = store(file, args.clickhouse_url).await?;
    store.save_write_key(&made.row).await?;
    let mut told = shown(&made.row);
    told["key"] = Value::from(made.key.as_str());
    output::result(format, &told, || {
        format!(
            "{}\n\nThis is the write key {} of source {}. It is not stored and cannot be shown again.",
            made.key, made.row.key_id, made.row.source
        )
    })
}

async fn list(file: Option<&Path>, args: KeysListArgs, format: Option<Format>) -> anyhow::Result<()> {
    let keys = store(file, args.clickhouse_url).await?.write_keys().await?;
    let told: Vec<Value> = keys.iter().map(shown).collect();
    output::result(format, &told, || table(&keys))
}

async fn revoke(file: Option<&Path>, args: KeysRevokeArgs, format: Option<Format>) -> anyhow::Result<()> {
    let store = store(file, args.clickhouse_url).await?;
    let keys = store.write_keys().await?;
    let mut found = Vec::new();
    for id in &args.ids {
        let Some(key) = keys.iter().find(|key| key.key_id == *id) else {
            bail!("no write key has the id {id:?}; none was revoked: mimamori keys list tells the ids");
        };
        found.push(key.clone());
    }
    let now = wall_ms();
    for key in &mut found {
        if key.revoked_at.is_some() {
            continue;
        }
        key.revoked_at = Some(now);
        key.version = key.version.max(u64::try_from(now).unwrap_or(0)) + 1;
        let saved = store.save_write_key(key).await;
        saved.with_context(|| format!("key {} is not revoked", key.key_id))?;
    }
    let told: Vec<Value> = found.iter().map(shown).collect();
    output::result(format, &told, || table(&found))
}

/// All but the hash, which nobody needs to see.
fn shown(key: &WriteKeyRow) -> Value {
    json!({
        "id": key.key_id,
        "source": key.source,
        "kind": key.kind,
        "rate_limit": key.rate_limit,
        "daily_quota": key.daily_quota,
        "created_at": output::time(key.created_at),
        "revoked_at": key.revoked_at.map(output::time),
    })
}

fn table(keys: &[WriteKeyRow]) -> String {
    if keys.is_empty() {
        return "there is no write key: mimamori keys create makes one".to_owned();
    }
    let bound = |bound: u64| {
        if bound == 0 {
            "-".to_owned()
        } else {
            bound.to_string()
        }
    };
    let mut lines = vec![format!(
        "{:<12}  {:<20}  {:<7}  {:>10}  {:>12}  {:<24}  {}",
        "id", "source", "kind", "events/s", "events/day", "created", "revoked"
    )];
    lines.extend(keys.iter().map(|key| {
        format!(
            "{:<12}  {:<20}  {:<7}  {:>10}  {:>12}  {:<24}  {}",
            key.key_id,
            key.source,
            key.kind,
            bound(u64::from(key.rate_limit)),
            bound(key.daily_quota),
            output::time(key.created_at),
            key.revoked_at.map_or_else(|| "-".to_owned(), output::time)
        )
    }));
    lines.join("\n")
}
