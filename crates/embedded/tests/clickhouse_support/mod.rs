//! A server of the embedded engine in a process of its own, and a plain HTTP client.
//!
//! The process is this test's own executable, run again with one ignored test chosen: that test
//! serves until its standard input closes. An engine runs once per process, and only a process
//! can be killed.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::zombie_processes,
    reason = "a server that fails to start ends by itself, with its test"
)]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use embedded::clickhouse::{self, CacheConfig, Config};

/// Longest wait for a server to come up: a first run fetches the engine.
const START_WITHIN: Duration = Duration::from_secs(600);

const FOLDER: &str = "EMBEDDED_TEST_FOLDER";
const OPTIONS: &str = "EMBEDDED_TEST_OPTIONS";

/// What a test may want different from the defaults: `name=value`, separated by blanks.
pub fn config(folder: &Path, options: &str) -> Config {
    let mut config = Config {
        data_dir: folder.to_owned(),
        ..Config::default()
    };
    config.listen.set_port(0);
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=').expect("options are name=value");
        match name {
            "listen" => config.listen = value.parse().expect("an address"),
            "password" => config.password = Some(value.to_owned()),
            "max_memory_bytes" => config.max_memory_bytes = value.parse().expect("a number"),
            "max_concurrent_statements" => {
                config.max_concurrent_statements = value.parse().expect("a number")
            }
            "max_statement_bytes" => config.max_statement_bytes = value.parse().expect("a number"),
            "max_body_bytes" => config.max_body_bytes = value.parse().expect("a number"),
            "queue_timeout_seconds" => config.queue_timeout_seconds = value.parse().expect("a number"),
            "statement_timeout_seconds" => {
                config.statement_timeout_seconds = value.parse().expect("a number")
            }
            "idle_timeout_seconds" => config.idle_timeout_seconds = value.parse().expect("a number"),
            other => panic!("unknown option {other}"),
        }
    }
    config
}

/// The engine's library, fetched when it is not there yet.
pub fn library() -> PathBuf {
    clickhouse::obtain_library(&CacheConfig::from_environment(), &mut |_| {})
        .expect("the ClickHouse engine can be obtained: see the message for what is missing")
}

/// The body of the ignored test that serves.
pub fn serve_as_told() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        panic!("this serves other tests and tests nothing itself");
    };
    let mut config = config(Path::new(&folder), &std::env::var(OPTIONS).unwrap_or_default());
    config.library = library();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match clickhouse::start(config).await {
            Ok(engine) => {
                println!("\nready {}", engine.address());
                tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]))
                    .await
                    .unwrap()
                    .unwrap();
                let stopping = Instant::now();
                let stopped = engine.shutdown().await;
                println!("\nstopped {} {stopped:?}", stopping.elapsed().as_millis());
            }
            Err(error) => println!("\nfailed {error}"),
        }
    });
    std::process::exit(0);
}

/// A server in a process of its own.
pub struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<std::process::ChildStdout>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts one with the ignored test `server` of this test's executable.
    pub fn start(folder: &Path, options: &str) -> Server {
        Server::try_start(folder, options).expect("the server starts")
    }

    /// The engine's error as text, when it does not start.
    pub fn try_start(folder: &Path, options: &str) -> Result<Server, String> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "server",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(FOLDER, folder)
            .env(OPTIONS, options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).unwrap();
            assert!(
                read > 0 && Instant::now() < deadline,
                "the server's process ended without a word"
            );
            if let Some(address) = line.trim().strip_prefix("ready ") {
                return Ok(Server {
                    child,
                    stdin,
                    stdout,
                    address: address.parse().unwrap(),
                });
            }
            if let Some(error) = line.trim().strip_prefix("failed ") {
                child.wait().unwrap();
                return Err(error.to_owned());
            }
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn client(&self) -> ::clickhouse::Client {
        ::clickhouse::Client::default().with_url(self.url())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as intended; how long that took and what came of it.
    pub fn stop(mut self) -> (Duration, String) {
        drop(self.stdin.take());
        let mut output = String::new();
        self.stdout.read_to_string(&mut output).unwrap();
        assert!(self.child.wait().unwrap().success(), "{output}");
        let line = output
            .lines()
            .find_map(|line| line.strip_prefix("stopped "))
            .expect("it says how it stopped");
        let (millis, result) = line.split_once(' ').unwrap();
        (Duration::from_millis(millis.parse().unwrap()), result.to_owned())
    }

    pub fn ask(&self, sql: &str) -> Reply {
        post(self.address, "/", &[], sql.as_bytes())
    }

    /// Runs a statement that must succeed and returns its text.
    pub fn must(&self, sql: &str) -> String {
        let reply = self.ask(sql);
        assert_eq!(reply.status, 200, "{sql}: {}", reply.text());
        assert!(!reply.broke_off, "{sql}");
        reply.text().trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// One server for all tests of a file; it ends with the test's process, whose end closes its
/// standard input.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<(Server, tempfile::TempDir)> = OnceLock::new();
    let (server, _folder) = SERVER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        (Server::start(folder.path(), ""), folder)
    });
    server
}

/// A fresh database on the shared server.
pub fn database(name: &str) -> (&'static Server, ::clickhouse::Client) {
    let server = shared();
    server.must(&format!("CREATE DATABASE {name}"));
    (server, server.client().with_database(name))
}

/// A response, taken in as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// The response ended before it was complete.
    pub broke_off: bool,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn code(&self) -> Option<u32> {
        self.headers.get("x-clickhouse-exception-code")?.parse().ok()
    }
}

pub fn post(address: SocketAddr, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    send(address, "POST", target, headers, body)
}

pub fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut stream = connect(address);
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    receive(stream)
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Reads one response to the end of the connection.
pub fn receive(mut stream: TcpStream) -> Reply {
    let mut raw = Vec::new();
    // A reset after the response is of no interest; a missing response is noticed below.
    let _ended = stream.read_to_end(&mut raw);
    let head_end = raw
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a response");
    let head = String::from_utf8(raw[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let rest = &raw[head_end + 4..];
    let (body, complete) = if headers
        .get("transfer-encoding")
        .is_some_and(|encoding| encoding == "chunked")
    {
        unchunk(rest)
    } else {
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        (rest.to_vec(), rest.len() == length)
    };
    Reply {
        status,
        headers,
        body,
        broke_off: !complete,
    }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line_end) = rest.windows(2).position(|window| window == b"\r\n") else {
            return (body, false);
        };
        let size = std::str::from_utf8(&rest[..line_end])
            .ok()
            .and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size else { return (body, false) };
        rest = &rest[line_end + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..size.min(rest.len())]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// Asks until the answer fits, and fails when it never does.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
