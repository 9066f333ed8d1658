//! What may not be sent yet, because it came outside of the hours of work.
//!
//! It lies in ClickHouse and in the lane as any other delivery that is not due. Of an episode that is over
//! before its opening was due nothing is sent: the rows that say so of all its changes are written
//! together, so that no crash leaves one of them alone.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Entry, Job, Lane, SUPPRESSED, State};

const OVER: &str = "not sent: the episode was over before it was time to tell of it";

impl Lane {
    /// Whether the lane holds the opening of the episode, has not tried it, and may not send it yet.
    pub(super) fn awaits_its_time(&self, episode_id: &str, now: i64) -> bool {
        let head = self.chains.get(episode_id).and_then(VecDeque::front);
        head.and_then(|head| self.jobs.get(head))
            .is_some_and(|head| head.order.is_first() && head.is_put_off(now))
    }

    /// A change joined its episode: an end that comes before its opening was sent leaves nothing to
    /// tell, and a change that may go sooner takes those before it along.
    pub(super) fn reconsider(&mut self, alert_id: &str, now: i64) {
        let Some(job) = self.jobs.get(alert_id) else {
            return;
        };
        let (episode_id, due) = (job.episode_id.clone(), job.due);
        let chain: Vec<Arc<str>> = self
            .chains
            .get(&episode_id)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let ended = chain
            .iter()
            .any(|other| self.jobs.get(other).is_some_and(|other| other.order.is_end()));
        if ended && self.awaits_its_time(&episode_id, now) {
            self.suppress(&chain, now);
            return;
        }
        for earlier in chain.iter().take_while(|other| &***other != alert_id) {
            self.hasten(earlier, due, now);
        }
    }

    fn hasten(&mut self, alert_id: &Arc<str>, due: i64, now: i64) {
        let Some(job) = self.jobs.get_mut(alert_id) else {
            return;
        };
        if !job.is_put_off(now) || job.due <= due {
            return;
        }
        let was_ready = self.ready.remove(&(job.due, job.sequence, alert_id.clone()));
        job.due = due;
        if was_ready {
            self.ready.insert((due, job.sequence, alert_id.clone()));
        }
    }

    /// Hands out, as one, the rows that say of all of these that they are not sent.
    fn suppress(&mut self, chain: &[Arc<str>], now: i64) {
        let mut rows = VecDeque::new();
        let mut tickets = Vec::new();
        for alert_id in chain {
            let Some(job) = self.jobs.get(alert_id) else {
                continue;
            };
            let (attempt, due, sequence) = (job.attempts + 1, job.due, job.sequence);
            self.ready.remove(&(due, sequence, alert_id.clone()));
            rows.push_back(self.row(alert_id, attempt, SUPPRESSED, OVER.to_string(), now));
            if let Some(job) = self.jobs.get_mut(alert_id) {
                job.state = State::Recording;
                job.attempts = attempt;
                tickets.append(&mut job.tickets);
            }
        }
        if let Some(row) = rows.pop_front() {
            self.rows.push(Entry {
                row,
                together: rows.into(),
                tickets,
                spilled: false,
            });
        }
    }
}

impl Job {
    /// Whether it was never tried and is not due.
    fn is_put_off(&self, now: i64) -> bool {
        self.is_waiting() && self.attempts == 0 && self.due > now
    }
}
