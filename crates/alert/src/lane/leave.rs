//! How a lane parts with partitions that go to another worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Job, Lane, State};

impl Lane {
    /// These partitions go to another worker: forgets what waits of them and hands out rows about those
    /// that have none yet. Requests under way go on.
    pub fn release(&mut self, partitions: &[i32], now: i64) {
        for alert_id in self.jobs_of(partitions) {
            self.set_one_aside(&alert_id, now);
            if self.jobs.get(&alert_id).is_some_and(Job::is_waiting) {
                self.remove(&alert_id);
            }
        }
        self.disown(partitions);
    }

    /// Stops the requests under way for these partitions, hands out rows about them, and says how many
    /// they were.
    pub fn cut(&mut self, partitions: &[i32], now: i64) -> usize {
        let mut requests = 0;
        for alert_id in self.jobs_of(partitions) {
            let Some(job) = self.jobs.get(&alert_id) else {
                continue;
            };
            if !matches!(job.state, State::Sending { .. }) {
                continue;
            }
            let error = "cut short: the worker stopped or gave the account away; it may have arrived";
            let row = self.pending_row(&alert_id, job.attempts + 1, error, now, now, &job.body);
            self.sending -= 1;
            self.circuit.abandoned(&alert_id);
            self.await_row(&alert_id, row);
            requests += 1;
        }
        requests
    }

    /// These partitions are another worker's already: forgets all of them and says nothing.
    pub fn forget(&mut self, partitions: &[i32]) {
        for alert_id in self.jobs_of(partitions) {
            self.remove(&alert_id);
        }
        self.disown(partitions);
    }

    /// Whether a request for these partitions is under way or a row about one is not yet written.
    pub fn is_busy_with(&self, partitions: &[i32]) -> bool {
        self.jobs
            .values()
            .any(|job| !job.is_waiting() && partitions.contains(&job.partition))
    }

    pub(super) fn disown(&mut self, partitions: &[i32]) {
        self.owned.retain(|partition| !partitions.contains(partition));
        if self.owned.is_empty() {
            self.parked = None;
        }
    }

    /// In the order in which they came.
    pub(super) fn jobs_of(&self, partitions: &[i32]) -> Vec<Arc<str>> {
        let found: BTreeMap<u64, &Arc<str>> = self
            .jobs
            .iter()
            .filter(|(_, job)| partitions.contains(&job.partition))
            .map(|(alert_id, job)| (job.sequence, alert_id))
            .collect();
        found.into_values().cloned().collect()
    }
}
