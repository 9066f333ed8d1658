//! A running set of processes: Kafka, ClickHouse and mimamori's roles, each with a log file of its own
//! under one folder, and questions to them.
//!
//! ```text
//! FOLDER/bin/            the commands, as they were at the start: a build meanwhile changes nothing
//! FOLDER/mimamori.toml   what the roles run with
//! FOLDER/logs/NAME.log   one for each process, over all its lives
//! FOLDER/data/           the embedded engines'
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::de::DeserializeOwned;
use tests::{free_port, wait_for};
use tokio::process::Command;

use crate::apache::Apache;
use crate::process::Process;

/// How long a process may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Which Kafka.
#[derive(Clone, Debug)]
pub enum Kafka {
    /// The embedded one, as a process of its own.
    Embedded,
    /// Apache Kafka, with so many brokers.
    Apache(u32),
    /// One that runs already, at these bootstrap addresses. Its topics must be new.
    At(String),
}

impl std::str::FromStr for Kafka {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Kafka, Self::Err> {
        Ok(match text {
            "embedded" => Kafka::Embedded,
            "apache" => Kafka::Apache(1),
            "apache3" => Kafka::Apache(3),
            addresses => Kafka::At(addresses.to_owned()),
        })
    }
}

/// A role of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Raw events to accepted ones.
    Ingest,
    /// Accepted events to scores.
    Aggregate,
    /// Alerts to webhooks.
    Alert,
    /// The HTTP API.
    Api,
}

impl Role {
    /// The subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Aggregate => "aggregate",
            Role::Alert => "alert",
            Role::Api => "api",
        }
    }
}

/// The processes.
pub struct Cluster {
    folder: PathBuf,
    kafka_address: String,
    clickhouse_port: u16,
    /// The embedded Kafka log, where it is used.
    pub kafka: Option<Process>,
    /// Apache Kafka, where it is used.
    pub apache: Option<Arc<Apache>>,
    /// The embedded ClickHouse.
    pub clickhouse: Process,
    roles: BTreeMap<String, RoleProcess>,
    http: reqwest::Client,
}

/// Questions to ClickHouse itself, whatever the roles are told.
#[derive(Clone, Debug)]
pub struct Sql {
    url: String,
    http: reqwest::Client,
}

impl Sql {
    /// The answer as text.
    pub async fn query(&self, sql: &str) -> anyhow::Result<String> {
        let answer = self.http.post(&self.url).body(sql.to_owned()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(
            status.is_success(),
            "ClickHouse answered {status} to {sql}: {text}"
        );
        Ok(text.trim_end().to_owned())
    }

    /// The answer as a number.
    pub async fn count(&self, sql: &str) -> anyhow::Result<u64> {
        let text = self.query(sql).await?;
        text.parse().with_context(|| format!("{sql} answered {text:?}"))
    }

    /// The answer as rows; the statement must not name a format.
    pub async fn rows<T: DeserializeOwned>(&self, sql: &str) -> anyhow::Result<Vec<T>> {
        let settings = "SETTINGS output_format_json_quote_64bit_integers = 0";
        let text = self
            .query(&format!("{sql} {settings} FORMAT JSONCompactEachRow"))
            .await?;
        let rows = text.lines().map(serde_json::from_str);
        rows.collect::<Result<_, _>>()
            .with_context(|| format!("the rows of {sql}"))
    }
}

struct RoleProcess {
    process: Process,
    api: u16,
}

impl Cluster {
    /// Starts the servers, with `config` as the roles' `mimamori.toml`.
    ///
    /// # Errors
    /// A server does not start; the end of its log is in the error.
    pub async fn start(folder: &Path, kafka: Kafka, config: &str) -> anyhow::Result<Cluster> {
        std::fs::create_dir_all(folder.join("logs"))?;
        std::fs::create_dir_all(folder.join("bin"))?;
        for name in ["faults", "mimamori"] {
            let (command, own) = (built(name)?, folder.join("bin").join(name));
            // A link where that is possible; cargo replaces files and does not write into them.
            if std::fs::hard_link(&command, &own).is_err() {
                std::fs::copy(&command, &own)?;
            }
        }
        std::fs::create_dir_all(folder.join("data"))?;
        std::fs::write(folder.join("mimamori.toml"), config)?;
        let (kafka, apache, kafka_address) = match kafka {
            Kafka::Embedded => {
                let listen = format!("127.0.0.1:{}", free_port());
                (Some(engine(folder, "kafka", &listen)), None, listen)
            }
            Kafka::Apache(brokers) => {
                let apache = Apache::start(&folder.join("data/apache"), brokers).await?;
                let addresses = apache.bootstrap().to_owned();
                (None, Some(Arc::new(apache)), addresses)
            }
            Kafka::At(addresses) => (None, None, addresses),
        };
        let clickhouse_port = free_port();
        let clickhouse = engine(folder, "clickhouse", &format!("127.0.0.1:{clickhouse_port}"));
        let mut cluster = Cluster {
            folder: folder.to_owned(),
            kafka_address,
            clickhouse_port,
            kafka,
            apache,
            clickhouse,
            roles: BTreeMap::new(),
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(120))
                .build()?,
        };
        if cluster.kafka.is_some() {
            cluster.start_kafka().await?;
        }
        cluster.start_clickhouse().await?;
        Ok(cluster)
    }

