//! The instants of an account's life that its stage follows from.

use crate::account::Account;
use crate::config::Model;

const DAY_MS: i64 = 86_400_000;

/// Days that can be added to a moment or taken away: more are a slip of the pen.
const MOST_DAYS: i64 = 36_500;

/// The instants of an account's life, milliseconds; what has not happened or is not known is `None`.
/// Some may lie in the future, such as the end of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moments {
    /// The start of the account: trial or contract, else sign-up, else first event.
    pub started: Option<i64>,
    /// The first trial.
    pub trial_started: Option<i64>,
    /// The first contract.
    pub contract_started: Option<i64>,
    /// The end of a trial that no contract came of.
    pub trial_lapsed: Option<i64>,
    /// When the value event and every milestone had happened, not before the start.
    pub onboarded: Option<i64>,
    /// The newest upgrade.
    pub upgraded: Option<i64>,
    /// The newest renewal.
    pub renewed: Option<i64>,
    /// The newest cancellation.
    pub cancelled: Option<i64>,
    /// The newest downgrade or removal of an option.
    pub downgraded: Option<i64>,
    /// The newest contract event that is no cancellation.
    pub revived: Option<i64>,
    /// The end of the contract, as it was last told.
    pub contract_ends: Option<i64>,
}

type Read = fn(&Moments) -> Option<i64>;

/// The moments by their names in the configuration.
const NAMED: [(&str, Read); 11] = [
    ("started", |moments| moments.started),
    ("trial_started", |moments| moments.trial_started),
    ("contract_started", |moments| moments.contract_started),
    ("trial_lapsed", |moments| moments.trial_lapsed),
    ("onboarded", |moments| moments.onboarded),
    ("upgraded", |moments| moments.upgraded),
    ("renewed", |moments| moments.renewed),
    ("cancelled", |moments| moments.cancelled),
    ("downgraded", |moments| moments.downgraded),
    ("revived", |moments| moments.revived),
    ("contract_ends", |moments| moments.contract_ends),
];

/// A named moment and the days added to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    read: Read,
    offset_ms: i64,
}

impl Moment {
    /// Reads `contract_ends`, `contract_ends - 60d` or `started + 90d`.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Moment, String> {
        let (name, days) = match text.find(['+', '-']) {
            None => (text, Some(0)),
            Some(place) => {
                let sign = if text[place..].starts_with('-') { -1 } else { 1 };
                let days = text[place + 1..].trim().strip_suffix('d');
                let is_number = |days: &&str| days.bytes().all(|digit| digit.is_ascii_digit());
                let days = days.filter(is_number).and_then(|days| days.parse::<i64>().ok());
                (
                    &text[..place],
                    days.filter(|days| *days <= MOST_DAYS).map(|days| sign * days),
                )
            }
        };
        let name = name.trim();
        let Some((_, read)) = NAMED.iter().find(|(known, _)| *known == name) else {
            let known = NAMED.map(|(known, _)| known).join(", ");
            return Err(format!("{name:?} is not a moment; moments are {known}"));
        };
        let Some(days) = days else {
            return Err(format!(
                "{text:?} must be a moment, or one with up to {MOST_DAYS} whole days added or taken away, as in \
                 \"{name} + 90d\" and \"{name} - 60d\""
            ));
        };
        Ok(Moment {
            read: *read,
            offset_ms: days * DAY_MS,
        })
    }

    /// When it is, among these moments. What an offset would move before the start is at the start.
    pub(crate) fn at(self, moments: &Moments) -> Option<i64> {
        let at = (self.read)(moments)?.saturating_add(self.offset_ms);
        if self.offset_ms == 0 {
            return Some(at);
        }
        Some(moments.started.map_or(at, |started| at.max(started)))
    }
}

impl Account {
    /// The instants that the stage follows from, as far as they are known by now.
    pub fn moments(&self, model: &Model) -> Moments {
        let contract = &self.state.contract;
        Moments {
            started: self.started_at(),
            trial_started: contract.trial_started_at,
            contract_started: contract.started_at,
            trial_lapsed: contract.trial_lapses_at(),
            onboarded: self.onboarded_at(model),
            upgraded: contract.last_upgraded_at,
            renewed: contract.last_renewed_at,
            cancelled: contract.last_cancelled_at,
            downgraded: contract.last_downgraded_at,
            revived: contract.last_alive_at,
            contract_ends: contract.ends_at(),
        }
    }

    fn onboarded_at(&self, model: &Model) -> Option<i64> {
        let value_at = self.state.first_of(self.value_event(model))?;
        let mut onboarded_at = value_at.max(self.started_at()?);
        for milestone in &model.config.milestones {
            onboarded_at = onboarded_at.max(self.state.first_of(&milestone.name)?);
        }
        Some(onboarded_at)
    }
}

#[cfg(test)]
mod tests {
    use event::EventType;

    use super::*;
    use crate::account::tests::{DAY, MONDAY, event, fold_all, model};

    #[test]
    fn a_moment_may_have_days_added_and_taken_away() {
        let moments = Moments {
            started: Some(0),
            contract_ends: Some(100 * DAY),
            ..Moments::default()
        };
        let at = |text: &str| Moment::parse(text).unwrap().at(&moments);
        assert_eq!(at("contract_ends"), Some(100 * DAY));
        assert_eq!(at("contract_ends - 60d"), Some(40 * DAY));
        assert_eq!(at(" contract_ends+30d "), Some(130 * DAY));
        assert_eq!(at("contract_ends - 101d"), Some(0), "not before the start");
        assert_eq!(at("upgraded + 90d"), None);
    }

    #[test]
    fn what_is_no_moment_is_refused_with_what_would_be_one() {
        let refused = |text: &str| Moment::parse(text).unwrap_err();
        assert_eq!(
            refused("contract_end - 60d"),
            "\"contract_end\" is not a moment; moments are started, trial_started, contract_started, \
             trial_lapsed, onboarded, upgraded, renewed, cancelled, downgraded, revived, contract_ends"
        );
        for text in [
            "started + 90",
            "started + d",
            "started + -3d",
            "started - 1.5d",
            "started + 99999d",
        ] {
            assert!(refused(text).contains("\"started + 90d\""), "{text}");
        }
    }

    #[test]
    fn an_account_is_onboarded_when_the_last_of_value_and_milestones_has_come() {
        let model = model();
        let mut account = Account::new("acme");
        let reach = |account: &mut Account, name: &str, day: i64| {
            let reached = event(name, EventType::Milestone, name, "", MONDAY + day * DAY, "");
            fold_all(account, &[reached], &model);
            account.moments(&model).onboarded
        };
        assert_eq!(reach(&mut account, "first_value", 3), None, "not yet invited");
        assert_eq!(reach(&mut account, "invited", 1), Some(MONDAY + 3 * DAY));
        let starts_late = event("s", EventType::Contract, "started", "", MONDAY + 9 * DAY, "");
        fold_all(&mut account, &[starts_late], &model);
        assert_eq!(
            account.moments(&model).onboarded,
            Some(MONDAY + 9 * DAY),
            "not before the start"
        );
    }
}
