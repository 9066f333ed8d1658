//! The command line of `mimamori config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print what is configured, from defaults, file, environment and flags; secrets are masked.
    #[command(after_help = "\
Examples:
  mimamori config show
  mimamori config show --format json")]
    Show,
    /// Say whether the configuration can be worked with, and how given events would be read.
    ///
    /// A sample is NDJSON, plain or compressed by gzip or zstd, in any of the accepted formats. Nothing is
    /// sent. The exit code is 1 when a line of it would be rejected.
    #[command(after_help = "\
Examples:
  mimamori config check --config /etc/mimamori.toml
  mimamori config check --sample events.ndjson
  mimamori config check --sample - < events.ndjson
  mimamori config check --sample events.ndjson.gz --format json |
      jq -r '.events[] | select(.reason) | \"\\(.line): \\(.detail)\"'")]
    Check(ConfigCheckArgs),
}

#[derive(Debug, Args)]
pub struct ConfigCheckArgs {
    /// Show how each line of this file would be read; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub sample: Option<PathBuf>,
    /// The source that the events come from, as their header `source` would name it. Default the raw topic.
    #[arg(long, value_name = "NAME", requires = "sample")]
    pub source: Option<String>,
}
