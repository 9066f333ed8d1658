//! Inserts that end in a definite answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clickhouse::error::Error as ClientError;
use clickhouse::insert::Insert;
use clickhouse::insert_formatted::InsertFormatted;
use clickhouse::{RowOwned, RowWrite};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::client::{Error, Store};
use crate::failure::is_final;
use crate::patience::Operation;

/// Settings that the promise of an insert rests on, whatever the server's profiles or
/// `clickhouse.settings` say.
const FIXED: [(&str, &str); 10] = [
    // An answer means that the rows are in the table, not in a queue.
    ("async_insert", "0"),
    ("wait_end_of_query", "1"),
    ("insert_deduplicate", "1"),
    // A block that the table has had already may not have reached its views.
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("materialized_views_ignore_errors", "0"),
    // What is sent at once is one block, whose rows become visible together.
    ("max_insert_block_size", "1048449"),
    // History may span any number of months.
    ("max_partitions_per_insert_block", "0"),
    // No row of an insert replaces another of it, but in what keeps the newest, and readers use FINAL.
    ("optimize_on_insert", "0"),
    // See `max_execution_time` below: by the clock, and without rows half done.
    ("timeout_before_checking_execution_speed", "0"),
    ("timeout_overflow_mode", "throw"),
];

/// Bytes of a block that are sent at a time.
const SENT_AT_A_TIME: usize = 1 << 20;

impl Store {
    /// Inserts `rows` and returns when the server has accepted all of them. While the server cannot
    /// be reached, does not answer or cannot take them for now, the same rows are sent again with the
    /// same `token`, by which the table drops what it already took; this has no end, so drop the future
    /// to stop. An attempt that was begun may reach the server after that, but not after its deadline.
    ///
    /// # Errors
    /// [`Error::Refused`] when sending the rows again cannot help, such as a table that is missing;
    /// [`Error::Fenced`] when a store made by [`Store::fenced_by`] may not write any more.
    pub async fn insert<T>(&self, table: &str, token: &str, rows: &[T]) -> Result<(), Error>
    where
        T: RowOwned + RowWrite,
    {
        self.insert_by(table, rows.len(), || self.begin(table, token, rows))
            .await
    }

    /// [`Store::insert`] for `rows` rows that are a block of the `Native` format.
    pub(crate) async fn insert_block(
        &self,
        table: &str,
        token: &str,
        rows: usize,
        block: Bytes,
    ) -> Result<(), Error> {
        self.insert_by(table, rows, || self.begin_block(table, token, block.clone()))
            .await
    }

    /// Inserts `rows` rows, which each future that `begin` makes sends.
    async fn insert_by<I, F>(&self, table: &str, rows: usize, begin: impl Fn() -> F) -> Result<(), Error>
    where
        I: Unfinished,
        F: Future<Output = Result<I, ClientError>>,
    {
        if rows == 0 {
            return Ok(());
        }
        let mut operation = Operation::new(self, format!("insert into {table}"));
        loop {
            let error = match self.attempt(&mut operation, begin()).await {
                Ok(()) => break,
                Err(Attempt::Fenced) => {
                    let table = table.to_string();
                    return Err(Error::Fenced { table });
                }
                Err(Attempt::Failed(error)) => error,
            };
            if is_final(&error) {
                return Err(self.error(operation.action(), error));
            }
            let (attempt, pause) = operation.failed();
            warn!(table, rows, attempt, ?pause, %error, "insert failed, trying again");
            self.metrics.insert_retries.with_label_values(&[table]).inc();
            operation.pause(pause).await;
        }
        self.metrics
            .insert_duration
            .with_label_values(&[table])
            .observe(operation.lasted().as_secs_f64());
        self.metrics
            .inserted_rows
            .with_label_values(&[table])
            .inc_by(rows as u64);
        Ok(())
    }

    /// Sends everything but the request's end, without which the server takes nothing.
    async fn begin<T>(&self, table: &str, token: &str, rows: &[T]) -> Result<Insert<T>, ClientError>
    where
        T: RowOwned + RowWrite,
    {
        let mut insert = self.client.insert::<T>(table).await?;
        for (name, value) in self.settings(token) {
            insert = insert.with_setting(name, value);
        }
        for row in rows {
            insert.write(row).await?;
        }
        Ok(insert)
    }

