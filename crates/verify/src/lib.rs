//! The proof: every daily row, number and score computed a second time, in SQL over the raw events, and
//! compared with what is stored.
//!
//! The SQL is written from `docs/numbers.md` and shares nothing with the folding but the names of the
//! numbers and the configuration. Nothing here writes.

mod compare;
mod definition;
mod error;
mod receipt;
mod sql;
mod verifier;

pub use compare::Difference;
pub use definition::{
    COMPONENTS, Calendar, Component, Definition, Input, MOMENTS, Milestone, Moment, Stage, Tier, Weights,
};
pub use error::Error;
pub use receipt::{Known, Receipt};
pub use verifier::{Report, Rows, Scope, Verifier};
