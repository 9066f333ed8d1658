use std::sync::Arc;
use std::time::Duration;

use clickhouse::error::Error as ClientError;
use clickhouse::{Client, Compression, RowOwned, RowRead};
use tracing::warn;

use crate::failure::is_final;
use crate::insert::UnderWay;
use crate::patience::{Operation, Patience};
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
    /// The writer's right to write has ended: what it holds is another worker's by now.
    #[error("not inserting into {table}: this worker may not write any more, another one has its partitions")]
    Fenced {
        /// The table that was to be written.
        table: String,
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
    pub(crate) metrics: StoreMetrics,
    pub(crate) may_write: Option<MayWrite>,
    pub(crate) under_way: UnderWay,
}

/// Whether the writer may still write. Asked before every attempt of an insert, so it must answer at
/// once and never block.
pub type MayWrite = Arc<dyn Fn() -> bool + Send + Sync>;

impl Store {
    /// A store for `config`; sends nothing yet.
    pub fn new(config: ClickHouseConfig, metrics: StoreMetrics) -> Store {
        let mut client = Client::default()
            .with_url(&config.url)
            .with_user(&config.user)
            .with_database(&config.database)
            .with_setting("max_query_size", "16777216")
            // Nobody reads what a query answers that was given up.
            .with_setting("cancel_http_readonly_queries_on_client_close", "1")
            .with_product_info("mimamori", env!("CARGO_PKG_VERSION"));
        if !config.password.is_empty() {
            client = client.with_password(&config.password);
        }
        for (name, value) in &config.settings {
            client = client.with_setting(name, value);
        }
        // An answer means that the rows are in the table, not in a queue, whoever says otherwise.
        client = client
            .with_setting("async_insert", "0")
            .with_compression(compression(&config, &config.url));
        Store {
            client,
            config,
            metrics,
            may_write: None,
            under_way: UnderWay::default(),
        }
    }

    /// The same store, whose inserts end in [`Error::Fenced`] once `may_write` says no. It is asked
    /// before every attempt, and again before the last bytes of one go out: an insert of which the
    /// server has not all bytes is dropped by it.
    pub fn fenced_by(&self, may_write: MayWrite) -> Store {
        let mut fenced = self.clone();
        fenced.may_write = Some(may_write);
        fenced.under_way = UnderWay::default();
        fenced
    }

    /// The same store at another address.
    pub fn at(&self, url: &str) -> Store {
        let mut moved = self.clone();
        let compression = compression(&moved.config, url);
        moved.client = moved.client.with_url(url).with_compression(compression);
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
        self.ping_within(self.config.connect_timeout()).await
    }

    /// Whether the server is there now, answered within `sign_of_life_seconds`.
    ///
    /// # Errors
    /// Those of [`Store::ping`].
    pub async fn sign_of_life(&self) -> Result<(), Error> {
        self.ping_within(self.config.sign_of_life()).await
    }

    pub(crate) async fn ping_within(&self, within: Duration) -> Result<(), Error> {
        let outside = self.client.clone().with_database("default");
        let asked = outside.query("SELECT 1").fetch_one::<u8>();
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.error("answer SELECT 1", error)),
            Err(_) => Err(Error::Unreachable {
                url: self.config.url.clone(),
                reason: format!("no answer within {} s", within.as_secs_f64()),
            }),
        }
    }

    pub(crate) fn patience(&self) -> &Arc<Patience> {
        &self.metrics.patience
    }

    /// All rows that `query` answers, within `query_timeout_seconds`. Answers that fail in passing are
    /// asked again for as long as it takes when `patient`, and given up at once otherwise.
    pub(crate) async fn fetch<T, F>(&self, action: &str, patient: bool, query: F) -> Result<Vec<T>, Error>
    where
        T: RowOwned + RowRead,
        F: Fn(&Client) -> clickhouse::query::Query,
    {
        let ask = || async {
            let asked = self.in_time(query(&self.client)).fetch_all::<T>();
            let answered = tokio::time::timeout(self.config.query_timeout(), asked).await;
            answered.unwrap_or(Err(ClientError::TimedOut))
        };
        if !patient {
            return ask().await.map_err(|error| self.error(action, error));
        }
        let mut operation = Operation::new(self, action.to_string());
        loop {
            let error = match operation.attempt(ask()).await {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            if is_final(&error) {
                return Err(self.error(action, error));
            }
            let (attempt, pause) = operation.failed();
            warn!(action, attempt, ?pause, %error, "query failed, trying again");
            operation.pause(pause).await;
        }
    }

    /// The query, which the server gives up when nobody waits for its answer any more.
    fn in_time(&self, query: clickhouse::query::Query) -> clickhouse::query::Query {
        query
            .with_setting(
                "max_execution_time",
                self.config.query_timeout_seconds.to_string(),
            )
            .with_setting("timeout_before_checking_execution_speed", "0")
            .with_setting("timeout_overflow_mode", "throw")
    }

    /// The rows that `sql`, taken as it is, answers: one JSON object a line, its numbers as precise as
    /// they are stored. `action` says what it is for.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no answer comes within `query_timeout_seconds`, [`Error::Refused`]
    /// when the server cannot do it.
    pub async fn json_rows(&self, action: &str, sql: &str) -> Result<String, Error> {
        let ask = async {
            let query = self
                .in_time(self.client.query_raw(sql))
                .with_setting("output_format_json_quote_64bit_integers", "0")
                .with_setting("output_format_json_quote_denormals", "1")
                .with_setting("output_format_json_named_tuples_as_objects", "1");
            query.fetch_bytes("JSONEachRow")?.collect().await
        };
        let answered = match tokio::time::timeout(self.config.query_timeout(), ask).await {
            Ok(answered) => answered,
            Err(_) => Err(ClientError::TimedOut),
        };
        let bytes = answered.map_err(|error| self.error(action, error))?;
        String::from_utf8(bytes.to_vec()).map_err(|error| Error::Refused {
            url: self.config.url.clone(),
            action: action.to_string(),
            reason: format!("the answer is not UTF-8: {error}"),
        })
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

fn compression(config: &ClickHouseConfig, url: &str) -> Compression {
    if config.compresses(url) {
        Compression::Lz4
    } else {
        Compression::None
    }
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
