//! Support tickets of an account: what harms is not that there are many, but one that stays open.

use event::{Event, Properties};

/// How long a ticket is kept that was opened and resolved, so that a late event finds it: 92 days.
const KEPT_MS: i64 = 92 * 86_400_000;

/// Tickets at which those that are over begin to be forgotten.
const KEPT_TICKETS: usize = 16;

/// A ticket as the events tell it, in whatever order they come; each time is the newest, 0 for never.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ticket {
    #[prost(string, tag = "1")]
    pub(crate) ticket_id: String,
    #[prost(sint64, tag = "2")]
    opened_at: i64,
    #[prost(sint64, tag = "3")]
    escalated_at: i64,
    #[prost(sint64, tag = "4")]
    resolved_at: i64,
    #[prost(sint64, tag = "5")]
    replied_at: i64,
}

impl Ticket {
    /// Whether events can have told of it so, which a state that was read must prove.
    pub(crate) fn is_sound(&self) -> bool {
        [
            self.opened_at,
            self.escalated_at,
            self.resolved_at,
            self.replied_at,
        ]
        .iter()
        .all(|at| Event::TIMES.contains(at))
    }

    /// When the ticket was opened, if nobody has resolved it since.
    pub(crate) fn open_since(&self) -> Option<i64> {
        let is_open = self.opened_at != 0 && (self.resolved_at == 0 || self.resolved_at < self.opened_at);
        is_open.then_some(self.opened_at)
    }

    /// Whether it was escalated since it was opened.
    pub(crate) fn is_escalated(&self) -> bool {
        self.escalated_at != 0 && self.escalated_at >= self.opened_at
    }

    /// Whether somebody replied since it was opened.
    pub(crate) fn is_answered(&self) -> bool {
        self.replied_at != 0 && self.replied_at >= self.opened_at
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
        "replied" => &mut ticket.replied_at,
        _ => return,
    };
    if *slot == 0 || at > *slot {
        *slot = at;
    }
}

/// Forgets tickets that were opened and resolved long before `newest`. One of which only the end is
/// known is kept: its beginning may be on its way.
pub(crate) fn tidy(tickets: &mut Vec<Ticket>, newest: i64) {
    if tickets.len() < KEPT_TICKETS {
        return;
    }
    let kept_from = newest.saturating_sub(KEPT_MS);
    tickets.retain(|ticket| {
        ticket.open_since().is_some()
            || ticket.opened_at == 0
            || ticket.resolved_at.max(ticket.replied_at).max(ticket.escalated_at) >= kept_from
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(tickets: &mut Vec<Ticket>, id: &str, name: &str, at: i64) {
        let text = format!(r#"{{"ticket_id":"{id}"}}"#);
        let properties = Properties::parse(&text).unwrap();
        fold(tickets, name, &properties, at);
    }

    #[test]
    fn a_ticket_opens_again_and_what_was_said_before_counts_no_more() {
        let mut tickets = Vec::new();
        for (name, at) in [
            ("resolved", 40),
            ("opened", 10),
            ("escalated", 20),
            ("replied", 15),
        ] {
            tell(&mut tickets, "T", name, at);
        }
        assert_eq!(tickets[0].open_since(), None);
        tell(&mut tickets, "T", "opened", 50);
        assert_eq!(tickets[0].open_since(), Some(50));
        assert!(!tickets[0].is_escalated() && !tickets[0].is_answered());
        tell(&mut tickets, "T", "escalated", 60);
        assert!(tickets[0].is_escalated());
    }

    #[test]
    fn what_is_over_is_forgotten_and_an_end_without_a_beginning_is_not() {
        let mut tickets = Vec::new();
        for number in 0..KEPT_TICKETS {
            tell(&mut tickets, &format!("over-{number}"), "opened", 1);
            tell(&mut tickets, &format!("over-{number}"), "resolved", 2);
        }
        tell(&mut tickets, "ended", "resolved", 2);
        tell(&mut tickets, "open", "opened", 1);
        tidy(&mut tickets, KEPT_MS + 3);
        let left: Vec<&str> = tickets.iter().map(|ticket| ticket.ticket_id.as_str()).collect();
        assert_eq!(left, ["ended", "open"]);
        tell(&mut tickets, "ended", "opened", 1);
        assert_eq!(tickets[0].open_since(), None);
    }
}
