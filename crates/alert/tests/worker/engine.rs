//! The one ClickHouse engine of this test process, in a process of its own: this executable again, told
//! to run [`serve`] alone. It ends when its standard input closes, however this process ended.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use embedded::clickhouse::{self, CacheConfig, Config};

const SERVER: &str = "MIMAMORI_TEST_CLICKHOUSE_URL";
const FOLDER: &str = "MIMAMORI_TEST_ENGINE_FOLDER";
const READY: &str = "engine ready at ";

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
    let folder = format!("alert-engine-{}", std::process::id());
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["engine::serve", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let url = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once(READY)?.1.to_string()))
        .expect("the engine's process says above why it does not start");
    // What it says later is read and dropped, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
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
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.clone(),
        library,
        ..Config::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = clickhouse::start(config).await.unwrap();
        println!("{READY}{}", engine.url());
        let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        closed.await.unwrap().unwrap();
        engine.shutdown().await.unwrap();
    });
    std::fs::remove_dir_all(&folder).unwrap();
    // Whoever would read the verdict of this test is gone.
    std::process::exit(0);
}
