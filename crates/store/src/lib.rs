//! ClickHouse: the migrations, a type for the rows of each table, inserts that are repeated until the
//! server has answered, and the queries that the workers and the API ask.
//!
//! Two things hold here. An insert ends in a definite answer: the same rows with the same token are
//! sent again until the server accepts or refuses them. And no name of a table or column is written
//! anywhere else in the workspace.

mod accounts;
mod alerts;
mod client;
mod config;
mod events;
mod metrics;
mod migrations;
mod rows;
mod state;

pub use accounts::{
    AccountGroup, AccountPage, AccountQuery, AccountSummary, HealthOfDay, HistoryQuery, SortKey,
    TimelineEvent,
};
pub use alerts::{PendingDelivery, WaitingDelivery, WaitingQuery};
pub use client::{Error, Store};
pub use config::ClickHouseConfig;
pub use events::{CountedDay, DayBounds, SeenEvent};
pub use metrics::StoreMetrics;
pub use migrations::{Applied, MigrationError};
pub use rows::{
    AccountRow, AlertRow, DailyRow, DeliveryRow, Driver, EventRow, MetricsRow, ScoresRow, StateRow, UserRow,
};
pub use state::Checkpoint;
