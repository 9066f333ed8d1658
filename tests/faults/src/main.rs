//! The command: `cargo run -p faults -- --help`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use faults::alert_kills::{self, AlertKillsArgs};
use faults::cluster;
use faults::kill_loop::{self, KillLoopArgs};
use faults::outages::{self, OutagesArgs};
use faults::recovery::{self, RecoveryArgs};
use faults::serve::{self, ServeArgs};
use serde::Serialize;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Does harm to a running mimamori and counts what came of it.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill roles at random while events come in, then count.
    KillLoop(KillLoopArgs),
    /// Kill alert workers at random while their destinations misbehave, then count.
    AlertKills(AlertKillsArgs),
    /// Let ClickHouse and Kafka fail in one way after the other while events come in, then count.
    Outages(OutagesArgs),
    /// Measure how long a killed worker takes until it works again.
    Recovery(RecoveryArgs),
    /// Serve an embedded engine; the other commands start it so.
    #[command(hide = true)]
    Serve(ServeArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Its clients meet brokers that were killed all the time, and say so without end.
    let quiet = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("librdkafka", LevelFilter::OFF)
        .with_target("rdkafka", LevelFilter::OFF);
    tracing_subscriber::registry().with(lines).with(quiet).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // The engine's library wants deep stacks in whatever thread calls it.
        .thread_stack_size(8 << 20)
        .build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(run(cli));
        // The read of standard input may still be waiting.
        runtime.shutdown_timeout(Duration::from_millis(200));
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(arguments) => serve::serve(arguments).await,
        Command::KillLoop(arguments) => {
            cluster::build(&["mimamori"]).await?;
            let summary = unless_interrupted(kill_loop::run(&arguments)).await?;
            print(&summary, || summary.lines())
        }
        Command::AlertKills(arguments) => {
            cluster::build(&["mimamori"]).await?;
            let summary = unless_interrupted(alert_kills::run(&arguments)).await?;
            print(&summary, || summary.lines())
        }
        Command::Outages(arguments) => {
            cluster::build(&["mimamori"]).await?;
            let summary = unless_interrupted(outages::run(&arguments)).await?;
            print(&summary, || summary.lines())
        }
        Command::Recovery(arguments) => {
            cluster::build(&["mimamori"]).await?;
            let summary = unless_interrupted(recovery::run(&arguments)).await?;
            print(&summary, || summary.lines())
        }
    }
}

/// Ctrl-C ends the work in order, so that no process is left behind, stopped ones among them.
async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        ended = work => ended,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted")
        }
    }
}

/// JSON for programs, lines for people.
fn print(summary: &impl Serialize, lines: impl FnOnce() -> String) -> anyhow::Result<()> {
    if std::io::stdout().is_terminal() {
        println!("{}", lines());
    } else {
        println!("{}", serde_json::to_string_pretty(summary)?);
    }
    Ok(())
}
