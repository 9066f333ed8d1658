//! Sending what was simulated to Kafka.
//!
//! A record counts as sent when the broker has acknowledged it. How many wait for that is bounded, so a slow broker
//! slows the simulation down.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use stream::{Delivered, Delivery, Producer};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::simulation::{Emission, Kind, LiveSimulation, MAX_DUE, Simulation};

/// How many records may wait for the broker's acknowledgement.
const MAX_UNACKNOWLEDGED: usize = 20_000;
/// How often progress is told, in records.
const PROGRESS_EVERY: u64 = 1_000;
/// After a shutdown was asked for, what is on its way is waited for this long.
const LAST_ACKNOWLEDGEMENTS: Duration = Duration::from_secs(2);
/// How often a live simulation looks for what has come due.
const LIVE_TICK: Duration = Duration::from_millis(200);
/// A paced sender does not sleep for less.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Records that the broker acknowledged.
    pub sent: u64,
    /// Distinct valid events among them.
    pub distinct: u64,
    /// Accounts that have been heard of.
    pub accounts: u64,
    /// How long it took.
    pub seconds: f64,
    /// Whether all of the simulation was sent; false when a shutdown cut it short.
    pub complete: bool,
}

/// Sending failed.
#[derive(Debug, thiserror::Error)]
#[error("sending to topic {topic} failed after {sent} records: {source}")]
pub struct SendError {
    /// The topic.
    pub topic: String,
    /// How many records the broker had acknowledged.
    pub sent: u64,
    /// What the client says.
    pub source: stream::Error,
}

/// Sends a simulation to `topic`, at `rate` records a second or, without one, as fast as it goes; ends early when
/// `shutdown` turns true. `progress` is told how many records are acknowledged and about how many there are.
///
/// # Errors
/// The first record that the client refuses or that the broker does not acknowledge within the producer's deadline.
pub async fn send(
    simulation: &mut Simulation,
    producer: &Producer,
    topic: &str,
    rate: Option<f64>,
    progress: &mut (dyn FnMut(u64, u64) + Send),
    mut shutdown: watch::Receiver<bool>,
) -> Result<Summary, SendError> {
    let total = simulation.estimated_total();
    let began = Instant::now();
    let mut sender = Sender::new(producer, topic);
    let mut taken = 0u64;
    let mut complete = false;
    while !*shutdown.borrow_and_update() {
        let Some(emission) = simulation.next() else {
            complete = true;
            break;
        };
        if let Some(rate) = rate {
            let due = began + Duration::try_from_secs_f64(taken as f64 / rate).unwrap_or(Duration::MAX / 4);
            if due > Instant::now() + SHORTEST_PAUSE
                && unless_stopped(&mut shutdown, sleep_until(due)).await.is_none()
            {
                break;
            }
        }
        match unless_stopped(&mut shutdown, sender.send(&emission)).await {
            None => break,
            Some(outcome) => outcome?,
        }
        taken += 1;
        if taken.is_multiple_of(PROGRESS_EVERY) {
            progress(sender.sent, total.max(sender.sent));
            // Making events is work without a pause: others on this thread get theirs here.
            tokio::task::yield_now().await;
        }
    }
    if complete {
        complete = match unless_stopped(&mut shutdown, sender.settle()).await {
            Some(outcome) => outcome.map(|()| true)?,
            None => false,
        };
    }
    if !complete {
        sender.settle_in_time().await?;
    }
    progress(
        sender.sent,
        if complete {
            sender.sent
        } else {
            total.max(sender.sent)
        },
    );
    Ok(Summary {
        sent: sender.sent,
        distinct: sender.distinct,
        accounts: simulation
            .truth()
            .iter()
            .filter(|account| account.emitted > 0)
            .count() as u64,
        seconds: began.elapsed().as_secs_f64(),
        complete,
    })
}

