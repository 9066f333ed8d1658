//! Who is harmed when, drawn from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;
use tracing::info;

use crate::cluster::Cluster;
use crate::producer::Producing;

/// After so many kills a stop is due.
const STOP_AFTER: u32 = 4;
/// How much longer than its session a process is stopped at most.
const LONGEST_BEYOND_SESSION_MS: u64 = 5_000;
/// How often processes that ended by themselves are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Harms processes.
pub struct Chaos {
    rng: fastrand::Rng,
    every_ms: u64,
    session: Duration,
    /// Whom to harm; all when nobody is named.
    only: Vec<String>,
    stops_too: bool,
    /// Processes that are stopped, and when they are woken.
    stopped: BTreeMap<String, Instant>,
    /// `kill -9`, by process.
    pub kills: BTreeMap<String, u32>,
    /// SIGSTOP, by process.
    pub stops: BTreeMap<String, u32>,
    /// Those that ended though nobody harmed them.
    pub ended_by_themselves: Vec<String>,
}

impl Chaos {
    /// Harm at this distance on average; stops last longer than a session.
    pub fn new(seed: u64, every_ms: u64, session_ms: u64) -> Chaos {
        Chaos {
            rng: fastrand::Rng::with_seed(seed ^ 0x6b69_6c6c),
            every_ms,
            session: Duration::from_millis(session_ms),
            only: Vec::new(),
            stops_too: true,
            stopped: BTreeMap::new(),
            kills: BTreeMap::new(),
            stops: BTreeMap::new(),
            ended_by_themselves: Vec::new(),
        }
    }

    /// Kills these and nobody else, and stops none.
    pub fn killing_only(self, names: &[String]) -> Chaos {
        Chaos {
            only: names.to_vec(),
            stops_too: false,
            ..self
        }
    }

    /// Harms the cluster's roles until so many kills are done, and leaves all of them running.
    pub async fn run(
        &mut self,
        cluster: &mut Cluster,
        kills: u32,
        producing: &Producing,
    ) -> anyhow::Result<()> {
        let mut killed = 0;
        let mut stop_at = STOP_AFTER;
        while killed < kills {
            let gap = self.rng.u64(self.every_ms / 10..=self.every_ms * 19 / 10);
            let at = Instant::now() + Duration::from_millis(gap);
            self.wait(cluster, at).await?;
            ensure!(!producing.has_failed(), "the producer ended by itself");
            let mut names = cluster.names();
            names.retain(|name| self.only.is_empty() || self.only.contains(name));
            let name = &names[self.rng.usize(..names.len())];
            if self.stops_too && killed >= stop_at && !self.stopped.contains_key(name) {
                stop_at += STOP_AFTER;
                let beyond = Duration::from_millis(self.rng.u64(500..=LONGEST_BEYOND_SESSION_MS));
                info!(name, seconds = (self.session + beyond).as_secs_f64(), "stopping");
                cluster.role(name)?.stop()?;
                self.stopped
                    .insert(name.clone(), Instant::now() + self.session + beyond);
                *self.stops.entry(name.clone()).or_default() += 1;
            } else {
                killed += 1;
                info!(name, killed, acknowledged = producing.acknowledged(), "killing");
                self.stopped.remove(name);
                let process = cluster.role(name)?;
                process.kill().await?;
                process.start()?;
                *self.kills.entry(name.clone()).or_default() += 1;
            }
        }
        let last = self.stopped.values().max().copied();
        self.wait(cluster, last.unwrap_or_else(Instant::now)).await
    }

    /// Waits until `at`, wakes whose time has come, and starts again what has ended by itself, as a
    /// service manager would.
    async fn wait(&mut self, cluster: &mut Cluster, at: Instant) -> anyhow::Result<()> {
        loop {
            let now = Instant::now();
            let due: Vec<String> = self
                .stopped
                .iter()
                .filter(|(_, wakes_at)| **wakes_at <= now)
                .map(|(name, _)| name.clone())
                .collect();
            for name in due {
                info!(name, "waking");
                cluster.role(&name)?.wake()?;
                self.stopped.remove(&name);
            }
            for name in cluster.names() {
                let process = cluster.role(&name)?;
                if !process.is_running() {
                    self.ended_by_themselves
                        .push(format!("{name}\n{}", process.end_of_log(5)));
                    process.kill().await?;
                    process.start()?;
                }
            }
            if now >= at {
                return Ok(());
            }
            let next = self.stopped.values().copied().fold(at, Instant::min);
            tokio::time::sleep_until(next.min(now + LOOK_EVERY)).await;
        }
    }
}
