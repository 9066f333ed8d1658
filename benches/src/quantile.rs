//! Quantiles: of what was measured one by one, and of a Prometheus histogram.

use std::collections::BTreeMap;

/// The quantile of measurements in ascending order; none have 0.
pub fn of_sorted(measured: &[f64], quantile: f64) -> f64 {
    let place = (measured.len() as f64 * quantile).ceil() as usize;
    measured.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// A histogram as `/metrics` tells it: how many observations were at most so much, by upper bound in
/// microseconds.
#[derive(Clone, Debug, Default)]
pub struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    /// Reads the histogram `name` out of what `/metrics` answered, all its series together.
    pub fn read(metrics: &str, name: &str) -> Histogram {
        let mut bounds = BTreeMap::new();
        let prefix = format!("{name}_bucket{{");
        for line in metrics.lines().filter(|line| line.starts_with(&prefix)) {
            let bound = line.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
            let count = line
                .rsplit(' ')
                .next()
                .and_then(|count| count.parse::<f64>().ok());
            if let (Some(bound), Some(count)) = (bound, count) {
                let micros = match bound.parse::<f64>() {
                    Ok(seconds) if seconds.is_finite() => (seconds * 1e6) as u64,
                    _ => u64::MAX,
                };
                *bounds.entry(micros).or_default() += count as u64;
            }
        }
        Histogram(bounds)
    }

    /// What was observed since `before`.
    pub fn since(&self, before: &Histogram) -> Histogram {
        let less = |(bound, count): (&u64, &u64)| {
            let before = before.0.get(bound).copied().unwrap_or(0);
            (*bound, count.saturating_sub(before))
        };
        Histogram(self.0.iter().map(less).collect())
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.0.values().next_back().copied().unwrap_or(0)
    }

    /// The quantile in milliseconds, drawn straight through the bucket that it is in; infinite beyond the
    /// last bound, and `None` without observations.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let wanted = quantile * self.count() as f64;
        let (mut bound_below, mut count_below) = (0, 0);
        for (bound, count) in &self.0 {
            if *count as f64 >= wanted && *count > 0 {
                if *bound == u64::MAX {
                    return Some(f64::INFINITY);
                }
                let share = (wanted - count_below as f64) / (count - count_below).max(1) as f64;
                let micros = bound_below as f64 + share * (bound - bound_below) as f64;
                return Some(micros / 1e3);
            }
            (bound_below, count_below) = (*bound, *count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE t histogram\n\
        t_bucket{le=\"0.01\"} 50\n\
        t_bucket{le=\"0.02\"} 90\n\
        t_bucket{le=\"+Inf\"} 100\n\
        t_count 100\nother_bucket{le=\"0.01\"} 7\n";

    #[test]
    fn of_measurements_the_one_that_so_many_do_not_exceed() {
        let measured: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(of_sorted(&measured, 0.5), 50.0);
        assert_eq!(of_sorted(&measured, 0.99), 99.0);
        assert_eq!(of_sorted(&measured, 0.0), 1.0);
        assert_eq!(of_sorted(&[], 0.5), 0.0);
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let read = Histogram::read(METRICS, "t");
        assert_eq!(read.count(), 100);
        assert_eq!(read.quantile_ms(0.5), Some(10.0));
        assert_eq!(read.quantile_ms(0.7), Some(15.0));
        assert_eq!(read.quantile_ms(0.99), Some(f64::INFINITY));
        let none = read.since(&read);
        assert_eq!((none.count(), none.quantile_ms(0.5)), (0, None));
    }
}
