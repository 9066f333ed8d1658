//! `mimamori import`
//!
//! A line counts as sent when the broker has acknowledged it and every line before it, and only that
//! is noted: an import that is killed sends some lines a second time when it is run again, and none
//! not at all.

mod noted;
mod posting;
mod sending;
mod way;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::cli::{Format, ImportArgs, Via};
use crate::config::{ConfigError, Loaded};
use crate::ndjson::{Line, Lines};
use crate::output::{self, Progress};
use crate::shutdown;
use noted::Noted;
use way::Way;

/// How often it is noted how far a file has come.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// Lines, and their bytes, that are read at a time.
const BATCH_LINES: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;
/// Batches that were read and are not sent yet.
const BATCHES_AHEAD: usize = 4;
/// After a stop was asked for, what is on its way is waited for this long.
const LAST_ACKNOWLEDGEMENTS: Duration = Duration::from_secs(2);
/// Names of sources longer than this are not names to ingest.
const MAX_SOURCE_BYTES: usize = 64;
/// How many of the lines that could not be sent are told one by one.
const TOLD: usize = 20;

/// What became of one file.
#[derive(Debug, Default, Serialize)]
struct Imported {
    file: String,
    /// Lines that the broker has acknowledged, in this run.
    sent: u64,
    /// The line up to which an earlier run had come.
    from_line: u64,
    /// The line up to which all are acknowledged.
    to_line: u64,
    /// Lines that were not taken, and why.
    refused: Vec<Refused>,
    complete: bool,
}

/// A line that was not taken.
#[derive(Debug, Serialize)]
struct Refused {
    line: u64,
    problem: String,
}

/// What is the same for every file.
struct Import {
    way: Way,
    rate: Option<f64>,
    afresh: bool,
    max_line_bytes: usize,
    shutdown: watch::Receiver<bool>,
    began: Instant,
    /// Records handed to the producer, of all files.
    taken: u64,
}

pub async fn run(file: Option<&Path>, args: ImportArgs, format: Option<Format>) -> anyhow::Result<()> {
    let mut loaded = Loaded::read(file)?;
    if let Some(brokers) = &args.kafka_brokers {
        loaded.config.kafka.brokers.clone_from(brokers);
    }
    if args.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(ConfigError("--rate must be above 0".to_string()).into());
    }
    if args.via == Via::Http && (args.source.is_some() || args.kafka_brokers.is_some()) {
        let problem = "--source and --kafka-brokers are of --via kafka: over HTTP the key says the source";
        return Err(ConfigError(problem.to_string()).into());
    }
    if args.via == Via::Kafka && args.url.is_some() {
        return Err(ConfigError("--url is of --via http".to_string()).into());
    }
    if let Some(source) = &args.source
        && (source.is_empty() || source.len() > MAX_SOURCE_BYTES || source.chars().any(char::is_control))
    {
        let problem = format!("--source must be a name of 1 to {MAX_SOURCE_BYTES} bytes");
        return Err(ConfigError(problem).into());
    }
    let way = match args.via {
        Via::Kafka => Way::to_kafka(&loaded.config, args.source).await?,
        Via::Http => Way::to_http(&loaded.config, args.url, args.key)?,
    };
    let (_stop, shutdown) = shutdown::watch_signals()?;
    let mut import = Import {
        way,
        rate: args.rate,
        afresh: args.afresh,
        max_line_bytes: loaded.config.kafka.max_record_bytes as usize,
        shutdown,
        began: now(),
        taken: 0,
    };

    let total = args.files.iter().map(size).sum();
    let mut progress = Progress::new("import", true);
    let mut before = 0;
    let mut files: Vec<Imported> = Vec::new();
    for path in &args.files {
        let mut tell = |what: &str, read: u64| progress.set(what, before + read, total);
        files.push(import.file(path, &mut tell).await?);
        before += size(path);
        if !files.last().is_some_and(|file| file.complete) {
            break;
        }
    }
    progress.finish();
    let complete = files.iter().all(|file| file.complete);
    if complete {
        // Until the last file is in, the notes keep the others from being sent again.
        args.files.iter().for_each(|path| Noted::forget(path));
    }
    let seconds = now().duration_since(import.began).as_secs_f64();
    told(import.way.name(), &files, complete, seconds, format)
}

