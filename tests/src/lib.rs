//! Helpers of the end-to-end tests: the real command as a child process, and questions to what it
//! serves. Nothing waits by sleeping for a while: each wait looks for a thing and has a deadline.

mod fetched;
mod snippets;

use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

pub use fetched::{browser, node_modules, python, tool};
pub use snippets::{Snippet, snippets};

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The `mimamori` command that cargo built for the test that runs: it lies beside the folder of the
/// tests' own executables.
pub fn mimamori() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let built = test
        .parent()
        .and_then(Path::parent)
        .expect("cargo puts tests two folders down");
    let command = built.join("mimamori");
    assert!(
        command.is_file(),
        "{} is missing: cargo test --package mimamori builds it",
        command.display()
    );
    command
}

/// Below those that the system gives to outgoing connections, which would take a free one meanwhile.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port that was free a moment ago, and that no other test of this process was told of.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of this many ports in a row, each as [`free_port`] gives one.
pub fn free_ports(count: u16) -> u16 {
    static TOLD: AtomicU32 = AtomicU32::new(0);
    let all = u32::from(PORTS.end - PORTS.start);
    // Processes that run side by side begin far from each other.
    let first = std::process::id().wrapping_mul(7_919);
    for _ in 0..all {
        let told = TOLD.fetch_add(u32::from(count), Ordering::Relaxed);
        let place = first.wrapping_add(told) % all;
        let port = PORTS.start + u16::try_from(place).expect("less than the ports are");
        let row: Result<Vec<_>, _> = (port..port + count)
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .collect();
        if row.is_ok() && port + count <= PORTS.end {
            return port;
        }
    }
    panic!("no {count} ports in a row are free in {PORTS:?}");
}

/// Asks until there is an answer; an error counts as not yet.
///
/// # Errors
/// The last error when `within` is over.
pub async fn wait_for<T, F, Fut>(what: &str, within: Duration, mut look: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + within;
    loop {
        let last = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= deadline {
            return match last {
                Some(error) => Err(error.context(format!("no {what} within {within:?}"))),
                None => bail!("no {what} within {within:?}"),
            };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where a `mimamori up` keeps its data and listens; the same over its restarts.
pub struct Place {
    folder: tempfile::TempDir,
    /// The port of the Kafka log.
    pub kafka: u16,
    /// The port of ClickHouse.
    pub clickhouse: u16,
    /// The port of the API.
    pub api: u16,
}

impl Place {
    /// A new folder and free ports, with this text as its configuration.
    pub fn new(config: &str) -> anyhow::Result<Place> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("mimamori.toml"), config)?;
        Ok(Place {
            folder,
            kafka: free_port(),
            clickhouse: free_port(),
            api: free_port(),
        })
    }

    /// A path inside the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command with this place's configuration.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(mimamori());
        command
            .arg(subcommand)
            .arg("--config")
            .arg(self.path("mimamori.toml"));
        command
            .current_dir(self.folder.path())
            .kill_on_drop(true)
            .stdin(Stdio::null());
        command
    }

    /// `mimamori up`, not started.
    pub fn up_command(&self) -> Command {
        let mut command = self.command("up");
        command.arg("--data-dir").arg(self.path("data"));
        command.args(["--kafka-listen", &format!("127.0.0.1:{}", self.kafka)]);
        command.args(["--clickhouse-listen", &format!("127.0.0.1:{}", self.clickhouse)]);
        command.args(["--api-listen", &format!("127.0.0.1:{}", self.api)]);
        command
    }

    /// Starts `mimamori up` and waits until `/readyz` says that every role takes part. Its log goes to
    /// the file `log` of the folder.
    ///
    /// # Errors
    /// The process ends or is not ready within two minutes; the end of its log is in the error.
    pub async fn up(&self) -> anyhow::Result<Child> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))?;
        let mut command = self.up_command();
        command.stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("cannot start mimamori up")?;
        let ready = format!("http://127.0.0.1:{}/readyz", self.api);
        let started = wait_for("readiness", Duration::from_secs(120), || async {
            let status = reqwest::get(&ready).await?.status();
            Ok(status.is_success().then_some(()))
        });
        tokio::select! {
            started = started => started.with_context(|| self.end_of_log())?,
            ended = child.wait() => bail!("mimamori up ended: {}\n{}", ended?, self.end_of_log()),
        }
        Ok(child)
    }

    /// The last lines of the log.
    pub fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// What ClickHouse answers, as text.
    pub async fn query(&self, sql: &str) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}/?database=mimamori", self.clickhouse);
        let answer = reqwest::Client::new()
            .post(url)
            .body(sql.to_string())
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(
            status.is_success(),
            "ClickHouse answered {status} to {sql}: {text}"
        );
        Ok(text.trim_end().to_string())
    }

    /// What ClickHouse answers, as a number.
    pub async fn count(&self, sql: &str) -> anyhow::Result<i64> {
        let text = self.query(sql).await?;
        text.parse().with_context(|| format!("{sql} answered {text:?}"))
    }

    /// What the API answers.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.api);
        let answer = reqwest::get(url).await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// A webhook receiver in another language that checks each signature with the `standardwebhooks`
/// package.
pub struct Receiver {
    _child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    /// The webhooks that were verified so far, as the receiver printed them.
    pub received: Vec<Value>,
}

impl Receiver {
    /// The secret that it checks with.
    pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// Starts it on a port.
    pub async fn start(port: u16) -> anyhow::Result<Receiver> {
        let folder = root().join("tests/clients/webhook");
        let python = python("webhook", &folder.join("requirements.txt"))?;
        let mut command = Command::new(python);
        command.arg(folder.join("receiver.py")).args([
            "--port",
            &port.to_string(),
            "--secret",
            Receiver::SECRET,
        ]);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child
            .stdout
            .take()
            .context("the receiver's output was asked for")?;
        Ok(Receiver {
            _child: child,
            lines: BufReader::new(stdout).lines(),
            received: Vec::new(),
        })
    }

    /// Takes what has been received until one is what is looked for.
    pub async fn wait_for(
        &mut self,
        within: Duration,
        is_it: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            let line = tokio::time::timeout_at(deadline, self.lines.next_line()).await;
            let line = line.with_context(|| {
                format!(
                    "no such webhook within {within:?}, {} others",
                    self.received.len()
                )
            })?;
            let line = line?.context("the receiver ended")?;
            let Ok(webhook) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            self.received.push(webhook.clone());
            if is_it(&webhook) {
                return Ok(webhook);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_with_what_was_looked_for_or_with_the_last_error() {
        let mut looks = 0;
        let found = wait_for("three", Duration::from_secs(5), || {
            looks += 1;
            let seen = looks;
            async move {
                if seen < 3 {
                    bail!("only {seen}")
                } else {
                    Ok(Some(seen))
                }
            }
        });
        assert_eq!(found.await.expect("the third look finds it"), 3);
        let never = wait_for("nothing", Duration::from_millis(150), || async {
            bail!("not there")
        });
        let never: anyhow::Result<()> = never.await;
        let told = format!("{:#}", never.expect_err("it is never there"));
        assert!(
            told.contains("no nothing within") && told.contains("not there"),
            "{told}"
        );
    }
}
