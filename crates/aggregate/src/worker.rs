//! The wheel: takes what the consumer hands over, folds it, and sees to what is due.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use health::{Model, SegmentBaselines};
use prometheus::Registry;
use store::Store;
use stream::{
    ConsumerEvent, ConsumerEvents, ConsumerMetrics, ConsumerOptions, KafkaConfig, Membership, Producer,
    Record, StartFrom, consume, topics,
};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Duration, Instant, MissedTickBehavior};
use tracing::{error, info, warn};

use crate::action::{Answer, Lane, SetAside};
use crate::config::Config;
use crate::core::{Core, CoreError, Incoming, Outlook};
use crate::history::{Ended, Histories};
use crate::metrics::Metrics;
use crate::outlet::{Held, Outlet};
use crate::upstream::{Upstream, UpstreamConfig};
use crate::wall_ms;

/// How often the worker looks at what is due when nothing comes in.
const TICK: Duration = Duration::from_millis(100);

/// How often a worker that is far behind says so.
const TELL_LAG_EVERY: Duration = Duration::from_secs(5);

/// How long the worker waits before it joins the group again after it was fenced.
const REJOIN_AFTER: Duration = Duration::from_secs(1);

/// Why the worker stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be worked with.
    #[error("{0}")]
    Config(String),
    /// What is saved cannot be gone on from.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// Kafka cannot be used.
    #[error(transparent)]
    Stream(#[from] stream::Error),
    /// ClickHouse cannot be used.
    #[error(transparent)]
    Store(store::Error),
    /// The metrics are registered already.
    #[error("metrics of aggregate: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The log lost what had landed from it.
    #[error(
        "offset {offset} of partition {partition} of {topic} does not hold the event that landed from there: the log \
         lost its end, or is another one; run `mimamori rebuild`",
        topic = topics::EVENTS
    )]
    AnotherLog {
        /// The partition.
        partition: i32,
        /// The offset of what landed last.
        offset: i64,
    },
    /// What a rebuild has not come to yet cannot be relied on.
    #[error("a rebuild is not finished: run `mimamori rebuild` again, it goes on where it stood")]
    Rebuilding,
    /// A partition went to another worker in the middle of something; the worker starts over.
    #[error("a partition of {topic} is another worker's now", topic = topics::EVENTS)]
    Fenced,
    /// A write did not end within the time that a stop has; it is done again at the next start.
    #[error("stopped before everything was written; it will be at the next start")]
    Interrupted,
}

/// What the worker works with.
pub struct Wiring {
    /// Where Kafka is.
    pub kafka: KafkaConfig,
    /// Where the events come from before they are here.
    pub upstream: UpstreamConfig,
    /// Where ClickHouse is.
    pub store: Store,
    /// How accounts are judged.
    pub model: Arc<Model>,
    /// Where metrics are declared.
    pub registry: Registry,
    /// What the worker says of its part in its group.
    pub membership: watch::Sender<Membership>,
    /// Becomes true when the worker is to stop.
    pub shutdown: watch::Receiver<bool>,
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        match error {
            store::Error::Fenced { .. } => Error::Fenced,
            error => Error::Store(error),
        }
    }
}

pub(crate) struct Worker {
    config: Arc<Config>,
    model: Arc<Model>,
    core: Core,
    outlet: Outlet,
    /// What the core wants done and is being done: one thing of each lane.
    under_way: JoinSet<Result<(Lane, Answer), Error>>,
    told_lag_at: Instant,
    upstream: Upstream,
    histories: Histories,
    segments: Arc<SegmentBaselines>,
    segments_read_at: Option<Instant>,
}

/// Runs the worker until `wiring.shutdown` says stop, and saves what it holds.
///
/// # Errors
/// Whatever cannot get better by waiting: a configuration, a state that cannot be read, a table that
/// is missing. A broker or a ClickHouse that is away is waited for.
///
/// The future comes boxed, so that its code is made here, once, and not in each crate that awaits it.
pub fn run(config: Config, wiring: Wiring) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
    Box::pin(run_until_stopped(config, wiring))
}

/// Nobody folds while a rebuild is not finished.
pub(crate) async fn no_rebuild_stands(store: &Store) -> Result<(), Error> {
    match store.unfinished_rebuild().await? {
        Some(_) => Err(Error::Rebuilding),
        None => Ok(()),
    }
}

