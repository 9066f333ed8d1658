//! Bugs that the simulation plants to see whether it finds them. Without the feature `planted-bugs`
//! there is none and nothing of it is left in the code.

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A checkpoint is moved before the states that it vouches for are saved.
    CheckpointBeforeStates,
    /// A new owner does not look at what has landed.
    LandedNotRead,
    /// A new owner writes under the epoch of the one before.
    EpochNotRaised,
    /// The state that knows of an alert is saved without the days that it has counted.
    DaysNotSavedWithAlerts,
    /// Ids that may have been forgotten are taken for new.
    LookUpsIgnored,
    /// An alert goes out before the state that knows of it is saved.
    ToldBeforeSaved,
    /// A record makes folding panic (its event has the name `planted.panic`); the bug is in the record.
    Poison,
}

#[cfg(feature = "planted-bugs")]
mod planting {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug in what this thread does from now on, instead of the one before.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    pub(crate) fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub use planting::plant;

#[cfg(feature = "planted-bugs")]
pub(crate) use planting::is;

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}
