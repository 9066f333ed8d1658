//! Doing what the core wants done, with ClickHouse and Kafka. Each thing is waited for until it is done
//! for certain, a partition is another worker's, or the process has to stop.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self as futures, TryStreamExt};
use health::AlertChange;
use prost::Message;
use store::Store;
use stream::{ConsumerHandle, EARLIEST, KafkaConfig, Producer, topics};
use tokio::sync::watch;
use tokio::time::Duration;
use tracing::warn;

use crate::action::{Action, Answer, Insert, Rows, SetAside};
use crate::config::Config;
use crate::worker::{Error, no_rebuild_stands};

/// How often something in progress looks whether the partitions are still ours.
const FENCE_INTERVAL: Duration = Duration::from_millis(250);

/// The partitions that the worker writes for.
#[derive(Clone)]
pub(crate) struct Held {
    numbers: Arc<Mutex<BTreeSet<i32>>>,
    handle: ConsumerHandle,
}

impl Held {
    /// None yet.
    pub(crate) fn none(handle: ConsumerHandle) -> Held {
        Held {
            numbers: Arc::default(),
            handle,
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut BTreeSet<i32>)) {
        change(&mut self.numbers.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether nothing of them is another worker's.
    pub(crate) fn are_ours(&self) -> bool {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.iter().all(|number| self.handle.is_owned(*number))
    }
}

/// The way to ClickHouse and Kafka.
#[derive(Clone)]
pub(crate) struct Outlet {
    pub(crate) config: Arc<Config>,
    /// Takes nothing any more once a partition is another worker's.
    pub(crate) store: Store,
    pub(crate) held: Held,
    pub(crate) handle: ConsumerHandle,
    pub(crate) kafka: KafkaConfig,
    pub(crate) producer: Producer,
    pub(crate) shutdown: watch::Receiver<bool>,
}

impl Outlet {
    pub(crate) async fn act(&self, action: Action) -> Result<Answer, Error> {
        match action {
            Action::ReadCheckpoint(number) => {
                self.fenced(no_rebuild_stands(&self.store)).await?;
                let found = self.fenced(self.store.checkpoint(number)).await?;
                Ok(Answer::Checkpoint(found))
            }
            Action::ReadStates(number) => Ok(Answer::States(self.fenced(self.store.states(number)).await?)),
            Action::ReadLanded { number, from } => {
                let found = self.fenced(self.store.landed_offsets(number, from)).await?;
                Ok(Answer::Landed(found))
            }
            Action::Start { number, offset } => {
                self.handle
                    .start(number, if offset == 0 { EARLIEST } else { offset });
                Ok(Answer::Done)
            }
            Action::LookUp(pairs) => Ok(Answer::Seen(self.fenced(self.store.seen_events(&pairs)).await?)),
            Action::ReadAgain { accounts, from } => {
                let found = self.fenced(self.store.events_since(&accounts, from)).await?;
                Ok(Answer::Events(found))
            }
            Action::Insert(inserts) => {
                let begun = inserts.into_iter().map(|insert| Ok(self.insert(insert)));
                let all = futures::iter(begun).try_buffer_unordered(self.config.inserts);
                self.fenced(all.try_collect::<()>()).await?;
                Ok(Answer::Done)
            }
            Action::SetAside(bad) => {
                warn!(
                    partition = bad.number,
                    offset = bad.offset,
                    reason = bad.reason,
                    detail = bad.detail,
                    "record set aside"
                );
                self.patiently("set a record aside", || set_aside(&self.producer, &bad))
                    .await?;
                Ok(Answer::Done)
            }
            Action::Send(changes) => {
                self.patiently("send alerts", || self.send(&changes)).await?;
                Ok(Answer::Done)
            }
            Action::Commit(offsets) => {
                self.handle.commit(&offsets);
                Ok(Answer::Done)
            }
        }
    }

    async fn insert(&self, insert: Insert) -> Result<(), store::Error> {
        let token = insert.token.as_str();
        match &insert.rows {
            Rows::Events(rows) => self.store.insert_events(token, rows).await,
            Rows::Metrics(rows) => self.store.insert_evaluations(token, rows, &[]).await,
            Rows::Scores(rows) => self.store.insert_evaluations(token, &[], rows).await,
            Rows::Daily(rows) => self.store.insert_daily(token, rows).await,
            Rows::Users(rows) => self.store.insert_users(token, rows).await,
            Rows::Accounts(rows) => self.store.insert_accounts(token, rows).await,
            Rows::States(rows) => self.store.insert_states(token, rows).await,
            Rows::Alerts(rows) => self.store.insert_alerts(token, rows).await,
            Rows::Checkpoints(rows) => self.store.insert_checkpoints(token, rows).await,
        }
    }

    /// Puts changes into the topic; all of them are acknowledged when it returns.
    async fn send(&self, changes: &[AlertChange]) -> Result<(), stream::Error> {
        let mut deliveries = Vec::with_capacity(changes.len());
        for change in changes {
            let key = Some(change.account_id.as_bytes());
            let value = change.encode_to_vec();
            deliveries.push(
                self.producer
                    .send_waiting(topics::ALERTS, key, &value, &[])
                    .await?,
            );
        }
        for delivery in deliveries {
            delivery.await?;
        }
        Ok(())
    }

    /// Does something with Kafka until it succeeds.
    async fn patiently<F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), stream::Error>>,
    {
        loop {
            match self.fenced(attempt()).await {
                Err(Error::Stream(error)) => warn!(%error, "cannot {what} yet, trying again"),
                ended => return ended,
            }
        }
    }

    /// Waits for `action`, unless one of our partitions is another worker's by now, or the process is
    /// to stop and it does not end in time.
    pub(crate) async fn fenced<T, E>(&self, action: impl Future<Output = Result<T, E>>) -> Result<T, Error>
    where
        Error: From<E>,
    {
        let mut shutdown = self.shutdown.clone();
        let stop_within = Duration::from_millis(self.config.stop_within_ms);
        let stopped = async move {
            // An error says that nobody can ask for a stop any more: then none is coming.
            if shutdown.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(stop_within).await;
        };
        tokio::pin!(action);
        tokio::pin!(stopped);
        loop {
            if !self.held.are_ours() {
                return Err(Error::Fenced);
            }
            tokio::select! {
                done = &mut action => return Ok(done?),
                () = &mut stopped => return Err(Error::Interrupted),
                () = tokio::time::sleep(FENCE_INTERVAL) => {}
            }
        }
    }
}

/// Puts a record where people can find it; it is acknowledged when this returns.
pub(crate) async fn set_aside(producer: &Producer, bad: &SetAside) -> Result<(), stream::Error> {
    let number = bad.number.to_string();
    let offset = bad.offset.to_string();
    let headers: [(&str, &[u8]); 5] = [
        ("reason", bad.reason.as_bytes()),
        ("detail", bad.detail.as_bytes()),
        ("source_topic", topics::EVENTS.as_bytes()),
        ("source_partition", number.as_bytes()),
        ("source_offset", offset.as_bytes()),
    ];
    let delivery = producer
        .send_waiting(topics::REJECTED, bad.key.as_deref(), &bad.payload, &headers)
        .await?;
    delivery.await?;
    Ok(())
}
