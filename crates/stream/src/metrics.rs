//! The metrics of a consumer, declared in one place. The role is a constant label, so that several
//! roles of one process share a registry.

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use crate::error::Error;

/// What a consumer tells about itself.
#[derive(Clone)]
pub struct ConsumerMetrics {
    pub(crate) lag: IntGaugeVec,
    pub(crate) paused: IntGauge,
    pub(crate) partitions: IntGauge,
    pub(crate) records: IntCounter,
    pub(crate) rebalances: IntCounter,
    pub(crate) commit_failures: IntCounter,
}

impl ConsumerMetrics {
    /// Registers the metrics of one role (`ingest`, `aggregate`, …).
    ///
    /// # Errors
    /// [`Error::Metrics`] when the role is registered there already.
    pub fn register(registry: &Registry, role: &str) -> Result<ConsumerMetrics, Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("role", role);
        let metrics = ConsumerMetrics {
            lag: IntGaugeVec::new(
                opts(
                    "mimamori_consumer_lag",
                    "Records between the next one to hand to the worker and the end",
                ),
                &["partition"],
            )
            .map_err(failed)?,
            paused: IntGauge::with_opts(opts(
                "mimamori_consumer_paused",
                "1 while consumption waits because the worker is behind",
            ))
            .map_err(failed)?,
            partitions: IntGauge::with_opts(opts("mimamori_consumer_partitions", "Partitions owned"))
                .map_err(failed)?,
            records: IntCounter::with_opts(opts(
                "mimamori_consumer_records_total",
                "Records handed to the worker",
            ))
            .map_err(failed)?,
            rebalances: IntCounter::with_opts(opts(
                "mimamori_consumer_rebalances_total",
                "Changes of the assignment",
            ))
            .map_err(failed)?,
            commit_failures: IntCounter::with_opts(opts(
                "mimamori_consumer_commit_failures_total",
                "Offset commits that the broker refused or that got lost",
            ))
            .map_err(failed)?,
        };
        registry.register(Box::new(metrics.lag.clone())).map_err(failed)?;
        registry
            .register(Box::new(metrics.paused.clone()))
            .map_err(failed)?;
        registry
            .register(Box::new(metrics.partitions.clone()))
            .map_err(failed)?;
        registry
            .register(Box::new(metrics.records.clone()))
            .map_err(failed)?;
        registry
            .register(Box::new(metrics.rebalances.clone()))
            .map_err(failed)?;
        registry
            .register(Box::new(metrics.commit_failures.clone()))
            .map_err(failed)?;
        Ok(metrics)
    }
}

fn failed(error: prometheus::Error) -> Error {
    Error::Metrics(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_roles_share_a_registry_and_one_role_is_registered_once() {
        let registry = Registry::new();
        let ingest = ConsumerMetrics::register(&registry, "ingest").unwrap();
        let alert = ConsumerMetrics::register(&registry, "alert").unwrap();
        assert!(ConsumerMetrics::register(&registry, "alert").is_err());
        ingest.lag.with_label_values(&["0"]).set(3);
        alert.lag.with_label_values(&["0"]).set(4);
        let families = registry.gather();
        let lags: Vec<_> = families
            .iter()
            .filter(|family| family.name() == "mimamori_consumer_lag")
            .collect();
        assert_eq!(lags.len(), 1, "one family, told apart by the role");
        assert_eq!(lags[0].get_metric().len(), 2);
    }
}
