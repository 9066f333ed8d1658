//! The receiver in Python, which verifies with the `standardwebhooks` package.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::bed::PATIENCE;

/// The secret that it checks with.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub struct Receiver {
    pub port: u16,
    /// The webhooks that were verified so far.
    pub received: Vec<Value>,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Receiver {
    /// Starts one; port 0 takes a free one. It answers 500 to the first `fail_first` requests.
    pub async fn start(port: u16, fail_first: usize) -> Receiver {
        Receiver::knowing(SECRET, port, fail_first).await
    }

    /// One that knows another secret.
    pub async fn knowing(secret: &str, port: u16, fail_first: usize) -> Receiver {
        let python = tokio::task::spawn_blocking(python).await.unwrap();
        let mut process = tokio::process::Command::new(python)
            .arg(folder().join("receiver.py"))
            .args(["--port", &port.to_string(), "--secret", secret])
            .args(["--fail-first", &fail_first.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        let address = first.expect("it says above why it does not start");
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        Receiver {
            port,
            received: Vec::new(),
            lines,
            _process: process,
        }
    }

    /// Waits until so many webhooks were verified, and gives their ids in order.
    pub async fn wait_for(&mut self, count: usize) -> Vec<String> {
        while self.received.len() < count {
            let line = match timeout(PATIENCE, self.lines.next_line()).await {
                Ok(line) => line.unwrap().expect("the receiver ended"),
                Err(_) => panic!(
                    "{} webhooks of {count}: {:#?}",
                    self.received.len(),
                    self.received
                ),
            };
            self.received.push(serde_json::from_str(&line).unwrap());
        }
        self.ids()
    }

    /// What comes within a while.
    pub async fn during(&mut self, while_: Duration) -> Vec<String> {
        let until = tokio::time::Instant::now() + while_;
        while let Ok(line) = tokio::time::timeout_at(until, self.lines.next_line()).await {
            let line = line.unwrap().expect("the receiver ended");
            self.received.push(serde_json::from_str(&line).unwrap());
        }
        self.ids()
    }

    pub fn ids(&self) -> Vec<String> {
        let ids = self
            .received
            .iter()
            .map(|webhook| webhook["id"].as_str().unwrap());
        ids.map(str::to_string).collect()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/webhook")
}

/// The Python of a virtual environment under the target folder; made when it is missing or what it is
/// to hold has changed.
fn python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(make_python).clone()
}

fn make_python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let environment = target.join("venv-webhook");
    let python = environment.join("bin/python");
    let requirements = folder().join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let stamp = environment.join("requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    let run = |command: &mut Command| {
        let ended = command.status();
        let done = ended.as_ref().is_ok_and(std::process::ExitStatus::success);
        assert!(
            done,
            "{command:?} ended with {ended:?}: install Python 3 with its venv and pip modules"
        );
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "-r"])
        .arg(&requirements));
    std::fs::write(stamp, wanted).unwrap();
    python
}
