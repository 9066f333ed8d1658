//! Typed access to an event's properties, for whoever reads them further down.
//!
//! Only the outermost object is taken apart; a value is read when it is asked for, and never as a
//! tree. Every accessor answers `None` alike for a property that is absent, null, or of another
//! type: for the properties that an event's type reads, [`Decoder`](crate::Decoder) has already
//! refused the latter.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::Scalar;
use crate::time::{parse_date, parse_rfc3339};

/// The least and greatest milliseconds that `jiff::Timestamp::from_millisecond` takes.
const TIME_RANGE: (i64, i64) = (-377_705_023_201_000, 253_402_207_200_000);

/// The text is not a JSON object.
#[derive(Debug, thiserror::Error)]
#[error("properties are not a json object: {0}")]
pub struct PropertiesError(#[source] serde_json::Error);

/// An event's properties, by name.
///
/// ```
/// use event::Properties;
///
/// let properties = Properties::parse(r#"{"plan":"team","seats":25,"mrr":1200.5,"ends_at":"2027-03-31"}"#)?;
/// assert_eq!(properties.str("plan").as_deref(), Some("team"));
/// assert_eq!(properties.u64("seats"), Some(25));
/// assert_eq!(properties.f64("mrr"), Some(1200.5));
/// assert_eq!(properties.timestamp_ms("ends_at"), Some(1_806_451_200_000));
/// assert_eq!(properties.bool("removed"), None);
/// # Ok::<(), event::properties::PropertiesError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Properties<'a> {
    entries: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Properties<'a> {
    /// The times that properties can hold, in milliseconds since the Unix epoch.
    pub const TIMES: RangeInclusive<i64> = TIME_RANGE.0..=TIME_RANGE.1;

    /// Takes the object apart. The empty text has no properties, as [`Event::properties`] has it.
    ///
    /// [`Event::properties`]: crate::Event::properties
    ///
    /// # Errors
    /// When the text is not one JSON object; never for the properties of an event that was decoded
    /// by this crate.
    pub fn parse(text: &'a str) -> Result<Properties<'a>, PropertiesError> {
        if text.is_empty() {
            return Ok(Properties::default());
        }
        serde_json::from_str(text).map_err(PropertiesError)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names, in the order they were sent.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_ref())
    }

    /// Every name with the JSON text of its value, in the order they were sent.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_ref(), value.get()))
    }

    /// The JSON text of a property, null included; of a name given twice, the last.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(RawValue::get)
    }

    /// A string.
    pub fn str(&self, name: &str) -> Option<Cow<'a, str>> {
        match self.scalar(name)? {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that is not negative, written without a fraction or an exponent, up to
    /// `i64::MAX`.
    pub fn u64(&self, name: &str) -> Option<u64> {
        match self.scalar(name)? {
            Scalar::Integer(whole) => u64::try_from(whole).ok(),
            _ => None,
        }
    }

    /// Any number.
    pub fn f64(&self, name: &str) -> Option<f64> {
        match self.scalar(name)? {
            Scalar::Integer(whole) => Some(whole as f64),
            Scalar::Float(number) => Some(number),
            _ => None,
        }
    }

    /// True or false.
    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.scalar(name)? {
            Scalar::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A point in time, in milliseconds since the Unix epoch, from RFC 3339 with an offset, an
    /// integer of epoch milliseconds, or a date `YYYY-MM-DD`, which is its midnight in UTC.
    ///
    /// Always within what `jiff::Timestamp::from_millisecond` takes: `9999-12-31` and its like,
    /// which people write for "never", become its greatest value.
    pub fn timestamp_ms(&self, name: &str) -> Option<i64> {
        time_of(&self.scalar(name)?)
    }

    fn find(&self, name: &str) -> Option<&'a RawValue> {
        self.entries
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
    }

    fn scalar(&self, name: &str) -> Option<Scalar<'a>> {
        serde_json::from_str(self.find(name)?.get()).ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Properties<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Properties<'a>, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Properties<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of properties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(Properties { entries })
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A key, borrowed where it holds no escape.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<'a>, D::Error> {
        struct Key;

        impl<'de> Visitor<'de> for Key {
            type Value = Name<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a property's name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Key)
    }
}

