//! The command line.

mod alert;
mod config;
mod import;
mod keys;
mod rejected;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use alert::{
    AlertArgs, AlertCommand, AlertTestArgs, DeadCommand, DeadFilterArgs, DeadListArgs, DeadReplayArgs,
    DeadShowArgs, HeldCommand, HeldEndArgs, HeldListArgs, MessageLanguage,
};
pub use config::ConfigCommand;
pub use import::{ImportArgs, Via};
pub use keys::{KeyKind, KeysCommand, KeysCreateArgs, KeysListArgs, KeysRevokeArgs};
pub use rejected::{
    RejectedCommand, RejectedFilterArgs, RejectedListArgs, RejectedReplayArgs, RejectedShowArgs,
};

/// Watches over the customers of a subscription product: takes in what they do, keeps the score of
/// how well each account is doing, and tells the customer-success team, in time, who needs help and
/// why.
#[derive(Debug, Parser)]
#[command(name = "mimamori", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// Configuration file; without it, ./mimamori.toml if there is one.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log: a level (error, warn, info, debug, trace) or directives such as
    /// `info,aggregate=debug`.
    #[arg(
        long,
        global = true,
        env = "MIMAMORI_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log: String,
    /// How results are printed; without it, a table on a terminal and JSON otherwise.
    #[arg(long, global = true, value_enum)]
    pub format: Option<Format>,
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object or array.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  mimamori up --demo               everything on this machine, with customers to look at
  mimamori up                      everything on this machine
  mimamori simulate --accounts 50  send the lives of 50 customers to the raw topic
  mimamori config show             what is configured, and to what";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything on this machine: all roles, an embedded Kafka log and an embedded ClickHouse.
    #[command(after_help = "\
Examples:
  mimamori up --demo
      customers to look at: six months of their lives, and on from there
  mimamori up --data-dir /var/lib/mimamori
      keep the data there; a second process on the same folder is refused
  mimamori up --kafka-brokers kafka-1:9092,kafka-2:9092 --clickhouse-url http://clickhouse:8123
      real servers in place of the embedded engines (either alone will do)")]
    Up(UpArgs),
    /// Run the ingest role: raw events in, validated and re-keyed events out.
    #[command(after_help = "\
Examples:
  mimamori ingest --kafka-brokers kafka-1:9092
  MIMAMORI__KAFKA__BROKERS=kafka-1:9092 mimamori ingest

/healthz, /readyz and /metrics are served on --api-listen.")]
    Ingest(RoleArgs),
    /// Run the aggregate role: fold events, score accounts, land everything in ClickHouse.
    #[command(after_help = "\
Examples:
  mimamori aggregate --kafka-brokers kafka-1:9092 --clickhouse-url http://clickhouse:8123

Start as many as there is work for; they share the partitions of mimamori.events.
/healthz, /readyz and /metrics are served on --api-listen.")]
    Aggregate(RoleArgs),
    /// Run the alert role: deliver triggers to people and to other systems. Its subcommands try a
    /// destination and look after what was not delivered.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
Examples:
  mimamori alert --config /etc/mimamori.toml
  mimamori alert test cs-team                  send a sample to a destination
  mimamori alert dead list                     what nobody tries to deliver any more
  mimamori alert held list                     what the breaker holds until somebody's word

Destinations are configured:
  [[alert.destinations]]
  name = \"cs-team\"
  kind = \"webhook\"          # or slack, pagerduty, hubspot, salesforce, email
  url = \"https://cs.example/hooks\"
  secret = \"file:/run/secrets/cs-team\"   # whsec_ and base64 of 24 to 64 bytes"
    )]
    Alert(AlertArgs),
    /// Run the api role: the HTTP API, the page, and the collector of events at /v1/.
    #[command(after_help = "\
Examples:
  mimamori api --clickhouse-url http://clickhouse:8123
  mimamori api --api-listen 0.0.0.0:8080     (needs an API key in api.api_keys)")]
    Api(RoleArgs),
    /// Create the database and bring its tables up to this version.
    #[command(after_help = "\
Examples:
  mimamori migrate --clickhouse-url http://clickhouse:8123
  mimamori migrate --format json")]
    Migrate(MigrateArgs),
    /// Send the lives of synthetic customers to the raw topic, with the truth about them beside.
    #[command(after_help = "\
