//! The HTTP API.
//!
//! Whatever is sent, the server answers or hangs up, and goes on; it never says that it is at fault itself.
//! Behind it is a ClickHouse that does not answer.

use std::net::SocketAddr;
use std::sync::OnceLock;

use api::{Config, Readiness, Server};
use prometheus::Registry;
use store::{ClickHouseConfig, Store, StoreMetrics};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use verify::Definition;

use crate::network::{Client, PATIENCE, without_panic};

struct Running {
    address: SocketAddr,
    // Both are kept so that the server goes on.
    _runtime: Runtime,
    _stop: watch::Sender<bool>,
}

/// A connection's bytes: requests one after the other.
pub fn http(data: &[u8]) -> String {
    let server = server();
    let answer = without_panic(|| {
        let mut client = Client::connect(server.address);
        client.send(data);
        let is_whole = data.windows(4).any(|four| four == b"\r\n\r\n");
        let first = if is_whole {
            client.read_exactly(1, PATIENCE)
        } else {
            None
        };
        [first.unwrap_or_default(), client.hang_up()].concat()
    });
    let first = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first).into_owned();
    assert!(first.is_empty() || first.starts_with("HTTP/1."), "{first}");
    assert!(!first.contains(" 500 "), "{}", String::from_utf8_lossy(&answer));
    if first.is_empty() {
        "hung up".to_string()
    } else {
        first
    }
}

fn server() -> &'static Running {
    static SERVER: OnceLock<Running> = OnceLock::new();
    SERVER.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be had");
        let config = Config {
            listen: "127.0.0.1:0".to_string(),
            ..Config::default()
        };
        let server = runtime.block_on(Server::bind(config)).expect("a port can be had");
        let address = server.address();
        let metrics = StoreMetrics::register(&Registry::new()).expect("the registry is new");
        let nowhere = ClickHouseConfig {
            url: "http://127.0.0.1:1".to_string(),
            ..ClickHouseConfig::default()
        };
        let store = Store::new(nowhere, metrics);
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(server.run(
            store,
            Definition::default(),
            Registry::new(),
            Readiness::new(),
            stopped,
        ));
        Running {
            address,
            _runtime: runtime,
            _stop: stop,
        }
    })
}
