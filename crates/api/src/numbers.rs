//! Every number of an account with its unit and its name, in the order in which people read them.

use serde::ser::{Serialize, SerializeMap, Serializer};
use store::MetricsRow;

use crate::words::{Words, label};

/// What a number counts; `ratio` is 1 for 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Logins,
    Days,
    Users,
    Ratio,
    Seats,
    Features,
    Uses,
    UsesPerUser,
    Milestones,
    State,
    Tickets,
    /// In the currency of the account's contract.
    Money,
}

/// A number, a word or a list of words; `null` when unknown.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Unknown,
    Whole(i64),
    Real(f64),
    Word(String),
    Words(Vec<String>),
}

#[derive(Debug, serde::Serialize)]
pub(crate) struct Number {
    value: Value,
    unit: Unit,
    label: Words,
}

/// The numbers by name, written as a JSON object in this order.
#[derive(Debug)]
pub(crate) struct Numbers(Vec<(&'static str, Number)>);

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, number) in &self.0 {
            map.serialize_entry(name, number)?;
        }
        map.end()
    }
}

impl Numbers {
    pub(crate) fn of(row: &MetricsRow) -> Numbers {
        // Taken apart in full, so that a new number cannot be forgotten here.
        let MetricsRow {
            account_id: _,
            evaluated_at: _,
            version: _,
            watermark: _,
            logins_1d,
            logins_7d,
            logins_28d,
            logins_90d,
            days_since_last_login,
            days_since_last_active,
            active_users_1d,
            active_users_7d,
            active_users_28d,
            stickiness,
            seats,
            seat_utilisation,
            key_features_used_28d,
            feature_breadth,
            feature_depth,
            unused_key_features,
            usage_28d,
            usage_trend,
            ttv_days,
            ttv_running_days,
            milestones_done,
            milestones_total,
            onboarding_state,
            open_tickets,
            oldest_open_ticket_days,
            mrr,
            days_to_renewal,
        } = row;
        let mut numbers = Vec::new();
        let mut add = |name, value: Value, unit| {
            let label = label(name);
            numbers.push((name, Number { value, unit, label }));
        };
        add("days_since_last_login", whole(*days_since_last_login), Unit::Days);
        add(
            "days_since_last_active",
            whole(*days_since_last_active),
            Unit::Days,
        );
        add("logins_1d", whole(Some(*logins_1d)), Unit::Logins);
        add("logins_7d", whole(Some(*logins_7d)), Unit::Logins);
        add("logins_28d", whole(Some(*logins_28d)), Unit::Logins);
        add("logins_90d", whole(Some(*logins_90d)), Unit::Logins);
        add("active_users_1d", whole(Some(*active_users_1d)), Unit::Users);
        add("active_users_7d", whole(Some(*active_users_7d)), Unit::Users);
        add("active_users_28d", whole(Some(*active_users_28d)), Unit::Users);
        add("stickiness", real(*stickiness), Unit::Ratio);
        add("seats", whole(*seats), Unit::Seats);
        add("seat_utilisation", real(*seat_utilisation), Unit::Ratio);
        add("usage_28d", counted(*usage_28d), Unit::Uses);
        add("usage_trend", real(*usage_trend), Unit::Ratio);
        add(
            "key_features_used_28d",
            whole(*key_features_used_28d),
            Unit::Features,
        );
        add("feature_breadth", real(*feature_breadth), Unit::Ratio);
        add("feature_depth", real(*feature_depth), Unit::UsesPerUser);
        let unused = Value::Words(unused_key_features.clone());
        add("unused_key_features", unused, Unit::Features);
        add("ttv_days", real(*ttv_days), Unit::Days);
        add("ttv_running_days", real(*ttv_running_days), Unit::Days);
        let state = onboarding_state.clone().map_or(Value::Unknown, Value::Word);
        add("onboarding_state", state, Unit::State);
        add("milestones_done", whole(*milestones_done), Unit::Milestones);
        add("milestones_total", whole(*milestones_total), Unit::Milestones);
        add("open_tickets", whole(Some(*open_tickets)), Unit::Tickets);
        let oldest = real(*oldest_open_ticket_days);
        add("oldest_open_ticket_days", oldest, Unit::Days);
        add("mrr", real(*mrr), Unit::Money);
        add("days_to_renewal", whole(*days_to_renewal), Unit::Days);
        Numbers(numbers)
    }
}

fn whole<T: Into<i64>>(value: Option<T>) -> Value {
    value.map_or(Value::Unknown, |value| Value::Whole(value.into()))
}

fn counted(value: u64) -> Value {
    Value::Whole(i64::try_from(value).unwrap_or(i64::MAX))
}

fn real(value: Option<f64>) -> Value {
    value.map_or(Value::Unknown, Value::Real)
}
