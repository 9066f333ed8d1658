//! The alert worker: delivers the changes of alert episodes, as signed webhooks, messages, events or mail.
//!
//! What this crate keeps true:
//!
//! - An offset of `mimamori.alerts` is committed only when, for each destination, ClickHouse holds a row
//!   that says what became of the alert. From then on the row, not the topic, carries the delivery.
//! - A delivery is made at least once, and always under the same `webhook-id`. It is made a second time
//!   only when the worker died, or was cut short, between the request and the row about it.
//! - Of one episode the changes reach one destination in the order in which they happened.
//! - A slow or dead destination delays no other, and memory does not grow with what waits for it:
//!   what exceeds a destination's queue waits in ClickHouse alone.
//! - Of one rule or one cause no more accounts are told of within a while than a share of all: beyond it
//!   one summary goes out, and the rest is held until somebody says what is to become of it.
//!
//! From the inside out: `policy` says who is told and when, and with `digest`, `summary`, `schedule`,
//! `outcome`, `signature`, `body`, `telling` and `address` it does no IO, and neither do `breaker`, which
//! counts what opens, `fate`, which says what becomes of what follows, and `lane`, which holds what waits
//! for one destination; `destination` renders and makes the requests, `recorder` writes the rows, `engine`
//! runs one lane for each destination, and `worker` joins that to Kafka.

mod address;
mod body;
mod breaker;
mod clock;
mod config;
mod destination;
mod digest;
mod engine;
mod fate;
mod lane;
mod metrics;
mod offsets;
mod outcome;
mod policy;
mod recorder;
mod schedule;
mod signature;
mod summary;
mod telling;
#[cfg(test)]
mod testing;
mod trial;
mod worker;

pub use address::Refused;
pub use breaker::BreakerConfig;
// For the fuzzers.
#[doc(hidden)]
pub use body::render as webhook_body;
pub use config::{Config, ConfigError, Destination, DestinationProblem, HubspotObject, Kind};
pub use policy::config::{DigestConfig, RouteConfig, When, WorkHoursConfig};
pub use schedule::ScheduleError;
pub use signature::SecretError;
pub use telling::{Language, Owner, RuleTelling, Wording};
pub use trial::{Trial, TrialError, trial};
pub use worker::{Error, Wiring, run};
