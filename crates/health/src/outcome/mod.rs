//! What became of the accounts that a rule alarmed about: of those that somebody was told of, and of
//! those in the rule's holdout, of which nobody was.
//!
//! What holds: an account counts once a rule, with its first episode of the time looked at, so that the
//! observations are independent; it counts in no measure before all of the days have passed, or the quick
//! outcomes would come first; and a comparison comes with its interval and with everything that speaks
//! against believing it ([`Warning`]). Only against held-out accounts does a difference say anything about
//! telling: accounts are alarmed about at their worst, and most get better by themselves.

mod interval;
mod student;
mod warning;

pub use interval::{Estimate, Moments, Proportion};
pub use warning::{Caution, FEWEST_ACCOUNTS, FEWEST_EVENTS, Warning};

/// What was done about an episode's opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// Somebody was told.
    Told,
    /// Its account is in the rule's holdout.
    HeldOut,
    /// The rule only recorded what would have been told.
    Shadow,
    /// It was to be told and has reached nobody: it waits, failed or was suppressed.
    Nobody,
}

impl Arm {
    /// As it stands in `alert_outcomes`; `None` of another name.
    pub fn named(name: &str) -> Option<Arm> {
        let arms = [Arm::Told, Arm::HeldOut, Arm::Shadow, Arm::Nobody];
        arms.into_iter().find(|arm| arm.as_str() == name)
    }

    /// `told`, `held_out`, `shadow`, or nothing where it reached nobody.
    pub fn as_str(self) -> &'static str {
        match self {
            Arm::Told => "told",
            Arm::HeldOut => "held_out",
            Arm::Shadow => "shadow",
            Arm::Nobody => "",
        }
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Share whose episode ended other than by churn.
    Recovered,
    /// Share that had not churned.
    Retained,
    /// Points of health gained since the opening, of those that had not churned.
    HealthChange,
}

/// Accounts of the same rule, arm and variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// What was done about them.
    pub arm: Arm,
    /// Of the rule; empty when it has none.
    pub variant: String,
    /// The accounts, each with its first episode.
    pub accounts: u64,
    /// Their episodes, the first ones and all later ones.
    pub episodes: u64,
    /// Of the accounts, those whose days have passed and that had recovered.
    pub recovered: Proportion,
    /// Of those that recovered, the ones that a person declared to have.
    pub declared: u64,
    /// Of the accounts, those whose days have passed and that had not churned.
    pub retained: Proportion,
    /// Points of health gained, of those whose days have passed and whose health is known at both ends.
    pub health_change: Moments,
}

impl Group {
    /// Of no account.
    pub fn of_none(arm: Arm) -> Group {
        Group {
            arm,
            variant: String::new(),
            accounts: 0,
            episodes: 0,
            recovered: Proportion::default(),
            declared: 0,
            retained: Proportion::default(),
            health_change: Moments::default(),
        }
    }

    /// Accounts whose days have not passed yet, which no measure counts.
    pub fn waiting(&self) -> u64 {
        self.accounts.saturating_sub(self.recovered.of)
    }

    fn add(&mut self, other: &Group) {
        self.accounts += other.accounts;
        self.episodes += other.episodes;
        self.recovered = self.recovered.and(other.recovered);
        self.declared += other.declared;
        self.retained = self.retained.and(other.retained);
        self.health_change = self.health_change.and(other.health_change);
    }

    fn proportion(&self, measure: Measure) -> Option<Proportion> {
        match measure {
            Measure::Recovered => Some(self.recovered),
            Measure::Retained => Some(self.retained),
            Measure::HealthChange => None,
        }
    }

    /// This group less the other.
    fn less(&self, other: &Group, measure: Measure) -> Option<Estimate> {
        match (self.proportion(measure), other.proportion(measure)) {
            (Some(one), Some(two)) => one.less(two),
            _ => self.health_change.less(other.health_change),
        }
    }
}

