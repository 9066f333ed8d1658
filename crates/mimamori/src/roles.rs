//! Runs roles until one of them fails or a stop is asked for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use prometheus::Registry;
use store::{Store, StoreMetrics};
use stream::Membership;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::{Config, ConfigError, Loaded};

/// How long the roles may take to stop; the engines want their time after it, and all of it must be
/// under five seconds.
const STOP_WITHIN: Duration = Duration::from_millis(3_500);

/// The four roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ingest,
    Aggregate,
    Alert,
    Api,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Ingest, Role::Aggregate, Role::Alert, Role::Api];

    fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Aggregate => "aggregate",
            Role::Alert => "alert",
            Role::Api => "api",
        }
    }
}

/// Whether something is as it must be, and if not, why.
type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the roles of a process share.
pub struct Roles {
    config: Config,
    model: Arc<health::Model>,
    registry: Registry,
    store: Store,
    server: api::Server,
}

impl Roles {
    /// Checks the configuration and takes the address of the API, so that what is wrong with either
    /// is known before anything starts.
    pub async fn prepare(loaded: Loaded) -> anyhow::Result<Roles> {
        let model = Arc::new(loaded.check()?);
        let config = loaded.config;
        let server = match api::Server::bind(config.api.clone()).await {
            Ok(server) => server,
            Err(error @ api::Error::Listen { .. }) => return Err(error.into()),
            Err(error) => return Err(ConfigError(error.to_string()).into()),
        };
        let registry = Registry::new();
        let store = Store::new(config.clickhouse.clone(), StoreMetrics::register(&registry)?);
        Ok(Roles {
            config,
            model,
            registry,
            store,
            server,
        })
    }

    /// Where the API listens.
    pub fn api_address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// Points the roles at the servers, now that their addresses are known.
    pub fn connect(&mut self, brokers: Option<String>, clickhouse_url: Option<String>) {
        if let Some(brokers) = brokers {
            self.config.kafka.brokers = brokers;
        }
        if let Some(url) = clickhouse_url {
            self.config.clickhouse.url = url;
            self.store = self.store.at(&self.config.clickhouse.url);
        }
    }

    /// Sees to it that the servers answer and hold what the roles need: topics, database, tables.
    pub async fn prepare_servers(&self, roles: &[Role]) -> anyhow::Result<()> {
        let needs_kafka = roles.iter().any(|role| *role != Role::Api);
        if needs_kafka {
            stream::check_broker(&self.config.kafka).await?;
            let topics = self.config.topics();
            stream::ensure_topics(&self.config.kafka, &topics).await?;
        }
        if needs_clickhouse(roles) {
            self.store.ping().await?;
            self.store.migrate().await?;
        }
        if roles.contains(&Role::Aggregate) {
            self.store.probe().await?;
        }
        Ok(())
    }

