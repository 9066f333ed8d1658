//! `mimamori alert`

use clap::{Args, Subcommand, ValueEnum};

use super::RoleArgs;

#[derive(Debug, Args)]
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
    /// Look at dead letters, deliveries that nobody tries any more, and try them again.
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Look at what the breaker holds, and say what is to become of it.
    #[command(subcommand)]
    Held(HeldCommand),
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

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List the dead letters, those given up last first.
    #[command(after_help = "\
Examples:
  mimamori alert dead list
  mimamori alert dead list --destination cs-team --since 7d
  mimamori alert dead list --account acme --rule champion_removed --limit 500
  mimamori alert dead list --format json | jq -r '.dead_letters[].alert_id'")]
    List(DeadListArgs),
    /// Show an alert's deliveries, attempt by attempt, and what was to be sent.
    #[command(after_help = "\
Examples:
  mimamori alert dead show al_ca619ab755e5c8c0ea67a00a09bc6345
  mimamori alert dead show al_ca619ab755e5c8c0ea67a00a09bc6345 --format json | jq .attempts")]
    Show(DeadShowArgs),
    /// Try dead letters again, now, under the same ids; their schedule of attempts begins anew.
    ///
    /// The running alert role notices within a second or two, and tries a destination again that it had
    /// disabled; without one, the next start does. Replaying twice does no harm. Refused is what the
    /// receiver has meanwhile, or of whose episode it has a later change, which it would take for older.
    ///
    /// The exit code is 1 when something that was asked for is not on its way.
    #[command(after_help = "\
Examples:
  mimamori alert dead replay al_ca619ab755e5c8c0ea67a00a09bc6345
  mimamori alert dead replay al_ca619ab755e5c8c0ea67a00a09bc6345 --destination pager
  mimamori alert dead replay --all --destination cs-team       after its address was mended
  mimamori alert dead replay --all --since 2h")]
    Replay(DeadReplayArgs),
}

/// Which dead letters.
#[derive(Debug, Default, Args)]
pub struct DeadFilterArgs {
    /// Only those to this destination.
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Only those of this rule.
    #[arg(long, value_name = "RULE")]
    pub rule: Option<String>,
    /// Only those about this account.
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Only those given up at or after this time: RFC 3339, a date (UTC), or how long ago, such as 2h or 7d.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

#[derive(Debug, Args)]
pub struct DeadListArgs {
    #[command(flatten)]
    pub filter: DeadFilterArgs,
    /// How many at most.
    #[arg(long, default_value_t = 50, value_name = "DELIVERIES", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct DeadShowArgs {
    /// The alert's id, as `list` tells it; the webhook-id.
    #[arg(value_name = "ALERT_ID")]
    pub alert_id: String,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct DeadReplayArgs {
    /// The alerts' ids, as `list` tells them; or --all.
    #[arg(value_name = "ALERT_ID", required_unless_present = "all", conflicts_with_all = ["all", "rule", "account", "since"])]
    pub alert_ids: Vec<String>,
    /// All that the filters find.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub filter: DeadFilterArgs,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum HeldCommand {
    /// List what has tripped the breaker, with how many alerts wait.
    #[command(after_help = "\
Examples:
  mimamori alert held list
  mimamori alert held list --format json | jq '.[].summary.data.examples'")]
    List(HeldListArgs),
    /// Tell what is held by a rule or a cause, but not what is over meanwhile. The counting begins anew.
    ///
    /// The running alert role does it within a second or two; without one, the next start does.
    #[command(after_help = "\
Examples:
  mimamori alert held release rule:falling_usage
  mimamori alert held release usage_trend           a name alone will do when it is one only")]
    Release(HeldEndArgs),
    /// Do not tell what is held by a rule or a cause, nor of its end. The counting begins anew.
    ///
    /// The running alert role does it within a second or two; without one, the next start does. It cannot
    /// be undone.
    #[command(after_help = "\
Examples:
  mimamori alert held drop cause:usage_trend")]
    Drop(HeldEndArgs),
}

#[derive(Debug, Args)]
pub struct HeldListArgs {
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct HeldEndArgs {
    /// The name, as `list` tells it.
    #[arg(value_name = "RULE|CAUSE")]
    pub name: String,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}
