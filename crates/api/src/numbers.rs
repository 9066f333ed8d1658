//! Every number of an account with its unit and its name, in the order in which people read them.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Json};
use store::MetricsRow;

use crate::words::{Words, label};

/// What a number counts; `ratio` is 1 for 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Logins,
    LoginsPerUser,
    Days,
    /// Days that are neither weekend nor holiday.
    Workdays,
    Users,
    Ratio,
    Seats,
    Features,
    Uses,
    UsesPerUser,
    /// Deviations from what is usual.
    Sigmas,
    Milestones,
    Actions,
    State,
    Tickets,
    /// Of a survey.
    Score,
    Departments,
    Errors,
    Events,
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

impl Value {
    fn read(written: &Json) -> Value {
        match written {
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Whole(whole),
                (None, Some(real)) => Value::Real(real),
                (None, None) => Value::Unknown,
            },
            Json::String(word) => Value::Word(word.clone()),
            Json::Array(words) => {
                let words = words.iter().filter_map(|word| word.as_str());
                Value::Words(words.map(str::to_string).collect())
            }
            Json::Null | Json::Bool(_) | Json::Object(_) => Value::Unknown,
        }
    }
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
    /// The numbers of a row that was answered as JSON; what the row lacks is unknown.
    pub(crate) fn read(row: &Map<String, Json>) -> Numbers {
        let Numbers(mut numbers) = Numbers::of(&MetricsRow::default());
        for (name, number) in &mut numbers {
            number.value = row.get(*name).map_or(Value::Unknown, Value::read);
        }
        Numbers(numbers)
    }

    pub(crate) fn of(row: &MetricsRow) -> Numbers {
        // Taken apart in full, so that a new number cannot be forgotten here.
        let MetricsRow {
            account_id: _,
            evaluated_at: _,
            version: _,
            watermark: _,
            cut_offset: _,
            is_daily: _,
            milestones: _,
            logins_1d,
            logins_7d,
            logins_28d,
            logins_90d,
            logins_prior_28d,
            logins_trend,
            logins_week_ratio,
            logins_per_user_28d,
            days_since_last_login,
            days_since_last_active,
            workdays_since_last_login,
            workdays_since_last_active,
            active_users_1d,
            active_users_7d,
            active_users_28d,
            active_users_prior_28d,
            active_users_trend,
            stickiness,
            segment_stickiness,
            relative_stickiness,
            seats,
            seat_utilisation,
            key_features_used_28d,
            feature_breadth,
            advanced_features_used_28d,
            usage_28d,
            usage_prior_28d,
            usage_trend,
            feature_depth,
            usage_z,
            top_user_share,
            ttv_days,
            ttv_running_days,
            milestones_done,
            milestones_total,
            account_age_days,
            days_in_stage,
            sticky_actions,
            open_tickets,
            oldest_open_ticket_days,
            oldest_unanswered_ticket_days,
            open_ticket_age_days,
            open_escalations,
            escalations_90d,
            tickets_opened_90d,
            nps,
            csat,
            last_nps,
            days_since_last_nps,
            champion_days_silent,
            decision_maker_days_silent,
            champions_removed_28d,
            new_departments_28d,
            mrr,
            days_to_renewal,
            days_to_discount_end,
            downgrades_28d,
            errors_7d,
            errors_usual_7d,
            errors_trend,
            empty_searches_28d,
            engagements_28d,
            usual_gap_workdays,
            onboarding_state,
            unused_key_features,
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
        add(
            "workdays_since_last_login",
            whole(*workdays_since_last_login),
            Unit::Workdays,
        );
        add(
            "workdays_since_last_active",
            whole(*workdays_since_last_active),
            Unit::Workdays,
        );
        add("usual_gap_workdays", real(*usual_gap_workdays), Unit::Workdays);
        add("logins_1d", whole(Some(*logins_1d)), Unit::Logins);
        add("logins_7d", whole(Some(*logins_7d)), Unit::Logins);
        add("logins_28d", whole(Some(*logins_28d)), Unit::Logins);
        add("logins_90d", whole(Some(*logins_90d)), Unit::Logins);
        add("logins_prior_28d", whole(*logins_prior_28d), Unit::Logins);
        add("logins_trend", real(*logins_trend), Unit::Ratio);
        add("logins_week_ratio", real(*logins_week_ratio), Unit::Ratio);
        add(
            "logins_per_user_28d",
            real(*logins_per_user_28d),
            Unit::LoginsPerUser,
        );
        add("active_users_1d", whole(Some(*active_users_1d)), Unit::Users);
        add("active_users_7d", whole(Some(*active_users_7d)), Unit::Users);
        add("active_users_28d", whole(Some(*active_users_28d)), Unit::Users);
        add(
            "active_users_prior_28d",
            whole(*active_users_prior_28d),
            Unit::Users,
        );
        add("active_users_trend", real(*active_users_trend), Unit::Ratio);
        add("stickiness", real(*stickiness), Unit::Ratio);
        add("segment_stickiness", real(*segment_stickiness), Unit::Ratio);
        add("relative_stickiness", real(*relative_stickiness), Unit::Ratio);
        add("seats", whole(*seats), Unit::Seats);
        add("seat_utilisation", real(*seat_utilisation), Unit::Ratio);
        add("usage_28d", counted(Some(*usage_28d)), Unit::Uses);
        add("usage_prior_28d", counted(*usage_prior_28d), Unit::Uses);
        add("usage_trend", real(*usage_trend), Unit::Ratio);
        add("usage_z", real(*usage_z), Unit::Sigmas);
        add("top_user_share", real(*top_user_share), Unit::Ratio);
        add(
            "key_features_used_28d",
            whole(*key_features_used_28d),
            Unit::Features,
        );
        add("feature_breadth", real(*feature_breadth), Unit::Ratio);
        add(
            "advanced_features_used_28d",
            whole(*advanced_features_used_28d),
            Unit::Features,
        );
        add("feature_depth", real(*feature_depth), Unit::UsesPerUser);
        add(
            "unused_key_features",
            Value::Words(unused_key_features.clone()),
            Unit::Features,
        );
        add("ttv_days", real(*ttv_days), Unit::Days);
        add("ttv_running_days", real(*ttv_running_days), Unit::Days);
        add(
            "onboarding_state",
            onboarding_state.clone().map_or(Value::Unknown, Value::Word),
            Unit::State,
        );
        add("milestones_done", whole(*milestones_done), Unit::Milestones);
        add("milestones_total", whole(*milestones_total), Unit::Milestones);
        add("sticky_actions", whole(*sticky_actions), Unit::Actions);
        add("account_age_days", real(*account_age_days), Unit::Days);
        add("days_in_stage", real(*days_in_stage), Unit::Days);
        add("open_tickets", whole(Some(*open_tickets)), Unit::Tickets);
        add(
            "oldest_open_ticket_days",
            real(*oldest_open_ticket_days),
            Unit::Days,
        );
        add(
            "oldest_unanswered_ticket_days",
            real(*oldest_unanswered_ticket_days),
            Unit::Days,
        );
        add("open_ticket_age_days", real(*open_ticket_age_days), Unit::Days);
        add("open_escalations", whole(*open_escalations), Unit::Tickets);
        add("escalations_90d", whole(Some(*escalations_90d)), Unit::Tickets);
        add(
            "tickets_opened_90d",
            whole(Some(*tickets_opened_90d)),
            Unit::Tickets,
        );
        add("nps", real(*nps), Unit::Score);
        add("csat", real(*csat), Unit::Score);
        add("last_nps", real(*last_nps), Unit::Score);
        add("days_since_last_nps", whole(*days_since_last_nps), Unit::Days);
        add("champion_days_silent", whole(*champion_days_silent), Unit::Days);
        add(
            "decision_maker_days_silent",
            whole(*decision_maker_days_silent),
            Unit::Days,
        );
        add(
            "champions_removed_28d",
            whole(Some(*champions_removed_28d)),
            Unit::Users,
        );
        add(
            "new_departments_28d",
            whole(*new_departments_28d),
            Unit::Departments,
        );
        add("errors_7d", whole(Some(*errors_7d)), Unit::Errors);
        add("errors_usual_7d", real(*errors_usual_7d), Unit::Errors);
        add("errors_trend", real(*errors_trend), Unit::Ratio);
        add(
            "empty_searches_28d",
            whole(Some(*empty_searches_28d)),
            Unit::Events,
        );
        add("engagements_28d", whole(Some(*engagements_28d)), Unit::Events);
        add("mrr", real(*mrr), Unit::Money);
        add("days_to_renewal", whole(*days_to_renewal), Unit::Days);
        add("days_to_discount_end", whole(*days_to_discount_end), Unit::Days);
        add("downgrades_28d", whole(Some(*downgrades_28d)), Unit::Events);
        Numbers(numbers)
    }
}

fn whole<T: Into<i64>>(value: Option<T>) -> Value {
    value.map_or(Value::Unknown, |value| Value::Whole(value.into()))
}

fn counted(value: Option<u64>) -> Value {
    value.map_or(Value::Unknown, |value| {
        Value::Whole(i64::try_from(value).unwrap_or(i64::MAX))
    })
}

fn real(value: Option<f64>) -> Value {
    value.map_or(Value::Unknown, Value::Real)
}
