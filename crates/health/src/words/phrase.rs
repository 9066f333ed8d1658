//! How a number becomes a sentence. In the words of a phrase, `{}` is where the figure stands, and what
//! is in brackets is the ending of a plural.

use super::Sentence;
use super::figure::Figure;

/// What a number says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phrase {
    /// The figure within words; of a figure that shows 0, other words where it has some.
    Says {
        figure: Figure,
        words: [&'static str; 2],
        none: Option<[&'static str; 2]>,
    },
    /// A ratio to what was before, told as what changed in percent.
    Compares {
        less: [&'static str; 2],
        more: [&'static str; 2],
        same: [&'static str; 2],
    },
}

impl Phrase {
    pub(super) fn of(self, value: f64) -> Sentence {
        match self {
            Phrase::Says { figure, words, none } => {
                let shown = figure.of(value);
                match none {
                    Some(none) if shown == "0" => Sentence::new(none),
                    _ => Sentence::filled(words, &shown),
                }
            }
            Phrase::Compares { less, more, same } => {
                let change = (value * 100.0).round() - 100.0;
                let words = match change {
                    change if change < 0.0 => less,
                    change if change > 0.0 => more,
                    _ => return Sentence::new(same),
                };
                Sentence::filled(words, &Figure::Percent.of(change.abs() / 100.0))
            }
        }
    }
}

/// A count, with words of its own for none.
pub(super) const fn count(words: [&'static str; 2], none: [&'static str; 2]) -> Phrase {
    Phrase::Says {
        figure: Figure::Whole,
        words,
        none: Some(none),
    }
}

/// A figure within words.
pub(super) const fn says(figure: Figure, words: [&'static str; 2]) -> Phrase {
    Phrase::Says {
        figure,
        words,
        none: None,
    }
}

/// A ratio to what was before.
pub(super) const fn compares(
    less: [&'static str; 2],
    more: [&'static str; 2],
    same: [&'static str; 2],
) -> Phrase {
    Phrase::Compares { less, more, same }
}
