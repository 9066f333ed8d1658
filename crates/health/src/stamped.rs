//! Values that were stated by an event, with the time of the statement: the newest one holds, in
//! whatever order the events are folded.

use event::{Event, Properties};
use xxhash_rust::xxh3::xxh3_64;

/// When a statement was made; of two at the same instant, the event's id decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) at: i64,
    tie: u64,
}

impl Stamp {
    pub(crate) fn of(at: i64, event_id: &str) -> Stamp {
        Stamp {
            at,
            tie: xxh3_64(event_id.as_bytes()),
        }
    }
}

/// A stated text.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) value: String,
    #[prost(sint64, tag = "2")]
    at: i64,
    #[prost(fixed64, tag = "3")]
    tie: u64,
}

/// A stated number.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Number {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    #[prost(sint64, tag = "2")]
    pub(crate) at: i64,
    #[prost(fixed64, tag = "3")]
    tie: u64,
}

impl Text {
    /// Whether it can have been stated by an event, which a state that was read must prove.
    pub(crate) fn is_sound(&self) -> bool {
        Event::TIMES.contains(&self.at)
    }

    /// Takes over `value`, if there is one and nothing newer is known.
    pub(crate) fn replace(slot: &mut Option<Text>, value: Option<impl AsRef<str>>, stamp: Stamp) {
        let Some(value) = value else { return };
        if slot.as_ref().is_none_or(|known| {
            stamp
                >= Stamp {
                    at: known.at,
                    tie: known.tie,
                }
        }) {
            *slot = Some(Text {
                value: value.as_ref().to_string(),
                at: stamp.at,
                tie: stamp.tie,
            });
        }
    }
}

impl Number {
    /// Whether it can have been stated by an event, which a state that was read must prove.
    pub(crate) fn is_sound(&self) -> bool {
        self.value.is_finite() && Event::TIMES.contains(&self.at)
    }

    /// Takes over `value`, if there is one and nothing newer is known.
    pub(crate) fn replace(slot: &mut Option<Number>, value: Option<f64>, stamp: Stamp) {
        let Some(value) = value else { return };
        if slot.as_ref().is_none_or(|known| {
            stamp
                >= Stamp {
                    at: known.at,
                    tie: known.tie,
                }
        }) {
            *slot = Some(Number {
                // A zero without its sign, which would be lost where the number is saved.
                value: value + 0.0,
                at: stamp.at,
                tie: stamp.tie,
            });
        }
    }
}

/// The stated value.
pub(crate) fn text(slot: &Option<Text>) -> Option<&str> {
    slot.as_ref().map(|stated| stated.value.as_str())
}

/// The stated value.
pub(crate) fn number(slot: &Option<Number>) -> Option<f64> {
    slot.as_ref().map(|stated| stated.value)
}

/// Whether a stated number, if there is one, is a time that properties can hold.
pub(crate) fn is_stated_time(slot: &Option<Number>) -> bool {
    number(slot).is_none_or(|at| Properties::TIMES.contains(&(at as i64)))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_negative_zero_is_the_same_number_before_and_after_it_was_saved() {
        let mut slot = None;
        Number::replace(&mut slot, Some(-0.0), Stamp::of(1, "e"));
        let stated = slot.unwrap();
        assert!(stated.value.is_sign_positive());
        let saved = stated.encode_to_vec();
        let read = Number::decode(saved.as_slice()).unwrap();
        assert_eq!(read.value.to_bits(), stated.value.to_bits());
    }
}
