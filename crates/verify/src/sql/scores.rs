//! The scores and their drivers.

use super::{float, lines, text};
use crate::definition::COMPONENTS;
use crate::{Component, Definition, Input, Weights};

/// The numbers, in the order of the columns of `account_metrics`.
const NUMBERS: &[&str] = health::NUMBERS;

/// What an input is known to the scores as.
const INPUT_TYPE: &str = "Array(Tuple(input String, value Nullable(Float64), baseline Nullable(Float64), weight Float64, points Nullable(Float64)))";

/// The type of the column `drivers`.
const DRIVERS_TYPE: &str = "Array(Tuple(score String, input String, value Nullable(Float64), baseline Nullable(Float64), points Float64))";

/// Functions of known inputs and of drivers.
pub(super) fn functions() -> String {
    "    (known -> arraySum(one -> one.weight, known)) AS weight_of,
    (known -> if(weight_of(known) = 0, NULL,
        toNullable(arraySum(one -> one.weight * assumeNotNull(one.points), known) / weight_of(known)))) AS mean_of,
    -- The strongest driver first.
    (found -> arraySort(one -> (-abs(one.5), one.2), found)) AS strongest_first"
        .to_string()
}

/// The tables `weighed`, `rated` and `scores`, the last of which has a column for every column to prove.
pub(super) fn scores(definition: &Definition) -> String {
    let component = |name: &str| {
        definition
            .components
            .iter()
            .find(|component| component.name == name)
            .map_or_else(|| inputs(&[]), |component: &Component| inputs(&component.inputs))
    };
    let listed = lines(12, COMPONENTS.iter().chain(&["expansion"]), |name| {
        format!("{} AS {name}_inputs", component(name))
    });
    format!(
        "    -- The known inputs of every component, with their points.
    weighed AS
    (
        SELECT *,
            {listed},
            {churn} AS churn_inputs,
            {weights} AS component_weights
        FROM staged
    ),
    rated AS
    (
        SELECT *,
            stage = 'churned' AS has_left,
            if(has_left, NULL, mean_of(ttv_inputs)) AS ttv,
            if(has_left, NULL, mean_of(activity_inputs)) AS activity,
            if(has_left, NULL, mean_of(adoption_inputs)) AS adoption,
            if(has_left, NULL, mean_of(sentiment_inputs)) AS sentiment,
            if(has_left, NULL, mean_of(support_inputs)) AS support,
            if(has_left, NULL, mean_of(expansion_inputs)) AS expansion,
            arrayFilter(one -> isNotNull(one.3), arrayZip(component_weights,
                [ttv_inputs, activity_inputs, adoption_inputs, sentiment_inputs, support_inputs],
                [ttv, activity, adoption, sentiment, support])) AS known_components,
            arraySum(one -> one.1, known_components) AS known_weight,
            if(has_left, 0, known_weight / arraySum(component_weights)) AS confidence,
            if(known_weight = 0, NULL,
                toNullable(arraySum(one -> one.1 * assumeNotNull(one.3), known_components) / known_weight)) AS health,
            multiIf(isNull(health), 'unknown', health <= {red}, 'red', health <= {yellow}, 'yellow', 'green') AS band,
            if(has_left OR (isNull(last_active_day) AND isNull(ttv_running_days)), NULL,
                toNullable(1 / (1 + exp(-({churn_base} + arraySum(one -> assumeNotNull(one.points), churn_inputs)))))) AS churn_risk
        FROM weighed
    ),
    scores AS
    (
        SELECT account_id, evaluated_at,
            {numbers},
            unused_key_features, milestones,
            health, ttv, activity, adoption, sentiment, support, churn_risk, expansion, confidence, band, stage, tier,
            CAST(arrayConcat(
                strongest_first(if(isNull(health), [], arrayFlatten(arrayMap(component -> arrayMap(
                    one -> ('health', one.input, one.value, one.baseline,
                        component.1 / known_weight * one.weight / weight_of(component.2) * (assumeNotNull(one.points) - 50)),
                    component.2), known_components)))),
                strongest_first(if(isNull(churn_risk), [], arrayMap(
                    one -> ('churn_risk', one.input, one.value, one.baseline, assumeNotNull(one.points)), churn_inputs))),
                strongest_first(if(isNull(expansion), [], arrayMap(
                    one -> ('expansion', one.input, one.value, one.baseline,
                        one.weight / weight_of(expansion_inputs) * (assumeNotNull(one.points) - 50)), expansion_inputs)))),
                {drivers_type}) AS drivers
        FROM rated
    )",
        churn = inputs(&definition.churn),
        weights = weights(definition),
        red = float(definition.red_up_to),
        yellow = float(definition.yellow_up_to),
        churn_base = float(definition.churn_base),
        numbers = NUMBERS.chunks(5).map(|some| some.join(", ")).collect::<Vec<_>>().join(",\n            "),
        drivers_type = text(DRIVERS_TYPE),
    )
}

