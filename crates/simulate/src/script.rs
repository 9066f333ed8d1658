//! What happens to an account apart from its daily use: attributes, users, contract, milestones, tickets, surveys.
//!
//! The script of a life is written from its beginning up to a day, always in the same order: a longer script
//! begins with the shorter one, so an entry's place in it is a name for it that never changes.

use crate::archetype::{Archetype, Segment};
use crate::calendar::{is_weekend, next_weekday};
use crate::life::{ChampionFate, Life, NEVER, SUCCESSOR, role};
use crate::names::{CHANNELS, ROLES, VALUE_MILESTONE};
use crate::rng::Rng;

const SCRIPT: u64 = 6;

/// No user.
pub(crate) const NOBODY: u16 = u16::MAX;

/// What an event says. Numbers are indices into the tables of [`crate::names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Login {
        client: u8,
    },
    Feature {
        feature: u8,
        count: u8,
        deciseconds: u16,
    },
    Milestone {
        milestone: u8,
    },
    Attributes,
    TermsChanged,
    User {
        role: u8,
        removed: bool,
    },
    Contract(Change),
    Ticket {
        change: Ticket,
        number: u16,
        severity: u8,
        channel: u8,
    },
    Survey {
        survey: Survey,
        score: u8,
    },
    Engagement {
        engagement: u8,
        results: u8,
    },
    Error {
        error: u8,
        severity: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    TrialStarted,
    Started,
    Renewed,
    Upgraded,
    Downgraded,
    OptionRemoved,
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ticket {
    Opened,
    Replied,
    Escalated,
    Resolved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Survey {
    Nps,
    Csat,
    Ces,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) day: i32,
    pub(crate) second: u32,
    pub(crate) user: u16,
    pub(crate) what: What,
}

/// Writes the script of `life` into `script`: everything that begins on or before `through`, with its sequel.
pub(crate) fn write(life: &Life, through: i32, script: &mut Vec<Entry>) {
    script.clear();
    let mut pen = Pen { life, script };
    pen.beginning();
    pen.turns();
    pen.ending();
    // Weekly matters of the time before the period are not told.
    let mut week = (first_told_week(life) - life.start_day) / 7;
    while life.start_day + 7 * week <= through.min(life.end_day) {
        pen.week(week);
        week += 1;
    }
}

// Seconds of the day.
const MORNING: u32 = 8 * 3_600;
const NOON: u32 = 12 * 3_600;

struct Pen<'a> {
    life: &'a Life,
    script: &'a mut Vec<Entry>,
}

