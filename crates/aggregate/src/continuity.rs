//! Whether a log is the one that the landed events were read from.
//!
//! A log may have been lost and begun anew, or have lost its end in a power cut and grown again. Offsets
//! alone do not tell: what stands at an offset is compared with the row that says it came from there. A log
//! is lost from some offset on, so that where the newest row of a partition is still in the log, all of
//! them are, but for those that the log's retention let go of.

use std::collections::HashMap;

use store::SeenEvent;
use stream::{KafkaConfig, Scan, Span, TopicReader, topics};
use tokio::time::Duration;
use tracing::warn;

use crate::outlet::Outlet;
use crate::worker::Error;

/// How far below the checkpoint the newest row is looked for at first; it lies further down only where
/// everything since was a repeat.
const NEAR: i64 = 10_000;

/// How often, and after which pause, the log is looked at again before it is said not to hold something: a
/// leader that has just been elected may not know its end yet.
const LOOKS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Account and id of the events at places of a log.
pub(crate) type Records = HashMap<(i32, i64), (String, String)>;

/// Where a row says that its event came from.
pub(crate) fn place_of(row: &SeenEvent) -> Span {
    Span {
        partition: row.kafka_partition,
        first: row.kafka_offset,
        end: row.kafka_offset + 1,
    }
}

/// The events of a reading.
pub(crate) async fn read(mut scan: Scan) -> Result<Records, stream::Error> {
    let mut found = HashMap::new();
    while let Some(records) = scan.next().await? {
        for record in records {
            if let Ok(event) = event::wire::decode(&record.payload) {
                let place = (record.partition, record.offset);
                found.insert(place, (event.account_id, event.event_id));
            }
        }
    }
    Ok(found)
}

/// Whether the event of a row stands where the row says.
pub(crate) fn is_there(row: &SeenEvent, records: &Records) -> bool {
    let record = records.get(&(row.kafka_partition, row.kafka_offset));
    record.is_some_and(|(account, id)| *account == row.account_id && *id == row.event_id)
}

impl Outlet {
    /// Sees that the log holds what landed last of each of these partitions.
    ///
    /// # Errors
    /// [`Error::AnotherLog`] when it does not: what came to stand in its place would be passed over.
    pub(crate) async fn see_that_the_log_is_the_same(&self, numbers: &[i32]) -> Result<(), Error> {
        let mut newest = Vec::new();
        for number in numbers {
            let Some(known) = self.fenced(self.store.checkpoint(*number)).await? else {
                continue;
            };
            let near = (known.next_offset - NEAR).max(0);
            let mut found = self.newest_row(*number, near).await?;
            if found.is_none() && near > 0 {
                found = self.newest_row(*number, 0).await?;
            }
            newest.extend(found);
        }
        let mut looks = 1;
        loop {
            match self
                .fenced(missing(&self.kafka, &self.config.group, &newest))
                .await
            {
                Ok(None) => return Ok(()),
                Ok(Some(place)) if looks == LOOKS => {
                    return Err(Error::AnotherLog {
                        partition: place.partition,
                        offset: place.first,
                    });
                }
                Ok(Some(_)) => looks += 1,
                Err(Error::Stream(error)) => warn!(%error, "cannot look into the log yet, trying again"),
                Err(error) => return Err(error),
            }
            let pause = async {
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok::<(), stream::Error>(())
            };
            self.fenced(pause).await?;
        }
    }

    async fn newest_row(&self, number: i32, from: i64) -> Result<Option<SeenEvent>, Error> {
        let found = self.store.events_spread(number, from, i64::MAX, 1);
        Ok(self.fenced(found).await?.pop())
    }
}

/// Where one of the rows says that its event came from, and the log has something else or nothing.
async fn missing(
    kafka: &KafkaConfig,
    group: &str,
    rows: &[SeenEvent],
) -> Result<Option<Span>, stream::Error> {
    if rows.is_empty() {
        return Ok(None);
    }
    let log = TopicReader::open(kafka, group, topics::EVENTS).await?;
    let places: Vec<Span> = rows.iter().map(place_of).collect();
    let records = read(log.read(&places)?).await?;
    let let_go = |place: &Span| {
        let held = log.spans().iter().find(|span| span.partition == place.partition);
        held.is_some_and(|held| place.first < held.first)
    };
    let mut missing = rows.iter().filter(|row| !is_there(row, &records)).map(place_of);
    Ok(missing.find(|place| !let_go(place)))
}