async fn run_until_stopped(config: Config, wiring: Wiring) -> Result<(), Error> {
    if let Some(problem) = config.problem() {
        return Err(Error::Config(problem));
    }
    no_rebuild_stands(&wiring.store).await?;
    if let Some(found) = wiring.store.checkpointed_partitions().await?
        && found != config.partitions
    {
        let configured = config.partitions;
        return Err(CoreError::Partitions { found, configured }.into());
    }
    let config = Arc::new(config);
    let metrics = Metrics::register(&wiring.registry)?;
    let consumer_metrics = ConsumerMetrics::register(&wiring.registry, "aggregate")?;
    let producer = Producer::new(&wiring.kafka)?;
    let upstream = Upstream::watch(&config, &wiring, metrics.clone())?;
    let mut poison: BTreeMap<(i32, i64), String> = BTreeMap::new();
    loop {
        let mut options = ConsumerOptions::new(&config.group, topics::EVENTS, StartFrom::Asked);
        options.batch_wait = Duration::from_millis(10);
        let (handle, events) = consume(&wiring.kafka, options, consumer_metrics.clone())?;
        let held = Held::none(handle.clone());
        let fence = held.clone();
        let core = Core::new(
            Arc::clone(&config),
            Arc::clone(&wiring.model),
            metrics.clone(),
            uuid::Uuid::new_v4().simple().to_string(),
            poison.clone(),
            wall_ms(),
        );
        let mut worker = Worker {
            config: Arc::clone(&config),
            model: Arc::clone(&wiring.model),
            core,
            outlet: Outlet {
                config: Arc::clone(&config),
                store: wiring.store.fenced_by(Arc::new(move || fence.are_ours())),
                held,
                handle: handle.clone(),
                kafka: wiring.kafka.clone(),
                producer: producer.clone(),
                shutdown: wiring.shutdown.clone(),
            },
            under_way: JoinSet::new(),
            told_lag_at: Instant::now(),
            upstream: upstream.clone(),
            histories: Histories::default(),
            segments: Arc::default(),
            segments_read_at: None,
        };
        let ended = worker.turn(events, &wiring.membership).await;
        wiring.membership.send_replace(Membership::Away);
        worker.under_way.shutdown().await;
        // What was sent and not answered may still arrive; the next owner is to read it. Should that take
        // longer than a stop may, the rows collapse.
        let stop_within = Duration::from_millis(config.stop_within_ms);
        let stopped = async {
            let mut shutdown = wiring.shutdown.clone();
            stop_asked(&mut shutdown).await;
            tokio::time::sleep(stop_within).await;
        };
        tokio::select! {
            () = worker.outlet.store.inserts_ended() => {}
            () = stopped => {}
        }
        drop(worker);
        handle.shutdown().await;
        match ended {
            Err(Error::Fenced) => {
                warn!("a partition is another worker's now, starting over");
                tokio::time::sleep(REJOIN_AFTER).await;
            }
            Err(Error::Core(CoreError::Poison {
                number,
                offset,
                detail,
            })) => {
                error!(
                    partition = number,
                    offset, detail, "an event makes folding fail, starting over without it"
                );
                poison.insert((number, offset), detail);
            }
            Err(Error::Interrupted) => {
                warn!("stopped before everything was written; it will be at the next start");
                return Ok(());
            }
            ended => return ended,
        }
        if *wiring.shutdown.borrow() {
            return Ok(());
        }
    }
}

