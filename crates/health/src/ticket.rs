//! Support tickets of an account: what harms is not that there are many, but one that stays open.

use event::Properties;

/// How long a resolved ticket is kept, so that a late event finds it: 92 days.
const KEPT_MS: i64 = 92 * 86_400_000;

/// A ticket as the events tell it, in whatever order they come.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ticket {
    #[prost(string, tag = "1")]
    pub(crate) ticket_id: String,
    /// The newest opening.
    #[prost(sint64, optional, tag = "2")]
    pub(crate) opened_at: Option<i64>,
    #[prost(sint64, optional, tag = "3")]
    pub(crate) escalated_at: Option<i64>,
    #[prost(sint64, optional, tag = "4")]
    pub(crate) resolved_at: Option<i64>,
}

impl Ticket {
    /// When the ticket was opened, if nobody has resolved it since.
    pub(crate) fn open_since(&self) -> Option<i64> {
        let opened = self.opened_at?;
        let resolved = self.resolved_at.is_some_and(|resolved| resolved >= opened);
        (!resolved).then_some(opened)
    }
}

/// Folds a `ticket` event of that name.
pub(crate) fn fold(tickets: &mut Vec<Ticket>, name: &str, properties: &Properties<'_>, at: i64) {
    let Some(ticket_id) = properties.str("ticket_id") else {
        return;
    };
    let ticket_id: &str = ticket_id.as_ref();
    let place = match tickets.binary_search_by(|ticket| ticket.ticket_id.as_str().cmp(ticket_id)) {
        Ok(place) => place,
        Err(place) => {
            tickets.insert(
                place,
                Ticket {
                    ticket_id: ticket_id.to_string(),
                    ..Ticket::default()
                },
            );
            place
        }
    };
    let ticket = &mut tickets[place];
    let slot = match name {
        "opened" => &mut ticket.opened_at,
        "escalated" => &mut ticket.escalated_at,
        "resolved" => &mut ticket.resolved_at,
        _ => return,
    };
    *slot = Some(slot.map_or(at, |known| known.max(at)));
}

/// Forgets tickets that were resolved long before `newest`.
pub(crate) fn tidy(tickets: &mut Vec<Ticket>, newest: i64) {
    if tickets.len() < 16 {
        return;
    }
    let kept_from = newest.saturating_sub(KEPT_MS);
    tickets.retain(|ticket| {
        ticket.open_since().is_some() || ticket.resolved_at.is_none_or(|at| at >= kept_from)
    });
}
