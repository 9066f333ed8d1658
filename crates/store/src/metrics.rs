use std::sync::Arc;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use crate::patience::{Patience, WaitingSeconds};

/// What the workers' traffic with ClickHouse looks like. Registered once a process.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    pub(crate) insert_duration: HistogramVec,
    pub(crate) inserted_rows: IntCounterVec,
    pub(crate) insert_retries: IntCounterVec,
    pub(crate) deduplicates: IntGauge,
    pub(crate) patience: Arc<Patience>,
}

impl StoreMetrics {
    /// Declares the metrics in `registry`; fails when they are there already.
    pub fn register(registry: &Registry) -> Result<StoreMetrics, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.002, 2.0, 14)?;
        let insert_duration = HistogramVec::new(
            HistogramOpts::new(
                "mimamori_clickhouse_insert_duration_seconds",
                "Time of an insert until the server accepted it, repeats included",
            )
            .buckets(buckets),
            &["table"],
        )?;
        let inserted_rows = IntCounterVec::new(
            Opts::new(
                "mimamori_clickhouse_inserted_rows_total",
                "Rows that the server accepted",
            ),
            &["table"],
        )?;
        let insert_retries = IntCounterVec::new(
            Opts::new(
                "mimamori_clickhouse_insert_retries_total",
                "Inserts that had to be sent again because the server did not answer or could not take them",
            ),
            &["table"],
        )?;
        registry.register(Box::new(insert_duration.clone()))?;
        registry.register(Box::new(inserted_rows.clone()))?;
        registry.register(Box::new(insert_retries.clone()))?;
        let deduplicates = IntGauge::new(
            "mimamori_clickhouse_deduplicates_inserts",
            "1 when ClickHouse drops an insert that it gets a second time, 0 when it keeps it, -1 while nobody has tried",
        )?;
        deduplicates.set(-1);
        registry.register(Box::new(deduplicates.clone()))?;
        let patience = Arc::<Patience>::default();
        registry.register(Box::new(WaitingSeconds::new(Arc::clone(&patience))?))?;
        Ok(StoreMetrics {
            insert_duration,
            inserted_rows,
            insert_retries,
            deduplicates,
            patience,
        })
    }

    /// Forgets a table that is no more.
    pub(crate) fn forget(&self, table: &str) {
        // What was never counted need not be forgotten.
        let _ = self.insert_duration.remove_label_values(&[table]);
        let _ = self.inserted_rows.remove_label_values(&[table]);
        let _ = self.insert_retries.remove_label_values(&[table]);
    }
}
