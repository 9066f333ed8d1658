//! What an account's covered events say, counted and sorted out; no formula yet.

use std::collections::BTreeSet;

use super::{text, texts};
use crate::Definition;

/// Columns that name a row in every table.
const ROW: &str = "account_id, evaluated_at";

/// The tables of users, departments, tickets, first uses, statements and counts, and `gathered`, which
/// has one row for each row to compute.
pub(super) fn gathered(definition: &Definition) -> String {
    [
        users(),
        people(),
        departments(),
        support(),
        firsts(definition),
        statements(),
        surveys(),
        counts(),
        joined(),
    ]
    .join(",\n")
}

fn users() -> String {
    format!(
        "    -- A row a user. Statements: the newest holds, of two at the same instant the greater hash.
    users AS
    (
        SELECT {ROW}, user_id, any(covered.this_day) AS this_day,
            argMaxOrNull(if(type = 'user', text_in(properties, 'role'), NULL), (at, hash)) AS role,
            argMaxOrNull(if(type = 'user', flag_in(properties, 'removed'), NULL), (at, hash)) AS removed,
            maxOrNullIf(day, type = 'user' AND isNotNull(flag_in(properties, 'removed'))) AS removed_told_day,
            argMaxOrNull(if(type = 'user', text_in(properties, 'department'), NULL), (at, hash)) AS department,
            min(day) AS first_named_day,
            minOrNullIf(day, is_active) AS first_active_day,
            maxOrNullIf(day, is_active) AS last_active_day,
            countIf(is_active AND day BETWEEN covered.this_day - 55 AND covered.this_day - 28) > 0 AS was_active_prior_28d,
            sumIf(uses, day > covered.this_day - 28) AS uses_28d,
            sumIf(uses, day BETWEEN covered.this_day - 55 AND covered.this_day - 28) AS uses_prior_28d
        FROM covered
        WHERE user_id != ''
        GROUP BY {ROW}, user_id
    )"
    )
}

fn people() -> String {
    format!(
        "    people AS
    (
        SELECT {ROW},
            countIf(last_active_day = this_day) AS active_users_1d,
            countIf(last_active_day > this_day - 7) AS active_users_7d,
            countIf(last_active_day > this_day - 28) AS active_users_28d,
            countIf(was_active_prior_28d) AS active_users_before,
            countIf(isNotNull(first_active_day)) AS users_ever_active,
            countIf(first_active_day < this_day - 55) AS users_active_before_prior,
            max(uses_28d) AS top_user_uses,
            sum(uses_28d) AS named_uses,
            max(uses_prior_28d) AS top_user_uses_before,
            sum(uses_prior_28d) AS named_uses_before,
            minOrNullIf(this_day - ifNull(last_active_day, first_named_day),
                role = 'champion' AND NOT ifNull(removed, false)) AS champion_days_silent,
            minOrNullIf(this_day - ifNull(last_active_day, first_named_day),
                role = 'decision_maker' AND NOT ifNull(removed, false)) AS decision_maker_days_silent,
            countIf(role = 'champion' AND removed AND removed_told_day > this_day - 28) AS champions_removed_28d
        FROM users
        GROUP BY {ROW}
    )"
    )
}

fn departments() -> String {
    format!(
        "    departments AS
    (
        SELECT {ROW}, count() AS departments_known, countIf(begun_day > this_day - 28) AS departments_begun
        FROM
        (
            SELECT {ROW}, department, any(users.this_day) AS this_day, min(first_active_day) AS begun_day
            FROM users
            WHERE isNotNull(department)
            GROUP BY {ROW}, department
        )
        GROUP BY {ROW}
    )"
    )
}

fn support() -> String {
    format!(
        "    -- A ticket is open when the newest `opened` is newer than the newest `resolved`.
    tickets AS
    (
        SELECT {ROW}, JSONExtractString(properties, 'ticket_id') AS ticket_id,
            maxOrNullIf(at, name = 'opened') AS opened_at,
            maxOrNullIf(at, name = 'resolved') AS resolved_at,
            maxOrNullIf(at, name = 'replied') AS replied_at,
            maxOrNullIf(at, name = 'escalated') AS escalated_at,
            isNotNull(opened_at) AND (isNull(resolved_at) OR opened_at > resolved_at) AS is_open
        FROM covered
        WHERE type = 'ticket'
        GROUP BY {ROW}, ticket_id
    ),
    support_of AS
    (
        SELECT {ROW},
            countIf(is_open) AS open_tickets,
            minOrNullIf(opened_at, is_open) AS oldest_opened_at,
            minOrNullIf(opened_at, is_open AND NOT ifNull(replied_at >= opened_at, false)) AS oldest_unanswered_at,
            countIf(is_open AND escalated_at >= opened_at) AS open_escalated
        FROM tickets
        GROUP BY {ROW}
    )"
    )
}

