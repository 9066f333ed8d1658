//! The numbers of an account at an instant.

use crate::account::Account;
use crate::config::Model;
use crate::days;
use crate::stamped::{number, text};

const DAY_MS: f64 = 86_400_000.0;

/// The numbers of an account at an instant, under the names that `account_metrics` has for them.
///
/// A window of n days is the account's local day of the instant and the n − 1 before it; an active
/// user is one with a login or feature event. `None` means unknown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    /// Logins on the local day.
    pub logins_1d: u32,
    /// Logins in 7 days.
    pub logins_7d: u32,
    /// Logins in 28 days.
    pub logins_28d: u32,
    /// Logins in 90 days.
    pub logins_90d: u32,
    /// Local days from the last login of any user, 0 on the same day; unknown before the first.
    pub days_since_last_login: Option<i32>,
    /// Local days from the last login or feature use.
    pub days_since_last_active: Option<i32>,
    /// Distinct active users on the local day.
    pub active_users_1d: u32,
    /// Distinct active users in 7 days.
    pub active_users_7d: u32,
    /// Distinct active users in 28 days.
    pub active_users_28d: u32,
    /// Active users of a day, averaged over 28 days, ÷ `active_users_28d`; unknown when that is 0.
    pub stickiness: Option<f64>,
    /// Seats of the contract, or else of the account's attributes.
    pub seats: Option<u32>,
    /// `active_users_28d` ÷ `seats`.
    pub seat_utilisation: Option<f64>,
    /// Key features used in 28 days; unknown while none are configured.
    pub key_features_used_28d: Option<u32>,
    /// `key_features_used_28d` ÷ key features.
    pub feature_breadth: Option<f64>,
    /// `usage_28d` ÷ `active_users_28d`; unknown when nobody was active.
    pub feature_depth: Option<f64>,
    /// Key features without a use in 28 days, in the order of the configuration.
    pub unused_key_features: Vec<String>,
    /// Feature uses in 28 days.
    pub usage_28d: u64,
    /// `usage_28d` ÷ the uses in the 28 days before; unknown until both windows lie within the
    /// account's life and when there was no use in the earlier one.
    pub usage_trend: Option<f64>,
    /// Days from the start to the first value event; unknown while it has not happened.
    pub ttv_days: Option<f64>,
    /// Days since the start while the value event has not happened.
    pub ttv_running_days: Option<f64>,
    /// Configured milestones reached; unknown while none are configured.
    pub milestones_done: Option<u32>,
    /// Configured milestones.
    pub milestones_total: Option<u32>,
    /// Where onboarding stands.
    pub onboarding_state: Option<OnboardingState>,
    /// Tickets open.
    pub open_tickets: u32,
    /// Days since the oldest open ticket was opened.
    pub oldest_open_ticket_days: Option<f64>,
    /// Monthly recurring revenue, in the contract's currency.
    pub mrr: Option<f64>,
    /// Local days to the end of the contract; negative when it is over.
    pub days_to_renewal: Option<i32>,
}

/// Where onboarding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnboardingState {
    /// Every milestone is reached.
    Done,
    /// None is overdue.
    OnTrack,
    /// One is overdue.
    Behind,
    /// One is overdue, and nothing has been reached for long.
    Stalled,
}

impl OnboardingState {
    /// The name used in ClickHouse.
    pub fn as_str(self) -> &'static str {
        match self {
            OnboardingState::Done => "done",
            OnboardingState::OnTrack => "on_track",
            OnboardingState::Behind => "behind",
            OnboardingState::Stalled => "stalled",
        }
    }
}

impl Account {
    /// When the account's life began: the trial or contract, else the sign-up, else the first event.
    pub fn started_at(&self) -> Option<i64> {
        let signed_up_at = number(&self.state.attributes.signed_up_at).map(|at| at as i64);
        self.state
            .contract
            .begun_at()
            .or(signed_up_at)
            .or(self.state.first_event_at)
    }

    /// Seats of the contract, or else of the account's attributes.
    pub(crate) fn seats(&self) -> Option<u32> {
        let stated = number(&self.state.contract.seats).or_else(|| number(&self.state.attributes.seats));
        stated.filter(|seats| *seats >= 1.0).map(|seats| seats as u32)
    }

