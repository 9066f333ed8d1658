//! Servers that outlive the roles: a Kafka log of this process, a ClickHouse of another, and roles that are
//! started and killed beside them.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use embedded::{clickhouse, kafka};
use serde_json::{Value, json};
use stream::{KafkaConfig, Producer, topics};
use tests::{Place, free_port, mimamori, wait_for};
use tokio::process::{Child, Command};

pub const LONG: Duration = Duration::from_secs(240);

/// Tells [`serve`] where its data go.
const FOLDER: &str = "MIMAMORI_TEST_ENGINE_FOLDER";

const READY: &str = "engine ready at ";

/// The account model that fits the simulated customers.
pub async fn health() -> anyhow::Result<String> {
    let printed = Command::new(mimamori())
        .args(["simulate", "--print-health"])
        .output()
        .await?;
    ensure!(printed.status.success(), "{}", told(&printed.stderr));
    Ok(String::from_utf8(printed.stdout)?)
}

pub fn told(stderr: &[u8]) -> String {
    String::from_utf8_lossy(stderr).into_owned()
}

pub struct Servers {
    pub place: Place,
    broker: Option<kafka::Broker>,
    _clickhouse: std::process::Child,
}

/// A role that runs; it is killed when it is dropped.
pub struct Role {
    child: Child,
    api: u16,
}

impl Role {
    /// Ends it as a person does.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("it runs")?.to_string();
        let status = std::process::Command::new("kill").args(["-INT", &id]).status()?;
        ensure!(status.success(), "cannot stop it");
        let ended = tokio::time::timeout(LONG, self.child.wait()).await??;
        ensure!(ended.success(), "it ended with {ended}");
        Ok(())
    }

    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// The sum of a metric over all labels.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.api));
        let text = text.await?.text().await?;
        let of_it = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        Ok(of_it
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}

impl Servers {
    pub async fn start() -> anyhow::Result<Servers> {
        let mut place = Place::new("")?;
        let folder = place.path("clickhouse");
        let started = tokio::task::spawn_blocking(move || start_clickhouse(folder)).await?;
        let (clickhouse, port) = started?;
        place.clickhouse = port;
        let mut servers = Servers {
            place,
            broker: None,
            _clickhouse: clickhouse,
        };
        servers.start_kafka().await?;
        servers.configure("")?;
        Ok(servers)
    }

    /// Gives the roles that start from now on the servers' addresses and these settings.
    pub fn configure(&self, settings: &str) -> anyhow::Result<()> {
        let text = format!(
            "[kafka]\nbrokers = \"127.0.0.1:{}\"\n[clickhouse]\nurl = \"http://127.0.0.1:{}\"\n{settings}",
            self.place.kafka, self.place.clickhouse
        );
        Ok(std::fs::write(self.place.path("mimamori.toml"), text)?)
    }

    pub fn log_folder(&self) -> PathBuf {
        self.place.path("kafka")
    }

    pub async fn start_kafka(&mut self) -> anyhow::Result<()> {
        let config = kafka::Config {
            listen: ([127, 0, 0, 1], self.place.kafka).into(),
            data_dir: self.log_folder(),
            ..kafka::Config::default()
        };
        self.broker = Some(kafka::start(config).await?);
        Ok(())
    }

    pub async fn stop_kafka(&mut self) -> anyhow::Result<()> {
        let broker = self.broker.take().context("it runs")?;
        Ok(broker.shutdown().await?)
    }

    /// Starts a role and waits until it takes part.
    pub async fn role(&self, role: &str) -> anyhow::Result<Role> {
        let api = free_port();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.place.path("log"))?;
        let mut command = self.place.command(role);
        command.args(["--api-listen", &format!("127.0.0.1:{api}")]);
        command.stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn()?;
        let ready = format!("http://127.0.0.1:{api}/readyz");
        let started = wait_for("readiness", LONG, || async {
            let status = reqwest::get(&ready).await?.status();
            Ok(status.is_success().then_some(()))
        });
        tokio::select! {
            started = started => started.with_context(|| self.place.end_of_log())?,
            ended = child.wait() => bail!("{role} ended: {}\n{}", ended?, self.place.end_of_log()),
        }
        Ok(Role { child, api })
    }

    /// Why a role does not start.
    pub async fn refusal(&self, role: &str) -> anyhow::Result<String> {
        let mut command = self.place.command(role);
        command.args(["--api-listen", &format!("127.0.0.1:{}", free_port())]);
        let output = tokio::time::timeout(LONG, command.output()).await??;
        ensure!(!output.status.success(), "{role} started");
        Ok(told(&output.stderr))
    }
}

