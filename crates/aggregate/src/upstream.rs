//! Whether events may be on their way that are not here yet: the ingest role is behind with the raw
//! topic. What looks like a customer's silence may then be ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stream::GroupLag;
use tokio::time::{Duration, MissedTickBehavior};
use tracing::{debug, info};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::worker::{Error, Wiring};

/// How often the ingest role's lag is asked for.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Whose work has to be done before silence can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// The consumer group of the ingest role.
    pub group: String,
    /// The topic that it reads.
    pub topic: String,
}

/// Whether the ingest role is behind, as was last seen. Until it was seen, it is taken to be.
#[derive(Clone)]
pub(crate) struct Upstream {
    is_behind: Arc<AtomicBool>,
    _watch: Arc<Watch>,
}

/// Ends the task when the last clone is gone.
struct Watch(tokio::task::JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Upstream {
    pub(crate) fn watch(config: &Config, wiring: &Wiring, metrics: Metrics) -> Result<Upstream, Error> {
        let lag = GroupLag::new(&wiring.kafka, &wiring.upstream.group, &wiring.upstream.topic)?;
        let bound = config.ingest_lag_records;
        let is_behind = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&is_behind);
        metrics.held.set(1);
        let watch = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(ASK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match lag.read().await {
                    Ok(records) => {
                        let is_behind = records > bound;
                        if seen.swap(is_behind, Ordering::Relaxed) != is_behind {
                            let what = if is_behind {
                                "alerts are held: ingest is behind"
                            } else {
                                "alerts are not held"
                            };
                            info!(records, "{what}");
                        }
                        metrics.held.set(i64::from(is_behind));
                    }
                    // With the broker away nothing comes in either, and what was seen last holds.
                    Err(error) => debug!(%error, "cannot see how far ingest is"),
                }
            }
        });
        Ok(Upstream {
            is_behind,
            _watch: Arc::new(Watch(watch)),
        })
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }
}
