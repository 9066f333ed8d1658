//! ClickHouse without a server: the real engine as a library in this process, behind the
//! ClickHouse HTTP interface, so that the official clients work as they do against a server.
//!
//! ```text
//!  client ──HTTP──▶ server ──▶ request ──▶ statement (one thread each) ──▶ pool ──▶ library
//!                                             │ sql, guard                            │
//!                                             ▼                                       ▼
//!                                    transfer, compression                      libchdb.so
//! ```
//!
//! # What holds
//! - An INSERT that was answered with 200 is stored and survives the end of the process by any
//!   means. Against a loss of power a table needs `fsync_after_insert` and
//!   `fsync_part_directory`, which are off by default, as in ClickHouse.
//! - An INSERT whose request breaks off leaves no rows (with the exception that ClickHouse
//!   makes too: blocks of more than `min_insert_block_size_rows` rows that are already closed).
//! - A SELECT that fails after its first rows never looks complete to its client.
//! - One data folder belongs to one process, and one process runs one engine, once.
//! - Memory is bounded by [`Config::max_memory_bytes`] inside the engine and by the number of
//!   statements outside it.
//!
//! # What a client can reach
//! Whoever can connect, and knows the password if there is one, can do anything with the data.
//! The engine's access rights keep them from reading or writing files, reaching other hosts,
//! running programs, stopping the engine and changing rights, by every table function, table
//! engine and database engine that says it has an outside source: this is guaranteed as far as
//! ClickHouse's own access control is. Not covered by it are the function `file`,
//! `INTO OUTFILE`, `FROM INFILE`, table functions that evaluate text, `disk(…)` and the engines
//! that take a path without saying so. Those are refused by looking at the words of each
//! statement, which is as good as its list of words: with clients that are not trusted, run a
//! ClickHouse server. There are no users, quotas or row policies, and any client can see and
//! kill the statements of another.
//!
//! # What differs from a server
//! `query_id` is echoed but names nothing inside the engine, and `log_comment` of a request is
//! without effect (it names the connection); external tables in a form, `INSERT … SELECT FROM
//! input(…)`, and zstd, brotli or deflate bodies are refused; a result in a format that cannot be
//! sent in parts (JSON, Pretty, Parquet) is built in memory first; a column cannot be named
//! `file`, and the function `format` is refused (use `concat`); in a session, settings that one
//! request's URL set go back to their defaults with the next; system log tables do not exist.
//!
//! ```no_run
//! use embedded::clickhouse::{self, CacheConfig, Config};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = CacheConfig::from_environment();
//! let library = tokio::task::spawn_blocking(move || clickhouse::obtain_library(&cache, &mut |_| {})).await??;
//! let config = Config { data_dir: "./mimamori-data/clickhouse".into(), library, ..Config::default() };
//! let engine = clickhouse::start(config).await?;
//! println!("{}", engine.url());
//! engine.shutdown().await?;
//! # Ok(()) }
//! ```

mod compression;
mod exception;
mod fetch;
mod guard;
mod library;
mod pool;
mod request;
mod running;
mod server;
mod settings;
mod sql;
mod statement;
mod transfer;
mod workers;

use std::{
    fmt,
    fs::{File, TryLockError},
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{debug, info};

pub use fetch::{CacheConfig, FetchError, Phase, Progress, obtain_library};

use exception::{Exception, code};
use library::{Library, Parameters};
use pool::{Pool, Tagged};
use running::Running;
use server::Core;
use settings::Layout;
use workers::Workers;

/// A lock that is held for longer is held by another engine.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Statements may end by themselves for so long after a shutdown began.
const FINISH_WITHIN: Duration = Duration::from_millis(1000);

/// Statements that were cancelled must have ended after so long.
const CANCEL_WITHIN: Duration = Duration::from_millis(900);

/// Connections must have ended so long after their statements.
const CLOSE_WITHIN: Duration = Duration::from_millis(200);

/// The engine must have closed its tables after so long.
const STOP_WITHIN: Duration = Duration::from_millis(800);

/// The engine runs once in the life of a process.
static STARTED: AtomicBool = AtomicBool::new(false);

/// How the engine is run.
#[derive(Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where HTTP is served; port 0 takes any free one. Anything but loopback needs a password.
    /// Default `127.0.0.1:8123`.
    pub listen: SocketAddr,
    /// Folder that holds the data; made when missing. Default `mimamori-data/clickhouse`.
    pub data_dir: PathBuf,
    /// The engine's library, as [`obtain_library`] returns it. No default.
    pub library: PathBuf,
    /// Password of the user `default`. Default none: every local request is served.
    pub password: Option<String>,
    /// Most memory the engine takes, in bytes; statements that need more fail. Default 2 GiB.
    pub max_memory_bytes: u64,
    /// Statements that run at once; further ones wait. Default 32.
    pub max_concurrent_statements: usize,
    /// Connections served at once; further ones wait to be accepted. Default 512.
    pub max_connections: usize,
    /// Longest text of a statement, of a form, and of an INSERT's VALUES, in bytes.
    /// Default 64 MiB.
    pub max_statement_bytes: u64,
    /// Largest body of a request after decompression, in bytes. Default 16 GiB.
    pub max_body_bytes: u64,
    /// How long a statement waits for its turn, in seconds, before it is refused. Default 30.
    pub queue_timeout_seconds: u64,
    /// How long a statement may run, in seconds, the transfer of its data included, before it is
    /// killed. Default 3600.
    pub statement_timeout_seconds: u64,
    /// How long a client may neither send data nor take results, in seconds, before its
    /// statement is given up. Default 300.
    pub idle_timeout_seconds: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8123)),
            data_dir: "mimamori-data/clickhouse".into(),
            library: PathBuf::new(),
            password: None,
            max_memory_bytes: 2 << 30,
            max_concurrent_statements: 32,
            max_connections: 512,
            max_statement_bytes: 64 << 20,
            max_body_bytes: 16 << 30,
            queue_timeout_seconds: 30,
            statement_timeout_seconds: 3600,
            idle_timeout_seconds: 300,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("data_dir", &self.data_dir)
            .field("library", &self.library)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish_non_exhaustive()
    }
}

