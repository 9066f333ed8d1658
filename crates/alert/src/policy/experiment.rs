//! Which accounts a rule's holdout and variants hold.
//!
//! Both follow from the names alone, so they are the same after a restart, on every worker and in SQL
//! (`xxh3('holdout/RULE/ACCOUNT')`), and each is drawn apart from the other.

use xxhash_rust::xxh3::xxh3_64;

use crate::telling::RuleTelling;

/// Whether nobody is told of what the rule finds about the account. A greater share only adds accounts.
pub(crate) fn is_held_out(telling: &RuleTelling, rule: &str, account: &str) -> bool {
    share("holdout", rule, account) < telling.holdout
}

/// The variant that the account is put into; empty when the rule has none.
pub(crate) fn variant<'a>(telling: &'a RuleTelling, rule: &str, account: &str) -> &'a str {
    let place = share("variant", rule, account) * telling.variants.len() as f64;
    telling.variants.get(place as usize).map_or("", String::as_str)
}

/// A number from 0 to below 1, evenly spread over accounts.
fn share(draw: &str, rule: &str, account: &str) -> f64 {
    const BITS: u32 = 53;
    let hash = xxh3_64(format!("{draw}/{rule}/{account}").as_bytes());
    (hash >> (u64::BITS - BITS)) as f64 / (1u64 << BITS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling(holdout: f64, variants: &[&str]) -> RuleTelling {
        RuleTelling {
            holdout,
            variants: variants.iter().map(|name| name.to_string()).collect(),
            ..RuleTelling::default()
        }
    }

    #[test]
    fn a_holdout_is_the_share_that_was_asked_for_and_only_grows_with_it() {
        let (tenth, third) = (telling(0.1, &[]), telling(0.33, &[]));
        let accounts: Vec<String> = (0..20_000).map(|n| format!("account-{n}")).collect();
        let held = |telling: &RuleTelling, rule: &str| -> Vec<bool> {
            accounts
                .iter()
                .map(|account| is_held_out(telling, rule, account))
                .collect()
        };
        let (few, more) = (held(&tenth, "falling_usage"), held(&third, "falling_usage"));
        let count = |held: &[bool]| held.iter().filter(|held| **held).count();
        assert!((1_850..2_150).contains(&count(&few)), "{}", count(&few));
        assert!((6_350..6_850).contains(&count(&more)), "{}", count(&more));
        assert!(few.iter().zip(&more).all(|(few, more)| !few || *more));
        assert_eq!(count(&held(&telling(0.0, &[]), "falling_usage")), 0);
        // Another rule holds others out: by chance a tenth of the tenth is the same.
        let both = few
            .iter()
            .zip(held(&tenth, "quiet"))
            .filter(|(one, other)| **one && *other);
        assert!((130..280).contains(&both.count()));
    }

    #[test]
    fn variants_are_even_stable_and_drawn_apart_from_the_holdout() {
        let telling = telling(0.5, &["call", "mail"]);
        let mut counts = [0; 4];
        for n in 0..20_000 {
            let account = format!("account-{n}");
            let variant = variant(&telling, "falling_usage", &account);
            let held = is_held_out(&telling, "falling_usage", &account);
            counts[usize::from(variant == "mail") * 2 + usize::from(held)] += 1;
        }
        assert!(
            counts.iter().all(|count| (4_750..5_250).contains(count)),
            "{counts:?}"
        );
        assert_eq!(
            variant(&telling, "falling_usage", "acme"),
            variant(&telling, "falling_usage", "acme")
        );
        assert_eq!(variant(&RuleTelling::default(), "falling_usage", "acme"), "");
    }

    /// Other versions, and whoever counts in SQL, rely on these.
    #[test]
    fn the_draw_never_changes() {
        assert_eq!(xxh3_64(b"holdout/falling_usage/acme"), 7_881_757_032_402_489_150);
        let drawn = ["holdout", "variant"].map(|draw| share(draw, "falling_usage", "acme"));
        assert_eq!(drawn, [0.427_270_904_876_683_95, 0.927_860_799_080_727_6]);
    }
}
