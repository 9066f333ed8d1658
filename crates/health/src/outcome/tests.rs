use super::*;

fn group(arm: Arm, variant: &str, [of, recovered, retained]: [u64; 3]) -> Group {
    Group {
        variant: variant.to_string(),
        accounts: of,
        episodes: of,
        recovered: Proportion { of, did: recovered },
        retained: Proportion { of, did: retained },
        health_change: Moments {
            count: retained,
            mean: 4.0,
            squares: 100.0 * retained as f64,
        },
        ..Group::of_none(arm)
    }
}

fn codes(outcome: &RuleOutcome) -> Vec<&'static str> {
    outcome.warnings.iter().map(Warning::code).collect()
}

#[test]
fn the_told_are_compared_with_the_held_out_by_the_intervals_of_both() {
    let told = group(Arm::Told, "", [400, 280, 360]);
    let mut held_out = group(Arm::HeldOut, "", [100, 40, 88]);
    held_out.health_change.mean = -2.0;
    let outcome = RuleOutcome::of(vec![held_out.clone(), told.clone()]);
    let arms: Vec<&str> = outcome.arms.iter().map(|arm| arm.whole.arm.as_str()).collect();
    assert_eq!(arms, ["told", "held_out"]);
    assert!(outcome.arms.iter().all(|arm| arm.variants.is_empty()));
    let [difference] = &outcome.differences[..] else {
        panic!("{:?}", outcome.differences);
    };
    assert_eq!(difference.recovered, told.recovered.less(held_out.recovered));
    assert!((difference.recovered.unwrap().value - 0.3).abs() < 1e-12);
    assert!((difference.health_change.unwrap().value - 6.0).abs() < 1e-12);
    assert!(difference.retained.unwrap().holds_zero());
    let [no_difference, survivors] = &outcome.warnings[..] else {
        panic!("{:?}", outcome.warnings);
    };
    let said = no_difference.sentence();
    assert!(
        said.en.contains("retention") && !said.en.contains("recovery"),
        "{}",
        said.en
    );
    assert!(
        said.ja.contains("継続率") && !said.ja.contains("解消率"),
        "{}",
        said.ja
    );
    assert_eq!(
        survivors,
        &Warning::Survivors {
            told: 40,
            held_out: 12
        }
    );
}

#[test]
fn without_a_holdout_nothing_is_compared_and_it_is_said_why() {
    let outcome = RuleOutcome::of(vec![group(Arm::Told, "", [400, 280, 360])]);
    assert_eq!(outcome.differences, []);
    assert_eq!(codes(&outcome), ["no_holdout"]);
    let shadow = RuleOutcome::of(vec![group(Arm::Shadow, "", [400, 280, 360])]);
    assert_eq!(codes(&shadow), Vec::<&str>::new(), "nobody claims anything of it");
}

#[test]
fn small_numbers_are_called_small() {
    let few = RuleOutcome::of(vec![
        group(Arm::Told, "", [30, 10, 26]),
        group(Arm::HeldOut, "", [29, 14, 15]),
    ]);
    assert_eq!(codes(&few)[..2], ["few_events", "few_accounts"]);
    let Warning::FewEvents { measure, rarer, .. } = &few.warnings[0] else {
        panic!("{:?}", few.warnings);
    };
    assert_eq!((*measure, *rarer), (Measure::Retained, 4));
    assert_eq!(
        few.warnings[1].sentence().en,
        "Too few accounts held out: 29, at least 30 are needed."
    );

    let enough = RuleOutcome::of(vec![
        group(Arm::Told, "", [30, 10, 25]),
        group(Arm::HeldOut, "", [30, 15, 15]),
    ]);
    assert!(
        !codes(&enough).iter().any(|code| code.starts_with("few")),
        "{:?}",
        enough.warnings
    );
}