Examples:
  mimamori simulate --accounts 2000 --months 9 --truth truth.csv
  mimamori simulate --rate 500                   500 records a second
  mimamori simulate --seed 7 --until 2026-11-01T00:00:00Z
      the same seed and end give the same events, down to their ids
  mimamori simulate --live                       go on living after the history, until Ctrl-C
  mimamori simulate --print-health > demo.toml   the [health] section that fits these customers")]
    Simulate(SimulateArgs),
    /// Load events from files, or from standard input, into the raw topic: the way to bring in history.
    ///
    /// The files are NDJSON, plain or compressed by gzip or zstd (their first bytes tell), in any of the
    /// accepted formats. How far each came is noted beside it, in FILE.mimamori-import, until all are in:
    /// a command that was stopped or killed goes on there when it is run again. Importing twice does no
    /// harm: the same event_id within an account counts once. What ingest cannot accept is found in
    /// `mimamori rejected list`.
    #[command(after_help = "\
Examples:
  mimamori config check --sample history.ndjson   how its events would be read
  mimamori import history.ndjson
  mimamori import 2025-*.ndjson.gz 2026-*.ndjson.zst --kafka-brokers kafka-1:9092
  zcat dump.gz | jq -c .event | mimamori import -
  mimamori import history.ndjson --rate 5000      leave room for what comes in meanwhile
  mimamori import history.ndjson --via http --url https://events.example --key file:write-key

Events older than ingest.max_age_days (400 by default) are rejected: raise it before, or set it to 0.")]
    Import(ImportArgs),
    /// Make, list and revoke the write keys with which clients send events over HTTP.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look at what was rejected or set aside, and bring back what was mended.
    #[command(subcommand)]
    Rejected(RejectedCommand),
    /// Hold the rules against the past: how often each was right, whom it caught, and how long before.
    ///
    /// Every account is lived again, with one evaluation a day that knows nothing of what came after. An
    /// alarm is true when the account leaves (or, for an opportunity, grows) within the horizon after it,
    /// and open while neither the horizon has passed nor that has come.
    #[command(after_help = "\
Examples:
  mimamori backtest                                   all accounts in ClickHouse
  mimamori backtest --horizon 60 --format json
  mimamori backtest --until 2026-10-01T00:00:00Z      as if it were the first of October
  mimamori backtest --config trial-rules.toml         rules that are not in force yet
  mimamori backtest --simulate-accounts 2000 --months 9 --seed 7
      synthetic customers, without ClickHouse")]
    Backtest(BacktestArgs),
    /// Prove what is stored: compute days, numbers and scores again from the raw events, and compare.
    ///
    /// The second computation is SQL over the table `events`, which shares nothing with the first but
    /// the configuration. Every difference is listed; the exit code is 1 when there is any.
    #[command(after_help = "\
Examples:
  mimamori verify                                the newest row and all days of every account
  mimamori verify --sample 50 --seed 7           of 50 accounts
  mimamori verify --account acme --every-row     every evaluation there has been of one
  mimamori verify --account acme --at 2026-11-01T00:00:00Z --receipt
      what the evaluation by then was made of, and the SQL that makes it again
  mimamori verify --account acme --at 2026-11-01T00:00:00Z --known-at 2026-11-01T00:00:00Z
      the score as it could have been known then, without what arrived late")]
    Verify(VerifyArgs),
    /// Make all states, days, numbers and scores anew from the events in ClickHouse.
    ///
    /// For use after a change of [health], when account_state is lost or damaged, when mimamori.events is
    /// to have another number of partitions, and when that topic was lost or lost its end. Stop the
    /// aggregate role first (and ingest, when the number of partitions changes). Nobody is alerted by it, and
    /// what was alerted about is not alerted about again. One that is stopped or killed goes on when it is
    /// run again; until it is finished the aggregate role does not start.
    #[command(after_help = "\
Examples:
  mimamori rebuild
      what `up` keeps in ./mimamori-data; stop it first
  mimamori rebuild --yes --kafka-brokers kafka-1:9092 --clickhouse-url http://clickhouse:8123
  mimamori rebuild --from 2026-10-01
      rows of earlier midnights stay as they are
  mimamori rebuild --partitions 24
      grow mimamori.events to 24 partitions; then set aggregate.partitions = 24")]
    Rebuild(RebuildArgs),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Args)]
pub struct UpArgs {
    /// Folder of the embedded engines' data. Default ./mimamori-data.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Send the lives of 200 synthetic customers at the first start, and go on from there.
    #[arg(long)]
    pub demo: bool,
    /// Where the embedded Kafka log listens. Default 127.0.0.1:9092.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub kafka_listen: Option<SocketAddr>,
    /// Where the embedded ClickHouse listens. Default 127.0.0.1:8123.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub clickhouse_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub servers: ServerArgs,
}

#[derive(Debug, Args)]
pub struct RoleArgs {
    #[command(flatten)]
    pub servers: ServerArgs,
}

