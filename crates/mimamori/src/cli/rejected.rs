//! The command line of `mimamori rejected`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::commands::rejected::Address;

#[derive(Debug, Subcommand)]
pub enum RejectedCommand {
    /// List what was rejected, newest first, with the number of records by reason.
    #[command(after_help = "\
Examples:
  mimamori rejected list
  mimamori rejected list --reason missing_field,empty_field --since 7d
  mimamori rejected list --since 2026-11-01 --until 2026-11-02T12:00:00Z --limit 500
  mimamori rejected list --source-topic mimamori.events    what aggregate set aside
  mimamori rejected list --format json | jq -r '.records[] | select(.replayed | not) | .address'")]
    List(RejectedListArgs),
    /// Show one rejected record with everything that is known of it.
    ///
    /// JSON is indented, an event of mimamori.events is decoded, other text is shown with its control
    /// characters escaped, anything else in hexadecimal.
    #[command(after_help = "\
Examples:
  mimamori rejected show 0:17
  mimamori rejected show 0:17 --raw > mended.json     the bytes as they came, to be mended
  mimamori rejected show 2:4 --format json | jq .value > mended.json
      an event that aggregate set aside, as JSON that replay --file takes")]
    Show(RejectedShowArgs),
    /// Send rejected records back to the topic that they came from.
    ///
    /// Each is decoded first, under the present configuration: one that would be rejected again is left
    /// where it is and told. Key, headers and bytes are the original ones; what came over HTTP goes to
    /// the raw topic. A note about each replayed record is kept in mimamori.rejected, so that filters
    /// pass over it from then on; one that is named by its address is sent again.
    ///
    /// Replaying twice does no harm: the same event_id within an account counts once. So when mending,
    /// do not give a record a new event_id each time.
    ///
    /// The exit code is 1 when a record that was asked for was not replayed.
    #[command(after_help = "\
Examples:
  mimamori rejected replay 0:17 1:4
  mimamori rejected replay 0:17 --file mended.json    these bytes in place of its own
  mimamori rejected show 0:17 --raw | sed s/usr/user_id/ | mimamori rejected replay 0:17 --file -
  mimamori rejected replay --reason too_old --dry-run
      what would become of each, after ingest.max_age_days was raised
  mimamori rejected replay --reason too_old --since 7d --yes
  mimamori rejected replay --reason folding_failed --yes
      what aggregate set aside, after an upgrade")]
    Replay(RejectedReplayArgs),
}

/// Which records.
#[derive(Debug, Default, Args)]
pub struct RejectedFilterArgs {
    /// Only those with one of these reasons, such as missing_field or too_old.
    #[arg(long, value_name = "REASON,…", value_delimiter = ',')]
    pub reason: Vec<String>,
    /// Only those rejected at or after this time: RFC 3339, a date (UTC), or how long ago, such as 2h
    /// or 7d.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only those rejected before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only those that came from this topic; http for those that came over HTTP.
    #[arg(long, value_name = "TOPIC")]
    pub source_topic: Option<String>,
}

#[derive(Debug, Args)]
pub struct RejectedListArgs {
    #[command(flatten)]
    pub filter: RejectedFilterArgs,
    /// How many to list at most, the newest. All are counted.
    #[arg(long, default_value_t = 50, value_name = "RECORDS")]
    pub limit: usize,
    /// Kafka's bootstrap addresses.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka_brokers: Option<String>,
}

#[derive(Debug, Args)]
pub struct RejectedShowArgs {
    /// Partition and offset in mimamori.rejected, as `list` tells them.
    #[arg(value_name = "PARTITION:OFFSET")]
    pub address: Address,
    /// Write the original bytes to standard output, and nothing else.
    #[arg(long)]
    pub raw: bool,
    /// Kafka's bootstrap addresses.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka_brokers: Option<String>,
}

#[derive(Debug, Args)]
pub struct RejectedReplayArgs {
    /// Partition and offset in mimamori.rejected, as `list` tells them; or filters in their place.
    #[arg(
        value_name = "PARTITION:OFFSET",
        conflicts_with_all = ["reason", "since", "until", "source_topic"]
    )]
    pub addresses: Vec<Address>,
    #[command(flatten)]
    pub filter: RejectedFilterArgs,
    /// Send the bytes of this file in place of the record's own; `-` is standard input. For one address.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Say how each would be decoded now, and send nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask. Needed with filters where there is no terminal.
    #[arg(long)]
    pub yes: bool,
    /// Also send what would be rejected again.
    #[arg(long)]
    pub force: bool,
    /// Kafka's bootstrap addresses.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka_brokers: Option<String>,
}
