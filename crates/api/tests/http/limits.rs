use std::time::Duration;

use api::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{header, local, nowhere, problem_of, serve, store_at};

/// The address of a database that takes connections and never answers, and its listener.
async fn silent() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), listener)
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let (url, _listener) = silent().await;
    let impatient = Config {
        request_timeout_seconds: 1,
        ..local()
    };
    let server = serve(impatient, store_at(&url, "mimamori")).await;
    let problem = server.problem("/api/v1/alerts", 504).await;
    assert!(problem["detail"].as_str().unwrap().contains("1 s"), "{problem}");
}

#[tokio::test]
async fn more_requests_than_may_be_at_work_are_sent_away() {
    let (url, listener) = silent().await;
    let narrow = Config {
        max_concurrent_requests: 1,
        request_timeout_seconds: 20,
        ..local()
    };
    let server = serve(narrow, store_at(&url, "mimamori")).await;
    let first = tokio::spawn(server.get("/api/v1/alerts").send());
    // Once the database is asked, the first request is at work.
    let _asked = listener.accept().await.unwrap();
    let second = server.get("/api/v1/alerts").send().await.unwrap();
    assert_eq!(header(&second, "retry-after"), "1");
    problem_of(second, 503).await;
    assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
    first.abort();
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_read() {
    let server = serve(local(), nowhere()).await;
    let address = server.url.strip_prefix("http://").unwrap().to_string();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!("POST /healthz HTTP/1.1\r\nhost: {address}\r\ncontent-length: 9999999999\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_hung_up_on() {
    let strict = Config {
        header_timeout_seconds: 1,
        ..local()
    };
    let server = serve(strict, nowhere()).await;
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: local").await.unwrap();
    let mut rest = Vec::new();
    let hung_up = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(hung_up.is_ok(), "still open");
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_does_not_wait_for_ever_for_the_others() {
    let (url, listener) = silent().await;
    let config = Config {
        shutdown_timeout_seconds: 1,
        ..local()
    };
    let server = serve(config, store_at(&url, "mimamori")).await;
    assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
    let stuck = tokio::spawn(server.get("/api/v1/alerts").send());
    let _asked = listener.accept().await.unwrap();

    server.stop.send(true).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), server.ended).await;
    ended.expect("stopped in time").unwrap().unwrap();
    stuck.abort();
    let address = server.url.strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "still listening");
}

#[tokio::test]
async fn routes_are_counted_by_their_pattern() {
    let server = serve(local(), nowhere()).await;
    for path in ["/api/v1/accounts/one", "/api/v1/accounts/two", "/what/ever"] {
        server.get(path).send().await.unwrap();
    }
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let counted =
        r#"mimamori_http_requests_total{method="GET",route="/api/v1/accounts/{id}",status="503"} 2"#;
    assert!(text.contains(counted), "{text}");
    assert!(text.contains(r#"route="unmatched",status="404"} 1"#), "{text}");
    assert!(!text.contains("what/ever"), "{text}");
}
