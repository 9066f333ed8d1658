//! `mimamori alert`

use clap::{Args, Subcommand, ValueEnum};

use super::RoleArgs;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AlertArgs {
    #[command(flatten)]
    pub role: RoleArgs,
    #[command(subcommand)]
    pub command: Option<AlertCommand>,
}

#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Send a sample to a destination, and tell what was sent and what came back.
    ///
    /// It goes the way that every alert goes, with the same checks of addresses, once: it is not recorded
    /// and not tried again. The exit code is 1 when it did not arrive. At PagerDuty it opens an incident,
    /// at HubSpot a task: somebody should know.
    #[command(after_help = "\
Examples:
  mimamori alert test cs-team
  mimamori alert test cs-team --language ja
  mimamori alert test cs-team --format json | jq .error")]
    Test(AlertTestArgs),
}

#[derive(Debug, Args)]
pub struct AlertTestArgs {
    /// The name of the destination, as it is configured.
    pub destination: String,
    /// The language of the sample. Default that of the destination.
    #[arg(long, value_enum)]
    pub language: Option<MessageLanguage>,
}

/// The language of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MessageLanguage {
    /// English.
    En,
    /// Japanese.
    Ja,
    /// Both.
    Both,
}
