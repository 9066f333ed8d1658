//! The metrics of this worker, declared in one place.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// What the alert worker tells about itself. Registered once a process.
#[derive(Debug, Clone)]
pub struct AlertMetrics {
    pub(crate) deliveries: IntCounterVec,
    pub(crate) event_to_delivery: Histogram,
    pub(crate) pending: IntGaugeVec,
    pub(crate) parked: IntGaugeVec,
    pub(crate) awaiting_digest: IntGaugeVec,
    pub(crate) circuit_open: IntGaugeVec,
    pub(crate) held: IntGaugeVec,
    pub(crate) undecodable: IntCounter,
}

impl AlertMetrics {
    /// Declares the metrics in `registry`; fails when they are there already.
    pub fn register(registry: &Registry) -> Result<AlertMetrics, prometheus::Error> {
        let metrics = AlertMetrics {
            deliveries: IntCounterVec::new(
                Opts::new(
                    "mimamori_deliveries_total",
                    "Attempts to deliver, and deliveries that came to something without one, by what became of them",
                ),
                &["destination", "status"],
            )?,
            event_to_delivery: Histogram::with_opts(
                HistogramOpts::new(
                    "mimamori_event_to_delivery_seconds",
                    "From the receipt of the event that caused an alert to the receiver's acceptance of it",
                )
                .buckets(vec![
                    0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0,
                    1_800.0, 7_200.0, 43_200.0, 259_200.0,
                ]),
            )?,
            pending: IntGaugeVec::new(
                Opts::new(
                    "mimamori_deliveries_pending",
                    "Deliveries held in memory, those under way included",
                ),
                &["destination"],
            )?,
            parked: IntGaugeVec::new(
                Opts::new(
                    "mimamori_deliveries_parked",
                    "1 while deliveries wait in ClickHouse alone, or it is not yet known that none do",
                ),
                &["destination"],
            )?,
            awaiting_digest: IntGaugeVec::new(
                Opts::new(
                    "mimamori_deliveries_awaiting_digest",
                    "Deliveries that wait for the next digest, told by the worker that makes the digests",
                ),
                &["destination"],
            )?,
            circuit_open: IntGaugeVec::new(
                Opts::new(
                    "mimamori_destination_circuit_open",
                    "1 while a destination shows no sign of life and nothing but a probe is sent to it",
                ),
                &["destination"],
            )?,
            held: IntGaugeVec::new(
                Opts::new(
                    "mimamori_alerts_held",
                    "Alerts that the breaker holds until somebody releases or drops them",
                ),
                &["rule"],
            )?,
            undecodable: IntCounter::new(
                "mimamori_alerts_undecodable_total",
                "Records of mimamori.alerts that could not be read and were passed over",
            )?,
        };
        registry.register(Box::new(metrics.deliveries.clone()))?;
        registry.register(Box::new(metrics.event_to_delivery.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.parked.clone()))?;
        registry.register(Box::new(metrics.awaiting_digest.clone()))?;
        registry.register(Box::new(metrics.circuit_open.clone()))?;
        registry.register(Box::new(metrics.held.clone()))?;
        registry.register(Box::new(metrics.undecodable.clone()))?;
        Ok(metrics)
    }
}