/// First times of the names that can matter: milestones, value events and sticky actions.
fn firsts(definition: &Definition) -> String {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    names.extend(
        definition
            .milestones
            .iter()
            .map(|milestone| milestone.name.as_str()),
    );
    names.extend(definition.sticky_actions.iter().map(String::as_str));
    names.extend(definition.value_events_by_plan.values().map(String::as_str));
    names.extend(definition.value_events_by_segment.values().map(String::as_str));
    names.insert(&definition.value_event);
    format!(
        "    -- When each milestone or feature of a name that matters first happened.
    firsts AS
    (
        SELECT {ROW}, CAST((groupArray(first_name), groupArray(first_time)), 'Map(String, Int64)') AS first_by_name
        FROM
        (
            SELECT {ROW}, toString(name) AS first_name, min(at) AS first_time
            FROM covered
            LEFT JOIN
            (
                SELECT {ROW}, argMaxOrNull(text_in(properties, 'value_event'), (at, hash)) AS own_value_event
                FROM covered WHERE type = 'account'
                GROUP BY {ROW}
            ) AS own USING ({ROW})
            WHERE type IN ('milestone', 'feature')
                AND (has({known}, toString(name)) OR ifNull(name = own_value_event, false))
            GROUP BY {ROW}, first_name
        )
        GROUP BY {ROW}
    )",
        known = texts(names),
    )
}

fn statements() -> String {
    let told = |event_type: &str, reader: &str, property: &str, column: &str| {
        format!(
            "            argMaxOrNull(if(type = {}, {reader}(properties, {}), NULL), (at, hash)) AS {column}",
            text(event_type),
            text(property)
        )
    };
    let listed = [
        told("account", "text_in", "plan", "account_plan"),
        told("account", "text_in", "segment", "segment"),
        told("account", "text_in", "tier", "told_tier"),
        told("account", "whole_in", "seats", "account_seats"),
        told("account", "time_in", "signed_up_at", "signed_up_at"),
        told("account", "text_in", "value_event", "told_value_event"),
        told("contract", "amount_in", "mrr", "mrr"),
        told("contract", "text_in", "currency", "currency"),
        told("contract", "time_in", "ends_at", "ends_at"),
        told("contract", "time_in", "discount_ends_at", "discount_ends_at"),
        told("contract", "whole_in", "seats", "contract_seats"),
        told("contract", "text_in", "plan", "contract_plan"),
    ];
    format!(
        "    -- What is told of the account and its contract.
    statements AS
    (
        SELECT {ROW},
{listed},
            minOrNullIf(ifNull(time_in(properties, 'starts_at'), at), type = 'contract' AND name = 'trial_started') AS trial_started_at,
            minOrNullIf(ifNull(time_in(properties, 'starts_at'), at), type = 'contract' AND name = 'started') AS contract_started_at,
            maxOrNullIf(at, type = 'contract' AND name = 'upgraded') AS upgraded_at,
            maxOrNullIf(at, type = 'contract' AND name = 'renewed') AS renewed_at,
            maxOrNullIf(at, type = 'contract' AND name = 'cancelled') AS cancelled_at,
            maxOrNullIf(at, type = 'contract' AND name IN ('downgraded', 'option_removed')) AS downgraded_at,
            maxOrNullIf(at, type = 'contract' AND name != 'cancelled') AS revived_at,
            countIf(type = 'contract' AND name IN ('downgraded', 'option_removed') AND day > covered.this_day - 28) AS downgrades_28d
        FROM covered
        WHERE type IN ('account', 'contract')
        GROUP BY {ROW}
    )",
        listed = listed.join(",\n"),
    )
}

