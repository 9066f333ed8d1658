//! The task of one lane: makes the requests that the lane hands out, tells it what came of them, and reads
//! what waits for it in ClickHouse.
//!
//! It alone hands the lane's rows on to be written, so that they are written in the order of their making.

use std::sync::Arc;
use std::time::Duration;

use store::{WaitingDelivery, WaitingQuery};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{LONGEST_SLEEP, Shared, Slot, Stopped, lock};
use crate::body;
use crate::destination::{Parcel, Transport};
use crate::lane::{DELIVERED, Reload, Shipment, Switched};
use crate::outcome::Answer;
use crate::recorder::{Ledger, Numbered};

/// What a request or a reading came to.
enum Done {
    Answered {
        alert_id: Arc<str>,
        begun: i64,
        answer: Answer,
    },
    Cancelled,
    /// The ledger cannot say what an answer depends on.
    Unknown(store::Error),
    Reloaded {
        rows: Result<Vec<WaitingDelivery>, store::Error>,
        limit: usize,
    },
}

pub(super) async fn run_lane<L: Ledger, T: Transport>(
    shared: Arc<Shared<L>>,
    number: usize,
    transport: Arc<T>,
) -> Result<(), Stopped> {
    let slot = &shared.lanes[number];
    let destination = lock(&slot.lane).destination().to_string();
    let pending = shared.metrics.pending.with_label_values(&[&destination]);
    let parked = shared.metrics.parked.with_label_values(&[&destination]);
    let circuit_open = shared.metrics.circuit_open.with_label_values(&[&destination]);
    let mut working: JoinSet<Done> = JoinSet::new();
    loop {
        let now = shared.clock.now();
        let (rows, wake_at) = {
            let mut lane = lock(&slot.lane);
            lane.set_aside(now);
            if let Some(reload) = lane.begin_reload(now) {
                working.spawn(reload_lane(Arc::clone(&shared), destination.clone(), reload));
            }
            while let Some(shipment) = lane.next(now) {
                let (shared, transport) = (Arc::clone(&shared), Arc::clone(&transport));
                working.spawn(ship(shared, transport, destination.clone(), shipment));
            }
            pending.set(i64::try_from(lane.held()).unwrap_or(i64::MAX));
            parked.set(i64::from(lane.is_parked()));
            circuit_open.set(i64::from(lane.is_circuit_open()));
            (lane.take_rows(), lane.wake_at())
        };
        // This task alone hands rows on, which keeps them in order.
        for entry in rows {
            // A recorder that is gone has ended the engine.
            let _gone = shared
                .entries
                .send(Numbered {
                    lane: Some(number),
                    entry,
                })
                .await;
        }

        let asleep = match wake_at {
            Some(at) => {
                let ahead = u64::try_from(at - shared.clock.now()).unwrap_or(0);
                Duration::from_millis(ahead).min(LONGEST_SLEEP)
            }
            None => LONGEST_SLEEP,
        };
        tokio::select! {
            () = slot.wake.notified() => {}
            () = sleep(asleep) => {}
            Some(done) = working.join_next(), if !working.is_empty() => {
                match done.map_err(Stopped::Panicked)? {
                    Done::Cancelled => {}
                    Done::Unknown(error) => return Err(error.into()),
                    Done::Answered { alert_id, begun, answer } => {
                        finish(&shared, slot, &alert_id, begun, &answer);
                    }
                    Done::Reloaded { rows, limit } => {
                        let now = shared.clock.now();
                        match rows {
                            Ok(rows) => lock(&slot.lane).finish_reload(rows, limit, now),
                            Err(error) => {
                                lock(&slot.lane).abandon_reload();
                                return Err(error.into());
                            }
                        }
                    }
                }
            }
        }
    }
}

async fn ship<L: Ledger, T: Transport>(
    shared: Arc<Shared<L>>,
    transport: Arc<T>,
    destination: String,
    shipment: Shipment,
) -> Done {
    let attempt = async {
        let reference = reference(&*shared.ledger, &*transport, &destination, &shipment.body).await?;
        shared.until_ours(shipment.partition).await;
        // What the ledger took to answer is not the receiver's.
        let begun = shared.clock.now();
        let parcel = Parcel {
            alert_id: &shipment.alert_id,
            body: &shipment.body,
            reference: reference.as_deref(),
        };
        let answer = transport.send(parcel).await;
        Ok((begun, answer))
    };
    tokio::select! {
        attempted = attempt => match attempted {
            Ok((begun, answer)) => Done::Answered {
                alert_id: shipment.alert_id.clone(),
                begun,
                answer,
            },
            Err(error) => Done::Unknown(error),
        },
        _ = shipment.cancelled => Done::Cancelled,
    }
}

/// What the receiver called the first message of the episode, for transports that can refer to it. Its row
/// is written before any later change of the episode is sent.
async fn reference<L: Ledger, T: Transport>(
    ledger: &L,
    transport: &T,
    destination: &str,
    body: &str,
) -> Result<Option<String>, store::Error> {
    let later = body::place(body).filter(|place| !place.order.is_first() && !place.episode_id.is_empty());
    match later {
        Some(place) if transport.wants_reference() => ledger.reference(destination, &place.episode_id).await,
        _ => Ok(None),
    }
}

async fn reload_lane<L: Ledger>(shared: Arc<Shared<L>>, destination: String, reload: Reload) -> Done {
    let query = WaitingQuery {
        destination,
        partitions: reload.partitions,
        partition_count: *lock(&shared.partition_count),
        limit: u32::try_from(reload.limit).unwrap_or(u32::MAX),
    };
    Done::Reloaded {
        rows: shared.ledger.waiting(&query).await,
        limit: reload.limit,
    }
}

fn finish<L: Ledger>(shared: &Shared<L>, slot: &Slot, alert_id: &str, begun: i64, answer: &Answer) {
    let now = shared.clock.now();
    let Some(finished) = lock(&slot.lane).finish(alert_id, answer, begun, now) else {
        return;
    };
    let row = &finished.row;
    match finished.switched {
        Some(Switched::Opened(pause)) => warn!(
            destination = row.destination,
            seconds = pause.as_secs_f64(),
            error = row.error,
            "no sign of life of the destination, sending nothing for a while"
        ),
        Some(Switched::Closed) => info!(destination = row.destination, "the destination is there again"),
        None => {}
    }
    if row.status == DELIVERED {
        if let Some(caused_at) = finished.caused_at {
            let seconds = (now - caused_at).max(0) as f64 / 1_000.0;
            shared.metrics.event_to_delivery.observe(seconds);
        }
        return;
    }
    warn!(
        destination = row.destination,
        alert_id,
        attempt = row.attempt,
        status = row.status,
        error = row.error,
        next_attempt_at = row.next_attempt_at,
        "delivery failed"
    );
    if finished.disabled {
        warn!(
            destination = row.destination,
            "the destination answered 410 gone and is disabled until a restart or a replay; remove it or mend its address"
        );
    }
}
