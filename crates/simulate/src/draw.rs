//! Drawing a life: all of its dates and sizes, once, from the account's number.

use crate::archetype::{Archetype, Onboarding, Segment};
use crate::calendar::{TOKYO, ZONES, Zone, next_weekday, to_date, to_day};
use crate::config::Config;
use crate::life::{ChampionFate, Life, NEVER, Terms, TimeForm};
use crate::names::{ADVANCED_FEATURES, Company, FEATURES, OWNERS, VALUE_MILESTONE};
use crate::rng::{self, Rng};

/// For how many days at most the past of an account that signed up before the period is told (its milestones and
/// users), so that it is still young enough to be folded.
const HISTORY_DAYS: i32 = 90;
/// The age beyond which receivers turn events away by default is 400 days; what is told stays clear of it.
const OLDEST_DAYS: i32 = 395;
/// A fader's own level ten weeks before it leaves is measured over the four weeks that end there.
const LEVEL_KNOWN_DAYS: i32 = 98;

const LIFE: u64 = 1;
const ASIDES: u64 = 14;

/// The simulated period, in local days.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    pub(crate) begin: i32,
    pub(crate) until: i32,
}

impl Period {
    /// The period of `config`: what has begun by its end everywhere.
    pub(crate) fn of(config: &Config, zones: &[Zone]) -> Self {
        let until = zones
            .iter()
            .map(|zone| zone.day_of(config.until_ms))
            .min()
            .unwrap_or(0);
        let end = to_date(until);
        let begin = end
            .checked_sub(jiff::Span::new().months(i64::from(config.months)))
            .unwrap_or(end);
        Period {
            begin: to_day(begin),
            until,
        }
    }

    fn days(self) -> i32 {
        self.until - self.begin
    }
}

/// Gives every account its archetype so that the shares hold closely for any number of accounts.
pub(crate) struct Assignment {
    /// Upper bounds of each archetype's part of [0, 1).
    bounds: Vec<(f64, Archetype)>,
    offset: f64,
}

impl Assignment {
    pub(crate) fn new(config: &Config) -> Self {
        let total: f64 = config.archetypes.values().sum();
        let mut reached = 0.0;
        let mut bounds = Vec::new();
        for (archetype, weight) in &config.archetypes {
            reached += weight / total;
            if *weight > 0.0 {
                bounds.push((reached, *archetype));
            }
        }
        Self {
            bounds,
            offset: rng::unit([config.seed]),
        }
    }

    pub(crate) fn archetype(&self, account: u32) -> Archetype {
        // Multiples of the golden ratio fill the interval evenly from the first few on.
        let place = (f64::from(account) * 0.618_033_988_749_894_9 + self.offset).fract();
        let last = self.bounds[self.bounds.len() - 1].1;
        self.bounds
            .iter()
            .find(|(bound, _)| place < *bound)
            .map_or(last, |(_, archetype)| *archetype)
    }
}

impl Life {
    /// Draws the life of the account with number `index`, which lives so.
    pub(crate) fn draw(seed: u64, index: u32, archetype: Archetype, period: Period) -> Self {
        let key = rng::key([seed, LIFE, u64::from(index)]);
        let mut rng = Rng::keyed([key, LIFE]);

        let zone = rng.weighted(&ZONES.map(|(_, weight)| weight)) as u8;
        let japanese = zone == TOKYO && rng.chance(0.75);
        let company = Company::draw(&mut rng, japanese, zone);
        let owner = rng.below(OWNERS.len() as u32) as u8;
        let time_form = [TimeForm::Utc, TimeForm::Millis, TimeForm::Tokyo][rng.weighted(&[70, 20, 10])];
        let segment = [Segment::Smb, Segment::Mid, Segment::Enterprise][rng.weighted(&[55, 35, 10])];
        let seats = match segment {
            Segment::Smb => rng.between(3, 12),
            Segment::Mid => rng.between(13, 50),
            Segment::Enterprise => rng.between(51, 250),
        } as u16;
        let before = draw_terms(&mut rng, segment, seats, zone);
        let term_days = match segment {
            Segment::Smb => [30, 182, 365][rng.weighted(&[50, 15, 35])],
            Segment::Mid => [30, 182, 365][rng.weighted(&[15, 25, 60])],
            Segment::Enterprise => 365,
        };
        let discount_days = if rng.chance(0.2) { 90 } else { 0 };

        let onboarding = draw_onboarding(&mut rng, archetype);
        let start_day = draw_start(&mut rng, archetype, period);
        let start_second = 9 * 3_600 + rng.below(8 * 3_600);
        let trial_days = match archetype {
            Archetype::TrialConverted | Archetype::TrialLapsed => [14, 30][rng.weighted(&[60, 40])],
            _ => 0,
        };
        let milestones = draw_milestones(&mut rng, archetype, onboarding, start_day, trial_days);

        let mut life = Self {
            key,
            archetype,
            segment,
            onboarding,
            zone,
            company,
            owner,
            time_form,
            terms: [before, before],
            term_days,
            discount_days,
            trial_days,
            start_day,
            start_second,
            first_day: start_day.max(period.begin),
            end_day: NEVER,
            milestones,
            fade_from: NEVER,
            fade_days: 1,
            low_days: 0,
            rise_days: 1,
            champion: ChampionFate::Stays,
            turn_day: NEVER,
            advanced_from: NEVER,
            newcomer_day: NEVER,
            users: 0,
            breadth: (11 + rng.below(8)) as u8,
            features: draw_features(&mut rng),
        };
        life.draw_story(&mut rng, period);
        life.users = life.draw_users(&mut rng);
        life.draw_asides(period);
        life
    }