impl Import {
    async fn file(&mut self, path: &Path, tell: &mut dyn FnMut(&str, u64)) -> anyhow::Result<Imported> {
        let mut noted = Noted::of(path, &self.way.destination(), self.afresh)?;
        let mut lines = Lines::open(path, self.max_line_bytes)?;
        let name = lines.name().to_owned();
        let read = lines.bytes_read();
        let mut imported = Imported {
            file: name.clone(),
            from_line: noted.lines(),
            to_line: noted.lines(),
            complete: noted.is_complete(),
            ..Imported::default()
        };
        if imported.complete {
            return Ok(imported);
        }
        let (batches, mut coming) = mpsc::channel(BATCHES_AHEAD);
        let skip = noted.lines();
        let reading = tokio::task::spawn_blocking(move || read_all(&mut lines, skip, &batches));

        let mut sending = self.way.begin(skip)?;
        let mut noted_at = now();
        let mut failed = None;
        'file: loop {
            let batch = tokio::select! {
                batch = coming.recv() => batch,
                () = shutdown::asked(self.shutdown.clone()) => break 'file,
            };
            let Some(batch) = batch else {
                imported.complete = true;
                break;
            };
            for line in batch {
                if !self.wait_for_turn().await {
                    break 'file;
                }
                let sent = tokio::select! {
                    sent = sending.send(&line) => sent,
                    () = shutdown::asked(self.shutdown.clone()) => break 'file,
                };
                self.taken += 1;
                if let Err(error) = sent {
                    failed = Some(error);
                    break 'file;
                }
            }
            if noted_at.elapsed() >= NOTE_EVERY {
                noted.note(sending.settled_line(), false);
                noted_at = now();
            }
            tell(&name, read.load(Ordering::Relaxed));
        }
        // The thread that reads ends when nobody takes its lines.
        drop(coming);
        let read_to_end = reading.await?;

        if failed.is_none() {
            let last = async {
                if imported.complete {
                    tokio::select! {
                        settled = sending.settle() => return settled.map(|()| true),
                        () = shutdown::asked(self.shutdown.clone()) => {}
                    }
                }
                let settled = tokio::time::timeout(LAST_ACKNOWLEDGEMENTS, sending.settle()).await;
                settled.unwrap_or(Ok(())).map(|()| false)
            };
            match last.await {
                Ok(all) => imported.complete &= all,
                Err(error) => failed = Some(error),
            }
        }
        imported.complete &= failed.is_none() && read_to_end.is_ok();
        imported.sent = sending.sent();
        imported.to_line = sending.settled_line();
        noted.note(imported.to_line, imported.complete);
        imported.refused = sending.into_refused();
        let stopped = format!("{name} is in up to line {}", imported.to_line);
        if let Err(error) = read_to_end {
            return Err(error.context(stopped));
        }
        match failed {
            Some(error) => Err(error.context(format!("{stopped}; run the command again to go on there"))),
            None => Ok(imported),
        }
    }

    /// Waits until the next record is due; false when a stop is asked for.
    async fn wait_for_turn(&mut self) -> bool {
        if let Some(rate) = self.rate {
            let due = Duration::try_from_secs_f64(self.taken as f64 / rate).unwrap_or(Duration::MAX / 4);
            let due = self.began + due;
            // Shorter pauses than the timer's would only take time.
            if due > now() + Duration::from_millis(2) {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = shutdown::asked(self.shutdown.clone()) => {}
                }
            }
        }
        !*self.shutdown.borrow()
    }
}

/// Reads a file to its end, past the first `skip` lines, or until nobody takes the lines any more.
fn read_all(lines: &mut Lines, skip: u64, batches: &mpsc::Sender<Vec<Line>>) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(line) = lines.next()? {
        if line.number <= skip {
            continue;
        }
        bytes += line.text.len();
        batch.push(line);
        if batch.len() >= BATCH_LINES || bytes >= BATCH_BYTES {
            bytes = 0;
            if batches.blocking_send(std::mem::take(&mut batch)).is_err() {
                return Ok(());
            }
        }
    }
    // Nobody there any more: the import stops, and this line was not acknowledged.
    let _ = batches.blocking_send(batch);
    Ok(())
}

fn told(
    destination: &str,
    files: &[Imported],
    complete: bool,
    seconds: f64,
    format: Option<Format>,
) -> anyhow::Result<()> {
    let sent: u64 = files.iter().map(|file| file.sent).sum();
    let refused: usize = files.iter().map(|file| file.refused.len()).sum();
    let found = serde_json::json!({
        "destination": destination, "sent": sent, "refused": refused, "seconds": seconds, "complete": complete,
        "files": files,
    });
    output::result(format, &found, || {
        let mut lines = Vec::new();
        for file in files {
            let went_on = match file.from_line {
                0 => String::new(),
                line => format!(", went on after line {line}"),
            };
            let cut = match file.complete {
                true => String::new(),
                false => format!(" (stopped after line {})", file.to_line),
            };
            lines.push(format!("{}: {} lines sent{went_on}{cut}", file.file, file.sent));
            let some = file.refused.iter().take(TOLD);
            lines.extend(some.map(|one| format!("{}, line {}: {}", file.file, one.line, one.problem)));
            if file.refused.len() > TOLD {
                lines.push(format!("… and {} more", file.refused.len() - TOLD));
            }
        }
        let rate = sent as f64 / seconds.max(0.001);
        lines.push(format!(
            "{sent} lines sent to {destination} in {seconds:.1} s ({rate:.0}/s)"
        ));
        lines.join("\n")
    })?;
    if !complete {
        anyhow::bail!("stopped before the end: run the command again to go on there");
    }
    if refused > 0 {
        anyhow::bail!("{refused} lines were not taken");
    }
    Ok(())
}

/// The bytes of a file; of what is none, 0.
fn size(path: impl AsRef<Path>) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[allow(
    clippy::disallowed_methods,
    reason = "the command is an edge: its pace and its progress go by the clock on the wall"
)]
fn now() -> Instant {
    Instant::now()
}
