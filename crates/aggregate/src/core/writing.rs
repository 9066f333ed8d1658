//! What is written, and in which order.

use std::collections::HashMap;

use event::Event;
use health::AlertChange;
use store::{AlertRow, Checkpoint, EventRow};

use super::{Awaited, Core, Todo};
use crate::action::{Action, Insert, Rows};
use crate::partition::{Recount, Unsaved};
use crate::planted::{self, Bug};
use crate::rows;

/// Accounts whose events are read again at a time.
const RECOUNTED_AT_A_TIME: usize = 100;

/// Rows of one insert at most.
const INSERT_ROWS: usize = 100_000;

impl Core {
    /// Lands the events that wait.
    pub(super) fn plan_landing(&mut self, now: i64) {
        self.landed_at = now;
        let mut rows = Vec::new();
        for partition in self.partitions.values_mut() {
            rows.append(&mut partition.waiting.events);
        }
        let mut todos = Vec::new();
        self.insert("events", rows, Rows::Events, &mut todos);
        todos.push(Todo::Landed);
        self.do_first(todos);
    }

    /// Writes the evaluations that wait, and the days of histories.
    pub(super) fn plan_evaluations(&mut self, now: i64) {
        self.evaluations_written_at = now;
        let mut metrics = Vec::new();
        let mut scores = Vec::new();
        let mut daily = Vec::new();
        for partition in self.partitions.values_mut() {
            daily.append(&mut partition.waiting.daily);
            metrics.append(&mut partition.waiting.metrics);
            scores.append(&mut partition.waiting.scores);
        }
        let mut todos = Vec::new();
        self.insert("metrics", metrics, Rows::Metrics, &mut todos);
        self.insert("scores", scores, Rows::Scores, &mut todos);
        self.insert("histories", daily, Rows::Daily, &mut todos);
        self.do_first(todos);
    }

    /// Saves what changed since the last time, then moves the checkpoints, then commits.
    pub(super) fn plan_save(&mut self, now: i64) {
        let mut unsaved = Unsaved::default();
        let mut checkpoints = Vec::new();
        for partition in self.partitions.values_mut() {
            partition.take_unsaved(now, &mut unsaved);
            if std::mem::take(&mut partition.is_moved) {
                checkpoints.push(Checkpoint {
                    partition: partition.number,
                    version: partition.version(),
                    next_offset: partition.next_offset,
                    watermark: partition.watermark.unwrap_or(0),
                    partitions: self.config.partitions,
                    saved_at: now,
                    accounts: partition.accounts() as u64,
                });
            }
        }
        let committed: Vec<(i32, i64)> = checkpoints
            .iter()
            .map(|checkpoint| (checkpoint.partition, checkpoint.next_offset))
            .collect();
        let mut todos = Vec::new();
        if planted::is(Bug::CheckpointBeforeStates) {
            self.insert(
                "checkpoints",
                std::mem::take(&mut checkpoints),
                Rows::Checkpoints,
                &mut todos,
            );
        }
        self.insert_unsaved(unsaved, &mut todos);
        self.insert("checkpoints", checkpoints, Rows::Checkpoints, &mut todos);
        if !committed.is_empty() {
            todos.push(Todo::Act(Action::Commit(committed)));
        }
        self.do_first(todos);
    }

    /// The states come last: what they vouch for is written before.
    fn insert_unsaved(&mut self, unsaved: Unsaved, todos: &mut Vec<Todo>) {
        self.insert("daily", unsaved.daily, Rows::Daily, todos);
        self.insert("users", unsaved.users, Rows::Users, todos);
        self.insert("accounts", unsaved.accounts, Rows::Accounts, todos);
        self.insert("states", unsaved.states, Rows::States, todos);
    }

