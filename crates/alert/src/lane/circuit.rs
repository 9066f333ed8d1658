//! The circuit between a lane and its destination: open while the destination shows no sign of life.
//!
//! After so many failures in a row nothing is sent for a while, then one request, the probe, goes. What
//! waits meanwhile uses up no attempts. An answer that proves the destination alive closes the circuit
//! whenever it comes; the failure of a request that was begun before the circuit opened prolongs
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use super::millis;

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CircuitLimits {
    /// Failures in a row that open it; 0 never does.
    pub failures: u32,
    /// For how long at first; each probe that fails doubles it.
    pub pause: Duration,
    /// The longest that it stays open between two probes.
    pub longest: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: i64, pause: Duration },
    Probing { probe: Arc<str>, pause: Duration },
}

#[derive(Debug)]
pub(super) struct Circuit {
    limits: CircuitLimits,
    state: State,
}

/// What an answer did to the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switched {
    /// It was closed and is open, or a probe failed: the next one goes after so long.
    Opened(Duration),
    /// It was open and is closed.
    Closed,
}

impl Circuit {
    pub fn new(limits: CircuitLimits) -> Circuit {
        Circuit {
            limits,
            state: State::Closed { failures: 0 },
        }
    }

    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Whether a request may go now.
    pub fn admits(&self, now: i64) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, .. } => now >= until,
            State::Probing { .. } => false,
        }
    }

    /// From when on a request may go; `None` while that depends on an answer.
    pub fn admits_from(&self) -> Option<i64> {
        match self.state {
            State::Closed { .. } => Some(i64::MIN),
            State::Open { until, .. } => Some(until),
            State::Probing { .. } => None,
        }
    }

    /// A request goes that [`admits`](Self::admits) let through.
    pub fn sent(&mut self, alert_id: &Arc<str>) {
        if let State::Open { pause, .. } = self.state {
            self.state = State::Probing {
                probe: Arc::clone(alert_id),
                pause,
            };
        }
    }

    /// A request was answered, or was not and failed.
    pub fn answered(&mut self, alert_id: &str, alive: bool, now: i64) -> Option<Switched> {
        if alive {
            let was_open = self.is_open();
            self.state = State::Closed { failures: 0 };
            return was_open.then_some(Switched::Closed);
        }
        let pause = match &self.state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if self.limits.failures == 0 || failures < self.limits.failures {
                    return None;
                }
                self.limits.pause.min(self.limits.longest)
            }
            State::Open { .. } => return None,
            State::Probing { probe, .. } if **probe != *alert_id => return None,
            State::Probing { pause, .. } => pause.saturating_mul(2).min(self.limits.longest),
        };
        self.state = State::Open {
            until: now.saturating_add(millis(pause)),
            pause,
        };
        Some(Switched::Opened(pause))
    }

    /// A request ended without anybody learning how: if it was the probe, another one may go.
    pub fn abandoned(&mut self, alert_id: &str) {
        if let State::Probing { probe, pause } = &self.state
            && **probe == *alert_id
        {
            self.state = State::Open {
                until: i64::MIN,
                pause: *pause,
            };
        }
    }

    /// Somebody says that the destination is there again: the next request is a probe, at once.
    pub fn trust(&mut self) {
        if let State::Open { pause, .. } = self.state {
            self.state = State::Open {
                until: i64::MIN,
                pause,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> Circuit {
        Circuit::new(CircuitLimits {
            failures: 3,
            pause: Duration::from_secs(30),
            longest: Duration::from_secs(100),
        })
    }

    fn id(text: &str) -> Arc<str> {
        text.into()
    }

    fn fail(circuit: &mut Circuit, alert_id: &str, now: i64) -> Option<Switched> {
        circuit.sent(&id(alert_id));
        circuit.answered(alert_id, false, now)
    }

    /// Open since 0, after the failures of `a`, `b` and `c`.
    fn opened() -> Circuit {
        let mut circuit = circuit();
        assert_eq!(fail(&mut circuit, "a", 0), None);
        assert_eq!(fail(&mut circuit, "b", 0), None);
        let switched = fail(&mut circuit, "c", 0);
        assert_eq!(switched, Some(Switched::Opened(Duration::from_secs(30))));
        circuit
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_sign_of_life_starts_the_count_anew() {
        let mut circuit = circuit();
        fail(&mut circuit, "a", 0);
        fail(&mut circuit, "b", 0);
        assert_eq!(circuit.answered("x", true, 0), None, "it was closed");
        fail(&mut circuit, "c", 0);
        fail(&mut circuit, "d", 0);
        assert!(!circuit.is_open() && circuit.admits(0));
        fail(&mut circuit, "e", 0);
        assert!(circuit.is_open());
    }

    #[test]
    fn one_probe_goes_after_the_pause_and_each_that_fails_doubles_it_up_to_the_longest() {
        let mut circuit = opened();
        let mut now = 0;
        for seconds in [30, 60, 100, 100] {
            let until = now + seconds * 1_000;
            assert!(!circuit.admits(until - 1), "{seconds}");
            assert_eq!(circuit.admits_from(), Some(until));
            assert!(circuit.admits(until));
            circuit.sent(&id("probe"));
            assert!(!circuit.admits(until), "one probe at a time");
            assert_eq!(circuit.admits_from(), None);
            now = until + 5;
            circuit.answered("probe", false, now);
        }
        assert!(circuit.is_open());
    }

    #[test]
    fn a_sign_of_life_closes_it_whosever_it_is() {
        let mut circuit = opened();
        assert_eq!(circuit.answered("straggler", true, 5), Some(Switched::Closed));
        assert!(circuit.admits(5));
        let mut circuit = opened();
        circuit.sent(&id("probe"));
        assert_eq!(circuit.answered("probe", true, 40_000), Some(Switched::Closed));
        assert!(!circuit.is_open());
    }

    #[test]
    fn a_request_from_before_prolongs_nothing() {
        let mut circuit = opened();
        assert_eq!(circuit.answered("straggler", false, 20_000), None);
        assert!(circuit.admits(30_000));
        circuit.sent(&id("probe"));
        assert_eq!(circuit.answered("straggler", false, 31_000), None);
        assert_eq!(circuit.admits_from(), None, "the probe is still under way");
    }

    #[test]
    fn a_probe_that_was_cut_makes_room_for_another() {
        let mut circuit = opened();
        circuit.sent(&id("probe"));
        circuit.abandoned("another");
        assert!(!circuit.admits(90_000));
        circuit.abandoned("probe");
        assert!(circuit.is_open() && circuit.admits(30_000));
    }

    #[test]
    fn no_number_of_failures_opens_one_that_is_off() {
        let mut circuit = Circuit::new(CircuitLimits {
            failures: 0,
            ..circuit().limits
        });
        for _ in 0..1_000 {
            fail(&mut circuit, "a", 0);
        }
        assert!(!circuit.is_open());
    }
}
