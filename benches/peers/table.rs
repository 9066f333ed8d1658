//! The table in Markdown: what each tool costs, and what it cannot do.

use std::fmt::Write as _;
use std::thread::available_parallelism;

use anyhow::Context;
use benches::workload::Workload;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::roster::Program;
use crate::run::{Figures, Outcome};

const HEAD: &str = "\
| tool | events/s | CPU-s per million | peak MiB | days right | each id once | raw rows in ClickHouse | sliding windows, scores, alerts | a kill costs |
|---|---:|---:|---:|---|---|---|---|---|
";

/// The whole of what stands between the markers.
///
/// # Errors
/// The time cannot be told.
pub fn table(outcomes: &[Outcome], workload: &Workload, machine: Option<&str>) -> anyhow::Result<String> {
    let machine = machine.map_or_else(cores, |machine| Ok(machine.to_owned()))?;
    let today = Timestamp::from_millisecond(faults::wall_ms())?;
    let today = today.to_zoned(TimeZone::UTC).date();
    let runs = outcomes
        .iter()
        .map(|outcome| outcome.runs.len())
        .max()
        .unwrap_or(0);
    let mut text = format!(
        "{today}, {machine}. {} records, {} accounts, {} days, each measured {runs} times by turns; lowest to highest:\n\n{HEAD}",
        workload.records, workload.accounts, workload.days
    );
    for outcome in outcomes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", row(outcome, workload.records));
    }
    let settled = outcomes
        .iter()
        .flat_map(|outcome| &outcome.runs)
        .filter_map(|run| run.settled_seconds);
    if let Some(range) = range(settled, 0) {
        let _ = writeln!(
            text,
            "\nOf mimamori, events/s count until every event had landed; every account was scored and every state \
             saved {range} s after the start."
        );
    }
    Ok(text)
}

fn cores() -> anyhow::Result<String> {
    let cores = available_parallelism().context("the number of cores")?;
    Ok(format!("{cores} {} cores", std::env::consts::ARCH))
}

fn row(outcome: &Outcome, records: u64) -> String {
    let peer = outcome.peer;
    let title = match &outcome.version {
        Some(version) => peer.title.replace("{version}", version),
        None => peer.title.replace(" {version}", ""),
    };
    if let Some(failed) = &outcome.failed {
        return format!("| {title} | – | – | – | {} | | | | |", cell(failed));
    }
    let runs = &outcome.runs;
    let column =
        |figure: fn(&Figures) -> f64, decimals| range(runs.iter().map(figure), decimals).unwrap_or_default();
    let rates = runs.iter().map(|run| records as f64 / run.seconds / 1e3);
    let rate = range(rates, 0).unwrap_or_default();
    let wrong = runs.iter().map(|run| run.wrong).max().unwrap_or(0);
    let days = runs.first().map_or(0, |run| run.days);
    let right = match wrong {
        0 => "all".to_owned(),
        _ => format!("{wrong} of {days} wrong"),
    };
    let is_ours = matches!(peer.program, Program::Mimamori);
    format!(
        "| {title} | {rate} k | {} | {} | {right} | {} | {} | {} | {} |",
        column(|run| run.cpu_per_million, 1),
        column(|run| run.peak_mib, 0),
        "yes",
        yes(peer.lands_rows),
        yes(is_ours),
        peer.crash,
    )
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

/// The lowest and the highest, or one where they are told the same.
fn range(figures: impl Iterator<Item = f64>, decimals: usize) -> Option<String> {
    let figures: Vec<f64> = figures.collect();
    let lowest = figures.iter().copied().min_by(f64::total_cmp)?;
    let highest = figures.iter().copied().max_by(f64::total_cmp)?;
    let (lowest, highest) = (format!("{lowest:.decimals$}"), format!("{highest:.decimals$}"));
    Some(if lowest == highest {
        lowest
    } else {
        format!("{lowest}–{highest}")
    })
}

/// A text that fits into a cell.
fn cell(text: &str) -> String {
    const LONGEST: usize = 160;
    let line = text.replace('|', "/").replace(['\n', '\r'], " ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
