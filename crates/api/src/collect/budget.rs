//! How much all requests together may hold. Whoever wants more than there is left waits, or is refused:
//! memory does not grow with what is sent.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::CollectorConfig;

#[derive(Clone)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    records: Arc<Semaphore>,
    all_bytes: usize,
    all_records: usize,
}

/// Bytes that are held; given back when it is dropped.
pub(super) struct HeldBytes(OwnedSemaphorePermit);

impl HeldBytes {
    pub(super) fn add(&mut self, more: HeldBytes) {
        self.0.merge(more.0);
    }
}

/// Room for a record on its way; given back when it is dropped.
pub(super) struct Place {
    _bytes: HeldBytes,
    _record: OwnedSemaphorePermit,
}

impl Budget {
    pub(super) fn new(config: &CollectorConfig) -> Budget {
        Budget {
            bytes: Arc::new(Semaphore::new(config.max_in_flight_bytes)),
            records: Arc::new(Semaphore::new(config.max_in_flight_records)),
            all_bytes: config.max_in_flight_bytes,
            all_records: config.max_in_flight_records,
        }
    }

    pub(super) fn try_bytes(&self, bytes: usize) -> Option<HeldBytes> {
        let bytes = u32::try_from(bytes).ok()?;
        Some(HeldBytes(self.bytes.clone().try_acquire_many_owned(bytes).ok()?))
    }

    pub(super) fn try_place(&self, bytes: usize) -> Option<Place> {
        Some(Place {
            _bytes: self.try_bytes(bytes)?,
            _record: self.records.clone().try_acquire_owned().ok()?,
        })
    }

    /// Waits for room.
    pub(super) async fn place(&self, bytes: usize) -> Place {
        let bytes = u32::try_from(bytes.min(self.all_bytes)).unwrap_or(u32::MAX);
        let record = self.records.clone().acquire_owned();
        let record = record.await.expect("nobody closes the semaphore");
        let bytes = self.bytes.clone().acquire_many_owned(bytes);
        Place {
            _bytes: HeldBytes(bytes.await.expect("nobody closes the semaphore")),
            _record: record,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.all_bytes - self.bytes.available_permits()
    }

    pub(super) fn held_records(&self) -> usize {
        self.all_records - self.records.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_given_beyond_the_bounds_and_what_is_dropped_can_be_had_again() {
        let budget = Budget::new(&CollectorConfig {
            max_in_flight_bytes: 100,
            max_in_flight_records: 2,
            ..CollectorConfig::default()
        });
        let mut held = budget.try_bytes(40).unwrap();
        held.add(budget.try_bytes(20).unwrap());
        assert!(budget.try_bytes(41).is_none());
        let one = budget.try_place(20).unwrap();
        let two = budget.try_place(20).unwrap();
        assert!(budget.try_place(0).is_none());
        assert_eq!((budget.held_bytes(), budget.held_records()), (100, 2));
        drop((one, two, held));
        assert_eq!((budget.held_bytes(), budget.held_records()), (0, 0));
        assert!(budget.try_bytes(100).is_some());
    }
}