#[test]
fn before_the_days_have_passed_that_is_all_that_is_said() {
    let mut told = group(Arm::Told, "", [0, 0, 0]);
    told.accounts = 12;
    told.episodes = 12;
    let mut held_out = group(Arm::HeldOut, "", [0, 0, 0]);
    held_out.accounts = 2;
    held_out.episodes = 2;
    let outcome = RuleOutcome::of(vec![told, held_out]);
    assert_eq!(codes(&outcome), ["nothing_yet"]);
    assert_eq!(outcome.arms[0].whole.waiting(), 12);
    assert_eq!(outcome.differences[0].measures().count(), 0);
}

#[test]
fn a_variant_is_compared_with_all_held_out_accounts_and_with_the_other_variants() {
    let outcome = RuleOutcome::of(vec![
        group(Arm::Told, "mail", [100, 50, 90]),
        group(Arm::Told, "call", [100, 70, 90]),
        group(Arm::HeldOut, "mail", [40, 10, 30]),
        group(Arm::HeldOut, "call", [60, 20, 50]),
    ]);
    let told = &outcome.arms[0];
    assert_eq!(told.whole.recovered, Proportion { of: 200, did: 120 });
    let names: Vec<&str> = told.variants.iter().map(|group| group.variant.as_str()).collect();
    assert_eq!(names, ["call", "mail"]);
    let compared: Vec<(Option<&str>, Against)> = outcome
        .differences
        .iter()
        .map(|difference| (difference.variant.as_deref(), difference.against.clone()))
        .collect();
    assert_eq!(
        compared,
        [
            (None, Against::HeldOut),
            (Some("call"), Against::HeldOut),
            (Some("mail"), Against::HeldOut),
            (Some("call"), Against::Variant("mail".to_string())),
        ]
    );
    let call = outcome.differences[1].recovered.unwrap();
    assert!((call.value - 0.4).abs() < 1e-12, "70 % less 30 of 100: {call:?}");
    assert!(
        Warning::of_all(outcome.differences.iter()).is_some(),
        "twelve intervals"
    );
    assert!(Warning::of_all(outcome.differences[..1].iter()).is_none());
}

#[test]
fn what_tilts_the_comparison_is_told() {
    let mut told = group(Arm::Told, "", [95, 50, 95]);
    told.declared = 7;
    told.episodes = 120;
    let held_out = group(Arm::HeldOut, "", [95, 50, 95]);
    let missed = |accounts| group(Arm::Nobody, "", [accounts, 0, 0]);
    let some = RuleOutcome::of(vec![told.clone(), held_out.clone(), missed(6)]);
    assert!(some.warnings.contains(&Warning::Missed { accounts: 6, of: 101 }));
    assert!(some.warnings.contains(&Warning::Declared { accounts: 7, of: 50 }));
    assert!(some.warnings.contains(&Warning::Repeated {
        accounts: 196,
        episodes: 221
    }));
    let hardly = RuleOutcome::of(vec![told, held_out, missed(5)]);
    assert!(!codes(&hardly).contains(&"missed"), "5 of 100");
}

#[test]
fn every_warning_speaks_both_languages() {
    let arm = Arm::Told;
    let variant = Some("call".to_string());
    let all = [
        Warning::NoHoldout,
        Warning::NothingYet,
        Warning::FewAccounts {
            arm,
            variant: variant.clone(),
            accounts: 3,
        },
        Warning::FewEvents {
            arm,
            variant: variant.clone(),
            measure: Measure::Recovered,
            rarer: 2,
        },
        Warning::NoDifference {
            variant,
            against: Against::HeldOut,
            measures: vec![Measure::HealthChange],
        },
        Warning::Missed { accounts: 3, of: 9 },
        Warning::Declared { accounts: 3, of: 9 },
        Warning::Survivors { told: 1, held_out: 2 },
        Warning::Repeated {
            accounts: 3,
            episodes: 5,
        },
        Warning::ManyComparisons { comparisons: 12 },
    ];
    for warning in all {
        let said = warning.sentence();
        assert!(said.en.is_ascii() && said.en.ends_with('.'), "{}", said.en);
        assert!(
            said.ja.ends_with('。') && !said.ja.contains('\n') && !said.ja.contains("  "),
            "{}",
            said.ja
        );
    }
}
