//! The simulated world: a clock, two topics, a ClickHouse, two processes of each role, and everything
//! that can go wrong between them. A seed decides it all.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use aggregate::{Action, Insert, Lane, SetAside};
use event::wire;
use fastrand::Rng;
use health::{AlertChange, HealthConfig, Model};

use crate::aggregate_process::{AggregateProcess, Ended, Failed, Servers, Setup};
use crate::group::{Group, SESSION};
use crate::ingest_process::IngestProcess;
use crate::log::Log;
use crate::script::{self, BEGIN, Kinds, Sending};
use crate::tables::Tables;

const RAW_PARTITIONS: usize = 2;
const PARTITIONS: usize = 3;

/// Steps after which a world that has not come to rest never will.
const MOST_STEPS: usize = 60_000;

/// How long all has to be quiet before the end, milliseconds: longer than anything that is waited for.
const QUIET_FOR: i64 = 60_000;

/// What happened in one run, so that it can be seen that something did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Steps of the world.
    pub steps: usize,
    /// Records that were sent.
    pub sent: usize,
    /// Records in `mimamori.events`: more than were sent when ingest had to send again.
    pub records: usize,
    /// Distinct events.
    pub events: usize,
    /// Processes that were killed.
    pub kills: usize,
    /// Processes that stood still, and went on.
    pub pauses: usize,
    /// Workers that found that a partition was another's.
    pub fenced: usize,
    /// Partitions that changed hands.
    pub rebalances: usize,
    /// Inserts of processes that were gone, or had lost their partition, that were carried out.
    pub late_inserts: usize,
    /// Inserts that were dropped by their token.
    pub repeated_inserts: usize,
    /// Rows of states and checkpoints that an earlier owner wrote over newer ones, in vain.
    pub outdated: usize,
    /// Rows of `events` that repeat another, until they are merged.
    pub repeated_rows: usize,
    /// Changes of alerts that were sent.
    pub alerts: usize,
    /// Records that were set aside.
    pub set_aside: usize,
}

impl Report {
    /// Adds what another run did.
    pub fn add(&mut self, other: &Report) {
        self.steps += other.steps;
        self.sent += other.sent;
        self.records += other.records;
        self.events += other.events;
        self.kills += other.kills;
        self.pauses += other.pauses;
        self.fenced += other.fenced;
        self.rebalances += other.rebalances;
        self.late_inserts += other.late_inserts;
        self.repeated_inserts += other.repeated_inserts;
        self.outdated += other.outdated;
        self.repeated_rows += other.repeated_rows;
        self.alerts += other.alerts;
        self.set_aside += other.set_aside;
    }
}

/// A run that broke what must hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Runs it again.
    pub seed: u64,
    /// What did not hold.
    pub what: String,
    /// The last things that happened.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

impl std::error::Error for Failure {}

/// An insert that is on its way, whatever became of who sent it.
struct Late {
    arrives_at: i64,
    insert: Insert,
}

/// The world, while it runs and at its end.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: i64,
    pub(crate) setup: Setup,
    pub(crate) raw: Log,
    pub(crate) log: Log,
    pub(crate) tables: Tables,
    pub(crate) rejected: Vec<SetAside>,
    pub(crate) alerts: Vec<AlertChange>,
    script: VecDeque<Sending>,
    ingest_group: Group,
    group: Group,
    ingests: Vec<IngestProcess>,
    aggregates: Vec<AggregateProcess>,
    poison: BTreeMap<(i32, i64), String>,
    late: Vec<Late>,
    /// Events of inserts that arrived late; only these may stand in the table twice.
    pub(crate) late_events: usize,
    last_id: u64,
    pub(crate) report: Report,
    trace: Option<VecDeque<String>>,
}

/// How accounts are judged in the simulated world: so few ids are remembered that most are looked up.
fn model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let model = MODEL.get_or_init(|| {
        let config = HealthConfig {
            remember_ids_max: 6,
            ..HealthConfig::default()
        };
        Arc::new(Model::new(config).expect("the default configuration with another bound is one"))
    });
    Arc::clone(model)
}

