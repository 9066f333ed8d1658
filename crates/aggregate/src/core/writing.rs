//! What is written, and in which order.

use std::collections::{HashMap, HashSet};

use event::Event;
use health::AlertChange;
use store::{AlertRow, Checkpoint, EventRow};

use super::{Awaited, Core, Todo};
use crate::action::{Action, Insert, Rows};
use crate::partition::{Evaluations, Recount, Unsaved};
use crate::planted::{self, Bug};
use crate::rows;

/// Accounts whose events are read again at a time.
const RECOUNTED_AT_A_TIME: usize = 100;

/// Rows of one insert at most.
const INSERT_ROWS: usize = 100_000;

/// The partitions that are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    /// Those whose last checkpoint is old.
    Due,
}

/// What a cut is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Rows are due.
    Rows,
    Checkpoint,
    /// Alerts wait for it.
    Telling,
}

impl Core {
    /// Writes the events and the evaluations that wait.
    pub(super) fn write(&mut self, now: i64) {
        let mut cut = self.cut(now);
        self.insert_derived(Unsaved::default(), &mut cut);
        if self.is_free_beside() {
            self.insert_evaluations(&mut cut, now);
        }
        self.end_cut(cut, now, Purpose::Rows);
    }

    /// Saves what changed since the last time, then moves the checkpoints, then commits: of a few partitions at a
    /// time, when many accounts changed.
    pub(super) fn save(&mut self, which: Which, now: i64) {
        let mut parts: Vec<Vec<i32>> = vec![Vec::new()];
        let mut states = 0;
        for partition in self.partitions.values_mut() {
            if which == Which::Due
                && !super::is_over(partition.checkpointed_at, self.config.checkpoint_after_ms, now)
            {
                continue;
            }
            partition.checkpointed_at = now;
            if states >= self.config.checkpoint_states {
                parts.push(Vec::new());
                states = 0;
            }
            states += partition.unsaved();
            parts.last_mut().expect("there is one").push(partition.number);
        }
        let mut parts = parts.into_iter();
        let land_after = self.config.land_after_ms;
        let are_due = self.is_free_beside() && super::is_over(self.evaluations_written_at, land_after, now);
        let with_evaluations = which == Which::All || are_due;
        self.save_part(&parts.next().unwrap_or_default(), with_evaluations, now);
        self.todo.extend(parts.map(Todo::Save));
    }

