//! Waiting for a server that is away: who waits and since when, and noticing that it is back.
//!
//! An answer that a server owes when it goes away may never come, and the deadline for it may be a
//! minute off. So whoever waits for longer than `sign_of_life_seconds`, or has failed, has the server
//! asked for a sign of life. When there was none and there is one again, what waits is sent again at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clickhouse::error::Error as ClientError;
use prometheus::core::{Collector, Desc};
use prometheus::{Gauge, proto};
use tokio::sync::watch;

use crate::client::Store;

/// What could not be done yet, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What is to be done, such as `insert into events`.
    pub action: String,
    /// For how long it has been tried.
    pub lasts: Duration,
}

/// What all clones of a store, and its metrics, share.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    operations: Mutex<Operations>,
    is_watched: AtomicBool,
    /// It gave no sign of life when last asked for one.
    is_away: AtomicBool,
    /// How often the server came back.
    returns: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Operations {
    next: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    begun: Instant,
    action: String,
    has_failed: bool,
}

impl Patience {
    /// What has been waiting for the longest: of what has failed, and of all while the server is away.
    pub(crate) fn longest(&self) -> Option<Waiting> {
        let is_away = self.is_away.load(Ordering::Acquire);
        let operations = self.operations();
        let waiting = operations.open.values().filter(|open| open.has_failed || is_away);
        let longest = waiting.min_by_key(|open| open.begun)?;
        Some(Waiting {
            action: longest.action.clone(),
            lasts: longest.begun.elapsed(),
        })
    }

    fn operations(&self) -> MutexGuard<'_, Operations> {
        // Every change of it is one step, so that a panic leaves nothing half done.
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One insert or query, from its first attempt to its last.
pub(crate) struct Operation<'a> {
    store: &'a Store,
    action: String,
    begun: Instant,
    attempts: u32,
    number: u64,
    returns: watch::Receiver<u64>,
    was_sent_again: bool,
    is_back: bool,
}

impl<'a> Operation<'a> {
    pub(crate) fn new(store: &'a Store, action: String) -> Operation<'a> {
        let begun = now();
        let mut operations = store.patience().operations();
        let number = operations.next;
        operations.next += 1;
        let open = Open {
            begun,
            action: action.clone(),
            has_failed: false,
        };
        operations.open.insert(number, open);
        drop(operations);
        Operation {
            store,
            action,
            begun,
            attempts: 0,
            number,
            returns: store.patience().returns.subscribe(),
            was_sent_again: false,
            is_back: false,
        }
    }

    pub(crate) fn action(&self) -> &str {
        &self.action
    }

    pub(crate) fn lasted(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits for an attempt's answer. Gives it up before its deadline when the server was away meanwhile,
    /// but only once: a server that answers now and then is slow, and needs the time that it takes.
    pub(crate) async fn attempt<T>(
        &mut self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        self.is_back = false;
        self.returns.mark_unchanged();
        let sign_of_life = self.store.config.sign_of_life();
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answered = &mut answer => return answered,
                Ok(()) = self.returns.changed(), if !self.was_sent_again => {
                    self.was_sent_again = true;
                    self.is_back = true;
                    return Err(ClientError::Network("the server was away and is back".into()));
                }
                () = tokio::time::sleep(sign_of_life) => self.store.watch(),
            }
        }
    }

    /// Notes that an attempt failed. Gives its number, and the pause to make before the next.
    pub(crate) fn failed(&mut self) -> (u32, Duration) {
        self.attempts += 1;
        if let Some(open) = self.store.patience().operations().open.get_mut(&self.number) {
            open.has_failed = true;
        }
        if self.is_back {
            return (self.attempts, Duration::ZERO);
        }
        (self.attempts, self.store.config.pause_after(self.attempts))
    }

    /// Waits for `pause`, or until the server is back.
    pub(crate) async fn pause(&mut self, pause: Duration) {
        self.returns.mark_unchanged();
        self.store.watch();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Ok(()) = self.returns.changed() => {}
        }
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.store.patience().operations().open.remove(&self.number);
    }
}

impl Store {
    /// What the server has not done yet though it was asked, and for how long: of all inserts, and all
    /// queries that are repeated, the one that has been failing for the longest. `None` when nothing is.
    pub fn waiting(&self) -> Option<Waiting> {
        self.patience().longest()
    }

    /// Sees to it that the server's return is noticed, if it is away.
    fn watch(&self) {
        if self.patience().is_watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let store = self.clone();
        tokio::spawn(async move {
            let patience = store.patience();
            let within = store.config.sign_of_life();
            let mut was_away = false;
            // Whoever waits listens; when nobody does there is nothing to watch for.
            while patience.returns.receiver_count() > 0 {
                let is_alive = store.ping_within(within).await.is_ok();
                patience.is_away.store(!is_alive, Ordering::Release);
                if is_alive {
                    if was_away {
                        patience.returns.send_modify(|count| *count += 1);
                    }
                    break;
                }
                was_away = true;
                tokio::time::sleep(within / 4).await;
            }
            patience.is_away.store(false, Ordering::Release);
            patience.is_watched.store(false, Ordering::Release);
        });
    }
}

/// The gauge of the longest wait, read when it is asked for.
pub(crate) struct WaitingSeconds {
    gauge: Gauge,
    patience: Arc<Patience>,
}

impl WaitingSeconds {
    pub(crate) fn new(patience: Arc<Patience>) -> Result<WaitingSeconds, prometheus::Error> {
        let gauge = Gauge::new(
            "mimamori_clickhouse_waiting_seconds",
            "For how long ClickHouse has not done what was asked of it, be it an insert or a worker's query; 0 when it has",
        )?;
        Ok(WaitingSeconds { gauge, patience })
    }
}

impl Collector for WaitingSeconds {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let lasts = self.patience.longest().map_or(Duration::ZERO, |wait| wait.lasts);
        self.gauge.set(lasts.as_secs_f64());
        self.gauge.collect()
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "this crate is an edge: it measures how long the server takes"
)]
fn now() -> Instant {
    Instant::now()
}
