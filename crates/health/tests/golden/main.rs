//! Golden accounts: the lives in `tests/golden`, whose numbers were worked out by hand from
//! `docs/numbers.md`, lived through the core.
//!
//! An account's events are decoded as ingest decodes them and folded in the order in which they were
//! received. It is evaluated every evening at 20:00 of its own time, and at the instants that the file
//! asks about, each time with what had been received by then. `tests/golden/README.md` describes the
//! files.

#![allow(clippy::unwrap_used, reason = "all of this file is tests, the helpers too")]

mod arithmetic;
mod life;

use std::collections::BTreeSet;
use std::path::PathBuf;

use life::Life;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn live(name: &str) {
    let path = folder().join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let life: Life = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}.toml: {error}"));
    let wrong = life.run();
    assert!(wrong.is_empty(), "{name}.toml:\n  {}\n", wrong.join("\n  "));
}

macro_rules! golden {
    ($($name:ident,)+) => {
        $(
            #[test]
            fn $name() {
                live(stringify!($name));
            }
        )+

        #[test]
        fn every_file_is_lived() {
            let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
            let lives = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
            let found: BTreeSet<String> = lives
                .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
                .collect();
            assert_eq!(found, BTreeSet::from([$(stringify!($name).to_string(),)+]));
        }
    };
}

golden! {
    champion_left,
    escalated_ticket,
    expander,
    fader,
    faults,
    golden_week,
    heavy_user,
    late_data,
    leap_day_and_summer_time,
    nps_detractor,
    people_act,
    recoverer,
    stalled_onboarding,
    tiers_and_currencies,
    trial_lapsed,
}
