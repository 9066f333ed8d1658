//! A child process that can be started, killed, stopped and woken, again and again. What it prints goes
//! to one log file over all its lives.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// A process, running or not. It is killed when this is dropped.
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
    /// How often it was started.
    pub starts: u32,
}

impl Process {
    /// A process that is not started yet.
    pub fn new(name: &str, program: &Path, arguments: Vec<String>, log: PathBuf) -> Process {
        Process {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments,
            log,
            child: None,
            starts: 0,
        }
    }

    /// Its name, as in the log's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it logs to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts it; the log goes on where it was.
    ///
    /// # Errors
    /// It runs already, or cannot be run.
    pub fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            // The servers among them end when this closes, should we die without a word.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        self.child = Some(child);
        self.starts += 1;
        Ok(())
    }

    /// Whether it is there: running or stopped, and not ended.
    pub fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        }
    }

    /// Its id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// `kill -9`; returns when it is gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        child
            .kill()
            .await
            .with_context(|| format!("cannot kill {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits for that; kills it when `within` is over.
    pub async fn terminate(&mut self, within: Duration) -> anyhow::Result<Option<ExitStatus>> {
        self.signal(Signal::TERM)?;
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        let ended = tokio::time::timeout(within, child.wait()).await;
        match ended {
            Ok(status) => {
                self.child = None;
                Ok(Some(status?))
            }
            Err(_) => {
                self.kill().await?;
                Ok(None)
            }
        }
    }

    /// Stops it where it stands (SIGSTOP): it holds its connections and answers nobody.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Wakes it after a stop (SIGCONT).
    pub fn wake(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.id().with_context(|| format!("{} does not run", self.name))?;
        let id = Pid::from_raw(i32::try_from(id)?).context("a process id is never 0")?;
        kill_process(id, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Memory that it occupies now and at most so far, in KiB.
    pub fn memory_kib(&self) -> anyhow::Result<Memory> {
        let id = self.id().with_context(|| format!("{} does not run", self.name))?;
        memory_kib(id)
    }

    /// Processor time that it has used so far, the system's on its behalf among it.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let id = self.id().with_context(|| format!("{} does not run", self.name))?;
        cpu(id)
    }

    /// The last lines of its log.
    pub fn end_of_log(&self, lines: usize) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Memory that a process occupies now and at most so far, in KiB.
///
/// # Errors
/// There is no such process.
pub fn memory_kib(id: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{id}/status");
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let field = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib = kib.with_context(|| format!("{path} has no {name}"))?;
        Ok(kib.trim().parse()?)
    };
    Ok(Memory {
        now: field("VmRSS:")?,
        most: field("VmHWM:")?,
    })
}

/// Processor time that all threads of a process have used so far, the system's on their behalf among it.
///
/// # Errors
/// There is no such process.
pub fn cpu(id: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{id}/stat");
    let stat = std::fs::read_to_string(&path).context(path)?;
    // The name, in brackets, may hold anything; utime and stime are the 12th and 13th after it.
    let (_, rest) = stat.rsplit_once(") ").context("stat has a name in brackets")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |index: usize| -> anyhow::Result<u64> {
        Ok(fields.get(index).context("stat is too short")?.parse()?)
    };
    let seconds = (ticks(11)? + ticks(12)?) as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Duration::from_secs_f64(seconds))
}

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub now: u64,
    /// The most that was ever resident in this life of the process.
    pub most: u64,
}
