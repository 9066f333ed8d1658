//! The answer that a peer has written: what each account did on each day.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::workload::Day;
use anyhow::Context;
use jiff::civil::Date;

/// Days of accounts, as the workload's truth has them.
pub type Days = HashMap<(String, i64), Day>;

/// Reads the answer file; `peer.py` says what is in it.
///
/// # Errors
/// The file is missing, or a line is not an account's day.
pub fn read(path: &Path) -> anyhow::Result<Days> {
    let file = File::open(path).with_context(|| format!("no answer in {}", path.display()))?;
    let mut days = Days::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line?;
        let (place, day) = parsed(&line).with_context(|| format!("line {} is {line:?}", number + 1))?;
        days.insert(place, day);
    }
    Ok(days)
}

fn parsed(line: &str) -> anyhow::Result<((String, i64), Day)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [account_id, date, events, logins, users, features] = fields[..] else {
        anyhow::bail!("{} fields, not 6", fields.len());
    };
    let date: Date = date.parse()?;
    let since = Date::constant(1970, 1, 1).until(date)?;
    let features: BTreeMap<String, u64> = serde_json::from_str(features)?;
    let day = Day {
        events: events.parse()?,
        logins: logins.parse()?,
        users: users.parse()?,
        features,
    };
    Ok(((account_id.to_owned(), i64::from(since.get_days())), day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_accounts_day() {
        let (place, day) = parsed("acme\t1970-02-01\t3\t1\t2\t{\"report.create\":2}").unwrap();
        assert_eq!(place, ("acme".to_owned(), 31));
        assert_eq!((day.events, day.logins, day.users), (3, 1, 2));
        assert_eq!(day.features["report.create"], 2);
        assert!(parsed("acme\t1970-02-01\t3\t1\t2").is_err());
        assert!(parsed("acme\tyesterday\t3\t1\t2\t{}").is_err());
    }
}
