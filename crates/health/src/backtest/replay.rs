//! One account, lived again day by day.

use event::{Event, EventType, Properties};

use crate::account::Account;
use crate::config::Model;
use crate::episode::Mode;
use crate::evaluate::SegmentBaselines;
use crate::stage::Stage;

const DAY_MS: i64 = 86_400_000;

/// An episode that opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The rule's name.
    pub rule: String,
    /// The evaluation that opened it, milliseconds.
    pub at: i64,
}

/// What an account's replay came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The account.
    pub account_id: String,
    /// The first evaluation, milliseconds; `None` when there was none.
    pub from: Option<i64>,
    /// Every episode that opened, whether it would have been told or not, in order of time.
    pub alarms: Vec<Alarm>,
    /// When the account left for good: its contract was cancelled and not taken up again, or its
    /// trial ran out without one.
    pub churned_at: Option<i64>,
    /// When it grew: the contract was upgraded, or seats were added.
    pub grown_at: Vec<i64>,
}

/// Replays one account. Events are to be given in the order in which they happened; those of one day
/// may be out of order.
///
/// The days of an account are counted in the time zone that it is known to be in as they are lived: a
/// time zone that is told later changes the days from there on.
#[derive(Debug)]
pub struct Replay<'m> {
    account: Account,
    model: &'m Model,
    segments: &'m SegmentBaselines,
    from: i64,
    until: i64,
    /// The next midnight at which to evaluate; `None` before the first event.
    next: Option<i64>,
    /// The events since the last evaluation.
    waiting: Vec<Event>,
    evaluated_from: Option<i64>,
    seats: Option<f64>,
    alarms: Vec<Alarm>,
    grown_at: Vec<i64>,
}

impl<'m> Replay<'m> {
    /// A replay of the account that evaluates it from its first event on, but not before `from`, up to
    /// `until` (milliseconds). What happened after `until` is not looked at.
    pub fn new(
        account_id: &str,
        from: i64,
        until: i64,
        segments: &'m SegmentBaselines,
        model: &'m Model,
    ) -> Self {
        Replay {
            account: Account::new(account_id),
            model,
            segments,
            from,
            until,
            next: None,
            waiting: Vec::new(),
            evaluated_from: None,
            seats: None,
            alarms: Vec::new(),
            grown_at: Vec::new(),
        }
    }

    /// Takes the next event.
    pub fn fold(&mut self, event: Event) {
        let at = event.happened_at();
        if at > self.until || !event.event_type.is_of_customer() {
            return;
        }
        if self.next.is_none() {
            self.next = Some(midnight_from(at.max(self.from)));
        }
        self.evaluate_before(at);
        self.waiting.push(event);
    }

    /// Evaluates at the midnights that are left and tells what it all came to.
    pub fn finish(mut self) -> Life {
        let until = self.until;
        self.evaluate_before(until.saturating_add(1));
        self.fold_waiting();
        let last = self
            .account
            .evaluate(until, Mode::Replay, 0, self.segments, self.model);
        let profile = self.account.profile();
        let churned_at = match last.stage {
            Stage::Churned => profile.churned_at.or(profile.contract_ends_at),
            _ => None,
        };
        Life {
            account_id: self.account.account_id().to_string(),
            from: self.evaluated_from,
            alarms: self.alarms,
            churned_at,
            grown_at: self.grown_at,
        }
    }

    /// Evaluates at every midnight that is due before `at`: what happens at midnight belongs to it.
    fn evaluate_before(&mut self, at: i64) {
        let Some(mut next) = self.next.filter(|next| *next < at) else {
            return;
        };
        self.fold_waiting();
        while next < at {
            self.evaluated_from.get_or_insert(next);
            self.account
                .evaluate(next, Mode::Live, 0, self.segments, self.model);
            let opened = self
                .account
                .outbox()
                .iter()
                .filter(|change| change.change == "opened");
            self.alarms.extend(opened.map(|change| Alarm {
                rule: change.rule.clone(),
                at: next,
            }));
            self.account.clear_outbox();
            next += DAY_MS;
        }
        self.next = Some(next);
        self.account.forget_ids(self.model);
    }

    fn fold_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_unstable_by(|one, other| {
            let key = |event: &Event| event.happened_at();
            key(one)
                .cmp(&key(other))
                .then_with(|| one.event_id.cmp(&other.event_id))
        });
        for event in &waiting {
            self.note_growth(event);
            let offset = self.account.offset() + 1;
            self.account.fold(event, offset, self.model);
        }
        if self.evaluated_from.is_none() && self.account.must_recount() {
            self.account.recount(&waiting, self.model);
        }
        waiting.clear();
        self.waiting = waiting;
    }

    fn note_growth(&mut self, event: &Event) {
        if !matches!(event.event_type, EventType::Contract | EventType::Account) {
            return;
        }
        let seats = Properties::parse(&event.properties)
            .ok()
            .and_then(|properties| properties.f64("seats"));
        let upgraded = event.event_type == EventType::Contract && event.name == "upgraded";
        let is_more = self.seats.zip(seats).is_some_and(|(before, now)| now > before);
        if upgraded || is_more {
            self.grown_at.push(event.happened_at());
        }
        self.seats = seats.or(self.seats);
    }
}

