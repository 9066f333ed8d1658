use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn numbers(days: &Days) -> Vec<i32> {
    let mut numbers = Vec::new();
    days.visit(0, i32::from(u16::MAX), |day| numbers.push(day.number));
    numbers.sort_unstable();
    numbers
}

#[test]
fn days_are_kept_whatever_the_order_of_events_and_old_ones_go() {
    let mut days = Days::default();
    for number in [100, 98, 99, 10, 100] {
        days.day_mut(number).unwrap().counts.events += 1;
    }
    assert_eq!(numbers(&days), [10, 98, 99, 100]);
    assert_eq!(days.get(100).unwrap().counts.events, 2);
    days.day_mut(102).unwrap().counts.events += 1;
    assert_eq!(
        numbers(&days),
        [98, 99, 100, 102],
        "day 10 is 92 days before day 102"
    );
    assert!(days.day_mut(10).is_none());
    assert!(days.day_mut(11).is_some());
}

#[test]
fn a_day_long_past_keeps_its_counts_but_not_who_was_there() {
    let mut days = Days::default();
    let day = days.day_mut(1000).unwrap();
    day.counts.logins = 3;
    day.add_user(7, 5);
    day.add_uses(2, 5);
    days.settle();
    days.day_mut(1000 + DETAILED_DAYS - 1).unwrap();
    assert_eq!(days.get(1000).unwrap().users, [(7, 5)]);
    days.day_mut(1000 + DETAILED_DAYS).unwrap();
    days.settle();
    let old = days.get(1000).unwrap();
    assert_eq!((old.counts.logins, old.uses), (3, 5));
    assert!(old.users.is_empty() && old.features.is_empty());
}

proptest! {
    /// Against days kept in a plain map: whatever is touched in whatever order, packing loses nothing.
    #[test]
    fn packed_days_are_what_was_put_into_them(
        steps in prop::collection::vec((0_i32..150, 0_u32..30, 0_u64..2000, any::<bool>()), 1..300)
    ) {
        let mut days = Days::default();
        let mut plain: BTreeMap<i32, Day> = BTreeMap::new();
        for (place, (number, index, uses, settles)) in steps.into_iter().enumerate() {
            let number = 20_000 + number;
            let newest = plain.keys().last().copied().unwrap_or(number).max(number);
            let touch = |day: &mut Day| {
                day.counts.events += 1;
                day.counts.csat_responses += (place % 3) as u32;
                day.csat_sum += f64::from((place % 3) as u32) * 1.5;
                day.add_user(index, uses);
                day.add_uses(index / 2, uses);
            };
            match days.day_mut(number) {
                Some(day) => {
                    touch(day);
                    touch(plain.entry(number).or_insert_with(|| Day { number, ..Day::default() }));
                }
                None => prop_assert!(number <= newest - KEPT_DAYS),
            }
            plain.retain(|number, _| *number > newest - KEPT_DAYS);
            for (number, day) in &mut plain {
                if *number <= newest - DETAILED_DAYS {
                    day.thin();
                }
            }
            if settles {
                days.settle();
            }
        }
        days.settle();
        let mut kept = BTreeMap::new();
        days.visit(0, 65_535, |day| { kept.insert(day.number, day.clone()); });
        prop_assert_eq!(&kept, &plain);
        let read = Days::read(days.packed().to_vec(), 30, 15).unwrap();
        prop_assert_eq!(&read, &days);
        prop_assert!(Days::read(days.packed().to_vec(), 0, 15).is_none() || plain.values().all(|day| day.users.is_empty()));
    }

    /// Bytes that are no days are refused or read as some days, and never panic.
    #[test]
    fn hostile_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(days) = Days::read(bytes, 4, 4) {
            days.visit(0, 65_535, |day| assert!(day.users.iter().all(|(index, _)| *index < 4)));
        }
    }
}
