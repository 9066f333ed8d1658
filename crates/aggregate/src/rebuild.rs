//! Making everything that is derived anew, from the table `events`: the states of all accounts, their
//! days, attributes and users, the rows of their midnights, and the checkpoints.
//!
//! What holds:
//!
//! - Each partition is cut at one offset. Below it every event has landed, and the rebuilt states are the
//!   work of exactly the events below it; the worker that takes the partition over folds the rest from
//!   the log. A row of `events` names partition and offset only while the log holds its record there;
//!   the others have -1 and lie below every cut ([`log`] finds out which).
//! - It may be killed at any instant: the table `rebuilds` says up to which account it is done. What was
//!   written after that is written again, under a newer version. Until it is finished no worker takes a
//!   partition.
//! - Nobody is told anything. What had been told stays known, so that it is not told again.

mod account;
mod batch;
mod log;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use health::{Model, SegmentBaselines};
use serde::Serialize;
use store::{Checkpoint, Layout, Rebuild, Store};
use stream::{KafkaConfig, Span, TopicReader, ensure_topics, group_members, grow_topic, topics};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::partition::COUNTER_BITS;

/// Accounts that are listed at a time.
const ACCOUNTS_LISTED: u64 = 20_000;

/// What is to be rebuilt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildOptions {
    /// The midnights from here on have their rows made anew, milliseconds; `None` is all.
    pub since: Option<i64>,
    /// Partitions that `mimamori.events` is to have; `None` is as many as it has.
    pub partitions: Option<i32>,
}

/// What the rebuild works with.
pub struct RebuildWiring {
    /// Where Kafka is.
    pub kafka: KafkaConfig,
    /// The consumer group of the ingest role.
    pub ingest_group: String,
    /// Where ClickHouse is.
    pub store: Store,
    /// How accounts are judged.
    pub model: Arc<Model>,
}

/// Why a rebuild cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The configuration or what is asked for cannot be worked with.
    #[error("{0}")]
    Config(String),
    /// A role is at work that must not be.
    #[error(
        "the {role} role is running, group {group} has {members} members: stop the {role} role first \
         (one that was killed is a member for another {session_ms} ms, kafka.session_timeout_ms)"
    )]
    Running {
        /// The role.
        role: &'static str,
        /// Its consumer group.
        group: String,
        /// How many members it has.
        members: usize,
        /// For how long a member that was killed is one.
        session_ms: u64,
    },
    /// Kafka cannot be used.
    #[error(transparent)]
    Stream(#[from] stream::Error),
    /// ClickHouse cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It was asked to stop.
    #[error("stopped before it was finished: run `mimamori rebuild` again, and it goes on")]
    Stopped,
    /// A task ended before its work.
    #[error("a task ended before its work: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What a rebuild is going to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RebuildPlan {
    /// Accounts in `events`.
    pub accounts: u64,
    /// Events.
    pub events: u64,
    /// Partitions of `mimamori.events` afterwards.
    pub partitions: i32,
    /// Partitions that the states were made with; `None` when nobody knows.
    pub partitions_before: Option<i32>,
    /// Whether it goes on with one that was not finished …
    pub goes_on: bool,
    /// … or gives one up that was begun with another configuration, or with other flags.
    pub gives_up_another: bool,
    /// Rows of `events` that the log does not hold where they say.
    pub detached: u64,
    /// Records that are landed first, since the partitions that hold them will not be those of their accounts.
    pub to_land: u64,
    /// Offsets that the log let go of before they were read; some may have been repeats.
    pub lost: u64,
}

/// What a rebuild did, over all its runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Accounts made anew.
    pub accounts: u64,
    /// Events that they were made of.
    pub events: u64,
    /// Rows of `account_daily` written.
    pub days: u64,
    /// Rows of all tables written.
    pub rows: u64,
    /// Partitions of `mimamori.events`.
    pub partitions: i32,
    /// Rows of `events` detached from a log that does not hold them; by this run.
    pub detached: u64,
    /// Events landed first; by this run.
    pub landed: u64,
    /// Accounts made anew by this run.
    pub accounts_now: u64,
    /// Events that those were made of.
    pub events_now: u64,
}

/// A rebuild that has looked at what there is and changed nothing yet.
pub struct Rebuilding {
    config: Config,
    wiring: RebuildWiring,
    now: i64,
    plan: RebuildPlan,
    record: Rebuild,
    checkpoints: Vec<Checkpoint>,
    /// How many partitions the topic has.
    found: i32,
    /// Whether accounts have other partitions than before.
    moves: bool,
    /// Of each partition, up to where everything has landed.
    landed_until: Vec<i64>,
    layout: Layout,
}

