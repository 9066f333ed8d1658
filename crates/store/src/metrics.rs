use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// What the workers' traffic with ClickHouse looks like. Registered once a process.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    pub(crate) insert_duration: HistogramVec,
    pub(crate) inserted_rows: IntCounterVec,
    pub(crate) insert_retries: IntCounterVec,
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
        Ok(StoreMetrics {
            insert_duration,
            inserted_rows,
            insert_retries,
        })
    }
}