fn inputs(listed: &[Input]) -> String {
    let rendered = lines(16, listed, |input| {
        let value = value(&input.number);
        format!(
            "({}, {value}, {}, {}, {})",
            text(&input.number),
            baseline(&input.number),
            float(input.weight),
            line(&value, &input.corners)
        )
    });
    format!(
        "arrayFilter(one -> isNotNull(one.points), CAST([\n                {rendered}], {}))",
        text(INPUT_TYPE)
    )
}

/// The column of a number; the state of onboarding counts done 0 to stalled 3.
fn value(number: &str) -> String {
    let column = if number == "onboarding_state" {
        "onboarding_state_number"
    } else {
        number
    };
    format!("toNullable(toFloat64({column}))")
}

fn baseline(number: &str) -> &'static str {
    match number {
        "workdays_since_last_active" => "usual_gap_workdays",
        "logins_week_ratio" | "relative_stickiness" => "1",
        "usage_z" => "0",
        "logins_per_user_28d" => "logins_per_user_before",
        "seat_utilisation" => "seat_utilisation_before",
        "feature_breadth" => "feature_breadth_before",
        "feature_depth" => "feature_depth_before",
        "top_user_share" => "top_user_share_before",
        trend if trend.ends_with("_trend") => "1",
        _ => "NULL",
    }
}

/// A line through corners, level beyond them, unknown where the value is.
fn line(value: &str, corners: &[(f64, f64)]) -> String {
    let Some((first, last)) = corners.first().zip(corners.last()) else {
        return "NULL".to_string();
    };
    let mut branches = vec![
        format!("isNull({value}), NULL"),
        format!("{value} <= {:?}, {:?}", first.0, first.1),
    ];
    for pair in corners.windows(2) {
        let [(from, low), (to, high)] = pair else { continue };
        branches.push(format!(
            "{value} < {to:?}, {low:?} + ({value} - {from:?}) * ({high:?} - ({low:?})) / ({to:?} - {from:?})"
        ));
    }
    format!("multiIf({}, {:?})", branches.join(", "), last.1)
}

fn weights(definition: &Definition) -> String {
    let list = |weights: &Weights| {
        let listed: Vec<String> = weights.iter().map(|weight| format!("{weight:?}")).collect();
        format!("[{}]", listed.join(", "))
    };
    let mut branches = Vec::new();
    for (segment, stages) in &definition.segment_weights {
        for (stage, weights) in stages {
            branches.push(format!(
                "segment = {} AND stage = {}, {}",
                text(segment),
                text(stage),
                list(weights)
            ));
        }
    }
    let mut otherwise = "[0., 0., 0., 0., 0.]".to_string();
    for (stage, weights) in &definition.weights {
        if stage == "adoption" {
            otherwise = list(weights);
        } else {
            branches.push(format!("stage = {}, {}", text(stage), list(weights)));
        }
    }
    branches.push(otherwise);
    format!(
        "multiIf(\n                {})",
        branches.join(",\n                ")
    )
}
