//! The numbers of an account at an instant; `docs/numbers.md` has their definitions.

use crate::account::Account;
use crate::config::Model;
use crate::days::Day;
use crate::evaluate::SegmentBaselines;
use crate::numbers::{Metrics, MilestoneProgress, OnboardingState};
use crate::people::Role;
use crate::score::Usual;
use crate::stamped::{number, text};

const DAY_MS: f64 = 86_400_000.0;

/// Local days of the last windows and of those before them.
const MONTH: i32 = 28;
/// Weeks that `usage_z` looks at, the last one included, and how many it needs before that.
const WEEKS: usize = 12;
const LEAST_WEEKS: usize = 4;
/// Days after which a survey's response has lost its weight.
const SURVEY_DAYS: i32 = 90;

/// Sums over the kept days, gathered in one pass.
struct Sums {
    logins: [u64; 4],
    logins_prior: u64,
    usage: u64,
    usage_prior: u64,
    weeks: [u64; WEEKS],
    /// Active users of each day, added up over 28 days.
    daily_active: u64,
    /// By user: in which windows he was active.
    users: Vec<u8>,
    /// By user: uses in 28 days, and in the 28 days before.
    user_uses: Vec<(u64, u64)>,
    /// By feature: in which windows it was used.
    features: Vec<u8>,
    errors: u32,
    errors_before: u32,
    engagements: u32,
    empty_searches: u32,
    tickets_opened: u32,
    escalations: u32,
    downgrades: u32,
    /// Weighed by the days that a response's weight still lasts, in whole numbers, so that the order in
    /// which the days are met does not matter.
    nps_net: i64,
    nps_weight: i64,
    csat_weight: i64,
    /// Days with satisfaction told: the weight of each and its sum.
    csat_sums: Vec<(i32, f64)>,
    /// Active days of 90.
    active_days: Vec<i32>,
}

const IN_1: u8 = 1;
const IN_7: u8 = 2;
const IN_28: u8 = 4;
const IN_PRIOR: u8 = 8;

impl Sums {
    fn of(account: &Account, today: i32) -> Sums {
        let mut sums = Sums {
            logins: [0; 4],
            logins_prior: 0,
            usage: 0,
            usage_prior: 0,
            weeks: [0; WEEKS],
            daily_active: 0,
            users: vec![0; account.state.people.len()],
            user_uses: vec![(0, 0); account.state.people.len()],
            features: vec![0; account.state.features.len()],
            errors: 0,
            errors_before: 0,
            engagements: 0,
            empty_searches: 0,
            tickets_opened: 0,
            escalations: 0,
            downgrades: 0,
            nps_net: 0,
            nps_weight: 0,
            csat_weight: 0,
            csat_sums: Vec::new(),
            active_days: Vec::new(),
        };
        account
            .days
            .visit(today.saturating_sub(SURVEY_DAYS - 1), today, |day| {
                sums.add(day, today - day.number)
            });
        sums.active_days.sort_unstable();
        sums.csat_sums.sort_unstable_by_key(|(weight, _)| *weight);
        sums
    }

