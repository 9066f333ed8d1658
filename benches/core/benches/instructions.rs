//! How many instructions the four hot functions take, held against a committed baseline. Unlike time, they
//! are the same on a loaded machine, so that CI can refuse what makes them slower.
//!
//! Each function runs under valgrind's callgrind twice, once for twice as long; what the runs differ by is
//! the work itself, without what comes before and after it.
//!
//! ```text
//! cargo bench -p core-bench --bench instructions              # fails at 10 % over the baseline
//! cargo bench -p core-bench --bench instructions -- --update  # makes it anew
//! ```

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use core_bench::{NATIVE, NOW, account, decoder, event, life_length, model};
use health::{Mode, SegmentBaselines};

/// More than this over the baseline fails.
const MOST_OVER: f64 = 0.10;
/// How often a function is called in the shorter run.
const CALLS: u64 = 500;

/// The hot functions: what is done for each event, and for each account whose score is due or whose state
/// is saved.
const HOT: [&str; 4] = ["decode", "fold", "evaluate", "encode"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", name, calls] => work(name, calls),
        _ => compare(arguments.iter().any(|argument| argument == "--update")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(update: bool) -> anyhow::Result<()> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    let mut found = BTreeMap::new();
    for name in HOT {
        let once = instructions(name, CALLS)?;
        let twice = instructions(name, 2 * CALLS)?;
        found.insert(name.to_owned(), (twice - once) / CALLS);
    }
    if update {
        std::fs::write(&file, serde_json::to_string_pretty(&found)? + "\n")?;
        println!("{} is {found:?} now", file.display());
        return Ok(());
    }
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let baseline: BTreeMap<String, u64> = serde_json::from_str(&text)?;
    let mut over = Vec::new();
    println!(
        "{:<10} {:>12} {:>12} {:>8}",
        "function", "baseline", "now", "change"
    );
    for name in HOT {
        let before = *baseline
            .get(name)
            .with_context(|| format!("{} has no {name}", file.display()))?;
        let now = found[name];
        let change = now as f64 / before as f64 - 1.0;
        println!("{name:<10} {before:>12} {now:>12} {:>+7.1}%", change * 100.0);
        if change > MOST_OVER {
            over.push(name);
        }
    }
    ensure!(
        over.is_empty(),
        "{} takes over {:.0} % more instructions than {} says: make it cheaper, or say why and run this with --update",
        over.join(" and "),
        MOST_OVER * 100.0,
        file.display()
    );
    Ok(())
}

/// What callgrind counts of one run.
fn instructions(name: &str, calls: u64) -> anyhow::Result<u64> {
    let own = std::env::current_exe()?;
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["work", name, &calls.to_string()])
        .output()
        .context("valgrind cannot be run; install the package valgrind")?;
    let told = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "valgrind failed: {told}");
    let collected = told.lines().find_map(|line| line.split("Collected :").nth(1));
    let collected = collected.with_context(|| format!("valgrind did not say what it collected: {told}"))?;
    Ok(collected.trim().parse()?)
}

fn work(name: &str, calls: &str) -> anyhow::Result<()> {
    let calls: u64 = calls.parse()?;
    match name {
        "decode" => {
            let decoder = decoder();
            for _ in 0..calls {
                let _ = black_box(decoder.decode(black_box(NATIVE.as_bytes()), &[], NOW, "usage.events"));
            }
        }
        "fold" => {
            let model = model();
            let mut account = account(17, &model);
            // The same events in both runs, so that making them cancels out.
            let events: Vec<_> = (0..2 * CALLS as i64)
                .map(|place| event(17, life_length() + place))
                .collect();
            for (event, offset) in events.iter().take(calls as usize).zip(life_length()..) {
                black_box(account.fold(black_box(event), offset, &model));
            }
        }
        "evaluate" => {
            let (model, segments) = (model(), SegmentBaselines::default());
            let mut account = account(17, &model);
            for _ in 0..calls {
                black_box(account.evaluate(NOW, Mode::Live, 0, &segments, &model));
            }
        }
        "encode" => {
            let model = model();
            let mut account = account(17, &model);
            for _ in 0..calls {
                black_box(account.encode(&model));
            }
        }
        other => bail!("there is no hot function {other:?}"),
    }
    Ok(())
}
