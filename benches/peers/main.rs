//! mimamori beside other tools at the same work: the same topic, the same answer, one table.
//!
//! Every tool reads the same records and has to say what each account did on each day. An answer counts only
//! as far as the workload's truth says the same; what a tool cannot do stands in the table beside what it
//! costs. The tools take turns, so that a machine that others use, too, is unfair to all of them.
//!
//! `cargo bench -p benches --bench peers -- --help`

mod install;
mod roster;
mod run;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use benches::readme::put_between_markers;
use benches::workload::Workload;
use clap::Parser;
use faults::cluster;
use faults::wall_ms;

use roster::{PEERS, Peer};
use run::{Field, Outcome};

/// The newest event of the history is so old, in milliseconds: it is history, and nobody is alerted.
const HISTORY_ENDED: i64 = 3_600_000;

/// Measures mimamori and other tools at the same work.
#[derive(Clone, Debug, Parser)]
#[command(name = "peers")]
struct Cli {
    /// Records of the topic.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Accounts.
    #[arg(long, default_value_t = 20_000)]
    accounts: usize,
    /// Days over which the events happened.
    #[arg(long, default_value_t = 60)]
    days: i64,
    /// How often each tool is measured; they take turns.
    #[arg(long, default_value_t = 2)]
    runs: usize,
    /// Only tools whose name has one of these in it, as in `--only bytewax,lander`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// What chance is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A tool that takes longer is given up, in seconds.
    #[arg(long, default_value_t = 900)]
    deadline: u64,
    /// What the table says of the machine; by default, its cores.
    #[arg(long)]
    machine: Option<String>,
    /// Put the table into benches/peers/README.md, between `<!-- peers -->` and `<!-- /peers -->`.
    #[arg(long)]
    write: bool,
    /// Only say which tools there are.
    #[arg(long)]
    list: bool,
    /// As cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        for peer in PEERS {
            println!("{:<32} {}", peer.name, peer.title);
        }
        return ExitCode::SUCCESS;
    }
    match measure(&cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(cli: &Cli) -> anyhow::Result<()> {
    ensure!(cli.runs > 0, "0 runs measure nothing");
    let chosen = chosen(&cli.only)?;
    cluster::build(&["mimamori", "faults"]).await?;
    let workload = Workload {
        records: cli.records,
        accounts: cli.accounts,
        days: cli.days,
        end: wall_ms() - HISTORY_ENDED,
        seed: cli.seed,
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for peer in &chosen {
        eprintln!("{}: installing", peer.name);
        let installed = install::install(peer).await;
        outcomes.push(Outcome::begun(peer, installed));
    }
    let field = Field::prepare(workload, std::time::Duration::from_secs(cli.deadline)).await?;
    for turn in 1..=cli.runs {
        for outcome in &mut outcomes {
            eprintln!("{}: run {turn} of {}", outcome.peer.name, cli.runs);
            outcome.run(&field, turn).await;
            eprintln!("{}: {}", outcome.peer.name, outcome.last());
        }
    }
    let table = table::table(&outcomes, &workload, cli.machine.as_deref())?;
    println!("{table}");
    if cli.write {
        write(&table)?;
    }
    Ok(())
}

/// The tools that were asked for, in the order of the roster.
fn chosen(only: &[String]) -> anyhow::Result<Vec<&'static Peer>> {
    let is_wanted =
        |peer: &&Peer| only.is_empty() || only.iter().any(|part| peer.name.contains(part.as_str()));
    let chosen: Vec<&Peer> = PEERS.iter().filter(is_wanted).collect();
    ensure!(
        !chosen.is_empty(),
        "no tool's name has {} in it: --list names them",
        only.join(" or ")
    );
    Ok(chosen)
}

/// Puts the table into the README beside this, and into the project's.
fn write(table: &str) -> anyhow::Result<()> {
    for readme in ["benches/peers/README.md", "README.md"] {
        let path: PathBuf = tests::root().join(readme);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let changed = put_between_markers(&text, "peers", table)?;
        std::fs::write(&path, changed).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