    /// The numbers at `now`, from the events folded so far.
    pub fn metrics(&self, now: i64, model: &Model) -> Metrics {
        let state = &self.state;
        let config = &model.config;
        let today = self.local_day(now, model);
        let window = |length: i32| days::window(&state.days, today - (length - 1), today);
        let (last_1, last_7, last_28, last_90) = (window(1), window(7), window(28), window(90));
        let before_28 = days::window(&state.days, today - 55, today - 28);
        let logins = |days: &[days::Day]| days.iter().map(|day| day.logins).fold(0, u32::saturating_add);
        let uses = |days: &[days::Day]| {
            days.iter()
                .map(days::Day::total_uses)
                .fold(0, u64::saturating_add)
        };
        let days_since = |at: Option<i64>| at.map(|at| (today - self.local_day(at, model)).max(0));

        let active_users_28d = days::distinct_users(last_28, state.users.len());
        let daily_active: usize = last_28.iter().map(|day| day.users.len()).sum();
        let usage_28d = uses(last_28);
        let usage_before = uses(before_28);
        let begun = state.first_event_at.map(|at| self.local_day(at, model));
        let has_two_windows = begun.is_some_and(|begun| begun <= today - 55);
        let seats = self.seats();

        let mut metrics = Metrics {
            logins_1d: logins(last_1),
            logins_7d: logins(last_7),
            logins_28d: logins(last_28),
            logins_90d: logins(last_90),
            days_since_last_login: days_since(state.last_login_at),
            days_since_last_active: days_since(state.last_active_at),
            active_users_1d: days::distinct_users(last_1, state.users.len()),
            active_users_7d: days::distinct_users(last_7, state.users.len()),
            active_users_28d,
            stickiness: ratio(daily_active as f64 / 28.0, f64::from(active_users_28d)),
            seats,
            seat_utilisation: seats.and_then(|seats| ratio(f64::from(active_users_28d), f64::from(seats))),
            feature_depth: ratio(usage_28d as f64, f64::from(active_users_28d)),
            usage_28d,
            usage_trend: if has_two_windows {
                ratio(usage_28d as f64, usage_before as f64)
            } else {
                None
            },
            mrr: number(&state.contract.mrr),
            days_to_renewal: number(&state.contract.ends_at)
                .map(|at| self.local_day(at as i64, model) - today),
            ..Metrics::default()
        };
        self.key_features(last_28, model, &mut metrics);
        self.time_to_value(now, model, &mut metrics);
        if !config.milestones.is_empty() {
            self.onboarding(now, model, &mut metrics);
        }
        let open: Vec<i64> = state
            .tickets
            .iter()
            .filter_map(|ticket| ticket.open_since())
            .filter(|at| *at <= now)
            .collect();
        metrics.open_tickets = open.len() as u32;
        metrics.oldest_open_ticket_days = open.iter().min().map(|at| days_between(*at, now));
        metrics
    }

    fn key_features(&self, last_28: &[days::Day], model: &Model, metrics: &mut Metrics) {
        let key_features = &model.config.key_features;
        if key_features.is_empty() {
            return;
        }
        for feature in key_features {
            let index = self.state.feature_names.find(feature);
            let used = index.is_some_and(|index| {
                last_28
                    .iter()
                    .any(|day| day.features.binary_search(&index).is_ok())
            });
            if !used {
                metrics.unused_key_features.push(feature.clone());
            }
        }
        let used = key_features.len() - metrics.unused_key_features.len();
        metrics.key_features_used_28d = Some(used as u32);
        metrics.feature_breadth = ratio(used as f64, key_features.len() as f64);
    }

    fn time_to_value(&self, now: i64, model: &Model, metrics: &mut Metrics) {
        let Some(start) = self.started_at() else { return };
        let value_event = text(&self.state.attributes.value_event).unwrap_or(&model.config.value_event);
        match self.state.first_of(value_event) {
            Some(reached) => metrics.ttv_days = Some(days_between(start, reached)),
            None => metrics.ttv_running_days = Some(days_between(start, now)),
        }
    }

    fn onboarding(&self, now: i64, model: &Model, metrics: &mut Metrics) {
        let config = &model.config;
        metrics.milestones_total = Some(config.milestones.len() as u32);
        let Some(start) = self.started_at() else {
            metrics.milestones_done = Some(0);
            return;
        };
        let age = days_between(start, now);
        let mut done = 0;
        let mut newest_reached = start;
        let mut most_overdue: f64 = 0.0;
        for milestone in &config.milestones {
            match self.state.first_of(&milestone.name) {
                Some(reached) => {
                    done += 1;
                    newest_reached = newest_reached.max(reached);
                }
                None => most_overdue = most_overdue.max(age - milestone.expected_days),
            }
        }
        metrics.milestones_done = Some(done);
        let since_progress = days_between(newest_reached, now);
        metrics.onboarding_state = Some(if done as usize == config.milestones.len() {
            OnboardingState::Done
        } else if most_overdue >= config.stalled_after_days && since_progress >= config.stalled_after_days {
            OnboardingState::Stalled
        } else if most_overdue > 0.0 {
            OnboardingState::Behind
        } else {
            OnboardingState::OnTrack
        });
    }
}

/// Elapsed days of 24 hours, at least 0.
fn days_between(from: i64, to: i64) -> f64 {
    (to.saturating_sub(from) as f64 / DAY_MS).max(0.0)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
