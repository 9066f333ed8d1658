//! JSON values read without building a tree.
//!
//! What passes [`check`] is safe for every later reader: it never nests deeper than [`MAX_DEPTH`]
//! and holds no escape that is not a character.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::rejection::{Reason, Rejection};

/// How deep arrays and objects may nest, counting the event itself.
pub(crate) const MAX_DEPTH: usize = 127;

/// A JSON value, of which only what fits in a word or a text is kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Scalar<'a> {
    /// The field is not there.
    #[default]
    Absent,
    Null,
    Bool(bool),
    Integer(i64),
    /// A number that is not a 64-bit integer as written: a fraction, an exponent, or out of range.
    Float(f64),
    Text(Cow<'a, str>),
    Array,
    Object,
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar<'a>, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Scalar<'de>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Object)
    }
}

/// Refuses what the JSON reader would let pass in the parts that it only skims.
pub(crate) fn check(text: &str) -> Result<(), Rejection> {
    let bytes = text.as_bytes();
    // Few openings cannot nest deep, and nearly no event has many, or any escape. '[' and '{' differ
    // in one bit, and counting within chunks whose count fits in a byte lets the compiler compare
    // many bytes at once.
    let mut openings = 0;
    let mut has_escapes = false;
    for chunk in bytes.chunks(128) {
        let mut openings_here = 0_u8;
        let mut escapes_here = 0_u8;
        for &byte in chunk {
            openings_here += u8::from(byte | 0x20 == b'{');
            escapes_here |= u8::from(byte == b'\\');
        }
        openings += usize::from(openings_here);
        has_escapes |= escapes_here != 0;
    }

    if openings > MAX_DEPTH && nests_too_deep(bytes) {
        let detail = format!("the event nests deeper than {MAX_DEPTH} levels: flatten its properties");
        return Err(Rejection::new(Reason::NotJson, detail));
    }
    if has_escapes && let Some(at) = lone_surrogate(bytes) {
        let detail = format!("the escape at byte {at} is half a surrogate pair: escape whole characters");
        return Err(Rejection::new(Reason::NotJson, detail));
    }
    Ok(())
}

/// The rejection for a payload that the JSON reader refused.
pub(crate) fn refused(error: &serde_json::Error) -> Rejection {
    // The reader's syntax errors are fixed words with a line and a column, never the input.
    Rejection::new(
        Reason::NotJson,
        format!("the payload is not one JSON text: {error}"),
    )
}

fn nests_too_deep(bytes: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut position = 0;
    while position < bytes.len() {
        match bytes[position] {
            b'\\' if in_string => position += 1,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        position += 1;
    }
    false
}

/// Where an escape stands that is one half of a surrogate pair without the other.
fn lone_surrogate(bytes: &[u8]) -> Option<usize> {
    let mut position = 0;
    while position < bytes.len() {
        if bytes[position] != b'\\' {
            position += 1;
            continue;
        }
        match escaped_unit(bytes, position) {
            Some(0xD800..=0xDBFF) => {
                let low = escaped_unit(bytes, position + 6);
                if !matches!(low, Some(0xDC00..=0xDFFF)) {
                    return Some(position);
                }
                position += 12;
            }
            Some(0xDC00..=0xDFFF) => return Some(position),
            Some(_) => position += 6,
            None => position += 2,
        }
    }
    None
}

/// The UTF-16 unit of an escape `\uXXXX` that begins at `position`.
fn escaped_unit(bytes: &[u8], position: usize) -> Option<u16> {
    let escape = bytes.get(position..position + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!nests_too_deep(nested(MAX_DEPTH).as_bytes()));
        assert!(nests_too_deep(nested(MAX_DEPTH + 1).as_bytes()));
        assert!(!nests_too_deep(
            format!("[\"\\\"{}\"]", "[".repeat(500)).as_bytes()
        ));
        assert!(!nests_too_deep("[],".repeat(500).as_bytes()));
    }

    #[test]
    fn half_a_surrogate_pair_is_found() {
        for sound in [
            r#""a\u0041""#,
            r#""\ud83d\ude00""#,
            r#""\\ud800""#,
            r#""\n""#,
            "\"\"",
            r#""\\\\u""#,
        ] {
            assert_eq!(lone_surrogate(sound.as_bytes()), None, "{sound}");
        }
        for (broken, at) in [
            (r#""\ud83d""#, 1),
            (r#""x\ude00""#, 2),
            (r#""\ud83d\u0041""#, 1),
            (r#""\\\ud83d\n""#, 3),
        ] {
            assert_eq!(lone_surrogate(broken.as_bytes()), Some(at), "{broken}");
        }
    }
}
