//! Writing what the partitions found, in the order on which recovery rests: events first, then what
//! is derived from them, then the states, then the checkpoints, then the commit to Kafka.

use std::collections::HashMap;
use std::future::Future;

use event::Event;
use health::AlertChange;
use prost::Message;
use store::{AlertRow, Checkpoint, CountedDay, DayBounds, EventRow};
use stream::topics;
use tokio::time::{Duration, Instant};
use tracing::{debug, warn};

use crate::partition::{Recount, Unsaved};
use crate::rows;
use crate::wall_ms;
use crate::worker::{Error, Worker};

/// How often a write in progress looks whether the partitions are still ours.
const FENCE_INTERVAL: Duration = Duration::from_millis(250);

/// Accounts whose events are read again at a time.
const RECOUNTED_AT_A_TIME: usize = 100;

/// Rows of one insert at most.
const INSERT_ROWS: usize = 100_000;

impl Worker {
    /// Lands the events that wait.
    pub(crate) async fn land(&mut self) -> Result<(), Error> {
        self.landed_at = Instant::now();
        let mut rows = Vec::new();
        for partition in self.partitions.values_mut() {
            rows.append(&mut partition.waiting.events);
        }
        for chunk in rows.chunks(INSERT_ROWS) {
            let first = &chunk[0];
            let token = format!(
                "events-{}-{}-{}",
                first.kafka_partition,
                first.kafka_offset,
                self.next_token()
            );
            self.fenced(self.store.insert_events(&token, chunk)).await?;
        }
        for partition in self.partitions.values_mut() {
            partition.events_landed();
        }
        Ok(())
    }

    /// Writes the evaluations that wait.
    pub(crate) async fn write_evaluations(&mut self) -> Result<(), Error> {
        self.evaluations_written_at = Instant::now();
        let mut metrics = Vec::new();
        let mut scores = Vec::new();
        for partition in self.partitions.values_mut() {
            metrics.append(&mut partition.waiting.metrics);
            scores.append(&mut partition.waiting.scores);
        }
        // The two are pushed together, so that they are of one length.
        for (metrics, scores) in metrics.chunks(INSERT_ROWS).zip(scores.chunks(INSERT_ROWS)) {
            let token = format!("evaluations-{}", self.next_token());
            self.fenced(self.store.insert_evaluations(&token, metrics, scores))
                .await?;
        }
        Ok(())
    }

    /// Saves everything that changed and moves the checkpoints.
    pub(crate) async fn checkpoint(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        self.checkpointed_at = begun;
        self.land().await?;
        self.recount_days().await?;
        self.write_evaluations().await?;
        let now = wall_ms();
        let mut unsaved = Unsaved::default();
        let mut checkpoints = Vec::new();
        for partition in self.partitions.values_mut() {
            let found = partition.take_unsaved(now);
            unsaved.daily.extend(found.daily);
            unsaved.accounts.extend(found.accounts);
            unsaved.users.extend(found.users);
            unsaved.states.extend(found.states);
            unsaved.days_to_count.extend(found.days_to_count);
            if std::mem::take(&mut partition.is_moved) {
                checkpoints.push(Checkpoint {
                    partition: partition.number,
                    version: partition.version(),
                    next_offset: partition.next_offset,
                    watermark: partition.watermark.unwrap_or(0),
                    partitions: self.config.partitions,
                    saved_at: now,
                });
            }
        }
        self.count_days(&mut unsaved, now).await?;
        let token = format!("checkpoint-{}", self.next_token());
        for rows in unsaved.daily.chunks(INSERT_ROWS) {
            let token = format!("{token}-{}", rows[0].version);
            self.fenced(self.store.insert_daily(&token, rows)).await?;
        }
        for rows in unsaved.users.chunks(INSERT_ROWS) {
            let token = format!("{token}-{}", rows[0].version);
            self.fenced(self.store.insert_users(&token, rows)).await?;
        }
        for rows in unsaved.accounts.chunks(INSERT_ROWS) {
            let token = format!("{token}-{}", rows[0].version);
            self.fenced(self.store.insert_accounts(&token, rows)).await?;
        }
        for rows in unsaved.states.chunks(INSERT_ROWS) {
            let token = format!("{token}-{}", rows[0].version);
            self.fenced(self.store.insert_states(&token, rows)).await?;
        }
        if !checkpoints.is_empty() {
            self.fenced(self.store.insert_checkpoints(&token, &checkpoints))
                .await?;
            let done: Vec<(i32, i64)> = checkpoints
                .iter()
                .map(|checkpoint| (checkpoint.partition, checkpoint.next_offset))
                .collect();
            self.handle.commit(&done);
            self.metrics.checkpoint.observe(begun.elapsed().as_secs_f64());
            debug!(
                states = unsaved.states.len(),
                partitions = checkpoints.len(),
                "checkpoint"
            );
        }
        Ok(())
    }

