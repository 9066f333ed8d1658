//! The lives of all accounts, merged into one order of arrival.
//!
//! The engine goes from hour to hour. When an account's local day begins it plans that day's sessions; when an hour
//! begins it plays its sessions and sorts what arrives within it. Everything is put off to the hour in which it
//! arrives, and nothing is ever put into an hour that has passed, because an event arrives after it occurred and
//! is made at the latest in the hour in which it occurs. Held at any time are one day of sessions, a week of
//! scripted entries and the late ones: nothing grows with the length of the simulation.

use crate::calendar::{HOUR, SECOND, ZONES, Zone};
use crate::config::{Config, ConfigError};
use crate::draw::{Assignment, Period};
use crate::life::Life;
use crate::names::HOSTS;
use crate::render::{self, FLAWS, Pen, Subject};
use crate::rhythm::{self, MAX_EVENTS, Session};
use crate::rng::Rng;
use crate::schedule::{Copied, Origin, Pending, Schedule, tell};
use crate::script::{self, Entry, What};
use crate::simulation::{Emission, Key, Kind};
use crate::truth::AccountTruth;

const SPEED: u64 = 10;

/// Scripts are read a week at a time.
const BLOCK_DAYS: i32 = 7;
/// A session is told at most this many times over.
pub(crate) const MAX_SPEED: u16 = 16;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Engine {
    config: Config,
    zones: Vec<Zone>,
    lives: Vec<Life>,
    truth: Vec<AccountTruth>,
    /// The accounts of each zone.
    residents: Vec<Vec<u32>>,
    /// The next local day of each zone, and when it begins.
    tomorrow: Vec<(i32, i64)>,
    /// The local day on which the engine began.
    entered: i32,
    period: Period,
    schedule: Schedule,
    /// What arrives in the hour that is being read, last first.
    hour: Vec<Pending>,
    script: Vec<Entry>,
    speed: f64,
    pen: Pen,
}

