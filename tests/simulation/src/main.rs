//! `cargo run --release -p simulation -- --seeds 100000`: as many worlds as one has patience for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use indicatif::ProgressBar;
use simulation::{Failure, Report, run};

/// Runs the pipeline in simulated worlds and looks whether what must hold holds.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  simulation --seeds 100000           as many worlds, on all cores
  simulation --seed 4711              one of them again, with what happened in it")]
struct Args {
    /// How many worlds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// One world only, told step by step when it fails
    #[arg(long)]
    seed: Option<u64>,
    /// Worlds at the same time; by default as many as there are cores
    #[arg(long)]
    threads: Option<usize>,
}

fn main() {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        match run(seed, false, true) {
            Ok(report) => println!("{report:#?}"),
            Err(failure) => fail(&failure),
        }
        return;
    }
    let begun = Instant::now();
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get));
    let bar = ProgressBar::new(args.seeds);
    let next = AtomicU64::new(args.from);
    let total = Mutex::new(Report::default());
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = failed.lock().is_ok_and(|failed| failed.is_some());
                    if seed >= args.from + args.seeds || is_over {
                        return;
                    }
                    match run(seed, false, false) {
                        Ok(report) => {
                            if let Ok(mut total) = total.lock() {
                                total.add(&report);
                            }
                        }
                        Err(failure) => {
                            if let Ok(mut failed) = failed.lock() {
                                failed.get_or_insert(failure);
                            }
                        }
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Ok(Some(failure)) = failed.into_inner() {
        fail(&failure);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} worlds in {seconds:.0} s, and what must hold held in all of them",
        args.seeds
    );
    if let Ok(total) = total.into_inner() {
        println!("{total:#?}");
    }
}

fn fail(failure: &Failure) -> ! {
    eprintln!("{failure}");
    eprintln!("again, step by step: simulation --seed {}", failure.seed);
    std::process::exit(1)
}
