//! The wheel: takes what the consumer hands over, folds it, and sees to what is due.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use event::Event;
use health::{Model, StateError};
use prometheus::Registry;
use store::Store;
use stream::{
    ConsumerEvent, ConsumerEvents, ConsumerHandle, ConsumerMetrics, ConsumerOptions, EARLIEST, KafkaConfig,
    Producer, Record, StartFrom, consume, topics,
};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::partition::{Partition, Taken};
use crate::recover::recover;
use crate::upstream::{Upstream, UpstreamConfig};
use crate::wall_ms;

/// How often the worker looks at what is due when nothing comes in.
const TICK: Duration = Duration::from_millis(100);

/// Accounts of one partition that are evaluated before the next look at the queue.
const EVALUATED_AT_A_TIME: usize = 2_000;

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
    /// The partition count of `mimamori.events` is not the one that the states were made with.
    #[error(
        "the states in ClickHouse were made with {found} partitions of {topic}, aggregate.partitions is {configured}: \
         set it back, or rebuild the states",
        topic = topics::EVENTS
    )]
    Partitions {
        /// What the states were made with.
        found: i32,
        /// What is configured.
        configured: i32,
    },
    /// Kafka cannot be used.
    #[error(transparent)]
    Stream(#[from] stream::Error),
    /// ClickHouse cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A saved state cannot be read.
    #[error(transparent)]
    State(StateError),
    /// The metrics are registered already.
    #[error("metrics of aggregate: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A partition went to another worker in the middle of a write; the worker starts over.
    #[error("partition {0} of {topic} is another worker's now", topic = topics::EVENTS)]
    Fenced(i32),
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
    /// Set to true while the worker takes part.
    pub ready: watch::Sender<bool>,
    /// Becomes true when the worker is to stop.
    pub shutdown: watch::Receiver<bool>,
}

pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    model: Arc<Model>,
    pub(crate) store: Store,
    pub(crate) handle: ConsumerHandle,
    pub(crate) producer: Producer,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) partitions: BTreeMap<i32, Partition>,
    pub(crate) landed_at: Instant,
    pub(crate) evaluations_written_at: Instant,
    pub(crate) checkpointed_at: Instant,
    told_lag_at: Instant,
    upstream: Upstream,
    pub(crate) token_base: i64,
    pub(crate) tokens: Arc<AtomicU64>,
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

