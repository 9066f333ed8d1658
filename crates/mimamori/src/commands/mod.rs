//! What each subcommand does.

mod alert;
mod backtest;
mod config;
mod import;
mod keys;
mod migrate;
mod rebuild;
pub mod rejected;
mod simulate;
mod up;
mod verify;

use std::path::Path;

use crate::cli::{Cli, Command, RoleArgs, ServerArgs};
use crate::config::Loaded;
use crate::roles::{self, Role};

/// Runs the command.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Up(args) => up::run(file, args, cli.format).await,
        Command::Ingest(args) => role(Role::Ingest, file, &args).await,
        Command::Aggregate(args) => role(Role::Aggregate, file, &args).await,
        Command::Alert(args) => match args.command {
            None => role(Role::Alert, file, &args.role).await,
            Some(command) => alert::run(file, command, cli.format).await,
        },
        Command::Api(args) => role(Role::Api, file, &args).await,
        Command::Migrate(args) => migrate::run(file, args, cli.format).await,
        Command::Simulate(args) => simulate::run(file, args, cli.format).await,
        Command::Keys(command) => keys::run(file, command, cli.format).await,
        Command::Rejected(command) => rejected::run(file, command, cli.format).await,
        Command::Backtest(args) => backtest::run(file, args, cli.format).await,
        Command::Rebuild(args) => rebuild::run(file, args, cli.format).await,
        Command::Verify(args) => verify::run(file, args, cli.format).await,
        Command::Import(args) => import::run(file, args, cli.format).await,
        Command::Config(command) => config::run(file, command, cli.format),
    }
}

async fn role(role: Role, file: Option<&Path>, args: &RoleArgs) -> anyhow::Result<()> {
    let mut loaded = Loaded::read(file)?;
    apply(&args.servers, &mut loaded);
    loaded.config.resolve_secrets()?;
    roles::run_one(role, loaded).await
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

/// Milliseconds since the Unix epoch.
#[allow(
    clippy::disallowed_methods,
    reason = "the command is an edge: here it reads the clock on the wall"
)]
pub fn wall_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