    /// Kills Kafka, all of its brokers.
    pub async fn kill_kafka(&mut self) -> anyhow::Result<()> {
        if let Some(apache) = &self.apache {
            return apache.kill_all().await;
        }
        let process = self.kafka.as_mut().context("this Kafka is not ours to kill")?;
        process.kill().await
    }

    /// Starts Kafka, at first or again, and waits until it answers.
    pub async fn start_kafka(&mut self) -> anyhow::Result<()> {
        if let Some(apache) = &self.apache {
            return apache.start_all().await;
        }
        let process = self.kafka.as_mut().context("this Kafka is not ours to start")?;
        process.start()?;
        let address = &self.kafka_address;
        ready(process, || async move {
            tokio::net::TcpStream::connect(address).await?;
            Ok(Some(()))
        })
        .await
    }

    /// Starts ClickHouse, at first or again, and waits until it answers.
    pub async fn start_clickhouse(&mut self) -> anyhow::Result<()> {
        self.clickhouse.start()?;
        let ping = format!("http://127.0.0.1:{}/ping", self.clickhouse_port);
        let http = &self.http;
        let ping = &ping;
        ready(&mut self.clickhouse, || async move {
            let status = http.get(ping).send().await?.status();
            Ok(status.is_success().then_some(()))
        })
        .await
    }

    /// The folder of configuration, logs and data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kafka's bootstrap addresses.
    pub fn kafka_address(&self) -> &str {
        &self.kafka_address
    }

    /// ClickHouse's own address, whatever the roles are told.
    pub fn clickhouse_address(&self) -> String {
        format!("127.0.0.1:{}", self.clickhouse_port)
    }

    /// Adds a role process, started at once. It speaks to the cluster's own servers.
    pub fn add(&mut self, role: Role, name: &str) -> anyhow::Result<()> {
        let kafka = self.kafka_address.clone();
        let clickhouse = self.clickhouse_address();
        self.add_at(role, name, &kafka, &clickhouse)
    }

    /// Adds a role process that is told these addresses (`host:port`), of a proxy for instance.
    pub fn add_at(&mut self, role: Role, name: &str, kafka: &str, clickhouse: &str) -> anyhow::Result<()> {
        ensure!(!self.roles.contains_key(name), "there is a {name} already");
        let api = free_port();
        let mut arguments = vec![role.name().to_owned()];
        arguments.extend([
            "--config".to_owned(),
            self.folder.join("mimamori.toml").display().to_string(),
        ]);
        arguments.extend(["--api-listen".to_owned(), format!("127.0.0.1:{api}")]);
        arguments.extend(["--kafka-brokers".to_owned(), kafka.to_owned()]);
        if role != Role::Ingest {
            arguments.extend(["--clickhouse-url".to_owned(), format!("http://{clickhouse}")]);
        }
        let log = self.folder.join("logs").join(format!("{name}.log"));
        let mut process = Process::new(name, &self.folder.join("bin/mimamori"), arguments, log);
        process.start()?;
        self.roles.insert(name.to_owned(), RoleProcess { process, api });
        Ok(())
    }

    /// The names of the role processes, sorted.
    pub fn names(&self) -> Vec<String> {
        self.roles.keys().cloned().collect()
    }

    /// A role process by name.
    pub fn role(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        let role = self.roles.get_mut(name);
        Ok(&mut role.with_context(|| format!("there is no {name}"))?.process)
    }

    /// Waits until a role's `/readyz` answers 200.
    ///
    /// # Errors
    /// It ends, or is not ready in time; the end of its log is in the error.
    pub async fn wait_ready(&mut self, name: &str) -> anyhow::Result<()> {
        let http = &self.http;
        let role = self.roles.get_mut(name);
        let role = role.with_context(|| format!("there is no {name}"))?;
        let url = &format!("http://127.0.0.1:{}/readyz", role.api);
        ready(&mut role.process, || async move {
            let status = http.get(url).send().await?.status();
            Ok(status.is_success().then_some(()))
        })
        .await
    }

