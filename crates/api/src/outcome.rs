//! Whether telling helped: what became of the accounts that the rules alarmed about.

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use health::outcome::{
    Against, Arm, ArmOutcome, Caution, Difference, Estimate, Group, Moments, Proportion, RuleOutcome, Warning,
};
use serde::Serialize;
use store::{OutcomeDays, OutcomeGroup, OutcomeQuery};

use crate::answer;
use crate::params::Params;
use crate::problem::Problem;
use crate::router::Shared;
use crate::times;
use crate::words::Words;

const DAYS: [(&str, OutcomeDays); 3] = [
    ("7", OutcomeDays::Seven),
    ("30", OutcomeDays::Thirty),
    ("60", OutcomeDays::Sixty),
];

#[derive(Serialize)]
struct OutcomeAnswer {
    days: u32,
    since: Option<String>,
    /// Episodes that opened later than `days` before it are waited for.
    known_until: Option<String>,
    rules: Vec<RuleAnswer>,
    warnings: Vec<WarningAnswer>,
}

#[derive(Serialize)]
struct RuleAnswer {
    rule: String,
    kind: String,
    arms: Vec<ArmAnswer>,
    differences: Vec<DifferenceAnswer>,
    warnings: Vec<WarningAnswer>,
}

#[derive(Serialize)]
struct ArmAnswer {
    arm: &'static str,
    #[serde(flatten)]
    whole: GroupAnswer,
    variants: Vec<VariantAnswer>,
}

#[derive(Serialize)]
struct VariantAnswer {
    variant: String,
    #[serde(flatten)]
    group: GroupAnswer,
}

#[derive(Serialize)]
struct GroupAnswer {
    accounts: u64,
    episodes: u64,
    waiting: u64,
    declared: u64,
    recovered: ShareAnswer,
    retained: ShareAnswer,
    health_change: MeanAnswer,
}

