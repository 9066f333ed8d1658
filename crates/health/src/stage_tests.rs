use event::EventType;
use proptest::prelude::*;

use super::*;
use crate::account::tests::{DAY, MONDAY, event, fold_all, model};

/// An account with these contract events and milestones: name, day, properties.
fn account_with(events: &[(&str, i64, String)]) -> Account {
    let model = model();
    let mut account = Account::new("acme");
    for (name, day, properties) in events {
        let event_type = match *name {
            "invited" | "first_value" => EventType::Milestone,
            _ => EventType::Contract,
        };
        let id = format!("{name} {day}");
        let event = event(&id, event_type, name, "", MONDAY + day * DAY, properties);
        fold_all(&mut account, &[event], &model);
    }
    account
}

fn ends_on(day: i64) -> String {
    format!(r#"{{"ends_at":{}}}"#, MONDAY + day * DAY)
}

fn none() -> String {
    String::new()
}

/// The history up to a day, in days.
fn history(account: &Account, until_day: i64) -> Vec<(Stage, i64)> {
    let model = model();
    let until = MONDAY + until_day * DAY;
    let history = model.stages().history(&account.moments(&model), until);
    history
        .into_iter()
        .map(|(stage, at)| (stage, (at - MONDAY) / DAY))
        .collect()
}

fn stage_on(account: &Account, day: i64) -> Stage {
    account.stage(MONDAY + day * DAY, &model())
}

#[test]
fn a_life_goes_through_all_six_stages() {
    // A trial of 14 days becomes a contract on day 10 that ends on day 375. Value is reached on day 21.
    // An upgrade on day 100 makes 90 days of growth; renewal is due from day 315, 60 days before the
    // end. Nobody renews, so that 30 days after the end it is plain use again, until it is cancelled.
    let account = account_with(&[
        ("trial_started", 0, ends_on(14)),
        ("started", 10, ends_on(375)),
        ("invited", 12, none()),
        ("first_value", 21, none()),
        ("upgraded", 100, none()),
        ("cancelled", 420, none()),
    ]);
    assert_eq!(
        history(&account, 500),
        [
            (Stage::Trial, 0),
            (Stage::Onboarding, 10),
            (Stage::Adoption, 21),
            (Stage::Expansion, 100),
            (Stage::Adoption, 190),
            (Stage::Renewal, 315),
            (Stage::Adoption, 405),
            (Stage::Churned, 420),
        ]
    );
    assert_eq!(
        (stage_on(&account, 9), stage_on(&account, 10)),
        (Stage::Trial, Stage::Onboarding)
    );
}

#[test]
fn onboarding_is_over_after_ninety_days_even_without_value() {
    let account = account_with(&[("started", 0, none()), ("invited", 1, none())]);
    assert_eq!(
        (stage_on(&account, 89), stage_on(&account, 90)),
        (Stage::Onboarding, Stage::Adoption)
    );
}

#[test]
fn a_trial_that_runs_out_without_a_contract_is_over() {
    let account = account_with(&[("trial_started", 0, ends_on(14))]);
    assert_eq!(
        history(&account, 20),
        [(Stage::Trial, 0), (Stage::Churned, 14)],
        "that a trial ends within 60 days of its start makes no renewal before it"
    );
}

#[test]
fn a_contract_that_starts_later_is_a_trial_until_then() {
    let starts_at = format!(r#"{{"starts_at":{}}}"#, MONDAY + 30 * DAY);
    let account = account_with(&[("trial_started", 0, none()), ("started", 5, starts_at)]);
    assert_eq!(
        (stage_on(&account, 29), stage_on(&account, 30)),
        (Stage::Trial, Stage::Onboarding)
    );
}

#[test]
fn a_customer_who_comes_back_is_no_longer_churned() {
    let account = account_with(&[
        ("started", 0, none()),
        ("cancelled", 100, none()),
        ("renewed", 130, none()),
    ]);
    assert_eq!(
        history(&account, 200),
        [
            (Stage::Onboarding, 0),
            (Stage::Adoption, 90),
            (Stage::Churned, 100),
            (Stage::Adoption, 130)
        ]
    );
}

#[test]
fn a_renewal_and_a_downgrade_end_what_they_answer() {
    let account = account_with(&[
        ("started", 0, ends_on(365)),
        ("upgraded", 200, none()),
        ("option_removed", 210, none()),
        ("renewed", 320, none()),
    ]);
    assert_eq!(
        history(&account, 400),
        [
            (Stage::Onboarding, 0),
            (Stage::Adoption, 90),
            (Stage::Expansion, 200),
            (Stage::Adoption, 210),
            (Stage::Renewal, 305),
            (Stage::Adoption, 320)
        ]
    );
}

#[test]
fn a_late_event_corrects_the_history() {
    let mut account = account_with(&[("started", 0, none()), ("invited", 1, none())]);
    assert_eq!(stage_on(&account, 50), Stage::Onboarding);
    let late = event(
        "late",
        EventType::Milestone,
        "first_value",
        "",
        MONDAY + 30 * DAY,
        "",
    );
    fold_all(&mut account, &[late], &model());
    assert_eq!(
        history(&account, 50),
        [(Stage::Onboarding, 0), (Stage::Adoption, 30)]
    );
}

#[test]
fn an_account_without_any_moment_is_onboarding_and_never_entered_it() {
    let stages = Stages::new(&shipped()).unwrap();
    let moments = Moments::default();
    assert_eq!(stages.stage(&moments, MONDAY), Stage::Onboarding);
    assert_eq!(stages.entered_at(&moments, MONDAY), None);
    assert_eq!(stages.history(&moments, MONDAY), []);
}

#[test]
fn what_is_wrong_in_the_stages_is_named_with_what_would_be_right() {
    let refused = |change: fn(&mut Vec<StageConfig>)| {
        let mut stages = shipped();
        change(&mut stages);
        Stages::new(&stages).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|stages| stages[1].name = "pilot".into()),
        "health.stages[1].name: \"pilot\" is not a stage; stages are trial, onboarding, adoption, expansion, \
         renewal, churned"
    );
    assert_eq!(
        refused(|stages| stages[1].name = "churned".into()),
        "health.stages[1].name: \"churned\" is there twice"
    );
    assert!(refused(|stages| stages[0].from.clear()).starts_with("health.stages[0].from: must name"));
    let unknown = refused(|stages| stages[3].until[1] = "contract_end + 30d".into());
    assert!(
        unknown.starts_with("health.stages[3].until[1]: \"contract_end\" is not a moment"),
        "{unknown}"
    );
}

fn any_moments() -> impl Strategy<Value = Moments> {
    // Whole days make moments coincide, also those with days added.
    let moment = prop::option::of((-100i64..400).prop_map(|day| day * DAY));
    prop::collection::vec(moment, 11).prop_map(|at| Moments {
        started: at[0],
        trial_started: at[1],
        contract_started: at[2],
        trial_lapsed: at[3],
        onboarded: at[4],
        upgraded: at[5],
        renewed: at[6],
        cancelled: at[7],
        downgraded: at[8],
        revived: at[9],
        contract_ends: at[10],
    })
}

/// The shipped stages in any order, some of them left out.
fn any_stages() -> impl Strategy<Value = Stages> {
    Just(shipped())
        .prop_shuffle()
        .prop_flat_map(|stages| (Just(stages), 0usize..=6))
        .prop_map(|(stages, kept)| Stages::new(&stages[..kept]).unwrap())
}

proptest! {
    #[test]
    fn the_history_ends_with_the_stage_and_its_beginning(
        stages in any_stages(),
        moments in any_moments(),
        at in -200 * DAY..600 * DAY,
    ) {
        let history = stages.history(&moments, at);
        prop_assert_eq!(history.last().map(|(_, entered_at)| *entered_at), stages.entered_at(&moments, at));
        let last = history.last().map_or(Stage::Onboarding, |(stage, _)| *stage);
        prop_assert_eq!(last, stages.stage(&moments, at));
    }

    #[test]
    fn the_history_tells_the_stage_of_every_instant(
        stages in any_stages(),
        moments in any_moments(),
        at in -200 * DAY..600 * DAY,
        to_moment in 0usize..20,
    ) {
        let whole = stages.history(&moments, i64::MAX);
        prop_assert!(whole.windows(2).all(|pair| pair[0].0 != pair[1].0 && pair[0].1 < pair[1].1));
        // Any instant, and the moments with the instants beside them, where the stage changes.
        let instants: Vec<i64> = match whole.get(to_moment) {
            Some((_, moment)) => vec![at, moment - 1, *moment, moment + 1],
            None => vec![at],
        };
        for instant in instants {
            let told = whole.iter().rev().find(|(_, entered_at)| *entered_at <= instant);
            let told = told.map_or(Stage::Onboarding, |(stage, _)| *stage);
            prop_assert_eq!(told, stages.stage(&moments, instant), "at {}", instant);
            let up_to = whole.iter().filter(|(_, entered_at)| *entered_at <= instant);
            prop_assert_eq!(stages.history(&moments, instant), up_to.copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_in_which_a_life_is_told_changes_nothing(
        days in prop::collection::vec(0i64..400, 8),
        seed in any::<u64>(),
    ) {
        let names = [
            "trial_started", "started", "invited", "first_value", "upgraded", "downgraded", "renewed", "cancelled",
        ];
        let mut events: Vec<(&str, i64, String)> =
            names.into_iter().zip(days).map(|(name, day)| (name, day, ends_on(day + 100))).collect();
        let straight = history(&account_with(&events), 1000);
        events.sort_by_key(|(name, ..)| xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), seed));
        prop_assert_eq!(straight, history(&account_with(&events), 1000));
    }
}
