//! What each subcommand does.

mod migrate;
mod simulate;
mod up;

use std::path::Path;

use crate::cli::{Cli, Command, ConfigCommand, Format, RoleArgs, ServerArgs};
use crate::config::{Config, Loaded};
use crate::output;
use crate::roles::{self, Role};

/// Runs the command.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Up(args) => up::run(file, args, cli.format).await,
        Command::Ingest(args) => role(Role::Ingest, file, &args).await,
        Command::Aggregate(args) => role(Role::Aggregate, file, &args).await,
        Command::Alert(args) => role(Role::Alert, file, &args).await,
        Command::Api(args) => role(Role::Api, file, &args).await,
        Command::Migrate(args) => migrate::run(file, args, cli.format).await,
        Command::Simulate(args) => simulate::run(file, args, cli.format).await,
        Command::Config(ConfigCommand::Show) => show(file, cli.format),
        Command::Config(ConfigCommand::Check) => check(file, cli.format),
    }
}

async fn role(role: Role, file: Option<&Path>, args: &RoleArgs) -> anyhow::Result<()> {
    let mut loaded = Loaded::read(file)?;
    apply(&args.servers, &mut loaded);
    loaded.config.resolve_secrets()?;
    roles::run_one(role, loaded.config).await
}

/// Puts the flags over the configuration.
fn apply(servers: &ServerArgs, loaded: &mut Loaded) {
    if let Some(listen) = &servers.api_listen {
        loaded.config.api.listen = listen.clone();
    }
    if let Some(brokers) = &servers.kafka_brokers {
        loaded.config.kafka.brokers = brokers.clone();
        loaded.names_brokers = true;
    }
    if let Some(url) = &servers.clickhouse_url {
        loaded.config.clickhouse.url = url.clone();
        loaded.names_clickhouse = true;
    }
}

fn show(file: Option<&Path>, format: Option<Format>) -> anyhow::Result<()> {
    let shown: Config = Loaded::read(file)?.config.masked();
    let text = toml::to_string(&shown)?;
    // It may be redirected into a file: TOML, unless JSON is asked for.
    output::result(format.or(Some(Format::Table)), &shown, || text)
}

fn check(file: Option<&Path>, format: Option<Format>) -> anyhow::Result<()> {
    let mut loaded = Loaded::read(file)?;
    loaded.config.resolve_secrets()?;
    let model = loaded.config.check()?;
    let found = serde_json::json!({ "ok": true, "model_hash": model.hash() });
    output::result(format, &found, || {
        format!("the configuration can be worked with (model {})", model.hash())
    })
}

/// Milliseconds since the Unix epoch.
#[allow(
    clippy::disallowed_methods,
    reason = "the command is an edge: here it reads the clock on the wall"
)]
pub fn wall_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