fn surveys() -> String {
    format!(
        "    -- A response weighs 1 - age / 90, its age in local days, for 90 days.
    surveys AS
    (
        SELECT {ROW},
            sumOrNullIf(weight * multiIf(score >= 9, 1, score <= 6, -1, 0), name = 'nps' AND weight > 0) AS nps_sum,
            sumOrNullIf(weight, name = 'nps' AND weight > 0) AS nps_weight,
            sumOrNullIf(weight * score, name = 'csat' AND weight > 0) AS csat_sum,
            sumOrNullIf(weight, name = 'csat' AND weight > 0) AS csat_weight,
            argMaxOrNullIf(score, (at, hash), name = 'nps') AS last_nps,
            maxOrNullIf(day, name = 'nps') AS last_nps_day
        FROM
        (
            SELECT {ROW}, name, at, hash, day, JSONExtractFloat(properties, 'score') AS score,
                (90 - (covered.this_day - day)) / 90 AS weight
            FROM covered
            WHERE type = 'survey'
        )
        GROUP BY {ROW}
    )"
    )
}

fn counts() -> String {
    let weeks: Vec<String> = (0..12)
        .map(|week| {
            format!(
                "sumIf(uses, day BETWEEN covered.this_day - {} AND covered.this_day - {})",
                7 * week + 6,
                7 * week
            )
        })
        .collect();
    format!(
        "    -- Counts over windows of local days.
    counts AS
    (
        SELECT {ROW}, any(covered.this_day) AS this_day,
            min(at) AS first_at,
            min(day) AS first_day,
            countIf(type = 'login' AND day = covered.this_day) AS logins_1d,
            countIf(type = 'login' AND day > covered.this_day - 7) AS logins_7d,
            countIf(type = 'login' AND day > covered.this_day - 28) AS logins_28d,
            countIf(type = 'login' AND day > covered.this_day - 90) AS logins_90d,
            countIf(type = 'login' AND day BETWEEN covered.this_day - 55 AND covered.this_day - 28) AS logins_before,
            maxOrNullIf(day, type = 'login') AS last_login_day,
            minOrNullIf(day, is_active) AS first_active_day,
            maxOrNullIf(day, is_active) AS last_active_day,
            arraySort(groupUniqArrayIf(day, is_active AND day > covered.this_day - 90)) AS active_days_90d,
            uniqExactIf((day, user_id), is_active AND user_id != '' AND day > covered.this_day - 28) AS user_days_28d,
            sumIf(uses, day > covered.this_day - 28) AS usage_28d,
            sumIf(uses, day BETWEEN covered.this_day - 55 AND covered.this_day - 28) AS usage_before,
            [{weeks}] AS weekly_uses,
            groupUniqArrayIf(toString(name), type = 'feature' AND day > covered.this_day - 28) AS features_28d,
            groupUniqArrayIf(toString(name), type = 'feature' AND day BETWEEN covered.this_day - 55 AND covered.this_day - 28) AS features_before,
            countIf(type = 'ticket' AND name = 'escalated' AND day > covered.this_day - 90) AS escalations_90d,
            countIf(type = 'ticket' AND name = 'opened' AND day > covered.this_day - 90) AS tickets_opened_90d,
            countIf(type = 'error' AND day > covered.this_day - 7) AS errors_7d,
            countIf(type = 'error' AND day BETWEEN covered.this_day - 34 AND covered.this_day - 7) AS errors_before,
            countIf(type = 'engagement' AND day > covered.this_day - 28) AS engagements_28d,
            countIf(type = 'engagement' AND day > covered.this_day - 28 AND whole_in(properties, 'results') = 0) AS empty_searches_28d
        FROM covered
        GROUP BY {ROW}
    )",
        weeks = weeks.join(",\n                "),
    )
}

fn joined() -> String {
    format!(
        "    gathered AS
    (
        SELECT *
        FROM counts
        INNER JOIN (SELECT {ROW}, zone, segment_stickiness FROM targets) AS asked USING ({ROW})
        LEFT JOIN people USING ({ROW})
        LEFT JOIN departments USING ({ROW})
        LEFT JOIN support_of USING ({ROW})
        LEFT JOIN firsts USING ({ROW})
        LEFT JOIN statements USING ({ROW})
        LEFT JOIN surveys USING ({ROW})
    )"
    )
}
