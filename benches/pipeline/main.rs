//! What the whole pipeline costs, how fast it is, and how soon after an event its account is scored.
//!
//! `cargo bench -p benches --bench pipeline -- --help`

mod latency;
mod report;

use std::io::IsTerminal;
use std::process::ExitCode;

use benches::pipeline;
use benches::workload::Workload;
use clap::{Parser, ValueEnum};
use faults::cluster;
use faults::wall_ms;

use report::Figures;

/// The newest event of the history is so old, in milliseconds: it is history, and nobody is alerted.
const HISTORY_ENDED: i64 = 3_600_000;

/// Measures the pipeline: ingest and aggregate over the embedded engines.
#[derive(Clone, Debug, Parser)]
#[command(name = "pipeline")]
struct Cli {
    /// Records of the raw topic.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Accounts.
    #[arg(long, default_value_t = 20_000)]
    accounts: usize,
    /// Days over which the events happened.
    #[arg(long, default_value_t = 60)]
    days: i64,
    /// Of how many days back the accounts get rows of their midnights. Of a loaded history there are more midnights
    /// of accounts than events: with 60 what they cost is measured, too, but part of it is in the figures before.
    #[arg(long, default_value_t = 1)]
    history_days: i64,
    /// Partitions of mimamori.events.
    #[arg(long, default_value_t = stream::topics::DEFAULT_PARTITIONS)]
    partitions: i32,
    /// How often the backlog is measured; the run with the median processor time is told.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Events a second for the latency, which is measured after the last run; 0 leaves it out.
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
    /// How long events come at that rate, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// What chance is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the figures are told; lines on a terminal, else JSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Keep logs and data.
    #[arg(long)]
    keep: bool,
    /// As cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Lines,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match measure(&cli).await {
        Ok(figures) => {
            let format = cli.format.unwrap_or(if std::io::stdout().is_terminal() {
                Format::Lines
            } else {
                Format::Json
            });
            match format {
                Format::Lines => println!("{}", figures.lines()),
                Format::Json => println!("{}", figures.json()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(cli: &Cli) -> anyhow::Result<Figures> {
    anyhow::ensure!(cli.runs > 0, "0 runs measure nothing");
    cluster::build(&["mimamori", "faults"]).await?;
    let workload = Workload {
        records: cli.records,
        accounts: cli.accounts,
        days: cli.days,
        end: wall_ms() - HISTORY_ENDED,
        seed: cli.seed,
    };
    let truth = workload.truth();
    let config = format!(
        "[aggregate]\npartitions = {}\nhistory_days = {}\n",
        cli.partitions, cli.history_days
    );
    let mut runs = Vec::new();
    let mut latency = None;
    for number in 1..=cli.runs {
        let folder = cluster::run_folder("pipeline")?;
        eprintln!("run {number} of {}: filling", cli.runs);
        let mut cluster = pipeline::filled(folder.path(), &config, workload).await?;
        eprintln!("run {number} of {}: working", cli.runs);
        let measured = pipeline::run(&mut cluster, workload, &truth).await;
        if measured.is_err() || cli.keep {
            eprintln!("logs and data are in {}", folder.path().display());
        }
        let measured = match measured {
            Ok(measured) => measured,
            Err(error) => {
                let _ = folder.keep();
                return Err(error);
            }
        };
        eprintln!(
            "run {number} of {}: {:.0} records/s, {:.2} CPU-s per million",
            cli.runs,
            measured.per_second(),
            measured.cpu_per_million()
        );
        runs.push(measured);
        if number == cli.runs && cli.rate > 0 {
            eprintln!("{} events/s for {} s", cli.rate, cli.seconds);
            latency = Some(latency::measure(&mut cluster, cli.accounts, cli.rate, cli.seconds).await?);
        }
        if cli.keep {
            let _ = folder.keep();
        }
    }
    runs.sort_by(|one, other| one.cpu_per_million().total_cmp(&other.cpu_per_million()));
    let median = runs.swap_remove((runs.len() - 1) / 2);
    Ok(Figures { median, latency })
}
