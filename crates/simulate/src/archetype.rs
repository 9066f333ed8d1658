//! The kinds of life that a customer can have.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of life that an account has; the rest of its truth is drawn within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Archetype {
    /// A trial of 14 or 30 days that turns into a contract, then steady.
    TrialConverted,
    /// A trial that loses interest and runs out: no contract, no cancellation.
    TrialLapsed,
    /// First value within 4 days of signing up, then steady.
    FastOnboarding,
    /// First value only after 28 to 60 days, then steady.
    SlowOnboarding,
    /// Never reaches first value; half of them cancel 60 to 90 days after signing up.
    StalledOnboarding,
    /// Goes on as it is, with the ups and downs of any.
    Steady,
    /// Steady but for eight weeks of every half year at half its level or at rest, which is no fading.
    Seasonal,
    /// Fills its seats, works one user id hard, upgrades, then grows into the new seats.
    Expanding,
    /// Fades for 4 to 10 weeks, then cancels.
    FadedChurned,
    /// Begins to fade like those who cancel, then comes back.
    FadedRecovered,
    /// Cancels at full activity: nothing in its use foretells it.
    SuddenChurn,
    /// Goes through two to three weeks of faults and tickets, all of them resolved in the end.
    SupportTrouble,
    /// Moves to a smaller plan or drops an option, and goes on at a lower level.
    Downgraded,
}

impl Archetype {
    /// Every archetype.
    pub const ALL: [Archetype; 13] = [
        Archetype::TrialConverted,
        Archetype::TrialLapsed,
        Archetype::FastOnboarding,
        Archetype::SlowOnboarding,
        Archetype::StalledOnboarding,
        Archetype::Steady,
        Archetype::Seasonal,
        Archetype::Expanding,
        Archetype::FadedChurned,
        Archetype::FadedRecovered,
        Archetype::SuddenChurn,
        Archetype::SupportTrouble,
        Archetype::Downgraded,
    ];

    /// How many accounts in a hundred live so by default.
    pub fn default_weight(self) -> f64 {
        match self {
            Archetype::TrialConverted => 7.0,
            Archetype::TrialLapsed => 5.0,
            Archetype::FastOnboarding => 8.0,
            Archetype::SlowOnboarding => 7.0,
            Archetype::StalledOnboarding => 5.0,
            Archetype::Steady => 26.0,
            Archetype::Seasonal => 7.0,
            Archetype::Expanding => 11.0,
            Archetype::FadedChurned => 10.0,
            Archetype::FadedRecovered => 6.0,
            Archetype::SuddenChurn => 2.0,
            Archetype::SupportTrouble => 4.0,
            Archetype::Downgraded => 2.0,
        }
    }

    /// Its name in configuration and in the truth file.
    pub fn as_str(self) -> &'static str {
        match self {
            Archetype::TrialConverted => "trial_converted",
            Archetype::TrialLapsed => "trial_lapsed",
            Archetype::FastOnboarding => "fast_onboarding",
            Archetype::SlowOnboarding => "slow_onboarding",
            Archetype::StalledOnboarding => "stalled_onboarding",
            Archetype::Steady => "steady",
            Archetype::Seasonal => "seasonal",
            Archetype::Expanding => "expanding",
            Archetype::FadedChurned => "faded_churned",
            Archetype::FadedRecovered => "faded_recovered",
            Archetype::SuddenChurn => "sudden_churn",
            Archetype::SupportTrouble => "support_trouble",
            Archetype::Downgraded => "downgraded",
        }
    }

    /// Whether the account's first days fall into the simulated period.
    pub(crate) fn begins_within_the_period(self) -> bool {
        matches!(
            self,
            Archetype::TrialConverted
                | Archetype::TrialLapsed
                | Archetype::FastOnboarding
                | Archetype::SlowOnboarding
                | Archetype::StalledOnboarding
        )
    }
}

impl fmt::Display for Archetype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the account's onboarding went, in days from sign-up to first value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Onboarding {
    /// 1 to 4 days.
    Fast,
    /// 5 to 16 days.
    Normal,
    /// 28 to 60 days.
    Slow,
    /// It never gets there.
    Stalled,
}

impl Onboarding {
    /// Its name in the truth file.
    pub fn as_str(self) -> &'static str {
        match self {
            Onboarding::Fast => "fast",
            Onboarding::Normal => "normal",
            Onboarding::Slow => "slow",
            Onboarding::Stalled => "stalled",
        }
    }
}

/// The size of the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// 3 to 12 seats.
    Smb,
    /// 13 to 50 seats.
    Mid,
    /// 51 to 250 seats.
    Enterprise,
}

impl Segment {
    /// Its name in events and in the truth file.
    pub fn as_str(self) -> &'static str {
        match self {
            Segment::Smb => "smb",
            Segment::Mid => "mid",
            Segment::Enterprise => "enterprise",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_configuration() {
        for archetype in Archetype::ALL {
            let written = serde_json::to_string(&archetype).unwrap();
            assert_eq!(written, format!("\"{archetype}\""));
        }
    }
}
