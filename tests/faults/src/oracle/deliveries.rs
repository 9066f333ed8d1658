//! Of each change and destination: it arrived, or it is a dead letter that says why; under one name and
//! with one content, however often; and in the order of its episode.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::Problems;
use super::alerts::{self, Alert};
use crate::cluster::Sql;

/// What came to a destination under one name.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Requests, whatever they were answered.
    pub requests: u64,
    /// Of them, those that the receiver took, whether its answer got through or not.
    pub taken: u64,
    /// The place of the first among all requests to the destination, from 1.
    pub first: u64,
    /// The place of the last.
    pub last: u64,
    /// What the first one said.
    pub content: String,
}

impl Heard {
    /// What came for the first time; it is not counted yet.
    pub fn first(place: u64, content: &str) -> Heard {
        Heard {
            requests: 0,
            taken: 0,
            first: place,
            last: place,
            content: content.to_owned(),
        }
    }
}

/// Where a delivery stands, after its last row.
#[derive(Debug, Clone)]
pub struct State {
    /// `deliveries.status`.
    pub status: String,
    /// `deliveries.error`.
    pub error: String,
}

impl State {
    /// The receiver has it.
    pub const DELIVERED: &str = "delivered";
    /// Nobody tries it any more.
    pub const FAILED: &str = "failed";
}

/// The states, by destination and alert.
pub type States = HashMap<(String, String), State>;

/// What the table says.
pub async fn states(sql: &Sql) -> anyhow::Result<States> {
    let rows: Vec<(String, String, String, String)> = sql
        .rows(
            "SELECT toString(destination), alert_id, argMax(toString(status), attempt), argMax(error, attempt) \
             FROM deliveries GROUP BY destination, alert_id",
        )
        .await?;
    let states = rows.into_iter().map(|(destination, alert_id, status, error)| {
        let state = State { status, error };
        ((destination, alert_id), state)
    });
    Ok(states.collect())
}

/// Whether nothing is to be tried any more.
pub fn is_settled(states: &States, destination: &str, alert: &Alert) -> bool {
    state_of(states, destination, alert)
        .is_some_and(|state| [State::DELIVERED, State::FAILED].contains(&state.status.as_str()))
}

fn state_of<'a>(states: &'a States, destination: &str, alert: &Alert) -> Option<&'a State> {
    states.get(&(destination.to_owned(), alert.alert_id.clone()))
}

/// What a destination was told.
#[derive(Debug, Default, Serialize)]
pub struct Reached {
    /// Requests.
    pub requests: u64,
    /// Changes that the receiver has.
    pub arrived: u64,
    /// Changes that are dead letters.
    pub dead: u64,
    /// Of those, the ones that the receiver has nevertheless: its answer got lost.
    pub arrived_and_dead: u64,
    /// Requests that a receiver drops, because it has taken their id.
    pub doubles: u64,
}

/// What is held against one another, of one destination.
pub struct Check<'a> {
    /// Its name.
    pub destination: &'a str,
    /// The name under which the receiver knows a change.
    pub named: &'a dyn Fn(&Alert) -> String,
    /// Whether each change must have been settled before the next one of its episode was begun; else it is
    /// enough that it was begun before.
    pub in_turn: bool,
}

