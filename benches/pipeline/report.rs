//! The figures, for people and for programs.

use std::fmt::Write as _;

use benches::pipeline::Measured;
use serde::Serialize;

use crate::latency::Latency;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Of the backlog, the run with the median processor time.
    pub median: Measured,
    pub latency: Option<Latency>,
}

impl Figures {
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("figures are numbers and names")
    }

    pub fn lines(&self) -> String {
        let run = &self.median;
        let mut text = format!(
            "{} records, {} events, {} accounts: {:.0} records/s; landed after {:.1} s, all saved and scored \
             after {:.1} s\n",
            run.records,
            run.rows,
            run.accounts,
            run.per_second(),
            run.landed_s,
            run.done_s
        );
        // Writing to a string cannot fail.
        for used in &run.used {
            let _ = writeln!(
                text,
                "  {:<10} {:>6.2} CPU-s per million, at most {} MiB",
                used.name, used.cpu_per_million, used.peak_mib
            );
        }
        let _ = writeln!(
            text,
            "  {:<10} {:>6.2} CPU-s per million\n{:.1} bytes an event and {:.0} an account's state on ClickHouse's disk",
            "together",
            run.cpu_per_million(),
            run.bytes_per_event,
            run.bytes_per_state
        );
        let history = &run.history;
        let _ = writeln!(
            text,
            "history: {} midnights in {:.1} s, {:.1} CPU-s per million",
            history.rows, history.seconds, history.cpu_per_million
        );
        if let Some(latency) = &self.latency {
            let _ = writeln!(
                text,
                "event to score at {:.0} events/s: p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms ({} evaluations)",
                latency.sent_per_second, latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.evaluations
            );
            for (name, used) in &latency.cpu_per_million {
                let _ = writeln!(text, "  {name:<10} {used:>6.2} CPU-s per million");
            }
        }
        text.trim_end().to_owned()
    }
}