impl Rebuilding {
    /// Looks at the log and the tables. `now` is the time on the wall, milliseconds.
    ///
    /// # Errors
    /// [`RebuildError::Running`] while an aggregate worker lives, or, when accounts move to other
    /// partitions, an ingest worker; [`RebuildError::Config`] when it is to have fewer partitions.
    pub async fn plan(
        config: Config,
        wiring: RebuildWiring,
        options: &RebuildOptions,
        now: i64,
    ) -> Result<Rebuilding, RebuildError> {
        if let Some(problem) = config.problem() {
            return Err(RebuildError::Config(problem));
        }
        let RebuildWiring { kafka, store, .. } = &wiring;
        let mut wanted = topics::all(options.partitions.unwrap_or(config.partitions));
        wanted.retain(|topic| topic.name == topics::EVENTS || topic.name == topics::REJECTED);
        for topic in &mut wanted {
            topic.partitions_must_match = false;
        }
        ensure_topics(kafka, &wanted).await?;
        none_running(kafka, "aggregate", &config.group).await?;

        let log = TopicReader::open(kafka, &config.group, topics::EVENTS).await?;
        let spans = log.spans();
        let found = i32::try_from(spans.len()).unwrap_or(i32::MAX);
        let partitions = options.partitions.unwrap_or(found);
        if partitions < found {
            return Err(RebuildError::Config(format!(
                "--partitions {partitions}: topic {} has {found} and Kafka takes none away; give {found} or more, \
                 or delete the topic once everything has landed",
                topics::EVENTS
            )));
        }
        // What an earlier run has begun.
        store.events_settled().await?;
        let checkpoints = store.checkpoints().await?;
        let limits = log::same_until(store, &log, partitions).await?;
        let everywhere = Layout {
            partitions,
            limits: vec![i64::MAX; limits.len()],
        };
        let moves = found != partitions
            || checkpoints.iter().any(|known| known.partitions != partitions)
            || store.count_out_of_place(&everywhere).await? > 0;
        if moves {
            none_running(kafka, "ingest", &wiring.ingest_group).await?;
        }
        let landed_until = landed_until(spans, &checkpoints, &limits);
        let layout = Layout { partitions, limits };

        let unfinished = store.newest_rebuild().await?;
        let newest_at = unfinished.as_ref().map_or(i64::MIN, |newest| newest.started_at);
        let unfinished = unfinished.filter(|newest| newest.finished_at.is_none());
        let anew = Rebuild {
            started_at: now.max(newest_at.saturating_add(1)),
            model_hash: wiring.model.hash().to_string(),
            since: options.since,
            partitions,
            ..Rebuild::default()
        };
        let going_on = unfinished
            .as_ref()
            .filter(|found| is_the_same(found, &anew) && is_in_the_log(found, spans));
        let extent = store.extent().await?;
        let plan = RebuildPlan {
            accounts: extent.accounts,
            events: extent.events,
            partitions,
            partitions_before: checkpoints.first().map(|known| known.partitions),
            goes_on: going_on.is_some(),
            gives_up_another: unfinished.is_some() && going_on.is_none(),
            detached: store.count_out_of_place(&layout).await?,
            to_land: if moves {
                spans.iter().map(|span| to_land(span, &landed_until).len()).sum()
            } else {
                0
            },
            lost: log::lost(store, spans, &checkpoints, &layout.limits).await?,
        };
        let record = going_on.cloned().unwrap_or(anew);
        Ok(Rebuilding {
            config,
            now: record.started_at,
            wiring,
            plan,
            record,
            checkpoints,
            found,
            moves,
            landed_until,
            layout,
        })
    }

    /// What is going to be done.
    pub fn what(&self) -> &RebuildPlan {
        &self.plan
    }

    /// Does it; `progress` is told what is being done, how far it is, and of how much. When `shutdown`
    /// becomes true it stops where it is.
    ///
    /// # Errors
    /// [`RebuildError::Stopped`], and whatever Kafka or ClickHouse refuse. Another run goes on.
    pub async fn run(
        self,
        mut shutdown: watch::Receiver<bool>,
        progress: &mut (dyn FnMut(&str, u64, u64) + Send),
    ) -> Result<Rebuilt, RebuildError> {
        tokio::select! {
            biased;
            Ok(_) = shutdown.wait_for(|stop| *stop) => Err(RebuildError::Stopped),
            done = self.run_to_the_end(progress) => done,
        }
    }

