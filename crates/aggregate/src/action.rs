//! What a [`Core`](crate::Core) wants done, and the answers it takes.

use health::AlertChange;
use store::{
    AccountRow, AlertRow, Checkpoint, DailyRow, EventRow, MetricsRow, ScoresRow, SeenEvent, StateRow, UserRow,
};

/// One thing to do before anything else. Its effect must be durable when it is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Read the newest checkpoint of a partition: [`Answer::Checkpoint`].
    ReadCheckpoint(i32),
    /// Read the newest state of every account of a partition: [`Answer::States`].
    ReadStates(i32),
    /// Read which offsets of a partition have landed, from this one on: [`Answer::Landed`].
    ReadLanded {
        /// The partition.
        number: i32,
        /// The first offset of interest.
        from: i64,
    },
    /// Read a partition from here on: [`Answer::Done`].
    Start {
        /// The partition.
        number: i32,
        /// The first offset that is wanted; 0 stands for the oldest that there is.
        offset: i64,
    },
    /// Look up which of these accounts and event ids have landed: [`Answer::Seen`].
    LookUp(Vec<(String, String)>),
    /// Read the landed events of these accounts since a time, milliseconds: [`Answer::Events`].
    ReadAgain {
        /// The accounts.
        accounts: Vec<String>,
        /// The earliest `occurred_at` of interest.
        from: i64,
    },
    /// Do these inserts, side by side or in any order: [`Answer::Done`] when all are done.
    Insert(Vec<Insert>),
    /// Put a record where people can find it: [`Answer::Done`].
    SetAside(SetAside),
    /// Send changes of alerts: [`Answer::Done`].
    Send(Vec<AlertChange>),
    /// Commit these next offsets, by partition; it may be lost: [`Answer::Done`].
    Commit(Vec<(i32, i64)>),
}

/// In which order actions are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// One after another.
    InOrder,
    /// One after another, too, and beside those in order.
    Beside,
}

/// Rows of one table that go out together.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// Told to the server with each try, so that it can drop what it has already.
    pub token: String,
    /// The rows.
    pub rows: Rows,
}

/// Rows, by table.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the variants are named after the tables")]
pub enum Rows {
    Events(Vec<EventRow>),
    Metrics(Vec<MetricsRow>),
    Scores(Vec<ScoresRow>),
    Daily(Vec<DailyRow>),
    Users(Vec<UserRow>),
    Accounts(Vec<AccountRow>),
    States(Vec<StateRow>),
    Alerts(Vec<AlertRow>),
    Checkpoints(Vec<Checkpoint>),
}

/// A record that cannot be counted, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct SetAside {
    /// Its partition of `mimamori.events`.
    pub number: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// The reason's code.
    pub reason: &'static str,
    /// The reason in words.
    pub detail: String,
}

/// What came of an [`Action`].
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The newest checkpoint, if there has ever been one.
    Checkpoint(Option<Checkpoint>),
    /// The newest states.
    States(Vec<StateRow>),
    /// Offsets, ascending.
    Landed(Vec<i64>),
    /// Those that have landed.
    Seen(Vec<SeenEvent>),
    /// Events.
    Events(Vec<EventRow>),
}
