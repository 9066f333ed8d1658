//! Windows, metrics, scores, drivers and alert episodes of an account.
//!
//! Nothing here reads a clock, does IO or draws random numbers: the same code scores a live event,
//! replays history and runs inside a simulation.
//!
//! ```
//! use event::{Event, EventType};
//! use health::{Account, HealthConfig, Mode, Model, Recall, SegmentBaselines};
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
//! let evaluation = account.evaluate(1_795_309_325_000, Mode::Live, 0, &SegmentBaselines::default(), &model);
//! assert_eq!(evaluation.metrics.logins_28d, 1);
//! assert_eq!(evaluation.metrics.active_users_1d, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod action;
mod alert;
pub mod backtest;
mod calendar;
mod config;
mod contract;
mod days;
mod episode;
mod evaluate;
mod history;
mod ids;
mod metrics;
mod moment;
mod names;
mod numbers;
pub mod outcome;
mod people;
mod rules;
mod score;
mod stage;
mod stamped;
mod state;
mod ticket;
mod tier;
mod value_event;
pub mod words;

pub use account::{Account, AccountState, Daily, Folded, StateError, UserSummary};
pub use alert::AlertChange;
pub use calendar::{Calendar, CalendarConfig, WEEKDAYS};
pub use config::{ConfigError, HealthConfig, MilestoneConfig, Model, Weights};
pub use days::{DETAILED_DAYS, KEPT_DAYS};
pub use episode::{Mode, OpenEpisode, ToldChange, episode_id};
pub use evaluate::{Evaluation, Profile, SegmentBaselines};
pub use history::{DayCounter, Replay, midnight_from};
pub use ids::Recall;
pub use moment::Moments;
pub use numbers::{Metrics, MilestoneProgress, NUMBERS, OnboardingState};
pub use rules::{RuleConfig, RuleKind, RuleMessage, Severity, shipped_rules};
pub use score::{Band, ChurnInput, Direction, Driver, InputConfig, Scores, ScoresConfig, Usual};
pub use stage::{Stage, StageConfig, Stages};
pub use tier::{Tier, TiersConfig};
pub use value_event::ValueEvents;
