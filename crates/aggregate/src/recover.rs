//! Reading a partition's past. What it returns goes on exactly where the last checkpoint stood, under a
//! version that is newer than any that an owner before can still write.

use std::sync::Arc;

use health::{Account, Model, StateError};
use store::{Checkpoint, Store};
use tracing::info;

use crate::config::Config;
use crate::partition::{COUNTER_BITS, Partition, Past};
use crate::worker::Error;

/// Reads the checkpoint, the states and what has landed, and claims the partition with a new epoch,
/// so that whatever the owner before still writes is older. A state that cannot be read is an error:
/// nothing goes on from an empty account.
pub(crate) async fn recover(
    store: &Store,
    number: i32,
    config: &Arc<Config>,
    model: &Arc<Model>,
    now: i64,
) -> Result<Partition, Error> {
    let checkpoint = store.checkpoint(number).await?;
    let states = store.states(number).await?;
    let newest = states
        .iter()
        .map(|state| state.version)
        .chain(checkpoint.iter().map(|known| known.version));
    let epoch = newest.map(|version| version >> COUNTER_BITS).max().unwrap_or(0) + 1;
    let next_offset = checkpoint.as_ref().map_or(0, |known| known.next_offset);
    let claim = Checkpoint {
        partition: number,
        version: epoch << COUNTER_BITS,
        next_offset,
        watermark: checkpoint.as_ref().map_or(0, |known| known.watermark),
        partitions: config.partitions,
        saved_at: now,
    };
    store.insert_checkpoint(&claim).await?;

    let mut accounts = Vec::with_capacity(states.len());
    for state in states {
        accounts.push(Account::decode(&state.account_id, &state.state)?);
    }
    let landed = store.landed_offsets(number, next_offset).await?;
    info!(
        partition = number,
        epoch,
        next_offset,
        accounts = accounts.len(),
        landed = landed.len(),
        "partition taken over"
    );
    let past = Past {
        epoch,
        next_offset,
        watermark: checkpoint.map(|known| known.watermark).filter(|mark| *mark > 0),
        landed: landed.into_iter().collect(),
        accounts,
    };
    Ok(Partition::new(
        number,
        past,
        Arc::clone(model),
        Arc::clone(config),
        now,
    ))
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Error {
        Error::State(error)
    }
}
