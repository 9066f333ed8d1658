//! What speaks against believing a comparison, in words.

use super::{Against, Arm, ArmOutcome, Difference, Group, Measure, of_arm};
use crate::words::Sentence;

/// Fewer accounts than this in an arm are too few to compare.
pub const FEWEST_ACCOUNTS: u64 = 30;

/// Fewer accounts than this that did, or that did not, are too few to compare how many did.
pub const FEWEST_EVENTS: u64 = 5;

/// Above this share of the accounts that were to be told and reached nobody, those that were told may be
/// a selection.
const MISSED_AT_MOST: f64 = 0.05;

/// Differences that are looked at before one of them is likely to be chance.
const MANY_COMPARISONS: usize = 5;

/// What speaks against believing a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// Nobody is held out: there is nothing to compare with.
    NoHoldout,
    /// Of no account have the days passed.
    NothingYet,
    /// An arm, or a variant of it, has fewer than [`FEWEST_ACCOUNTS`].
    FewAccounts {
        /// The arm.
        arm: Arm,
        /// The variant; `None` is the whole arm.
        variant: Option<String>,
        /// How many it has.
        accounts: u64,
    },
    /// Fewer than [`FEWEST_EVENTS`] of an arm did, or did not.
    FewEvents {
        /// The arm.
        arm: Arm,
        /// The variant; `None` is the whole arm.
        variant: Option<String>,
        /// What they did.
        measure: Measure,
        /// How many of the rarer there are.
        rarer: u64,
    },
    /// The intervals hold 0.
    NoDifference {
        /// The variant; `None` is all told accounts.
        variant: Option<String>,
        /// Those compared with.
        against: Against,
        /// Of what.
        measures: Vec<Measure>,
    },
    /// Accounts that were to be told reached nobody: they waited, failed or were suppressed.
    Missed {
        /// How many.
        accounts: u64,
        /// Of how many.
        of: u64,
    },
    /// Recoveries that a person declared; of held-out accounts nobody does.
    Declared {
        /// How many.
        accounts: u64,
        /// Of how many.
        of: u64,
    },
    /// Accounts churned, and what their health would have been is not known.
    Survivors {
        /// How many of the told accounts.
        told: u64,
        /// How many of the held-out accounts.
        held_out: u64,
    },
    /// Accounts had more episodes than the one that counts.
    Repeated {
        /// The accounts.
        accounts: u64,
        /// Their episodes.
        episodes: u64,
    },
    /// So many intervals that some miss the truth.
    ManyComparisons {
        /// How many.
        comparisons: usize,
    },
}

/// How much a warning weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caution {
    /// The differences must not be believed.
    Serious,
    /// Keep it in mind.
    Note,
}

