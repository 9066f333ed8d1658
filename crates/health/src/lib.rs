//! Windows, metrics, scores, drivers and alert episodes of an account.
//!
//! Nothing here reads a clock, does IO or draws random numbers: the same code scores a live event,
//! replays history and runs inside a simulation.
//!
//! ```
//! use event::{Event, EventType};
//! use health::{Account, HealthConfig, Mode, Model, Recall};
//!
//! let model = Model::new(HealthConfig::default())?;
//! let mut account = Account::new("acme");
//! let login = Event {
//!     event_id: "e1".into(),
//!     account_id: "acme".into(),
//!     user_id: Some("u-17".into()),
//!     event_type: EventType::Login,
//!     name: String::new(),
//!     occurred_at: 1_795_309_323_004,
//!     received_at: 1_795_309_324_000,
//!     source: "usage.events".into(),
//!     properties: String::new(),
//! };
//! assert_eq!(account.recall(&login), Recall::New);
//! account.fold(&login, 0, &model);
//! assert_eq!(account.recall(&login), Recall::Known);
//!
//! let evaluation = account.evaluate(1_795_309_325_000, Mode::Live, 0, &model);
//! assert_eq!(evaluation.metrics.logins_28d, 1);
//! assert_eq!(evaluation.metrics.active_users_1d, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod alert;
mod config;
mod contract;
mod days;
mod episode;
mod evaluate;
mod ids;
mod metrics;
mod names;
mod score;
mod stage;
mod stamped;
mod ticket;
pub mod words;

pub use account::{Account, AccountState, Daily, Folded, StateError, UserSummary};
pub use alert::AlertChange;
pub use config::{ConfigError, HealthConfig, MilestoneConfig, Model, Rule, Severity, Weights};
pub use days::KEPT_DAYS;
pub use episode::Mode;
pub use evaluate::{Evaluation, Profile};
pub use ids::Recall;
pub use metrics::{Metrics, OnboardingState};
pub use score::{Band, Driver, Scores};
pub use stage::{Stage, Tier};
