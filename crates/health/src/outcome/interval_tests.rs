use super::*;

fn proportion(did: u64, of: u64) -> Proportion {
    Proportion { of, did }
}

fn moments(values: &[f64]) -> Moments {
    values.iter().fold(Moments::default(), |sum, value| {
        sum.and(Moments {
            count: 1,
            mean: *value,
            squares: 0.0,
        })
    })
}

fn is_about(found: Option<Estimate>, low: f64, high: f64, within: f64) {
    let found = found.unwrap();
    let is_near = (found.low - low).abs() < within && (found.high - high).abs() < within;
    assert!(is_near, "{found:?} instead of {low} to {high}");
    assert!(found.low <= found.value && found.value <= found.high, "{found:?}");
}

/// Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998),
/// 857–872, table I, method 3.
#[test]
fn a_proportion_has_the_published_intervals() {
    let published = [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ];
    for (did, of, low, high) in published {
        is_about(proportion(did, of).estimate(), low, high, 5.01e-5);
    }
}

/// Newcombe, Interval estimation for the difference between independent proportions, Statistics in
/// Medicine 17 (1998), 873–890, table II, method 10.
#[test]
fn a_difference_of_proportions_has_the_published_intervals() {
    let published = [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ];
    for ((did, of), (did_too, of_too), low, high) in published {
        let difference = proportion(did, of).less(proportion(did_too, of_too));
        is_about(difference, low, high, 5.01e-5);
    }
}

/// The hours of sleep gained on two drugs that Student himself used (The probable error of a mean,
/// Biometrika 6, 1908, 1–25), with the intervals that R's manual page of `t.test` computes of them.
#[test]
fn means_have_the_published_intervals() {
    let one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
    let two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
    let difference = moments(&one).less(moments(&two)).unwrap();
    assert!((difference.value + 1.58).abs() < 1e-12, "{difference:?}");
    is_about(Some(difference), -3.365_483_2, 0.205_483_2, 1e-6);

    let apart: Vec<f64> = one.iter().zip(two).map(|(one, two)| one - two).collect();
    is_about(moments(&apart).estimate(), -2.459_885_8, -0.700_114_2, 1e-6);
}

#[test]
fn numbers_that_allow_no_interval_give_none() {
    assert_eq!(Proportion::default().estimate(), None);
    assert_eq!(proportion(3, 5).less(Proportion::default()), None);
    assert_eq!(moments(&[]).estimate(), None);
    assert_eq!(moments(&[4.0]).estimate(), None);
    assert_eq!(
        moments(&[4.0, 4.0, 4.0]).estimate(),
        None,
        "a width of 0 would be a lie"
    );
    assert_eq!(moments(&[1.0, 2.0]).less(moments(&[3.0])), None);
}

#[test]
fn moments_do_not_depend_on_how_they_are_put_together() {
    let values: Vec<f64> = (0..50).map(|n| f64::from(n * n % 37) - 1e6).collect();
    let (mean, whole) = (values.iter().sum::<f64>() / 50.0, moments(&values));
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let halves = moments(&values[..13]).and(moments(&values[13..]));
    for sum in [
        whole,
        halves,
        Moments::default().and(whole),
        whole.and(Moments::default()),
    ] {
        assert_eq!(sum.count, 50);
        assert!((sum.mean - mean).abs() < 1e-8, "{sum:?}");
        assert!((sum.squares - squares).abs() < 1e-4, "{sum:?} {squares}");
    }
}

/// Numbers that are the same in every run: splitmix64.
struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn count(&mut self, of: u64, probability: f64) -> Proportion {
        let did = (0..of).filter(|_| self.share() < probability).count();
        proportion(did as u64, of)
    }

    /// Changes of health: near the normal distribution, with a spread of 12 points.
    fn changes(&mut self, count: usize, mean: f64) -> Moments {
        let mut values = Vec::new();
        for _ in 0..count {
            let sum: f64 = (0..12).map(|_| self.share()).sum();
            values.push(mean + 12.0 * (sum - 6.0));
        }
        moments(&values)
    }
}

const RUNS: u32 = 4_000;

/// In how many of a hundred runs `holds` is true.
fn percent(mut holds: impl FnMut(&mut Dice) -> bool) -> f64 {
    let mut dice = Dice(20_261_129);
    let times = (0..RUNS).filter(|_| holds(&mut dice)).count();
    times as f64 * 100.0 / f64::from(RUNS)
}

/// A tenth held out, as one would.
#[test]
fn where_telling_changes_nothing_the_interval_says_so_in_95_of_100_runs() {
    for (told, held_out, probability) in [(270, 30, 0.5), (270, 30, 0.85), (900, 100, 0.3)] {
        let covered = percent(|dice| {
            let (one, two) = (dice.count(told, probability), dice.count(held_out, probability));
            one.less(two).unwrap().holds_zero()
        });
        assert!(
            (93.5..=97.0).contains(&covered),
            "{covered} % with {told}, {held_out}"
        );
    }
    let covered = percent(|dice| {
        let (one, two) = (dice.changes(270, 3.0), dice.changes(30, 3.0));
        one.less(two).unwrap().holds_zero()
    });
    assert!((94.0..=96.0).contains(&covered), "{covered} %");
}

/// The power that docs/outcome.md promises for this many accounts: 80 %.
#[test]
fn an_effect_is_found_with_the_power_that_the_numbers_promise() {
    let found = percent(|dice| {
        let difference = dice.count(1_962, 0.6).less(dice.count(218, 0.5)).unwrap();
        !difference.holds_zero()
    });
    assert!((76.0..=86.0).contains(&found), "{found} %");
}