    /// Draws when what makes the archetype happens.
    fn draw_story(&mut self, rng: &mut Rng, period: Period) {
        // The account's own level must be known before it changes, as far as the period has room for it.
        let settled = self.first_day.max(self.start_day + 40);
        let room = |days: i32| (settled + days).min(period.begin + period.days() * 6 / 10);
        match self.archetype {
            Archetype::FadedChurned => {
                let longest = (period.days() * 4 / 10).clamp(14, 70);
                self.fade_days = rng.between(28.min(longest), longest) as u16;
                let earliest = room(LEVEL_KNOWN_DAYS);
                self.end_day = rng.between(earliest, period.until + 35);
                self.fade_from = self.end_day - i32::from(self.fade_days);
                self.champion = draw_champion(rng, self.fade_from);
                // Most contracts of a long term are left as they come up for renewal.
                let lived = self.end_day - self.start_day;
                if self.term_days > 30 && lived > 60 && rng.chance(0.7) {
                    self.term_days = (lived + rng.between(3, 25)) as u16;
                }
                // Others leave as their discount ends.
                if rng.chance(0.2) && lived > 60 {
                    self.discount_days = (lived + rng.between(-5, 20)) as u16;
                }
                // Some try with less first.
                if rng.chance(0.25) {
                    self.turn_day = next_weekday(self.fade_from + i32::from(self.fade_days) / 2);
                    self.terms[1] = fewer(self.terms[0]);
                }
            }
            Archetype::FadedRecovered => {
                self.fade_days = rng.between(25, 45) as u16;
                self.low_days = rng.between(5, 14) as u16;
                self.rise_days = rng.between(10, 18) as u16;
                self.fade_from = rng.between(room(30), period.until - 20);
                self.champion = draw_champion(rng, self.fade_from);
            }
            Archetype::SuddenChurn => self.end_day = rng.between(room(LEVEL_KNOWN_DAYS), period.until + 20),
            Archetype::StalledOnboarding => {
                if rng.chance(0.5) {
                    self.end_day = self.start_day + rng.between(60, 90);
                }
            }
            Archetype::TrialLapsed => self.end_day = self.start_day + i32::from(self.trial_days),
            Archetype::Expanding => {
                self.turn_day = next_weekday(rng.between(room(45), period.until + 20));
                let before = self.terms[0];
                self.terms[1] = Terms {
                    plan: (before.plan + 1).min(3),
                    seats: before.seats * 8 / 5 + 1,
                    mrr: before.mrr * 17 / 10,
                };
            }
            Archetype::Downgraded => {
                self.turn_day = next_weekday(rng.between(room(45), period.until + 10));
                self.terms[1] = fewer(self.terms[0]);
            }
            Archetype::SupportTrouble => {
                self.turn_day = next_weekday(rng.between(room(30), period.until - 10));
            }
            Archetype::TrialConverted
            | Archetype::FastOnboarding
            | Archetype::SlowOnboarding
            | Archetype::Steady
            | Archetype::Seasonal => {}
        }
    }

    /// What happens to some accounts whatever their archetype and means nothing, or (to those who expand) something.
    fn draw_asides(&mut self, period: Period) {
        let mut rng = Rng::keyed([self.key, ASIDES]);
        let some_day = |rng: &mut Rng, from: i32| from.max(period.begin + rng.between(20, period.days()));
        self.advanced_from = match self.archetype {
            Archetype::Expanding => self.turn_day - rng.between(20, 60),
            _ if rng.chance(0.06) => some_day(&mut rng, self.start_day + 30),
            _ => NEVER,
        };
        let well = matches!(
            self.archetype,
            Archetype::Steady | Archetype::Seasonal | Archetype::FastOnboarding | Archetype::SlowOnboarding
        );
        if well && rng.chance(0.06) {
            self.champion = ChampionFate::Removed(next_weekday(some_day(&mut rng, self.start_day + 60)));
        }
        if self.users > 4 && self.archetype != Archetype::Expanding && rng.chance(0.08) {
            self.newcomer_day = next_weekday(some_day(&mut rng, self.start_day + 50));
        }
    }