/// An arm of a rule, as a whole and by variant.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmOutcome {
    /// All of its accounts.
    pub whole: Group,
    /// By variant, in the order of their names; none when the rule has none.
    pub variants: Vec<Group>,
}

/// Whom a group is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// All held-out accounts of the rule, whatever variant they would have had.
    HeldOut,
    /// The accounts that were told of in another variant.
    Variant(String),
}

/// What the told accounts, or those of one variant, have more than others.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The variant; `None` is all told accounts.
    pub variant: Option<String>,
    /// Those compared with.
    pub against: Against,
    /// Of the shares that recovered.
    pub recovered: Option<Estimate>,
    /// Of the shares that had not churned.
    pub retained: Option<Estimate>,
    /// Of the mean changes of health, points.
    pub health_change: Option<Estimate>,
}

impl Difference {
    fn between(variant: Option<String>, one: &Group, against: Against, two: &Group) -> Difference {
        Difference {
            variant,
            against,
            recovered: one.less(two, Measure::Recovered),
            retained: one.less(two, Measure::Retained),
            health_change: one.less(two, Measure::HealthChange),
        }
    }

    /// What was compared and how it came out.
    pub fn measures(&self) -> impl Iterator<Item = (Measure, Estimate)> {
        let all = [
            (Measure::Recovered, self.recovered),
            (Measure::Retained, self.retained),
            (Measure::HealthChange, self.health_change),
        ];
        all.into_iter()
            .filter_map(|(measure, found)| Some((measure, found?)))
    }
}

/// What became of the accounts that one rule alarmed about.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleOutcome {
    /// Told, held out, shadow, nobody: those that there are, in this order.
    pub arms: Vec<ArmOutcome>,
    /// Told less held out, as a whole and by variant; then one variant less another.
    pub differences: Vec<Difference>,
    /// What speaks against believing the differences, the weightiest first.
    pub warnings: Vec<Warning>,
}

impl RuleOutcome {
    /// Of a rule's groups, of each arm and variant at most one.
    pub fn of(mut groups: Vec<Group>) -> RuleOutcome {
        groups.sort_by(|one, other| (one.arm, &one.variant).cmp(&(other.arm, &other.variant)));
        let mut arms: Vec<ArmOutcome> = Vec::new();
        for group in groups {
            if arms.last().is_none_or(|arm| arm.whole.arm != group.arm) {
                arms.push(ArmOutcome {
                    whole: Group::of_none(group.arm),
                    variants: Vec::new(),
                });
            }
            if let Some(arm) = arms.last_mut() {
                arm.whole.add(&group);
                arm.variants.push(group);
            }
        }
        for arm in &mut arms {
            arm.variants.retain(|group| !group.variant.is_empty());
        }
        let differences = differences(&arms);
        let warnings = warning::warnings(&arms, &differences);
        RuleOutcome {
            arms,
            differences,
            warnings,
        }
    }
}

fn of_arm(arms: &[ArmOutcome], arm: Arm) -> Option<&ArmOutcome> {
    arms.iter().find(|outcome| outcome.whole.arm == arm)
}

fn differences(arms: &[ArmOutcome]) -> Vec<Difference> {
    let mut found = Vec::new();
    let Some(told) = of_arm(arms, Arm::Told) else {
        return found;
    };
    if let Some(held_out) = of_arm(arms, Arm::HeldOut) {
        let mut compare = |variant, group| {
            let difference = Difference::between(variant, group, Against::HeldOut, &held_out.whole);
            found.push(difference);
        };
        compare(None, &told.whole);
        for group in &told.variants {
            compare(Some(group.variant.clone()), group);
        }
    }
    for (place, one) in told.variants.iter().enumerate() {
        for other in &told.variants[place + 1..] {
            let against = Against::Variant(other.variant.clone());
            found.push(Difference::between(
                Some(one.variant.clone()),
                one,
                against,
                other,
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests;
