//! Writes what became of deliveries.
//!
//! A row that was handed over is written, or the worker ends; what depends on it is told after the
//! write. Rows that come while a write is under way go together into the next.

use std::future::Future;
use std::sync::Arc;

use store::{DeliveryRow, Store, WaitingDelivery, WaitingQuery};
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
}

/// An entry of the lane with this number.
pub(crate) struct Numbered {
    pub lane: usize,
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
            .map(|numbered| DeliveryRow {
                version,
                ..numbered.entry.row.clone()
            })
            .collect();
        ledger.insert(&Uuid::new_v4().to_string(), &rows).await?;
        for numbered in batch.drain(..) {
            written(numbered);
        }
    }
    Ok(())
}
