//! Where an account stands in its life, and how closely it is looked after.

use crate::account::Account;
use crate::config::Model;
use crate::metrics::{Metrics, OnboardingState};
use crate::stamped::text;

/// Days after the start beyond which an account without configured milestones is no longer onboarding.
const ONBOARDING_DAYS: f64 = 90.0;

/// Where an account stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A trial has begun and no contract.
    Trial,
    /// The value event or a milestone is still to come, within 90 days of the start.
    Onboarding,
    /// In use.
    Adoption,
    /// The contract was cancelled, or a trial ran out without one.
    Churned,
}

impl Stage {
    /// The name used in ClickHouse and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Trial => "trial",
            Stage::Onboarding => "onboarding",
            Stage::Adoption => "adoption",
            Stage::Churned => "churned",
        }
    }
}

/// How closely an account is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Tier {
    High,
    Low,
    Tech,
}

impl Tier {
    /// The name used in ClickHouse.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::High => "high",
            Tier::Low => "low",
            Tier::Tech => "tech",
        }
    }
}

impl Account {
    /// The stage of an account with these numbers.
    pub fn stage(&self, metrics: &Metrics, now: i64) -> Stage {
        let contract = &self.state.contract;
        if contract.churned_at().is_some_and(|at| at <= now) || contract.is_lapsed_trial(now) {
            return Stage::Churned;
        }
        if contract.trial_started_at.is_some() && contract.started_at.is_none_or(|started| started > now) {
            return Stage::Trial;
        }
        let age = self
            .started_at()
            .map_or(0.0, |start| now.saturating_sub(start) as f64 / 86_400_000.0);
        let waits_for_value = metrics.ttv_running_days.is_some();
        let has_open_milestones = metrics
            .onboarding_state
            .is_some_and(|state| state != OnboardingState::Done);
        if age < ONBOARDING_DAYS && (waits_for_value || has_open_milestones) {
            return Stage::Onboarding;
        }
        Stage::Adoption
    }

    /// The touch tier: as the account's attributes say, else by the contract's monthly value.
    pub fn tier(&self, metrics: &Metrics, model: &Model) -> Tier {
        match text(&self.state.attributes.tier) {
            Some("high") => return Tier::High,
            Some("low") => return Tier::Low,
            Some("tech") => return Tier::Tech,
            _ => {}
        }
        match metrics.mrr {
            Some(mrr) if mrr >= model.config.high_touch_mrr => Tier::High,
            Some(mrr) if mrr < model.config.tech_touch_mrr => Tier::Tech,
            _ => Tier::Low,
        }
    }
}

#[cfg(test)]
mod tests {
    use event::EventType;

    use super::*;
    use crate::account::tests::{DAY, MONDAY, event, fold_all, model};

    fn stage_at(account: &Account, day: i64) -> Stage {
        let model = model();
        let now = MONDAY + day * DAY;
        account.stage(&account.metrics(now, &model), now)
    }

    #[test]
    fn a_trial_becomes_onboarding_with_a_contract_and_adoption_with_its_value() {
        let model = model();
        let mut account = Account::new("acme");
        let ends_at = format!(r#"{{"ends_at":{}}}"#, MONDAY + 14 * DAY);
        fold_all(
            &mut account,
            &[event(
                "1",
                EventType::Contract,
                "trial_started",
                "",
                MONDAY,
                &ends_at,
            )],
            &model,
        );
        assert_eq!(stage_at(&account, 1), Stage::Trial);
        let started = event(
            "2",
            EventType::Contract,
            "started",
            "",
            MONDAY + 10 * DAY,
            r#"{"mrr":100}"#,
        );
        fold_all(&mut account, &[started], &model);
        assert_eq!(stage_at(&account, 20), Stage::Onboarding);
        let reached = ["invited", "first_value"]
            .map(|name| event(name, EventType::Milestone, name, "", MONDAY + 21 * DAY, ""));
        fold_all(&mut account, &reached, &model);
        assert_eq!(stage_at(&account, 22), Stage::Adoption);
        fold_all(
            &mut account,
            &[event(
                "3",
                EventType::Contract,
                "cancelled",
                "",
                MONDAY + 30 * DAY,
                "",
            )],
            &model,
        );
        assert_eq!(
            (stage_at(&account, 29), stage_at(&account, 30)),
            (Stage::Adoption, Stage::Churned)
        );
    }

    #[test]
    fn a_trial_that_runs_out_without_a_contract_is_over() {
        let mut account = Account::new("acme");
        let ends_at = format!(r#"{{"ends_at":{}}}"#, MONDAY + 14 * DAY);
        fold_all(
            &mut account,
            &[event(
                "1",
                EventType::Contract,
                "trial_started",
                "",
                MONDAY,
                &ends_at,
            )],
            &model(),
        );
        assert_eq!(
            (stage_at(&account, 13), stage_at(&account, 14)),
            (Stage::Trial, Stage::Churned)
        );
    }

    #[test]
    fn the_tier_is_what_was_said_or_follows_from_the_value() {
        let model = model();
        let mut account = Account::new("acme");
        let started = event("1", EventType::Contract, "started", "", MONDAY, r#"{"mrr":2500}"#);
        fold_all(&mut account, &[started], &model);
        let metrics = account.metrics(MONDAY, &model);
        assert_eq!(account.tier(&metrics, &model), Tier::High);
        fold_all(
            &mut account,
            &[event(
                "2",
                EventType::Account,
                "",
                "",
                MONDAY,
                r#"{"tier":"tech"}"#,
            )],
            &model,
        );
        assert_eq!(account.tier(&metrics, &model), Tier::Tech);
    }
}