    /// The same of a block.
    async fn begin_block(
        &self,
        table: &str,
        token: &str,
        mut block: Bytes,
    ) -> Result<InsertFormatted, ClientError> {
        let sql = format!("INSERT INTO {table} FORMAT Native");
        let mut insert = self.client.insert_formatted_with(sql);
        for (name, value) in self.settings(token) {
            insert = insert.with_setting(name, value);
        }
        while !block.is_empty() {
            insert
                .send(block.split_to(block.len().min(SENT_AT_A_TIME)))
                .await?;
        }
        Ok(insert)
    }

    /// What every insert is sent with.
    fn settings(&self, token: &str) -> impl Iterator<Item = (&'static str, String)> {
        let fixed = FIXED.iter().map(|(name, value)| (*name, (*value).to_string()));
        fixed.chain([
            // The server's side of the deadline: what a stopped process sends after it is refused.
            (
                "max_execution_time",
                self.config.insert_timeout_seconds.to_string(),
            ),
            ("insert_deduplication_token", token.to_string()),
        ])
    }

    async fn attempt<I: Unfinished>(
        &self,
        operation: &mut Operation<'_>,
        write: impl Future<Output = Result<I, ClientError>>,
    ) -> Result<(), Attempt> {
        self.check_fence()?;
        let deadline = Instant::now() + self.config.insert_timeout();
        let in_time = async {
            let written = timeout_at(deadline, write).await;
            written.unwrap_or(Err(ClientError::TimedOut))
        };
        // What is given up here is not whole, and the server drops it.
        let insert = operation.attempt(in_time).await.map_err(Attempt::Failed)?;
        self.check_fence()?;
        // From here on the server may take it. A task of its own keeps to the deadline also when nobody
        // waits for it any more: the client would go on trying to send what is dropped.
        let left = deadline.saturating_duration_since(Instant::now());
        let under_way = self.under_way.one_more();
        let end = tokio::spawn(async move {
            let ended = insert.end_within(left).await;
            drop(under_way);
            ended
        });
        let ended = async { end.await.unwrap_or(Err(ClientError::TimedOut)) };
        operation.attempt(ended).await.map_err(Attempt::Failed)
    }

    /// Waits until nothing that was sent to be inserted may still arrive: no attempt of this store (of the
    /// clones of one [`Store::fenced_by`], or else of all unfenced ones) is under way any more. That takes
    /// `insert_timeout_seconds` at most if nobody inserts anything more. A worker waits for it before it
    /// lets go of its partitions, so that their next owner reads all that landed.
    pub async fn inserts_ended(&self) {
        let mut count = self.under_way.0.subscribe();
        // It is counted in a value that lives as long as this store.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    fn check_fence(&self) -> Result<(), Attempt> {
        match &self.may_write {
            Some(may_write) if !may_write() => Err(Attempt::Fenced),
            _ => Ok(()),
        }
    }
}

/// An insert of which everything was sent but its end.
trait Unfinished: Send + 'static {
    fn end_within(self, left: Duration) -> impl Future<Output = Result<(), ClientError>> + Send;
}

impl<T: RowOwned + RowWrite> Unfinished for Insert<T> {
    async fn end_within(self, left: Duration) -> Result<(), ClientError> {
        self.with_timeouts(None, Some(left)).end().await
    }
}

impl Unfinished for InsertFormatted {
    async fn end_within(self, left: Duration) -> Result<(), ClientError> {
        self.with_timeouts(None, Some(left)).end().await
    }
}

/// How many attempts the server may have heard of and not have answered.
#[derive(Clone, Default)]
pub(crate) struct UnderWay(Arc<watch::Sender<usize>>);

impl UnderWay {
    fn one_more(&self) -> OneMore {
        self.0.send_modify(|count| *count += 1);
        OneMore(self.clone())
    }
}

/// One attempt, until this is dropped.
struct OneMore(UnderWay);

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// Why an attempt did not end well.
enum Attempt {
    Fenced,
    Failed(ClientError),
}
