//! One account's life: drawn once from its number, then asked about any day.
//!
//! A [`Life`] holds dates and sizes only, no history: what an account is like on a day is a pure function of the
//! life and the day, so that days can be generated in any order and a simulation can be entered anywhere.

use crate::archetype::{Archetype, Onboarding, Segment};
use crate::calendar::{TOKYO, ZONES};
use crate::names::{Company, DEPARTMENTS, FEATURES, VALUE_MILESTONE};
use crate::rng;

/// A day that never comes.
pub(crate) const NEVER: i32 = i32::MAX;

// What a draw is about; a part of its key.
const USER_JOINS: u64 = 2;
const USER_KEENNESS: u64 = 3;
const USER_STAYS: u64 = 4;
const WOBBLE: u64 = 5;
const RESTS: u64 = 10;
const DEPARTMENT: u64 = 11;
const FAULTS: u64 = 12;
const OFF_SEASON: u64 = 13;

/// How the account writes instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// RFC 3339 in UTC.
    Utc,
    /// RFC 3339 with Tokyo's offset.
    Tokyo,
    /// Epoch milliseconds.
    Millis,
}

/// What becomes of the champion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChampionFate {
    /// Fades as the others do.
    Stays,
    /// Is not seen from this day on (until the account recovers).
    Silent(i32),
    /// Is removed on this day.
    Removed(i32),
}

/// The share of the seats of an account that is going to expand that is taken early.
const EARLY_SEATS: f64 = 0.55;

/// The user who takes over from a champion who was removed.
pub(crate) const SUCCESSOR: u16 = 2;

/// The part a user plays, as an index into [`crate::names::ROLES`].
pub(crate) mod role {
    pub(crate) const CHAMPION: u8 = 0;
    pub(crate) const DECISION_MAKER: u8 = 1;
    pub(crate) const ADMIN: u8 = 2;
    pub(crate) const MEMBER: u8 = 3;
}

/// One account's life.
#[derive(Debug)]
pub(crate) struct Life {
    /// What all of the account's chance is keyed by.
    pub(crate) key: u64,
    pub(crate) archetype: Archetype,
    pub(crate) segment: Segment,
    pub(crate) onboarding: Onboarding,
    /// An index into [`ZONES`].
    pub(crate) zone: u8,
    pub(crate) company: Company,
    pub(crate) owner: u8,
    pub(crate) time_form: TimeForm,
    /// Contract before and after `turn_day`.
    pub(crate) terms: [Terms; 2],
    pub(crate) term_days: u16,
    /// How many days after the start the discount ends; 0 = no discount.
    pub(crate) discount_days: u16,
    /// Length of the trial in days; 0 = none.
    pub(crate) trial_days: u16,
    /// The day of signing up, and the second of that day.
    pub(crate) start_day: i32,
    pub(crate) start_second: u32,
    /// The first day that is told: the start, or the beginning of the period.
    pub(crate) first_day: i32,
    /// The day of cancelling or of the trial's end, the last one lived; [`NEVER`] when it goes on.
    pub(crate) end_day: i32,
    pub(crate) milestones: [i32; VALUE_MILESTONE + 1],
    /// The day the fading begins, and how long it goes down, stays down and comes back up.
    pub(crate) fade_from: i32,
    pub(crate) fade_days: u16,
    pub(crate) low_days: u16,
    pub(crate) rise_days: u16,
    pub(crate) champion: ChampionFate,
    /// The day of the upgrade, the downgrade, or the beginning of the trouble.
    pub(crate) turn_day: i32,
    /// The day from which advanced features are used; [`NEVER`] when they are not.
    pub(crate) advanced_from: i32,
    /// The day on which the last user joins, out of a department that is new to the account; [`NEVER`] when
    /// he is one of the others.
    pub(crate) newcomer_day: i32,
    /// How many users the account ever has.
    pub(crate) users: u16,
    /// How many of [`Life::features`] it uses at its best.
    pub(crate) breadth: u8,
    /// All features, the account's favourites first.
    pub(crate) features: [u8; FEATURES.len()],
}

