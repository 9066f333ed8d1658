use std::time::Instant;

use clickhouse::error::Error as ClientError;
use clickhouse::{Client, RowOwned, RowWrite};
use tracing::warn;

use crate::{ClickHouseConfig, StoreMetrics};

/// What can go wrong between mimamori and ClickHouse.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers, or not in time.
    #[error("no ClickHouse answers at {url}: {reason}; start it, or give its address with --clickhouse-url")]
    Unreachable {
        /// The address tried.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The server answered that it cannot do what was asked.
    #[error("ClickHouse at {url} refused to {action}: {reason}")]
    Refused {
        /// The server's address.
        url: String,
        /// What was to be done.
        action: String,
        /// The server's words.
        reason: String,
    },
    /// A migration could not be applied.
    #[error(transparent)]
    Migration(#[from] crate::MigrationError),
}

/// A connection to one ClickHouse database. Cheap to clone; clones share their HTTP connections.
#[derive(Clone)]
pub struct Store {
    pub(crate) client: Client,
    pub(crate) config: ClickHouseConfig,
    metrics: StoreMetrics,
}

impl Store {
    /// A store for `config`; sends nothing yet.
    pub fn new(config: ClickHouseConfig, metrics: StoreMetrics) -> Store {
        let mut client = Client::default()
            .with_url(&config.url)
            .with_user(&config.user)
            .with_database(&config.database)
            .with_setting("async_insert", "0")
            // History may span any number of months.
            .with_setting("max_partitions_per_insert_block", "0")
            .with_setting("max_query_size", "16777216")
            .with_product_info("mimamori", env!("CARGO_PKG_VERSION"));
        if !config.password.is_empty() {
            client = client.with_password(&config.password);
        }
        for (name, value) in &config.settings {
            client = client.with_setting(name, value);
        }
        Store {
            client,
            config,
            metrics,
        }
    }

    /// The same store at another address.
    pub fn at(&self, url: &str) -> Store {
        let mut moved = self.clone();
        moved.client = moved.client.with_url(url);
        moved.config.url = url.to_string();
        moved
    }

    /// The address of the server.
    pub fn url(&self) -> &str {
        &self.config.url
    }

    /// Asks the server for a sign of life, whether or not the database is there yet.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when it does not answer within `connect_timeout_seconds`, and
    /// [`Error::Refused`] when it does not accept the user.
    pub async fn ping(&self) -> Result<(), Error> {
        let outside = self.client.clone().with_database("default");
        let asked = outside.query("SELECT 1").fetch_one::<u8>();
        match tokio::time::timeout(self.config.connect_timeout(), asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.error("answer SELECT 1", error)),
            Err(_) => Err(Error::Unreachable {
                url: self.config.url.clone(),
                reason: format!("no answer within {} s", self.config.connect_timeout_seconds),
            }),
        }
    }

    /// Inserts `rows` and returns when the server has accepted all of them. While the server cannot
    /// be reached or cannot take them for now, the same rows are sent again with the same `token`,
    /// by which the table drops what it already took; this has no end, so drop the future to stop.
    ///
    /// # Errors
    /// [`Error::Refused`] when sending the rows again cannot help, such as a table that is missing.
    pub async fn insert<T>(&self, table: &str, token: &str, rows: &[T]) -> Result<(), Error>
    where
        T: RowOwned + RowWrite,
    {
        if rows.is_empty() {
            return Ok(());
        }
        let begun = now();
        let mut attempt = 1;
        while let Err(error) = self.try_insert(table, token, rows).await {
            if !is_passing(&error) {
                return Err(self.error(&format!("insert into {table}"), error));
            }
            let pause = self.config.pause_after(attempt);
            warn!(table, rows = rows.len(), attempt, ?pause, %error, "insert failed, trying again");
            self.metrics.insert_retries.with_label_values(&[table]).inc();
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
        self.metrics
            .insert_duration
            .with_label_values(&[table])
            .observe(begun.elapsed().as_secs_f64());
        self.metrics
            .inserted_rows
            .with_label_values(&[table])
            .inc_by(rows.len() as u64);
        Ok(())
    }

    async fn try_insert<T>(&self, table: &str, token: &str, rows: &[T]) -> Result<(), ClientError>
    where
        T: RowOwned + RowWrite,
    {
        let send = async {
            let mut insert = self
                .client
                .insert::<T>(table)
                .await?
                .with_setting("insert_deduplication_token", token);
            for row in rows {
                insert.write(row).await?;
            }
            insert.end().await
        };
        match tokio::time::timeout(self.config.insert_timeout(), send).await {
            Ok(done) => done,
            Err(_) => Err(ClientError::TimedOut),
        }
    }

    /// All rows that `query` answers, within `query_timeout_seconds`. Answers that fail in passing are
    /// asked again for as long as it takes when `patient`, and given up at once otherwise.
    pub(crate) async fn fetch<T, F>(&self, action: &str, patient: bool, query: F) -> Result<Vec<T>, Error>
    where
        T: RowOwned + clickhouse::RowRead,
        F: Fn(&Client) -> clickhouse::query::Query,
    {
        let mut attempt = 1;
        loop {
            let asked = query(&self.client).fetch_all::<T>();
            let error = match tokio::time::timeout(self.config.query_timeout(), asked).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => error,
                Err(_) => ClientError::TimedOut,
            };
            if !patient || !is_passing(&error) {
                return Err(self.error(action, error));
            }
            let pause = self.config.pause_after(attempt);
            warn!(action, attempt, ?pause, %error, "query failed, trying again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    pub(crate) fn error(&self, action: &str, error: ClientError) -> Error {
        let url = self.config.url.clone();
        match error {
            ClientError::Network(reason) => Error::Unreachable {
                url,
                reason: root_cause(reason.as_ref()),
            },
            ClientError::TimedOut => Error::Unreachable {
                url,
                reason: format!("no answer in time to {action}"),
            },
            other => Error::Refused {
                url,
                action: action.to_string(),
                reason: other.to_string(),
            },
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "this crate is an edge: it measures how long the server takes"
)]
fn now() -> Instant {
    Instant::now()
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// ClickHouse's codes for a trouble that may pass without anybody mending the request: timeouts, too
/// many queries or parts, memory, disk, shutting down, network, read-only replicas, Keeper.
const PASSING_CODES: [u32; 14] = [
    159, 164, 202, 203, 209, 210, 236, 241, 242, 243, 252, 319, 394, 999,
];

/// Whether the same request may be accepted later.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Network(_) | ClientError::TimedOut => true,
        ClientError::BadResponse(text) => match exception_code(text) {
            Some(code) => PASSING_CODES.contains(&code),
            // A proxy's page or an empty body: not the engine's own word.
            None => true,
        },
        _ => false,
    }
}

fn exception_code(text: &str) -> Option<u32> {
    let (_, after) = text.split_once("Code: ")?;
    let digits: &str = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_short_of_memory_is_asked_again_and_a_missing_table_is_not() {
        let memory =
            ClientError::BadResponse("Code: 241. DB::Exception: Memory limit (total) exceeded".into());
        let missing = ClientError::BadResponse("Code: 60. DB::Exception: Unknown table".into());
        let proxy = ClientError::BadResponse("502 Bad Gateway".into());
        assert!(is_passing(&memory));
        assert!(!is_passing(&missing));
        assert!(is_passing(&proxy));
        assert!(is_passing(&ClientError::TimedOut));
        assert!(!is_passing(&ClientError::SchemaMismatch("column".into())));
    }
}