impl Engine {
    /// Draws all lives; the engine begins with the simulated period.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        config.check()?;
        let zones = crate::calendar::zones(config.shift_ms)?;
        let period = Period::of(config, &zones);
        let assign = Assignment::new(config);
        let mut lives = Vec::with_capacity(config.accounts);
        let mut truth = Vec::with_capacity(config.accounts);
        let mut residents = vec![Vec::new(); ZONES.len()];
        for account in 0..config.accounts as u32 {
            let life = Life::draw(config.seed, account, assign.archetype(account), period);
            let zone = &zones[usize::from(life.zone)];
            truth.push(AccountTruth::of(
                &life,
                life.company.account_id(account),
                zone,
                config.until_ms,
            ));
            residents[usize::from(life.zone)].push(account);
            lives.push(life);
        }
        let mut engine = Self {
            config: config.clone(),
            zones,
            lives,
            truth,
            residents,
            tomorrow: Vec::new(),
            entered: 0,
            period,
            schedule: Schedule::at(0),
            hour: Vec::new(),
            script: Vec::new(),
            speed: 1.0,
            pen: Pen::new(),
        };
        engine.enter(period.begin);
        Ok(engine)
    }

    /// Begins anew on local day `day`, with nothing told of what was before it.
    pub(crate) fn enter(&mut self, day: i32) {
        let day = day.max(self.period.begin);
        self.tomorrow = self.zones.iter().map(|zone| (day, zone.midnight(day))).collect();
        let first = self
            .tomorrow
            .iter()
            .map(|(_, midnight)| *midnight)
            .min()
            .unwrap_or(0);
        self.schedule = Schedule::at(first.div_euclid(HOUR));
        self.hour.clear();
        self.entered = day;
    }

    /// Enters a few days before `at`, so that what arrives from `at` on is as if the engine had run all along.
    pub(crate) fn enter_at(&mut self, at: i64) {
        // A late event's duplicate is what comes last: the lateness, twice over at most, and a day for the zones.
        let days = 2 * self.config.late_by_ms / (24 * HOUR) + 2;
        let day = self.zones.iter().map(|zone| zone.day_of(at)).min().unwrap_or(0);
        self.enter(day - days as i32);
        while self.next_arrival(at).is_some() {
            self.hour.pop();
        }
    }

    pub(crate) fn set_speed(&mut self, speed: f64) {
        self.speed = speed;
    }

    pub(crate) fn truth(&self) -> &[AccountTruth] {
        &self.truth
    }

    /// When the next record arrives, if not after `until`.
    pub(crate) fn next_arrival(&mut self, until: i64) -> Option<i64> {
        loop {
            if let Some(next) = self.hour.last() {
                return (next.arrives_at <= until).then_some(next.arrives_at);
            }
            if self.schedule.hour * HOUR > until {
                return None;
            }
            self.begin_hour();
        }
    }

    /// The next record in order of arrival, if it does not arrive after `until`.
    pub(crate) fn next(&mut self, until: i64) -> Option<Emission> {
        self.next_arrival(until)?;
        let record = self.hour.pop()?;
        let account = record.account as usize;
        let life = &self.lives[account];
        let truth = &mut self.truth[account];
        truth.emitted += 1;
        truth.distinct += u64::from(record.copy == Copied::First);

        let id = render::event_id(
            record.occurred_at,
            self.config.seed,
            record.account,
            record.day,
            record.number,
        );
        let mut payload = Vec::with_capacity(if record.what == What::Attributes { 480 } else { 256 });
        let kind = match record.copy {
            Copied::First => Kind::Event,
            Copied::Again => Kind::Duplicate,
            Copied::Spoilt => {
                let flaw = (record.number as usize + account) % FLAWS.len();
                let id = format!("spoilt-{}", String::from_utf8_lossy(&id));
                render::malformed(&mut payload, &truth.account_id, &id, flaw);
                Kind::Malformed(FLAWS[flaw])
            }
        };
        if record.copy != Copied::Spoilt {
            let zone = &self.zones[usize::from(life.zone)];
            let subject = Subject {
                account: record.account,
                account_id: &truth.account_id,
                life,
                zone,
            };
            self.pen.event(
                &mut payload,
                &subject,
                &id,
                record.occurred_at,
                record.user,
                record.what,
            );
        }
        let key = match record.key {
            0 => Key::Account,
            1 => Key::Missing,
            host => Key::Host(HOSTS[usize::from(host) - 2]),
        };
        Some(Emission {
            arrives_at: record.arrives_at,
            occurred_at: record.occurred_at,
            account_id: truth.account_id.clone(),
            payload,
            kind,
            key,
        })
    }

    /// Makes everything that arrives in the schedule's hour ready to be read, and moves the schedule on.
    fn begin_hour(&mut self) {
        let begins = self.schedule.hour * HOUR;
        for zone in 0..self.zones.len() {
            while self.tomorrow[zone].1 < begins + HOUR {
                let (day, midnight) = self.tomorrow[zone];
                self.plan_day(zone, day, midnight);
                self.tomorrow[zone] = (day + 1, self.zones[zone].midnight(day + 1));
            }
        }
        for session in self.schedule.sessions.pop_front().unwrap_or_default() {
            self.play(&session, begins);
        }
        debug_assert!(self.hour.is_empty(), "an hour is read to its end before the next");
        self.hour = self.schedule.records.pop_front().unwrap_or_default();
        self.hour.sort_unstable_by(|one, other| other.cmp(one));
        self.schedule.hour += 1;
    }

    fn plan_day(&mut self, zone: usize, day: i32, midnight: i64) {
        let workday = self.zones[zone].workday(day);
        let zone_days = &self.zones[zone];
        for account in &self.residents[zone] {
            let life = &self.lives[*account as usize];
            if day < life.first_day || day > life.end_day.saturating_add(2) {
                continue;
            }
            let schedule = &mut self.schedule;
            rhythm::plan(life, *account, day, midnight, workday, |session| {
                schedule.add_session(session)
            });

            let into_block = (day - life.first_day) % BLOCK_DAYS;
            if into_block != 0 && day != self.entered {
                continue;
            }
            let last = day - into_block + BLOCK_DAYS - 1;
            script::write(life, last, &mut self.script);
            for (number, entry) in self.script.iter().enumerate() {
                let history = entry.day < day;
                let wanted = if history {
                    day == life.first_day
                } else {
                    entry.day <= last
                };
                if !wanted {
                    continue;
                }
                let occurred_at = zone_days.midnight(entry.day) + i64::from(entry.second) * SECOND;
                let origin = Origin {
                    account: *account,
                    day: 0,
                    number: number as u32,
                    user: entry.user,
                };
                let told_from = history.then_some(midnight);
                tell(
                    &self.config,
                    life,
                    schedule,
                    origin,
                    occurred_at,
                    told_from,
                    entry.what,
                );
            }
        }
    }

    fn play(&mut self, session: &Session, hour_begins: i64) {
        let life = &self.lives[session.account as usize];
        let mut rng = Rng::keyed([life.key, SPEED, session.day as u64, u64::from(session.number)]);
        let copies = self.speed as u16 + u16::from(rng.chance(self.speed.fract()));
        for copy in 0..copies.min(MAX_SPEED) {
            let mut session = *session;
            if copy > 0 {
                session.at = hour_begins + i64::from(rng.below(HOUR as u32));
            }
            let day = (session.day - life.first_day + 1) as u16;
            let number = (u32::from(session.number) * u32::from(MAX_SPEED) + u32::from(copy)) * MAX_EVENTS;
            let schedule = &mut self.schedule;
            rhythm::play(life, &session, copy, |at, event, what| {
                let origin = Origin {
                    account: session.account,
                    day,
                    number: number + event,
                    user: session.user,
                };
                tell(&self.config, life, schedule, origin, at, None, what);
            });
        }
    }

    /// About how many records there are up to the end.
    pub(crate) fn estimate(&self) -> u64 {
        let until = self.config.until_ms;
        let stride = (self.lives.len() / 2_000).max(1);
        let mut sampled = 0usize;
        let mut events = 0.0;
        let workdays: Vec<Vec<f64>> = self
            .zones
            .iter()
            .map(|zone| {
                (self.period.begin..=self.period.until + 1)
                    .map(|day| zone.workday(day))
                    .collect()
            })
            .collect();
        for life in self.lives.iter().step_by(stride) {
            sampled += 1;
            // Scripted: attributes, users, milestones and contract, then about one event in two weeks.
            let last = life.end_day.min(self.period.until);
            events += f64::from(life.users) + 8.0 + f64::from(last - life.first_day).max(0.0) / 14.0;
            let workdays = &workdays[usize::from(life.zone)];
            let week_after_week = (life.first_day..=last).step_by(BLOCK_DAYS as usize);
            for monday in week_after_week {
                let days = monday..=(monday + BLOCK_DAYS - 1).min(last);
                let work: f64 = days.map(|day| workdays[(day - self.period.begin) as usize]).sum();
                events += rhythm::expected(life, monday + 3, 1.0) * work;
            }
        }
        let noise = 1.0 + self.config.duplicates + self.config.malformed;
        let share = self.lives.len() as f64 / sampled.max(1) as f64;
        debug_assert!(until > 0);
        (events * noise * share) as u64
    }
}
