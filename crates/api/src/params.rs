//! Query parameters. Each is taken by its name; what is left over afterwards, comes twice or cannot be
//! read is told to the client all at once.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use axum::extract::RawQuery;
use percent_encoding::percent_decode_str;

use crate::problem::{Problem, WrongParameter};
use crate::times;

/// Longest value that is taken, in bytes: twice what an account's id may have.
const LONGEST: usize = 256;

/// 1970 to 2199: all of it lies within the calendar of the database.
const RECORDED: RangeInclusive<i64> = 0..=7_258_118_399_999;

pub(crate) struct Params {
    given: BTreeMap<String, String>,
    known: Vec<String>,
    wrong: Vec<WrongParameter>,
}

impl Params {
    pub(crate) fn read(RawQuery(query): RawQuery) -> Params {
        let mut params = Params {
            given: BTreeMap::new(),
            known: Vec::new(),
            wrong: Vec::new(),
        };
        for pair in query
            .as_deref()
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                params.refuse(name, "is not UTF-8 in percent encoding", &[]);
                continue;
            };
            if value.len() > LONGEST {
                params.refuse(&name, &format!("is longer than {LONGEST} bytes"), &[]);
            } else if params.given.insert(name.clone(), value).is_some() {
                params.refuse(&name, "is given twice", &[]);
            }
        }
        params
    }

    /// Any text; empty is as if it were not given.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).filter(|value| !value.is_empty())
    }

    /// One of `allowed`.
    pub(crate) fn choice(&mut self, name: &str, allowed: &[&str]) -> Option<String> {
        let value = self.take(name)?;
        if allowed.contains(&value.as_str()) {
            return Some(value);
        }
        self.refuse(
            name,
            &format!("{value:?} is not one of the allowed values"),
            allowed,
        );
        None
    }

    /// A whole number within `range`, or `otherwise` when it is not given.
    pub(crate) fn number(&mut self, name: &str, range: RangeInclusive<u32>, otherwise: u32) -> u32 {
        let Some(value) = self.take(name) else {
            return otherwise;
        };
        match value.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let detail = format!(
                    "{value:?} is not a whole number from {} to {}",
                    range.start(),
                    range.end()
                );
                self.refuse(name, &detail, &[]);
                otherwise
            }
        }
    }

    /// An instant in milliseconds.
    pub(crate) fn instant(&mut self, name: &str) -> Option<i64> {
        let value = self.take(name)?;
        let instant = times::parse(&value);
        if instant.is_none() {
            let detail = format!("{value:?} is not a time such as 2026-03-01T00:00:00Z");
            self.refuse(name, &detail, &[]);
        }
        instant
    }

    /// An instant in milliseconds at which something may have been recorded.
    pub(crate) fn recorded_instant(&mut self, name: &str) -> Option<i64> {
        let instant = self.instant(name)?;
        if RECORDED.contains(&instant) {
            return Some(instant);
        }
        self.refuse(name, "is before 1970 or after 2199", &[]);
        None
    }

    /// Whether it is given and has not been taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The verdict, once every known parameter has been taken.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        for name in self.given.keys() {
            self.wrong.push(WrongParameter {
                parameter: name.clone(),
                detail: "is not a parameter of this route".to_string(),
                allowed: known.iter().map(|name| name.to_string()).collect(),
            });
        }
        if self.wrong.is_empty() {
            Ok(())
        } else {
            Err(Problem::wrong_parameters(self.wrong))
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.known.push(name.to_string());
        self.given.remove(name)
    }

    /// Tells the client what is wrong with a parameter.
    pub(crate) fn refuse(&mut self, name: &str, detail: &str, allowed: &[&str]) {
        self.wrong.push(WrongParameter {
            parameter: name.to_string(),
            detail: detail.to_string(),
            allowed: allowed.iter().map(|value| value.to_string()).collect(),
        });
    }
}

fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Params {
        Params::read(RawQuery(Some(query.to_string())))
    }

    #[test]
    fn a_value_is_decoded_and_an_empty_one_is_none() {
        let mut params = of("q=%E8%A6%8B+a%2Bb&owner=");
        assert_eq!(params.text("q").as_deref(), Some("見 a+b"));
        assert_eq!(params.text("owner"), None);
        assert!(params.finish().is_ok());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_what_is_allowed() {
        let mut params = of("band=blue&limit=0&limit=2&from=noon&surprise=1&x=%ff");
        assert_eq!(params.choice("band", &["red", "green"]), None);
        assert_eq!(params.number("limit", 1..=500, 50), 2);
        assert_eq!(params.instant("from"), None);
        let told = serde_json::to_value(params.finish().unwrap_err()).unwrap();
        let errors = told["errors"].as_array().unwrap();
        let names: Vec<&str> = errors.iter().map(|e| e["parameter"].as_str().unwrap()).collect();
        assert_eq!(names, ["limit", "x", "band", "from", "surprise"]);
        assert_eq!(errors[2]["allowed"], serde_json::json!(["red", "green"]));
        assert_eq!(errors[4]["allowed"], serde_json::json!(["band", "limit", "from"]));
        assert!(told["detail"].as_str().unwrap().contains("\"blue\""), "{told}");
    }

    #[test]
    fn an_instant_of_no_record_is_refused_by_its_name() {
        let mut params =
            of("at=1969-12-31T23:59:59.999Z&to=2200-01-01T00:00:00Z&from=2199-12-31T23:59:59.999Z");
        assert_eq!(params.recorded_instant("at"), None);
        assert_eq!(params.recorded_instant("to"), None);
        assert!(params.recorded_instant("from").is_some());
        let told = serde_json::to_value(params.finish().unwrap_err()).unwrap();
        let names: Vec<&str> = told["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["parameter"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["at", "to"]);
    }

    #[test]
    fn a_number_out_of_range_is_refused() {
        for query in ["limit=501", "limit=-1", "limit=1e2", "limit="] {
            let mut params = of(query);
            params.number("limit", 1..=500, 50);
            assert!(params.finish().is_err(), "{query}");
        }
    }
}