impl World {
    pub(crate) fn new(seed: u64, poison: bool, traced: bool) -> World {
        let mut rng = Rng::with_seed(seed);
        let config = aggregate::Config {
            partitions: PARTITIONS as i32,
            land_after_ms: rng.i64(50..2_000),
            checkpoint_after_ms: rng.i64(500..15_000),
            checkpoint_states: rng.usize(1..20),
            remember_ids: rng.usize(0..12),
            history_days: rng.i64(2..40),
            lag_records: 4,
            look_up_every_id: rng.u8(0..4) == 0,
            ..aggregate::Config::default()
        };
        let kinds = Kinds {
            poison,
            other_times: config.look_up_every_id,
        };
        let metrics = aggregate::Metrics::register(&prometheus::Registry::new());
        let setup = Setup {
            config: Arc::new(config),
            model: model(),
            metrics: metrics.expect("nothing else is registered"),
        };
        let script = script::draw(&mut rng, RAW_PARTITIONS, kinds);
        let mut world = World {
            rng,
            now: BEGIN,
            raw: Log::new(RAW_PARTITIONS),
            log: Log::new(PARTITIONS),
            tables: Tables::default(),
            rejected: Vec::new(),
            alerts: Vec::new(),
            script: script.into(),
            ingest_group: Group::new(RAW_PARTITIONS),
            group: Group::new(PARTITIONS),
            ingests: Vec::new(),
            aggregates: Vec::new(),
            poison: BTreeMap::new(),
            late: Vec::new(),
            late_events: 0,
            last_id: 0,
            report: Report::default(),
            trace: traced.then(VecDeque::new),
            setup,
        };
        world.report.sent = world.script.len();
        for _ in 0..2 {
            let id = world.next_id();
            world.ingests.push(IngestProcess::new(id, BEGIN));
            let id = world.next_id();
            world
                .aggregates
                .push(AggregateProcess::new(id, &world.setup, BTreeMap::new(), BEGIN));
        }
        world
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now - BEGIN;
        if let Some(trace) = &mut self.trace {
            trace.push_back(format!("{:>10.3} s  {}", now as f64 / 1000.0, what()));
            if trace.len() > 4000 {
                trace.pop_front();
            }
        }
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().map(Vec::from).unwrap_or_default()
    }

