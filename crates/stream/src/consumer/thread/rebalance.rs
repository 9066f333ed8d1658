//! Rebalances and commits.
//!
//! A revoked partition is given up in this order: the owner is told, has drained, its last commit
//! is taken, the owner is fenced, the group is told. The deadline cuts the wait, never the order.

use std::time::Instant;

use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::super::callbacks::{self, Note};
use super::super::{ConsumerEvent, StartFrom};
use super::{COMMIT_RETRY, Draining, Worker};
use crate::error::Error;

impl Worker {
    pub(super) fn serve_notes(&mut self) {
        // While the owner drains, librdkafka has no further rebalance for us; commits are answered.
        while let Some(note) = self.consumer.context().next() {
            match note {
                Note::Assigned(list) => self.assigned(&list),
                Note::Revoked { list, lost: true } => self.lost(numbers(&list)),
                Note::Revoked { list, lost: false } => self.revoked(numbers(&list)),
                Note::Committed { failure, offsets } => self.committed(failure, offsets),
            }
        }
    }

    pub(super) fn assigned(&mut self, list: &TopicPartitionList) {
        let partitions = numbers(list);
        let starts_now = self.options.start == StartFrom::Committed;
        let answer = if starts_now {
            list.clone()
        } else {
            TopicPartitionList::new()
        };
        if let Err(error) = callbacks::assign(&self.consumer, &answer) {
            self.fail(Error::Client(format!(
                "cannot take partitions {partitions:?}: {error}"
            )));
            return;
        }
        if partitions.is_empty() {
            return;
        }
        self.rebalance += 1;
        self.metrics.rebalances.inc();
        self.shared.add(self.rebalance, &partitions, starts_now);
        self.count_partitions();
        if starts_now {
            self.pause_too(&partitions);
        }
        info!(topic = %self.shared.topic, group = %self.options.group, ?partitions, "assigned");
        self.tell(ConsumerEvent::Assigned(partitions));
    }

    pub(super) fn revoked(&mut self, partitions: Vec<i32>) {
        if partitions.is_empty() {
            self.give_up(&partitions);
            return;
        }
        info!(topic = %self.shared.topic, group = %self.options.group, ?partitions, "revoked; draining");
        self.rebalance += 1;
        self.metrics.rebalances.inc();
        // What the owner has not received yet the next member will read.
        self.forget_records(&partitions);
        let (sender, drained) = oneshot::channel();
        self.tell(ConsumerEvent::Revoked {
            partitions: partitions.clone(),
            drained: sender,
        });
        let deadline = Instant::now() + self.revoke_deadline;
        self.draining = Some(Draining {
            partitions,
            drained,
            deadline,
            owner_done: false,
        });
    }

    pub(super) fn serve_draining(&mut self) {
        let Some(mut draining) = self.draining.take() else {
            return;
        };
        if self.consumer.assignment_lost() {
            // So are the partitions that stayed, which librdkafka has yet to say.
            self.shared.distrust();
            self.lost(draining.partitions);
            return;
        }
        if !draining.owner_done {
            // A dropped sender says as much as a used one.
            draining.owner_done = !matches!(
                draining.drained.try_recv(),
                Err(oneshot::error::TryRecvError::Empty)
            );
            if draining.owner_done {
                // Its commits came before its word.
                self.serve_requests();
                self.send_commits();
            }
        }
        let committed = !self.commits.in_flight
            && !draining
                .partitions
                .iter()
                .any(|partition| self.commits.wanted.contains_key(partition));
        let late = Instant::now() >= draining.deadline;
        if late && !(draining.owner_done && committed) {
            warn!(
                topic = %self.shared.topic,
                partitions = ?draining.partitions,
                "giving up revoked partitions at the deadline: their last records may be read again"
            );
        } else if !(draining.owner_done && committed) {
            self.draining = Some(draining);
            return;
        }
        self.give_up(&draining.partitions);
    }

    pub(super) fn lost(&mut self, partitions: Vec<i32>) {
        warn!(topic = %self.shared.topic, group = %self.options.group, ?partitions, "lost the assignment");
        self.rebalance += 1;
        self.metrics.rebalances.inc();
        self.draining = None;
        self.forget_records(&partitions);
        self.give_up(&partitions);
        self.tell(ConsumerEvent::Lost(partitions));
    }

    /// Fences the owner, then tells the group.
    pub(super) fn give_up(&mut self, partitions: &[i32]) {
        let read = self.shared.remove(partitions);
        for partition in partitions {
            self.next.remove(partition);
            self.commits.wanted.remove(partition);
        }
        self.count_partitions();
        // librdkafka keeps the pause of a partition beyond its revocation.
        let paused: Vec<i32> = read
            .iter()
            .copied()
            .filter(|partition| self.paused.remove(partition))
            .collect();
        let given_up = self.resume(&paused).and_then(|()| {
            let list = self.list(&read, Offset::Invalid)?;
            callbacks::unassign(&self.consumer, &list)
        });
        if let Err(error) = given_up {
            self.fail(Error::Client(format!(
                "cannot give up partitions {partitions:?}: {error}"
            )));
        }
    }

    pub(super) fn forget_records(&mut self, partitions: &[i32]) {
        self.batch
            .records
            .retain(|record| !partitions.contains(&record.partition));
        for stamped in &mut self.outbox {
            if let ConsumerEvent::Records(records) = &mut stamped.event {
                records.retain(|record| !partitions.contains(&record.partition));
                stamped
                    .positions
                    .retain(|(partition, _)| !partitions.contains(partition));
            }
        }
    }

    pub(super) fn count_partitions(&self) {
        self.metrics
            .partitions
            .set(i64::try_from(self.shared.assigned().len()).unwrap_or(i64::MAX));
    }

    pub(super) fn send_commits(&mut self) {
        let waits = self.commits.in_flight || self.commits.not_before.is_some_and(|at| Instant::now() < at);
        if waits || self.commits.wanted.is_empty() {
            return;
        }
        let wanted = std::mem::take(&mut self.commits.wanted);
        let mut list = TopicPartitionList::with_capacity(wanted.len());
        for (&partition, &next) in &wanted {
            if list
                .add_partition_offset(&self.shared.topic, partition, Offset::Offset(next))
                .is_err()
            {
                warn!(partition, next, "not a committable offset");
            }
        }
        self.commits.sent_under = self.rebalance;
        self.commits.in_flight = self
            .commits
            .sender
            .as_ref()
            .is_some_and(|sender| sender.send(list).is_ok());
    }

    pub(super) fn committed(&mut self, failure: Option<String>, offsets: Vec<(i32, i64)>) {
        self.commits.in_flight = false;
        self.commits.not_before = None;
        let Some(reason) = failure else {
            return;
        };
        self.metrics.commit_failures.inc();
        debug!(topic = %self.shared.topic, reason, "a commit failed; sending it again");
        self.commits.not_before = Some(Instant::now() + COMMIT_RETRY);
        for (partition, next) in offsets {
            // Under a newer assignment the offset may be an old one.
            let assigned_by = self.shared.with(partition, |found| Some(found.assigned_by));
            if assigned_by.is_some_and(|rebalance| rebalance <= self.commits.sent_under) {
                let wanted = self.commits.wanted.entry(partition).or_insert(next);
                *wanted = next.max(*wanted);
            }
        }
    }
}

pub(super) fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    let mut partitions: Vec<i32> = list
        .elements()
        .iter()
        .map(|element| element.partition())
        .collect();
    partitions.sort_unstable();
    partitions
}
