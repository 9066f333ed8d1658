//! What accounts cost a worker that holds them: memory, the time to take them over, and a sweep over all of
//! them, which is what the hourly timers and each midnight ask for.
//!
//! The worker is the real core ([`aggregate::Core`]) without Kafka and ClickHouse: states are given to it
//! as ClickHouse would, and what it writes is counted and dropped. The accounts are typical ones: 10 users,
//! 90 days, 20 features, 20 events a day, the ids of the last day remembered. A few thousand lives are
//! lived event by event, and given to all accounts in turn.
//!
//! `cargo bench -p benches --bench accounts -- --accounts 10000,100000,1000000`

mod worker;

use std::io::IsTerminal;
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};

/// That of the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what accounts cost.
#[derive(Debug, Parser)]
#[command(name = "accounts")]
struct Cli {
    /// How many accounts, one measurement after the other.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    accounts: Vec<usize>,
    /// Lives that differ.
    #[arg(long, default_value_t = 2_000)]
    lives: u32,
    /// Print JSON on a terminal, too.
    #[arg(long)]
    json: bool,
    /// Measure the one number of accounts in this process.
    #[arg(long, hide = true)]
    here: bool,
    /// As cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured of one number of accounts.
#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    accounts: usize,
    /// Bytes of a saved state, the median …
    state_bytes: usize,
    /// … and as ClickHouse keeps it: packed by zstd, level 3, with those beside it.
    state_bytes_packed: f64,
    /// Resident memory for an account, bytes, once the worker has taken them over …
    bytes_per_account: f64,
    /// … and once it has evaluated all of them.
    bytes_per_account_swept: f64,
    /// The most memory that was resident, MiB.
    peak_mib: u64,
    /// Seconds of one core to take the accounts over, ClickHouse's and the network's not among them.
    take_over_s: f64,
    /// Seconds of one core to evaluate all of them an hour later.
    sweep_s: f64,
    /// Rows of scores that the sweep wrote.
    sweep_rows: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = if cli.here { here(&cli) } else { each(&cli) };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Each number in a process of its own, so that what one leaves behind is not counted for the next.
fn each(cli: &Cli) -> anyhow::Result<()> {
    let mut all: Vec<Figures> = Vec::new();
    for accounts in &cli.accounts {
        eprintln!("{accounts} accounts …");
        let output = Command::new(std::env::current_exe()?)
            .args(["--here", "--accounts", &accounts.to_string()])
            .args(["--lives", &cli.lives.to_string()])
            .stderr(std::process::Stdio::inherit())
            .output()?;
        ensure!(
            output.status.success(),
            "{accounts} accounts could not be measured"
        );
        all.push(serde_json::from_slice(&output.stdout)?);
    }
    if cli.json || !std::io::stdout().is_terminal() {
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    println!(
        "| accounts | state, bytes | packed | memory, bytes an account | after a sweep | peak MiB | take over, s | sweep, s |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    for figures in &all {
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.0} | {} | {:.2} | {:.2} |",
            figures.accounts,
            figures.state_bytes,
            figures.state_bytes_packed,
            figures.bytes_per_account,
            figures.bytes_per_account_swept,
            figures.peak_mib,
            figures.take_over_s,
            figures.sweep_s
        );
    }
    Ok(())
}

fn here(cli: &Cli) -> anyhow::Result<()> {
    let accounts = cli.accounts.first().copied().context("a number of accounts")?;
    println!(
        "{}",
        serde_json::to_string(&worker::measure(accounts, cli.lives)?)?
    );
    Ok(())
}