    fn add(&mut self, day: &Day, age: i32) {
        let counts = &day.counts;
        for (sum, length) in self.logins.iter_mut().zip([1, 7, MONTH, 90]) {
            if age < length {
                *sum += u64::from(counts.logins);
            }
        }
        if let Some(week) = self.weeks.get_mut(age as usize / 7) {
            *week = week.saturating_add(day.uses);
        }
        self.tickets_opened = self.tickets_opened.saturating_add(counts.tickets_opened);
        self.escalations = self.escalations.saturating_add(counts.escalations);
        let weight = i64::from(SURVEY_DAYS - age);
        self.nps_net += weight * (i64::from(counts.promoters) - i64::from(counts.detractors));
        self.nps_weight += weight * i64::from(counts.nps_responses);
        self.csat_weight += weight * i64::from(counts.csat_responses);
        if counts.csat_responses > 0 {
            self.csat_sums.push((SURVEY_DAYS - age, day.csat_sum));
        }
        if counts.activities > 0 {
            self.active_days.push(day.number);
        }
        if age < 7 {
            self.errors = self.errors.saturating_add(counts.errors);
        } else if age < 7 + MONTH {
            self.errors_before = self.errors_before.saturating_add(counts.errors);
        }
        if age < MONTH {
            self.usage = self.usage.saturating_add(day.uses);
            self.daily_active += day.users.len() as u64;
            self.engagements = self.engagements.saturating_add(counts.engagements);
            self.empty_searches = self.empty_searches.saturating_add(counts.empty_searches);
            self.downgrades = self.downgrades.saturating_add(counts.downgrades);
            let windows = IN_28 | if age < 7 { IN_7 } else { 0 } | if age < 1 { IN_1 } else { 0 };
            for (user, uses) in &day.users {
                self.users[*user as usize] |= windows;
                let sum = &mut self.user_uses[*user as usize].0;
                *sum = sum.saturating_add(*uses);
            }
            for (feature, _) in &day.features {
                self.features[*feature as usize] |= IN_28;
            }
        } else if age < 2 * MONTH {
            self.usage_prior = self.usage_prior.saturating_add(day.uses);
            self.logins_prior += u64::from(counts.logins);
            for (user, uses) in &day.users {
                self.users[*user as usize] |= IN_PRIOR;
                let sum = &mut self.user_uses[*user as usize].1;
                *sum = sum.saturating_add(*uses);
            }
            for (feature, _) in &day.features {
                self.features[*feature as usize] |= IN_PRIOR;
            }
        }
    }

