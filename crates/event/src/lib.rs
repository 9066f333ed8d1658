//! The event model: what a customer did, decoded from any accepted format, validated, and put on
//! the wire between the roles.
//!
//! Nothing here reads a clock or does IO: the time of receipt is a parameter.

mod model;

pub use model::{Event, EventType};
