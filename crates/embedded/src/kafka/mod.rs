//! A Kafka-compatible broker for one machine, inside this process.
//!
//! It keeps topics of partitions as append-only segment files in one folder, serves the produce, fetch,
//! group and topic calls that Kafka's clients use, and knows no replication, transactions, topic ids or
//! authentication: bind it to loopback. Production belongs on Apache Kafka.
//!
//! What it keeps true:
//! - An acknowledged record survives the death of the process at any instant. It survives a power cut
//!   once it was synced: every [`Config::fsync_interval`], or before each acknowledgement when that is 0.
//! - Records come back byte for byte, in order, under dense offsets; an idempotent producer's repetition
//!   is stored once, also across restarts.
//! - One process per folder.
//! - Memory is bounded by [`Config::max_connections`], [`Config::max_request_bytes`] and
//!   [`Config::max_fetch_bytes`], not by what clients claim or by how much is stored (about 25 KB of
//!   index per segment).

mod admin;
mod batch;
mod codec;
mod coordinator;
mod faults;
mod fetch;
mod group;
mod log;
mod offsets;
mod produce;
mod producer_state;
mod segment;
mod server;
mod topics;
mod wire;

#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use kafka_protocol::protocol::StrBytes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

pub use faults::{Fault, Faults, On};

use coordinator::Groups;
use offsets::Offsets;
use server::Peer;
use topics::Topics;

/// Nothing regular happens more often.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

/// How the broker runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 takes any free one. Default 127.0.0.1:9092.
    pub listen: SocketAddr,
    /// `host:port` that clients are told to connect to. Default: the address they connected to.
    pub advertised: Option<String>,
    /// The folder of everything it keeps; made when missing. Default `mimamori-data/kafka`.
    pub data_dir: PathBuf,
    /// Time between syncs to the disk, which is what a power cut can cost; 0 syncs before every
    /// acknowledgement. Default 1 s.
    pub fsync_interval: Duration,
    /// Partitions of topics that are made without a number. Default 16.
    pub default_partitions: i32,
    /// Whether asking for a missing topic makes it. Default true.
    pub auto_create_topics: bool,
    /// Bytes at which a partition begins a new file; what is kept is removed file by file. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes kept per partition; the oldest go first. Default: no bound.
    pub retention_bytes: Option<u64>,
    /// How long records are kept after they were appended, whatever time they bear; up to half as long
    /// again where little is written. Default 7 days; `None` keeps them for good.
    pub retention_age: Option<Duration>,
    /// Time between removals of what is no longer kept. Default 30 s.
    pub retention_interval: Duration,
    /// The largest record batch that is taken, in bytes. Default 1,048,588.
    pub max_message_bytes: usize,
    /// The largest request that is taken, in bytes. Default 16 MiB.
    pub max_request_bytes: usize,
    /// The most record bytes in one answer, unless a single batch is larger. Default 16 MiB.
    pub max_fetch_bytes: usize,
    /// Connections at one time; more are closed at once. Default 1,000.
    pub max_connections: usize,
    /// How long a consumer group that was empty waits for further members. Default 100 ms.
    pub group_first_delay: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
            advertised: None,
            data_dir: PathBuf::from("mimamori-data/kafka"),
            fsync_interval: Duration::from_secs(1),
            default_partitions: 16,
            auto_create_topics: true,
            segment_bytes: 64 * 1024 * 1024,
            retention_bytes: None,
            retention_age: Some(Duration::from_secs(7 * 24 * 60 * 60)),
            retention_interval: Duration::from_secs(30),
            max_message_bytes: 1_048_588,
            max_request_bytes: 16 * 1024 * 1024,
            max_fetch_bytes: 16 * 1024 * 1024,
            max_connections: 1_000,
            group_first_delay: Duration::from_millis(100),
        }
    }
}

