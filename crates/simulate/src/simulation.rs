//! The simulation as its users see it: an iterator over what arrives, and a live one that goes on after it.

use crate::config::{Config, ConfigError};
use crate::engine::{Engine, MAX_SPEED};
use crate::truth::AccountTruth;

/// An event that arrives over this many milliseconds after it occurred is late.
pub const LATE_AFTER_MS: i64 = 300_000;

/// A churned account may still be heard of for this many milliseconds after it cancelled (a last export).
pub const CHURN_GRACE_MS: i64 = 3 * 86_400_000;

/// The most that one call of [`LiveSimulation::due`] returns.
pub const MAX_DUE: usize = 10_000;

/// One record, as it is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// When it arrives, in epoch milliseconds; never before it occurred.
    pub arrives_at: i64,
    /// When the event occurred, in epoch milliseconds.
    pub occurred_at: i64,
    /// The account it belongs to.
    pub account_id: String,
    /// The record's value: an event in native JSON, unless it is malformed.
    pub payload: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    pub(crate) key: Key,
}

impl Emission {
    /// The record's Kafka key: the account, save for the share of [`Config::miskeyed`].
    pub fn key(&self) -> Option<&[u8]> {
        match self.key {
            Key::Account => Some(self.account_id.as_bytes()),
            Key::Missing => None,
            Key::Host(host) => Some(host.as_bytes()),
        }
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A valid event, for the first time.
    Event,
    /// A valid event that came before, byte for byte.
    Duplicate,
    /// A record that must be rejected, for this reason code.
    Malformed(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Account,
    Missing,
    Host(&'static str),
}

/// Simulates the lives of accounts over the months before `config.until_ms`.
///
/// ```
/// let config = simulate::Config { accounts: 3, months: 1, ..simulate::Config::demo(1_790_000_000_000) };
/// let mut simulation = simulate::simulate(&config)?;
/// let first = simulation.next().expect("three accounts do something in a month");
/// assert!(first.payload.starts_with(b"{\"event_id\":\""));
/// assert_eq!(simulation.truth().len(), 3);
/// # Ok::<(), simulate::ConfigError>(())
/// ```
///
/// # Errors
/// [`ConfigError`] when the configuration makes no sense or the machine lacks a time zone.
pub fn simulate(config: &Config) -> Result<Simulation, ConfigError> {
    let engine = Engine::new(config)?;
    Ok(Simulation {
        until: config.until_ms,
        engine,
    })
}

/// All that arrives within the simulated period, in order of arrival. It ends at [`Config::until_ms`]; late events
/// that would arrive after it belong to [`live`].
#[derive(Debug)]
pub struct Simulation {
    until: i64,
    engine: Engine,
}

impl Simulation {
    /// What is true of each account, by its number. The dates are known from the start; the counts are of what has
    /// been emitted so far.
    pub fn truth(&self) -> &[AccountTruth] {
        self.engine.truth()
    }

    /// About how many records the whole simulation emits, within a tenth or so.
    pub fn estimated_total(&self) -> u64 {
        self.engine.estimate()
    }
}

impl Iterator for Simulation {
    type Item = Emission;

    fn next(&mut self) -> Option<Emission> {
        self.engine.next(self.until)
    }
}

/// Goes on living from `from_ms` (epoch milliseconds) with the accounts of `config`: what arrives after that
/// instant, as if [`simulate`] had not stopped at `config.until_ms`. The same configuration, `until_ms` included,
/// makes the same accounts and the same event ids, so a program that was stopped can go on where it was.
///
/// # Errors
/// Those of [`simulate`].
pub fn live(config: &Config, from_ms: i64) -> Result<LiveSimulation, ConfigError> {
    let mut engine = Engine::new(config)?;
    engine.enter_at(from_ms);
    Ok(LiveSimulation { engine })
}

/// A simulation in real time: it is asked what has come due. It reads no clock.
#[derive(Debug)]
pub struct LiveSimulation {
    engine: Engine,
}

impl LiveSimulation {
    /// Multiplies the rate of daily use by `speed`, held to 0.1 to 16: more events, at the same dates. Above 1 the
    /// accounts look that much busier than their history.
    #[must_use]
    pub fn with_speed(mut self, speed: f64) -> Self {
        let speed = if speed.is_nan() { 1.0 } else { speed };
        self.engine.set_speed(speed.clamp(0.1, f64::from(MAX_SPEED)));
        self
    }

    /// What has arrived up to `now_ms` and was not returned before, in order, at most [`MAX_DUE`] of it: when the
    /// answer is that long, ask again.
    pub fn due(&mut self, now_ms: i64) -> Vec<Emission> {
        let mut due = Vec::new();
        while due.len() < MAX_DUE
            && let Some(emission) = self.engine.next(now_ms)
        {
            due.push(emission);
        }
        due
    }

    /// When the next record arrives, in epoch milliseconds, if not after `limit_ms`.
    pub fn next_arrival(&mut self, limit_ms: i64) -> Option<i64> {
        self.engine.next_arrival(limit_ms)
    }

    /// What is true of each account as of `config.until_ms`; the counts are of what [`LiveSimulation::due`] returned.
    pub fn truth(&self) -> &[AccountTruth] {
        self.engine.truth()
    }
}