    fn users_in(&self, window: u8) -> u32 {
        self.users
            .iter()
            .filter(|windows| **windows & window != 0)
            .count() as u32
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

    /// The numbers at `now`, from the events folded so far. `segments` is what the account's segment
    /// usually does.
    pub fn metrics(&self, now: i64, segments: &SegmentBaselines, model: &Model) -> Metrics {
        self.measure(now, segments, model).0
    }

    /// The numbers at `now`, and what some of them were in the 28 days before.
    pub(crate) fn measure(&self, now: i64, segments: &SegmentBaselines, model: &Model) -> (Metrics, Usual) {
        let state = &self.state;
        let today = self.local_day(now, model);
        let sums = Sums::of(self, today);
        let first_day = state.first_event_at.map(|at| self.local_day(at, model));
        let lived = |days: i32| first_day.is_some_and(|first| first <= today - (days - 1));
        let has_prior = lived(2 * MONTH);

        let active_users_28d = sums.users_in(IN_28);
        let users = f64::from(active_users_28d);
        let users_prior = has_prior.then(|| sums.users_in(IN_PRIOR));
        let logins_28d = count(sums.logins[2]);
        let logins_prior = has_prior.then(|| count(sums.logins_prior));
        let usage_prior = has_prior.then_some(sums.usage_prior);
        let seats = self.seats();
        let per_seat = |users: f64| seats.and_then(|seats| ratio(users, f64::from(seats)));
        let stickiness = ratio(sums.daily_active as f64 / f64::from(MONTH), users);
        let segment = text(&state.attributes.segment).unwrap_or_default();
        let segment_stickiness = segments.stickiness.get(segment).copied();
        let was_active = state.last_active_at.is_some();
        let per_user = |logins: f64, users: f64| was_active.then(|| ratio(logins, users).unwrap_or(0.0));
        let last_day = |at: Option<i64>| at.map(|at| self.local_day(at, model));
        let (last_login, last_active) = (last_day(state.last_login_at), last_day(state.last_active_at));
        let since = |day: Option<i32>| day.map(|day| today - day);
        let calendar = self.calendar(model);
        let workdays_since = |day: Option<i32>| day.map(|day| calendar.workdays_between(day, today));
        let share = |uses: &dyn Fn(&(u64, u64)) -> u64| {
            let top = sums.user_uses.iter().map(uses).max().unwrap_or(0);
            let all = sums.user_uses.iter().map(uses).fold(0, u64::saturating_add);
            ratio(top as f64, all as f64)
        };
        let errors_usual = lived(7 + MONTH).then(|| f64::from(sums.errors_before) / 4.0);
        let until = |at: Option<f64>| at.map(|at| self.local_day(at as i64, model) - today);
        let started_at = self.started_at();

        let mut metrics = Metrics {
            logins_1d: count(sums.logins[0]),
            logins_7d: count(sums.logins[1]),
            logins_28d,
            logins_90d: count(sums.logins[3]),
            logins_prior_28d: logins_prior,
            logins_trend: logins_prior.and_then(|prior| ratio(f64::from(logins_28d), f64::from(prior))),
            logins_week_ratio: ratio(sums.logins[1] as f64, sums.logins[2] as f64 / 4.0),
            logins_per_user_28d: per_user(f64::from(logins_28d), users),
            days_since_last_login: since(last_login),
            days_since_last_active: since(last_active),
            workdays_since_last_login: workdays_since(last_login),
            workdays_since_last_active: workdays_since(last_active),
            active_users_1d: sums.users_in(IN_1),
            active_users_7d: sums.users_in(IN_7),
            active_users_28d,
            active_users_prior_28d: users_prior,
            active_users_trend: users_prior.and_then(|prior| ratio(users, f64::from(prior))),
            stickiness,
            segment_stickiness,
            relative_stickiness: stickiness
                .zip(segment_stickiness)
                .and_then(|(own, usual)| ratio(own, usual)),
            seats,
            seat_utilisation: per_seat(users),
            usage_28d: sums.usage,
            usage_prior_28d: usage_prior,
            usage_trend: usage_prior.and_then(|prior| ratio(sums.usage as f64, prior as f64)),
            feature_depth: ratio(sums.usage as f64, users),
            usage_z: self.usage_z(&sums.weeks, first_day, today),
            top_user_share: share(&|uses| uses.0),
            account_age_days: started_at.map(|start| days_between(start, now)),
            tickets_opened_90d: sums.tickets_opened,
            escalations_90d: sums.escalations,
            nps: ratio(100.0 * sums.nps_net as f64, sums.nps_weight as f64),
            csat: ratio(
                sums.csat_sums
                    .iter()
                    .map(|(weight, sum)| f64::from(*weight) * sum)
                    .sum(),
                sums.csat_weight as f64,
            ),
            last_nps: number(&state.last_nps),
            days_since_last_nps: state
                .last_nps
                .as_ref()
                .map(|said| today - self.local_day(said.at, model)),
            mrr: number(&state.contract.mrr),
            days_to_renewal: until(number(&state.contract.ends_at)),
            days_to_discount_end: until(number(&state.contract.discount_ends_at)),
            downgrades_28d: sums.downgrades,
            errors_7d: sums.errors,
            errors_usual_7d: errors_usual,
            errors_trend: errors_usual.and_then(|usual| ratio(f64::from(sums.errors), usual)),
            empty_searches_28d: sums.empty_searches,
            engagements_28d: sums.engagements,
            usual_gap_workdays: usual_gap(&sums.active_days, calendar),
            ..Metrics::default()
        };
        self.measure_features(&sums, model, &mut metrics);
        self.measure_tickets(now, &mut metrics);
        self.measure_people(today, model, &mut metrics);
        self.measure_onboarding(now, started_at, model, &mut metrics);
        let entered_at = model.stages().entered_at(&self.moments(model), now);
        metrics.days_in_stage = entered_at.map(|at| days_between(at, now));

        let usual = if has_prior {
            let users = f64::from(users_prior.unwrap_or(0));
            let key_features = model.config.key_features.iter();
            let used = key_features
                .filter(|name| self.used_in(&sums, name, IN_PRIOR))
                .count();
            let had_begun =
                last_day(state.first_active_at).is_some_and(|first| first < today - (2 * MONTH - 1));
            let logins = sums.logins_prior as f64;
            Usual {
                logins_per_user_28d: ratio(logins, users).or(had_begun.then_some(0.0)),
                seat_utilisation: per_seat(users),
                feature_breadth: ratio(used as f64, model.config.key_features.len() as f64),
                feature_depth: ratio(sums.usage_prior as f64, users),
                top_user_share: share(&|uses| uses.1),
            }
        } else {
            Usual::default()
        };
        (metrics, usual)
    }

    fn used_in(&self, sums: &Sums, feature: &str, window: u8) -> bool {
        let index = self.state.features.find(feature);
        index.is_some_and(|index| sums.features[index as usize] & window != 0)
    }

    fn measure_features(&self, sums: &Sums, model: &Model, metrics: &mut Metrics) {
        let config = &model.config;
        if !config.key_features.is_empty() {
            for feature in &config.key_features {
                if !self.used_in(sums, feature, IN_28) {
                    metrics.unused_key_features.push(feature.clone());
                }
            }
            let used = config.key_features.len() - metrics.unused_key_features.len();
            metrics.key_features_used_28d = Some(used as u32);
            metrics.feature_breadth = ratio(used as f64, config.key_features.len() as f64);
        }
        if !config.advanced_features.is_empty() {
            let used = config.advanced_features.iter();
            let used = used.filter(|feature| self.used_in(sums, feature, IN_28)).count();
            metrics.advanced_features_used_28d = Some(used as u32);
        }
        if !config.sticky_actions.is_empty() {
            let done = config
                .sticky_actions
                .iter()
                .filter(|action| match action.as_str() {
                    "second_member" => self.state.people.has_second_member(),
                    action => self.state.first_of(action).is_some(),
                });
            metrics.sticky_actions = Some(done.count() as u32);
        }
    }

    /// The robust z-score of the last week's uses over the weeks before that lie within the life.
    fn usage_z(&self, weeks: &[u64; WEEKS], first_day: Option<i32>, today: i32) -> Option<f64> {
        let first_day = first_day?;
        let whole = weeks.iter().enumerate().skip(1);
        let whole = whole.take_while(|(week, _)| first_day <= today - 7 * *week as i32 - 6);
        let mut before: Vec<f64> = whole.map(|(_, uses)| *uses as f64).collect();
        if before.len() < LEAST_WEEKS {
            return None;
        }
        let middle = median(&mut before);
        let mut apart: Vec<f64> = before.iter().map(|uses| (uses - middle).abs()).collect();
        let spread = 1.4826 * median(&mut apart);
        Some((weeks[0] as f64 - middle) / spread.max(middle.max(1.0).sqrt()))
    }

    fn measure_tickets(&self, now: i64, metrics: &mut Metrics) {
        let mut oldest: Option<i64> = None;
        let mut oldest_unanswered: Option<i64> = None;
        let mut escalated = 0;
        for ticket in &self.state.tickets {
            let Some(opened) = ticket.open_since() else {
                continue;
            };
            metrics.open_tickets += 1;
            oldest = Some(oldest.map_or(opened, |known| known.min(opened)));
            if !ticket.is_answered() {
                oldest_unanswered = Some(oldest_unanswered.map_or(opened, |known| known.min(opened)));
            }
            escalated += u32::from(ticket.is_escalated());
        }
        metrics.oldest_open_ticket_days = oldest.map(|at| days_between(at, now));
        metrics.oldest_unanswered_ticket_days = oldest_unanswered.map(|at| days_between(at, now));
        if metrics.open_tickets > 0 || metrics.tickets_opened_90d > 0 {
            metrics.open_ticket_age_days = Some(metrics.oldest_open_ticket_days.unwrap_or(0.0));
            metrics.open_escalations = Some(escalated);
        }
    }

    fn measure_people(&self, today: i32, model: &Model, metrics: &mut Metrics) {
        let people = &self.state.people;
        let mut silent: [Option<i32>; 2] = [None, None];
        for said in &people.said {
            let (place, is_champion) = if said.is(Role::Champion) {
                (0, true)
            } else if said.is(Role::DecisionMaker) {
                (1, false)
            } else {
                continue;
            };
            if said.is_removed {
                let removed_on = self.local_day(said.removed_at(), model);
                metrics.champions_removed_28d += u32::from(is_champion && removed_on > today - MONTH);
                continue;
            }
            let seen = people.seen[said.user as usize];
            let last = if seen.last_active_at != 0 {
                seen.last_active_at
            } else {
                seen.first_at
            };
            let days = today - self.local_day(last, model);
            silent[place] = Some(silent[place].map_or(days, |least| least.min(days)));
        }
        [metrics.champion_days_silent, metrics.decision_maker_days_silent] = silent;

        let began = self.state.first_active_at.map(|at| self.local_day(at, model));
        let departments = people.departments_first_active();
        if !departments.is_empty() && began.is_some_and(|began| began <= today - MONTH) {
            let is_new = |at: &&i64| **at != 0 && self.local_day(**at, model) > today - MONTH;
            metrics.new_departments_28d = Some(departments.iter().filter(is_new).count() as u32);
        }
    }

    fn measure_onboarding(&self, now: i64, started_at: Option<i64>, model: &Model, metrics: &mut Metrics) {
        let Some(start) = started_at else { return };
        match self.state.first_of(self.value_event(model)) {
            Some(reached) => metrics.ttv_days = Some(days_between(start, reached)),
            None => metrics.ttv_running_days = Some(days_between(start, now)),
        }
        let config = &model.config;
        if config.milestones.is_empty() {
            return;
        }
        let age = days_between(start, now);
        let reached: Vec<Option<i64>> = config
            .milestones
            .iter()
            .map(|milestone| self.state.first_of(&milestone.name))
            .collect();
        let newest = reached.iter().flatten().fold(start, |newest, at| newest.max(*at));
        let is_stuck = days_between(newest, now) >= config.stalled_after_days;
        let mut step_began = start;
        let mut waits = false;
        for (milestone, reached_at) in config.milestones.iter().zip(reached) {
            let overdue = age - milestone.expected_days;
            let (state, dwell_days) = match reached_at {
                Some(at) => {
                    let dwell = days_between(step_began, at);
                    step_began = step_began.max(at);
                    (OnboardingState::Done, Some(dwell))
                }
                None => {
                    let dwell = (!waits).then(|| days_between(step_began, now));
                    waits = true;
                    let state = if overdue <= 0.0 {
                        OnboardingState::OnTrack
                    } else if overdue >= config.stalled_after_days && is_stuck {
                        OnboardingState::Stalled
                    } else {
                        OnboardingState::Behind
                    };
                    (state, dwell)
                }
            };
            metrics.milestones.push(MilestoneProgress {
                name: milestone.name.clone(),
                state,
                reached_at,
                dwell_days,
            });
        }
        let done = metrics.milestones.iter().filter(|step| step.reached_at.is_some());
        metrics.milestones_done = Some(done.count() as u32);
        metrics.milestones_total = Some(config.milestones.len() as u32);
        metrics.onboarding_state = metrics.milestones.iter().map(|step| step.state).max();
    }
}

/// Working days without activity strictly between the first and the last of `active_days` (ascending),
/// for each step from one to the next.
fn usual_gap(active_days: &[i32], calendar: &crate::calendar::Calendar) -> Option<f64> {
    let (first, last) = (*active_days.first()?, *active_days.last()?);
    let steps = active_days.len() - 1;
    let between = active_days.iter().filter(|day| first < **day && **day < last);
    let active_workdays = between.filter(|day| calendar.is_workday(**day)).count();
    let idle = f64::from(calendar.workdays_between(first, last)) - active_workdays as f64;
    ratio(idle, steps as f64)
}

/// The median; `values` must not be empty.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}

/// Elapsed days of 24 hours, at least 0.
fn days_between(from: i64, to: i64) -> f64 {
    (to.saturating_sub(from) as f64 / DAY_MS).max(0.0)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn count(sum: u64) -> u32 {
    u32::try_from(sum).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
