//! The metrics of the collector, declared in one place. They have names of their own, since ingest may
//! count in the same registry.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::Became;
use super::budget::Budget;

#[derive(Clone)]
pub(super) struct CollectorMetrics {
    events: IntCounterVec,
    rejected: IntCounterVec,
    violations: IntCounterVec,
    refused: IntCounterVec,
    acknowledgement: Histogram,
    in_flight_bytes: IntGauge,
    in_flight_records: IntGauge,
}

impl CollectorMetrics {
    pub(super) fn register(registry: &Registry) -> Result<CollectorMetrics, prometheus::Error> {
        let metrics = CollectorMetrics {
            events: IntCounterVec::new(
                Opts::new(
                    "mimamori_collector_events_total",
                    "Events over HTTP whose outcome (accepted, rejected) the broker has acknowledged",
                ),
                &["outcome", "source"],
            )?,
            rejected: IntCounterVec::new(
                Opts::new(
                    "mimamori_collector_rejected_total",
                    "Rejected events over HTTP, by reason",
                ),
                &["reason"],
            )?,
            violations: IntCounterVec::new(
                Opts::new(
                    "mimamori_collector_plan_violations_total",
                    "Accepted events over HTTP that are not as the tracking plan of their source has them, by kind",
                ),
                &["violation", "source"],
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "mimamori_collector_refused_total",
                    "Requests that were not taken, by reason",
                ),
                &["reason"],
            )?,
            acknowledgement: Histogram::with_opts(
                HistogramOpts::new(
                    "mimamori_collector_acknowledgement_seconds",
                    "Time from handing an event to the producer to the broker's acknowledgement",
                )
                .buckets(prometheus::exponential_buckets(0.001, 2.0, 15)?),
            )?,
            in_flight_bytes: IntGauge::new(
                "mimamori_collector_in_flight_bytes",
                "Bytes of requests that are held in memory",
            )?,
            in_flight_records: IntGauge::new(
                "mimamori_collector_in_flight_records",
                "Records over HTTP that wait for the broker's acknowledgement",
            )?,
        };
        registry.register(Box::new(metrics.events.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.violations.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.acknowledgement.clone()))?;
        registry.register(Box::new(metrics.in_flight_bytes.clone()))?;
        registry.register(Box::new(metrics.in_flight_records.clone()))?;
        Ok(metrics)
    }

    /// Those of a source. Sources are those of the keys, so they are few.
    pub(super) fn of(&self, source: Arc<str>) -> SourceMetrics {
        SourceMetrics {
            accepted: self.events.with_label_values(&["accepted", &source]),
            all: self.clone(),
            source,
        }
    }

    pub(super) fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    pub(super) fn look_at(&self, budget: &Budget) {
        let gauge = |held: usize| i64::try_from(held).unwrap_or(i64::MAX);
        self.in_flight_bytes.set(gauge(budget.held_bytes()));
        self.in_flight_records.set(gauge(budget.held_records()));
    }
}

/// The metrics of one source, with the counter of nearly every event at hand: to look it up for each would
/// cost as much as reading the event.
#[derive(Clone)]
pub(super) struct SourceMetrics {
    all: CollectorMetrics,
    source: Arc<str>,
    accepted: IntCounter,
}

impl SourceMetrics {
    /// An event is out.
    pub(super) fn count(&self, became: Became, took: Duration) {
        self.all.acknowledgement.observe(took.as_secs_f64());
        match became {
            Became::Accepted(violations) => {
                self.accepted.inc();
                for violation in violations.iter() {
                    let labels = [violation.as_str(), &self.source];
                    self.all.violations.with_label_values(&labels).inc();
                }
            }
            Became::Rejected(reason) => {
                let labels = ["rejected", &self.source];
                self.all.events.with_label_values(&labels).inc();
                self.all.rejected.with_label_values(&[reason.as_str()]).inc();
            }
        }
    }
}