    async fn run_to_the_end(
        mut self,
        progress: &mut (dyn FnMut(&str, u64, u64) + Send),
    ) -> Result<Rebuilt, RebuildError> {
        let store = self.wiring.store.clone();
        if self.plan.gives_up_another {
            warn!(
                "a rebuild that was not finished had other parameters: it is given up, this one begins anew"
            );
        }
        let versions = Versions::above(store.newest_version().await?);
        if self.record.first_version == 0 {
            self.record.first_version = versions.first();
        }
        // From here on no worker begins; one that began while we looked has to go.
        self.save(&versions).await?;
        self.none_running().await?;
        let is_prepared = !self.record.next_offsets.is_empty();
        self.claim(&versions, is_prepared).await?;
        let mut landed = 0;
        if !is_prepared {
            landed = self.prepare(&versions, progress).await?;
        }
        let before = (self.record.accounts, self.record.events);
        self.make_accounts(&versions, progress).await?;
        self.finish(&versions).await?;
        info!(
            accounts = self.record.accounts,
            events = self.record.events,
            "rebuilt"
        );
        Ok(Rebuilt {
            accounts: self.record.accounts,
            events: self.record.events,
            days: self.record.days,
            rows: self.record.rows,
            partitions: self.record.partitions,
            detached: if is_prepared { 0 } else { self.plan.detached },
            landed,
            accounts_now: self.record.accounts - before.0,
            events_now: self.record.events - before.1,
        })
    }

    async fn none_running(&self) -> Result<(), RebuildError> {
        let kafka = &self.wiring.kafka;
        none_running(kafka, "aggregate", &self.config.group).await?;
        if self.moves {
            none_running(kafka, "ingest", &self.wiring.ingest_group).await?;
        }
        Ok(())
    }

    async fn save(&mut self, versions: &Versions) -> Result<(), store::Error> {
        self.record.version += 1;
        let token = versions.token();
        self.wiring.store.save_rebuild(&token, &self.record).await
    }

    /// Makes what a forgotten worker still writes older than what there is. Until the log is in step, the
    /// checkpoints keep the layout that they were made for, and say up to where the log is the same.
    async fn claim(&mut self, versions: &Versions, is_prepared: bool) -> Result<(), store::Error> {
        for known in &mut self.checkpoints {
            known.version = versions.next();
            let until = usize::try_from(known.partition)
                .ok()
                .and_then(|number| self.landed_until.get(number));
            if let (Some(until), false) = (until, is_prepared) {
                known.next_offset = *until;
            }
        }
        self.wiring
            .store
            .insert_checkpoints(&versions.token(), &self.checkpoints)
            .await
    }

    /// Brings log and events in step and fixes where each partition is cut; returns how many events had to
    /// be landed.
    async fn prepare(
        &mut self,
        versions: &Versions,
        progress: &mut (dyn FnMut(&str, u64, u64) + Send),
    ) -> Result<u64, RebuildError> {
        let (kafka, store) = (&self.wiring.kafka, &self.wiring.store);
        if self.record.partitions > self.found {
            grow_topic(kafka, topics::EVENTS, self.record.partitions).await?;
            info!(
                partitions = self.record.partitions,
                "{} has grown",
                topics::EVENTS
            );
        }
        let mut next_offsets = self.landed_until.clone();
        let mut landed = 0;
        if self.moves {
            let log = TopicReader::open(kafka, &self.config.group, topics::EVENTS).await?;
            let spans: Vec<Span> = log
                .spans()
                .iter()
                .map(|span| to_land(span, &self.landed_until))
                .collect();
            landed = log::land(&self.wiring, &self.config, &log, &spans, progress).await?;
            next_offsets = spans.iter().map(|span| span.end).collect();
        }
        if store.count_out_of_place(&self.layout).await? > 0 {
            progress("events to be detached from the log", 0, self.plan.detached);
            store.detach_events(&self.layout).await?;
        }
        self.record.watermarks = store.folded_until(&next_offsets).await?;
        self.record.next_offsets = next_offsets;
        self.save(versions).await?;
        Ok(landed)
    }

    async fn make_accounts(
        &mut self,
        versions: &Arc<Versions>,
        progress: &mut (dyn FnMut(&str, u64, u64) + Send),
    ) -> Result<(), RebuildError> {
        let store = self.wiring.store.clone();
        let baselines = store.segment_baselines().await?.into_iter();
        let segments = SegmentBaselines {
            stickiness: baselines.map(|found| (found.segment, found.stickiness)).collect(),
        };
        let shared = Arc::new(batch::Shared {
            store: store.clone(),
            model: Arc::clone(&self.wiring.model),
            segments,
            versions: Arc::clone(versions),
            next_offsets: self.record.next_offsets.clone(),
            watermarks: self.record.watermarks.clone(),
            now: self.now,
            since: self.record.since,
            history_days: self.config.history_days,
            rows_held: self.config.evaluation_rows.div_ceil(self.config.rebuild_tasks),
        });
        loop {
            let listed = store
                .accounts_of_events(&self.record.done_until, ACCOUNTS_LISTED)
                .await?;
            if listed.is_empty() {
                break;
            }
            for accounts in listed.chunks(self.config.rebuild_accounts) {
                progress("accounts", self.record.accounts, self.plan.accounts);
                let made = batch::make(&shared, accounts, self.config.rebuild_tasks).await?;
                self.record.accounts += made.accounts;
                self.record.events += made.events;
                self.record.days += made.days;
                self.record.rows += made.rows;
                self.record.done_until = accounts.last().cloned().unwrap_or_default();
                self.save(versions).await?;
                debug!(
                    accounts = self.record.accounts,
                    until = self.record.done_until,
                    "made anew"
                );
            }
        }
        progress("accounts", self.record.accounts, self.plan.accounts);
        Ok(())
    }

