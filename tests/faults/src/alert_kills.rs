//! Alert workers are killed (`kill -9`) at random moments while episodes open, get worse and end, and while
//! the receivers of nearly every kind misbehave; then the oracle, destination by destination.
//!
//! The seed draws what is sent, how the receivers answer and when who is killed. The machine's own timing
//! it cannot draw, so a failure may take a few runs of its seed to come back.

mod inbox;
mod services;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;
use tests::wait_for;

use crate::cluster::{Cluster, Kafka, Role};
use crate::kill_loop::chaos::Chaos;
use crate::kill_loop::settle::{self, TOLD_WITHIN};
use crate::kill_loop::{ALERTS, EVENTS, RAW, REJECTED, RULE, roles_config};
use crate::oracle::alerts::Alert;
use crate::oracle::deliveries::{self, Reached, State};
use crate::oracle::{Problems, alerts, logs};
use crate::producer::{Ledger, Load, Producing};
use crate::topic::Topics;
use inbox::Inbox;
use services::DESTINATIONS;

/// How long what waits may take to be told once everything is read: the receivers go on misbehaving.
const SETTLED_WITHIN: Duration = TOLD_WITHIN.saturating_mul(2);

/// What is done.
#[derive(Clone, Debug, clap::Args)]
pub struct AlertKillsArgs {
    /// How often an alert worker is killed.
    #[arg(long, default_value_t = 50)]
    pub kills: u32,
    /// What all chance is drawn from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Alert workers, one of which is killed at a time.
    #[arg(long, default_value_t = 2)]
    pub workers: u32,
    /// `embedded`; `apache` or `apache3`, one broker or three; or the bootstrap addresses of a Kafka whose
    /// topics are new.
    #[arg(long, default_value = "embedded")]
    pub kafka: Kafka,
    /// Records a second.
    #[arg(long, default_value_t = 300)]
    pub rate: u32,
    /// Accounts; tickets of all of them open and are resolved all the time.
    #[arg(long, default_value_t = 60)]
    pub accounts: u32,
    /// Milliseconds between two kills, on average.
    #[arg(long, default_value_t = 4_000)]
    pub every_ms: u64,
    /// Without a heartbeat for so long a worker loses its partitions; Apache Kafka's least is 6,000.
    #[arg(long, default_value_t = 3_000)]
    pub session_ms: u64,
    /// Keep logs and data when all is well, too.
    #[arg(long)]
    pub keep: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Summary {
    seed: u64,
    /// `kill -9`, by process.
    kills: BTreeMap<String, u32>,
    /// Changes of alerts that were to be told, each to every destination.
    changes: u64,
    /// Their episodes.
    episodes: u64,
    /// Of them, those that ended.
    ended: u64,
    /// By destination.
    destinations: BTreeMap<&'static str, Reached>,
    /// Requests whose sender died while the receiver was about to answer.
    cut_under_way: u64,
    /// How often partitions were another's before their worker had let go of them.
    held_too_long: u64,
    seconds_of_harm: f64,
    /// From the last event until everything was told or given up.
    seconds_to_settle: f64,
    seconds: f64,
}

impl Summary {
    /// For people.
    pub fn lines(&self) -> String {
        let kills: u32 = self.kills.values().sum();
        let mut lines = format!(
            "seed {}: {kills} kills {:?} in {:.0} s; {} alert changes of {} episodes, {} of which ended\n\
             {:<12} {:>8} {:>8} {:>12} {:>8} {:>8}",
            self.seed,
            self.kills,
            self.seconds_of_harm,
            self.changes,
            self.episodes,
            self.ended,
            "destination",
            "requests",
            "arrived",
            "dead letters",
            "both",
            "doubles",
        );
        for (name, reached) in &self.destinations {
            lines.push_str(&format!(
                "\n{name:<12} {:>8} {:>8} {:>12} {:>8} {:>8}",
                reached.requests, reached.arrived, reached.dead, reached.arrived_and_dead, reached.doubles,
            ));
        }
        format!(
            "{lines}\n{} requests were cut by a kill before their answer; {} times partitions were held too long; \
             settled in {:.1} s; {:.0} s in all",
            self.cut_under_way, self.held_too_long, self.seconds_to_settle, self.seconds,
        )
    }
}

/// Runs it in a folder of its own, which is kept when something is wrong.
///
/// # Errors
/// Something cannot be run, or the oracle found something wrong: then all of it is in the error, with
/// the seed and the folder of the logs.
pub async fn run(arguments: &AlertKillsArgs) -> anyhow::Result<Summary> {
    let folder = crate::cluster::run_folder("alert-kills")?;
    let ended = run_in(folder.path(), arguments).await;
    if ended.is_err() || arguments.keep {
        let kept = folder.keep();
        eprintln!("logs, data and configuration are in {}", kept.display());
    }
    ended.with_context(|| format!("the alert kills of seed {} failed", arguments.seed))
}

async fn run_in(folder: &Path, arguments: &AlertKillsArgs) -> anyhow::Result<Summary> {
    let began = Instant::now();
    let inbox = Inbox::start(arguments.seed).await?;
    let config = format!(
        "{}{}",
        roles_config(arguments.session_ms),
        services::config(inbox.address())
    );
    let mut cluster = Cluster::start(folder, arguments.kafka.clone(), &config).await?;
    let topics = Topics::new(cluster.kafka_address());
    topics.ensure_new(&[RAW, EVENTS, ALERTS, REJECTED]).await?;
    // The first makes topics and tables, the others find them.
    cluster.add(Role::Aggregate, "aggregate")?;
    cluster.wait_ready("aggregate").await?;
    cluster.add(Role::Ingest, "ingest")?;
    let workers: Vec<String> = (1..=arguments.workers)
        .map(|number| format!("alert-{number}"))
        .collect();
    for worker in &workers {
        cluster.add(Role::Alert, worker)?;
    }
    for name in cluster.names() {
        cluster.wait_ready(&name).await?;
    }

    let load = Load {
        seed: arguments.seed,
        rate: arguments.rate,
        accounts: arguments.accounts,
        watched: arguments.accounts,
        repeat_within: Duration::from_secs(60),
    };
    let producing = Producing::start(cluster.kafka_address(), RAW, load)?;
    let harm_began = Instant::now();
    let chaos = Chaos::new(arguments.seed, arguments.every_ms, arguments.session_ms);
    let mut chaos = chaos.killing_only(&workers);
    chaos.run(&mut cluster, arguments.kills, &producing).await?;
    let seconds_of_harm = harm_began.elapsed().as_secs_f64();

    let ledger = producing.finish().await?;
    let settling = Instant::now();
    let mut problems = Problems::default();
    if let Err(error) = settle(&mut cluster, &topics, &ledger).await {
        problems.add("it does not come to rest", format!("{error:#}"));
    }
    let seconds_to_settle = settling.elapsed().as_secs_f64();
    let mut held_too_long = 0;
    for name in cluster.names() {
        let lines = logs::read(cluster.role(&name)?.log(), &mut problems)?;
        held_too_long += logs::held_too_long(&lines);
    }

    let sql = cluster.sql();
    let in_table = alerts::read(&sql).await?;
    let table = alerts::check_table(&in_table, RULE, &ledger.left_open, &mut problems);
    let states = deliveries::states(&sql).await?;
    check_dead_letters(&cluster, &states, &mut problems).await?;
    let mut reached = BTreeMap::new();
    for destination in &DESTINATIONS {
        let check = deliveries::Check {
            destination: destination.name,
            named: &|alert: &Alert| destination.service.name_of(alert),
            // Who has not let go yet may speak beside, and after, the next owner.
            in_turn: held_too_long == 0,
        };
        let heard = inbox.heard(destination.name);
        reached.insert(
            destination.name,
            check.run(&in_table, &heard, &states, &mut problems),
        );
    }
    for problem in inbox.problems() {
        problems.add("requests that are not as they should be", problem);
    }
    for ended in &chaos.ended_by_themselves {
        problems.add("processes that ended by themselves", ended.clone());
    }

    let summary = Summary {
        seed: arguments.seed,
        kills: chaos.kills,
        changes: table.changes,
        episodes: table.episodes,
        ended: table.ended,
        destinations: reached,
        cut_under_way: inbox.cut_under_way(),
        held_too_long,
        seconds_of_harm,
        seconds_to_settle,
        seconds: began.elapsed().as_secs_f64(),
    };
    judge(&summary, &mut problems);
    ensure!(problems.is_empty(), "{problems}{}", summary.lines());
    Ok(summary)
}

/// Waits until everything is read, the episodes are those that the tickets make, and nothing is to be
/// tried any more.
async fn settle(cluster: &mut Cluster, topics: &Topics, ledger: &Ledger) -> anyhow::Result<()> {
    settle::wait_until_read(cluster, topics).await?;
    let sql = cluster.sql();
    wait_for("rest of the deliveries", SETTLED_WITHIN, || async {
        let in_table = alerts::read(&sql).await?;
        settle::follow_the_tickets(&in_table, ledger)?;
        let states = deliveries::states(&sql).await?;
        for destination in &DESTINATIONS {
            let waiting = in_table
                .iter()
                .filter(|alert| !deliveries::is_settled(&states, destination.name, alert))
                .count();
            ensure!(waiting == 0, "{waiting} deliveries to {} wait", destination.name);
        }
        Ok(Some(()))
    })
    .await
}

/// `mimamori alert dead list` knows of as many as the table says have failed.
async fn check_dead_letters(
    cluster: &Cluster,
    states: &deliveries::States,
    problems: &mut Problems,
) -> anyhow::Result<()> {
    let mut command = cluster.command("alert dead list");
    let output = command.args(["--format", "json"]).output().await?;
    ensure!(
        output.status.success(),
        "mimamori alert dead list: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listed: Value = serde_json::from_slice(&output.stdout)?;
    let failed = states
        .values()
        .filter(|state| state.status == State::FAILED)
        .count();
    problems.check(
        listed["total"] == failed,
        "dead letters that are not listed",
        || format!("{} of {failed}", listed["total"]),
    );
    Ok(())
}

/// A run in which no kill hit a delivery proves nothing, and neither does one without ends, faults or dead
/// letters.
fn judge(summary: &Summary, problems: &mut Problems) {
    let nothing = "the run proves nothing";
    let of_steady = |figure: fn(&Reached) -> u64| summary.destinations.get("steady").map_or(0, figure);
    let all = |figure: fn(&Reached) -> u64| summary.destinations.values().map(figure).sum::<u64>();
    problems.check(
        summary.cut_under_way + of_steady(|reached| reached.doubles) > 0,
        nothing,
        || "no kill hit a delivery under way".to_owned(),
    );
    problems.check(summary.ended > 0, nothing, || "no episode ended".to_owned());
    problems.check(all(|reached| reached.dead) > 0, nothing, || {
        "nothing was given up".to_owned()
    });
    problems.check(
        all(|reached| reached.requests) > all(|reached| reached.arrived),
        nothing,
        || "nothing was tried twice".to_owned(),
    );
    problems.check(
        of_steady(|reached| reached.dead) == 0,
        "dead letters of a receiver that refused nothing",
        || of_steady(|reached| reached.dead).to_string(),
    );
}