/// The point in time that a property's value stands for, within [`TIME_RANGE`].
pub(crate) fn time_of(value: &Scalar<'_>) -> Option<i64> {
    let ms = match value {
        Scalar::Integer(ms) => *ms,
        Scalar::Text(text) => parse_rfc3339(text).or_else(|| parse_date(text))?,
        _ => return None,
    };
    Some(ms.clamp(TIME_RANGE.0, TIME_RANGE.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_type_and_nothing_else() {
        let text = r#"{"s":"a\u00e9b","i":7,"n":-7,"f":1.5,"e":2e3,"t":true,"z":null,"o":{"s":1},"a":[1],
            "big":18446744073709551615,"huge":1e999}"#;
        let properties = Properties::parse(text).unwrap();
        assert_eq!(properties.str("s").as_deref(), Some("aéb"));
        assert_eq!(properties.u64("i"), Some(7));
        assert_eq!(properties.f64("i"), Some(7.0));
        assert_eq!(properties.f64("f"), Some(1.5));
        assert_eq!(properties.f64("e"), Some(2000.0));
        assert_eq!(properties.bool("t"), Some(true));
        assert_eq!(properties.raw("o"), Some(r#"{"s":1}"#));
        assert_eq!(properties.raw("z"), Some("null"));
        for name in ["n", "f", "e", "s", "t", "z", "o", "a", "big", "huge", "missing"] {
            assert_eq!(properties.u64(name), None, "{name}");
        }
        for name in ["i", "t", "z", "o", "a", "missing"] {
            assert_eq!(properties.str(name), None, "{name}");
        }
        assert_eq!(properties.f64("huge"), None);
        assert_eq!(properties.bool("i"), None);
        assert_eq!(properties.names().take(3).collect::<Vec<_>>(), ["s", "i", "n"]);
    }

    #[test]
    fn a_point_in_time_has_three_forms() {
        let text = r#"{"rfc":"1970-01-01T09:00:01+09:00","ms":1000,"date":"1970-01-02","local":"1970-01-01T00:00:01",
            "float":1000.0,"never":"9999-12-31","last":9223372036854775807,"first":-9223372036854775808}"#;
        let properties = Properties::parse(text).unwrap();
        assert_eq!(properties.timestamp_ms("rfc"), Some(1_000));
        assert_eq!(properties.timestamp_ms("ms"), Some(1_000));
        assert_eq!(properties.timestamp_ms("date"), Some(86_400_000));
        assert_eq!(properties.timestamp_ms("local"), None);
        assert_eq!(properties.timestamp_ms("float"), None);
        for (name, further) in [("never", 1), ("last", 1), ("first", -1)] {
            let ms = properties.timestamp_ms(name).unwrap();
            assert!(jiff::Timestamp::from_millisecond(ms).is_ok(), "{name}");
            assert!(jiff::Timestamp::from_millisecond(ms + further).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_given_twice_is_its_last_value_and_escapes_in_names_are_read() {
        let properties = Properties::parse(r#"{"a":1,"\u0062":2,"a":3}"#).unwrap();
        assert_eq!(properties.u64("a"), Some(3));
        assert_eq!(properties.u64("b"), Some(2));
    }

    #[test]
    fn no_text_has_no_properties_and_what_is_no_object_is_an_error() {
        assert!(Properties::parse("").unwrap().is_empty());
        assert!(Properties::parse("{}").unwrap().is_empty());
        for text in ["[]", "3", "null", "{", "{}x", "{\"a\":}"] {
            assert!(Properties::parse(text).is_err(), "{text}");
        }
    }
}