    /// Runs until everything that was sent has been dealt with and nothing moves any more.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let mut quiet_since = None;
        for step in 0..MOST_STEPS {
            self.report.steps = step;
            let calm = self.script.is_empty();
            self.pass_time(calm);
            self.send();
            self.arrive();
            if !calm {
                self.go_wrong();
            }
            self.rule_groups(calm);
            self.step_ingest(calm);
            self.step_aggregate(calm)?;
            if !calm || !self.is_at_rest() {
                quiet_since = None;
            } else if self.now - *quiet_since.get_or_insert(self.now) > QUIET_FOR {
                self.report.records = self.log.records();
                self.report.rebalances = self.group.rebalances + self.ingest_group.rebalances;
                self.report.repeated_inserts = self.tables.repeated_inserts;
                self.report.outdated = self.tables.outdated;
                self.report.alerts = self.alerts.len();
                self.report.set_aside = self.rejected.len();
                return Ok(());
            }
        }
        Err(format!("it has not come to rest within {MOST_STEPS} steps"))
    }

    /// Everybody who can be heard has been heard by now.
    fn hear(&mut self) {
        let now = self.now;
        for process in &mut self.ingests {
            if process.paused_until <= now {
                process.member.last_heartbeat = now;
            }
        }
        for process in &mut self.aggregates {
            if process.paused_until <= now && process.cut_off_until <= now {
                process.member.last_heartbeat = now;
            }
        }
    }

    fn pass_time(&mut self, calm: bool) {
        let busy = self.aggregates.iter().any(|process| !process.pending.is_empty());
        self.now += self.rng.i64(0..if busy { 100 } else { 400 });
        // Nothing may be going on for hours.
        if let Some(next) = self.script.front()
            && !busy
            && next.at > self.now
            && self.rng.u8(0..20) == 0
        {
            self.now = next.at;
            self.hear();
        } else if calm && !busy && self.rng.u8(0..30) == 0 {
            self.now += 2_000;
        }
    }

    fn send(&mut self) {
        while let Some(next) = self.script.front()
            && next.at <= self.now
        {
            let Some(Sending { partition, event, .. }) = self.script.pop_front() else {
                return;
            };
            let mut payload = Vec::new();
            wire::encode(&event, &mut payload);
            let (_, offset) = self.raw.append(partition as i32, payload);
            self.note(|| {
                let late = (event.received_at - event.occurred_at) / 1000;
                let kind = event.event_type.as_str();
                format!(
                    "raw {partition}:{offset} {} {} {kind} {late} s late {}",
                    event.account_id, event.event_id, event.properties
                )
            });
            if self.rng.u8(0..60) == 0 {
                self.log.append_event(b"no event at all");
            }
        }
    }

    fn arrive(&mut self) {
        let now = self.now;
        let (due, late): (Vec<Late>, Vec<Late>) =
            self.late.drain(..).partition(|late| late.arrives_at <= now);
        self.late = late;
        for arrived in due {
            self.report.late_inserts += 1;
            self.note(|| {
                format!(
                    "arrives late: {}",
                    described(&Action::Insert(vec![arrived.insert.clone()]))
                )
            });
            if let aggregate::Rows::Events(rows) = &arrived.insert.rows {
                self.late_events += rows.len();
            }
            self.tables.insert(&arrived.insert);
        }
    }

    /// An insert that is under way goes on without its sender: mostly not for long, since the server drops
    /// one that it has not all of, but a slow server may take longer than the session lives.
    fn let_go(&mut self, pending: Vec<(Lane, Action)>) {
        for (_, action) in pending {
            self.let_go_of(action);
        }
    }

    fn let_go_of(&mut self, action: Action) {
        let inserts = match action {
            Action::Insert(inserts) => inserts,
            Action::Send(changes) => {
                if self.rng.bool() {
                    self.alerts.extend(changes);
                }
                return;
            }
            _ => return,
        };
        for insert in inserts {
            if self.rng.bool() {
                let most = if self.rng.u8(0..4) == 0 {
                    4 * SESSION
                } else {
                    SESSION * 2 / 3
                };
                self.late.push(Late {
                    arrives_at: self.now + self.rng.i64(0..most),
                    insert,
                });
            }
        }
    }

    fn go_wrong(&mut self) {
        let which = self.rng.usize(0..2);
        match self.rng.u16(0..1500) {
            // Preferably in the middle of something.
            0..30 if !self.aggregates[which].pending.is_empty() || self.rng.u8(0..6) == 0 => {
                self.kill_aggregate(which);
            }
            30..34 => {
                let mut dead = std::mem::replace(
                    &mut self.ingests[which],
                    IngestProcess::new(self.last_id + 1, self.now),
                );
                self.last_id += 1;
                self.report.kills += 1;
                dead.die(&mut self.log, &mut self.rng);
                self.note(|| format!("ingest {} is killed", dead.member.id));
            }
            34..42 if !self.aggregates[which].pending.is_empty() => {
                let until = self.now + self.rng.i64(0..3 * SESSION);
                self.report.pauses += 1;
                let process = &mut self.aggregates[which];
                process.paused_until = until;
                // What was written to a socket arrives.
                let pending = process.pending.clone();
                let id = process.member.id;
                self.note(|| format!("aggregate {id} stands still until {}", (until - BEGIN) / 1000));
                self.let_go(pending);
            }
            42..44 => {
                self.ingests[which].paused_until = self.now + self.rng.i64(0..3 * SESSION);
                self.report.pauses += 1;
            }
            44..48 => {
                self.aggregates[which].cut_off_until = self.now + self.rng.i64(0..2 * SESSION);
                let id = self.aggregates[which].member.id;
                self.note(|| format!("aggregate {id} is cut off from the broker"));
            }
            48..56 => {
                let mut members: Vec<_> = self.aggregates.iter_mut().map(|one| &mut one.member).collect();
                self.group.move_one(&mut members, &mut self.rng, self.now);
            }
            56..60 => {
                let mut members: Vec<_> = self.ingests.iter_mut().map(|one| &mut one.member).collect();
                self.ingest_group.move_one(&mut members, &mut self.rng, self.now);
            }
            _ => {}
        }
    }

    fn kill_aggregate(&mut self, which: usize) {
        self.report.kills += 1;
        let id = self.aggregates[which].member.id;
        let pending = std::mem::take(&mut self.aggregates[which].pending);
        self.note(|| {
            let doing: Vec<String> = pending.iter().map(|(_, action)| described(action)).collect();
            format!("aggregate {id} is killed, doing {doing:?}")
        });
        self.let_go(pending);
        self.poison.clear();
        // A killed member does not say that it leaves.
        self.start_aggregate(which);
    }

    fn start_aggregate(&mut self, which: usize) {
        let id = self.next_id();
        self.aggregates[which] = AggregateProcess::new(id, &self.setup, self.poison.clone(), self.now);
    }

    fn rule_groups(&mut self, calm: bool) {
        for process in &mut self.ingests {
            if calm {
                process.paused_until = self.now;
            }
            if process.paused_until > self.now {
                continue;
            }
            let was_silent = self.now - process.member.last_heartbeat >= SESSION;
            if was_silent || !self.ingest_group.owns(&process.member, self.now) {
                self.ingest_group.leave(process.member.id);
                self.last_id += 1;
                let paused_until = process.paused_until;
                // In the real one the producer goes on with what it has; so does this one, at once.
                process.die(&mut self.log, &mut self.rng);
                *process = IngestProcess::new(self.last_id, self.now);
                process.paused_until = paused_until;
            }
            process.member.last_heartbeat = self.now;
        }
        for process in &mut self.aggregates {
            if calm {
                process.paused_until = self.now;
                process.cut_off_until = self.now;
            }
            let is_silent = process.paused_until > self.now || process.cut_off_until > self.now;
            if !is_silent && self.now - process.member.last_heartbeat < SESSION {
                process.member.last_heartbeat = self.now;
            }
        }
        if self.rng.u8(0..4) == 0 {
            let mut members: Vec<_> = self.aggregates.iter_mut().map(|one| &mut one.member).collect();
            self.group.tick(&mut members, &mut self.rng, self.now);
            let mut members: Vec<_> = self.ingests.iter_mut().map(|one| &mut one.member).collect();
            self.ingest_group.tick(&mut members, &mut self.rng, self.now);
        }
    }

    fn step_ingest(&mut self, calm: bool) {
        for _ in 0..2 {
            let which = self.rng.usize(0..2);
            let process = &mut self.ingests[which];
            if process.paused_until > self.now {
                continue;
            }
            for number in process.step(&mut self.raw, &mut self.log, &mut self.rng, calm) {
                self.ingest_group.give_up(process.member.id, number);
            }
        }
    }

    fn step_aggregate(&mut self, calm: bool) -> Result<(), String> {
        let which = self.rng.usize(0..2);
        if self.aggregates[which].paused_until > self.now {
            return Ok(());
        }
        let raw_lag: i64 = self
            .raw
            .numbers()
            .map(|number| self.raw.end(number) - self.raw.committed(number))
            .sum();
        let process = &mut self.aggregates[which];
        let before = process.pending.clone();
        let mut servers = Servers {
            log: &mut self.log,
            tables: &mut self.tables,
            rejected: &mut self.rejected,
            alerts: &mut self.alerts,
            raw_lag,
        };
        let (rng, group, now) = (&mut self.rng, &mut self.group, self.now);
        let is_fenced = !group.owns(&process.member, now);
        let stepped = std::panic::catch_unwind(AssertUnwindSafe(|| {
            // What stands still for too long finds its session over as soon as it looks.
            if is_fenced && process.pending.is_empty() {
                return Err(Failed::Ended(Ended::Fenced));
            }
            process.step(group, &mut servers, rng, now, calm)
        }));
        let id = process.member.id;
        let done = before.into_iter().filter(|one| !process.pending.contains(one));
        let done: Vec<(Lane, Action)> = done.collect();
        for (_, action) in done {
            self.note(|| format!("aggregate {id}: {}", described(&action)));
        }
        match stepped {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failed::Broken(what))) => Err(what),
            Ok(Err(Failed::Ended(why))) => {
                let pending = std::mem::take(&mut self.aggregates[which].pending);
                self.let_go(pending);
                match why {
                    Ended::Fenced => {
                        self.report.fenced += 1;
                        self.note(|| format!("aggregate {id} is fenced"));
                    }
                    Ended::Poison(number, offset, detail) => {
                        self.note(|| format!("aggregate {id} meets poison at {number}:{offset}"));
                        self.poison.insert((number, offset), detail);
                    }
                }
                self.group.leave(id);
                self.start_aggregate(which);
                Ok(())
            }
            Err(_) => Err(format!("aggregate {id} panicked")),
        }
    }

    fn is_at_rest(&self) -> bool {
        let is_ingested = |number: i32| self.raw.end(number) == self.raw.committed(number);
        self.late.is_empty()
            && self.raw.numbers().all(is_ingested)
            && self.ingests.iter().all(IngestProcess::is_idle)
            && self
                .aggregates
                .iter()
                .all(|process| process.is_at_rest(&self.log))
            && self
                .aggregates
                .iter()
                .map(|process| process.positions.len())
                .sum::<usize>()
                == PARTITIONS
    }

    /// Every event that is in the log, the first of each id, by partition and offset.
    pub(crate) fn first_of_each_id(&self) -> BTreeMap<(i32, i64), event::Event> {
        let mut first = BTreeMap::new();
        let mut known = std::collections::BTreeSet::new();
        for number in self.log.numbers() {
            for (offset, payload) in self.log.read(number, 0, usize::MAX).into_iter().enumerate() {
                if let Ok(event) = wire::decode(&payload)
                    && event.name != "planted.panic"
                    && known.insert((event.account_id.clone(), event.event_id.clone()))
                {
                    first.insert((number, offset as i64), event);
                }
            }
        }
        first
    }

    /// Every distinct event that the product apps sent.
    pub(crate) fn sent(&self) -> BTreeMap<(String, String), event::Event> {
        let mut sent = BTreeMap::new();
        for number in self.raw.numbers() {
            for payload in self.raw.read(number, 0, usize::MAX) {
                if let Ok(event) = wire::decode(&payload) {
                    sent.insert((event.account_id.clone(), event.event_id.clone()), event);
                }
            }
        }
        sent
    }
}

