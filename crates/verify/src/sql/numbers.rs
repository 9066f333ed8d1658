//! The formulas of `account_metrics`.

use std::collections::BTreeSet;

use super::{float, lines, text, texts};
use crate::Definition;

/// How far back working days are counted: the day numbers of older holidays are left out.
const HOLIDAYS_BACK_DAYS: i64 = 366 * 40;

/// Functions that tell working days, by the calendar of the zone.
pub(super) fn working_days(definition: &Definition, zones: &BTreeSet<&str>, latest_ms: i64) -> String {
    let last_day = latest_ms.div_euclid(86_400_000) + 2;
    let days_off = |of: &dyn Fn(&crate::Calendar) -> String, otherwise: &str| {
        let mut branches: Vec<String> = Vec::new();
        for zone in zones {
            if let Some(calendar) = definition.calendar(zone) {
                branches.push(format!("zone = {}, {}", text(zone), of(calendar)));
            }
        }
        branches.push(otherwise.to_string());
        match branches.as_slice() {
            [only] => only.clone(),
            _ => format!("multiIf(\n        {})", branches.join(",\n        ")),
        }
    };
    let weekend = days_off(
        &|calendar| format!("CAST({:?}, 'Array(UInt8)')", calendar.weekend),
        "CAST([6, 7], 'Array(UInt8)')",
    );
    let holidays = days_off(
        &|calendar| {
            let near: Vec<i32> = calendar
                .holidays
                .iter()
                .copied()
                .filter(|day| {
                    let day = i64::from(*day);
                    day <= last_day && day >= last_day - HOLIDAYS_BACK_DAYS
                })
                .collect();
            format!("CAST({near:?}, 'Array(Int32)')")
        },
        "CAST([], 'Array(Int32)')",
    );
    format!(
        "    -- Days of the week that are off (1 is Monday; 1970-01-01 was a Thursday), and holidays.
    (zone -> {weekend}) AS weekend_of,
    (zone -> {holidays}) AS holidays_of,
    -- Working days strictly between two days, without those among `others`.
    ((first, last, zone, others) -> if(isNull(first), NULL, toNullable(arrayCount(
        day -> NOT has(weekend_of(zone), positiveModulo(day + 3, 7) + 1)
            AND NOT has(holidays_of(zone), day) AND NOT has(others, day),
        range(assumeNotNull(first) + 1, greatest(assumeNotNull(first) + 1, last)))))) AS workdays_between,
    (list -> (arraySort(list)[intDiv(length(list) + 1, 2)] + arraySort(list)[intDiv(length(list), 2) + 1]) / 2) AS median_of,
    -- A quotient, unknown where it is of nothing.
    ((share, whole) -> if(ifNull(whole, 0) = 0, NULL, share / whole)) AS ratio"
    )
}

/// The tables `started`, with the start and what follows from it, and `numbers`.
pub(super) fn numbers(definition: &Definition) -> String {
    [
        started(definition),
        onboarding(definition),
        measured(definition),
        numbers_of_numbers(),
    ]
    .join(",\n")
}

/// A nullable name looked up in a configured map.
fn looked_up(column: &str, map: &std::collections::BTreeMap<String, String>) -> String {
    if map.is_empty() {
        return "CAST(NULL, 'Nullable(String)')".to_string();
    }
    let branches: Vec<String> = map
        .iter()
        .map(|(key, name)| format!("{column} = {}, {}", text(key), text(name)))
        .collect();
    format!("multiIf({}, NULL)", branches.join(", "))
}

fn started(definition: &Definition) -> String {
    format!(
        "    started AS
    (
        SELECT *,
            first_day <= this_day - 55 AS is_long_enough,
            multiIf(
                isNotNull(trial_started_at) AND (isNull(contract_started_at) OR trial_started_at <= contract_started_at), trial_started_at,
                isNotNull(contract_started_at), contract_started_at,
                isNotNull(signed_up_at), signed_up_at,
                toNullable(first_at)) AS start_at,
            coalesce(told_value_event, {by_plan}, {by_segment}, {default}) AS value_event,
            if(mapContains(first_by_name, assumeNotNull(value_event)), toNullable(first_by_name[assumeNotNull(value_event)]), NULL) AS value_at,
            days_between(start_at, evaluated_at) AS account_age_days,
            coalesce(contract_seats, account_seats) AS told_seats,
            if(told_seats >= 1, told_seats, NULL) AS seats
        FROM gathered
    )",
        by_plan = looked_up("coalesce(contract_plan, account_plan)", &definition.value_events_by_plan),
        by_segment = looked_up("segment", &definition.value_events_by_segment),
        default = text(&definition.value_event),
    )
}