impl Warning {
    /// One over all rules, when there are so many differences that some are chance.
    pub fn of_all<'a>(differences: impl Iterator<Item = &'a Difference>) -> Option<Warning> {
        let comparisons = differences.flat_map(Difference::measures).count();
        (comparisons >= MANY_COMPARISONS).then_some(Warning::ManyComparisons { comparisons })
    }

    /// Its name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Warning::NoHoldout => "no_holdout",
            Warning::NothingYet => "nothing_yet",
            Warning::FewAccounts { .. } => "few_accounts",
            Warning::FewEvents { .. } => "few_events",
            Warning::NoDifference { .. } => "no_difference",
            Warning::Missed { .. } => "missed",
            Warning::Declared { .. } => "declared",
            Warning::Survivors { .. } => "survivors",
            Warning::Repeated { .. } => "repeated",
            Warning::ManyComparisons { .. } => "many_comparisons",
        }
    }

    /// How much it weighs.
    pub fn caution(&self) -> Caution {
        match self {
            Warning::NoHoldout
            | Warning::NothingYet
            | Warning::FewAccounts { .. }
            | Warning::FewEvents { .. }
            | Warning::NoDifference { .. }
            | Warning::Missed { .. } => Caution::Serious,
            Warning::Declared { .. }
            | Warning::Survivors { .. }
            | Warning::Repeated { .. }
            | Warning::ManyComparisons { .. } => Caution::Note,
        }
    }

    /// What it says.
    pub fn sentence(&self) -> Sentence {
        let (en, ja) = match self {
            Warning::NoHoldout => (
                "Nobody is held out, so nothing here says whether telling helped: accounts are alarmed \
                 about at their worst, and before and after alone proves nothing. Set a holdout for the rule."
                    .to_string(),
                "対照群（holdout）がないため、通知に効果があったかは判断できません。アラートは状態が最も悪い時に\
                 出るので、前後の比較だけでは何の証明にもなりません。holdoutを設定してください。"
                    .to_string(),
            ),
            Warning::NothingYet => (
                "The days have not passed for any account yet.".to_string(),
                "期間を終えたアカウントがまだありません。".to_string(),
            ),
            Warning::FewAccounts { arm, variant, accounts } => {
                let [en, ja] = named(*arm, variant.as_deref());
                (
                    format!("Too few accounts {en}: {accounts}, at least {FEWEST_ACCOUNTS} are needed."),
                    format!("{ja}アカウントが少なすぎます：{accounts}件（{FEWEST_ACCOUNTS}件以上必要）。"),
                )
            }
            Warning::FewEvents { arm, variant, measure, rarer } => {
                let [en, ja] = named(*arm, variant.as_deref());
                let [what, what_ja] = measure_words(*measure);
                (
                    format!(
                        "Too little to compare {what} of accounts {en}: the rarer outcome happened {rarer} \
                         times, at least {FEWEST_EVENTS} are needed."
                    ),
                    format!(
                        "{ja}アカウントの{what_ja}を比べるには件数が不足しています：少ない方の結果が{rarer}件\
                         （{FEWEST_EVENTS}件以上必要）。"
                    ),
                )
            }
            Warning::NoDifference { variant, against, measures } => no_difference(variant.as_deref(), against, measures),
            Warning::Missed { accounts, of } => (
                format!(
                    "{accounts} of {of} accounts that were to be told of reached nobody and are left out; \
                     those that were told of may be a selection."
                ),
                format!(
                    "通知対象の{of}件のうち{accounts}件は誰にも届かず、集計から除かれています。通知した群に偏りがある\
                     可能性があります。"
                ),
            ),
            Warning::Declared { accounts, of } => (
                format!(
                    "{accounts} of {of} recoveries of told accounts were declared by a person, which nobody \
                     does for held-out accounts: look at retention and health."
                ),
                format!(
                    "通知した群の解消{of}件のうち{accounts}件は担当者の判断によるものです。対照群では起こらないため、\
                     継続率とヘルスも確認してください。"
                ),
            ),
            Warning::Survivors { told, held_out } => (
                format!(
                    "Health is of those that stayed: {told} told and {held_out} held-out accounts churned \
                     and are not in it."
                ),
                format!(
                    "ヘルスは継続中のアカウントだけの値です。解約した通知群{told}件と対照群{held_out}件は含まれません。"
                ),
            ),
            Warning::Repeated { accounts, episodes } => (
                format!("{accounts} accounts had {episodes} episodes; of each account the first counts."),
                format!("{accounts}件のアカウントに{episodes}回のアラートがありました。各アカウントの最初の1回だけを数えます。"),
            ),
            Warning::ManyComparisons { comparisons } => (
                format!(
                    "{comparisons} intervals are shown: one in twenty misses the truth by chance alone. \
                     Decide before what you want to know."
                ),
                format!(
                    "{comparisons}個の区間を表示しています。20個に1個は偶然だけで真の値を外します。何を確かめるかを\
                     先に決めてください。"
                ),
            ),
        };
        Sentence { en, ja }
    }
}

fn no_difference(variant: Option<&str>, against: &Against, measures: &[Measure]) -> (String, String) {
    let told = measures.iter().map(|measure| measure_words(*measure));
    let (en, ja): (Vec<&str>, Vec<&str>) = told.map(|[en, ja]| (en, ja)).unzip();
    let (en, ja) = (en.join(", "), ja.join("、"));
    let [one, one_ja] = named(Arm::Told, variant);
    let [two, two_ja] = match against {
        Against::HeldOut => named(Arm::HeldOut, None),
        Against::Variant(other) => named(Arm::Told, Some(other)),
    };
    (
        format!("No difference can be told from chance between accounts {one} and {two}: {en}."),
        format!("{one_ja}アカウントと{two_ja}アカウントの差は偶然と区別できません：{ja}。"),
    )
}

/// As it stands after "accounts", and before 「アカウント」.
fn named(arm: Arm, variant: Option<&str>) -> [String; 2] {
    let [en, ja] = match arm {
        Arm::Told => ["told of", "通知した"],
        Arm::HeldOut => ["held out", "対照群の"],
        Arm::Shadow => ["recorded only", "記録のみの"],
        Arm::Nobody => ["that nobody was told of", "誰にも届かなかった"],
    };
    match variant {
        None => [en.to_string(), ja.to_string()],
        Some(variant) => [format!("{en} as {variant:?}"), format!("「{variant}」で{ja}")],
    }
}

