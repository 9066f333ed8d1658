//! What waits in ClickHouse alone: how it comes in, and what makes way for a fresh alert.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use store::WaitingDelivery;
use tracing::warn;

use super::{Job, Lane, Parked, Reload, Reloading, State, millis};
use crate::body;

impl Lane {
    /// What to read of the pending rows, if it is time to. Ends with [`finish_reload`](Self::finish_reload).
    pub fn begin_reload(&mut self, now: i64) -> Option<Reload> {
        let parked = self.parked.as_mut()?;
        if self.reloading.is_some() || self.owned.is_empty() {
            return None;
        }
        if now < parked.due.max(parked.not_before) {
            return None;
        }
        parked.not_before = now + millis(self.limits.reload_pause);
        if self.jobs.len() >= self.limits.queue && !self.make_room(now, "") {
            return None;
        }
        self.reloading = Some(Reloading {
            generation: self.generation,
            removed: HashMap::new(),
        });
        Some(Reload {
            partitions: self.owned.iter().copied().collect(),
            // Those that are held are among the rows.
            limit: self.limits.queue + 1,
        })
    }

    /// The pending rows, by the due time of the oldest of their episode and within an episode in order;
    /// no more than `limit` of them.
    pub fn finish_reload(&mut self, rows: Vec<WaitingDelivery>, limit: usize, now: i64) {
        let Some(reloading) = self.reloading.take() else {
            return;
        };
        let complete = rows.len() < limit;
        let mut left_due = None;
        let mut asked_anew = false;
        for row in rows {
            if !self.owned.contains(&row.partition) {
                continue;
            }
            let job = self.jobs.get(row.alert_id.as_str());
            let gone = reloading.removed.get(row.alert_id.as_str()).copied();
            if let Some(attempts) = job.map(|job| job.attempts).or(gone) {
                // What failed here was replayed before the lane had let it go.
                asked_anew |= row.attempt > attempts;
                continue;
            }
            if left_due.is_some() || self.jobs.len() >= self.limits.queue {
                // From the first that does not fit on all stay, so that no later change of an episode
                // comes in without the earlier one.
                left_due = left_due.or(Some(row.episode_due_at));
                continue;
            }
            let Some(place) = body::place(&row.body) else {
                warn!(
                    alert_id = row.alert_id,
                    "the body of a pending delivery cannot be read, leaving it"
                );
                continue;
            };
            let job = Job {
                episode_id: place.episode_id.into(),
                order: place.order,
                partition: row.partition,
                body: row.body.into(),
                variant: place.variant.into(),
                caused_at: None,
                tickets: Vec::new(),
                attempts: row.attempt,
                uncounted: row.uncounted.min(row.attempt),
                due: row.next_attempt_at,
                sequence: 0,
                state: State::Waiting,
                durable: true,
                setting_aside: false,
            };
            let alert_id: Arc<str> = row.alert_id.into();
            self.insert(alert_id.clone(), job);
            self.reconsider(&alert_id, now);
        }
        let outdated = asked_anew || self.spills_unwritten > 0 || self.generation != reloading.generation;
        if complete && left_due.is_none() && !outdated {
            self.parked = None;
        } else if let Some(parked) = &mut self.parked
            && !outdated
        {
            parked.due = left_due.unwrap_or(now);
        }
        if self.disabled {
            // What waited elsewhere has come meanwhile, too.
            self.disable(now);
        }
    }

    /// The read of the pending rows failed.
    pub fn abandon_reload(&mut self) {
        self.reloading = None;
    }

    /// Lets those go that are due last and have their rows, a sixteenth of the queue at a time; not those
    /// of the episode `spared`, of which a later change is to come in.
    pub(super) fn make_room(&mut self, now: i64, spared: &str) -> bool {
        let mut latest: BTreeMap<(i64, u64), Arc<str>> = BTreeMap::new();
        for (due, sequence, alert_id) in self.ready.iter().rev() {
            if *due <= now || latest.len() > self.limits.queue / 16 {
                break;
            }
            let Some(job) = self.jobs.get(alert_id) else {
                continue;
            };
            if &*job.episode_id == spared {
                continue;
            }
            let chain = self.chains.get(&job.episode_id);
            let written = chain.is_some_and(|chain| {
                chain
                    .iter()
                    .all(|other| self.jobs.get(other).is_some_and(|job| job.durable))
            });
            if written {
                latest.insert((*due, *sequence), job.episode_id.clone());
            }
        }
        let Some((&(due, _), _)) = latest.first_key_value() else {
            return false;
        };
        for episode_id in latest.into_values() {
            let members = self.chains.get(&episode_id).cloned().unwrap_or_default();
            for alert_id in members {
                self.remove(&alert_id);
                // Its row is true, so a reload that is under way may bring it back.
                if let Some(reloading) = &mut self.reloading {
                    reloading.removed.remove(&alert_id);
                }
            }
        }
        self.park(due, i64::MIN);
        true
    }

    pub(super) fn park(&mut self, due: i64, not_before: i64) {
        self.generation += 1;
        let parked = self.parked.get_or_insert(Parked { due, not_before });
        parked.due = parked.due.min(due);
    }
}