    /// Counts anew the days of accounts whose time zone became known after their events. Everything
    /// that was folded has landed by then, so the raw events say what the days must hold.
    async fn recount_days(&mut self) -> Result<(), Error> {
        let mut recounts: Vec<(i32, Recount)> = Vec::new();
        for partition in self.partitions.values() {
            recounts.extend(
                partition
                    .recounts()
                    .into_iter()
                    .map(|recount| (partition.number, recount)),
            );
        }
        for chunk in recounts.chunks(RECOUNTED_AT_A_TIME) {
            let accounts: Vec<String> = chunk
                .iter()
                .map(|(_, recount)| recount.account_id.clone())
                .collect();
            let from = chunk.iter().map(|(_, recount)| recount.from).min().unwrap_or(0);
            let mut landed: HashMap<String, Vec<EventRow>> = HashMap::new();
            for row in self.fenced(self.store.events_since(&accounts, from)).await? {
                landed.entry(row.account_id.clone()).or_default().push(row);
            }
            for (number, recount) in chunk {
                let Some(partition) = self.partitions.get_mut(number) else {
                    continue;
                };
                let rows = landed.remove(&recount.account_id).unwrap_or_default();
                // What landed before a crash and is not folded again yet will be counted when it is.
                let folded = rows.into_iter().filter(|row| row.kafka_offset <= recount.offset);
                let events: Vec<Event> = folded.filter_map(rows::landed_event).collect();
                partition.recount(recount.place, &events);
            }
        }
        Ok(())
    }

    /// Counts the days that the accounts do not keep any more from the landed events.
    async fn count_days(&self, unsaved: &mut Unsaved, now: i64) -> Result<(), Error> {
        let bounds: Vec<DayBounds> = unsaved
            .days_to_count
            .iter()
            .map(|(bounds, _)| bounds.clone())
            .collect();
        if bounds.is_empty() {
            return Ok(());
        }
        let counted = self.fenced(self.store.count_days(&bounds)).await?;
        let mut found: HashMap<(String, u16), CountedDay> = counted
            .into_iter()
            .map(|counted| ((counted.account_id.clone(), counted.day), counted))
            .collect();
        for (bounds, version) in std::mem::take(&mut unsaved.days_to_count) {
            let counted = found.remove(&(bounds.account_id.clone(), bounds.day));
            unsaved.daily.push(rows::counted(bounds, counted, version, now));
        }
        Ok(())
    }

    /// Sends the alert changes that evaluations found. The states that know of them are saved before,
    /// so that a change that was sent is never forgotten; one that was saved and not sent is sent by
    /// the next owner, with the same id.
    pub(crate) async fn send_alerts(&mut self) -> Result<(), Error> {
        let now = wall_ms();
        let mut sending = Vec::new();
        for partition in self.partitions.values_mut() {
            let places = partition.take_alerting();
            sending.extend(places.into_iter().map(|place| (partition.number, place)));
        }
        if sending.is_empty() {
            return Ok(());
        }
        self.land().await?;
        self.write_evaluations().await?;
        let mut states = Vec::with_capacity(sending.len());
        let mut changes = Vec::new();
        for (number, place) in &sending {
            let Some(partition) = self.partitions.get_mut(number) else {
                continue;
            };
            states.push(partition.state(*place, now));
            changes.extend(partition.outbox(*place).iter().cloned());
        }
        let token = format!("alerts-{}", self.next_token());
        self.fenced(self.store.insert_states(&token, &states)).await?;
        let rows: Vec<AlertRow> = changes
            .iter()
            .map(|change| AlertRow {
                alert_id: change.alert_id.clone(),
                episode_id: change.episode_id.clone(),
                account_id: change.account_id.clone(),
                rule: change.rule.clone(),
                severity: change.severity.clone(),
                change: change.change.clone(),
                at: change.at,
                reason: change.reason.clone(),
                reason_ja: change.reason_ja.clone(),
                payload: change.payload.clone(),
                version: change.at.unsigned_abs(),
            })
            .collect();
        self.fenced(self.store.insert_alerts(&token, &rows)).await?;
        while let Err(error) = self.fenced(self.produce(&changes)).await {
            let Error::Stream(error) = error else {
                return Err(error);
            };
            warn!(%error, changes = changes.len(), "cannot send alerts yet, trying again");
        }
        for (number, place) in sending {
            if let Some(partition) = self.partitions.get_mut(&number) {
                partition.sent(place);
            }
        }
        for change in &changes {
            self.metrics
                .alerts
                .with_label_values(&[change.rule.as_str(), change.change.as_str()])
                .inc();
        }
        Ok(())
    }

    /// Puts changes into the topic; all of them are acknowledged when it returns.
    async fn produce(&self, changes: &[AlertChange]) -> Result<(), stream::Error> {
        let mut deliveries = Vec::with_capacity(changes.len());
        for change in changes {
            let key = Some(change.account_id.as_bytes());
            let value = change.encode_to_vec();
            deliveries.push(
                self.producer
                    .send_waiting(topics::ALERTS, key, &value, &[])
                    .await?,
            );
        }
        for delivery in deliveries {
            delivery.await?;
        }
        Ok(())
    }

    /// Waits for `write`, unless one of our partitions is another worker's by now, or the process is
    /// to stop and the write does not end in time.
    pub(crate) async fn fenced<T, E>(&self, write: impl Future<Output = Result<T, E>>) -> Result<T, Error>
    where
        Error: From<E>,
    {
        let mut shutdown = self.shutdown.clone();
        let stop_within = Duration::from_millis(self.config.stop_within_ms);
        let stopped = async move {
            // An error says that nobody can ask for a stop any more: then none is coming.
            if shutdown.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(stop_within).await;
        };
        tokio::pin!(write);
        tokio::pin!(stopped);
        loop {
            if let Some(number) = self
                .partitions
                .keys()
                .find(|number| !self.handle.is_owned(**number))
            {
                return Err(Error::Fenced(*number));
            }
            tokio::select! {
                done = &mut write => return Ok(done?),
                () = &mut stopped => return Err(Error::Interrupted),
                () = tokio::time::sleep(FENCE_INTERVAL) => {}
            }
        }
    }

    /// Part of a token that no other insert of any worker has.
    fn next_token(&self) -> String {
        let number = self.tokens.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{}-{number}", self.token_base)
    }
}