/// Where the servers are.
#[derive(Debug, Default, Args)]
pub struct ServerArgs {
    /// Where the API, the page, /healthz, /readyz and /metrics are served. Default 127.0.0.1:8080.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub api_listen: Option<String>,
    /// Kafka's bootstrap addresses.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka_brokers: Option<String>,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// Make the rows of midnights anew from this day or time on: a date (UTC) or RFC 3339. Days, states
    /// and attributes are made anew in any case. Default all of them.
    #[arg(long, value_name = "DATE|TIME")]
    pub from: Option<String>,
    /// Partitions that mimamori.events is to have; the topic grows when it has fewer. Default as many as
    /// it has.
    #[arg(long, value_name = "PARTITIONS")]
    pub partitions: Option<i32>,
    /// Do not ask. Needed where there is no terminal.
    #[arg(long)]
    pub yes: bool,
    /// Folder of the embedded engines' data, when servers are not named. Default ./mimamori-data.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Kafka's bootstrap addresses.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka_brokers: Option<String>,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// One account.
    #[arg(long, value_name = "ID", conflicts_with_all = ["sample", "all"])]
    pub account: Option<String>,
    /// So many accounts, drawn by --seed.
    #[arg(long, value_name = "ACCOUNTS", conflicts_with = "all")]
    pub sample: Option<u64>,
    /// Every account; the default.
    #[arg(long)]
    pub all: bool,
    /// What the sample is drawn from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The newest evaluation at or before this time, RFC 3339. Default the newest there is.
    #[arg(long, value_name = "TIME", conflicts_with = "every_row")]
    pub at: Option<String>,
    /// Every stored evaluation in place of the newest.
    #[arg(long)]
    pub every_row: bool,
    /// Print the score at --at as it could have been known at this time, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "account", conflicts_with_all = ["every_row", "receipt"])]
    pub known_at: Option<String>,
    /// Print what the evaluation was made of, and the SQL that makes it again.
    #[arg(long, requires = "account", conflicts_with = "every_row")]
    pub receipt: bool,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL")]
    pub clickhouse_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// How many accounts.
    #[arg(long, default_value_t = 200)]
    pub accounts: usize,
    /// How many months of their lives.
    #[arg(long, default_value_t = 6)]
    pub months: u32,
    /// What all chance is drawn from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// When the simulation ends, RFC 3339. Default now.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Records a second. Default as fast as it goes.
    #[arg(long, value_name = "RECORDS")]
    pub rate: Option<f64>,
    /// Share of events that are sent twice.
    #[arg(long, default_value_t = 0.01)]
    pub duplicates: f64,
    /// Share of events that arrive late, up to two days.
    #[arg(long, default_value_t = 0.05)]
    pub late: f64,
    /// Share of records that cannot be accepted.
    #[arg(long, default_value_t = 0.0)]
    pub malformed: f64,
    /// Where to write what is true of each account, as CSV. Default ./truth.csv.
    #[arg(long, value_name = "FILE", default_value = "truth.csv")]
    pub truth: PathBuf,
    /// Go on with the same accounts in real time after the history, until Ctrl-C.
    #[arg(long)]
    pub live: bool,
    /// How many times as many events as in life while going on in real time.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub live_speed: f64,
    /// Print the [health] section that fits these customers, and send nothing.
    #[arg(long)]
    pub print_health: bool,
    /// Kafka's bootstrap addresses.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka_brokers: Option<String>,
}

#[derive(Debug, Args)]
pub struct BacktestArgs {
    /// Days within which the outcome must follow an alarm for it to be true.
    #[arg(long, default_value_t = 90.0, value_name = "DAYS")]
    pub horizon: f64,
    /// Where the past ends, RFC 3339. Default the newest evaluation; now for synthetic customers.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Take so many synthetic customers in place of those in ClickHouse.
    #[arg(long, value_name = "ACCOUNTS")]
    pub simulate_accounts: Option<usize>,
    /// How many months the synthetic customers live.
    #[arg(long, default_value_t = 9, requires = "simulate_accounts")]
    pub months: u32,
    /// What the chance of the synthetic customers is drawn from.
    #[arg(long, default_value_t = 1, requires = "simulate_accounts")]
    pub seed: u64,
    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL", conflicts_with = "simulate_accounts")]
    pub clickhouse_url: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together_and_every_command_shows_examples() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        let mut leaves = vec![command];
        while let Some(command) = leaves.pop() {
            if command.get_name() == "help" {
                continue;
            }
            let children: Vec<_> = command.get_subcommands().cloned().collect();
            if children.is_empty() {
                let help = command.clone().render_long_help().to_string();
                assert!(help.contains("Examples:"), "{}", command.get_name());
            }
            leaves.extend(children);
        }
    }
}
