//! The event model: what a customer did, decoded from any accepted format, validated, and put on
//! the wire between the roles.
//!
//! Nothing here reads a clock or does IO: the time of receipt is a parameter, and so is the name of
//! the place an event came from. The same [`Decoder`] serves Kafka records and HTTP bodies.
//!
//! ```
//! use event::{Decoder, EventType, Reason, wire};
//!
//! let decoder = Decoder::default();
//! let received_at = 1_795_309_324_000; // 2026-11-22T01:02:04Z
//! let payload = br#"{"event_id":"01J8","account_id":"acme","user_id":"u-17","type":"feature",
//!     "name":"report.export","occurred_at":"2026-11-22T10:02:03.004+09:00","properties":{"count":2}}"#;
//!
//! let event = decoder.decode(payload, &[], received_at, "usage.events")?;
//! assert_eq!(event.event_type, EventType::Feature);
//! assert_eq!(event.occurred_at, 1_795_309_323_004);
//!
//! let mut record = Vec::new();
//! wire::encode(&event, &mut record);
//! assert_eq!(wire::decode(&record)?, event);
//!
//! let rejection = decoder.decode(br#"{"event_id":"01J9"}"#, &[], received_at, "usage.events").unwrap_err();
//! assert_eq!(rejection.reason, Reason::MissingField);
//! assert!(rejection.detail.starts_with("account_id"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod decode;
mod door;
mod field;
mod json;
mod model;
mod names;
pub mod plan;
mod privacy;
pub mod properties;
mod rejection;
mod rules;
mod time;
pub mod wire;

pub use config::{ConfigError, DecoderConfig, NameRule};
pub use decode::{Decoder, Format};
pub use door::{Door, Taken};
pub use model::{Event, EventType};
pub use plan::{PlanConfig, Violation, Violations};
pub use privacy::{PrivacyConfig, Unreadable};
pub use properties::Properties;
pub use rejection::{Reason, Rejection};