    /// The configuration as it is now.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs `roles` until a stop is asked for or one of them ends; returns the first error.
    pub async fn run(
        self,
        roles: &[Role],
        stop: watch::Sender<bool>,
        shutdown: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let mut tasks: JoinSet<(&'static str, anyhow::Result<()>)> = JoinSet::new();
        let mut readiness = api::Readiness::new();
        if needs_clickhouse(roles) {
            let store = self.store.clone();
            readiness = readiness.check("clickhouse_writes", move || taken_or_waiting(&store));
        } else {
            readiness = readiness.without_clickhouse();
        }
        for role in roles.iter().copied().filter(|role| *role != Role::Api) {
            let check = self.spawn(role, shutdown.clone(), &mut tasks);
            readiness = readiness.check(role.name(), check);
        }
        let definition = verify::Definition::of(self.model.config(), &self.model);
        let mut server = self.server;
        if roles.contains(&Role::Api) {
            server = server.collecting(api::Collection {
                config: self.config.collector.clone(),
                door: self.config.ingest.door()?,
                max_event_bytes: self.config.ingest.max_event_bytes,
                kafka: self.config.kafka.clone(),
                topics: self.config.topics(),
            });
        }
        let served = server.run(self.store, definition, self.registry, readiness, shutdown.clone());
        tasks.spawn(async move { (Role::Api.name(), served.await.map_err(anyhow::Error::from)) });

        let mut first_error = None;
        let mut note = |ended: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>,
                        asked: bool| {
            let failed = match ended {
                Ok((_, Ok(()))) if asked => return,
                Ok((role, Ok(()))) => anyhow::anyhow!("role {role} ended by itself"),
                Ok((role, Err(error))) => error.context(format!("role {role}")),
                Err(error) => anyhow::Error::new(error).context("a role panicked"),
            };
            error!(error = format!("{failed:#}"), "role failed");
            first_error.get_or_insert(failed);
        };
        tokio::select! {
            Some(ended) = tasks.join_next() => note(ended, *shutdown.borrow()),
            () = crate::shutdown::asked(shutdown.clone()) => {}
        }
        stop.send_replace(true);
        let ending = async {
            while let Some(ended) = tasks.join_next().await {
                note(ended, true);
            }
        };
        if tokio::time::timeout(STOP_WITHIN, ending).await.is_err() {
            warn!(
                roles = tasks.len(),
                "not every role stopped in time; nothing is lost, the next start goes on"
            );
            tasks.abort_all();
        }
        info!("roles stopped");
        first_error.map_or(Ok(()), Err)
    }

    /// Starts a role, and says how to ask it whether it takes part.
    fn spawn(
        &self,
        role: Role,
        shutdown: watch::Receiver<bool>,
        tasks: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    ) -> Check {
        let (membership, found) = watch::channel(Membership::Away);
        let mut check: Check = Box::new(move || found.borrow().check());
        let kafka = self.config.kafka.clone();
        let store = self.store.clone();
        let registry = self.registry.clone();
        match role {
            Role::Ingest => {
                let (ready, readiness) = watch::channel(ingest::Readiness::default());
                check = Box::new(move || readiness.borrow().check());
                let wiring = ingest::Wiring {
                    kafka,
                    registry,
                    ready,
                    shutdown,
                };
                let run = ingest::run(self.config.ingest.clone(), wiring);
                tasks.spawn(async move { (role.name(), run.await.map_err(anyhow::Error::from)) });
            }
            Role::Aggregate => {
                let model = Arc::clone(&self.model);
                let upstream = aggregate::UpstreamConfig {
                    group: self.config.ingest.group.clone(),
                    topic: self.config.ingest.topic.clone(),
                };
                let wiring = aggregate::Wiring {
                    upstream,
                    kafka,
                    store,
                    model,
                    registry,
                    membership,
                    shutdown,
                };
                let run = aggregate::run(self.config.aggregate.clone(), wiring);
                tasks.spawn(async move { (role.name(), run.await.map_err(anyhow::Error::from)) });
            }
            Role::Alert => {
                let wiring = alert::Wiring {
                    kafka,
                    store,
                    registry,
                    membership,
                    shutdown,
                };
                let run = alert::run(self.config.alert.clone(), wiring);
                tasks.spawn(async move { (role.name(), run.await.map_err(anyhow::Error::from)) });
            }
            Role::Api => {}
        }
        check
    }
}

/// Whether ClickHouse does what it is asked. Where it is and what it said are for the log: whoever may ask
/// for readiness need not know.
fn taken_or_waiting(store: &Store) -> Result<(), String> {
    match store.waiting() {
        None => Ok(()),
        Some(waiting) => Err(format!(
            "ClickHouse has not done this for {} s: {}; consumption waits until it does",
            waiting.lasts.as_secs(),
            waiting.action
        )),
    }
}

/// The ingest role works between Kafka's topics alone.
fn needs_clickhouse(roles: &[Role]) -> bool {
    roles.iter().any(|role| *role != Role::Ingest)
}

/// Runs one role, with /healthz, /readyz and /metrics beside it.
pub async fn run_one(role: Role, loaded: Loaded) -> anyhow::Result<()> {
    let (stop, shutdown) = crate::shutdown::watch_signals()?;
    let roles = Roles::prepare(loaded).await?;
    roles
        .prepare_servers(&[role])
        .await
        .with_context(|| format!("role {}", role.name()))?;
    info!(role = role.name(), api = %roles.api_address(), "role starts");
    roles.run(&[role], stop, shutdown).await
}
