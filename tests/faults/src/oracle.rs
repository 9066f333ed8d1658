//! The oracle: holds what is stored and what was told against what was sent and acknowledged.
//!
//! What it finds wrong is listed with the ids at fault; it never stops at the first.

pub mod alerts;
pub mod deliveries;
pub mod events;
pub mod logs;

use std::collections::BTreeMap;
use std::fmt;

/// So many of one kind are named; the others are counted.
const NAMED: usize = 20;

/// What is wrong.
#[derive(Debug, Default)]
pub struct Problems {
    kinds: BTreeMap<&'static str, (usize, Vec<String>)>,
}

impl Problems {
    /// Notes something wrong.
    pub fn add(&mut self, kind: &'static str, what: impl Into<String>) {
        let (count, named) = self.kinds.entry(kind).or_default();
        *count += 1;
        if named.len() < NAMED {
            named.push(what.into());
        }
    }

    /// Notes `what` unless it holds.
    pub fn check(&mut self, holds: bool, kind: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.add(kind, what());
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (count, named)) in &self.kinds {
            writeln!(f, "{kind}: {count}")?;
            for what in named {
                writeln!(f, "  {what}")?;
            }
            if *count > named.len() {
                writeln!(f, "  … and {} more", count - named.len())?;
            }
        }
        Ok(())
    }
}
