//! The names that a rule can use, and what they stand for at one evaluation.
//!
//! A name becomes a place in an array when the configuration is loaded, so that looking a value up
//! while accounts are evaluated is an index and nothing more.

use crate::numbers::{Metrics, NUMBERS};
use crate::score::{Band, Scores};
use crate::stage::Stage;
use crate::tier::Tier;

/// The scores, in the order of [`Scores::numbers`].
const SCORES: [&str; 9] = [
    "health",
    "ttv",
    "activity",
    "adoption",
    "sentiment",
    "support",
    "churn_risk",
    "expansion",
    "confidence",
];

/// The texts, in the order of [`TextName`].
const TEXTS: [&str; 6] = ["stage", "tier", "band", "onboarding_state", "plan", "segment"];

/// The one list.
pub(crate) const LIST: &str = "unused_key_features";

const STAGES: [&str; 6] = [
    "trial",
    "onboarding",
    "adoption",
    "expansion",
    "renewal",
    "churned",
];
const TIERS: [&str; 3] = ["high", "low", "tech"];
const BANDS: [&str; 4] = ["unknown", "red", "yellow", "green"];
const ONBOARDING_STATES: [&str; 4] = ["done", "on_track", "behind", "stalled"];

/// How alike two names must be for one to be proposed in place of the other, 0 to 1.
const ALIKE: f64 = 0.75;

/// The place of a number or score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumberName(u16);

/// The place of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextName(u8);

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Number(NumberName),
    Text(TextName),
    List,
}

impl Name {
    /// What `name` stands for, if anything. `onboarding_state` is a text here.
    pub(crate) fn find(name: &str) -> Option<Name> {
        if name == LIST {
            return Some(Name::List);
        }
        if let Some(place) = TEXTS.iter().position(|known| *known == name) {
            return Some(Name::Text(TextName(place as u8)));
        }
        let place = numbers().position(|known| known == name)?;
        Some(Name::Number(NumberName(place as u16)))
    }

    /// The name that was probably meant.
    pub(crate) fn nearest(name: &str) -> Option<&'static str> {
        let alike = numbers()
            .chain(TEXTS)
            .chain([LIST])
            .map(|known| (strsim::jaro_winkler(name, known), known))
            .max_by(|one, other| one.0.total_cmp(&other.0))?;
        (alike.0 >= ALIKE).then_some(alike.1)
    }
}

impl NumberName {
    pub(crate) fn as_str(self) -> &'static str {
        let place = usize::from(self.0);
        match NUMBERS.get(place) {
            Some(name) => name,
            None => SCORES[place - NUMBERS.len()],
        }
    }
}

impl TextName {
    pub(crate) fn as_str(self) -> &'static str {
        TEXTS[usize::from(self.0)]
    }

    /// The only values that the text can have; `None` for one that customers fill.
    pub(crate) fn values(self) -> Option<&'static [&'static str]> {
        match self.as_str() {
            "stage" => Some(&STAGES),
            "tier" => Some(&TIERS),
            "band" => Some(&BANDS),
            "onboarding_state" => Some(&ONBOARDING_STATES),
            _ => None,
        }
    }
}

fn numbers() -> impl Iterator<Item = &'static str> {
    NUMBERS.iter().copied().chain(SCORES)
}