impl Pen<'_> {
    fn note(&mut self, day: i32, second: u32, user: u16, what: What) {
        // What is not reached (a milestone, a day after the end) is left out of the script.
        if day == NEVER || day > self.life.end_day {
            return;
        }
        self.script.push(Entry {
            day,
            second: second.min(86_399),
            user,
            what,
        });
    }

    /// Signing up, the users, the milestones, the first contract.
    fn beginning(&mut self) {
        let life = self.life;
        let (day, second) = (life.start_day, life.start_second);
        self.note(day, second, NOBODY, What::Attributes);
        self.note(
            day,
            second + 1,
            0,
            What::User {
                role: role::CHAMPION,
                removed: false,
            },
        );
        let first = if life.trial_days > 0 {
            Change::TrialStarted
        } else {
            Change::Started
        };
        self.note(day, second + 2, NOBODY, What::Contract(first));
        self.note(day, second + 5, 0, What::Login { client: 0 });
        for (number, reached) in life.milestones.iter().enumerate() {
            // The later ones come in the afternoon, each at a minute of its own.
            let at = if *reached == day {
                second + 300
            } else {
                13 * 3_600 + 1_200 * number as u32
            };
            self.note(
                *reached,
                at,
                0,
                What::Milestone {
                    milestone: number as u8,
                },
            );
        }
        // A contract that was renewed before the period is told as it stands: begun, and renewed last.
        let term = i32::from(life.term_days);
        let renewed =
            contract_start(life) + (first_told_week(life) - 1 - contract_start(life)).div_euclid(term) * term;
        if renewed > contract_start(life) {
            self.note(renewed, 3_600, NOBODY, What::Contract(Change::Renewed));
        }
        if life.archetype == Archetype::TrialConverted {
            let converted = day + i32::from(life.trial_days) - 1;
            self.note(converted, 16 * 3_600, NOBODY, What::Contract(Change::Started));
        }
        let mut departments_seen = 0u32;
        for user in 1..life.users {
            let joined = life.joins(user);
            let role = life.role(user);
            // Of the use before the period this much is told: since when each department has been at it.
            let department = 1 << life.department(user);
            if joined + 1 < life.first_day && departments_seen & department == 0 {
                departments_seen |= department;
                self.note(joined + 1, NOON, user, What::Login { client: 0 });
            }
            debug_assert!(usize::from(role) < ROLES.len());
            let second = if joined == day { second + 600 } else { MORNING };
            self.note(
                joined,
                second + u32::from(user),
                user,
                What::User { role, removed: false },
            );
        }
    }

    /// What makes the archetype: the champion's leaving, the upgrade, the trouble.
    fn turns(&mut self) {
        let life = self.life;
        let mut rng = Rng::keyed([life.key, SCRIPT]);
        if let ChampionFate::Removed(gone) = life.champion {
            self.note(
                gone,
                NOON,
                0,
                What::User {
                    role: role::CHAMPION,
                    removed: true,
                },
            );
        }
        self.note(
            life.succession_day(),
            NOON,
            SUCCESSOR,
            What::User {
                role: role::CHAMPION,
                removed: false,
            },
        );
        let turn = life.turn_day;
        match life.archetype {
            Archetype::Expanding => {
                self.note(turn, 11 * 3_600, NOBODY, What::Contract(Change::Upgraded));
                self.note(turn, 11 * 3_600 + 1, NOBODY, What::TermsChanged);
            }
            Archetype::Downgraded => {
                let change = if rng.chance(0.3) {
                    Change::OptionRemoved
                } else {
                    Change::Downgraded
                };
                self.note(turn, 11 * 3_600, NOBODY, What::Contract(change));
                self.note(turn, 11 * 3_600 + 1, NOBODY, What::TermsChanged);
            }
            Archetype::FadedChurned if turn != NEVER => {
                self.note(turn, 11 * 3_600, NOBODY, What::Contract(Change::OptionRemoved));
                self.note(turn, 11 * 3_600 + 1, NOBODY, What::TermsChanged);
                self.fading(&mut rng);
            }
            Archetype::SupportTrouble => {
                for number in 0..3 + rng.below(4) as u16 {
                    let day = next_weekday(turn + rng.between(0, 9));
                    let escalated = number == 0 || rng.chance(0.3);
                    let reporter = self.reporter(&mut rng, day);
                    self.ticket(
                        &mut rng,
                        Problem {
                            day,
                            reporter,
                            number,
                            escalated,
                            // The first of them takes long.
                            days: if number == 0 { 18 } else { 6 },
                            resolved: true,
                        },
                    );
                }
            }
            Archetype::FadedChurned | Archetype::FadedRecovered => self.fading(&mut rng),
            _ => {}
        }
    }

    /// What goes with fading: tickets left open, a low score.
    fn fading(&mut self, rng: &mut Rng) {
        let life = self.life;
        let fade_days = i32::from(life.fade_days);
        if rng.chance(0.65) {
            for number in 0..1 + rng.below(3) as u16 {
                let day = next_weekday(life.fade_from + rng.between(2, fade_days * 3 / 4));
                let escalated = rng.chance(0.4);
                let resolved = life.archetype == Archetype::FadedRecovered;
                let reporter = self.reporter(rng, day);
                let days = fade_days / 2 + 7;
                self.ticket(
                    rng,
                    Problem {
                        day,
                        reporter,
                        number,
                        escalated,
                        days,
                        resolved,
                    },
                );
            }
        }
        if rng.chance(0.6) {
            let day = next_weekday(life.fade_from + rng.between(5, fade_days * 2 / 3));
            let survey = What::Survey {
                survey: Survey::Nps,
                score: rng.below(6) as u8,
            };
            self.note(day, NOON + rng.below(14_400), self.reporter(rng, day), survey);
        }
        if life.archetype == Archetype::FadedRecovered && rng.chance(0.7) {
            let day = next_weekday(life.recovered_day() + rng.between(3, 20));
            let survey = What::Survey {
                survey: Survey::Nps,
                score: 7 + rng.below(4) as u8,
            };
            self.note(day, NOON + rng.below(14_400), self.reporter(rng, day), survey);
        }
    }

    /// The cancellation, and at times a last export within [`crate::CHURN_GRACE_MS`].
    fn ending(&mut self) {
        let life = self.life;
        if !life.churns() {
            return;
        }
        let mut rng = Rng::keyed([life.key, SCRIPT, 1]);
        self.note(
            life.end_day,
            17 * 3_600,
            NOBODY,
            What::Contract(Change::Cancelled),
        );
        if rng.chance(0.3) {
            let (day, second) = (life.end_day + 1, 10 * 3_600 + rng.below(6 * 3_600));
            let export = What::Feature {
                feature: 1,
                count: 1 + rng.below(5) as u8,
                deciseconds: 400,
            };
            self.script.push(Entry {
                day,
                second,
                user: 1,
                what: What::Login { client: 0 },
            });
            self.script.push(Entry {
                day,
                second: second + 90,
                user: 1,
                what: export,
            });
        }
    }

    /// The everyday matters of one week of the account's life.
    fn week(&mut self, week: i32) {
        let life = self.life;
        let mut rng = Rng::keyed([life.key, SCRIPT, 2, week as u64]);
        let monday = life.start_day + 7 * week;
        let mood = life.mood(monday + 3);
        let size = f64::from(life.users).min(60.0);

        self.renewals(monday);
        if rng.chance(((0.04 + 0.006 * size) * mood.strain.min(2.5) * mood.level.max(0.2)).min(0.8)) {
            let day = self.weekday(&mut rng, monday);
            let slow = rng.chance(0.08);
            let days = if slow { 9 } else { rng.between(1, 4) };
            // The team answers those who are leaving as it answers all; some never come back to say it is solved.
            let resolved = rng.chance(match life.archetype {
                Archetype::FadedChurned => 0.5 + 0.5 * mood.level.min(1.0),
                // Now and then one is forgotten.
                _ => 0.98,
            });
            let number = 16 + week as u16 % 4_000;
            let reporter = self.reporter(&mut rng, day);
            self.ticket(
                &mut rng,
                Problem {
                    day,
                    reporter,
                    number,
                    escalated: slow,
                    days,
                    resolved,
                },
            );
        }
        if (week + (life.key % 13) as i32) % 13 == 12 {
            for _ in 0..1 + rng.below(if life.segment == Segment::Smb { 1 } else { 3 }) {
                let day = self.weekday(&mut rng, monday);
                let score = (10.0 * mood.content + 3.5 * (rng.unit() - 0.3)).clamp(0.0, 10.0) as u8;
                let user = self.reporter(&mut rng, day);
                self.note(
                    day,
                    NOON + rng.below(14_400),
                    user,
                    What::Survey {
                        survey: Survey::Nps,
                        score,
                    },
                );
            }
        }
        if (week + (life.key % 13) as i32) % 13 == 5 {
            let day = self.weekday(&mut rng, monday);
            let score = satisfaction(mood.content, &mut rng) as u8;
            let user = self.reporter(&mut rng, day);
            self.note(
                day,
                NOON + rng.below(14_400),
                user,
                What::Survey {
                    survey: Survey::Csat,
                    score,
                },
            );
        }
        if rng.chance(0.02 * mood.level) {
            let day = self.weekday(&mut rng, monday);
            let score = (7.0 * mood.content + 2.0 * (rng.unit() - 0.3)).clamp(1.0, 7.0) as u8;
            self.note(
                day,
                NOON + rng.below(14_400),
                0,
                What::Survey {
                    survey: Survey::Ces,
                    score,
                },
            );
        }
        if rng.chance(0.12 * mood.level) {
            let day = self.weekday(&mut rng, monday);
            let engagement = 1 + rng.weighted(&[50, 20, 20, 6, 4]) as u8;
            let user = self.reporter(&mut rng, day);
            self.note(
                day,
                NOON + rng.below(14_400),
                user,
                What::Engagement {
                    engagement,
                    results: 0,
                },
            );
        }
    }

    /// The renewals that fall into the week that begins on `monday`.
    fn renewals(&mut self, monday: i32) {
        let life = self.life;
        let term = i32::from(life.term_days);
        let begun = contract_start(life);
        for day in monday..monday + 7 {
            let age = day - begun;
            if age > 0 && age % term == 0 {
                self.note(day, 3_600, NOBODY, What::Contract(Change::Renewed));
            }
        }
    }

    fn ticket(&mut self, rng: &mut Rng, problem: Problem) {
        let Problem {
            day,
            reporter,
            number,
            escalated,
            days,
            resolved,
        } = problem;
        let severity = if escalated {
            2 + rng.below(2) as u8
        } else {
            rng.weighted(&[30, 55, 15]) as u8
        };
        let channel = rng.below(CHANNELS.len() as u32) as u8;
        let ticket = |change: Ticket| What::Ticket {
            change,
            number,
            severity,
            channel,
        };
        let opened = 9 * 3_600 + rng.below(28_000);
        let error = rng.below(crate::names::ERRORS.len() as u32) as u8;
        if rng.chance(0.5) {
            self.note(
                day,
                opened - 240,
                reporter,
                What::Error {
                    error,
                    severity: u8::from(escalated) + 1,
                },
            );
        }
        self.note(day, opened, reporter, ticket(Ticket::Opened));
        let replied = opened + 1_800 + rng.below(18_000);
        if resolved || rng.chance(0.5) {
            self.note(day, replied, NOBODY, ticket(Ticket::Replied));
        }
        if escalated {
            self.note(
                next_weekday(day + 1),
                NOON + rng.below(3_600),
                reporter,
                ticket(Ticket::Escalated),
            );
        }
        if !resolved {
            return;
        }
        let solved = next_weekday(day + days.max(2));
        let second = 10 * 3_600 + rng.below(20_000);
        self.note(solved, second, NOBODY, ticket(Ticket::Resolved));
        if rng.chance(0.5) {
            let mood = self.life.mood(solved);
            let drop = if escalated { 1.0 } else { 0.0 };
            let score = satisfaction(mood.content, rng) - drop;
            self.note(
                solved,
                second + 5_400,
                reporter,
                What::Survey {
                    survey: Survey::Csat,
                    score: score.max(1.0) as u8,
                },
            );
        }
    }

    /// Someone of the first few users who is there on `day`.
    fn reporter(&self, rng: &mut Rng, day: i32) -> u16 {
        let user = rng.below(u32::from(self.life.users.min(8))) as u16;
        let gone = matches!(self.life.champion, ChampionFate::Removed(gone) if day >= gone);
        let there = if user == 0 {
            !gone
        } else {
            self.life.joins(user) < day
        };
        match (there, gone) {
            (true, _) => user,
            (false, false) => 0,
            (false, true) => 1,
        }
    }

    fn weekday(&self, rng: &mut Rng, monday: i32) -> i32 {
        let day = monday + rng.between(0, 6);
        if is_weekend(day) { next_weekday(day) } else { day }
    }
}

struct Problem {
    day: i32,
    reporter: u16,
    number: u16,
    escalated: bool,
    /// From opening to resolving.
    days: i32,
    resolved: bool,
}

/// A CSAT score, 1 to 5: around 4 of those who are content as ever, around 2 of those about to leave.
fn satisfaction(content: f64, rng: &mut Rng) -> f64 {
    (1.0 + 4.0 * content + 2.0 * (rng.unit() - 0.35)).clamp(1.0, 5.0)
}

/// The first day of the first week of the life whose everyday matters are told.
fn first_told_week(life: &Life) -> i32 {
    life.first_day - (life.first_day - life.start_day).rem_euclid(7)
}

/// The day on which the first paid contract begins.
pub(crate) fn contract_start(life: &Life) -> i32 {
    if life.trial_days > 0 {
        life.start_day + i32::from(life.trial_days) - 1
    } else {
        life.start_day
    }
}

/// The second of the day at which the account's first value is reached.
pub(crate) fn value_second(life: &Life) -> u32 {
    debug_assert!(life.milestones[VALUE_MILESTONE] != life.start_day);
    13 * 3_600 + 1_200 * VALUE_MILESTONE as u32
}
