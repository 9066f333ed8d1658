//! The command line of `mimamori keys`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a write key. It is shown now and never again: only its hash is stored.
    ///
    /// A write key can send events to /v1/ and nothing else. It works within collector.key_refresh_ms
    /// (5 s). While there has never been one, events are taken without a key on loopback; the first key
    /// ends that.
    #[command(after_help = "\
Examples:
  mimamori keys create --source backend
  mimamori keys create --source web --kind browser --rate-limit 200 --daily-quota 1000000
  KEY=$(mimamori keys create --source ci --format json | jq -r .key)")]
    Create(KeysCreateArgs),
    /// List the write keys, those that were revoked too; never the keys themselves.
    #[command(after_help = "\
Examples:
  mimamori keys list
  mimamori keys list --format json | jq '.[] | select(.revoked_at == null)'")]
    List(KeysListArgs),
    /// Revoke write keys. They end within collector.key_refresh_ms (5 s); it cannot be undone.
    #[command(after_help = "\
Examples:
  mimamori keys revoke 3f2a9c41d07b
  mimamori keys revoke 3f2a9c41d07b 80c1a2f4e55d")]
    Revoke(KeysRevokeArgs),
}

/// Where a write key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// On servers; refused when a web page sends it.
    Server,
    /// In web pages and apps, where anybody can read it.
    Browser,
}

#[derive(Debug, Args)]
pub struct KeysCreateArgs {
    /// What its events are labelled with: letters, digits and - _ . : / up to 64 bytes.
    #[arg(long, value_name = "NAME")]
    pub source: String,
    /// Where it is used.
    #[arg(long, value_enum, default_value = "server")]
    pub kind: KeyKind,
    /// Events a second that each api process takes with it; 0 is no bound.
    #[arg(long, default_value_t = 0, value_name = "EVENTS")]
    pub rate_limit: u32,
    /// Events a day (UTC) that each api process takes with it; 0 is no bound.
    #[arg(long, default_value_t = 0, value_name = "EVENTS")]
    pub daily_quota: u64,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct KeysListArgs {
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct KeysRevokeArgs {
    /// The keys' ids, as `list` tells them.
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}
