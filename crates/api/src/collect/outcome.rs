//! What became of the events of a request, as it is answered.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use event::Rejection;
use serde::Serialize;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// No event was rejected. Segment answers it, too.
    success: bool,
    /// Events that the broker has acknowledged as accepted.
    pub(super) accepted: u64,
    /// Events that it has acknowledged as rejected.
    pub(super) rejected: u64,
    /// Items of the request before which everything is acknowledged.
    pub(super) acknowledged_until: u64,
    /// What was rejected, in the order of the request.
    pub(super) errors: Vec<ItemError>,
    /// Rejected events that are not listed, since there are too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) errors_left_out: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct ItemError {
    /// The item's place in the request, from 0; of lines, the line's.
    pub(super) index: u64,
    reason: &'static str,
    detail: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Outcome {
    pub(super) fn list(&mut self, index: u64, rejection: Rejection, most: usize) {
        if self.errors.len() >= most {
            self.errors_left_out += 1;
            return;
        }
        self.errors.push(ItemError {
            index,
            reason: rejection.reason.as_str(),
            detail: rejection.detail,
        });
    }

    pub(super) fn is_all_rejected(&self) -> bool {
        self.accepted == 0 && self.rejected > 0
    }

    pub(super) fn first_words(&self) -> String {
        match self.errors.first() {
            Some(first) => format!("item {}: {}: {}", first.index, first.reason, first.detail),
            None => format!("{} events were rejected", self.rejected),
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(mut self) -> Response {
        self.success = self.rejected == 0;
        ([(header::CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}
