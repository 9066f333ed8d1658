//! How many events a second the collector takes, what they cost, and how long a single one takes.
//!
//! What is measured is the api role's own server, in a process of its own, over TCP on loopback: the
//! load stands in this process, so that its time is not counted. Every answer must be a success for every
//! event, and the broker must hold as many records in the end; otherwise there are no figures.
//!
//! `cargo bench -p benches --bench collector -- --help`

mod bodies;
mod load;
mod report;
mod served;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use bodies::{Form, Packing, Request};
use load::Measured;
use report::Figures;
use served::{Broker, Collector, Part, Sink};

/// Sent before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// Connections over which single events come: as many as may be under way at once.
const SINGLE_CONNECTIONS: usize = 16;

/// Measures the collector.
#[derive(Debug, Parser)]
#[command(name = "collector")]
struct Cli {
    #[command(subcommand)]
    part: Option<Hidden>,
    /// How long each case is measured, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often each case is measured; the run with the median processor time is told.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Connections over which batches come.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Events of a batch; lines of a stream are two hundred times as many.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Single events a second.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// Where the events go; both, unless it is said.
    #[arg(long, value_enum)]
    sink: Option<Sink>,
    /// Only cases whose name (such as `segment/gzip`) has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// How the figures are told; a table on a terminal, else JSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// As cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// Be one of the processes that are measured.
    #[command(subcommand, hide = true)]
    Serve(Part),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match &cli.part {
        Some(Hidden::Serve(part)) => served::serve(part),
        None => measure(&cli),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> anyhow::Result<()> {
    ensure!(
        cli.runs > 0 && cli.connections > 0 && cli.batch > 0 && cli.rate > 0,
        "0 measures nothing"
    );
    let sinks = cli.sink.map_or(vec![Sink::Null, Sink::Broker], |sink| vec![sink]);
    let mut all = Vec::new();
    for sink in sinks {
        for form in Form::ALL {
            for packing in Packing::ALL {
                let name = format!("{}/{}", form.name(), packing.name());
                // Nobody packs a single event.
                if !name.contains(&cli.only) || (form == Form::Track && packing != Packing::Plain) {
                    continue;
                }
                eprintln!("{name} to {} …", sink.name());
                let requests = bodies::requests(form, packing, cli.batch);
                let mut runs = Vec::new();
                for _ in 0..cli.runs {
                    let figures = run(cli, form, sink, &requests);
                    runs.push(figures.with_context(|| format!("{name} to {}", sink.name()))?);
                }
                runs.sort_by(|one, other| one.cpu_per_million.total_cmp(&other.cpu_per_million));
                let mut figures = runs.swap_remove((runs.len() - 1) / 2);
                figures.case = name;
                figures.sink = sink.name();
                all.push(figures);
            }
        }
    }
    let format = cli.format.unwrap_or(if std::io::stdout().is_terminal() {
        Format::Table
    } else {
        Format::Json
    });
    match format {
        Format::Table => print!("{}", report::table(&all)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&all)?),
    }
    Ok(())
}

/// One case, on processes that nothing was sent to before.
fn run(cli: &Cli, form: Form, sink: Sink, requests: &[Request]) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir().context("a folder for the broker")?;
    let broker = match sink {
        Sink::Null => None,
        Sink::Broker => Some(Broker::start(folder.path())?),
    };
    let collector = Collector::start(broker.as_ref())?;
    let send = |long: Duration| -> anyhow::Result<Measured> {
        match form {
            Form::Track => load::paced(collector.address(), requests, SINGLE_CONNECTIONS, cli.rate, long),
            _ => load::closed(collector.address(), requests, cli.connections, long),
        }
    };
    let warm = send(WARM_UP)?;
    let before = collector.cpu()?;
    let measured = send(Duration::from_secs(cli.seconds))?;
    let cpu = collector.cpu()? - before;
    if let Some(broker) = &broker {
        let (kept, acknowledged) = (broker.records()?, warm.events + measured.events);
        ensure!(
            kept == acknowledged,
            "{acknowledged} events were acknowledged, and the broker holds {kept}"
        );
    }
    let peak = collector.peak_bytes()?;
    Ok(Figures::of(&measured, cpu, peak))
}
