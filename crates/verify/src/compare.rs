//! When a stored value and a recomputed one are the same.
//!
//! Whole numbers and words must be equal. Floats may differ by 1e-9, absolutely or relative to the
//! greater: two ways to add up the same numbers round differently.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::Definition;

/// What floats may differ by.
const TOLERANCE: f64 = 1e-9;

/// Columns of a row that say where it comes from.
const PROVENANCE: [&str; 8] = [
    "account_id",
    "evaluated_at",
    "evaluated_ms",
    "watermark",
    "version",
    "cut_offset",
    "is_daily",
    "model_hash",
];

/// A row as the server answered it, by column.
pub(crate) type Row = Map<String, Value>;

/// A stored value that is not what the events say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The account.
    pub account_id: String,
    /// `account_daily`, `account_metrics` or `account_scores`.
    pub table: &'static str,
    /// The row: the instant of an evaluation (RFC 3339), or a local day.
    pub at: String,
    /// The column, or `row` when one of the two has no such row.
    pub column: String,
    /// What the table holds; null when unknown or missing.
    pub stored: Value,
    /// What the events say.
    pub recomputed: Value,
}

/// The columns of an evaluation's two rows that differ, as table, column, stored and recomputed.
pub(crate) fn evaluation(
    definition: &Definition,
    metrics: &Row,
    scores: &Row,
    recomputed: &Row,
) -> Vec<(&'static str, String, Value, Value)> {
    let mut found = Vec::new();
    for (table, stored) in [("account_metrics", metrics), ("account_scores", scores)] {
        for (column, value) in stored {
            if PROVENANCE.contains(&column.as_str()) {
                continue;
            }
            let computed = recomputed.get(column).unwrap_or(&Value::Null);
            let is_same = recomputed.contains_key(column)
                && match column.as_str() {
                    "drivers" => same_drivers(value, computed),
                    "band" => value == computed || is_band_of_stored(definition, scores, recomputed),
                    _ => same(value, computed),
                };
            if !is_same {
                found.push((table, column.clone(), value.clone(), computed.clone()));
            }
        }
    }
    for (column, computed) in recomputed {
        let is_stored = metrics.contains_key(column) || scores.contains_key(column);
        if !is_stored && !PROVENANCE.contains(&column.as_str()) {
            found.push(("account_metrics", column.clone(), Value::Null, computed.clone()));
        }
    }
    found
}

/// The columns of a daily row that differ, as column, stored and recomputed.
pub(crate) fn day(stored: &Row, recomputed: &Row) -> Vec<(String, Value, Value)> {
    recomputed
        .iter()
        .filter(|(column, _)| !matches!(column.as_str(), "account_id" | "day"))
        .filter_map(|(column, computed)| {
            let value = stored.get(column).unwrap_or(&Value::Null);
            (!same(value, computed)).then(|| (column.clone(), value.clone(), computed.clone()))
        })
        .collect()
}

/// Health within the tolerance of a bound may lie on either side of it.
fn is_band_of_stored(definition: &Definition, stored: &Row, recomputed: &Row) -> bool {
    let (Some(health), Some(computed)) = (
        stored.get("health").and_then(Value::as_f64),
        recomputed.get("health").and_then(Value::as_f64),
    ) else {
        return false;
    };
    let band = if health <= definition.red_up_to {
        "red"
    } else if health <= definition.yellow_up_to {
        "yellow"
    } else {
        "green"
    };
    close(health, computed) && stored.get("band").and_then(Value::as_str) == Some(band)
}

fn close(one: f64, other: f64) -> bool {
    let greater = one.abs().max(other.abs()).max(1.0);
    (one - other).abs() <= TOLERANCE * greater
}

fn same(stored: &Value, computed: &Value) -> bool {
    match (stored, computed) {
        (Value::Number(one), Value::Number(other)) => {
            let are_whole = !one.is_f64() && !other.is_f64();
            if are_whole {
                return one == other;
            }
            match (one.as_f64(), other.as_f64()) {
                (Some(one), Some(other)) => close(one, other),
                _ => false,
            }
        }
        (Value::Array(ones), Value::Array(others)) => {
            ones.len() == others.len() && ones.iter().zip(others).all(|(one, other)| same(one, other))
        }
        (Value::Object(ones), Value::Object(others)) => {
            ones.len() == others.len()
                && ones
                    .iter()
                    .all(|(name, one)| others.get(name).is_some_and(|other| same(one, other)))
        }
        _ => stored == computed,
    }
}