    /// Saves what changed of these partitions.
    pub(super) fn save_part(&mut self, numbers: &[i32], with_evaluations: bool, now: i64) {
        let mut cut = self.cut(now);
        let mut unsaved = Unsaved::default();
        let mut checkpoints = Vec::new();
        for number in numbers {
            let Some(partition) = self.partitions.get_mut(number) else {
                continue;
            };
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
        let checkpoints = self.inserts("checkpoints", checkpoints, Rows::Checkpoints);
        if planted::is(Bug::CheckpointBeforeStates) {
            act_on(checkpoints, &mut cut);
            self.insert_unsaved(unsaved, &mut cut);
        } else {
            self.insert_unsaved(unsaved, &mut cut);
            act_on(checkpoints, &mut cut);
        }
        if !committed.is_empty() {
            cut.push(Todo::Act(Action::Commit(committed)));
        }
        if with_evaluations {
            self.insert_evaluations(&mut cut, now);
        }
        self.end_cut(cut, now, Purpose::Checkpoint);
    }

    /// Begins to take what goes out together: lands the events that wait.
    fn cut(&mut self, now: i64) -> Vec<Todo> {
        self.landed_at = now;
        let mut rows = Vec::with_capacity(self.waiting(|partition| partition.waiting.events.len()));
        let mut numbers = Vec::new();
        for partition in self.partitions.values_mut() {
            if !partition.waiting.events.is_empty() {
                rows.append(&mut partition.take_events());
                numbers.push(partition.number);
            }
        }
        let mut cut = Vec::new();
        if !rows.is_empty() {
            act_on(self.inserts("events", rows, Rows::Events), &mut cut);
            cut.push(Todo::Landed(numbers));
        }
        cut
    }

    fn end_cut(&mut self, mut cut: Vec<Todo>, now: i64, purpose: Purpose) {
        cut.push(Todo::Written {
            begun_at: now,
            purpose,
        });
        *self.under_way(purpose) += 1;
        self.todo.extend(cut);
    }

    fn under_way(&mut self, purpose: Purpose) -> &mut usize {
        match purpose {
            Purpose::Telling => &mut self.tellings,
            Purpose::Rows | Purpose::Checkpoint => &mut self.cuts,
        }
    }

    pub(super) fn written(&mut self, begun_at: i64, purpose: Purpose, now: i64) {
        *self.under_way(purpose) -= 1;
        if purpose == Purpose::Checkpoint {
            let lasted = (now - begun_at).max(0);
            self.metrics.checkpoint.observe(lasted as f64 / 1000.0);
        }
    }

    pub(super) fn landed(&mut self, numbers: &[i32]) {
        for number in numbers {
            let Some(partition) = self.partitions.get_mut(number) else {
                continue;
            };
            partition.events_landed();
            // What was looked up before it landed is still to be recognised.
            if self.queues.get(number).is_none_or(|queue| queue.asked.is_empty()) {
                partition.forget_landed();
            }
        }
    }

    /// Writes the days and midnights of histories, and what else follows from the events.
    fn insert_derived(&mut self, unsaved: Unsaved, cut: &mut Vec<Todo>) {
        let mut midnights = Evaluations::default();
        let mut daily = unsaved.daily;
        for partition in self.partitions.values_mut() {
            daily.append(&mut partition.waiting.daily);
            midnights.append(&mut partition.waiting.midnights);
        }
        let mut inserts = self.evaluations(midnights);
        inserts.extend(self.inserts("daily", daily, Rows::Daily));
        inserts.extend(self.inserts("users", unsaved.users, Rows::Users));
        inserts.extend(self.inserts("accounts", unsaved.accounts, Rows::Accounts));
        act_on(inserts, cut);
    }

    /// Writes the evaluations of now that wait, beside all else. Nothing rests on them but what people see, and
    /// they are wide: alerts and checkpoints must not wait for them.
    fn insert_evaluations(&mut self, cut: &mut Vec<Todo>, now: i64) {
        self.evaluations_written_at = now;
        let mut rows = Evaluations::default();
        for partition in self.partitions.values_mut() {
            rows.append(&mut partition.waiting.now);
        }
        let inserts = self.evaluations(rows);
        if !inserts.is_empty() {
            cut.push(Todo::Beside(inserts));
        }
    }

    fn evaluations(&mut self, rows: Evaluations) -> Vec<Insert> {
        let mut inserts = self.inserts("metrics", rows.metrics, Rows::Metrics);
        inserts.extend(self.inserts("scores", rows.scores, Rows::Scores));
        inserts
    }

    /// The states come last: what they vouch for is written before.
    fn insert_unsaved(&mut self, mut unsaved: Unsaved, cut: &mut Vec<Todo>) {
        let states = std::mem::take(&mut unsaved.states);
        self.insert_derived(unsaved, cut);
        act_on(self.inserts("states", states, Rows::States), cut);
    }

    fn inserts<T: Clone>(&mut self, what: &str, rows: Vec<T>, of: impl Fn(Vec<T>) -> Rows) -> Vec<Insert> {
        let mut inserts = Vec::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(INSERT_ROWS));
            inserts.push(Insert {
                token: format!("{what}-{}", self.next_token()),
                rows: of(rest),
            });
            rest = later;
        }
        inserts
    }

    /// Counts anew the days of accounts whose time zone became known after their events. Until it is done
    /// nothing else happens.
    pub(super) fn begin_recounts(&mut self, now: i64) {
        self.is_recounting = true;
        let cut = self.cut(now);
        self.end_cut(cut, now, Purpose::Rows);
        self.todo.push_back(Todo::Recount);
    }

    /// Everything that was folded has landed by now, so the raw events say what the days must hold.
    pub(super) fn plan_recounts(&mut self, now: i64) {
        let mut recounts: Vec<(i32, Recount)> = Vec::new();
        for partition in self.partitions.values() {
            let found = partition.recounts(now).into_iter();
            let left = RECOUNTED_AT_A_TIME - recounts.len();
            recounts.extend(found.take(left).map(|recount| (partition.number, recount)));
        }
        if recounts.is_empty() {
            self.is_recounting = false;
            self.save(Which::All, now);
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
        // Those that are counted are no longer among the next.
        self.do_first([Todo::Ask(read, Awaited::Recount(recounts)), Todo::Recount]);
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
    pub(super) fn tell(&mut self, now: i64) {
        let mut places = Vec::new();
        for partition in self.partitions.values_mut() {
            let alerting = partition.take_alerting().into_iter();
            places.extend(alerting.map(|place| (partition.number, place)));
        }
        if places.is_empty() {
            return;
        }
        let mut cut = self.cut(now);
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
        let rows = self.inserts("alerts", changes.iter().map(alert_row).collect(), Rows::Alerts);
        let sending = [
            Todo::Act(Action::Send(changes.clone())),
            Todo::Told(places, changes),
        ];
        if planted::is(Bug::ToldBeforeSaved) {
            cut.extend(sending);
            self.insert_unsaved(unsaved, &mut cut);
            act_on(rows, &mut cut);
        } else {
            self.insert_unsaved(unsaved, &mut cut);
            act_on(rows, &mut cut);
            cut.extend(sending);
        }
        self.end_cut(cut, now, Purpose::Telling);
    }

    pub(super) fn told(&mut self, places: &[(i32, usize)], changes: &[AlertChange]) {
        let sent: HashSet<&str> = changes.iter().map(|change| change.alert_id.as_str()).collect();
        for (number, place) in places {
            if let Some(partition) = self.partitions.get_mut(number) {
                partition.sent(*place, &sent);
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

/// Inserts side by side.
fn act_on(inserts: Vec<Insert>, cut: &mut Vec<Todo>) {
    if !inserts.is_empty() {
        cut.push(Todo::Act(Action::Insert(inserts)));
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
