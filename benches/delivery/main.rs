//! How many deliveries a minute the alert role makes, what they cost, and how long it takes from the append
//! of an event to the webhook when all roles are at work.
//!
//! The roles and the engines are processes of their own; receiver and load stand in this process, so that
//! their time is not counted. There are no figures unless every alert arrived once.
//!
//! `cargo bench -p benches --bench delivery -- --help`

mod backlog;
mod latency;
mod receiver;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measures deliveries.
#[derive(Debug, Parser)]
#[command(name = "delivery")]
struct Cli {
    /// Only one of the two.
    #[arg(long, value_enum)]
    only: Option<Case>,
    #[command(flatten)]
    backlog: backlog::BacklogArgs,
    #[command(flatten)]
    latency: latency::LatencyArgs,
    /// Keep configuration, logs and data.
    #[arg(long)]
    keep: bool,
    /// As cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// A topic full of alerts, and the alert role alone.
    Backlog,
    /// Events at a steady rate through all roles.
    Latency,
}

/// What was measured; what was not is left out.
#[derive(Debug, Default, Serialize)]
struct Figures {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backlog: Vec<backlog::Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<latency::Figures>,
}

fn main() -> ExitCode {
    match measure(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        faults::cluster::build(&["mimamori", "faults"]).await?;
        let mut figures = Figures::default();
        if cli.only != Some(Case::Latency) {
            for limits in backlog::LIMITS {
                eprintln!("backlog, {} …", limits.name);
                figures
                    .backlog
                    .push(backlog::run(&cli.backlog, &limits, cli.keep).await?);
            }
        }
        if cli.only != Some(Case::Backlog) {
            eprintln!("latency …");
            figures.latency = Some(latency::run(&cli.latency, cli.keep).await?);
        }
        anyhow::Ok(figures)
    });
    let figures = measured?;
    if std::io::stdout().is_terminal() {
        for one in &figures.backlog {
            println!("{}", one.line());
        }
        if let Some(latency) = &figures.latency {
            println!("{}", latency.line());
        }
    } else {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    }
    Ok(())
}