    /// Lets go of what was replaced, and has the workers go on from here.
    async fn finish(&mut self, versions: &Versions) -> Result<(), store::Error> {
        let store = self.wiring.store.clone();
        store.remove_states_before(self.record.first_version).await?;
        let states = store.count_states(self.record.partitions).await?;
        let cuts = self.record.next_offsets.iter().zip(&self.record.watermarks);
        let checkpoints: Vec<Checkpoint> = cuts
            .zip(states)
            .zip(0..)
            .map(|(((next_offset, watermark), accounts), partition)| Checkpoint {
                partition,
                version: versions.next(),
                next_offset: *next_offset,
                watermark: *watermark,
                partitions: self.record.partitions,
                saved_at: self.now,
                accounts,
            })
            .collect();
        store.insert_checkpoints(&versions.token(), &checkpoints).await?;
        store.remove_checkpoints_from(self.record.partitions).await?;
        self.record.finished_at = Some(crate::wall_ms());
        self.save(versions).await
    }
}

/// Gives out versions, ascending and above all that there were.
pub(super) struct Versions {
    epoch: u64,
    counter: AtomicU64,
    /// Of this run alone.
    token_base: String,
}

impl Versions {
    fn above(newest: u64) -> Arc<Versions> {
        Arc::new(Versions {
            epoch: (newest >> COUNTER_BITS) + 1,
            counter: AtomicU64::new(0),
            token_base: uuid::Uuid::new_v4().simple().to_string(),
        })
    }

    fn first(&self) -> u64 {
        self.epoch << COUNTER_BITS
    }

    /// A token that no other insert of anybody has.
    fn token(&self) -> String {
        format!("rebuild-{}-{}", self.token_base, self.next())
    }

    fn next(&self) -> u64 {
        self.first() | (self.counter.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

async fn none_running(kafka: &KafkaConfig, role: &'static str, group: &str) -> Result<(), RebuildError> {
    match group_members(kafka, group).await? {
        0 => Ok(()),
        members => Err(RebuildError::Running {
            role,
            group: group.to_string(),
            members,
            session_ms: kafka.session_timeout_ms,
        }),
    }
}

/// Whether it is the rebuild that is asked for now.
fn is_the_same(found: &Rebuild, asked: &Rebuild) -> bool {
    (&found.model_hash, found.since, found.partitions) == (&asked.model_hash, asked.since, asked.partitions)
}

/// Whether the partitions can still be read from where an unfinished rebuild has cut them.
fn is_in_the_log(found: &Rebuild, spans: &[Span]) -> bool {
    let is_in = |(span, cut): (&Span, &i64)| (span.first..=span.end).contains(cut);
    found.next_offsets.is_empty()
        || (found.next_offsets.len() == spans.len() && spans.iter().zip(&found.next_offsets).all(is_in))
}

/// Of each partition the offset below which everything has landed: what the checkpoint says, as far as the
/// log is the one that it speaks of.
fn landed_until(spans: &[Span], checkpoints: &[Checkpoint], limits: &[i64]) -> Vec<i64> {
    let until = |(number, limit): (i32, &i64)| {
        let Some(span) = spans.iter().find(|span| span.partition == number) else {
            return 0;
        };
        let known = checkpoints.iter().find(|known| known.partition == number);
        let landed = known.map_or(span.first, |known| known.next_offset);
        landed.min(*limit).clamp(span.first, span.end)
    };
    (0..).zip(limits).map(until).collect()
}

/// What of a partition has not landed, as far as is known.
fn to_land(span: &Span, landed_until: &[i64]) -> Span {
    let until = usize::try_from(span.partition)
        .ok()
        .and_then(|number| landed_until.get(number));
    Span {
        first: until.copied().unwrap_or(span.first).clamp(span.first, span.end),
        ..*span
    }
}

#[cfg(test)]
#[path = "rebuild_tests.rs"]
mod tests;