impl Worker {
    async fn turn(
        &mut self,
        mut events: ConsumerEvents,
        membership: &watch::Sender<Membership>,
    ) -> Result<(), Error> {
        let mut shutdown = self.outlet.shutdown.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_what_is_next()?;
            let has_room = !self.core.is_full();
            let happened = tokio::select! {
                biased;
                () = stop_asked(&mut shutdown) => {
                    info!("saving before the stop");
                    return self.checkpoint().await;
                }
                Some(ended) = self.under_way.join_next() => {
                    self.take_answer(ended)?;
                    None
                }
                happened = events.recv(), if has_room => match happened {
                    Some(happened) => Some(happened),
                    None => return Ok(()),
                },
                _ = ticks.tick() => None,
            };
            let mut next = happened;
            while let Some(event) = next.take() {
                next = self.handle_event(event, &mut events, membership).await?;
            }
            self.see_to_what_is_due().await?;
        }
    }

    /// Has the core fold what came, and begins with what it wants done next. The folding goes on meanwhile.
    fn begin_what_is_next(&mut self) -> Result<(), Error> {
        while let Some((lane, action)) = self.core.next(wall_ms())? {
            let outlet = self.outlet.clone();
            self.under_way
                .spawn(async move { Ok((lane, outlet.act(action).await?)) });
        }
        Ok(())
    }

    fn take_answer(&mut self, ended: Result<Result<(Lane, Answer), Error>, JoinError>) -> Result<(), Error> {
        match ended {
            Ok(answered) => {
                let (lane, answer) = answered?;
                Ok(self.core.answer(lane, answer, wall_ms())?)
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a worker that is dropped ends it.
                Err(_) => Err(Error::Interrupted),
            },
        }
    }

    /// Does what the core wants done, until it wants nothing more.
    async fn act_all(&mut self) -> Result<(), Error> {
        loop {
            self.begin_what_is_next()?;
            match self.under_way.join_next().await {
                Some(ended) => self.take_answer(ended)?,
                None => return Ok(()),
            }
        }
    }

    async fn checkpoint(&mut self) -> Result<(), Error> {
        self.core.checkpoint(wall_ms());
        self.act_all().await
    }

    /// Handles one event and, after records, those that wait behind it; returns the first of another
    /// kind that was met.
    async fn handle_event(
        &mut self,
        event: ConsumerEvent,
        events: &mut ConsumerEvents,
        membership: &watch::Sender<Membership>,
    ) -> Result<Option<ConsumerEvent>, Error> {
        match event {
            ConsumerEvent::Assigned(numbers) => {
                self.outlet.held.change(|held| held.extend(&numbers));
                self.outlet.see_that_the_log_is_the_same(&numbers).await?;
                self.core.assigned(&numbers);
                self.act_all().await?;
                membership.send_replace(Membership::Joined(self.outlet.handle.clone()));
                Ok(None)
            }
            ConsumerEvent::Records(mut records) => {
                let mut other = None;
                while records.len() < self.config.batch_records
                    && let Some(more) = events.try_recv()
                {
                    match more {
                        ConsumerEvent::Records(mut more) => records.append(&mut more),
                        event => {
                            other = Some(event);
                            break;
                        }
                    }
                }
                self.core.records(records.into_iter().map(incoming));
                self.begin_what_is_next()?;
                Ok(other)
            }
            ConsumerEvent::Revoked { partitions, drained } => {
                self.checkpoint().await?;
                self.forget(&partitions);
                // Nobody waits for it when the deadline is over; then the partitions are gone anyway.
                let _ = drained.send(());
                Ok(None)
            }
            ConsumerEvent::Lost(partitions) => {
                warn!(?partitions, "assignment lost, what was held of it is dropped");
                if !self.core.is_idle() {
                    // What is being written may be of them.
                    return Err(Error::Fenced);
                }
                self.forget(&partitions);
                Ok(None)
            }
            ConsumerEvent::Failed(error) => Err(error.into()),
        }
    }

    fn forget(&mut self, numbers: &[i32]) {
        self.core.forget(numbers);
        self.outlet
            .held
            .change(|held| held.retain(|number| !numbers.contains(number)));
    }

    async fn see_to_what_is_due(&mut self) -> Result<(), Error> {
        self.tell_lag();
        self.read_segments().await?;
        self.take_histories().await;
        let now = wall_ms();
        {
            let handle = &self.outlet.handle;
            let outlook = Outlook {
                ingest_is_behind: self.upstream.is_behind(),
                lag: &|number| handle.lag(number),
            };
            self.core.see_to_what_is_due(now, &outlook);
        }
        self.ask_histories(now);
        Ok(())
    }

    /// Says how far a long replay is.
    fn tell_lag(&mut self) {
        if self.told_lag_at.elapsed() < TELL_LAG_EVERY {
            return;
        }
        self.told_lag_at = Instant::now();
        let lags = self
            .core
            .numbers()
            .filter_map(|number| self.outlet.handle.lag(number));
        let behind: i64 = lags.sum();
        if behind > self.config.ingest_lag_records {
            info!(records = behind, "catching up");
        }
    }

    /// Takes over the histories that were stated.
    async fn take_histories(&mut self) {
        let now = wall_ms();
        match self.histories.ended().await {
            Some(Ended::Stated(found)) => {
                for (number, history) in found {
                    self.core.history_stated(number, history, now);
                }
            }
            Some(Ended::Failed(requests)) => {
                for (number, request) in requests {
                    self.core.history_failed(number, &request);
                }
            }
            None => {}
        }
    }

    /// Has the next histories stated.
    fn ask_histories(&mut self, now: i64) {
        if !self.histories.is_idle() {
            return;
        }
        let requests = self.core.take_histories(now);
        if !requests.is_empty() {
            self.histories
                .begin(&self.outlet.store, &self.model, &self.segments, requests);
        }
    }

    /// Reads what is usual in the segments, and takes it anew when it is old.
    async fn read_segments(&mut self) -> Result<(), Error> {
        let every = Duration::from_secs(u64::try_from(self.config.segments_seconds).unwrap_or(u64::MAX));
        if self.segments_read_at.is_some_and(|at| at.elapsed() < every)
            || self.core.numbers().next().is_none()
        {
            return Ok(());
        }
        let is_first = self.segments_read_at.is_none();
        self.segments_read_at = Some(Instant::now());
        if !is_first {
            let least = self.model.config().segment_least_accounts;
            let compute = self.outlet.store.compute_segment_baselines(wall_ms(), least);
            self.outlet.fenced(compute).await?;
        }
        let found = self.outlet.fenced(self.outlet.store.segment_baselines()).await?;
        let stickiness = found.into_iter().map(|found| (found.segment, found.stickiness));
        self.segments = Arc::new(SegmentBaselines {
            stickiness: stickiness.collect(),
        });
        self.core.judge_by(&self.segments);
        Ok(())
    }
}

fn incoming(record: Record) -> (i32, i64, Incoming) {
    let (number, offset) = (record.partition, record.offset);
    let incoming = match event::wire::decode(&record.payload) {
        Ok(event) => Incoming::Event(event),
        Err(error) => Incoming::Bad(SetAside {
            number,
            offset,
            key: record.key,
            payload: record.payload,
            reason: "unknown_format",
            detail: error.to_string(),
        }),
    };
    (number, offset, incoming)
}

/// Waits for the sign to stop, or for nobody being left who could give it.
async fn stop_asked(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