/// Why the engine did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on, mostly because another process does.
    #[error("cannot listen on {address} for ClickHouse: {source}; free the port or choose another")]
    Listen {
        /// What was to be listened on.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An address that others can reach, and no password.
    #[error("listening for ClickHouse on {0} needs a password: set one, or listen on loopback")]
    PasswordNeeded(SocketAddr),
    /// Another process runs its engine on the folder.
    #[error("the ClickHouse data folder {} is held by another process: stop it or choose another folder", .0.display())]
    FolderHeld(PathBuf),
    /// The folder cannot be used.
    #[error("cannot use the ClickHouse data folder {}: {source}", folder.display())]
    Folder {
        /// The data folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The library cannot be loaded.
    #[error("cannot load the ClickHouse engine from {}: {source}", library.display())]
    Library {
        /// The library's file.
        library: PathBuf,
        /// What the loader said.
        source: libloading::Error,
    },
    /// The engine did not come up; it prints its reason to standard error.
    #[error("the ClickHouse engine does not start on {}: {reason}", folder.display())]
    Engine {
        /// The data folder.
        folder: PathBuf,
        /// What is known.
        reason: String,
    },
    /// The engine has been started in this process before.
    #[error("the ClickHouse engine was started in this process before: it runs once per process")]
    AlreadyStarted,
    /// No thread to start or stop the engine on.
    #[error("cannot start a thread for the ClickHouse engine: {0}")]
    Thread(#[source] io::Error),
    /// The engine's threads were still busy when the time to stop was over.
    #[error("the ClickHouse engine did not stop in time: {0}")]
    Shutdown(&'static str),
}

/// The engine at work, until [`shutdown`](Engine::shutdown). Dropping it in place of that leaves
/// it running to the end of the process.
#[derive(Debug)]
pub struct Engine {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    parts: Parts,
}

struct Parts {
    library: &'static Library,
    core: Arc<Core>,
    /// Keeps the engine up while the pool is empty.
    keeper: Tagged,
    lock: File,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("version", &self.core.version)
            .finish_non_exhaustive()
    }
}

/// For the fuzzers: reads a POST as a request is read before the engine sees any of it. Gives the
/// statement's first word and how many bytes of data follow it, or why the request is refused.
#[doc(hidden)]
pub fn read_request(
    uri: &hyper::Uri,
    headers: &hyper::HeaderMap,
    body: &[u8],
    max_statement_bytes: u64,
    max_body_bytes: u64,
) -> Result<(String, u64), String> {
    request::Request::read(&hyper::Method::POST, uri, headers)
        .and_then(|request| statement::read_whole(request, body, max_statement_bytes, max_body_bytes))
        .map_err(|exception| exception.to_string())
}

/// Starts the engine on its data folder and serves it.
///
/// # Errors
/// When the port is taken, the folder is held by another process or cannot be used, the library
/// does not fit, or the engine has been started in this process before.
///
/// The future comes boxed, so that its code is made here, once, and not in each crate that awaits it.
pub fn start(config: Config) -> Pin<Box<dyn Future<Output = Result<Engine, Error>> + Send>> {
    Box::pin(start_engine(config))
}

async fn start_engine(config: Config) -> Result<Engine, Error> {
    let address = config.listen;
    if !address.ip().is_loopback() && config.password.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::PasswordNeeded(address));
    }
    let listening = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listening)?;
    let bound = listener.local_addr().map_err(listening)?;
    let parts = on_engine_thread(move || open(config)).await??;
    info!(address = %bound, version = %parts.core.version, "embedded ClickHouse is ready");
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(server::serve(Arc::clone(&parts.core), listener, stopped));
    Ok(Engine {
        address: bound,
        stop,
        server,
        parts,
    })
}

impl Engine {
    /// Where HTTP is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that clients take.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The engine's version, as `SELECT version()` gives it.
    pub fn version(&self) -> &str {
        &self.parts.core.version
    }