/// Milestones: a step is (name, expected days, time reached).
fn onboarding(definition: &Definition) -> String {
    let steps = lines(16, &definition.milestones, |milestone| {
        let name = text(&milestone.name);
        format!(
            "({name}, {}, if(mapContains(first_by_name, {name}), toNullable(first_by_name[{name}]), NULL))",
            float(milestone.expected_days)
        )
    });
    let stalled = float(definition.stalled_after_days);
    format!(
        "    stepped AS
    (
        SELECT *,
            CAST([{steps}], 'Array(Tuple(name String, expected_days Float64, reached_at Nullable(Int64)))') AS steps,
            -- The newest of the start and the milestones reached, of all and of those before each.
            arrayMax(arrayConcat([assumeNotNull(start_at)],
                arrayMap(s -> assumeNotNull(s.reached_at), arrayFilter(s -> isNotNull(s.reached_at), steps)))) AS newest_step_at,
            arrayMap(place -> arrayMax(arrayConcat([assumeNotNull(start_at)],
                arrayMap(s -> assumeNotNull(s.reached_at), arrayFilter(s -> isNotNull(s.reached_at), arraySlice(steps, 1, place - 1))))),
                arrayEnumerate(steps)) AS steps_since,
            arrayFirstIndex(s -> isNull(s.reached_at), steps) AS waited_for,
            arrayMap(s -> multiIf(
                isNotNull(s.reached_at), 0,
                assumeNotNull(account_age_days) - s.expected_days <= 0, 1,
                assumeNotNull(account_age_days) - s.expected_days >= {stalled}
                    AND assumeNotNull(days_between(newest_step_at, evaluated_at)) >= {stalled}, 3,
                2), steps) AS step_states,
            ['done', 'on_track', 'behind', 'stalled'] AS state_names
        FROM started
    )"
    )
}