    fn draw_users(&self, rng: &mut Rng) -> u16 {
        let seats = f64::from(self.terms[0].seats);
        let users = match self.archetype {
            Archetype::StalledOnboarding | Archetype::TrialLapsed => return 3,
            Archetype::Expanding => f64::from(self.terms[1].seats) * 0.85,
            Archetype::Downgraded => seats * 0.6,
            _ => seats * (0.6 + 0.35 * rng.unit()),
        };
        (users as u16).max(3)
    }
}

/// The smaller contract of an account that cuts down.
fn fewer(before: Terms) -> Terms {
    Terms {
        plan: before.plan.saturating_sub(1),
        seats: (before.seats * 2 / 3).max(2),
        mrr: before.mrr * 3 / 5,
    }
}

fn draw_terms(rng: &mut Rng, segment: Segment, seats: u16, zone: u8) -> Terms {
    let plan = match segment {
        Segment::Smb => rng.weighted(&[60, 40]),
        Segment::Mid => 1 + rng.weighted(&[50, 50]),
        Segment::Enterprise => 2 + rng.weighted(&[30, 70]),
    } as u8;
    let yen_per_seat = [1_200, 2_400, 3_600, 4_800][usize::from(plan)];
    let yen = u32::from(seats) * yen_per_seat;
    let mrr = if zone == TOKYO { yen } else { yen / 150 };
    Terms { plan, seats, mrr }
}

fn draw_onboarding(rng: &mut Rng, archetype: Archetype) -> Onboarding {
    let drawn = [Onboarding::Fast, Onboarding::Normal][rng.weighted(&[30, 70])];
    match archetype {
        Archetype::FastOnboarding => Onboarding::Fast,
        Archetype::SlowOnboarding => Onboarding::Slow,
        Archetype::StalledOnboarding | Archetype::TrialLapsed => Onboarding::Stalled,
        _ => drawn,
    }
}

fn draw_start(rng: &mut Rng, archetype: Archetype, period: Period) -> i32 {
    if archetype.begins_within_the_period() {
        let latest = match archetype {
            Archetype::StalledOnboarding => period.until - 20.min(period.days() / 2),
            _ => period.until - 3,
        };
        return next_weekday(rng.between(period.begin + 1, latest)).min(period.until - 1);
    }
    let history = (OLDEST_DAYS - period.days()).clamp(0, HISTORY_DAYS);
    let before = rng.chance(0.75);
    let day = if before {
        period.begin - rng.between(0, history)
    } else {
        period.begin + rng.between(1, period.days() / 8 + 1)
    };
    next_weekday(day)
}

/// Days of the milestones. Each is later than the one before it.
fn draw_milestones(
    rng: &mut Rng,
    archetype: Archetype,
    onboarding: Onboarding,
    start: i32,
    trial_days: u16,
) -> [i32; VALUE_MILESTONE + 1] {
    let value = match onboarding {
        Onboarding::Fast => rng.between(1, 4),
        Onboarding::Normal if trial_days > 0 => rng.between(5, 12),
        Onboarding::Normal => rng.between(5, 16),
        Onboarding::Slow => rng.between(28, 60),
        Onboarding::Stalled => {
            let invited = if rng.chance(0.6) {
                start + rng.between(1, 6)
            } else {
                NEVER
            };
            let connected = if archetype == Archetype::TrialLapsed && invited != NEVER && rng.chance(0.3) {
                invited + 2
            } else {
                NEVER
            };
            return [start, invited, connected, NEVER, NEVER];
        }
    };
    let part = |share: i32| start + value * share / 100;
    [start, part(20), part(50), part(80), start + value]
}

fn draw_champion(rng: &mut Rng, fade_from: i32) -> ChampionFate {
    match rng.weighted(&[30, 40, 30]) {
        0 => ChampionFate::Stays,
        1 => ChampionFate::Silent(fade_from + rng.between(3, 14)),
        _ => ChampionFate::Removed(next_weekday(fade_from + rng.between(5, 18))),
    }
}

fn draw_features(rng: &mut Rng) -> [u8; FEATURES.len()] {
    let mut features = [0; FEATURES.len()];
    for (index, feature) in features.iter_mut().enumerate() {
        *feature = index as u8;
    }
    // The advanced ones stay at the end, where no favourite is.
    for last in (1..features.len() - ADVANCED_FEATURES.len()).rev() {
        features.swap(last, rng.below(last as u32 + 1) as usize);
    }
    features
}