    /// Accepts nothing more, lets statements end for a second, cancels the rest, and stops the
    /// engine; within 3 seconds in all.
    ///
    /// # Errors
    /// When a statement or a thread of the engine does not stop in time. The process can end
    /// regardless: what was acknowledged is stored.
    pub async fn shutdown(self) -> Result<(), Error> {
        let Engine {
            stop,
            mut server,
            parts,
            ..
        } = self;
        stop.send_replace(true);
        parts.core.turns.close();
        let running = Arc::clone(&parts.core.running);
        let ended = on_engine_thread(move || {
            running.wait_until_none(FINISH_WITHIN) || {
                running.cancel_all(&Exception::new(code::ABORTED, "the engine is shutting down"));
                running.wait_until_none(CANCEL_WITHIN)
            }
        })
        .await?;
        if timeout(CLOSE_WITHIN, &mut server).await.is_err() {
            server.abort();
        }
        if !ended {
            return Err(Error::Shutdown("a statement does not end"));
        }
        let closed = timeout(STOP_WITHIN, on_engine_thread(move || close(parts))).await;
        closed.map_err(|_| Error::Shutdown("it does not close its tables"))??
    }
}

/// Runs `work` on a thread fit for the engine.
async fn on_engine_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (done, result) = oneshot::channel();
    library::spawn("clickhouse-engine", move || {
        // Nobody waits any more when the caller was dropped.
        let _unheard = done.send(work());
    })
    .map_err(Error::Thread)?;
    result
        .await
        .map_err(|_| Error::Thread(io::Error::other("the thread ended early")))
}

fn open(mut config: Config) -> Result<Parts, Error> {
    let given = config.data_dir.clone();
    let folder_error = |source| Error::Folder {
        folder: given.clone(),
        source,
    };
    std::fs::create_dir_all(&given).map_err(folder_error)?;
    config.data_dir = given.canonicalize().map_err(folder_error)?;
    let layout = Layout::new(&config.data_dir);
    let lock = File::create(&layout.lock).map_err(folder_error)?;
    if !take(&lock).map_err(folder_error)? {
        return Err(Error::FolderHeld(given));
    }
    layout.write(config.max_memory_bytes).map_err(folder_error)?;

    let library = Library::load(&config.library).map_err(|source| Error::Library {
        library: config.library.clone(),
        source,
    })?;
    if STARTED.swap(true, Ordering::SeqCst) {
        return Err(Error::AlreadyStarted);
    }
    match boot(library, &layout, &given, config) {
        Ok((core, keeper)) => Ok(Parts {
            library,
            core,
            keeper,
            lock,
        }),
        Err(error) => {
            STARTED.store(false, Ordering::SeqCst);
            Err(error)
        }
    }
}

/// Takes the folder's lock; `false` when another process keeps it. A child that this process has
/// just forked, or one that has just been killed, still holds what it held, but only for a moment.
fn take(lock: &File) -> io::Result<bool> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(false),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Starts the engine itself and makes what requests share.
fn boot(
    library: &'static Library,
    layout: &Layout,
    folder: &Path,
    config: Config,
) -> Result<(Arc<Core>, Tagged), Error> {
    let failed = |reason: String| Error::Engine {
        folder: folder.to_owned(),
        reason,
    };
    let pool = Pool::new(library, layout.arguments());
    let mut keeper = pool.open().map_err(|exception| {
        if is_locked(&layout.status) {
            Error::FolderHeld(folder.to_owned())
        } else {
            failed(format!("{exception}; library {}", library.version()))
        }
    })?;
    let mut ask = |sql: &str| {
        let parameters: &Parameters = &[];
        let answer = keeper.connection.query(sql.as_bytes(), "TSVRaw", parameters);
        answer.map(|answer| String::from_utf8_lossy(&answer.data).trim().to_owned())
    };
    let version = ask("SELECT version()").map_err(|exception| failed(exception.to_string()))?;
    let timezone = ask("SELECT timezone()").map_err(|exception| failed(exception.to_string()))?;
    let control = pool.open().map_err(|exception| failed(exception.to_string()))?;
    let turns = Arc::new(Semaphore::new(config.max_concurrent_statements.max(1)));
    let core = Core {
        config,
        pool,
        running: Running::new(control),
        workers: Workers::new(),
        version,
        timezone,
        turns,
    };
    Ok((Arc::new(core), keeper))
}

/// Whether another process holds the engine's own lock.
fn is_locked(status: &Path) -> bool {
    File::open(status).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Stops the engine. The library's own word on that is not enough: once a MergeTree table was
/// opened, it says no as long as threads of its pool idle, which only the end of the process
/// ends. The engine has stopped when it has put away its status file, which it does last.
fn close(parts: Parts) -> Result<(), Error> {
    let Parts {
        library,
        core,
        keeper,
        lock,
    } = parts;
    core.workers.close();
    core.running.close();
    core.pool.clear();
    drop(keeper);
    let threads_ended = library.shutdown();
    let stopped = threads_ended || !Layout::new(&core.config.data_dir).status.exists();
    drop(lock);
    debug!(threads_ended, stopped, "the engine was told to stop");
    if stopped {
        Ok(())
    } else {
        Err(Error::Shutdown("a connection to it is still open"))
    }
}
