//! `mimamori rejected`: what was rejected or set aside, and the way back for what was mended.
//!
//! What these commands keep true:
//!
//! - The topic `mimamori.rejected` is only read and added to. That a record was replayed is a record
//!   of its own there, a *note*, in the same partition behind the one that it speaks of.
//! - A record counts as replayed when the broker has acknowledged it (`acks=all`); the note comes
//!   after. Between the two a kill leaves a replayed record without a note: a later replay sends it
//!   again, and the event's id makes it count once.
//! - Nothing of a customer's bytes reaches a terminal unescaped, but by `show --raw`.

mod address;
pub mod entry;
pub mod filter;
mod judge;
mod list;
mod notes;
mod replay;
mod report;
mod sending;
mod show;
pub mod text;

use std::path::Path;
use std::time::{Duration, Instant};

use stream::{Span, TopicReader, topics};

use crate::cli::{Format, RejectedCommand};
use crate::config::{Config, Loaded};
use crate::output::Progress;

pub use address::Address;
use entry::Entry;

/// Progress is told of what takes longer than this.
const TELL_AFTER: Duration = Duration::from_secs(1);

pub async fn run(
    file: Option<&Path>,
    command: RejectedCommand,
    format: Option<Format>,
) -> anyhow::Result<()> {
    match command {
        RejectedCommand::List(args) => list::run(config(file, &args.kafka_brokers)?, args, format).await,
        RejectedCommand::Show(args) => show::run(config(file, &args.kafka_brokers)?, args, format).await,
        RejectedCommand::Replay(args) => replay::run(config(file, &args.kafka_brokers)?, args, format).await,
    }
}

fn config(file: Option<&Path>, brokers: &Option<String>) -> anyhow::Result<Config> {
    let mut loaded = Loaded::read(file)?;
    if let Some(brokers) = brokers {
        loaded.config.kafka.brokers = brokers.clone();
    }
    loaded.config.resolve_secrets()?;
    loaded.check()?;
    Ok(loaded.config)
}

/// The topic of rejected records, as it is now.
struct Topic {
    reader: TopicReader,
}

impl Topic {
    async fn open(config: &Config) -> anyhow::Result<Topic> {
        let reader = TopicReader::open(&config.kafka, &config.ingest.group, topics::REJECTED).await?;
        Ok(Topic { reader })
    }

    /// Where this record is.
    ///
    /// # Errors
    /// Says what the topic holds when it holds no such record.
    fn find(&self, address: Address) -> anyhow::Result<Span> {
        let topic = topics::REJECTED;
        let spans = self.reader.spans();
        let Some(held) = spans.iter().find(|span| span.partition == address.partition) else {
            anyhow::bail!(
                "there is no record {address}: {topic} has the partitions 0 to {}",
                spans.len().saturating_sub(1)
            );
        };
        if held.is_empty() {
            anyhow::bail!(
                "there is no record {address}: partition {} of {topic} is empty",
                address.partition
            );
        }
        if !(held.first..held.end).contains(&address.offset) {
            anyhow::bail!(
                "there is no record {address}: partition {} of {topic} holds {}:{} to {}:{}",
                held.partition,
                held.partition,
                held.first,
                held.partition,
                held.end - 1
            );
        }
        Ok(Span {
            partition: address.partition,
            first: address.offset,
            end: address.offset + 1,
        })
    }

    /// Reads, entry after entry, until `take` wants no more.
    async fn read(
        &self,
        what: &str,
        spans: &[Span],
        mut take: impl AsyncFnMut(Entry) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut scan = self.reader.read(spans)?;
        let mut progress = Progress::new(what, false);
        let begun = Instant::now();
        let mut read = 0;
        while let Some(batch) = scan.next().await? {
            for record in batch {
                read += 1;
                if !take(Entry::of(record)).await? {
                    progress.finish();
                    return Ok(());
                }
            }
            if begun.elapsed() >= TELL_AFTER {
                progress.set(what, read, scan.total());
            }
        }
        progress.finish();
        Ok(())
    }
}
