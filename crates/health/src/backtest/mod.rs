//! What the rules would have said of a past whose outcome is known, and how often they were right.
//!
//! What holds: an account is replayed in the order in which its events happened and is evaluated at
//! every midnight UTC, so that no evaluation knows of anything that happened after it; and an alarm
//! is judged by nothing but its instant and the outcome.
//!
//! [`Replay`] turns one account's events into its [`Life`]; [`Tally`] turns lives into a [`Table`].

mod replay;
mod tally;

pub use replay::{Alarm, Life, Replay};
pub use tally::{Row, Table, Tally};