fn measured(definition: &Definition) -> String {
    let key_features = texts(definition.key_features.iter().map(String::as_str));
    let has_key_features = !definition.key_features.is_empty();
    let advanced = texts(definition.advanced_features.iter().map(String::as_str));
    let sticky: Vec<String> = definition
        .sticky_actions
        .iter()
        .map(|action| match action.as_str() {
            "second_member" => "(users_ever_active >= 2)".to_string(),
            name => format!("mapContains(first_by_name, {})", text(name)),
        })
        .collect();
    let unless = |is_configured: bool, formula: String| {
        if is_configured {
            format!("toNullable({formula})")
        } else {
            "CAST(NULL, 'Nullable(UInt32)')".to_string()
        }
    };
    format!(
        "    measured AS
    (
        SELECT *,
            if(is_long_enough, toNullable(logins_before), NULL) AS logins_prior_28d,
            ratio(logins_28d, logins_prior_28d) AS logins_trend,
            ratio(logins_7d, logins_28d / 4) AS logins_week_ratio,
            multiIf(active_users_28d > 0, toNullable(logins_28d / active_users_28d), users_ever_active > 0, 0, NULL) AS logins_per_user_28d,
            this_day - last_login_day AS days_since_last_login,
            this_day - last_active_day AS days_since_last_active,
            workdays_between(last_login_day, this_day, zone, CAST([], 'Array(Int32)')) AS workdays_since_last_login,
            workdays_between(last_active_day, this_day, zone, CAST([], 'Array(Int32)')) AS workdays_since_last_active,
            if(is_long_enough, toNullable(active_users_before), NULL) AS active_users_prior_28d,
            ratio(active_users_28d, active_users_prior_28d) AS active_users_trend,
            ratio(user_days_28d / 28, active_users_28d) AS stickiness,
            ratio(stickiness, segment_stickiness) AS relative_stickiness,
            ratio(active_users_28d, seats) AS seat_utilisation,
            {key_features} AS key_features,
            arrayFilter(feature -> NOT has(features_28d, feature), key_features) AS unused_key_features,
            {key_used} AS key_features_used_28d,
            key_features_used_28d / length(key_features) AS feature_breadth,
            {advanced_used} AS advanced_features_used_28d,
            if(is_long_enough, toNullable(usage_before), NULL) AS usage_prior_28d,
            ratio(usage_28d, usage_prior_28d) AS usage_trend,
            ratio(usage_28d, active_users_28d) AS feature_depth,
            arrayFilter((uses, week) -> this_day - 7 * week - 6 >= first_day, arraySlice(weekly_uses, 2), range(1, 12)) AS whole_weeks,
            median_of(whole_weeks) AS usual_week,
            if(length(whole_weeks) < 4, NULL, toNullable((weekly_uses[1] - usual_week)
                / arrayMax([1.4826 * median_of(arrayMap(uses -> abs(uses - usual_week), whole_weeks)),
                    sqrt(arrayMax([usual_week, 1.]))]))) AS usage_z,
            ratio(top_user_uses, named_uses) AS top_user_share,
            days_between(start_at, value_at) AS ttv_days,
            if(isNull(value_at), account_age_days, NULL) AS ttv_running_days,
            {milestones_done} AS milestones_done,
            {milestones_total} AS milestones_total,
            {onboarding_state} AS onboarding_state_number,
            {sticky_actions} AS sticky_actions,
            days_between(oldest_opened_at, evaluated_at) AS oldest_open_ticket_days,
            days_between(oldest_unanswered_at, evaluated_at) AS oldest_unanswered_ticket_days,
            multiIf(open_tickets > 0, oldest_open_ticket_days, tickets_opened_90d > 0, 0, NULL) AS open_ticket_age_days,
            if(open_tickets > 0 OR tickets_opened_90d > 0, toNullable(open_escalated), NULL) AS open_escalations,
            100 * nps_sum / nps_weight AS nps,
            csat_sum / csat_weight AS csat,
            this_day - last_nps_day AS days_since_last_nps,
            if(departments_known = 0 OR first_active_day > this_day - 28, NULL, toNullable(departments_begun)) AS new_departments_28d,
            local_day(ends_at, zone) - this_day AS days_to_renewal,
            local_day(discount_ends_at, zone) - this_day AS days_to_discount_end,
            if(first_day > this_day - 34, NULL, toNullable(errors_before / 4)) AS errors_usual_7d,
            ratio(errors_7d, errors_usual_7d) AS errors_trend,
            if(length(active_days_90d) < 2, NULL,
                workdays_between(toNullable(active_days_90d[1]), active_days_90d[-1], zone, active_days_90d) / (length(active_days_90d) - 1)) AS usual_gap_workdays,
            -- The same formulas over the 28 days before.
            if(is_long_enough, multiIf(active_users_before > 0, toNullable(logins_before / active_users_before),
                users_active_before_prior > 0, 0, NULL), NULL) AS logins_per_user_before,
            if(is_long_enough, ratio(active_users_before, seats), NULL) AS seat_utilisation_before,
            if(is_long_enough, {key_used_before} / length(key_features), NULL) AS feature_breadth_before,
            if(is_long_enough, ratio(usage_before, active_users_before), NULL) AS feature_depth_before,
            if(is_long_enough, ratio(top_user_uses_before, named_uses_before), NULL) AS top_user_share_before
        FROM stepped
    )",
        key_used = unless(has_key_features, "length(arrayFilter(feature -> has(features_28d, feature), key_features))".into()),
        key_used_before = unless(has_key_features, "length(arrayFilter(feature -> has(features_before, feature), key_features))".into()),
        advanced_used = unless(
            !definition.advanced_features.is_empty(),
            format!("length(arrayFilter(feature -> has(features_28d, feature), {advanced}))")
        ),
        milestones_done = unless(!definition.milestones.is_empty(), "arrayCount(state -> state = 0, step_states)".into()),
        milestones_total = unless(!definition.milestones.is_empty(), "length(steps)".into()),
        onboarding_state = unless(!definition.milestones.is_empty(), "arrayMax(step_states)".into()),
        sticky_actions = unless(!sticky.is_empty(), sticky.join(" + ")),
    )
}

/// Columns whose formula follows from others of `measured`, and the milestones as they are stored.
fn numbers_of_numbers() -> String {
    "    numbers AS
    (
        SELECT *,
            if(isNull(onboarding_state_number), NULL, toNullable(state_names[assumeNotNull(onboarding_state_number) + 1])) AS onboarding_state,
            arrayMap((s, state, since, place) -> CAST((
                s.name,
                state_names[state + 1],
                if(isNull(s.reached_at), NULL, toNullable(fromUnixTimestamp64Milli(assumeNotNull(s.reached_at), 'UTC'))),
                multiIf(isNotNull(s.reached_at), days_between(toNullable(since), s.reached_at),
                    place = waited_for, days_between(toNullable(since), toNullable(evaluated_at)), NULL)),
                'Tuple(name String, state String, reached_at Nullable(DateTime64(3, \\'UTC\\')), dwell_days Nullable(Float64))'),
                steps, step_states, steps_since, arrayEnumerate(steps)) AS milestones
        FROM measured
    )"
    .to_string()
}
