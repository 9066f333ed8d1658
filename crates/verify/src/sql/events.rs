//! Which events enter, and the local days on which they happened. What the team does about an account
//! (type `action`) is no deed of the customer and does not enter.

use std::collections::BTreeSet;

use super::{Target, lines, text};

/// Milliseconds of 400 years, after which the calendar repeats.
const GREGORIAN_CYCLE_MS: i64 = 146_097 * 86_400_000;

/// 1900-01-02, from where the server's calendar of 400 years holds in every time zone.
const CALENDAR_FROM_MS: i64 = -2_208_902_400_000;

/// Functions that the rest is written with.
pub(super) fn functions(zones: &BTreeSet<&str>) -> String {
    format!(
        "{local_day},
    -- A time among an event's properties: RFC 3339, a date (its midnight in UTC) or milliseconds;
    -- kept within what the pipeline's calendar can hold.
    (day_text -> intDiv(toInt64OrZero(substring(day_text, 1, 4)) + 6100, 400) - 20) AS cycles_of,
    (day_text -> toInt64(makeDate32(
        toInt64OrZero(substring(day_text, 1, 4)) - 400 * cycles_of(day_text),
        toInt64OrZero(substring(day_text, 6, 2)), toInt64OrZero(substring(day_text, 9, 2))))
        + 146097 * cycles_of(day_text)) AS date_of,
    (zone_text -> if(endsWith(lower(zone_text), 'z'), 0,
        if(substring(zone_text, -6, 1) = '-', -1, 1)
            * (toInt64OrZero(substring(zone_text, -5, 2)) * 60 + toInt64OrZero(substring(zone_text, -2)))))
        AS offset_minutes_of,
    (time_text -> 86400000 * date_of(time_text) + if(length(time_text) = 10, 0,
        3600000 * toInt64OrZero(substring(time_text, 12, 2)) + 60000 * toInt64OrZero(substring(time_text, 15, 2))
        + 1000 * least(toInt64OrZero(substring(time_text, 18, 2)), 59)
        + toInt64OrZero(rightPad(substring(extract(time_text, '\\\\.([0-9]+)'), 1, 3), 3, '0'))
        - 60000 * offset_minutes_of(time_text))) AS milliseconds_of,
    ((json, property) -> multiIf(
        JSONType(json, property) = 'String', toNullable(least(greatest(
            milliseconds_of(JSONExtractString(json, property)), -377705023201000), 253402207200000)),
        JSONType(json, property) IN ('Int64', 'UInt64'), toNullable(least(greatest(
            JSONExtractInt(json, property), -377705023201000), 253402207200000)),
        NULL)) AS time_in,
    ((json, property) -> JSONExtract(json, property, 'Nullable(String)')) AS text_in,
    ((json, property) -> JSONExtract(json, property, 'Nullable(Int64)')) AS whole_in,
    ((json, property) -> JSONExtract(json, property, 'Nullable(Float64)')) AS amount_in,
    ((json, property) -> JSONExtract(json, property, 'Nullable(Bool)')) AS flag_in,
    -- Elapsed days of 24 hours, at least 0.
    ((since, until) -> if(isNull(since) OR isNull(until), NULL,
        if(until > since, until - since, 0) / 86400000)) AS days_between",
        local_day = local_day(zones),
    )
}

/// The function that tells the local day of a time. The server wants each time zone as a constant.
fn local_day(zones: &BTreeSet<&str>) -> String {
    let cycles = format!("toInt64(floor((ms - ({CALENDAR_FROM_MS})) / {GREGORIAN_CYCLE_MS}))");
    let day_in = |zone: &str| {
        format!(
            "toInt32(toDate32(fromUnixTimestamp64Milli(within_calendar(ms), {})))",
            text(zone)
        )
    };
    let mut branches: Vec<String> = zones
        .iter()
        .map(|zone| format!("zone = {}, {}", text(zone), day_in(zone)))
        .collect();
    branches.push(day_in("UTC"));
    format!(
        "    -- The server knows the years 1900 to 2299; others lie a whole number of 400 years away.
    (ms -> {cycles}) AS calendar_cycles,
    (ms -> ms - {GREGORIAN_CYCLE_MS} * calendar_cycles(ms)) AS within_calendar,
    ((ms, zone) -> toInt32(146097 * calendar_cycles(ms) + multiIf(
        {}))) AS local_day",
        branches.join(",\n        ")
    )
}

/// The table of the rows to compute.
pub(super) fn targets(targets: &[Target]) -> String {
    let listed = lines(12, targets, |target| {
        let stickiness = match target.segment_stickiness {
            Some(stickiness) => format!("{stickiness:?}"),
            None => "NULL".to_string(),
        };
        format!(
            "({}, {}, {}, {stickiness}, {})",
            text(&target.account_id),
            target.evaluated_at,
            target.cut_offset,
            text(&target.zone)
        )
    });
    format!(
        "    targets AS
    (
        SELECT *, local_day(evaluated_at, zone) AS this_day
        FROM values('account_id String, evaluated_at Int64, cut_offset Int64, segment_stickiness Nullable(Float64), zone String',
            {listed})
    )"
    )
}

