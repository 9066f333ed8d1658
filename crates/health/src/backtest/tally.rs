//! Alarms against outcomes: the table of a backtest.
//!
//! Of a rule that warns, an alarm is right when the account leaves within the horizon after it; of a
//! rule that sees an opportunity, when the account grows within it. An alarm that was neither proven
//! right nor has the horizon behind it is open, and counts neither way. Of an account that has left
//! there are no alarms.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::backtest::{Alarm, Life};
use crate::rules::RuleKind;

const DAY_MS: f64 = 86_400_000.0;

/// How one rule did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The rule's name.
    pub rule: String,
    /// What it tells of.
    pub kind: RuleKind,
    /// Episodes that opened.
    pub alarms: u64,
    /// Alarms followed by the outcome within the horizon.
    pub right: u64,
    /// Alarms with the horizon behind them and without the outcome.
    pub wrong: u64,
    /// Alarms that are too young to be judged.
    pub open: u64,
    /// `right` ÷ (`right` + `wrong`); `None` when there is neither.
    pub precision: Option<f64>,
    /// Accounts with the outcome that had a right alarm before it.
    pub caught: u64,
    /// `caught` ÷ all accounts with the outcome; `None` when there are none.
    pub caught_share: Option<f64>,
    /// Days from an account's first right alarm to its outcome, a quarter of the caught are below.
    pub lead_days_p25: Option<f64>,
    /// The median of the same.
    pub lead_days_median: Option<f64>,
    /// The same, a quarter of the caught are above.
    pub lead_days_p75: Option<f64>,
}

/// How all rules did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// The past ends here, milliseconds.
    pub until: i64,
    /// How soon after an alarm the outcome must come for it to be right, days.
    pub horizon_days: f64,
    /// Accounts that were evaluated.
    pub accounts: u64,
    /// Those of them that left while they were evaluated.
    pub churned: u64,
    /// Those of them that grew while they were evaluated.
    pub grown: u64,
    /// The rules, in the order given.
    pub rules: Vec<Row>,
    /// All rules of one kind taken as one.
    pub together: Vec<Row>,
}

#[derive(Debug, Clone, Default)]
struct Count {
    alarms: u64,
    right: u64,
    wrong: u64,
    open: u64,
    /// Of each account that was caught: days from the first right alarm to the outcome.
    leads: Vec<f64>,
}

/// Counts lives into a [`Table`].
#[derive(Debug, Clone)]
pub struct Tally {
    rules: Vec<(String, RuleKind)>,
    places: BTreeMap<String, usize>,
    until: i64,
    horizon_days: f64,
    accounts: u64,
    outcomes: BTreeMap<RuleKind, u64>,
    counts: Vec<Count>,
    together: BTreeMap<RuleKind, Count>,
}

impl Tally {
    /// Counts for `rules`, over a past that ends at `until` (milliseconds).
    pub fn new(rules: Vec<(String, RuleKind)>, until: i64, horizon_days: f64) -> Tally {
        let places = rules.iter().enumerate();
        Tally {
            places: places.map(|(place, (rule, _))| (rule.clone(), place)).collect(),
            counts: vec![Count::default(); rules.len()],
            rules,
            until,
            horizon_days,
            accounts: 0,
            outcomes: BTreeMap::new(),
            together: BTreeMap::new(),
        }
    }

    /// Counts one account. Alarms of a rule that the tally does not know are left out.
    pub fn add(&mut self, life: &Life) {
        let Some(from) = life.from else { return };
        self.accounts += 1;
        let ends_at = life.churned_at.unwrap_or(i64::MAX);
        let churn: Vec<i64> = life.churned_at.into_iter().filter(|at| *at > from).collect();
        let growth: Vec<i64> = life.grown_at.iter().copied().filter(|at| *at > from).collect();
        for kind in [RuleKind::AtRisk, RuleKind::Opportunity] {
            let outcomes = match kind {
                RuleKind::AtRisk => &churn,
                RuleKind::Opportunity => &growth,
            };
            *self.outcomes.entry(kind).or_default() += u64::from(!outcomes.is_empty());
            let judged: Vec<(usize, &Alarm, Verdict)> = life
                .alarms
                .iter()
                .filter(|alarm| alarm.at < ends_at)
                .filter_map(|alarm| Some((*self.places.get(&alarm.rule)?, alarm)))
                .filter(|(place, _)| self.rules[*place].1 == kind)
                .map(|(place, alarm)| (place, alarm, self.judge(alarm.at, outcomes)))
                .collect();
            let mut led: Vec<usize> = Vec::new();
            let together = self.together.entry(kind).or_default();
            let mut is_led = false;
            for (place, _, verdict) in judged {
                self.counts[place].add(verdict, !led.contains(&place));
                together.add(verdict, !is_led);
                if matches!(verdict, Verdict::Right(_)) {
                    led.push(place);
                    is_led = true;
                }
            }
        }
    }