/// Why the broker could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on, most often because another process does.
    #[error("cannot listen on {address} for Kafka clients: {source}; stop what uses it or choose another")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the folder.
    #[error("the folder {} is in use by another process; stop it or choose another folder", folder.display())]
    InUse {
        /// The folder asked for.
        folder: PathBuf,
    },
    /// The folder cannot be read or written.
    #[error("cannot use the folder {}: {source}", folder.display())]
    Folder {
        /// The folder asked for.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The advertised address cannot be understood.
    #[error("the advertised address {0} is not of the form host:port")]
    Advertised(String),
}

/// Everything the connections share.
struct Node {
    config: Config,
    advertised: Option<(StrBytes, i32)>,
    /// Counts the starts of the broker on this folder, from 1; the leader epoch of every partition.
    epoch: i32,
    producer_ids: AtomicI64,
    topics: Topics,
    offsets: Mutex<Offsets>,
    groups: Groups,
    faults: Faults,
    /// Held for the lock on it.
    lock_file: File,
}

impl Node {
    /// Host and port that a client is told.
    fn advertised(&self, peer: &Peer) -> (StrBytes, i32) {
        let same = || {
            (
                StrBytes::from_string(peer.local.ip().to_string()),
                i32::from(peer.local.port()),
            )
        };
        self.advertised.clone().unwrap_or_else(same)
    }
}

/// A running broker. Dropping it stops it at once, as a crash would; [`Broker::shutdown`] is the clean
/// way.
pub struct Broker {
    node: Arc<Node>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    housekeeping: [JoinHandle<()>; 3],
}

/// Starts a broker on the current tokio runtime.
///
/// # Errors
/// The address is taken, the folder is held by another process or cannot be used, or what is in it is
/// damaged beyond what a crash does.
///
/// The future comes boxed, so that its code is made here, once, and not in each crate that awaits it.
pub fn start(config: Config) -> Pin<Box<dyn Future<Output = Result<Broker, Error>> + Send>> {
    Box::pin(start_broker(config))
}

async fn start_broker(config: Config) -> Result<Broker, Error> {
    let advertised = config.advertised.as_deref().map(parse_advertised).transpose()?;
    let not_listening = |source| Error::Listen {
        address: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen).await.map_err(not_listening)?;
    let address = listener.local_addr().map_err(not_listening)?;

    let opening = tokio::task::spawn_blocking(move || open(config, advertised)).await;
    let node = Arc::new(opening.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?);
    let (stop, stopping) = watch::channel(false);
    let server = tokio::spawn(server::serve(Arc::clone(&node), listener, stopping));
    let timekeeper = Arc::clone(&node);
    let housekeeping = [
        tokio::spawn(async move { timekeeper.groups.keep_time().await }),
        tokio::spawn(sync_regularly(Arc::clone(&node))),
        tokio::spawn(retain_regularly(Arc::clone(&node))),
    ];
    info!(%address, folder = %node.config.data_dir.display(), "kafka broker ready");
    Ok(Broker {
        node,
        address,
        stop,
        server,
        housekeeping,
    })
}

fn parse_advertised(text: &str) -> Result<(StrBytes, i32), Error> {
    let wrong = || Error::Advertised(text.to_owned());
    let (host, port) = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((StrBytes::from_string(host.to_owned()), i32::from(port)))
}

/// Takes the folder and reads what is in it. Blocks.
fn open(config: Config, advertised: Option<(StrBytes, i32)>) -> Result<Node, Error> {
    let folder = config.data_dir.clone();
    let unusable = |source| Error::Folder {
        folder: folder.clone(),
        source,
    };
    std::fs::create_dir_all(&folder).map_err(unusable)?;
    let lock_file = File::create(folder.join("lock")).map_err(unusable)?;
    match lock_file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::InUse { folder }),
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let epoch = next_epoch(&folder.join("epoch")).map_err(unusable)?;
    let topics = Topics::open(folder.join("topics"), epoch).map_err(unusable)?;
    let offsets = Offsets::open(&folder.join("offsets")).map_err(unusable)?;
    let groups = Groups::new(config.group_first_delay);
    Ok(Node {
        config,
        advertised,
        epoch,
        producer_ids: AtomicI64::new(0),
        topics,
        offsets: Mutex::new(offsets),
        groups,
        faults: Faults::default(),
        lock_file,
    })
}