async fn run_until_stopped(config: Config, wiring: Wiring) -> Result<(), Error> {
    if let Some(problem) = config.problem() {
        return Err(Error::Config(problem));
    }
    if let Some(found) = wiring.store.checkpointed_partitions().await?
        && found != config.partitions
    {
        return Err(Error::Partitions {
            found,
            configured: config.partitions,
        });
    }
    let config = Arc::new(config);
    let metrics = Metrics::register(&wiring.registry)?;
    let consumer_metrics = ConsumerMetrics::register(&wiring.registry, "aggregate")?;
    let producer = Producer::new(&wiring.kafka)?;
    let tokens = Arc::new(AtomicU64::new(0));
    let upstream = Upstream::watch(&config, &wiring, metrics.clone())?;
    loop {
        let mut options = ConsumerOptions::new(&config.group, topics::EVENTS, StartFrom::Asked);
        options.batch_wait = Duration::from_millis(10);
        let (handle, events) = consume(&wiring.kafka, options, consumer_metrics.clone())?;
        let now = Instant::now();
        let mut worker = Worker {
            config: Arc::clone(&config),
            model: Arc::clone(&wiring.model),
            store: wiring.store.clone(),
            handle: handle.clone(),
            producer: producer.clone(),
            metrics: metrics.clone(),
            shutdown: wiring.shutdown.clone(),
            partitions: BTreeMap::new(),
            landed_at: now,
            evaluations_written_at: now,
            checkpointed_at: now,
            told_lag_at: now,
            upstream: upstream.clone(),
            token_base: wall_ms(),
            tokens: Arc::clone(&tokens),
        };
        let ended = worker.turn(events, &wiring.ready).await;
        wiring.ready.send_replace(false);
        drop(worker);
        handle.shutdown().await;
        match ended {
            Err(Error::Fenced(partition)) => {
                warn!(partition, "fenced, starting over");
                tokio::time::sleep(REJOIN_AFTER).await;
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
    async fn turn(&mut self, mut events: ConsumerEvents, ready: &watch::Sender<bool>) -> Result<(), Error> {
        let mut shutdown = self.shutdown.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let happened = tokio::select! {
                biased;
                () = stop_asked(&mut shutdown) => {
                    info!("saving before the stop");
                    return self.checkpoint().await;
                }
                happened = events.recv() => match happened {
                    Some(happened) => Some(happened),
                    None => return Ok(()),
                },
                _ = ticks.tick() => None,
            };
            let mut next = happened;
            while let Some(event) = next.take() {
                next = self.handle_event(event, &mut events, ready).await?;
            }
            self.see_to_what_is_due().await?;
        }
    }

    /// Handles one event and, after records, those that wait behind it; returns the first of another
    /// kind that was met.
    async fn handle_event(
        &mut self,
        event: ConsumerEvent,
        events: &mut ConsumerEvents,
        ready: &watch::Sender<bool>,
    ) -> Result<Option<ConsumerEvent>, Error> {
        match event {
            ConsumerEvent::Assigned(numbers) => {
                for number in numbers {
                    let recovered = recover(&self.store, number, &self.config, &self.model, wall_ms());
                    let partition = self.fenced(recovered).await?;
                    let begin = if partition.next_offset == 0 {
                        EARLIEST
                    } else {
                        partition.next_offset
                    };
                    self.handle.start(number, begin);
                    self.partitions.insert(number, partition);
                }
                self.count_accounts();
                ready.send_replace(true);
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
                self.take(records).await?;
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
                self.forget(&partitions);
                Ok(None)
            }
            ConsumerEvent::Failed(error) => Err(error.into()),
        }
    }

    fn forget(&mut self, numbers: &[i32]) {
        for number in numbers {
            self.partitions.remove(number);
            // It may never have been set.
            let _ = self
                .metrics
                .watermark
                .remove_label_values(&[number.to_string().as_str()]);
        }
        self.count_accounts();
    }

    fn count_accounts(&self) {
        let accounts: usize = self.partitions.values().map(Partition::accounts).sum();
        self.metrics
            .accounts
            .set(i64::try_from(accounts).unwrap_or(i64::MAX));
    }

    /// Folds records, in their order within each partition.
    async fn take(&mut self, records: Vec<Record>) -> Result<(), Error> {
        let mut by_partition: BTreeMap<i32, Vec<(Event, i64)>> = BTreeMap::new();
        for record in records {
            let Some(partition) = self.partitions.get(&record.partition) else {
                continue;
            };
            if record.offset < partition.next_offset {
                continue;
            }
            match event::wire::decode(&record.payload) {
                Ok(event) => by_partition
                    .entry(record.partition)
                    .or_default()
                    .push((event, record.offset)),
                Err(error) => self.set_aside(&record, &error.to_string()).await?,
            }
        }
        for (number, events) in by_partition {
            self.take_partition(number, events).await?;
        }
        self.count_accounts();
        Ok(())
    }

    /// Folds events of one partition. One whose id may have been forgotten stops the folding until
    /// ClickHouse has been asked about it and about all such events behind it.
    async fn take_partition(&mut self, number: i32, events: Vec<(Event, i64)>) -> Result<(), Error> {
        let mut asked: HashSet<i64> = HashSet::new();
        let mut seen: HashSet<i64> = HashSet::new();
        let mut events = events.into_iter().peekable();
        let mut rest: Vec<(Event, i64)> = Vec::new();
        loop {
            let Some(partition) = self.partitions.get_mut(&number) else {
                return Ok(());
            };
            let now = wall_ms();
            while let Some((event, offset)) = events
                .next_if(|(event, offset)| asked.contains(offset) || !partition.must_look_up(event, *offset))
            {
                match partition.take(event, offset, seen.contains(&offset), now) {
                    Taken::Folded { counted } => {
                        self.metrics.events.inc();
                        self.metrics.too_late.inc_by(u64::from(!counted));
                    }
                    Taken::Duplicate => self.metrics.duplicates.inc(),
                    Taken::Replayed => {}
                }
            }
            if events.peek().is_none() {
                break;
            }
            rest.extend(events);
            let ask: Vec<&(Event, i64)> = rest
                .iter()
                .filter(|(event, offset)| !asked.contains(offset) && partition.must_look_up(event, *offset))
                .collect();
            let found = look_up(&self.store, number, &ask);
            let found = self.fenced(found).await?;
            self.metrics.late_lookups.inc_by(ask.len() as u64);
            asked.extend(ask.iter().map(|(_, offset)| *offset));
            seen.extend(found);
            events = std::mem::take(&mut rest).into_iter().peekable();
        }
        if let Some(partition) = self.partitions.get(&number)
            && let Some(watermark) = partition.watermark
        {
            let label = number.to_string();
            self.metrics
                .watermark
                .with_label_values(&[label.as_str()])
                .set(watermark.div_euclid(1000));
        }
        Ok(())
    }

    /// Puts a record that is no event where people can find it, and goes on.
    async fn set_aside(&mut self, record: &Record, detail: &str) -> Result<(), Error> {
        warn!(
            partition = record.partition,
            offset = record.offset,
            detail,
            "record set aside"
        );
        let partition = record.partition.to_string();
        let offset = record.offset.to_string();
        let headers: [(&str, &[u8]); 5] = [
            ("reason", b"unknown_format"),
            ("detail", detail.as_bytes()),
            ("source_topic", record.topic.as_bytes()),
            ("source_partition", partition.as_bytes()),
            ("source_offset", offset.as_bytes()),
        ];
        loop {
            let sent = async {
                let delivery = self
                    .producer
                    .send_waiting(topics::REJECTED, record.key.as_deref(), &record.payload, &headers)
                    .await?;
                delivery.await
            };
            match self.fenced(sent).await {
                Ok(_) => break,
                Err(Error::Stream(error)) => warn!(%error, "cannot set a record aside yet, trying again"),
                Err(error) => return Err(error),
            }
        }
        self.metrics.undecodable.inc();
        if let Some(partition) = self.partitions.get_mut(&record.partition) {
            partition.skip(record.offset);
        }
        Ok(())
    }

    /// Says how far a long replay is.
    fn tell_lag(&mut self) {
        if self.told_lag_at.elapsed() < TELL_LAG_EVERY {
            return;
        }
        self.told_lag_at = Instant::now();
        let behind: i64 = self
            .partitions
            .keys()
            .filter_map(|number| self.handle.lag(*number))
            .sum();
        if behind > self.config.ingest_lag_records {
            info!(records = behind, "catching up");
        }
    }

    async fn see_to_what_is_due(&mut self) -> Result<(), Error> {
        self.tell_lag();
        let now = wall_ms();
        let held = self.upstream.is_behind();
        for partition in self.partitions.values_mut() {
            let lag = self.handle.lag(partition.number);
            let caught_up = lag == Some(0);
            let held = held || lag.is_none_or(|lag| lag > self.config.lag_records);
            let evaluated = partition.evaluate_due(now, caught_up, EVALUATED_AT_A_TIME, held, |waited_ms| {
                self.metrics.event_to_score.observe(waited_ms as f64 / 1000.0);
            });
            self.metrics.evaluations.inc_by(evaluated as u64);
        }
        self.send_alerts().await?;
        let waiting = |count: fn(&Partition) -> usize| self.partitions.values().map(count).sum::<usize>();
        let events = waiting(|partition| partition.waiting.events.len());
        let evaluations = waiting(|partition| partition.waiting.metrics.len());
        let land_after = millis(self.config.land_after_ms);
        if events >= self.config.land_rows || (events > 0 && self.landed_at.elapsed() >= land_after) {
            self.land().await?;
        }
        let overflowing = evaluations >= self.config.evaluation_rows;
        if overflowing || (evaluations > 0 && self.evaluations_written_at.elapsed() >= land_after) {
            self.write_evaluations().await?;
        }
        if self.checkpointed_at.elapsed() >= millis(self.config.checkpoint_after_ms) {
            self.checkpoint().await?;
        }
        Ok(())
    }
}

/// Waits for the sign to stop, or for nobody being left who could give it.
async fn stop_asked(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// The offsets of those events whose account has had their id at a lower offset. A row at the event's
/// own offset is the event itself, landed before a restart.
async fn look_up(store: &Store, number: i32, ask: &[&(Event, i64)]) -> Result<Vec<i64>, store::Error> {
    let pairs: Vec<(String, String)> = ask
        .iter()
        .map(|(event, _)| (event.account_id.clone(), event.event_id.clone()))
        .collect();
    let mut lowest: HashMap<(String, String), i64> = HashMap::new();
    for row in store.seen_events(&pairs).await? {
        // A row of another partition was landed before the topic was laid out anew.
        let offset = if row.kafka_partition == number {
            row.kafka_offset
        } else {
            -1
        };
        let known = lowest.entry((row.account_id, row.event_id)).or_insert(offset);
        *known = offset.min(*known);
    }
    let was_seen =
        |(pair, offset): &(&(String, String), i64)| lowest.get(*pair).is_some_and(|known| known < offset);
    let offsets = ask.iter().map(|(_, offset)| *offset);
    Ok(pairs
        .iter()
        .zip(offsets)
        .filter(was_seen)
        .map(|(_, offset)| offset)
        .collect())
}

fn millis(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}