/// `value`, `low` and `high` are `null` where the numbers allow none.
#[derive(Serialize)]
struct ShareAnswer {
    of: u64,
    did: u64,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

#[derive(Serialize)]
struct MeanAnswer {
    of: u64,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

#[derive(Serialize)]
struct DifferenceAnswer {
    variant: Option<String>,
    against: AgainstAnswer,
    recovered: Option<EstimateAnswer>,
    retained: Option<EstimateAnswer>,
    health_change: Option<EstimateAnswer>,
}

#[derive(Serialize)]
struct AgainstAnswer {
    arm: &'static str,
    variant: Option<String>,
}

#[derive(Serialize)]
struct EstimateAnswer {
    value: f64,
    low: f64,
    high: f64,
}

#[derive(Serialize)]
struct WarningAnswer {
    code: &'static str,
    serious: bool,
    words: Words,
}

impl ShareAnswer {
    fn of(share: Proportion) -> ShareAnswer {
        let estimate = share.estimate();
        ShareAnswer {
            of: share.of,
            did: share.did,
            value: estimate.map(|estimate| estimate.value),
            low: estimate.map(|estimate| estimate.low),
            high: estimate.map(|estimate| estimate.high),
        }
    }
}

impl MeanAnswer {
    fn of(moments: Moments) -> MeanAnswer {
        let estimate = moments.estimate();
        MeanAnswer {
            of: moments.count,
            value: (moments.count > 0).then_some(moments.mean),
            low: estimate.map(|estimate| estimate.low),
            high: estimate.map(|estimate| estimate.high),
        }
    }
}

impl GroupAnswer {
    fn of(group: &Group) -> GroupAnswer {
        GroupAnswer {
            accounts: group.accounts,
            episodes: group.episodes,
            waiting: group.waiting(),
            declared: group.declared,
            recovered: ShareAnswer::of(group.recovered),
            retained: ShareAnswer::of(group.retained),
            health_change: MeanAnswer::of(group.health_change),
        }
    }
}

impl ArmAnswer {
    fn of(outcome: &ArmOutcome) -> ArmAnswer {
        let of_variant = |group: &Group| VariantAnswer {
            variant: group.variant.clone(),
            group: GroupAnswer::of(group),
        };
        ArmAnswer {
            arm: named(outcome.whole.arm),
            whole: GroupAnswer::of(&outcome.whole),
            variants: outcome.variants.iter().map(of_variant).collect(),
        }
    }
}

/// As in `alert_outcomes`, but that those of whom nobody was told have a name.
fn named(arm: Arm) -> &'static str {
    match arm {
        Arm::Nobody => "nobody",
        other => other.as_str(),
    }
}

impl DifferenceAnswer {
    fn of(difference: Difference) -> DifferenceAnswer {
        let estimate = |found: Option<Estimate>| {
            found.map(|found| EstimateAnswer {
                value: found.value,
                low: found.low,
                high: found.high,
            })
        };
        let (arm, variant) = match difference.against {
            Against::HeldOut => (Arm::HeldOut, None),
            Against::Variant(variant) => (Arm::Told, Some(variant)),
        };
        DifferenceAnswer {
            variant: difference.variant,
            against: AgainstAnswer {
                arm: named(arm),
                variant,
            },
            recovered: estimate(difference.recovered),
            retained: estimate(difference.retained),
            health_change: estimate(difference.health_change),
        }
    }
}

impl WarningAnswer {
    fn of(warning: &Warning) -> WarningAnswer {
        WarningAnswer {
            code: warning.code(),
            serious: warning.caution() == Caution::Serious,
            words: warning.sentence().into(),
        }
    }
}

/// The outcomes, rule by rule: told and held-out accounts side by side.
pub(crate) async fn outcome(
    State(shared): State<Shared>,
    asked: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut params = Params::read(query);
    let rule = params.text("rule");
    let since = params.recorded_instant("since");
    let days = params.choice("days", &DAYS.map(|(name, _)| name));
    params.finish()?;
    let days = DAYS
        .into_iter()
        .find(|(name, _)| Some(*name) == days.as_deref())
        .map_or(OutcomeDays::default(), |(_, days)| days);
    let wanted = OutcomeQuery { rule, since, days };
    let (groups, known_until) = tokio::try_join!(
        shared.store.outcome_groups(&wanted),
        shared.store.outcomes_known_until(),
    )?;

    let outcomes = by_rule(groups);
    let differences = outcomes.iter().flat_map(|(.., outcome)| &outcome.differences);
    let over_all = Warning::of_all(differences);
    let body = OutcomeAnswer {
        days: days.days(),
        since: since.and_then(times::rfc3339),
        known_until: known_until.and_then(times::rfc3339),
        warnings: over_all.iter().map(WarningAnswer::of).collect(),
        rules: outcomes
            .into_iter()
            .map(|(rule, kind, outcome)| RuleAnswer {
                rule,
                kind,
                arms: outcome.arms.iter().map(ArmAnswer::of).collect(),
                warnings: outcome.warnings.iter().map(WarningAnswer::of).collect(),
                differences: outcome
                    .differences
                    .into_iter()
                    .map(DifferenceAnswer::of)
                    .collect(),
            })
            .collect(),
    };
    Ok(answer::json(&asked, &body))
}

/// Name, kind and outcome of each rule, in the order of the names, in which the groups are.
fn by_rule(groups: Vec<OutcomeGroup>) -> Vec<(String, String, RuleOutcome)> {
    groups
        .chunk_by(|one, other| one.rule == other.rule)
        .map(|of_rule| {
            let groups = of_rule.iter().map(group).collect();
            let (rule, kind) = (of_rule[0].rule.clone(), of_rule[0].kind.clone());
            (rule, kind, RuleOutcome::of(groups))
        })
        .collect()
}

fn group(row: &OutcomeGroup) -> Group {
    let of_due = |did| Proportion { of: row.due, did };
    Group {
        arm: Arm::named(&row.arm).unwrap_or(Arm::Nobody),
        variant: row.variant.clone(),
        accounts: row.accounts,
        episodes: row.episodes,
        recovered: of_due(row.recovered),
        declared: row.declared,
        retained: of_due(row.retained),
        health_change: Moments {
            count: row.health_changes,
            mean: row.health_change_mean,
            squares: row.health_change_squares,
        },
    }
}
