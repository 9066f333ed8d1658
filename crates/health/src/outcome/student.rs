//! Student's *t*: the bound that a value exceeds in one case of forty, whatever the degrees of freedom,
//! whole or not (Welch's are not).
//!
//! From the regularised incomplete beta function *I*, since P(|*T*| > *t*) = *I*(ν ÷ (ν + *t*²); ν/2, ½)
//! (Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.1). Good to at least six digits.

/// The normal distribution's: of 95 in 100 cases the value is at most so many standard errors away.
pub(super) const NORMAL: f64 = 1.959_963_984_540_054;

/// Above so many degrees of freedom the two differ by less than a millionth.
const AS_GOOD_AS_NORMAL: f64 = 3e6;

/// The *t* that |*T*| exceeds with probability 0.05; `None` unless `freedom` is at least 1 degree. (Welch's
/// are never fewer than those of the smaller of two groups of at least 2.)
pub(super) fn bound(freedom: f64) -> Option<f64> {
    if freedom.is_nan() || freedom < 1.0 {
        return None;
    }
    if freedom > AS_GOOD_AS_NORMAL {
        return Some(NORMAL);
    }
    // 12.706 for 1 degree of freedom is the greatest.
    let (mut low, mut high) = (NORMAL, 13.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if exceeding(middle, freedom) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(f64::midpoint(low, high))
}

/// P(|*T*| > `t`).
fn exceeding(t: f64, freedom: f64) -> f64 {
    incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
}

/// *I*(x; a, b), by the continued fraction of Abramowitz & Stegun, 26.5.8.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // Beyond the middle the fraction of the complement converges faster.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let scale = (a * x.ln() + b * (1.0 - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp();
    scale * fraction(x, a, b) / a
}

/// The continued fraction, evaluated front to back (Lentz's method) until it stands still.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut numerator = 1.0;
    let mut denominator = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = denominator;
    for step in 1..=10_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for coefficient in [even, odd] {
            denominator = 1.0 / away_from_zero(1.0 + coefficient * denominator);
            numerator = away_from_zero(1.0 + coefficient / numerator);
            value *= denominator * numerator;
        }
        if (value / before - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// ln Γ(x) of a positive x, by Stirling's series (Abramowitz & Stegun, 6.1.41) where it converges.
fn ln_gamma(x: f64) -> f64 {
    let mut shifted = x;
    let mut product = 1.0;
    while shifted < 10.0 {
        product *= shifted;
        shifted += 1.0;
    }
    let inverse = 1.0 / shifted;
    let square = inverse * inverse;
    let series =
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1_260.0 - square / 1_680.0)));
    let half_ln_two_pi = 0.918_938_533_204_672_8;
    (shifted - 0.5) * shifted.ln() - shifted + half_ln_two_pi + series - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Column 0.975 of the table of Student's t in NIST/SEMATECH e-Handbook of Statistical Methods,
    /// 1.3.6.7.2.
    #[test]
    fn the_bounds_are_those_of_the_published_table() {
        let table = [
            (1.0, 12.706),
            (2.0, 4.303),
            (3.0, 3.182),
            (5.0, 2.571),
            (10.0, 2.228),
            (17.0, 2.110),
            (30.0, 2.042),
            (60.0, 2.000),
            (100.0, 1.984),
        ];
        for (freedom, expected) in table {
            let found = bound(freedom).unwrap();
            assert!((found - expected).abs() < 5.01e-4, "{freedom}: {found}");
        }
    }

    #[test]
    fn more_freedom_narrows_down_to_the_normal_distribution_without_a_step() {
        let mut before = f64::INFINITY;
        for freedom in [1.0, 1.5, 2.0, 7.7, 40.0, 1e3, 1e5, 2.9e6, 3.1e6, 1e12] {
            let found = bound(freedom).unwrap();
            assert!(found <= before && found >= NORMAL, "{freedom}: {found}");
            before = found;
        }
        assert!((bound(2.9e6).unwrap() - NORMAL).abs() < 1e-6);
    }

    #[test]
    fn without_freedom_there_is_no_bound() {
        assert_eq!(bound(0.0), None);
        assert_eq!(bound(0.99), None);
        assert_eq!(bound(f64::NAN), None);
    }
}