/// What is known of an account at an instant, by place.
pub(crate) struct Facts<'a> {
    numbers: [Option<f64>; NUMBERS.len()],
    scores: [Option<f64>; SCORES.len()],
    texts: [Option<&'a str>; TEXTS.len()],
    unused_key_features: &'a [String],
    pub(crate) stage: Stage,
    pub(crate) tier: Tier,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(
        metrics: &'a Metrics,
        scores: &Scores,
        stage: Stage,
        tier: Tier,
        plan: Option<&'a str>,
        segment: Option<&'a str>,
    ) -> Facts<'a> {
        Facts {
            numbers: metrics.numbers(),
            scores: scores.numbers(),
            texts: [
                Some(stage.as_str()),
                Some(tier.as_str()),
                Some(Band::as_str(scores.band)),
                metrics.onboarding_state.map(|state| state.as_str()),
                plan,
                segment,
            ],
            unused_key_features: &metrics.unused_key_features,
            stage,
            tier,
        }
    }

    pub(crate) fn number(&self, name: NumberName) -> Option<f64> {
        let place = usize::from(name.0);
        match self.numbers.get(place) {
            Some(number) => *number,
            None => self.scores[place - NUMBERS.len()],
        }
    }

    pub(crate) fn text(&self, name: TextName) -> Option<&'a str> {
        self.texts[usize::from(name.0)]
    }

    pub(crate) fn unused_key_features(&self) -> &'a [String] {
        self.unused_key_features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_value() {
        let metrics = Metrics {
            days_since_last_login: Some(15),
            usual_gap_workdays: Some(1.5),
            unused_key_features: vec!["report.export".into()],
            ..Metrics::default()
        };
        let scores = Scores {
            health: Some(41.0),
            expansion: Some(77.0),
            confidence: 0.5,
            ..Scores::default()
        };
        let facts = Facts::new(
            &metrics,
            &scores,
            Stage::Adoption,
            Tier::High,
            Some("standard"),
            None,
        );
        let number = |name: &str| match Name::find(name) {
            Some(Name::Number(name)) => facts.number(name),
            other => panic!("{name} is {other:?}"),
        };
        let text = |name: &str| match Name::find(name) {
            Some(Name::Text(name)) => facts.text(name),
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(number("days_since_last_login"), Some(15.0));
        assert_eq!(number("usual_gap_workdays"), Some(1.5));
        assert_eq!(number("logins_28d"), Some(0.0));
        assert_eq!(number("stickiness"), None);
        assert_eq!(number("health"), Some(41.0));
        assert_eq!(number("expansion"), Some(77.0));
        assert_eq!(number("confidence"), Some(0.5));
        assert_eq!(text("stage"), Some("adoption"));
        assert_eq!(text("tier"), Some("high"));
        assert_eq!(text("plan"), Some("standard"));
        assert_eq!(text("segment"), None);
        assert_eq!(text("onboarding_state"), None);
        assert_eq!(Name::find("unused_key_features"), Some(Name::List));
        assert_eq!(Name::find("days_since_login"), None);
        for name in numbers().filter(|name| *name != "onboarding_state") {
            assert!(
                matches!(Name::find(name), Some(Name::Number(found)) if found.as_str() == name),
                "{name}"
            );
        }
    }

    #[test]
    fn the_nearest_name_is_proposed_and_nothing_for_nonsense() {
        assert_eq!(Name::nearest("days_since_login"), Some("days_since_last_login"));
        assert_eq!(Name::nearest("churnrisk"), Some("churn_risk"));
        assert_eq!(Name::nearest("Stage"), Some("stage"));
        assert_eq!(Name::nearest("zzqqxy"), None);
    }

    #[test]
    fn the_values_of_a_text_are_those_that_it_can_have() {
        use crate::numbers::OnboardingState;
        let stages = [
            Stage::Trial,
            Stage::Onboarding,
            Stage::Adoption,
            Stage::Expansion,
            Stage::Renewal,
            Stage::Churned,
        ]
        .map(Stage::as_str);
        assert_eq!(stages, STAGES);
        let tiers = [Tier::High, Tier::Low, Tier::Tech].map(Tier::as_str);
        let bands = [Band::Unknown, Band::Red, Band::Yellow, Band::Green].map(Band::as_str);
        let onboarding = [
            OnboardingState::Done,
            OnboardingState::OnTrack,
            OnboardingState::Behind,
            OnboardingState::Stalled,
        ]
        .map(OnboardingState::as_str);
        assert_eq!((tiers, bands, onboarding), (TIERS, BANDS, ONBOARDING_STATES));
    }
}
