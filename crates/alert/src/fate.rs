//! What becomes of a change of an episode whose earlier changes were held back.
//!
//! Nobody is told of the end of what nobody was told of, and nobody is told of a later change before an
//! earlier one. Both follow from the rows about the earlier changes alone, so a crash changes nothing.

use store::DeliveryState;

use crate::lane::RETRYING;

/// The breaker holds it until somebody says what is to become of it.
pub(crate) const HELD: &str = "held";
/// Nobody is told, for the reason that its error gives.
pub(crate) const SUPPRESSED: &str = "suppressed";

const ENDED_WHILE_HELD: &str = "the episode ended while it was held";
const NOT_TOLD_BEFORE: &str = "nobody was told of its episode";

/// What is to become of a change at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on its way. `behind` when earlier changes may wait in the ledger alone.
    Told { behind: bool },
    /// It waits behind its opening, for the same reason.
    Held { reason: String },
    /// It is not told, and nor are those that were held until now.
    Suppressed { error: &'static str, with_held: bool },
}

/// The fate of a `change` that is no opening, from where the `earlier` ones of its episode stand at the
/// same destination.
pub(crate) fn fate(change: &str, earlier: &[DeliveryState]) -> Fate {
    let is_end = matches!(change, "resolved" | "retracted");
    let held = earlier.iter().find(|state| state.status == HELD);
    let was_told = earlier
        .iter()
        .any(|state| !matches!(state.status.as_str(), HELD | SUPPRESSED));
    match held {
        Some(_) if is_end && !was_told => Fate::Suppressed {
            error: ENDED_WHILE_HELD,
            with_held: true,
        },
        Some(held) => Fate::Held {
            reason: held.error.clone(),
        },
        None if !earlier.is_empty() && !was_told => Fate::Suppressed {
            error: NOT_TOLD_BEFORE,
            with_held: false,
        },
        None => Fate::Told {
            behind: earlier.iter().any(|state| state.status == RETRYING),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: &str) -> DeliveryState {
        DeliveryState {
            alert_id: "al-1".into(),
            episode_id: "ep-1".into(),
            destination: "cs-team".into(),
            attempt: 0,
            status: status.into(),
            error: if status == HELD { "held by rule:x (h)" } else { "" }.into(),
            body: String::new(),
            variant: String::new(),
            reference: String::new(),
        }
    }

    fn after(change: &str, statuses: &[&str]) -> Fate {
        let earlier: Vec<DeliveryState> = statuses.iter().map(|status| state(status)).collect();
        fate(change, &earlier)
    }

    #[test]
    fn what_was_told_is_told_to_its_end() {
        for status in ["delivered", "failed"] {
            assert_eq!(
                after("resolved", &[status]),
                Fate::Told { behind: false },
                "{status}"
            );
        }
        assert_eq!(after("escalated", &["retrying"]), Fate::Told { behind: true });
        assert_eq!(
            after("resolved", &[]),
            Fate::Told { behind: false },
            "a new destination"
        );
        assert_eq!(
            after("resolved", &["delivered", "suppressed"]),
            Fate::Told { behind: false }
        );
    }

    #[test]
    fn what_follows_a_held_opening_is_held_behind_it_and_its_end_ends_both() {
        let held = Fate::Held {
            reason: "held by rule:x (h)".into(),
        };
        assert_eq!(after("escalated", &[HELD]), held);
        assert_eq!(after("acknowledged", &[HELD, HELD]), held);
        let over = Fate::Suppressed {
            error: ENDED_WHILE_HELD,
            with_held: true,
        };
        assert_eq!(after("resolved", &[HELD]), over);
        assert_eq!(after("retracted", &[HELD, HELD]), over);
    }

    #[test]
    fn the_end_of_what_is_released_only_in_part_waits_for_the_rest() {
        for told in ["retrying", "delivered", "failed"] {
            assert!(
                matches!(after("resolved", &[told, HELD]), Fate::Held { .. }),
                "{told}"
            );
        }
    }

    #[test]
    fn nobody_is_told_of_the_end_of_what_nobody_was_told_of() {
        let expected = Fate::Suppressed {
            error: NOT_TOLD_BEFORE,
            with_held: false,
        };
        assert_eq!(after("resolved", &[SUPPRESSED]), expected);
        assert_eq!(after("escalated", &[SUPPRESSED, SUPPRESSED]), expected);
    }
}
