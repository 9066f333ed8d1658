use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

/// What the worker tells about itself.
#[derive(Clone)]
pub struct Metrics {
    pub(crate) events: IntCounter,
    pub(crate) duplicates: IntCounter,
    pub(crate) replayed: IntCounter,
    pub(crate) undecodable: IntCounter,
    pub(crate) poison: IntCounter,
    pub(crate) too_late: IntCounter,
    pub(crate) late_lookups: IntCounter,
    pub(crate) evaluations: IntCounter,
    pub(crate) histories: IntCounter,
    pub(crate) alerts: IntCounterVec,
    pub(crate) accounts: IntGauge,
    pub(crate) held: IntGauge,
    pub(crate) watermark: IntGaugeVec,
    pub(crate) checkpoint: Histogram,
    pub(crate) event_to_score: Histogram,
}

impl Metrics {
    /// Declares them.
    ///
    /// # Errors
    /// They are declared already.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let metrics = Metrics {
            events: IntCounter::new("mimamori_aggregate_events_total", "Events folded into accounts")?,
            duplicates: IntCounter::new(
                "mimamori_aggregate_duplicates_total",
                "Events whose id the account had had before",
            )?,
            replayed: IntCounter::new(
                "mimamori_aggregate_replayed_total",
                "Records read again after a restart that their account's state had in it already",
            )?,
            poison: IntCounter::new(
                "mimamori_aggregate_poison_total",
                "Events that made folding fail and went to mimamori.rejected",
            )?,
            undecodable: IntCounter::new(
                "mimamori_aggregate_undecodable_total",
                "Records that were not events and went to mimamori.rejected",
            )?,
            too_late: IntCounter::new(
                "mimamori_aggregate_too_late_total",
                "Events landed but over 90 days behind the newest of their account, so in no window",
            )?,
            late_lookups: IntCounter::new(
                "mimamori_aggregate_late_lookups_total",
                "Events that had to be looked up in ClickHouse because their ids are no longer remembered",
            )?,
            evaluations: IntCounter::new("mimamori_aggregate_evaluations_total", "Evaluations of accounts")?,
            histories: IntCounter::new(
                "mimamori_aggregate_histories_total",
                "Accounts whose daily rows were stated from the landed events",
            )?,
            alerts: IntCounterVec::new(
                Opts::new(
                    "mimamori_alerts_total",
                    "Changes of alert episodes that were sent",
                ),
                &["rule", "change"],
            )?,
            accounts: IntGauge::new("mimamori_aggregate_accounts", "Accounts held in memory")?,
            held: IntGauge::new(
                "mimamori_aggregate_alerts_held",
                "1 while no absence is alerted about because the ingest role is behind",
            )?,
            watermark: IntGaugeVec::new(
                Opts::new(
                    "mimamori_watermark_seconds",
                    "Time of the newest event read, seconds since 1970",
                ),
                &["partition"],
            )?,
            checkpoint: Histogram::with_opts(
                HistogramOpts::new(
                    "mimamori_checkpoint_duration_seconds",
                    "Time to save what has changed",
                )
                .buckets(exponential_buckets(0.005, 2.0, 14)?),
            )?,
            event_to_score: Histogram::with_opts(
                HistogramOpts::new(
                    "mimamori_event_to_score_seconds",
                    "From the receipt of an event to the evaluation that answers it",
                )
                .buckets(exponential_buckets(0.005, 2.0, 16)?),
            )?,
        };
        registry.register(Box::new(metrics.events.clone()))?;
        registry.register(Box::new(metrics.duplicates.clone()))?;
        registry.register(Box::new(metrics.replayed.clone()))?;
        registry.register(Box::new(metrics.poison.clone()))?;
        registry.register(Box::new(metrics.undecodable.clone()))?;
        registry.register(Box::new(metrics.too_late.clone()))?;
        registry.register(Box::new(metrics.late_lookups.clone()))?;
        registry.register(Box::new(metrics.evaluations.clone()))?;
        registry.register(Box::new(metrics.histories.clone()))?;
        registry.register(Box::new(metrics.alerts.clone()))?;
        registry.register(Box::new(metrics.accounts.clone()))?;
        registry.register(Box::new(metrics.held.clone()))?;
        registry.register(Box::new(metrics.watermark.clone()))?;
        registry.register(Box::new(metrics.checkpoint.clone()))?;
        registry.register(Box::new(metrics.event_to_score.clone()))?;
        Ok(metrics)
    }
}