    fn insert<T: Clone>(
        &mut self,
        what: &str,
        rows: Vec<T>,
        of: impl Fn(Vec<T>) -> Rows,
        todos: &mut Vec<Todo>,
    ) {
        let mut rest = rows;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(INSERT_ROWS));
            todos.push(Todo::Act(Action::Insert(Insert {
                token: format!("{what}-{}", self.next_token()),
                rows: of(rest),
            })));
            rest = later;
        }
    }

    /// Counts anew the days of accounts whose time zone became known after their events. Everything
    /// that was folded has landed by then, so the raw events say what the days must hold.
    pub(super) fn plan_recounts(&mut self, now: i64) {
        let mut recounts: Vec<(i32, Recount)> = Vec::new();
        for partition in self.partitions.values() {
            let found = partition.recounts(now).into_iter();
            let left = RECOUNTED_AT_A_TIME - recounts.len();
            recounts.extend(found.take(left).map(|recount| (partition.number, recount)));
        }
        if recounts.is_empty() {
            return;
        }
        let accounts = recounts.iter().map(|(_, recount)| recount.account_id.clone());
        let read = Action::ReadAgain {
            accounts: accounts.collect(),
            from: recounts
                .iter()
                .map(|(_, recount)| recount.from)
                .min()
                .unwrap_or(0),
        };
        self.awaited = Awaited::Recount(recounts);
        // Those that are counted are no longer among the next.
        self.do_first([Todo::Act(read), Todo::Recount]);
    }

    pub(super) fn recounted(&mut self, recounts: &[(i32, Recount)], events: Vec<EventRow>, now: i64) {
        let mut landed: HashMap<String, Vec<EventRow>> = HashMap::new();
        for row in events {
            landed.entry(row.account_id.clone()).or_default().push(row);
        }
        for (number, recount) in recounts {
            let Some(partition) = self.partitions.get_mut(number) else {
                continue;
            };
            let rows = landed.remove(&recount.account_id).unwrap_or_default();
            // What landed before a crash and is not folded again yet will be counted when it is.
            let folded = rows.into_iter().filter(|row| row.kafka_offset <= recount.offset);
            let events: Vec<(Event, i64)> = folded
                .filter_map(|row| {
                    let offset = row.kafka_offset;
                    Some((rows::landed_event(row)?, offset))
                })
                .collect();
            partition.recount(recount.place, &events, now);
        }
    }

    /// Tells of the alert changes that evaluations found. The states that know of them are saved before,
    /// so that a change that was sent is never forgotten; one that was saved and not sent is sent by
    /// the next owner, with the same id.
    pub(super) fn plan_telling(&mut self, places: Vec<(i32, usize)>, now: i64) {
        let mut unsaved = Unsaved::default();
        let mut changes: Vec<AlertChange> = Vec::new();
        for (number, place) in &places {
            if let Some(partition) = self.partitions.get_mut(number) {
                changes.extend(partition.outbox(*place).iter().cloned());
                partition.save(*place, now, &mut unsaved);
            }
        }
        if planted::is(Bug::DaysNotSavedWithAlerts) {
            unsaved.daily.clear();
        }
        let rows = changes.iter().map(alert_row).collect();
        let mut todos = Vec::new();
        let sending = [
            Todo::Act(Action::Send(changes.clone())),
            Todo::Told(places, changes),
        ];
        if planted::is(Bug::ToldBeforeSaved) {
            todos.extend(sending);
            self.insert_unsaved(unsaved, &mut todos);
            self.insert("alerts", rows, Rows::Alerts, &mut todos);
        } else {
            self.insert_unsaved(unsaved, &mut todos);
            self.insert("alerts", rows, Rows::Alerts, &mut todos);
            todos.extend(sending);
        }
        self.do_first(todos);
    }

    pub(super) fn told(&mut self, places: &[(i32, usize)], changes: &[AlertChange]) {
        for (number, place) in places {
            if let Some(partition) = self.partitions.get_mut(number) {
                partition.sent(*place);
            }
        }
        for change in changes {
            self.metrics
                .alerts
                .with_label_values(&[change.rule.as_str(), change.change.as_str()])
                .inc();
        }
    }
}

fn alert_row(change: &AlertChange) -> AlertRow {
    AlertRow {
        alert_id: change.alert_id.clone(),
        episode_id: change.episode_id.clone(),
        account_id: change.account_id.clone(),
        rule: change.rule.clone(),
        severity: change.severity.clone(),
        change: change.change.clone(),
        at: change.at,
        reason: change.reason.clone(),
        reason_ja: change.reason_ja.clone(),
        payload: change.payload.clone(),
        version: change.at.unsigned_abs(),
    }
}