/// Drivers are the same when each is, and when those stored stand in order: near ties may stand either
/// way round. One of no points at all may be there or not.
fn same_drivers(stored: &Value, computed: &Value) -> bool {
    let (Some(stored), Some(computed)) = (stored.as_array(), computed.as_array()) else {
        return false;
    };
    let text = |driver: &Value, field: &str| driver.get(field).and_then(Value::as_str).map(str::to_owned);
    let points = |driver: &Value| driver.get("points").and_then(Value::as_f64).unwrap_or(f64::NAN);
    let key = |driver: &Value| (text(driver, "score"), text(driver, "input"));
    let covers = |these: &[Value], those: &[Value]| {
        these.iter().all(|one| {
            let twin = those
                .iter()
                .any(|other| key(one) == key(other) && same(one, other));
            twin || (close(points(one), 0.0) && !those.iter().any(|other| key(one) == key(other)))
        })
    };
    let place = |driver: &Value| match driver.get("score").and_then(Value::as_str) {
        Some("health") => 0,
        Some("churn_risk") => 1,
        _ => 2,
    };
    let are_ordered = stored.windows(2).all(|pair| {
        let (one, next) = (&pair[0], &pair[1]);
        let (strong, weak) = (points(one).abs(), points(next).abs());
        place(one) < place(next)
            || (place(one) == place(next) && strong >= weak - TOLERANCE * strong.max(1.0))
    });
    covers(stored, computed) && covers(computed, stored) && are_ordered
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn floats_may_differ_by_a_billionth_and_nothing_else_may() {
        assert!(same(&json!(0.1 + 0.2), &json!(0.3)));
        assert!(same(&json!(100), &json!(99.999_999_999_99)));
        assert!(same(&json!(1e12), &json!(1e12 + 1.0)));
        assert!(!same(&json!(0.3), &json!(0.300_000_01)));
        assert!(!same(&json!(3_000_000_000_u64), &json!(3_000_000_001_u64)));
        assert!(!same(&json!(null), &json!(0)));
        assert!(same(&json!(["a", {"b": 1.0}]), &json!(["a", {"b": 1.0 + 1e-12}])));
        assert!(!same(&json!(["a", "b"]), &json!(["b", "a"])));
    }

    #[test]
    fn drivers_must_agree_and_stand_in_order() {
        let driver = |input: &str, points: f64| json!({"score": "health", "input": input, "value": 1.0, "baseline": null, "points": points});
        let two = json!([driver("a", 3.0), driver("b", -1.0)]);
        assert!(same_drivers(&two, &two));
        assert!(!same_drivers(&json!([driver("b", -1.0), driver("a", 3.0)]), &two));
        assert!(!same_drivers(&json!([driver("a", 3.0)]), &two));
        assert!(!same_drivers(&json!([driver("a", 3.0), driver("b", 1.0)]), &two));
        assert!(same_drivers(
            &json!([driver("a", 3.0), driver("b", -1.0), driver("c", 0.0)]),
            &two
        ));
        let tied = json!([driver("a", 3.0), driver("b", 3.0 + 1e-15)]);
        assert!(same_drivers(&tied, &json!([driver("b", 3.0), driver("a", 3.0)])));
    }

    #[test]
    fn a_band_may_be_that_of_either_side_of_a_bound_only_where_health_touches_it() {
        let definition = Definition::default();
        let row = |health: f64, band: &str| match json!({"health": health, "band": band}) {
            Value::Object(row) => row,
            _ => Row::new(),
        };
        let differing = |stored: Row, computed: Row| evaluation(&definition, &Row::new(), &stored, &computed);
        assert!(differing(row(50.0 + 1e-14, "yellow"), row(50.0, "red")).is_empty());
        assert_eq!(differing(row(50.0, "yellow"), row(50.0, "red")).len(), 1);
        assert_eq!(differing(row(60.0, "red"), row(60.0, "yellow")).len(), 1);
    }
}
