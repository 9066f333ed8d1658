//! How results and progress are shown: a table and a bar to people, JSON and plain lines to programs.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Format;

/// How often progress is told where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The error and all its causes, on standard error.
pub fn error(error: &anyhow::Error) {
    let red = std::io::stderr().is_terminal();
    let label = if red { "\x1b[31;1merror:\x1b[0m" } else { "error:" };
    let mut told = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Many an error quotes its cause.
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    let mut stderr = std::io::stderr().lock();
    // Nothing is left to tell it to when this fails.
    let _ = writeln!(stderr, "{label} {told}");
}

/// An instant in RFC 3339, UTC, always with its milliseconds, so that instants sort as texts do; one beyond
/// all calendars as the number of its milliseconds since the epoch.
pub fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| format!("{at:.3}"))
}

/// Whether results go out as JSON.
pub fn is_json(format: Option<Format>) -> bool {
    match format {
        Some(format) => format == Format::Json,
        None => !std::io::stdout().is_terminal(),
    }
}

/// Prints a result: `value` as JSON, or the lines for people.
pub fn result<T: Serialize>(
    format: Option<Format>,
    value: &T,
    lines: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let text = if is_json(format) {
        without_controls(&serde_json::to_string_pretty(value)?)
    } else {
        lines()
    };
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
        // Whoever read it has seen enough, as with `| head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

/// In the texts of JSON only the controls below a space are always escaped; a terminal obeys others too.
fn without_controls(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        if char.is_control() && char > ' ' {
            text.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            text.push(char);
        }
    }
    text
}

/// Progress of something long: a bar on a terminal, a line now and then otherwise, both on standard
/// error.
pub struct Progress {
    what: String,
    bar: Option<ProgressBar>,
    told_at: Option<Instant>,
    in_bytes: bool,
}

impl Progress {
    /// Progress of `what`, counted in bytes or in things.
    pub fn new(what: &str, in_bytes: bool) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let counted = if in_bytes {
                "{bytes}/{total_bytes} {bytes_per_sec}"
            } else {
                "{human_pos}/{human_len} {per_sec}"
            };
            let template = format!("{{msg}} [{{bar:30.cyan/blue}}] {counted} {{eta}}");
            let style =
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0)
                .with_style(style.progress_chars("█▌ "))
                .with_message(what.to_string())
        });
        Progress {
            what: what.to_string(),
            bar,
            told_at: None,
            in_bytes,
        }
    }

    /// Says how far it is; `total` is 0 while nobody knows.
    pub fn set(&mut self, what: &str, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_string());
            bar.set_length(total.max(done));
            bar.set_position(done);
            return;
        }
        let is_new = what != self.what;
        if !is_new && self.told_at.is_some_and(|told| told.elapsed() < LINE_EVERY) {
            return;
        }
        self.what = what.to_string();
        self.told_at = Some(now());
        let amount = |count: u64| {
            if self.in_bytes {
                format!("{} MB", count / 1_000_000)
            } else {
                count.to_string()
            }
        };
        let share = (done.min(total) * 100).checked_div(total);
        let share = share.map_or_else(String::new, |share| format!(" ({share} %)"));
        eprintln!(
            "{what}: {} of {}{share}",
            amount(done),
            if total > 0 { amount(total) } else { "?".into() }
        );
    }

    /// Ends it.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the command is an edge: progress is told by the clock on the wall"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_sort_as_their_texts_do() {
        let texts = [1_795_309_324_610, 1_795_309_324_611, 1_795_309_325_000].map(time);
        assert_eq!(texts[0], "2026-11-22T01:02:04.610Z");
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn json_is_the_same_without_anything_that_a_terminal_obeys() {
        let value = serde_json::json!({ "a": "x\u{9b}31m\u{7f}\u{1b}守\n" });
        let text = without_controls(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(text, "{\n  \"a\": \"x\\u009b31m\\u007f\\u001b守\\n\"\n}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
