//! When a failed delivery is tried again.
//!
//! The jitter follows from what is delivered, where and for which time, so that deliveries which failed
//! together do not come back together and the same failure always leads to the same due time.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// Pauses between the attempts of one delivery. The first is the pause before the first attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pauses: Vec<Duration>,
    jitter: f64,
}

/// The pauses that Standard Webhooks recommends, in seconds: at once, 5 s, 5 min, 30 min, then
/// 2, 5, 10, 14, 20 and 24 hours.
pub const STANDARD_PAUSES: [f64; 10] = [
    0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0,
];

/// Why a schedule cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// No attempt at all.
    #[error("retry_seconds is empty: give at least the pause before the first attempt, such as [0]")]
    Empty,
    /// Not a pause.
    #[error("retry_seconds holds {0}: each must be from 0 to 604800")]
    Pause(f64),
    /// Not a share.
    #[error("retry_jitter is {0}: must be from 0 to 1")]
    Jitter(f64),
}

const LONGEST_PAUSE_SECONDS: f64 = 604_800.0;

impl Schedule {
    /// `pauses` in seconds, one for each attempt; each is lengthened by up to `jitter` of itself.
    ///
    /// # Errors
    /// [`ScheduleError`] when there is no attempt, or a number is out of its range.
    pub fn try_new(pauses: &[f64], jitter: f64) -> Result<Schedule, ScheduleError> {
        if pauses.is_empty() {
            return Err(ScheduleError::Empty);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(ScheduleError::Jitter(jitter));
        }
        let mut checked = Vec::with_capacity(pauses.len());
        for &pause in pauses {
            if !(0.0..=LONGEST_PAUSE_SECONDS).contains(&pause) {
                return Err(ScheduleError::Pause(pause));
            }
            checked.push(Duration::from_secs_f64(pause));
        }
        Ok(Schedule {
            pauses: checked,
            jitter,
        })
    }

    /// How long to wait before the next attempt when `made` have been made; `None` when that was the
    /// last. `salt` names the delivery: different salts spread over the jitter.
    pub fn pause_after(&self, made: u32, salt: &str) -> Option<Duration> {
        let pause = *self.pauses.get(made as usize)?;
        Some(pause + pause.mul_f64(self.jitter * share(made, salt)))
    }
}

/// A number from 0 to below 1, evenly spread over salts.
fn share(made: u32, salt: &str) -> f64 {
    let mut digest = Sha256::new();
    digest.update(made.to_le_bytes());
    digest.update(salt.as_bytes());
    let hash = digest.finalize();
    let top = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
    f64::from(top) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_schedule_of_standard_webhooks() {
        let schedule = Schedule::try_new(&STANDARD_PAUSES, 0.0).unwrap();
        let pauses: Vec<u64> = (0..)
            .map_while(|made| schedule.pause_after(made, "a"))
            .map(|pause| pause.as_secs())
            .collect();
        assert_eq!(
            pauses,
            [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
        );
    }

    #[test]
    fn jitter_only_lengthens_spreads_and_repeats_itself() {
        let schedule = Schedule::try_new(&[0.0, 100.0], 0.2).unwrap();
        let pauses: Vec<f64> = (0..500)
            .filter_map(|n| schedule.pause_after(1, &format!("delivery {n}")))
            .map(|pause| pause.as_secs_f64())
            .collect();
        assert!(pauses.iter().all(|pause| (100.0..120.0).contains(pause)));
        let early = pauses.iter().filter(|pause| **pause < 110.0).count();
        assert!((200..300).contains(&early), "{early} of 500 in the first half");
        assert_eq!(schedule.pause_after(1, "x"), schedule.pause_after(1, "x"));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Schedule::try_new(&[], 0.1), Err(ScheduleError::Empty));
        assert_eq!(
            Schedule::try_new(&[0.0, -1.0], 0.1),
            Err(ScheduleError::Pause(-1.0))
        );
        assert!(Schedule::try_new(&[f64::NAN], 0.1).is_err());
        assert_eq!(Schedule::try_new(&[0.0], 1.5), Err(ScheduleError::Jitter(1.5)));
    }
}
