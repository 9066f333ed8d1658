//! What is to happen with the changes of a batch, and the rows about those that are not sent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use health::AlertChange;
use store::DeliveryRow;

use super::{Arrival, Shared, lock};
use crate::body;
use crate::lane::{DIGEST, Entry};
use crate::offsets::Ticket;
use crate::policy::{Decided, Decision, Earlier, Policy, What};
use crate::recorder::{Ledger, Numbered};

/// A change of a batch and what was decided about it.
pub(super) struct Judged<'a> {
    pub arrival: &'a Arrival,
    pub change: &'a AlertChange,
    pub body: Arc<str>,
    pub decided: Decided,
}

impl<L: Ledger> Shared<L> {
    /// Decides about the changes of a batch, in order; what cannot be read is left out.
    pub(super) async fn decide<'a>(&self, arrivals: &'a [Arrival]) -> Result<Vec<Judged<'a>>, store::Error> {
        self.forget_what_is_written();
        let mut earlier = self.on_record(arrivals).await?;
        let now = self.clock.now();
        let mut judged = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let Some(change) = &arrival.change else {
                continue;
            };
            let of_episode = earlier.entry(change.episode_id.as_str()).or_default();
            let decided = self.policy.decide(change, Some(of_episode), now);
            of_episode.add_decided(&decided);
            judged.push(Judged {
                arrival,
                change,
                body: body::render_variant(change, &decided.variant).into(),
                decided,
            });
        }
        Ok(judged)
    }

    /// What there is of the episodes of these changes.
    async fn on_record<'a>(
        &self,
        arrivals: &'a [Arrival],
    ) -> Result<HashMap<&'a str, Earlier>, store::Error> {
        let mut earlier: HashMap<&str, Earlier> = HashMap::new();
        {
            // In this order: what is not remembered any more is written.
            let recent = lock(&self.recent);
            let changes = arrivals.iter().filter_map(|arrival| arrival.change.as_ref());
            for change in changes.filter(|change| Policy::looks_back(change)) {
                let remembered = recent.get(&change.episode_id).cloned();
                earlier.insert(&change.episode_id, remembered.unwrap_or_default());
            }
        }
        let asked: Vec<String> = earlier.keys().map(|episode_id| episode_id.to_string()).collect();
        for row in self.ledger.of_episodes(&asked).await? {
            if let Some(of_episode) = earlier.get_mut(row.episode_id.as_str()) {
                of_episode.add_row(&row);
            }
        }
        Ok(earlier)
    }

    fn forget_what_is_written(&self) {
        let offsets = lock(&self.offsets);
        lock(&self.recent).keep(|partition, offset| offsets.is_open(partition, offset));
    }

    /// Hands out the rows about what is not sent, of what has no row yet.
    pub(super) async fn note(&self, taken: &[(Ticket, Judged<'_>)]) -> Result<(), store::Error> {
        let mut by_destination: BTreeMap<&str, Vec<(DeliveryRow, Ticket)>> = BTreeMap::new();
        for (ticket, judged) in taken {
            for decision in &judged.decided.decisions {
                if let Some(row) = judged.row(decision, self.clock.now()) {
                    let rows = by_destination.entry(&decision.destination).or_default();
                    rows.push((row, *ticket));
                }
            }
        }
        for (destination, rows) in by_destination {
            let ids: Vec<String> = rows.iter().map(|(row, _)| row.alert_id.clone()).collect();
            let known = self.ledger.attempted(destination, &ids).await?;
            let known: HashSet<String> = known.into_iter().collect();
            for (row, ticket) in rows {
                if known.contains(&row.alert_id) {
                    self.settle([ticket]);
                    continue;
                }
                let entry = Entry::note(row, ticket);
                // A recorder that is gone has ended the engine.
                let _gone = self.entries.send(Numbered { lane: None, entry }).await;
            }
        }
        Ok(())
    }
}

impl Judged<'_> {
    /// Whether `destination` is to be sent it, and then the time before which it must not, if there is one.
    pub(super) fn send_to(&self, destination: &str) -> Option<Option<i64>> {
        let mut decisions = self.decided.decisions.iter();
        decisions.find_map(|decision| match decision.what {
            What::Send { not_before } if &*decision.destination == destination => Some(not_before),
            _ => None,
        })
    }

    /// Whom it is to be sent to.
    pub(super) fn receivers(&self) -> impl Iterator<Item = &str> {
        let sent = |decision: &&Decision| matches!(decision.what, What::Send { .. });
        let decisions = self.decided.decisions.iter().filter(sent);
        decisions.map(|decision| &*decision.destination)
    }

    /// The row about a decision not to send, or not now.
    fn row(&self, decision: &Decision, now: i64) -> Option<DeliveryRow> {
        let (status, reason, body) = match &decision.what {
            What::Send { .. } => return None,
            What::Digest => (DIGEST, "", self.body.to_string()),
            What::Record { status, reason } => (*status, *reason, String::new()),
        };
        Some(DeliveryRow {
            alert_id: self.change.alert_id.clone(),
            destination: decision.destination.to_string(),
            attempt: 0,
            status: status.to_string(),
            http_status: None,
            at: now,
            duration_ms: 0,
            error: reason.to_string(),
            next_attempt_at: None,
            body,
            episode_id: self.change.episode_id.clone(),
            variant: self.decided.variant.to_string(),
            reference: String::new(),
            version: 0,
        })
    }
}