/// Counts this start.
fn next_epoch(path: &Path) -> io::Result<i32> {
    let last = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        text => text?.trim().parse::<i32>().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: not a number", path.display()),
            )
        })?,
    };
    codec::replace_file(path, format!("{}\n", last + 1).as_bytes())?;
    Ok(last + 1)
}

impl Broker {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The faults that tests can inject.
    pub fn faults(&self) -> &Faults {
        &self.node.faults
    }

    /// Ends the connections, syncs everything and gives the folder back.
    ///
    /// # Errors
    /// Something could not be synced.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.server).await {
            error!(%error, "the kafka server did not end well");
        }
        self.housekeeping.iter().for_each(JoinHandle::abort);
        let node = Arc::clone(&self.node);
        let closing = tokio::task::spawn_blocking(move || close(&node)).await;
        let closed = closing.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        closed.map_err(|source| Error::Folder {
            folder: self.node.config.data_dir.clone(),
            source,
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.server.abort();
        self.housekeeping.iter().for_each(JoinHandle::abort);
    }
}

fn close(node: &Node) -> io::Result<()> {
    for topic in node.topics.all() {
        for partition in &topic.partitions {
            lock(partition).close()?;
        }
    }
    if let Some(file) = lock(&node.offsets).take_unsynced() {
        file.sync_data()?;
    }
    // Tasks that are still ending hold the node a little longer.
    node.lock_file.unlock()
}

async fn sync_regularly(node: Arc<Node>) {
    // With an interval of 0 every append is synced by itself, and only committed offsets are left.
    let period = node.config.fsync_interval.max(SHORTEST_PERIOD);
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let node = Arc::clone(&node);
        off_the_runtime(usize::MAX, move || sync_all(&node)).await;
    }
}

/// Syncs whatever was written since the last time.
fn sync_all(node: &Node) {
    for topic in node.topics.all() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let flush = lock(partition).take_flush();
            let Some(flush) = flush else { continue };
            if let Err(error) = flush.run() {
                error!(topic = topic.name, index, %error, "could not sync the log, trying again");
                lock(partition).return_flush(flush);
            }
        }
    }
    let unsynced = lock(&node.offsets).take_unsynced();
    if let Some(Err(error)) = unsynced.map(|file| file.sync_data()) {
        error!(%error, "could not sync the committed offsets");
    }
}

async fn retain_regularly(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(node.config.retention_interval.max(SHORTEST_PERIOD));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let node = Arc::clone(&node);
        off_the_runtime(usize::MAX, move || retain_all(&node, wall_clock())).await;
    }
}

fn retain_all(node: &Node, now: SystemTime) {
    for topic in node.topics.all() {
        let limits = topic.settings.limits(&node.config);
        for (index, partition) in topic.partitions.iter().enumerate() {
            match lock(partition).retain(now, &limits) {
                Ok(0) => {}
                Ok(removed) => info!(topic = topic.name, index, removed, "removed old segments"),
                Err(error) => error!(topic = topic.name, index, %error, "could not remove old segments"),
            }
        }
    }
}

/// The age of files is the one thing here that is measured on the wall clock.
#[allow(clippy::disallowed_methods, reason = "file times are wall-clock times")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Runs file work: small work at once, since it ends in the page cache sooner than another thread would
/// begin; larger work on a thread where it may block. `None` when the work panicked or the runtime ends.
async fn off_the_runtime<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    const SMALL: usize = 64 * 1024;
    if bytes <= SMALL {
        return Some(work());
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            error!(%error, "file work did not end well");
            None
        }
    }
}

/// A lock that a panicked holder does not spoil: every holder leaves its data whole at each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
