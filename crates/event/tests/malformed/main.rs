//! Every malformed input of the table gets its reason code, and a detail that a person can use.

mod table;

use std::collections::BTreeSet;

use event::{Decoder, Reason};

#[test]
fn each_malformed_input_gets_its_reason() {
    let now = 1_795_309_324_000;
    let decoder = Decoder::default();
    let table = table::table(now);
    let mut seen = BTreeSet::new();
    for case in &table {
        let headers: Vec<(&str, &[u8])> = case
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect();
        match decoder.decode(&case.payload, &headers, now, "test") {
            Ok(event) => panic!("{} was taken: {event:?}", case.what),
            Err(rejection) => {
                assert_eq!(
                    rejection.reason.as_str(),
                    case.reason,
                    "{}: {}",
                    case.what,
                    rejection.detail
                );
                assert!(rejection.detail.len() > 10, "{}: {}", case.what, rejection.detail);
            }
        }
        assert!(seen.insert(case.what), "{} is there twice", case.what);
    }
    assert!(table.len() >= 60, "{}", table.len());
    let of_the_plan = [
        "unplanned_event",
        "required_missing",
        "datatype_mismatch",
        "additional_properties",
    ];
    for reason in Reason::ALL.into_iter().map(Reason::as_str) {
        let is_there = table.iter().any(|case| case.reason == reason);
        assert!(
            is_there || of_the_plan.contains(&reason),
            "no input gets {reason}"
        );
    }
}