fn described(action: &Action) -> String {
    match action {
        Action::Insert(inserts) => {
            let inserts: Vec<String> = inserts.iter().map(described_insert).collect();
            inserts.join(", ")
        }
        Action::Send(changes) => {
            let changes: Vec<String> = changes
                .iter()
                .map(|change| format!("{} {} {}", change.account_id, change.rule, change.change))
                .collect();
            format!("send {changes:?}")
        }
        other => format!("{other:?}"),
    }
}

fn described_insert(insert: &Insert) -> String {
    match &insert.rows {
        aggregate::Rows::States(rows) => {
            let rows: Vec<String> = rows
                .iter()
                .map(|row| format!("{} to {} v{}", row.account_id, row.offset, row.version >> 40))
                .collect();
            format!("insert states {rows:?}")
        }
        aggregate::Rows::Events(rows) => {
            let rows: Vec<String> = rows
                .iter()
                .map(|row| {
                    format!(
                        "{}:{} {} {}",
                        row.kafka_partition, row.kafka_offset, row.account_id, row.event_id
                    )
                })
                .collect();
            format!("insert events {rows:?}")
        }
        aggregate::Rows::Checkpoints(rows) => {
            let rows: Vec<String> = rows
                .iter()
                .map(|row| format!("{} to {} v{}", row.partition, row.next_offset, row.version >> 40))
                .collect();
            format!("insert checkpoints {rows:?}")
        }
        aggregate::Rows::Daily(rows) => {
            let rows: Vec<String> = rows
                .iter()
                .map(|row| format!("{} day {}: {} events", row.account_id, row.day, row.events))
                .collect();
            format!("insert daily {rows:?}")
        }
        _ => format!("insert {}", insert.token),
    }
}
