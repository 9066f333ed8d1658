//! From a value to points: a line through corners, level beyond the first and the last.

use std::ops::RangeInclusive;

/// Furthest from 0 that a corner's value may lie, so that no difference of two overflows.
const FURTHEST: f64 = 1e15;

/// A line through corners (value, height) whose values ascend. It has at least one corner, all are
/// finite, and so is every height along it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    first: (f64, f64),
    rest: Vec<(f64, f64)>,
}

impl Curve {
    /// # Errors
    /// Says which corner is wrong and what would be right.
    pub(crate) fn new(corners: &[(f64, f64)], heights: RangeInclusive<f64>) -> Result<Curve, String> {
        let Some((&first, rest)) = corners.split_first() else {
            return Err("must have at least one corner such as [14.0, 100.0]".to_string());
        };
        let mut previous = None;
        for &(x, y) in corners {
            if !(-FURTHEST..=FURTHEST).contains(&x) {
                return Err(format!(
                    "the value of corner [{x}, {y}] must be a number within ±{FURTHEST:e}"
                ));
            }
            if !heights.contains(&y) {
                let (least, most) = (heights.start(), heights.end());
                return Err(format!(
                    "corner [{x}, {y}] must have {least} to {most} as its second number"
                ));
            }
            if previous.is_some_and(|previous| x <= previous) {
                return Err(format!("the values must ascend, but corner [{x}, {y}] does not"));
            }
            previous = Some(x);
        }
        Ok(Curve {
            first,
            rest: rest.to_vec(),
        })
    }

    /// The height at `x`. The second computation of the scores in SQL repeats this arithmetic in the
    /// same order.
    pub(crate) fn at(&self, x: f64) -> f64 {
        let (mut x0, mut y0) = self.first;
        if x <= x0 {
            return y0;
        }
        for &(x1, y1) in &self.rest {
            if x <= x1 {
                return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
            }
            (x0, y0) = (x1, y1);
        }
        y0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heights_lie_on_the_line_between_the_corners_and_are_level_beyond() {
        let curve = Curve::new(&[(14.0, 100.0), (28.0, 50.0), (56.0, 0.0)], 0.0..=100.0).unwrap();
        let heights = [-1.0, 14.0, 21.0, 28.0, 42.0, 56.0, 1e300].map(|x| curve.at(x));
        assert_eq!(heights, [100.0, 100.0, 75.0, 50.0, 25.0, 0.0, 0.0]);
        let level = Curve::new(&[(3.0, 7.0)], 0.0..=100.0).unwrap();
        assert_eq!([level.at(-9.0), level.at(3.0), level.at(9.0)], [7.0; 3]);
    }

    #[test]
    fn a_line_that_is_none_is_refused_with_what_would_be_right() {
        let refused = |corners: &[(f64, f64)]| Curve::new(corners, 0.0..=100.0).unwrap_err();
        assert_eq!(
            refused(&[]),
            "must have at least one corner such as [14.0, 100.0]"
        );
        assert_eq!(
            refused(&[(1.0, 0.0), (1.0, 5.0)]),
            "the values must ascend, but corner [1, 5] does not"
        );
        assert_eq!(
            refused(&[(1.0, 0.0), (2.0, 101.0)]),
            "corner [2, 101] must have 0 to 100 as its second number"
        );
        assert!(refused(&[(f64::NAN, 0.0)]).starts_with("the value of corner [NaN, 0] must be a number"));
        assert!(refused(&[(f64::INFINITY, 0.0)]).contains("within ±1e15"));
        assert!(refused(&[(0.0, f64::NAN)]).contains("must have 0 to 100"));
    }

    proptest! {
        #[test]
        fn a_line_stays_within_its_corners_and_never_turns_where_they_do_not(
            mut xs in proptest::collection::vec(-1e6..1e6f64, 1..7),
            mut ys in proptest::collection::vec(0.0..=100.0f64, 7),
            one in -2e6..2e6f64,
            other in -2e6..2e6f64,
        ) {
            xs.sort_by(f64::total_cmp);
            xs.dedup();
            ys.truncate(xs.len());
            ys.sort_by(f64::total_cmp);
            let corners: Vec<(f64, f64)> = xs.into_iter().zip(ys.iter().copied()).collect();
            let curve = Curve::new(&corners, 0.0..=100.0).unwrap();
            let (low, high) = (curve.at(one.min(other)), curve.at(one.max(other)));
            prop_assert!(low <= high + 1e-9);
            prop_assert!(ys[0] - 1e-9 <= low && high <= ys[ys.len() - 1] + 1e-9);
        }
    }
}