fn account_list<'a>(accounts: impl IntoIterator<Item = &'a str>) -> String {
    let distinct: BTreeSet<&str> = accounts.into_iter().collect();
    let listed: Vec<String> = distinct.into_iter().map(text).collect();
    listed.join(", ")
}

fn known_by(known_at: Option<i64>) -> String {
    known_at.map_or_else(String::new, |known_at| {
        format!(" AND toUnixTimestamp64Milli(received_at) <= {known_at}")
    })
}

/// Every event that a row covers, once a row.
pub(super) fn covered(targets: &[Target], known_at: Option<i64>) -> String {
    format!(
        "    covered AS
    (
        SELECT account_id, evaluated_at, zone, this_day, at, local_day(at, zone) AS day, hash, user_id, type, name, properties,
            type IN ('login', 'feature') AS is_active,
            if(type = 'feature', toUInt64(ifNull(whole_in(properties, 'count'), 1)), 0) AS uses
        FROM
        (
            SELECT account_id, user_id, type, name, properties, kafka_offset,
                toUnixTimestamp64Milli(least(occurred_at, received_at)) AS at, xxh3(event_id) AS hash
            FROM events FINAL
            WHERE account_id IN ({accounts}) AND type != 'action'{known}
        ) AS happened
        INNER JOIN targets USING (account_id)
        WHERE kafka_offset <= cut_offset AND at <= evaluated_at
    )",
        accounts = account_list(targets.iter().map(|target| target.account_id.as_str())),
        known = known_by(known_at),
    )
}

/// The query that tells of some rows the account's time zone as the server spells it (an account that
/// names none, or one that there is not, has `default_zone`), and how many events they cover.
pub(crate) fn zones(default_zone: &str, targets: &[Target], known_at: Option<i64>) -> String {
    format!(
        "SELECT account_id, evaluated_at, events, ifNull(nullIf(known.name, ''), {default}) AS zone
FROM
(
    SELECT account_id, evaluated_at, count() AS events,
        ifNull(argMaxOrNull(if(type = 'account', JSONExtract(properties, 'timezone', 'Nullable(String)'), NULL), (at, hash)), '') AS told
    FROM
    (
        SELECT account_id, type, properties, kafka_offset,
            toUnixTimestamp64Milli(least(occurred_at, received_at)) AS at, xxh3(event_id) AS hash
        FROM events FINAL
        WHERE account_id IN ({accounts}) AND type != 'action'{known}
    ) AS happened
    INNER JOIN
    (
        SELECT * FROM values('account_id String, evaluated_at Int64, cut_offset Int64', {rows})
    ) AS targets USING (account_id)
    WHERE kafka_offset <= cut_offset AND at <= evaluated_at
    GROUP BY account_id, evaluated_at
) AS accounts
LEFT JOIN (SELECT lower(time_zone) AS lowered, any(time_zone) AS name FROM system.time_zones GROUP BY lowered) AS known
    ON lower(accounts.told) = known.lowered",
        default = text(default_zone),
        accounts = account_list(targets.iter().map(|target| target.account_id.as_str())),
        known = known_by(known_at),
        rows = lines(8, targets, |target| format!(
            "({}, {}, {})",
            text(&target.account_id),
            target.evaluated_at,
            target.cut_offset
        )),
    )
}

/// The query that computes every daily row of some accounts, given each one's time zone, from the
/// events that are folded for good: those below their partition's checkpoint, and all where there is
/// no checkpoint.
pub(crate) fn daily_rows(accounts: &[(String, String)]) -> String {
    let zones: BTreeSet<&str> = accounts.iter().map(|(_, zone)| zone.as_str()).collect();
    format!(
        "WITH
{local_day}
SELECT account_id, toString(toDate(day)) AS day,
    countIf(type = 'login') AS logins,
    count() AS events,
    uniqExactIf(user_id, user_id != '' AND type IN ('login', 'feature')) AS active_users,
    sumMapIf(map(name, toUInt64(ifNull(JSONExtract(properties, 'count', 'Nullable(Int64)'), 1))), type = 'feature') AS feature_uses
FROM
(
    SELECT account_id, type, toString(name) AS name, user_id, properties,
        local_day(toUnixTimestamp64Milli(least(occurred_at, received_at)), zone) AS day
    FROM (SELECT * FROM events FINAL WHERE account_id IN ({listed}) AND type != 'action') AS happened
    INNER JOIN (SELECT * FROM values('account_id String, zone String', {rows})) AS accounts USING (account_id)
    LEFT JOIN (SELECT partition, 1 AS is_known, next_offset FROM checkpoints FINAL) AS folded
        ON happened.kafka_partition = folded.partition
    WHERE NOT is_known OR kafka_offset < next_offset
)
GROUP BY account_id, day
ORDER BY account_id, day",
        local_day = local_day(&zones),
        listed = account_list(accounts.iter().map(|(account, _)| account.as_str())),
        rows = lines(8, accounts, |(account, zone)| format!("({}, {})", text(account), text(zone))),
    )
}
