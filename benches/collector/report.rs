//! The figures, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::load::Measured;

/// What one case came to.
#[derive(Serialize)]
pub struct Figures {
    pub case: String,
    pub sink: &'static str,
    pub events: u64,
    pub events_per_second: f64,
    /// Megabytes (10^6) of bodies a second, unpacked.
    pub megabytes_per_second: f64,
    /// Seconds of processor time of the collector's process for a million events.
    pub cpu_per_million: f64,
    /// Of a request, in milliseconds.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    /// The most memory that the collector's process had resident.
    pub peak_mib: f64,
}

impl Figures {
    /// `case` and `sink` are the caller's to fill in.
    pub fn of(measured: &Measured, cpu: Duration, peak_bytes: u64) -> Figures {
        let seconds = measured.took.as_secs_f64();
        let ms = |rank| measured.per_mille(rank).as_secs_f64() * 1_000.0;
        Figures {
            case: String::new(),
            sink: "",
            events: measured.events,
            events_per_second: measured.events as f64 / seconds,
            megabytes_per_second: measured.bytes as f64 / seconds / 1e6,
            cpu_per_million: cpu.as_secs_f64() / measured.events as f64 * 1e6,
            p50_ms: ms(500),
            p99_ms: ms(990),
            p999_ms: ms(999),
            peak_mib: peak_bytes as f64 / f64::from(1 << 20),
        }
    }
}

/// A table in Markdown.
pub fn table(all: &[Figures]) -> String {
    let mut table = String::from(
        "| sink | case | events/s | MB/s | CPU s per million | p50 ms | p99 ms | p99.9 ms | peak MiB |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for figures in all {
        let _ = writeln!(
            table,
            "| {} | {} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |",
            figures.sink,
            figures.case,
            figures.events_per_second,
            figures.megabytes_per_second,
            figures.cpu_per_million,
            figures.p50_ms,
            figures.p99_ms,
            figures.p999_ms,
            figures.peak_mib,
        );
    }
    table
}
