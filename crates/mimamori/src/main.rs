//! The `mimamori` command.
//!
//! Each subcommand is a module; `config` is what they are told, `roles` runs the workers, `engines`
//! the embedded Kafka log and ClickHouse, `telemetry` and `output` are how they speak.

mod cli;
mod commands;
mod config;
mod demo;
mod engines;
mod locate;
mod ndjson;
mod output;
mod roles;
mod shutdown;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;

/// Many small pieces are made in one thread and let go in another, at which the system's is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The work failed.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start(&cli.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // The engine's library wants deep stacks in whatever thread calls it.
        .thread_stack_size(8 << 20)
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(commands::run(cli));
            // What still blocks (a name being looked up) must not hold up the end.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            ended
        }
        Err(error) => Err(anyhow::Error::new(error).context("cannot start the runtime")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            if error.is::<config::ConfigError>() {
                ExitCode::from(WRONG_USAGE)
            } else {
                ExitCode::from(FAILED)
            }
        }
    }
}
