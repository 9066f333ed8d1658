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
    /// The contract was cancelled.
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
        if contract.churned_at().is_some_and(|at| at <= now) {
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
