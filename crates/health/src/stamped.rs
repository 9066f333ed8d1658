//! Values that were stated by an event, with the time of the statement: the newest one holds, in
//! whatever order the events are folded.

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
    at: i64,
    #[prost(fixed64, tag = "3")]
    tie: u64,
}

impl Text {
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
                value,
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
