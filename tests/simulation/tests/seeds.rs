//! What must hold holds in a thousand worlds, in which enough went wrong to mean something.

#[cfg(not(feature = "planted-bugs"))]
#[test]
fn whatever_fails_every_event_counts_once_and_every_alert_is_told() {
    let mut total = simulation::Report::default();
    for seed in 0..1_000 {
        match simulation::run(seed, false, false) {
            Ok(report) => total.add(&report),
            Err(failure) => {
                panic!("{failure}\nagain, step by step: cargo run -p simulation -- --seed {seed}")
            }
        }
    }
    println!("{total:#?}");
    assert!(
        total.records > total.sent,
        "ingest never had to send again: {total:?}"
    );
    for (what, count) in [
        ("kills", total.kills),
        ("pauses", total.pauses),
        ("fences", total.fenced),
        ("late inserts", total.late_inserts),
        ("inserts dropped by their token", total.repeated_inserts),
        ("outdated rows", total.outdated),
        ("rows that repeat another", total.repeated_rows),
        ("alerts", total.alerts),
        ("records set aside", total.set_aside),
    ] {
        assert!(
            count >= 50,
            "{count} {what} in a thousand worlds prove nothing: {total:?}"
        );
    }
}

#[cfg(feature = "planted-bugs")]
mod planted {
    use aggregate::planted::{Bug, plant};

    /// The first seed that finds the bug.
    fn found(bug: Bug) -> u64 {
        plant(Some(bug));
        let first = (0..1_000).find(|seed| simulation::run(*seed, false, false).is_err());
        plant(None);
        first.unwrap_or_else(|| panic!("{bug:?} is not found in a thousand worlds"))
    }

    #[test]
    fn each_planted_bug_is_found() {
        for bug in [
            Bug::CheckpointBeforeStates,
            Bug::LandedNotRead,
            Bug::EpochNotRaised,
            Bug::DaysNotSavedWithAlerts,
            Bug::LookUpsIgnored,
            Bug::ToldBeforeSaved,
        ] {
            println!("{bug:?} is found by seed {}", found(bug));
        }
    }

    #[test]
    fn an_event_that_makes_folding_fail_is_set_aside_and_all_else_goes_on() {
        plant(Some(Bug::Poison));
        let mut set_aside = 0;
        for seed in 0..100 {
            match simulation::run(seed, true, false) {
                Ok(report) => set_aside += report.set_aside,
                Err(failure) => panic!("{failure}"),
            }
        }
        plant(None);
        assert!(set_aside >= 100, "{set_aside}");
    }
}