/// What a command says in JSON; the error says how it ended otherwise.
pub async fn answer(place: &Place, subcommand: &str, arguments: &[&str]) -> anyhow::Result<Value> {
    let mut command = place.command(subcommand);
    command.args(["--format", "json"]).args(arguments);
    let output = tokio::time::timeout(LONG, command.output()).await;
    let output = output.with_context(|| format!("{subcommand} does not end"))??;
    ensure!(
        output.status.success(),
        "{subcommand} {arguments:?} ended with {}: {}{}",
        output.status,
        told(&output.stdout),
        told(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Sends the lives of customers; the same ones, down to their ids, whenever the arguments are the same.
pub async fn simulate(place: &Place, seed: u32, until: &str) -> anyhow::Result<Value> {
    let seed = seed.to_string();
    let brokers = format!("127.0.0.1:{}", place.kafka);
    let arguments = [
        "--accounts",
        "12",
        "--months",
        "2",
        "--seed",
        &seed,
        "--until",
        until,
    ];
    answer(
        place,
        "simulate",
        &[&arguments[..], &["--kafka-brokers", &brokers]].concat(),
    )
    .await
}

/// Recent enough that its last weeks count as now.
pub fn until() -> anyhow::Result<String> {
    let now = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:00:00Z"])
        .output()?;
    Ok(String::from_utf8(now.stdout)?.trim().to_string())
}

/// Sends feature uses of now to the raw topic, `each` of every account, with ids that begin with `prefix`.
pub async fn send(place: &Place, accounts: &[&str], each: usize, prefix: &str) -> anyhow::Result<()> {
    let producer = Producer::new(&KafkaConfig::at(format!("127.0.0.1:{}", place.kafka)))?;
    let now = place.count("SELECT toUnixTimestamp64Milli(now64(3))").await?;
    for account in accounts {
        for number in 0..each {
            let event = json!({
                "event_id": format!("{prefix}-{number}"), "account_id": account, "user_id": "u-1", "type": "feature",
                "name": "report.export", "occurred_at": now,
            });
            let value = event.to_string();
            let sent = producer.send_waiting(topics::RAW, None, value.as_bytes(), &[]);
            sent.await?.await?;
        }
    }
    Ok(())
}

fn start_clickhouse(folder: PathBuf) -> anyhow::Result<(std::process::Child, u16)> {
    let mut process = std::process::Command::new(std::env::current_exe()?)
        .args(["rebuild::servers::serve", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(process.stdout.take().context("it is piped")?).lines();
    let mut said = lines.by_ref().map_while(Result::ok);
    let url = said.find_map(|line| line.split_once(READY).map(|(_, url)| url.to_string()));
    let url = url.context("the engine's process says why it does not start")?;
    // What it says later is read and dropped, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    let (_, port) = url.trim_end_matches('/').rsplit_once(':').context("an address")?;
    Ok((process, port.parse()?))
}

/// The engine cannot be stopped from within the tests' process, so it has one of its own, which ends when
/// its standard input closes.
#[test]
#[ignore = "is the process of the engine, which the tests start"]
fn serve() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let library = clickhouse::obtain_library(&clickhouse::CacheConfig::from_environment(), &mut |_| {})
        .unwrap_or_else(|error| panic!("no ClickHouse engine for the tests: {error}"));
    let config = clickhouse::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        data_dir: folder,
        library,
        ..clickhouse::Config::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let engine = clickhouse::start(config).await.expect("the engine starts");
        println!("{READY}{}", engine.url());
        let until_closed = || std::io::stdin().read_to_end(&mut Vec::new());
        // Whatever ended it, nobody is left to serve.
        let _ = tokio::task::spawn_blocking(until_closed).await;
        let _ = engine.shutdown().await;
    });
    std::process::exit(0);
}
