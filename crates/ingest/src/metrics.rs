//! The metrics of the worker, declared in one place.

use std::collections::BTreeSet;
use std::sync::Mutex;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Producers name themselves in a header; past this many names the rest counts as `other`, so that
/// nobody can flood the metrics.
const MAX_SOURCES: usize = 50;

pub(crate) struct Metrics {
    events: IntCounterVec,
    rejected: IntCounterVec,
    violations: IntCounterVec,
    pub(crate) resent: IntCounter,
    pub(crate) in_flight: IntGauge,
    sources: Mutex<BTreeSet<String>>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// An event was made of it.
    Accepted,
    /// An event was made of it, although it is not what the tracking plan of its source says.
    OffPlan(event::Violations),
    /// It was set aside.
    Rejected(event::Reason),
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let metrics = Metrics {
            events: IntCounterVec::new(
                Opts::new(
                    "mimamori_ingest_events_total",
                    "Raw records whose outcome (accepted, rejected) the broker has acknowledged",
                ),
                &["outcome", "source"],
            )?,
            rejected: IntCounterVec::new(
                Opts::new(
                    "mimamori_ingest_rejected_total",
                    "Rejected raw records, by reason",
                ),
                &["reason"],
            )?,
            violations: IntCounterVec::new(
                Opts::new(
                    "mimamori_ingest_plan_violations_total",
                    "Accepted events that are not as the tracking plan of their source has them, by kind",
                ),
                &["violation", "source"],
            )?,
            resent: IntCounter::new(
                "mimamori_ingest_resent_total",
                "Records sent again because they were not acknowledged in time",
            )?,
            in_flight: IntGauge::new(
                "mimamori_ingest_in_flight",
                "Records that wait for the broker's acknowledgement",
            )?,
            sources: Mutex::default(),
        };
        registry.register(Box::new(metrics.events.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.violations.clone()))?;
        registry.register(Box::new(metrics.resent.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        Ok(metrics)
    }

    /// Counts a record that is out.
    pub(crate) fn count(&self, outcome: Outcome, source: &str) {
        let source = if self.is_listed(source) { source } else { "other" };
        match outcome {
            Outcome::Accepted => self.events.with_label_values(&["accepted", source]).inc(),
            Outcome::OffPlan(violations) => {
                self.events.with_label_values(&["accepted", source]).inc();
                for violation in violations.iter() {
                    let labels = [violation.as_str(), source];
                    self.violations.with_label_values(&labels).inc();
                }
            }
            Outcome::Rejected(reason) => {
                self.events.with_label_values(&["rejected", source]).inc();
                self.rejected.with_label_values(&[reason.as_str()]).inc();
            }
        }
    }

    fn is_listed(&self, source: &str) -> bool {
        let mut sources = self
            .sources
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if sources.contains(source) {
            return true;
        }
        sources.len() < MAX_SOURCES && sources.insert(source.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_sources_cannot_flood_the_metrics() {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        for number in 0..1_000 {
            metrics.count(Outcome::Accepted, &format!("s{number}"));
        }
        assert_eq!(metrics.events.with_label_values(&["accepted", "s0"]).get(), 1);
        assert_eq!(
            metrics.events.with_label_values(&["accepted", "other"]).get(),
            1_000 - MAX_SOURCES as u64
        );
    }
}