impl Check<'_> {
    /// Notes what is wrong, and counts.
    pub fn run(
        &self,
        alerts: &[Alert],
        heard: &HashMap<String, Heard>,
        states: &States,
        problems: &mut Problems,
    ) -> Reached {
        let mut reached = Reached::default();
        let mut known = HashSet::new();
        let mut named_twice = Vec::new();
        for alert in alerts {
            let name = (self.named)(alert);
            self.check_one(alert, heard.get(&name), states, &mut reached, problems);
            if !known.insert(name.clone()) {
                named_twice.push(name);
            }
        }
        for name in named_twice {
            problems.add("changes that a receiver cannot tell apart", name);
        }
        for (name, message) in heard {
            reached.requests += message.requests;
            reached.doubles += message.taken.saturating_sub(1);
            problems.check(
                known.contains(name),
                "messages that the table does not know",
                || format!("{name} at {}: {message:?}", self.destination),
            );
        }
        for changes in alerts::episodes(alerts).values() {
            self.check_order(changes, heard, problems);
        }
        reached
    }

    fn check_one(
        &self,
        alert: &Alert,
        heard: Option<&Heard>,
        states: &States,
        reached: &mut Reached,
        problems: &mut Problems,
    ) {
        let has_it = heard.is_some_and(|message| message.taken > 0);
        reached.arrived += u64::from(has_it);
        let state = state_of(states, self.destination, alert);
        let told = || format!("{alert:?} to {}: {state:?}, {heard:?}", self.destination);
        match state.map(|state| state.status.as_str()) {
            Some(State::DELIVERED) => {
                problems.check(has_it, "deliveries that the receiver does not have", told);
            }
            Some(State::FAILED) => {
                reached.dead += 1;
                reached.arrived_and_dead += u64::from(has_it);
                let says_why = state.is_some_and(|state| !state.error.is_empty());
                problems.check(says_why, "dead letters without a reason", told);
            }
            _ => problems.add("changes that neither arrived nor are dead letters", told()),
        }
    }

    fn check_order(&self, changes: &[&Alert], heard: &HashMap<String, Heard>, problems: &mut Problems) {
        let mut before: Option<(&Alert, &Heard)> = None;
        for alert in changes {
            // What failed before it was sent was never heard of.
            let Some(message) = heard.get(&(self.named)(alert)) else {
                continue;
            };
            if let Some((earlier, of_earlier)) = before {
                let in_order = if self.in_turn {
                    of_earlier.last < message.first
                } else {
                    of_earlier.first < message.first
                };
                problems.check(in_order, "changes that overtook an earlier one", || {
                    format!(
                        "at {}: {alert:?}, {message:?} and before it {earlier:?}, {of_earlier:?}",
                        self.destination
                    )
                });
            }
            before = Some((alert, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(id: &str, change: &str) -> Alert {
        Alert {
            alert_id: id.into(),
            episode_id: "1".into(),
            account_id: "acme".into(),
            rule: "open_ticket".into(),
            change: change.into(),
            at: 1,
        }
    }

    fn taken_at(first: u64, last: u64) -> Heard {
        Heard {
            requests: last - first + 1,
            taken: 1,
            last,
            ..Heard::first(first, "")
        }
    }

    fn state(id: &str, status: &str, error: &str) -> ((String, String), State) {
        let state = State {
            status: status.into(),
            error: error.into(),
        };
        (("cs".into(), id.into()), state)
    }

    fn run(
        heard: &[(&str, Heard)],
        states: &[((String, String), State)],
        in_turn: bool,
    ) -> (Reached, String) {
        let alerts = [alert("a", "opened"), alert("b", "resolved")];
        let heard = heard.iter().map(|(id, heard)| ((*id).to_owned(), heard.clone()));
        let check = Check {
            destination: "cs",
            named: &|alert| alert.alert_id.clone(),
            in_turn,
        };
        let mut problems = Problems::default();
        let states: States = states.iter().cloned().collect();
        let reached = check.run(&alerts, &heard.collect(), &states, &mut problems);
        (reached, problems.to_string())
    }

    #[test]
    fn what_arrived_in_order_or_is_a_dead_letter_is_no_problem() {
        let delivered = [state("a", "delivered", ""), state("b", "delivered", "")];
        let mut twice = taken_at(1, 2);
        twice.taken = 2;
        let (reached, problems) = run(&[("a", twice), ("b", taken_at(3, 3))], &delivered, true);
        assert_eq!(problems, "", "a receiver drops the double");
        assert_eq!((reached.arrived, reached.doubles, reached.requests), (2, 1, 3));

        let dead = [state("a", "delivered", ""), state("b", "failed", "answered 302")];
        let (reached, problems) = run(&[("a", taken_at(1, 1))], &dead, true);
        assert_eq!(problems, "");
        assert_eq!((reached.arrived, reached.dead), (1, 1));
    }

    #[test]
    fn gaps_false_claims_and_a_wrong_order_are_found() {
        let delivered = [state("a", "delivered", ""), state("b", "delivered", "")];
        let both = [("a", taken_at(1, 1)), ("b", taken_at(2, 2))];
        let (_, problems) = run(&both[..1], &delivered, true);
        assert!(problems.contains("the receiver does not have"), "{problems}");
        let (_, problems) = run(&both, &delivered[..1], true);
        assert!(problems.contains("neither arrived nor"), "{problems}");
        let (_, problems) = run(&both, &[state("a", "failed", ""), delivered[1].clone()], true);
        assert!(problems.contains("without a reason"), "{problems}");
        let unknown = [both[0].clone(), both[1].clone(), ("c", taken_at(3, 3))];
        let (_, problems) = run(&unknown, &delivered, true);
        assert!(problems.contains("does not know"), "{problems}");

        let swapped = [("a", taken_at(2, 2)), ("b", taken_at(1, 1))];
        for in_turn in [true, false] {
            let (_, problems) = run(&swapped, &delivered, in_turn);
            assert!(problems.contains("overtook"), "{problems}");
        }
        // The opening came once more after the end of its episode.
        let between = [("a", taken_at(1, 3)), ("b", taken_at(2, 2))];
        assert!(run(&between, &delivered, true).1.contains("overtook"));
        assert_eq!(run(&between, &delivered, false).1, "");
    }
}
