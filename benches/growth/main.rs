//! What becomes of ClickHouse as data grow: the tables over a simulated year, and the page over many events.
//!
//! `cargo bench -p benches --bench growth -- --help`

mod page;
mod year;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use faults::cluster;
use serde::Serialize;

/// Measures how the tables and the page fare as data grow.
#[derive(Clone, Debug, Parser)]
#[command(name = "growth")]
struct Cli {
    /// Millions of events over which the page is asked, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "5,50,200")]
    millions: Vec<u64>,
    /// Seconds of load in each of the twelve months; a second is an insert of each table. 0 leaves the year out.
    #[arg(long, default_value_t = 100)]
    month: u64,
    /// Events of a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Print JSON on a terminal, too.
    #[arg(long)]
    json: bool,
    /// Keep logs and data.
    #[arg(long)]
    keep: bool,
    /// As cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    year: Vec<year::Month>,
    page: Vec<page::Asked>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match measure(&cli).await {
        Ok(figures) if cli.json || !std::io::stdout().is_terminal() => {
            println!(
                "{}",
                serde_json::to_string_pretty(&figures).expect("figures are numbers and names")
            );
            ExitCode::SUCCESS
        }
        Ok(figures) => {
            print!("{}{}", year::table(&figures.year), page::table(&figures.page));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(cli: &Cli) -> anyhow::Result<Figures> {
    cluster::build(&["mimamori", "faults"]).await?;
    let folder = cluster::run_folder("growth")?;
    let measured = async {
        let year = year::measure(&folder.path().join("year"), cli.month, cli.rate).await?;
        let page = page::measure(&folder.path().join("page"), &cli.millions).await?;
        anyhow::Ok(Figures { year, page })
    };
    let measured = measured.await;
    if cli.keep || measured.is_err() {
        eprintln!("logs and data are in {}", folder.keep().display());
    }
    measured
}