/// Sends what comes due of a live simulation until `shutdown` turns true, and returns how many records the broker
/// acknowledged. `now_ms` is the clock, in epoch milliseconds.
///
/// # Errors
/// Those of [`send`].
pub async fn send_live(
    live: &mut LiveSimulation,
    producer: &Producer,
    topic: &str,
    now_ms: impl Fn() -> i64 + Send,
    mut shutdown: watch::Receiver<bool>,
) -> Result<u64, SendError> {
    let mut sender = Sender::new(producer, topic);
    'live: while !*shutdown.borrow_and_update() {
        let due = live.due(now_ms());
        let more = due.len() == MAX_DUE;
        for emission in &due {
            match unless_stopped(&mut shutdown, sender.send(emission)).await {
                None => break 'live,
                Some(outcome) => outcome?,
            }
        }
        match unless_stopped(&mut shutdown, sender.settle()).await {
            None => break,
            Some(outcome) => outcome?,
        }
        if !more && unless_stopped(&mut shutdown, sleep(LIVE_TICK)).await.is_none() {
            break;
        }
    }
    sender.settle_in_time().await?;
    Ok(sender.sent)
}

/// What `work` comes to, or nothing once `shutdown` is true.
async fn unless_stopped<T>(shutdown: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    let stopped = async {
        if shutdown.wait_for(|stop| *stop).await.is_err() {
            // Whoever could ask for a shutdown is gone: none comes.
            pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        outcome = work => Some(outcome),
        () = stopped => None,
    }
}

/// Sends records and waits for their acknowledgement, in order.
struct Sender<'a> {
    producer: &'a Producer,
    topic: &'a str,
    /// What is not acknowledged, and whether it is an event's first record.
    waiting: VecDeque<(Delivery, bool)>,
    sent: u64,
    distinct: u64,
}

impl<'a> Sender<'a> {
    fn new(producer: &'a Producer, topic: &'a str) -> Self {
        Self {
            producer,
            topic,
            waiting: VecDeque::new(),
            sent: 0,
            distinct: 0,
        }
    }

    async fn send(&mut self, emission: &Emission) -> Result<(), SendError> {
        self.settle_ready().await?;
        while self.waiting.len() >= MAX_UNACKNOWLEDGED {
            self.settle_first().await?;
        }
        let taken = self
            .producer
            .send_waiting(self.topic, emission.key(), &emission.payload, &[])
            .await;
        let delivery = taken.map_err(|source| self.failed(source))?;
        self.waiting.push_back((delivery, emission.kind == Kind::Event));
        Ok(())
    }

    /// Waits for the acknowledgement of the record that has waited longest.
    async fn settle_first(&mut self) -> Result<(), SendError> {
        // It stays in the queue while it is waited for, so that giving up the wait loses no count.
        let Some((delivery, _)) = self.waiting.front_mut() else {
            return Ok(());
        };
        let outcome = delivery.await;
        self.count(outcome)
    }

    /// Counts what is acknowledged already.
    async fn settle_ready(&mut self) -> Result<(), SendError> {
        poll_fn(|task| {
            while let Some((delivery, _)) = self.waiting.front_mut() {
                let Poll::Ready(outcome) = Pin::new(delivery).poll(task) else {
                    break;
                };
                if let Err(failed) = self.count(outcome) {
                    return Poll::Ready(Err(failed));
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Counts the outcome of the record that has waited longest.
    fn count(&mut self, outcome: Result<Delivered, stream::Error>) -> Result<(), SendError> {
        let event = self.waiting.pop_front().is_some_and(|(_, event)| event);
        outcome.map_err(|source| self.failed(source))?;
        self.sent += 1;
        self.distinct += u64::from(event);
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), SendError> {
        while !self.waiting.is_empty() {
            self.settle_first().await?;
        }
        Ok(())
    }

    /// Waits for what can still be acknowledged in time; the rest does not count.
    async fn settle_in_time(&mut self) -> Result<(), SendError> {
        timeout(LAST_ACKNOWLEDGEMENTS, self.settle())
            .await
            .unwrap_or(Ok(()))
    }

    fn failed(&self, source: stream::Error) -> SendError {
        SendError {
            topic: self.topic.to_owned(),
            sent: self.sent,
            source,
        }
    }
}
