//! Writes what became of deliveries.
//!
//! A row that was handed over is written, or the worker ends; what depends on it is told after the
//! write. Rows that come while a write is under way go together into the next.

use std::future::Future;
use std::sync::Arc;

use store::{
    AwaitingDigest, DeliveryRow, DigestQuery, DigestedEpisode, EpisodeDelivery, Store, WaitingDelivery,
    WaitingQuery,
};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::clock::Clock;
use crate::engine::HoldLedger;
use crate::lane::Entry;

/// The most rows of one write.
const BATCH: usize = 1_000;

/// Where deliveries are written down. Each call ends in a definite answer, however long that takes.
pub(crate) trait Ledger: HoldLedger {
    /// Writes rows; the same `token` is not written twice.
    fn insert(
        &self,
        token: &str,
        rows: &[DeliveryRow],
    ) -> impl Future<Output = Result<(), store::Error>> + Send;

    /// The deliveries that are to be tried (again).
    fn waiting(
        &self,
        query: &WaitingQuery,
    ) -> impl Future<Output = Result<Vec<WaitingDelivery>, store::Error>> + Send;

    /// Which of these alerts have a row for `destination`.
    fn attempted(
        &self,
        destination: &str,
        alert_ids: &[String],
    ) -> impl Future<Output = Result<Vec<String>, store::Error>> + Send;

    /// What `destination` called the first message of an episode that it called anything.
    fn reference(
        &self,
        destination: &str,
        episode_id: &str,
    ) -> impl Future<Output = Result<Option<String>, store::Error>> + Send;

    /// What became of the changes of these episodes, at whatever destination.
    fn of_episodes(
        &self,
        episode_ids: &[String],
    ) -> impl Future<Output = Result<Vec<EpisodeDelivery>, store::Error>> + Send;

    /// What a digest is to take in and has not.
    fn awaiting_digest(
        &self,
        query: &DigestQuery,
    ) -> impl Future<Output = Result<Vec<AwaitingDigest>, store::Error>> + Send;

    /// At most `limit` of the episodes that a digest has taken in, with how many there are.
    fn digested(
        &self,
        destination: &str,
        digest_id: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<DigestedEpisode>, store::Error>> + Send;

    /// How many deliveries to `destination` wait for a digest.
    fn count_awaiting_digest(
        &self,
        destination: &str,
    ) -> impl Future<Output = Result<u64, store::Error>> + Send;
}

impl Ledger for Store {
    async fn insert(&self, token: &str, rows: &[DeliveryRow]) -> Result<(), store::Error> {
        self.insert_deliveries(token, rows).await
    }

    async fn waiting(&self, query: &WaitingQuery) -> Result<Vec<WaitingDelivery>, store::Error> {
        self.waiting_deliveries(query).await
    }

    async fn attempted(&self, destination: &str, alert_ids: &[String]) -> Result<Vec<String>, store::Error> {
        Store::attempted(self, destination, alert_ids).await
    }

    async fn reference(&self, destination: &str, episode_id: &str) -> Result<Option<String>, store::Error> {
        self.delivery_reference(destination, episode_id).await
    }

    async fn of_episodes(&self, episode_ids: &[String]) -> Result<Vec<EpisodeDelivery>, store::Error> {
        self.episode_deliveries(episode_ids).await
    }

    async fn awaiting_digest(&self, query: &DigestQuery) -> Result<Vec<AwaitingDigest>, store::Error> {
        Store::awaiting_digest(self, query).await
    }

    async fn digested(
        &self,
        destination: &str,
        digest_id: &str,
        limit: u32,
    ) -> Result<Vec<DigestedEpisode>, store::Error> {
        self.digested_episodes(destination, digest_id, limit).await
    }

    async fn count_awaiting_digest(&self, destination: &str) -> Result<u64, store::Error> {
        Store::count_awaiting_digest(self, destination).await
    }
}

/// An entry, of the lane with this number.
pub(crate) struct Numbered {
    /// `None` for a row that no lane waits for.
    pub lane: Option<usize>,
    pub entry: Entry,
}

/// Writes entries until all senders are gone, and tells each to `written` once it is in the ledger.
///
/// # Errors
/// What the ledger refuses for good. The entries of that write are not told.
pub(crate) async fn record<L: Ledger>(
    ledger: Arc<L>,
    clock: Clock,
    mut entries: mpsc::Receiver<Numbered>,
    written: impl Fn(Numbered),
) -> Result<(), store::Error> {
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        let version = u64::try_from(clock.now()).unwrap_or(0);
        let rows: Vec<DeliveryRow> = batch
            .iter()
            .flat_map(|numbered| numbered.entry.rows())
            .map(|row| DeliveryRow {
                version,
                ..row.clone()
            })
            .collect();
        ledger.insert(&Uuid::new_v4().to_string(), &rows).await?;
        for numbered in batch.drain(..) {
            written(numbered);
        }
    }
    Ok(())
}
