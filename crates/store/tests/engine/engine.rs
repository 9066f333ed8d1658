//! The one engine that all tests of this process share.
//!
//! It runs in a process of its own, since it cannot be stopped from within a test process, which ends
//! without a word as soon as its last test is over. That process is this same executable, told to run
//! the test [`serve`] alone; it stops when its standard input closes, however this one ended.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use embedded::clickhouse::{self, CacheConfig, Config};

/// Address of a server that is to be tested against in place of the embedded engine.
const SERVER: &str = "MIMAMORI_TEST_CLICKHOUSE_URL";

/// Tells [`serve`] that it is the engine's process, and where its data go.
const FOLDER: &str = "MIMAMORI_TEST_ENGINE_FOLDER";

const READY: &str = "engine ready at ";

/// The engine's process; its standard input is open for as long as this one lives.
struct Engine {
    url: String,
    _process: Child,
}

/// The address of the engine.
pub fn url() -> String {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    match std::env::var(SERVER) {
        Ok(url) => url,
        Err(_) => ENGINE.get_or_init(start).url.clone(),
    }
}

fn start() -> Engine {
    let name = format!("{}-engine-{}", env!("CARGO_PKG_NAME"), std::process::id());
    let mut process = Command::new(std::env::current_exe().expect("this executable has a path"))
        .args(["engine::serve", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this executable can be started again");
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let mut said = lines.by_ref().map_while(Result::ok);
    let url = said
        .find_map(|line| line.split_once(READY).map(|(_, url)| url.to_string()))
        .expect("the engine's process says why it does not start");
    // What it says later is read and dropped, so that it never waits for a reader.
    thread::spawn(move || lines.for_each(drop));
    Engine {
        url,
        _process: process,
    }
}

#[test]
#[ignore = "is the process of the engine, which the other tests start"]
fn serve() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let library = clickhouse::obtain_library(&CacheConfig::from_environment(), &mut |_| {})
        .unwrap_or_else(|error| panic!("no ClickHouse engine for the tests: {error}; or set {SERVER}"));
    let config = Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        data_dir: folder.clone(),
        library,
        ..Config::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let engine = clickhouse::start(config).await.expect("the engine starts");
        println!("{READY}{}", engine.url());
        let until_closed = || std::io::stdin().read_to_end(&mut Vec::new());
        let closed = tokio::task::spawn_blocking(until_closed).await;
        closed
            .expect("reading does not panic")
            .expect("standard input can be read");
        if let Err(error) = engine.shutdown().await {
            eprintln!("{error}");
        }
    });
    std::fs::remove_dir_all(&folder).expect("the data can be removed");
    // Whoever would read the verdict of this test is gone.
    std::process::exit(0);
}
