//! Names and sentences for the inputs of the scores, Japanese and English.

use serde::Serialize;

/// The same in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Words {
    pub(crate) en: String,
    pub(crate) ja: String,
}

impl From<health::words::Sentence> for Words {
    fn from(said: health::words::Sentence) -> Words {
        Words {
            en: said.en,
            ja: said.ja,
        }
    }
}

/// What a number is called; one that has no words yet is called by its own name.
pub(crate) fn label(input: &str) -> Words {
    health::words::label(input).into()
}

/// What an input says with this value, held against what is usual where that is known; without a
/// value, that it is unknown.
pub(crate) fn sentence(input: &str, value: Option<f64>, baseline: Option<f64>) -> Words {
    match value {
        Some(value) => health::words::sentence_with_baseline(input, value, baseline).into(),
        None => {
            let label = label(input);
            Words {
                en: format!("{}: unknown", label.en),
                ja: format!("{}は不明", label.ja),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_without_words_is_called_by_its_name() {
        assert_eq!(label("shoe_size").ja, "shoe_size");
        assert!(sentence("shoe_size", Some(43.0), None).en.contains("shoe_size"));
    }

    #[test]
    fn what_is_usual_is_told_where_it_is_known() {
        let told = |baseline| sentence("feature_depth", Some(11.5), baseline).en;
        assert!(told(Some(14.2)).contains("14.2"), "{}", told(Some(14.2)));
        assert_ne!(told(None), told(Some(14.2)));
    }

    #[test]
    fn an_unknown_value_is_told_to_be_unknown_in_both_languages() {
        let told = sentence("usage_trend", None, Some(1.0));
        assert_eq!(told.en, "Trend of use: unknown");
        assert_eq!(told.ja, "利用の増減は不明");
    }
}
