//! Windows, metrics, scores, drivers and alert episodes of an account.
//!
//! Nothing here reads a clock, does IO or draws random numbers: the same code scores a live event,
//! replays history and runs inside a simulation.

mod alert;

pub use alert::AlertChange;
