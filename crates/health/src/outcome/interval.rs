//! Proportions and means with the interval that holds the truth in 95 of 100 cases, and their
//! differences.
//!
//! What holds: an interval holds its estimate, an interval of proportions stays within what a proportion
//! can be, and where the numbers do not allow one there is `None`, never one of no width.

use super::student;

/// An estimate and the bounds of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// What was found.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Estimate {
    /// Whether "no difference" is among what the interval holds.
    pub fn holds_zero(&self) -> bool {
        self.low <= 0.0 && 0.0 <= self.high
    }
}

/// Of how many accounts how many did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proportion {
    /// Accounts of which it is known.
    pub of: u64,
    /// Those that did; at most `of`.
    pub did: u64,
}

impl Proportion {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Proportion) -> Proportion {
        Proportion {
            of: self.of + other.of,
            did: self.did + other.did,
        }
    }

    /// The rarer of the two: those that did, or those that did not.
    pub fn rarer(self) -> u64 {
        self.did.min(self.of.saturating_sub(self.did))
    }

    /// Wilson's score interval, without continuity correction (Wilson, JASA 22, 1927, 209–212; method 3
    /// of Newcombe, Statistics in Medicine 17, 1998, 857–872). `None` of no account.
    pub fn estimate(self) -> Option<Estimate> {
        if self.of == 0 {
            return None;
        }
        let n = self.of as f64;
        let value = (self.did as f64 / n).min(1.0);
        let square = student::NORMAL * student::NORMAL;
        let middle = (value + square / (2.0 * n)) / (1.0 + square / n);
        let half = student::NORMAL * (value * (1.0 - value) / n + square / (4.0 * n * n)).sqrt()
            / (1.0 + square / n);
        Some(Estimate {
            value,
            // Rounding must not put the bounds on the wrong side of an estimate of 0 or 1.
            low: (middle - half).clamp(0.0, value),
            high: (middle + half).clamp(value, 1.0),
        })
    }

    /// This share less the other's: Newcombe's hybrid score interval, without continuity correction
    /// (method 10 of Newcombe, Statistics in Medicine 17, 1998, 873–890).
    pub fn less(self, other: Proportion) -> Option<Estimate> {
        let (one, two) = (self.estimate()?, other.estimate()?);
        let value = one.value - two.value;
        Some(Estimate {
            value,
            low: (value - (one.value - one.low).hypot(two.high - two.value)).max(-1.0),
            high: (value + (one.high - one.value).hypot(two.value - two.low)).min(1.0),
        })
    }
}

/// How many values there were, their mean, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    /// Values.
    pub count: u64,
    /// Their mean; 0 of none.
    pub mean: f64,
    /// Sum of the squares of what they are away from the mean.
    pub squares: f64,
}

impl Moments {
    /// Both together (Chan, Golub & LeVeque, The American Statistician 37, 1983, 242–247).
    #[must_use]
    pub fn and(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        if count == 0 {
            return Moments::default();
        }
        let apart = other.mean - self.mean;
        let share = other.count as f64 / count as f64;
        Moments {
            count,
            mean: self.mean + apart * share,
            squares: self.squares + other.squares + apart * apart * self.count as f64 * share,
        }
    }

    /// The mean with Student's interval. `None` of fewer than two values, or when all are the same.
    pub fn estimate(self) -> Option<Estimate> {
        let error = self.squared_error()?;
        around(self.mean, error.sqrt(), (self.count - 1) as f64)
    }

    /// This mean less the other: Welch's interval, which does not take the variances to be equal (Welch,
    /// Biometrika 34, 1947, 28–35). `None` when either has fewer than two values, or none differ.
    pub fn less(self, other: Moments) -> Option<Estimate> {
        let (one, two) = (self.squared_error()?, other.squared_error()?);
        let both = one + two;
        let freedom =
            both * both / (one * one / (self.count - 1) as f64 + two * two / (other.count - 1) as f64);
        around(self.mean - other.mean, both.sqrt(), freedom)
    }

    /// The square of the mean's standard error.
    fn squared_error(self) -> Option<f64> {
        if self.count < 2 {
            return None;
        }
        Some(self.squares / (self.count - 1) as f64 / self.count as f64)
    }
}

fn around(value: f64, error: f64, freedom: f64) -> Option<Estimate> {
    if !error.is_finite() || error <= 0.0 {
        return None;
    }
    let half = student::bound(freedom)? * error;
    Some(Estimate {
        value,
        low: value - half,
        high: value + half,
    })
}

#[cfg(test)]
#[path = "interval_tests.rs"]
mod tests;
