//! The rows about deliveries, as a lane hands them out.

use store::DeliveryRow;

use super::{Entry, FAILED, Lane, RETRYING, State};
use crate::offsets::Ticket;

/// The most characters of an error.
const ERROR_CHARACTERS: usize = 500;

impl Lane {
    pub(super) fn hand_out(&mut self, row: DeliveryRow, tickets: Vec<Ticket>, spilled: bool) {
        self.rows.push(Entry {
            row,
            together: Vec::new(),
            tickets,
            spilled,
        });
    }

    /// Hands out the row that settles an attempt; until it is written the job is not touched.
    pub(super) fn await_row(&mut self, alert_id: &str, row: DeliveryRow) {
        let mut tickets = Vec::new();
        if let Some(job) = self.jobs.get_mut(alert_id) {
            job.state = State::Recording;
            job.attempts = row.attempt;
            job.due = row.next_attempt_at.unwrap_or(job.due);
            tickets = std::mem::take(&mut job.tickets);
        }
        self.hand_out(row, tickets, false);
    }

    pub(super) fn row(
        &self,
        alert_id: &str,
        attempt: u32,
        status: &str,
        error: String,
        at: i64,
    ) -> DeliveryRow {
        let job = self.jobs.get(alert_id);
        DeliveryRow {
            alert_id: alert_id.to_string(),
            destination: self.limits.destination.clone(),
            attempt,
            status: status.to_string(),
            http_status: None,
            at,
            duration_ms: 0,
            error: error.chars().take(ERROR_CHARACTERS).collect(),
            next_attempt_at: None,
            body: String::new(),
            episode_id: job.map_or_else(String::new, |job| job.episode_id.to_string()),
            variant: job.map_or_else(String::new, |job| job.variant.to_string()),
            reference: String::new(),
            version: 0,
        }
    }

    /// About what nobody tries any more; it keeps its body, so that it can be replayed.
    pub(super) fn dead_row(
        &self,
        alert_id: &str,
        attempt: u32,
        error: String,
        at: i64,
        body: &str,
    ) -> DeliveryRow {
        DeliveryRow {
            body: body.to_string(),
            ..self.row(alert_id, attempt, FAILED, error, at)
        }
    }

    pub(super) fn pending_row(
        &self,
        alert_id: &str,
        attempt: u32,
        error: &str,
        at: i64,
        due: i64,
        body: &str,
    ) -> DeliveryRow {
        DeliveryRow {
            next_attempt_at: Some(due),
            body: body.to_string(),
            ..self.row(alert_id, attempt, RETRYING, error.to_string(), at)
        }
    }
}
