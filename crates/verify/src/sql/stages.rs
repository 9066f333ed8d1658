//! The stage and the tier.

use super::{lines, text};
use crate::{Definition, Moment};

/// Stands for "not": after every time that there is.
const NEVER: &str = "9000000000000000000";

/// Functions that tell the stage as of a time.
pub(super) fn functions() -> String {
    format!(
        "    -- The newest time not after another, or the beginning of all.
    ((times, as_of) -> arrayMax(arrayConcat([-{NEVER}], arrayFilter(time -> time <= as_of, times)))) AS newest_by,
    -- The first stage that began after it ended last.
    ((times, as_of) -> arrayFirst(one -> one.2 > one.3, arrayConcat(
        arrayMap(one -> (one.1, newest_by(one.2, as_of), newest_by(one.3, as_of)), times),
        [('onboarding', toInt64(1), toInt64(0))])).1) AS stage_by"
    )
}

/// The tables `moments` and `staged`: the moments of the account's life, and what it is in since when.
pub(super) fn stages(definition: &Definition) -> String {
    let every_milestone: Vec<String> = definition
        .milestones
        .iter()
        .map(|milestone| format!("mapContains(first_by_name, {})", text(&milestone.name)))
        .collect();
    let all_reached = if every_milestone.is_empty() {
        "true".to_string()
    } else {
        every_milestone.join(" AND ")
    };
    let listed = lines(16, &definition.stages, |stage| {
        let times = |moments: &[Moment]| {
            let moved: Vec<String> = moments.iter().map(moment).collect();
            format!("[{}]", moved.join(", "))
        };
        format!(
            "({}, {}, {})",
            text(&stage.name),
            times(&stage.from),
            times(&stage.until)
        )
    });
    format!(
        "    moments AS
    (
        SELECT *,
            start_at AS started,
            trial_started_at AS trial_started,
            contract_started_at AS contract_started,
            if(isNotNull(trial_started_at) AND isNull(contract_started_at), ends_at, NULL) AS trial_lapsed,
            if(isNotNull(value_at) AND {all_reached},
                toNullable(arrayMax([assumeNotNull(value_at), newest_step_at])), NULL) AS onboarded,
            upgraded_at AS upgraded,
            renewed_at AS renewed,
            cancelled_at AS cancelled,
            downgraded_at AS downgraded,
            revived_at AS revived,
            ends_at AS contract_ends,
            -- (stage, from, until) in the order in which they are looked at
            CAST([{listed}], 'Array(Tuple(stage String, begins Array(Int64), ends Array(Int64)))') AS stage_times
        FROM numbers
    ),
    staged AS
    (
        SELECT *,
            arraySort(arrayDistinct(arrayFilter(time -> time <= evaluated_at,
                arrayFlatten(arrayMap(one -> arrayConcat(one.begins, one.ends), stage_times))))) AS turns,
            arrayMap(turn -> stage_by(stage_times, turn), turns) AS turned_to,
            stage_by(stage_times, evaluated_at) AS stage,
            arrayLastIndex(other -> other != stage, turned_to) + 1 AS entered_turn,
            if(entered_turn > length(turns), NULL, toNullable(turns[entered_turn])) AS stage_entered_at,
            days_between(stage_entered_at, evaluated_at) AS days_in_stage,
            {tier} AS tier
        FROM moments
    )",
        tier = tier(definition),
    )
}

fn moment(moment: &Moment) -> String {
    let moved = (moment.days * 86_400_000.0).round();
    let time = format!("ifNull({}, {NEVER})", moment.name);
    if moved == 0.0 {
        time
    } else {
        let moved = format!("{time} + ({moved:.0})");
        format!("greatest({moved}, ifNull(started, {moved}))")
    }
}

fn tier(definition: &Definition) -> String {
    let bounds =
        |high: f64, tech: f64| format!("multiIf(mrr >= {high:?}, 'high', mrr < {tech:?}, 'tech', 'low')");
    let mut branches = vec!["told_tier IN ('high', 'low', 'tech'), assumeNotNull(told_tier)".to_string()];
    let mut otherwise = "'low'".to_string();
    for (currency, tier) in &definition.tiers {
        if currency == "default" {
            otherwise = bounds(tier.high, tier.tech);
        } else {
            branches.push(format!(
                "upper(currency) = {}, {}",
                text(&currency.to_uppercase()),
                bounds(tier.high, tier.tech)
            ));
        }
    }
    format!("multiIf({}, {otherwise})", branches.join(",\n                "))
}
