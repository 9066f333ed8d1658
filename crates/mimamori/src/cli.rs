//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Run the alert role: deliver triggers as signed webhooks.
    #[command(after_help = "\
Examples:
  mimamori alert --config /etc/mimamori.toml

Destinations are configured:
  [[alert.destinations]]
  name = \"cs-team\"
  kind = \"webhook\"
  url = \"https://cs.example/hooks\"
  secret = \"file:/run/secrets/cs-team\"   # whsec_ and base64 of 24 to 64 bytes")]
    Alert(RoleArgs),
    /// Run the api role: the HTTP API and the page.
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
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print what is configured, from defaults, file, environment and flags; secrets are masked.
    #[command(after_help = "\
Examples:
  mimamori config show
  mimamori config show --format json")]
    Show,
    /// Say whether the configuration can be worked with.
    #[command(after_help = "\
Examples:
  mimamori config check --config /etc/mimamori.toml")]
    Check,
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
