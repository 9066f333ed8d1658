//! Seeded chance.
//!
//! Every draw comes from a stream that is keyed by what it decides about (the seed, the account, the day, the
//! user), never by what was drawn before it elsewhere. A day of an account's life can therefore be generated
//! alone, in any order, and comes out the same; that is what lets the simulation hold no history.
//!
//! The generator is SplitMix64, written out because its output must never change with a library's version, and
//! the helpers use only `+ − × ÷` and comparisons on floats, which IEEE 754 fixes to the last bit on every
//! machine (`ln`, `cos` or `powf` are not).

/// The increment of SplitMix64: 2⁶⁴ divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: every input bit moves every output bit.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Folds `parts` into one well-mixed key; the order of the parts matters.
pub(crate) fn key<const N: usize>(parts: [u64; N]) -> u64 {
    let mut folded = GAMMA;
    for part in parts {
        folded = mix(folded.wrapping_add(GAMMA) ^ mix(part.wrapping_add(GAMMA)));
    }
    folded
}

/// One number in `[0, 1)` that belongs to `parts`.
pub(crate) fn unit<const N: usize>(parts: [u64; N]) -> f64 {
    to_unit(key(parts))
}

fn to_unit(bits: u64) -> f64 {
    // 53 bits are what a double holds exactly.
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A stream of draws.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream that belongs to `parts`.
    pub(crate) fn keyed<const N: usize>(parts: [u64; N]) -> Self {
        Self(key(parts))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        to_unit(self.next())
    }

    /// True with probability `p`. Draws even when `p` is 0 or 1, so that a changed share moves nothing else.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A whole number in `[0, bound)`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(bound) * (self.next() >> 32)) >> 32) as u32
    }

    /// A whole number in `[low, high]`; `low` when the range is empty.
    pub(crate) fn between(&mut self, low: i32, high: i32) -> i32 {
        if high <= low {
            return low;
        }
        low + self.below((high - low + 1) as u32) as i32
    }

    /// An index into `weights`, each as likely as its weight.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let total = weights.iter().sum();
        let mut left = self.below(total);
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_fixed_by_its_key() {
        let draw = |parts: [u64; 2]| {
            let mut rng = Rng::keyed(parts);
            [rng.next(), rng.next(), rng.next()]
        };
        assert_eq!(draw([1, 2]), draw([1, 2]));
        assert_ne!(draw([1, 2]), draw([2, 1]));
    }

    #[test]
    fn splitmix_gives_its_published_numbers() {
        // The first outputs for seed 0 of the reference implementation.
        let mut rng = Rng(0);
        assert_eq!(rng.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.next(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn draws_are_spread_evenly() {
        let mut rng = Rng::keyed([7]);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[rng.below(10) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
        let mut hits = 0;
        for _ in 0..100_000 {
            hits += u32::from(rng.chance(0.05));
        }
        assert!((4_600..5_400).contains(&hits), "{hits}");
    }

    #[test]
    fn bounds_are_kept() {
        let mut rng = Rng::keyed([9]);
        for _ in 0..1_000 {
            assert!((3..=5).contains(&rng.between(3, 5)));
            assert!((0.0..1.0).contains(&rng.unit()));
        }
        assert_eq!(rng.between(5, 3), 5);
        assert_eq!(rng.below(0), 0);
    }
}
