//! How numbers are written in sentences.

/// How a number is rounded and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    /// Without decimals, thousands apart: 1,234.
    Whole,
    /// With one decimal, left out when it is 0.
    Tenth,
    /// A ratio of which 1 is 100 %, without decimals.
    Percent,
}

impl Figure {
    pub(super) fn of(self, value: f64) -> String {
        match self {
            Figure::Whole => grouped(value.round(), 0),
            Figure::Tenth => {
                let rounded = (value * 10.0).round() / 10.0;
                grouped(rounded, usize::from(rounded.fract() != 0.0))
            }
            Figure::Percent => format!("{}%", grouped((value * 100.0).round(), 0)),
        }
    }
}

fn grouped(rounded: f64, decimals: usize) -> String {
    // Adding 0 takes the sign from a negative 0.
    let digits = format!("{:.decimals$}", (rounded + 0.0).abs());
    let whole = digits.split('.').next().unwrap_or_default().len();
    let mut text = String::with_capacity(digits.len() + 2);
    if rounded < 0.0 {
        text.push('-');
    }
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && position < whole && (whole - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The text with the figure in the place of `{}`; what stands in brackets, the ending of a plural, is
/// left out of one.
pub(super) fn fill(text: &str, figure: &str) -> String {
    let plural = figure != "1";
    let mut filled = String::with_capacity(text.len() + figure.len());
    let mut in_ending = false;
    for letter in text.replace("{}", figure).chars() {
        match letter {
            '[' => in_ending = true,
            ']' => in_ending = false,
            _ if in_ending && !plural => {}
            letter => filled.push(letter),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rounded_and_never_a_negative_zero() {
        let shown = |figure: Figure, values: [f64; 4]| values.map(|value| figure.of(value));
        assert_eq!(
            shown(Figure::Whole, [-0.4, 2.5, 1_234_567.0, -1234.4]),
            ["0", "3", "1,234,567", "-1,234"]
        );
        assert_eq!(
            shown(Figure::Tenth, [-0.04, 4.24, 4.0, -1000.25]),
            ["0", "4.2", "4", "-1,000.3"]
        );
        assert_eq!(
            shown(Figure::Percent, [-0.004, 0.625, 1.0, 12.0]),
            ["0%", "63%", "100%", "1,200%"]
        );
    }

    #[test]
    fn one_takes_the_singular() {
        assert_eq!(fill("{} search[es] today", "1"), "1 search today");
        assert_eq!(fill("{} search[es] today", "1.5"), "1.5 searches today");
        assert_eq!(fill("{} search[es] today", "0"), "0 searches today");
    }
}
