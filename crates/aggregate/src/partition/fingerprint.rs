//! Whether an evaluation found something new, so that a row is worth writing.

use health::{Evaluation, NUMBERS};
use xxhash_rust::xxh3::Xxh3;

/// Stands for what an evaluation found, whenever it was: counts as they are, fractions to three digits and ages
/// to whole days, so that what only grows older is not something new.
pub(super) fn fingerprint(evaluation: &Evaluation) -> u64 {
    let Evaluation {
        metrics,
        scores,
        stage,
        tier,
        ..
    } = evaluation;
    let mut hash = Xxh3::new();
    let mut note = |value: Option<f64>| hash.update(&value.unwrap_or(f64::NAN).to_bits().to_le_bytes());
    for (name, value) in NUMBERS.iter().zip(metrics.numbers()) {
        note(value.map(|value| {
            if is_age(name) {
                value.floor()
            } else {
                rounded(value)
            }
        }));
    }
    for score in scores.numbers() {
        note(score.map(rounded));
    }
    note(Some(f64::from(*stage as u8)));
    note(Some(f64::from(*tier as u8)));
    for driver in &scores.drivers {
        note(Some(rounded(driver.points)));
        note(driver.baseline.map(rounded));
    }
    for milestone in &metrics.milestones {
        note(Some(f64::from(milestone.state as u8)));
    }
    let names = scores.drivers.iter().map(|driver| driver.input);
    for name in names.chain(metrics.unused_key_features.iter().map(String::as_str)) {
        hash.update(name.as_bytes());
        hash.update(&[0]);
    }
    hash.digest()
}

/// Whether a number grows with the time alone.
fn is_age(name: &str) -> bool {
    name.ends_with("_days") || name == "days_in_stage"
}

/// A number to three digits, unless it is a whole one.
fn rounded(value: f64) -> f64 {
    if value.fract() == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10_f64.powi(value.abs().log10().floor() as i32 - 2);
    (value / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_told_apart_by_their_first_three_digits_and_counts_by_all() {
        assert_eq!(rounded(0.0), 0.0);
        assert_eq!(rounded(71.24), rounded(71.19));
        assert_ne!(rounded(71.24), rounded(71.31));
        assert_eq!(rounded(-0.001_234), rounded(-0.001_231));
        assert_ne!(rounded(123_456.0), rounded(123_457.0));
        assert_eq!(rounded(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn ages_are_those_numbers_that_grow_with_the_time_alone() {
        let ages: Vec<&&str> = NUMBERS.iter().filter(|name| is_age(name)).collect();
        assert!(
            ages.contains(&&"account_age_days") && ages.contains(&&"days_in_stage"),
            "{ages:?}"
        );
        assert!(!is_age("logins_7d") && !is_age("days_since_last_login"));
    }
}
