//! ClickHouse: the migrations, a type for the rows of each table, inserts that are repeated until the
//! server has answered, and the queries that the workers and the API ask.
//!
//! Two things hold here. An insert ends in a definite answer: the same rows with the same token are
//! sent again until the server accepts or refuses them, unless the writer's right to write has ended
//! ([`Store::fenced_by`]). And no name of a table or column is written
//! anywhere else in the workspace.

mod accounts;
mod alerts;
mod client;
mod config;
mod dead_letters;
mod digests;
mod episodes;
mod events;
mod failure;
mod holds;
mod insert;
mod journey;
mod metrics;
mod migrations;
mod native;
mod outcomes;
mod patience;
mod probe;
mod rebuild;
mod replay;
mod rows;
mod segments;
mod state;
mod write_keys;

pub use accounts::{
    AccountGroup, AccountPage, AccountQuery, AccountSummary, HealthOfDay, HistoryQuery, SortKey,
    TimelineEvent,
};
pub use alerts::{EpisodeDelivery, PendingDelivery, WaitingDelivery, WaitingQuery};
pub use client::{Error, MayWrite, Store};
pub use config::ClickHouseConfig;
pub use dead_letters::{DeadLetter, DeadLetterQuery, DeliveryState, Replay, ReplayedDelivery};
pub use digests::{AwaitingDigest, DigestQuery, DigestedEpisode};
pub use episodes::{ActionRow, EpisodeRow};
pub use events::SeenEvent;
pub use holds::{HeldCount, HoldEnd, HoldRow, Opening, Owned, Requests, TRIPPED, tripped_names};
pub use journey::{
    Journey, JourneyQuery, LateAccount, MilestoneGroup, OnboardingGroup, StageGroup, TtvCohort, TtvQuery,
    WaitingAccount,
};
pub use metrics::StoreMetrics;
pub use migrations::{Applied, MigrationError};
pub use outcomes::{OutcomeDays, OutcomeGroup, OutcomeQuery};
pub use patience::Waiting;
pub use probe::InsertGuarantee;
pub use rebuild::{AccountExtent, Extent, Layout, Rebuild, StoredDay, ToldChange};
pub use replay::{AccountEvents, HistoricEvent};
pub use rows::{
    AccountRow, AlertRow, DailyRow, DeliveryRow, Driver, EventRow, MetricsRow, Milestone, ScoresRow,
    StageEntry, StateRow, UserRow,
};
pub use segments::SegmentBaseline;
pub use state::Checkpoint;
pub use write_keys::{SourceCount, WriteKeyRow};
