//! `mimamori rejected replay`

use std::collections::BTreeSet;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use anyhow::Context;
use stream::Span;
use tokio::sync::watch;

use super::entry::Entry;
use super::filter::Filter;
use super::judge::{Judge, Refusal, Replay};
use super::notes::Replayed;
use super::report::Report;
use super::sending::Sending;
use super::{Address, Topic};
use crate::cli::{Format, RejectedReplayArgs};
use crate::config::{Config, ConfigError};
use crate::{output, shutdown};

pub async fn run(config: Config, args: RejectedReplayArgs, format: Option<Format>) -> anyhow::Result<()> {
    let now_ms = crate::commands::wall_ms();
    let filter = Filter::new(&args.filter, now_ms)?;
    let asks = check(&args, &filter)?;
    let mended = match &args.file {
        Some(file) => Some(read_mended(file, config.kafka.max_record_bytes)?),
        None => None,
    };
    let judge = Judge::new(&config, now_ms)?;
    let topic = Topic::open(&config).await?;
    let mut work = Work {
        judge,
        filter,
        named: BTreeSet::new(),
        replayed: Replayed::default(),
        mended,
        force: args.force,
    };
    let mut spans = Vec::new();
    if args.addresses.is_empty() {
        spans = work.filter.spans(&topic.reader).await?;
        work.replayed = Replayed::read(&topic, &spans).await?;
    }
    for address in &args.addresses {
        if work.named.insert(*address) {
            spans.push(topic.find(*address)?);
        }
    }

    if args.dry_run {
        let report = work.survey(&topic, &spans).await?;
        return output::result(format, &report.json(true), || report.table());
    }
    if asks {
        let report = work.survey(&topic, &spans).await?;
        if report.replayable == 0 || !confirmed(&report)? {
            output::result(format, &report.json(true), || report.table())?;
            return match report.replayable {
                0 => report.ending(args.file.as_deref()),
                _ => anyhow::bail!("nothing was replayed"),
            };
        }
    }
    let (_stop, stopped) = shutdown::watch_signals()?;
    let mut sending = Sending::new(&config)?;
    let report = work.send(&topic, &spans, &mut sending, &stopped).await?;
    output::result(format, &report.json(false), || report.table())?;
    report.ending(args.file.as_deref())
}

/// Whether a person is to be asked first.
///
/// # Errors
/// When the flags do not go together.
fn check(args: &RejectedReplayArgs, filter: &Filter) -> Result<bool, ConfigError> {
    if args.file.is_some() && args.addresses.len() != 1 {
        let problem = "--file holds one record: name the one address that it is for, such as 0:17";
        return Err(ConfigError(problem.to_string()));
    }
    if !args.addresses.is_empty() {
        return Ok(false);
    }
    if filter.is_empty() {
        let problem = "say which records: by their addresses, such as 0:17, or by --reason, --since, --until or \
                       --source-topic";
        return Err(ConfigError(problem.to_string()));
    }
    let asks = !args.yes && !args.dry_run;
    if asks && !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let problem = "there is no terminal to ask on: give --yes, or --dry-run to see what it would do";
        return Err(ConfigError(problem.to_string()));
    }
    Ok(asks)
}

/// What `--file` names, for people.
pub fn name(file: &Path) -> String {
    if file == Path::new("-") {
        "standard input".to_string()
    } else {
        file.display().to_string()
    }
}

fn read_mended(file: &Path, max_bytes: u32) -> anyhow::Result<Vec<u8>> {
    let mut mended = Vec::new();
    let most = u64::from(max_bytes);
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut mended)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most + 1).read_to_end(&mut mended))
    };
    read.with_context(|| format!("cannot read {}", name(file)))?;
    if mended.is_empty() {
        anyhow::bail!("{} is empty: it must hold the mended record", name(file));
    }
    if mended.len() as u64 > most {
        anyhow::bail!(
            "{} has more than {most} bytes (kafka.max_record_bytes), which is no record",
            name(file)
        );
    }
    Ok(mended)
}

fn confirmed(report: &Report) -> anyhow::Result<bool> {
    let records = match report.replayable {
        1 => "1 record".to_string(),
        several => format!("{several} records"),
    };
    let left = match report.left {
        0 => String::new(),
        left => format!(" ({left} would be left, --dry-run tells why)"),
    };
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "replay {records}{left}? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Which records, and how they are looked at.
struct Work {
    judge: Judge,
    filter: Filter,
    /// When this is empty the filter says which.
    named: BTreeSet<Address>,
    replayed: Replayed,
    mended: Option<Vec<u8>>,
    force: bool,
}

impl Work {
    /// What would become of each.
    async fn survey(&self, topic: &Topic, spans: &[Span]) -> anyhow::Result<Report> {
        let mut report = Report::default();
        topic
            .read("looking", spans, async |entry| {
                if let Some((address, replay)) = self.look(entry, &mut report) {
                    report.would_replay(address, &replay);
                }
                Ok(true)
            })
            .await?;
        self.tell_missing(&mut report);
        report.finish();
        Ok(report)
    }

    async fn send(
        &self,
        topic: &Topic,
        spans: &[Span],
        sending: &mut Sending,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<Report> {
        let mut report = Report::default();
        let read = topic
            .read("replaying", spans, async |entry| {
                if *stopped.borrow() {
                    report.is_cut_short = true;
                    return Ok(false);
                }
                let Some((address, replay)) = self.look(entry, &mut report) else {
                    return Ok(true);
                };
                while sending.is_full() {
                    report.settle(sending.settle().await);
                }
                report.settle(sending.send(address, replay).await?);
                Ok(true)
            })
            .await;
        // Also when the reading failed: what was sent wants its note.
        while let Some(settled) = sending.settle().await {
            report.settle(Some(settled));
        }
        read?;
        report.unnoted = sending.unnoted();
        if !report.is_cut_short {
            self.tell_missing(&mut report);
        }
        report.finish();
        Ok(report)
    }

    /// What is to be sent for this entry, if anything; what is asked for and left is told.
    fn look(&self, entry: Entry, report: &mut Report) -> Option<(Address, Replay)> {
        let is_named = !self.named.is_empty();
        if is_named {
            report.seen.insert(entry.address());
        }
        let rejected = match entry {
            Entry::Rejected(rejected) => rejected,
            Entry::Note(note) if is_named => {
                let detail = format!("it is the note that {} was replayed", note.of);
                report.leave(note.address, Refusal::new("not_rejected", detail));
                return None;
            }
            Entry::Note(_) => return None,
        };
        if !is_named && !self.filter.wants(&rejected) {
            return None;
        }
        if self.replayed.has(rejected.address) {
            report.already_replayed += 1;
            return None;
        }
        match self.judge.judge(&rejected, self.mended.as_deref(), self.force) {
            Ok(replay) => Some((rejected.address, replay)),
            Err(refusal) => {
                report.leave(rejected.address, refusal);
                None
            }
        }
    }
    /// Those that were named and did not come.
    fn tell_missing(&self, report: &mut Report) {
        for address in &self.named {
            if !report.seen.contains(address) {
                report.leave(*address, Refusal::new("gone", "there is no such record any more"));
            }
        }
    }
}