/// The first midnight UTC at or after `at`.
fn midnight_from(at: i64) -> i64 {
    let day = at.div_euclid(DAY_MS) + i64::from(at.rem_euclid(DAY_MS) != 0);
    day.saturating_mul(DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::{DAY, MONDAY, event, model};

    const HOUR: i64 = 3_600_000;

    fn logins(days: impl Iterator<Item = i64>) -> Vec<Event> {
        days.map(|day| {
            let at = MONDAY + day * DAY + 9 * HOUR;
            event(&format!("e{day}"), EventType::Login, "", "u1", at, "")
        })
        .collect()
    }

    fn contract(day: i64, name: &str, properties: &str) -> Event {
        let at = MONDAY + day * DAY + 8 * HOUR;
        event(
            &format!("c{name}{day}"),
            EventType::Contract,
            name,
            "",
            at,
            properties,
        )
    }

    fn replayed(events: Vec<Event>, from: i64, until_day: i64) -> Life {
        let (model, segments) = (model(), SegmentBaselines::default());
        let mut replay = Replay::new("acme", from, MONDAY + until_day * DAY, &segments, &model);
        for event in events {
            replay.fold(event);
        }
        replay.finish()
    }

    fn silence(life: &Life) -> Vec<i64> {
        let silence = life.alarms.iter().filter(|alarm| alarm.rule == "silence");
        silence.map(|alarm| (alarm.at - MONDAY) / DAY).collect()
    }

    #[test]
    fn an_account_that_falls_silent_is_alarmed_at_a_midnight_of_the_silence_and_no_other() {
        let life = replayed(logins(0..20), 0, 60);
        let alarms = silence(&life);
        assert_eq!(life.from, Some(MONDAY + DAY));
        assert_eq!(alarms.len(), 1, "{:?}", life.alarms);
        assert!((30..=40).contains(&alarms[0]), "{alarms:?}");
        assert_eq!(silence(&replayed(logins(0..60), 0, 60)), Vec::<i64>::new());
    }

    #[test]
    fn nothing_that_happened_after_the_end_is_known() {
        let mut events = logins(0..20);
        let before = replayed(events.clone(), 0, 25);
        events.extend(logins(26..90));
        events.push(contract(90, "cancelled", "{}"));
        assert_eq!(replayed(events, 0, 25), before);
    }

    #[test]
    fn the_events_of_a_day_may_come_in_any_order() {
        let mut events = logins(0..20);
        events.insert(1, contract(0, "started", r#"{"seats":5}"#));
        let one = replayed(events.clone(), 0, 60);
        events.swap(0, 1);
        assert_eq!(replayed(events, 0, 60), one);
    }

    #[test]
    fn no_evaluation_is_made_before_it_is_asked_for() {
        let life = replayed(logins(0..5), MONDAY + 40 * DAY + HOUR, 60);
        assert_eq!(life.from, Some(MONDAY + 41 * DAY));
        assert!(life.alarms.iter().all(|alarm| alarm.at >= MONDAY + 41 * DAY));
        assert_eq!(silence(&life), [41]);
    }

    #[test]
    fn leaving_is_a_cancelled_contract_or_a_trial_that_ran_out() {
        let left = |events: Vec<Event>| replayed(events, 0, 60).churned_at;
        let cancelled = contract(20, "cancelled", "{}");
        let at = cancelled.occurred_at;
        let started = contract(0, "started", "{}");
        assert_eq!(left(vec![started.clone(), cancelled.clone()]), Some(at));
        assert_eq!(
            left(vec![started.clone(), cancelled, contract(30, "renewed", "{}")]),
            None
        );
        let ends_at = MONDAY + 14 * DAY;
        let trial = contract(0, "trial_started", &format!("{{\"ends_at\":{ends_at}}}"));
        assert_eq!(left(vec![trial.clone()]), Some(ends_at));
        assert_eq!(
            left(vec![
                trial,
                contract(10, "started", "{\"ends_at\":9000000000000}")
            ]),
            None
        );
        assert_eq!(left(vec![started]), None);
    }

    #[test]
    fn growing_is_an_upgrade_or_more_seats() {
        let grown = |events: Vec<Event>| -> Vec<i64> {
            let days = replayed(events, 0, 60).grown_at;
            days.iter().map(|at| (at - MONDAY) / DAY).collect()
        };
        let started = contract(0, "started", r#"{"seats":5}"#);
        assert_eq!(
            grown(vec![started.clone(), contract(9, "upgraded", r#"{"seats":5}"#)]),
            [9]
        );
        assert_eq!(
            grown(vec![started.clone(), contract(9, "renewed", r#"{"seats":6}"#)]),
            [9]
        );
        assert!(grown(vec![started.clone(), contract(9, "renewed", r#"{"seats":5}"#)]).is_empty());
        assert!(grown(vec![started, contract(9, "downgraded", r#"{"seats":3}"#)]).is_empty());
    }
}
