//! Numbers in words, English and Japanese, as people who look after customers write them: short, and
//! understood without the number's name beside them. Every number of `account_metrics` and every score
//! has a name and a sentence of its own in both languages.

mod figure;
mod labels;
mod phrase;
mod relationship;
mod usage;

use crate::numbers::OnboardingState;
use figure::{Figure, fill};
use phrase::Phrase;

/// A sentence, or a name, in both languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// English.
    pub en: String,
    /// Japanese.
    pub ja: String,
}

impl Sentence {
    fn new([en, ja]: [&str; 2]) -> Sentence {
        Sentence {
            en: en.to_string(),
            ja: ja.to_string(),
        }
    }

    /// Both texts with the figure where it belongs.
    fn filled([en, ja]: [&str; 2], figure: &str) -> Sentence {
        Sentence {
            en: fill(en, figure),
            ja: fill(ja, figure),
        }
    }
}

/// What a number is called, such as "Logins, 7 days"; one without a name in words is called by its own.
pub fn label(name: &str) -> Sentence {
    Sentence::new(find(labels::NUMBERS, name).unwrap_or([name, name]))
}

/// What a stage is called.
pub fn stage(name: &str) -> Sentence {
    Sentence::new(find(labels::STAGES, name).unwrap_or([name, name]))
}

/// What a touch tier is called.
pub fn tier(name: &str) -> Sentence {
    Sentence::new(find(labels::TIERS, name).unwrap_or([name, name]))
}

/// What a band of health is called.
pub fn band(name: &str) -> Sentence {
    Sentence::new(find(labels::BANDS, name).unwrap_or([name, name]))
}

/// What a state of onboarding, or of a milestone, is called.
pub fn onboarding_state(name: &str) -> Sentence {
    Sentence::new(find(labels::ONBOARDING_STATES, name).unwrap_or([name, name]))
}

/// What a number says, such as "no use for 16 days"; a number without words of its own is named.
pub fn sentence(input: &str, value: f64) -> Sentence {
    match input {
        "onboarding_state" => Sentence::new(onboarding(value)),
        "usage_z" => Sentence::filled(deviation(value), &Figure::Tenth.of(value.abs())),
        "days_to_renewal" => Sentence::filled(renewal(value), &Figure::Whole.of(value.abs())),
        "days_to_discount_end" => Sentence::filled(discount(value), &Figure::Whole.of(value.abs())),
        // Just opened is not resolved, though both round to no days.
        "open_ticket_age_days" if value > 0.0 => sentence("oldest_open_ticket_days", value),
        _ => match phrase(input) {
            Some(phrase) => phrase.of(value),
            None => Sentence {
                en: format!("{input} is {value}"),
                ja: format!("{input}は{value}"),
            },
        },
    }
}

/// The sentence with what is usual for the account, such as "…, usually 4.2", where that is known and
/// looks different. Numbers that are comparisons themselves, such as a trend, say it anyway.
pub fn sentence_with_baseline(input: &str, value: f64, baseline: Option<f64>) -> Sentence {
    let mut sentence = sentence(input, value);
    let (Some(baseline), Some(Phrase::Says { figure, .. })) = (baseline, phrase(input)) else {
        return sentence;
    };
    // What is usual is a mean: of counts, too, it has a part.
    let figure = match figure {
        Figure::Whole => Figure::Tenth,
        other => other,
    };
    let usual = figure.of(baseline);
    if usual == figure.of(value) {
        return sentence;
    }
    let comparison = match input {
        "workdays_since_last_active" => [", usual gap {} working day[s]", "（普段の間隔は{}営業日）"],
        "logins_per_user_28d" | "feature_depth" => [", usually {}", "（普段は{}回）"],
        _ => [", usually {}", "（普段は{}）"],
    };
    let comparison = Sentence::filled(comparison, &usual);
    sentence.en.push_str(&comparison.en);
    sentence.ja.push_str(&comparison.ja);
    sentence
}

fn phrase(input: &str) -> Option<Phrase> {
    find(usage::PHRASES, input).or_else(|| find(relationship::PHRASES, input))
}

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let row = table.iter().find(|(known, _)| *known == name);
    row.map(|(_, words)| *words)
}

fn onboarding(value: f64) -> [&'static str; 2] {
    let reached = |state: OnboardingState| value >= f64::from(state as u8);
    if reached(OnboardingState::Stalled) {
        ["onboarding has stalled", "オンボーディングが停滞"]
    } else if reached(OnboardingState::Behind) {
        ["onboarding is behind schedule", "オンボーディングに遅れ"]
    } else if reached(OnboardingState::OnTrack) {
        ["onboarding is on track", "オンボーディングは順調"]
    } else {
        ["onboarding is done", "オンボーディング完了"]
    }
}

fn deviation(sigmas: f64) -> [&'static str; 2] {
    if Figure::Tenth.of(sigmas) == "0" {
        [
            "feature use of 7 days as usual",
            "直近7日間の機能利用は普段どおり",
        ]
    } else if sigmas < 0.0 {
        [
            "feature use of 7 days below usual ({}σ)",
            "直近7日間の機能利用が普段を下回る（{}σ）",
        ]
    } else {
        [
            "feature use of 7 days above usual ({}σ)",
            "直近7日間の機能利用が普段を上回る（{}σ）",
        ]
    }
}

fn renewal(days: f64) -> [&'static str; 2] {
    if Figure::Whole.of(days) == "0" {
        ["the contract ends today", "本日で契約満了"]
    } else if days < 0.0 {
        ["the contract ended {} day[s] ago", "契約満了から{}日経過"]
    } else {
        ["{} day[s] to the renewal", "契約更新まで{}日"]
    }
}

fn discount(days: f64) -> [&'static str; 2] {
    if Figure::Whole.of(days) == "0" {
        ["the discount ends today", "本日で割引終了"]
    } else if days < 0.0 {
        ["the discount ended {} day[s] ago", "割引終了から{}日経過"]
    } else {
        ["{} day[s] to the end of the discount", "割引終了まで{}日"]
    }
}

#[cfg(test)]
mod tests;
