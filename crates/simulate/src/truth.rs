//! What is true of each account, known because it was made so. Says only what has come true by the end of the
//! simulation, save for the fields that say otherwise.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::archetype::{Archetype, Onboarding, Segment};
use crate::calendar::{SECOND, ZONES, Zone};
use crate::life::{ChampionFate, Life, NEVER};
use crate::names::VALUE_MILESTONE;
use crate::render::rfc3339;
use crate::script::{contract_start, value_second};

/// What is true of one account. Instants are epoch milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountTruth {
    /// The account's id, as in its events.
    pub account_id: String,
    /// The kind of life it has.
    pub archetype: Archetype,
    /// Its size.
    pub segment: Segment,
    /// Its tier by contract value: `high`, `low` or `tech`.
    pub tier: String,
    /// Its IANA time zone.
    pub timezone: String,
    /// How its onboarding goes. `stalled` never reaches first value.
    pub onboarding: Onboarding,
    /// When it signed up; may lie before the simulated period.
    pub start: i64,
    /// When it reached first value.
    pub first_value_at: Option<i64>,
    /// When its trial turned into a contract.
    pub converted_at: Option<i64>,
    /// When its trial ran out without a contract.
    pub lapsed_at: Option<i64>,
    /// When it began to fade (those who churn after fading, and those who recover).
    pub fade_from: Option<i64>,
    /// When it was itself again after fading.
    pub recovered_at: Option<i64>,
    /// When it upgraded.
    pub expanded_at: Option<i64>,
    /// When it downgraded or dropped an option (those who downgrade, and some of those who churn after fading).
    pub downgraded_at: Option<i64>,
    /// When its support trouble began.
    pub trouble_at: Option<i64>,
    /// When its champion was removed.
    pub champion_removed_at: Option<i64>,
    /// When the first user of a new department was added (those who expand, and a few others).
    pub spread_at: Option<i64>,
    /// When it cancelled (`contract` `cancelled`).
    pub churned_at: Option<i64>,
    /// When it is going to cancel after the simulation's end; at most 35 days ahead for those who fade.
    pub will_churn_at: Option<i64>,
    /// How many records have been emitted so far: events, their duplicates, and malformed ones.
    pub emitted: u64,
    /// How many distinct valid events have been emitted so far.
    pub distinct: u64,
}

impl AccountTruth {
    pub(crate) fn of(life: &Life, account_id: String, zone: &Zone, until: i64) -> Self {
        let planned = |day: i32, second: u32| {
            (day != NEVER && day <= life.end_day).then(|| zone.midnight(day) + i64::from(second) * SECOND)
        };
        let known = |day: i32, second: u32| planned(day, second).filter(|at| *at <= until);
        let turn = |archetype: Archetype| {
            if life.archetype == archetype {
                known(life.turn_day, 11 * 3_600)
            } else {
                None
            }
        };
        let ended = planned(life.end_day, 17 * 3_600);
        let churn = ended.filter(|_| life.churns());
        let trial_end = |archetype: Archetype, day: i32, second: u32| {
            if life.archetype == archetype {
                known(day, second)
            } else {
                None
            }
        };
        Self {
            account_id,
            archetype: life.archetype,
            segment: life.segment,
            tier: life.tier().to_owned(),
            timezone: ZONES[usize::from(life.zone)].0.to_owned(),
            onboarding: life.onboarding,
            start: zone.midnight(life.start_day) + i64::from(life.start_second) * SECOND,
            first_value_at: known(life.milestones[VALUE_MILESTONE], value_second(life)),
            converted_at: trial_end(Archetype::TrialConverted, contract_start(life), 16 * 3_600),
            lapsed_at: trial_end(Archetype::TrialLapsed, life.end_day, 86_399),
            fade_from: known(life.fade_from, 0),
            recovered_at: known(life.recovered_day(), 0),
            expanded_at: turn(Archetype::Expanding),
            downgraded_at: turn(Archetype::Downgraded).or_else(|| turn(Archetype::FadedChurned)),
            trouble_at: turn(Archetype::SupportTrouble),
            champion_removed_at: match life.champion {
                ChampionFate::Removed(gone) => known(gone, 12 * 3_600),
                _ => None,
            },
            spread_at: known(life.spread_day(), 0),
            churned_at: churn.filter(|at| *at <= until),
            will_churn_at: churn.filter(|at| *at > until),
            emitted: 0,
            distinct: 0,
        }
    }
}

/// The columns of the truth file, in order: the fields of [`AccountTruth`] by their names.
pub const TRUTH_COLUMNS: [&str; 21] = [
    "account_id",
    "archetype",
    "segment",
    "tier",
    "timezone",
    "onboarding",
    "start",
    "first_value_at",
    "converted_at",
    "lapsed_at",
    "fade_from",
    "recovered_at",
    "expanded_at",
    "downgraded_at",
    "trouble_at",
    "champion_removed_at",
    "spread_at",
    "churned_at",
    "will_churn_at",
    "emitted",
    "distinct",
];

/// Writes the truth as CSV: a header of [`TRUTH_COLUMNS`], then a line for each account; instants in RFC 3339
/// (UTC), empty where there is none.
///
/// # Errors
/// Those of creating and writing the file; they name `path`.
pub fn write_truth(path: &Path, truth: &[AccountTruth]) -> io::Result<()> {
    write_csv(path, truth).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot write the truth to {}: {error}", path.display()),
        )
    })
}

fn write_csv(path: &Path, truth: &[AccountTruth]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "{}", TRUTH_COLUMNS.join(","))?;
    for account in truth {
        write!(
            file,
            "{},{},{},{},{},{},{}",
            account.account_id,
            account.archetype,
            account.segment.as_str(),
            account.tier,
            account.timezone,
            account.onboarding.as_str(),
            rfc3339(account.start),
        )?;
        for at in [
            account.first_value_at,
            account.converted_at,
            account.lapsed_at,
            account.fade_from,
            account.recovered_at,
            account.expanded_at,
            account.downgraded_at,
            account.trouble_at,
            account.champion_removed_at,
            account.spread_at,
            account.churned_at,
            account.will_churn_at,
        ] {
            write!(file, ",{}", at.map(rfc3339).unwrap_or_default())?;
        }
        writeln!(file, ",{},{}", account.emitted, account.distinct)?;
    }
    file.flush()
}
