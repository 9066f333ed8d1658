//! A peer's process: it says when its clock starts and when it stops (`peer.py` tells how), and is looked at
//! from outside in between, with all the processes that it has started.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use faults::process::memory_kib;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// A worker that runs. It is killed when this is dropped.
pub struct Worker {
    child: Child,
    words: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
}

impl Worker {
    /// Starts it; what it says on standard error goes to `log`.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(mut command: Command, log: &Path) -> anyhow::Result<Worker> {
        let log = File::create(log).with_context(|| log.display().to_string())?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let input = child.stdin.take().context("standard input is a pipe")?;
        Ok(Worker {
            child,
            words: BufReader::new(output).lines(),
            input,
        })
    }

    /// Waits for the line that begins with a word; what else it prints is passed over. Gives what follows the
    /// word.
    ///
    /// # Errors
    /// It ends before, or the time is over.
    pub async fn says(&mut self, word: &str, within: Duration) -> anyhow::Result<String> {
        let heard = timeout(within, async {
            while let Some(line) = self.words.next_line().await? {
                if let Some(rest) = line.strip_prefix(word) {
                    return Ok(rest.trim().to_owned());
                }
            }
            bail!("it ended before it was {word}")
        });
        let late = || format!("it was not {word} within {} s", within.as_secs());
        heard.await.with_context(late)?
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It is gone.
    pub async fn go_on(&mut self) -> anyhow::Result<()> {
        Ok(self.input.write_all(b"\n").await?)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// It fails, or the time is over.
    pub async fn ends(mut self, within: Duration) -> anyhow::Result<()> {
        let late = || format!("it has not ended within {} s", within.as_secs());
        let status = timeout(within, self.child.wait()).await.with_context(late)??;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// What it has used so far, its children's among it.
    ///
    /// # Errors
    /// It is gone.
    pub fn used(&self) -> anyhow::Result<Used> {
        let id = self.child.id().context("it is gone")?;
        let all = processes()?;
        let mut used = Used::default();
        let mut tree = vec![id];
        while let Some(id) = tree.pop() {
            let process = all.get(&id).context("it is gone")?;
            used.cpu += process.cpu;
            // One of its children may have ended meanwhile.
            used.peak_bytes += memory_kib(id).map_or(0, |memory| memory.most * 1024);
            tree.extend(
                all.iter()
                    .filter(|(_, child)| child.parent == id)
                    .map(|(id, _)| *id),
            );
        }
        Ok(used)
    }
}

/// What a process has used, with its children.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Processor time, the system's on its behalf among it.
    pub cpu: Duration,
    /// The most memory that it had resident; of several processes, the sum.
    pub peak_bytes: u64,
}

struct Seen {
    parent: u32,
    /// Its own, and that of children that have ended.
    cpu: Duration,
}

fn processes() -> anyhow::Result<HashMap<u32, Seen>> {
    let mut all = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        if let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) {
            all.insert(id, seen(&stat)?);
        }
    }
    Ok(all)
}

fn seen(stat: &str) -> anyhow::Result<Seen> {
    // The name, in brackets, may hold anything; state, parent, … follow it.
    let (_, rest) = stat.rsplit_once(") ").context("stat has a name in brackets")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |index: usize| -> anyhow::Result<u64> {
        let field = fields.get(index).context("stat is too short")?;
        Ok(field.parse()?)
    };
    // utime, stime, cutime and cstime are the 12th to 15th.
    let ticks = field(11)? + field(12)? + field(13)? + field(14)?;
    let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Seen {
        parent: field(1)?.try_into()?,
        cpu: Duration::from_secs_f64(seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_time_of_a_child_that_has_ended_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; echo done 1; read _",
        ]);
        let mut worker = Worker::start(command, &folder.path().join("log")).unwrap();
        let rest = worker.says("done", Duration::from_secs(60)).await.unwrap();
        assert_eq!(rest, "1");
        let used = worker.used().unwrap();
        assert!(used.cpu > Duration::ZERO && used.peak_bytes > 0, "{used:?}");
        worker.go_on().await.unwrap();
        worker.ends(Duration::from_secs(60)).await.unwrap();
    }
}