fn measure_words(measure: Measure) -> [&'static str; 2] {
    match measure {
        Measure::Recovered => ["recovery", "解消率"],
        Measure::Retained => ["retention", "継続率"],
        Measure::HealthChange => ["health", "ヘルス"],
    }
}

/// What speaks against believing the differences of a rule, the weightiest first.
pub(super) fn warnings(arms: &[ArmOutcome], differences: &[Difference]) -> Vec<Warning> {
    let mut found = Vec::new();
    let told = of_arm(arms, Arm::Told);
    let held_out = of_arm(arms, Arm::HeldOut);
    if told.is_some() && held_out.is_none() {
        found.push(Warning::NoHoldout);
    }
    let compared: Vec<&ArmOutcome> = told.into_iter().chain(held_out).collect();
    let has_numbers = compared.iter().any(|arm| arm.whole.recovered.of > 0);
    if has_numbers {
        too_few(&compared, &mut found);
        no_differences(differences, &mut found);
    } else if !compared.is_empty() {
        found.push(Warning::NothingYet);
    }
    missed(arms, &mut found);
    declared(told, &mut found);
    survivors(told, held_out, &mut found);
    repeated(arms, &mut found);
    found
}

fn too_few(arms: &[&ArmOutcome], found: &mut Vec<Warning>) {
    for arm in arms {
        // Of held-out accounts all variants are compared with together.
        let variants = arm.variants.iter().filter(|group| group.arm == Arm::Told);
        let of_variants = variants.map(|group| (Some(group.variant.clone()), group));
        for (variant, group) in [(None, &arm.whole)].into_iter().chain(of_variants) {
            too_few_of(group, variant, found);
        }
    }
}

fn too_few_of(group: &Group, variant: Option<String>, found: &mut Vec<Warning>) {
    let accounts = group.recovered.of;
    if accounts < FEWEST_ACCOUNTS {
        found.push(Warning::FewAccounts {
            arm: group.arm,
            variant,
            accounts,
        });
        return;
    }
    for (measure, share) in [
        (Measure::Recovered, group.recovered),
        (Measure::Retained, group.retained),
    ] {
        if share.rarer() < FEWEST_EVENTS {
            found.push(Warning::FewEvents {
                arm: group.arm,
                variant: variant.clone(),
                measure,
                rarer: share.rarer(),
            });
        }
    }
}

fn no_differences(differences: &[Difference], found: &mut Vec<Warning>) {
    for difference in differences {
        let within_chance = difference
            .measures()
            .filter(|(_, estimate)| estimate.holds_zero());
        let measures: Vec<Measure> = within_chance.map(|(measure, _)| measure).collect();
        if !measures.is_empty() {
            found.push(Warning::NoDifference {
                variant: difference.variant.clone(),
                against: difference.against.clone(),
                measures,
            });
        }
    }
}

fn missed(arms: &[ArmOutcome], found: &mut Vec<Warning>) {
    let accounts = |arm| of_arm(arms, arm).map_or(0, |outcome| outcome.whole.accounts);
    let (missed, told) = (accounts(Arm::Nobody), accounts(Arm::Told));
    if missed as f64 > MISSED_AT_MOST * (missed + told) as f64 {
        found.push(Warning::Missed {
            accounts: missed,
            of: missed + told,
        });
    }
}

fn declared(told: Option<&ArmOutcome>, found: &mut Vec<Warning>) {
    if let Some(group) = told.map(|arm| &arm.whole).filter(|group| group.declared > 0) {
        found.push(Warning::Declared {
            accounts: group.declared,
            of: group.recovered.did,
        });
    }
}

fn survivors(told: Option<&ArmOutcome>, held_out: Option<&ArmOutcome>, found: &mut Vec<Warning>) {
    let (Some(told), Some(held_out)) = (told, held_out) else {
        return;
    };
    let left = |arm: &ArmOutcome| arm.whole.retained.of - arm.whole.retained.did;
    if left(told) + left(held_out) > 0 {
        found.push(Warning::Survivors {
            told: left(told),
            held_out: left(held_out),
        });
    }
}

fn repeated(arms: &[ArmOutcome], found: &mut Vec<Warning>) {
    let accounts: u64 = arms.iter().map(|arm| arm.whole.accounts).sum();
    let episodes: u64 = arms.iter().map(|arm| arm.whole.episodes).sum();
    if episodes > accounts {
        found.push(Warning::Repeated { accounts, episodes });
    }
}
