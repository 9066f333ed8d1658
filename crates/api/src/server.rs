//! Listening, and stopping in time.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus::Registry;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};
use verify::{Definition, Verifier};

use crate::collect::{Collection, Collector, Outlet, Sink};
use crate::config::Config;
use crate::keys::ApiKeys;
use crate::observe::HttpMetrics;
use crate::readiness::Readiness;
use crate::router::{Shared, router};

/// How long to wait before accepting again when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Requests that compute numbers from the events, each of which may keep a core of the database busy for
/// seconds.
const RECOMPUTATIONS_AT_ONCE: usize = 2;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is open to others and nobody would need a key.
    #[error("refusing to listen on {listen} without an API key: set api.api_keys, or listen on 127.0.0.1")]
    KeyWanted {
        /// The address.
        listen: String,
    },
    /// The address is not one.
    #[error("api.listen {listen:?} is not an address and port such as 127.0.0.1:8080: {source}")]
    Address {
        /// The address.
        listen: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address cannot be had.
    #[error("cannot listen on {listen} for the API: {source}; stop what uses it, or set api.listen")]
    Listen {
        /// The address.
        listen: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of keys cannot be read.
    #[error("cannot read the API keys in {path}: {source}")]
    KeyFile {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key is empty or cannot be sent in a header.
    #[error("{0}: give printable ASCII without blanks")]
    UnusableKey(String),
    /// A bound would let nothing through.
    #[error("api.{0} is 0, which would let nothing through: give at least 1")]
    ImpossibleBound(&'static str),
    /// The collector cannot work as it is configured.
    #[error("{0}")]
    Collector(String),
    /// The metrics of HTTP are declared already.
    #[error("cannot declare the metrics of the API: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// The API with its address taken, before anything is answered.
pub struct Server {
    config: Config,
    keys: ApiKeys,
    listener: TcpListener,
    address: SocketAddr,
    collection: Option<Collection>,
    trial: Option<Sink>,
}

impl Server {
    /// Checks the configuration and takes the address, so that what is wrong with either is known
    /// before anything else starts.
    ///
    /// # Errors
    /// [`Error::KeyWanted`] when the address is not loopback and there is no key, [`Error::Listen`]
    /// when it is taken.
    pub async fn bind(config: Config) -> Result<Server, Error> {
        if let Some(bound) = config.impossible_bound() {
            return Err(Error::ImpossibleBound(bound));
        }
        let keys = ApiKeys::read(&config.api_keys)?;
        let listen = config.listen.clone();
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&listen)
            .await
            .map_err(|source| Error::Address {
                listen: listen.clone(),
                source,
            })?
            .collect();
        let all_loopback = addresses.iter().all(|address| address.ip().is_loopback());
        if keys.is_empty() && !all_loopback {
            return Err(Error::KeyWanted { listen });
        }
        let bound = async {
            let listener = TcpListener::bind(&addresses[..]).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bound.await.map_err(|source| Error::Listen { listen, source })?;
        Ok(Server {
            config,
            keys,
            listener,
            address,
            collection: None,
            trial: None,
        })
    }

    /// Takes events at `/v1/`, too, unless the configuration says not to; and what people do about alerts.
    pub fn collecting(mut self, collection: Collection) -> Server {
        self.collection = Some(collection);
        self
    }

    /// For benches: as [`collecting`](Self::collecting), while ClickHouse is away and no write key was
    /// ever made.
    #[doc(hidden)]
    pub fn collecting_on_trial(mut self, collection: Collection, sink: Sink) -> Server {
        self.trial = Some(sink);
        self.collecting(collection)
    }

    /// The address taken; its port is the system's choice when the configuration said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is true or its sender is gone, then lets requests at work end for
    /// `shutdown_timeout_seconds`. What receipts prove, they prove by `definition`.
    ///
    /// # Errors
    /// [`Error::Metrics`] when `registry` has the metrics of an API already.
    ///
    /// The future comes boxed, so that its code is made here, once, and not in each crate that awaits it.
    pub fn run(
        self,
        store: Store,
        definition: Definition,
        registry: Registry,
        readiness: Readiness,
        shutdown: watch::Receiver<bool>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
        Box::pin(self.run_until_stopped(store, definition, registry, readiness, shutdown))
    }

    async fn run_until_stopped(
        self,
        store: Store,
        definition: Definition,
        registry: Registry,
        mut readiness: Readiness,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let metrics = HttpMetrics::register(&registry)?;
        let mut collector = None;
        // Its work in the background ends when this future does.
        let mut _collecting = None;
        let mut actions = None;
        if let Some(collection) = self.collection.as_ref().filter(|one| !one.config.enabled) {
            let mut kafka = collection.kafka.clone();
            kafka.delivery_timeout_ms = kafka.delivery_timeout_ms.min(collection.config.ack_timeout_ms);
            let outlet =
                Outlet::new(kafka, Sink::Broker).map_err(|error| Error::Collector(error.to_string()))?;
            actions = Some(Arc::new(outlet));
        }
        if let Some(collection) = self.collection.filter(|one| one.config.enabled) {
            let may_be_open = self.keys.is_empty() && self.address.ip().is_loopback();
            let sink = self.trial.unwrap_or(Sink::Broker);
            let made = Collector::new(&collection, sink, may_be_open, &registry)?;
            if let Some(sink) = self.trial {
                made.begin_trial(sink);
            }
            readiness = made.readiness(readiness);
            _collecting = Some(made.work(store.clone(), collection.topics));
            actions = Some(made.outlet());
            collector = Some(made);
        }
        let shared = Shared {
            slots: Arc::new(Semaphore::new(self.config.max_concurrent_requests)),
            config: Arc::new(self.config.clone()),
            keys: self.keys,
            model_hash: Arc::from(definition.model_hash.as_str()),
            verifier: Arc::new(Verifier::new(store.clone(), definition)),
            actions,
            recomputing: Arc::new(Semaphore::new(RECOMPUTATIONS_AT_ONCE)),
            store,
            registry,
            readiness,
        };
        let service = TowerToHyperService::new(router(shared, metrics, collector.as_ref()));
        let mut protocol = http1::Builder::new();
        protocol
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_timeout());
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(self.config.max_connections));
        info!(address = %self.address, "API listening");

        let stopping = async {
            // An error means that the sender is gone: nobody is left to say when to stop.
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        tokio::pin!(stopping);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &places) => accepted,
                () = &mut stopping => break,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let connection = protocol.serve_connection(TokioIo::new(stream), service.clone());
            let watched = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = watched.await {
                    debug!(%error, "connection ended");
                }
                drop(place);
            });
        }
        drop(self.listener);
        let deadline = self.config.shutdown_timeout();
        if tokio::time::timeout(deadline, graceful.shutdown()).await.is_err() {
            warn!(?deadline, "requests were still at work when the API stopped");
        }
        Ok(())
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .expect("nobody closes the semaphore");
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Takes the address and answers until `shutdown` is true: [`Server::bind`] and [`Server::run`].
///
/// # Errors
/// Those of both.
pub async fn run(
    config: Config,
    store: Store,
    definition: Definition,
    registry: Registry,
    readiness: Readiness,
    shutdown: watch::Receiver<bool>,
) -> Result<(), Error> {
    let server = Server::bind(config).await?;
    server.run(store, definition, registry, readiness, shutdown).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ApiKey;

    fn listening_on(listen: &str) -> Config {
        Config {
            listen: listen.to_string(),
            ..Config::default()
        }
    }

    async fn refused(config: Config) -> Error {
        Server::bind(config).await.err().expect("must be refused")
    }

    #[tokio::test]
    async fn an_address_open_to_others_is_refused_without_a_key() {
        for open in ["0.0.0.0:0", "[::]:0"] {
            let error = refused(listening_on(open)).await;
            assert!(matches!(error, Error::KeyWanted { .. }), "{error}");
            assert!(error.to_string().contains(open), "{error}");
        }
        let keyed = Config {
            api_keys: vec![ApiKey::new("a-key")],
            ..listening_on("0.0.0.0:0")
        };
        assert!(Server::bind(keyed).await.is_ok());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let first = Server::bind(listening_on("127.0.0.1:0")).await.unwrap();
        let taken = first.address().to_string();
        let error = refused(listening_on(&taken)).await;
        assert!(matches!(error, Error::Listen { .. }), "{error}");
        assert!(error.to_string().contains(&taken), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_quoted() {
        let error = refused(listening_on("8080")).await;
        assert!(matches!(error, Error::Address { .. }), "{error}");
        assert!(error.to_string().contains("\"8080\""), "{error}");
    }
}