/// What the account pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// An index into [`crate::names::PLANS`].
    pub(crate) plan: u8,
    pub(crate) seats: u16,
    /// A month's price, in the currency's units.
    pub(crate) mrr: u32,
}

/// What an account is like on a day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mood {
    /// How much of its usual activity it shows; 1 is as always.
    pub(crate) level: f64,
    /// How many of its favourite features it uses.
    pub(crate) breadth: u32,
    /// How often things go wrong for it, as a factor; 1 is as always.
    pub(crate) strain: f64,
    /// How often it meets faults besides, as a factor; 1 is as always.
    pub(crate) faults: f64,
    /// How content it is, 0 to 1.
    pub(crate) content: f64,
}

impl Life {
    /// The terms that hold on `day`.
    pub(crate) fn terms_on(&self, day: i32) -> Terms {
        let turned = self.terms[0] != self.terms[1] && day >= self.turn_day;
        self.terms[usize::from(turned)]
    }

    /// The tier by contract value.
    pub(crate) fn tier(&self) -> &'static str {
        let yen = if self.zone == TOKYO {
            self.terms[0].mrr
        } else {
            self.terms[0].mrr * 150
        };
        match yen {
            300_000.. => "high",
            50_000.. => "low",
            _ => "tech",
        }
    }

    pub(crate) fn currency(&self) -> &'static str {
        match ZONES[usize::from(self.zone)].0 {
            "Asia/Tokyo" => "JPY",
            "Europe/Berlin" => "EUR",
            _ => "USD",
        }
    }

    /// Whether its last day is a cancelled contract (and not a trial that ran out).
    pub(crate) fn churns(&self) -> bool {
        self.end_day != NEVER && self.archetype != Archetype::TrialLapsed
    }

    /// The first day on which a recovered account is itself again.
    pub(crate) fn recovered_day(&self) -> i32 {
        if self.archetype != Archetype::FadedRecovered {
            return NEVER;
        }
        self.rise_from() + i32::from(self.rise_days)
    }

    fn rise_from(&self) -> i32 {
        self.fade_from + i32::from(self.fade_days) + i32::from(self.low_days)
    }

    /// What the account is like on `day`, holidays apart.
    pub(crate) fn mood(&self, day: i32) -> Mood {
        let age = f64::from(day - self.start_day);
        let value_day = self.milestones[VALUE_MILESTONE];
        let settling = if value_day == NEVER {
            28.0
        } else {
            f64::from(value_day - self.start_day) + 14.0
        };
        let settled = (age / settling).clamp(0.0, 1.0);
        let breadth = f64::from(self.breadth);
        let mut mood = Mood {
            level: 0.45 + 0.55 * settled,
            breadth: (4.0 + (breadth - 4.0) * settled) as u32,
            strain: 1.0,
            faults: 1.0,
            content: 0.75,
        };
        match self.archetype {
            Archetype::StalledOnboarding => {
                mood.level = (0.5 * (1.0 - age / 25.0)).max(0.08);
                mood.breadth = 3;
                mood.content = 0.45;
            }
            Archetype::TrialLapsed => {
                let left = 1.0 - (age / f64::from(self.trial_days)).min(1.0);
                mood.level = 0.05 + 0.6 * left * left;
                mood.breadth = 4;
                mood.content = 0.5;
            }
            Archetype::FadedChurned | Archetype::FadedRecovered if day >= self.fade_from => {
                let (kept, low) = self.kept(day);
                mood.level *= low.max(kept);
                mood.breadth = ((f64::from(mood.breadth) * (0.25 + 0.75 * kept)) as u32).max(2);
                mood.strain = 1.0 + 2.5 * (1.0 - kept);
                mood.content = 0.2 + 0.55 * kept;
                // What drives some of them away is the product: it fails them for three weeks.
                let failed = rng::unit([self.key, FAULTS]) < 0.35;
                if failed && day < self.fade_from + 21 {
                    mood.faults = 20.0;
                }
            }
            Archetype::Seasonal => mood.level *= self.season(day),
            Archetype::Expanding => {
                let near = 1.0 - (f64::from(self.turn_day - day) / 90.0).clamp(0.0, 1.0);
                mood.level *= 1.0 + 0.15 * near;
                mood.content = 0.85;
            }
            Archetype::Downgraded if day >= self.turn_day => {
                mood.level *= 0.7;
                mood.breadth = mood.breadth.min(8);
                mood.content = 0.55;
            }
            Archetype::SupportTrouble if (self.turn_day..self.turn_day + 18).contains(&day) => {
                mood.level *= 0.75;
                mood.strain = 6.0;
                mood.faults = 8.0;
                mood.content = 0.4;
            }
            _ => {}
        }
        mood.level *= 0.92 + 0.16 * rng::unit([self.key, WOBBLE, day.div_euclid(7) as u64]);
        mood
    }

    /// How much of its level a fading account keeps on `day` (1 = all), and the least that it keeps.
    fn kept(&self, day: i32) -> (f64, f64) {
        let down = (f64::from(day - self.fade_from) / f64::from(self.fade_days)).min(1.0);
        let kept = (1.0 - down) * (1.0 - down);
        if self.archetype == Archetype::FadedChurned {
            return (kept, 0.04);
        }
        let up = (f64::from(day - self.rise_from()) / f64::from(self.rise_days)).clamp(0.0, 1.0);
        (kept.max(up), 0.12)
    }

    /// The season's factor: eight weeks of each half year dip to a half, with slopes of two weeks. A quarter
    /// of the seasonal accounts rest altogether in the middle of it.
    fn season(&self, day: i32) -> f64 {
        let turn = (self.key % 182) as i32;
        let into = f64::from((day + turn).rem_euclid(182));
        let slope = (into / 14.0).min((56.0 - into) / 14.0).clamp(0.0, 1.0);
        let depth = if rng::unit([self.key, OFF_SEASON]) < 0.25 {
            1.0
        } else {
            0.5
        };
        1.0 - depth * slope
    }

    /// How much of a day's work the account does where the calendar says `workday`: half the accounts close
    /// on holidays and on the days that people bridge them with, most of the others on holidays and at weekends.
    pub(crate) fn work(&self, workday: f64) -> f64 {
        let closes_below = match rng::unit([self.key, RESTS]) {
            draw if draw < 0.5 => 0.6,
            draw if draw < 0.85 => 0.1,
            _ => 0.0,
        };
        if workday < closes_below { 0.0 } else { workday }
    }

    /// Where `user` works, as an index into [`crate::names::DEPARTMENTS`]. Those who are invited early come
    /// from the departments that bought the product; of those who fill the seats before an upgrade, every
    /// other one comes from a new department.
    pub(crate) fn department(&self, user: u16) -> u8 {
        let first = self.key % DEPARTMENTS.len() as u64;
        let home: u64 = match self.segment {
            Segment::Smb => 1,
            Segment::Mid => 2,
            Segment::Enterprise => 4,
        };
        let draw = rng::key([self.key, DEPARTMENT, u64::from(user)]);
        let place = if self.is_of_new_department(user) {
            home + draw % 2
        } else {
            draw % home
        };
        ((first + place) % DEPARTMENTS.len() as u64) as u8
    }

    fn is_of_new_department(&self, user: u16) -> bool {
        if self.archetype == Archetype::Expanding {
            let early = f64::from(self.terms[0].seats) * EARLY_SEATS;
            return user > 2 && f64::from(user) >= early && user % 2 == 1;
        }
        self.newcomer_day != NEVER && user + 1 == self.users
    }

    /// The first day on which a user of a new department joins; [`NEVER`] when none does.
    pub(crate) fn spread_day(&self) -> i32 {
        let newcomers = (0..self.users).filter(|user| self.is_of_new_department(*user));
        newcomers.map(|user| self.joins(user)).min().unwrap_or(NEVER)
    }

    /// The part that user number `user` plays at first.
    pub(crate) fn role(&self, user: u16) -> u8 {
        let admins = 1 + self.users / 25;
        match user {
            0 => role::CHAMPION,
            1 if self.segment != Segment::Smb => role::DECISION_MAKER,
            user if user <= 1 + admins => role::ADMIN,
            _ => role::MEMBER,
        }
    }

    /// The user who is worked hard before an upgrade, if any.
    pub(crate) fn heavy_user(&self, day: i32) -> Option<u16> {
        (self.archetype == Archetype::Expanding && day >= self.turn_day - 75).then_some(2)
    }

    /// The day on which `user` is added.
    pub(crate) fn joins(&self, user: u16) -> i32 {
        if user == 0 {
            return self.start_day;
        }
        let invited = match self.milestones[1] {
            NEVER => self.start_day + 2,
            day => day,
        };
        if user <= 2 {
            return invited;
        }
        if self.newcomer_day != NEVER && user + 1 == self.users {
            return self.newcomer_day.max(invited);
        }
        let early = |span: f64| invited + (span * rng::unit([self.key, USER_JOINS, u64::from(user)])) as i32;
        if self.archetype != Archetype::Expanding {
            return early(42.0);
        }
        // A little over half the seats are taken early, the rest before the upgrade, the new ones after it.
        let seats = f64::from(self.terms[0].seats);
        let (half, full) = (seats * EARLY_SEATS, seats * 0.98);
        let number = f64::from(user);
        let day = if number < half {
            early(30.0)
        } else if number < full {
            self.turn_day - 3 - (70.0 * (full - number) / (full - half)) as i32
        } else {
            let added = f64::from(self.users) - full;
            self.turn_day + 1 + (45.0 * (number - full) / added.max(1.0)) as i32
        };
        day.max(invited)
    }

    /// The chance that `user` is seen on a plain working day on which the account's mood is `mood`.
    pub(crate) fn keenness(&self, user: u16, day: i32, mood: &Mood) -> f64 {
        if self.heavy_user(day) == Some(user) {
            return 0.97;
        }
        if user == 0 {
            return 0.75 * self.champion_presence(day) * mood.level.min(1.1);
        }
        if user == SUCCESSOR && day > self.succession_day() {
            return 0.75 * mood.level.min(1.1);
        }
        let draw = rng::unit([self.key, USER_KEENNESS, u64::from(user)]);
        let keenness = match self.role(user) {
            role::DECISION_MAKER => 0.1,
            role::ADMIN => 0.4 + 0.3 * draw,
            _ => 0.05 + 0.5 * draw * draw,
        };
        // When an account fades, users drop out one by one, and those who stay come less often.
        let staying = (0.25 + 0.75 * mood.level).min(1.0);
        if rng::unit([self.key, USER_STAYS, u64::from(user)]) >= staying {
            return 0.0;
        }
        keenness * mood.level / staying
    }

    fn champion_presence(&self, day: i32) -> f64 {
        match self.champion {
            ChampionFate::Removed(gone) if day >= gone => 0.0,
            ChampionFate::Silent(since) if day >= since => {
                let back = self.archetype == Archetype::FadedRecovered && day >= self.rise_from();
                f64::from(u8::from(back))
            }
            _ => 1.0,
        }
    }

    /// The day on which a successor is named for a champion who was removed; [`NEVER`] when none is.
    pub(crate) fn succession_day(&self) -> i32 {
        match self.champion {
            ChampionFate::Removed(gone) if self.archetype == Archetype::FadedRecovered => {
                gone.max(self.rise_from())
            }
            // Where all is well, someone is named within days.
            ChampionFate::Removed(gone) if self.archetype != Archetype::FadedChurned => {
                gone + 1 + (self.key % 9) as i32
            }
            _ => NEVER,
        }
    }
}