    /// What a role answers at a path of its API: status and text.
    pub async fn get(&self, name: &str, path: &str) -> anyhow::Result<(u16, String)> {
        let role = self.roles.get(name);
        let role = role.with_context(|| format!("there is no {name}"))?;
        let url = format!("http://127.0.0.1:{}{path}", role.api);
        let asked = self.http.get(url).timeout(Duration::from_secs(5)).send();
        let answer = asked.await.with_context(|| format!("{name} does not answer"))?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// A metric of a role: the sum over the series of this name whose labels contain `labels`
    /// (`role="aggregate"`, or nothing for all); `None` when there is no such series.
    pub async fn metric(&self, name: &str, metric: &str, labels: &str) -> anyhow::Result<Option<f64>> {
        let (_, text) = self.get(name, "/metrics").await?;
        let mut sum = None;
        for line in text.lines() {
            let Some(rest) = line.strip_prefix(metric) else {
                continue;
            };
            if !rest.starts_with(['{', ' ']) || !rest.contains(labels) {
                continue;
            }
            let value = rest.rsplit(' ').next().unwrap_or_default();
            *sum.get_or_insert(0.0) += value.parse::<f64>()?;
        }
        Ok(sum)
    }

    /// Questions to ClickHouse.
    pub fn sql(&self) -> Sql {
        Sql {
            url: format!("http://{}/?database=mimamori", self.clickhouse_address()),
            http: self.http.clone(),
        }
    }

    /// The `mimamori` command (such as `alert dead list`) with the roles' configuration and the cluster's
    /// ClickHouse.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(self.folder.join("bin/mimamori"));
        command
            .args(subcommand.split(' '))
            .arg("--config")
            .arg(self.folder.join("mimamori.toml"))
            .env("MIMAMORI__KAFKA__BROKERS", &self.kafka_address)
            .env(
                "MIMAMORI__CLICKHOUSE__URL",
                format!("http://{}", self.clickhouse_address()),
            )
            .kill_on_drop(true);
        command
    }
}

fn engine(folder: &Path, name: &str, listen: &str) -> Process {
    let data = folder.join("data").join(name).display().to_string();
    let arguments = ["serve", name, "--data-dir", &data, "--listen", listen];
    let arguments = arguments.map(str::to_owned).to_vec();
    let log = folder.join("logs").join(format!("{name}.log"));
    Process::new(name, &folder.join("bin/faults"), arguments, log)
}

async fn ready<F, Fut>(process: &mut Process, mut look: F) -> anyhow::Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<Option<()>>>,
{
    let name = process.name().to_owned();
    let what = format!("readiness of {name}");
    let waited = wait_for(&what, READY_WITHIN, || {
        let running = process.is_running();
        let seen = look();
        async move {
            if running {
                seen.await.map(|seen| seen.map(|()| true))
            } else {
                Ok(Some(false))
            }
        }
    });
    match waited.await {
        Ok(true) => Ok(()),
        Ok(false) => bail!("{name} ended\n{}", process.end_of_log(20)),
        Err(error) => Err(error.context(process.end_of_log(20))),
    }
}

/// Has cargo build these packages' commands in the profile of the command that runs. Tests need not: cargo
/// has built them already.
///
/// # Errors
/// Cargo cannot.
pub async fn build(packages: &[&str]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet"]);
    for package in packages {
        build.args(["--package", package]);
    }
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.current_dir(tests::root()).status().await?;
    ensure!(
        status.success(),
        "cargo could not build {}",
        packages.join(" and ")
    );
    Ok(())
}

/// A new folder for a run, under the target folder; it goes away when it is dropped.
pub fn run_folder(name: &str) -> anyhow::Result<tempfile::TempDir> {
    let own = built("faults")?;
    let target = own.ancestors().nth(2).context("cargo builds two folders down")?;
    let runs = target.join("faults");
    std::fs::create_dir_all(&runs)?;
    Ok(tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(runs)?)
}

/// A command that cargo built beside the one that runs, which may be a test.
///
/// # Errors
/// It is missing; says what builds it.
pub fn built(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let mut folder = own.parent().context("a running command lies in a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("deps lies in a folder")?;
    }
    let command = folder.join(name);
    ensure!(
        command.is_file(),
        "{} is missing: `cargo build --package {name}` builds it",
        command.display()
    );
    Ok(command)
}