    fn judge(&self, at: i64, outcomes: &[i64]) -> Verdict {
        let days_to = |later: i64| later.saturating_sub(at) as f64 / DAY_MS;
        let next = outcomes.iter().copied().filter(|outcome| *outcome > at).min();
        match next.map(days_to) {
            Some(lead) if lead <= self.horizon_days => Verdict::Right(lead),
            _ if days_to(self.until) < self.horizon_days => Verdict::Open,
            _ => Verdict::Wrong,
        }
    }

    /// The table of what was counted so far.
    pub fn table(&self) -> Table {
        let outcomes = |kind: RuleKind| self.outcomes.get(&kind).copied().unwrap_or(0);
        let row = |rule: &str, kind: RuleKind, count: &Count| count.row(rule, kind, outcomes(kind));
        let rules = self.rules.iter().zip(&self.counts);
        Table {
            until: self.until,
            horizon_days: self.horizon_days,
            accounts: self.accounts,
            churned: outcomes(RuleKind::AtRisk),
            grown: outcomes(RuleKind::Opportunity),
            rules: rules
                .map(|((rule, kind), count)| row(rule, *kind, count))
                .collect(),
            together: self
                .together
                .iter()
                .map(|(kind, count)| row("any of these", *kind, count))
                .collect(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    /// The outcome came after so many days.
    Right(f64),
    Wrong,
    Open,
}

impl Count {
    fn add(&mut self, verdict: Verdict, is_first: bool) {
        self.alarms += 1;
        match verdict {
            Verdict::Right(lead) => {
                self.right += 1;
                if is_first {
                    self.leads.push(lead);
                }
            }
            Verdict::Wrong => self.wrong += 1,
            Verdict::Open => self.open += 1,
        }
    }

    fn row(&self, rule: &str, kind: RuleKind, outcomes: u64) -> Row {
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let mut leads = self.leads.clone();
        leads.sort_unstable_by(f64::total_cmp);
        let caught = leads.len() as u64;
        Row {
            rule: rule.to_string(),
            kind,
            alarms: self.alarms,
            right: self.right,
            wrong: self.wrong,
            open: self.open,
            precision: share(self.right, self.right + self.wrong),
            caught,
            caught_share: share(caught, outcomes),
            lead_days_p25: quantile(&leads, 0.25),
            lead_days_median: quantile(&leads, 0.5),
            lead_days_p75: quantile(&leads, 0.75),
        }
    }
}

/// The quantile of ascending values, on the line between the two nearest; `None` of nothing.
fn quantile(ascending: &[f64], share: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let place = share * last as f64;
    let (below, above) = (
        ascending[place.floor() as usize],
        ascending[place.ceil() as usize],
    );
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    /// Alarms are (rule, day).
    fn life(alarms: &[(&str, i64)], churned: Option<i64>, grown: &[i64]) -> Life {
        Life {
            account_id: "acme".into(),
            from: Some(DAY),
            alarms: alarms
                .iter()
                .map(|(rule, day)| Alarm {
                    rule: rule.to_string(),
                    at: day * DAY,
                })
                .collect(),
            churned_at: churned.map(|day| day * DAY),
            grown_at: grown.iter().map(|day| day * DAY).collect(),
        }
    }

    /// The past ends on day 300, the horizon is 90 days.
    fn table(lives: &[Life]) -> Table {
        let rules = vec![
            ("silence".to_string(), RuleKind::AtRisk),
            ("errors".to_string(), RuleKind::AtRisk),
            ("seats".to_string(), RuleKind::Opportunity),
        ];
        let mut tally = Tally::new(rules, 300 * DAY, 90.0);
        for life in lives {
            tally.add(life);
        }
        tally.table()
    }

    fn counts(row: &Row) -> (u64, u64, u64, u64) {
        (row.alarms, row.right, row.wrong, row.open)
    }

    #[test]
    fn an_alarm_is_right_up_to_the_horizon_and_wrong_beyond_it() {
        let judged = |day: i64| counts(&table(&[life(&[("silence", day)], Some(200), &[])]).rules[0]);
        assert_eq!(judged(199), (1, 1, 0, 0));
        assert_eq!(judged(110), (1, 1, 0, 0));
        assert_eq!(judged(109), (1, 0, 1, 0));
        // There are no alarms of those who have left.
        assert_eq!(judged(200), (0, 0, 0, 0));
        assert_eq!(judged(201), (0, 0, 0, 0));
    }

    #[test]
    fn an_alarm_younger_than_the_horizon_is_open_unless_it_was_right() {
        let stayed = |day: i64| counts(&table(&[life(&[("silence", day)], None, &[])]).rules[0]);
        assert_eq!(stayed(210), (1, 0, 1, 0));
        assert_eq!(stayed(211), (1, 0, 0, 1));
        let left = table(&[life(&[("silence", 290)], Some(299), &[])]);
        assert_eq!(counts(&left.rules[0]), (1, 1, 0, 0));
        assert_eq!(left.rules[0].precision, Some(1.0));
        let open = table(&[life(&[("silence", 290)], None, &[])]);
        assert_eq!(open.rules[0].precision, None);
    }

    #[test]
    fn a_customer_is_caught_once_and_the_lead_is_that_of_his_first_right_alarm() {
        let found = table(&[
            life(
                &[("silence", 50), ("silence", 150), ("silence", 180)],
                Some(200),
                &[],
            ),
            life(&[("silence", 190)], Some(200), &[]),
            life(&[], Some(200), &[]),
            life(&[("errors", 10)], None, &[]),
        ]);
        let silence = &found.rules[0];
        assert_eq!(counts(silence), (4, 3, 1, 0));
        assert_eq!((found.accounts, found.churned), (4, 3));
        assert_eq!(silence.caught, 2);
        assert_eq!(silence.caught_share, Some(2.0 / 3.0));
        assert_eq!(silence.precision, Some(0.75));
        // Leads of 10 and 50 days.
        let leads = (
            silence.lead_days_p25,
            silence.lead_days_median,
            silence.lead_days_p75,
        );
        assert_eq!(leads, (Some(20.0), Some(30.0), Some(40.0)));
        assert_eq!(counts(&found.rules[1]), (1, 0, 1, 0));
        assert_eq!(found.rules[1].lead_days_median, None);
    }

    #[test]
    fn rules_of_a_kind_are_also_counted_as_one() {
        let found = table(&[
            life(&[("errors", 150), ("silence", 190)], Some(200), &[]),
            life(&[("silence", 150)], Some(200), &[]),
        ]);
        let together = &found.together[0];
        assert_eq!(together.kind, RuleKind::AtRisk);
        assert_eq!((together.alarms, together.right, together.caught), (3, 3, 2));
        assert_eq!(together.lead_days_median, Some(50.0));
        assert_eq!((found.rules[0].caught, found.rules[1].caught), (2, 1));
    }

    #[test]
    fn opportunities_are_judged_by_growth_and_not_by_leaving() {
        let found = table(&[
            life(&[("seats", 100), ("silence", 100)], None, &[150, 290]),
            life(&[("seats", 100)], Some(150), &[]),
        ]);
        assert_eq!(counts(&found.rules[2]), (2, 1, 1, 0));
        assert_eq!(counts(&found.rules[0]), (1, 0, 1, 0));
        assert_eq!((found.grown, found.churned), (1, 1));
        assert_eq!(found.rules[2].caught_share, Some(1.0));
        assert_eq!(found.rules[2].lead_days_median, Some(50.0));
    }

    #[test]
    fn what_came_before_the_first_evaluation_could_not_be_caught() {
        let found = table(&[life(&[], None, &[0]), life(&[], Some(1), &[])]);
        assert_eq!((found.accounts, found.grown, found.churned), (2, 0, 0));
        assert_eq!(found.rules[0].caught_share, None);
        let never = Life {
            from: None,
            ..life(&[("silence", 3)], None, &[])
        };
        assert_eq!(table(&[never]).accounts, 0);
    }
}
