//! Makes the digests: once a day of work and destination, by the worker that owns the first partition.
//!
//! In three steps, each of which can be repeated: the rows of what waits are marked as taken in, the
//! digest is made from what is marked, and its row is written, from which on the destination's lane
//! carries it as it does any other delivery. A worker that dies after the first step leaves rows
//! that name a digest of which there is no row; whoever makes that one or the next goes on with them.

use std::collections::HashSet;
use std::time::Duration;

use store::{DeliveryRow, DigestQuery};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use uuid::Uuid;

use super::{LONGEST_SLEEP, Shared, Slot as LaneSlot, Stopped, lock};
use crate::digest;
use crate::lane::{DIGESTED, RETRYING};
use crate::policy::Slot;
use crate::recorder::Ledger;

/// The partition whose worker makes the digests; `Store::waiting_deliveries` has them there.
const PARTITION: i32 = 0;

/// The most rows that are marked at once.
const BATCH: u32 = 5_000;

/// Whether this worker makes the digests, and the last ones that it made.
#[derive(Debug, Default)]
pub(super) struct Digests {
    is_ours: bool,
    /// How often it has become ours.
    turn: u64,
    made: Option<Slot>,
}

impl<L: Ledger> Shared<L> {
    pub(super) fn begin_digests(&self, partitions: &[i32]) {
        if partitions.contains(&PARTITION) {
            let mut digests = lock(&self.digests);
            *digests = Digests {
                is_ours: true,
                turn: digests.turn + 1,
                made: None,
            };
            drop(digests);
            self.digests_wake.notify_one();
        }
    }

    /// Begins no further digest, and waits for one that is being made for as long as it may.
    pub(super) async fn end_digests(&self, partitions: &[i32], within: Duration) {
        if !partitions.contains(&PARTITION) || !lock(&self.digests).is_ours {
            return;
        }
        self.forget_digests(partitions);
        if timeout(within, self.making_digests.lock()).await.is_err() {
            warn!("a digest that was being made is left to the next worker");
        }
    }

    pub(super) fn forget_digests(&self, partitions: &[i32]) {
        if partitions.contains(&PARTITION) {
            lock(&self.digests).is_ours = false;
            self.metrics.awaiting_digest.reset();
            self.digests_wake.notify_one();
        }
    }

    fn makes_digests(&self) -> bool {
        lock(&self.digests).is_ours
    }

    /// Makes each digest when it is due. Never ends by itself.
    pub(super) async fn run_digests(&self) -> Result<(), Stopped> {
        loop {
            if self.makes_digests() {
                let _making = self.making_digests.lock().await;
                let due = self.policy.hours().latest_slot(self.clock.now());
                let (turn, is_made) = {
                    let digests = lock(&self.digests);
                    (digests.turn, digests.made == due)
                };
                if let Some(slot) = due.filter(|_| !is_made) {
                    for lane in &self.lanes {
                        self.make_digest(lane, slot).await?;
                    }
                    let mut digests = lock(&self.digests);
                    // If the partition went away and came back meanwhile some may have been left out.
                    if digests.turn == turn {
                        digests.made = Some(slot);
                    }
                }
                self.count_awaiting_digest().await?;
            }
            let now = self.clock.now();
            let next = self
                .policy
                .hours()
                .next_slot(now)
                .map_or(i64::MAX, |slot| slot.at);
            let ahead = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
            tokio::select! {
                () = sleep(Duration::from_millis(ahead).min(LONGEST_SLEEP)) => {}
                () = self.digests_wake.notified() => {}
            }
        }
    }

    /// Makes the digest of one destination, unless there is one or nothing waits for it.
    async fn make_digest(&self, lane: &LaneSlot, slot: Slot) -> Result<(), Stopped> {
        let destination = lock(&lane.lane).destination().to_string();
        let digest_id = digest::id(&destination, slot.day);
        let ids = [digest_id.clone()];
        if !self.ledger.attempted(&destination, &ids).await?.is_empty() {
            return Ok(());
        }
        self.take_in(&destination, &digest_id, slot).await?;
        let most = self.policy.max_digested();
        let episodes = self.ledger.digested(&destination, &digest_id, most).await?;
        let Some(count) = episodes.first().map(|any| any.episodes) else {
            return Ok(());
        };
        if !self.makes_digests() {
            return Ok(());
        }
        let now = self.clock.now();
        let row = DeliveryRow {
            status: RETRYING.to_string(),
            error: "not tried yet: waits for its turn".to_string(),
            next_attempt_at: Some(now),
            body: digest::render(&digest_id, &destination, slot, &episodes),
            episode_id: digest_id.clone(),
            ..blank(&digest_id, &destination, now)
        };
        self.insert(&[row]).await?;
        info!(destination, digest_id, alerts = count, day = %slot.day, "made a digest");
        // It is in ClickHouse alone: the lane takes it in as it does what it could not hold.
        lock(&lane.lane).look_again(now);
        lane.wake.notify_one();
        Ok(())
    }

    /// Marks what came before the digest as being in it.
    async fn take_in(&self, destination: &str, digest_id: &str, slot: Slot) -> Result<(), Stopped> {
        let query = DigestQuery {
            destination: destination.to_string(),
            digest_id: digest_id.to_string(),
            before: slot.at,
            limit: BATCH,
        };
        let mut taken: HashSet<String> = HashSet::new();
        loop {
            let waiting = self.ledger.awaiting_digest(&query).await?;
            let is_last = waiting.len() < BATCH as usize;
            let now = self.clock.now();
            let rows: Vec<DeliveryRow> = waiting
                .into_iter()
                .filter(|waiting| taken.insert(waiting.alert_id.clone()))
                .map(|waiting| DeliveryRow {
                    attempt: waiting.attempt + 1,
                    status: DIGESTED.to_string(),
                    episode_id: waiting.episode_id,
                    variant: waiting.variant,
                    reference: digest_id.to_string(),
                    ..blank(&waiting.alert_id, destination, now)
                })
                .collect();
            if rows.is_empty() {
                return Ok(());
            }
            self.insert(&rows).await?;
            let labels = [destination, DIGESTED];
            self.metrics
                .deliveries
                .with_label_values(&labels)
                .inc_by(rows.len() as u64);
            if is_last {
                return Ok(());
            }
        }
    }

    async fn insert(&self, rows: &[DeliveryRow]) -> Result<(), store::Error> {
        self.ledger.insert(&Uuid::new_v4().to_string(), rows).await
    }

    async fn count_awaiting_digest(&self) -> Result<(), Stopped> {
        for lane in &self.lanes {
            let destination = lock(&lane.lane).destination().to_string();
            let waiting = self.ledger.count_awaiting_digest(&destination).await?;
            if self.makes_digests() {
                self.metrics
                    .awaiting_digest
                    .with_label_values(&[&destination])
                    .set(i64::try_from(waiting).unwrap_or(i64::MAX));
            }
        }
        Ok(())
    }
}

/// A row that says nothing yet.
fn blank(alert_id: &str, destination: &str, now: i64) -> DeliveryRow {
    DeliveryRow {
        alert_id: alert_id.to_string(),
        destination: destination.to_string(),
        attempt: 0,
        status: String::new(),
        http_status: None,
        at: now,
        duration_ms: 0,
        error: String::new(),
        next_attempt_at: None,
        body: String::new(),
        episode_id: String::new(),
        variant: String::new(),
        reference: String::new(),
        version: u64::try_from(now).unwrap_or(0),
    }
}
