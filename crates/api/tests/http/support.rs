use std::time::Duration;

use api::{Config, Error, Readiness, Server};
use prometheus::Registry;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use store::{ClickHouseConfig, Store, StoreMetrics};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use verify::Definition;

/// A server at work, until it is dropped.
pub struct Running {
    pub url: String,
    pub stop: watch::Sender<bool>,
    pub ended: JoinHandle<Result<(), Error>>,
    client: Client,
}

impl Running {
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    /// The JSON at `path`, which must be found.
    pub async fn json(&self, path: &str) -> Value {
        let response = self.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), "application/json", "{path}");
        assert_eq!(header(&response, "cache-control"), "no-store", "{path}");
        body(response).await
    }

    /// The problem at `path`, which must be answered with `status`.
    pub async fn problem(&self, path: &str, status: u16) -> Value {
        problem_of(self.get(path).send().await.unwrap(), status).await
    }
}

pub async fn problem_of(response: Response, status: u16) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let problem = body(response).await;
    assert_eq!(problem["status"], status);
    for member in ["type", "title", "detail"] {
        let text = problem[member].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{member} of {problem}");
    }
    problem
}

pub async fn body(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

pub fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

pub fn local() -> Config {
    Config {
        listen: "127.0.0.1:0".to_string(),
        ..Config::default()
    }
}

pub async fn serve(config: Config, store: Store) -> Running {
    serve_when(config, store, Readiness::new()).await
}

pub async fn serve_when(config: Config, store: Store, readiness: Readiness) -> Running {
    serve_by(definition(), config, store, readiness).await
}

/// The defaults, as the model that made the rows of the tests.
pub fn definition() -> Definition {
    Definition {
        model_hash: "abc".to_string(),
        ..Definition::default()
    }
}

pub async fn serve_by(definition: Definition, config: Config, store: Store, readiness: Readiness) -> Running {
    let server = Server::bind(config).await.unwrap();
    let url = format!("http://{}", server.address());
    let (stop, stopped) = watch::channel(false);
    let ended = tokio::spawn(server.run(store, definition, Registry::new(), readiness, stopped));
    let client = Client::builder()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    Running {
        url,
        stop,
        ended,
        client,
    }
}

/// A store over a server that is not there.
pub fn nowhere() -> Store {
    store_at("http://127.0.0.1:1", "mimamori")
}

pub fn store_at(url: &str, database: &str) -> Store {
    let config = ClickHouseConfig {
        url: url.to_string(),
        database: database.to_string(),
        ..ClickHouseConfig::default()
    };
    Store::new(config, StoreMetrics::register(&Registry::new()).unwrap())
}
