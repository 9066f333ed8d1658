use api::{ApiKey, Config};

use crate::support::{header, local, nowhere, problem_of, serve};

fn keyed() -> Config {
    Config {
        api_keys: vec![ApiKey::new("right-key"), ApiKey::new("other-key")],
        ..local()
    }
}

#[tokio::test]
async fn without_the_key_nothing_of_the_customers_is_answered() {
    let server = serve(keyed(), nowhere()).await;
    for path in [
        "/api/v1/accounts",
        "/api/v1/accounts/acme",
        "/api/v1/accounts/acme/scores",
        "/api/v1/accounts/acme/timeline",
        "/api/v1/alerts",
        "/metrics",
    ] {
        let response = server.get(path).send().await.unwrap();
        assert_eq!(header(&response, "www-authenticate"), "Bearer realm=\"mimamori\"");
        problem_of(response, 401).await;
        for wrong in [
            "Bearer wrong-key",
            "Bearer",
            "Bearer right-key2",
            "Basic right-key",
            "right-key",
        ] {
            let response = server
                .get(path)
                .header("authorization", wrong)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 401, "{path} with {wrong}");
        }
    }
}

#[tokio::test]
async fn with_any_of_the_keys_the_request_comes_through() {
    let server = serve(keyed(), nowhere()).await;
    for given in ["Bearer right-key", "bearer other-key"] {
        let metrics = server
            .get("/metrics")
            .header("authorization", given)
            .send()
            .await
            .unwrap();
        assert_eq!(metrics.status(), 200, "{given}");
        // Behind the key there is no database: the request got that far.
        let accounts = server
            .get("/api/v1/accounts")
            .header("authorization", given)
            .send()
            .await
            .unwrap();
        assert_eq!(accounts.status(), 503, "{given}");
    }
}

#[tokio::test]
async fn what_tells_nothing_of_customers_needs_no_key() {
    let server = serve(keyed(), nowhere()).await;
    for path in ["/", "/assets/main.js", "/healthz", "/api/v1/openapi.json"] {
        assert_eq!(server.get(path).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(server.get("/readyz").send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn metrics_are_open_only_when_the_configuration_opens_them() {
    let open = Config {
        metrics_without_key: true,
        ..keyed()
    };
    let server = serve(open, nowhere()).await;
    assert_eq!(server.get("/metrics").send().await.unwrap().status(), 200);
    assert_eq!(server.get("/api/v1/alerts").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn under_a_foreign_host_name_nothing_is_answered_without_a_key() {
    let allowing = Config {
        allowed_hosts: vec!["cs.example".to_string()],
        ..local()
    };
    let server = serve(allowing, nowhere()).await;
    for path in ["/", "/healthz", "/api/v1/accounts"] {
        let asked = server
            .get(path)
            .header("host", "rebound.example")
            .send()
            .await
            .unwrap();
        let problem = problem_of(asked, 421).await;
        assert!(
            problem["detail"].as_str().unwrap().contains("rebound.example"),
            "{problem}"
        );
    }
    for ours in ["cs.example", "localhost:8080"] {
        let asked = server.get("/healthz").header("host", ours).send().await.unwrap();
        assert_eq!(asked.status(), 200, "{ours}");
    }

    let server = serve(keyed(), nowhere()).await;
    let asked = server
        .get("/healthz")
        .header("host", "anything.example")
        .send()
        .await
        .unwrap();
    assert_eq!(asked.status(), 200, "with keys the name does not matter");
}

#[tokio::test]
async fn every_answer_carries_an_id_and_the_headers_that_bind_a_browser() {
    let server = serve(local(), nowhere()).await;
    for path in [
        "/",
        "/healthz",
        "/api/v1/accounts",
        "/nowhere",
        "/assets/page.css",
    ] {
        let response = server.get(path).send().await.unwrap();
        let policy = header(&response, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&response, "x-frame-options"), "DENY", "{path}");
        assert_eq!(header(&response, "x-request-id").len(), 36, "{path}");
    }
}

#[tokio::test]
async fn a_harmless_request_id_is_kept_and_another_replaced() {
    let server = serve(local(), nowhere()).await;
    let kept = server
        .get("/healthz")
        .header("x-request-id", "trace-17")
        .send()
        .await
        .unwrap();
    assert_eq!(header(&kept, "x-request-id"), "trace-17");
    let long = "x".repeat(129);
    for odd in ["two words", long.as_str(), ""] {
        let replaced = server
            .get("/healthz")
            .header("x-request-id", odd)
            .send()
            .await
            .unwrap();
        assert_eq!(header(&replaced, "x-request-id").len(), 36, "{odd}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_that_says_where_to_look() {
    let server = serve(local(), nowhere()).await;
    let problem = server.problem("/api/v1/nothing", 404).await;
    assert!(
        problem["detail"].as_str().unwrap().contains("openapi.json"),
        "{problem}"
    );
    let response = server.post("/api/v1/accounts").send().await.unwrap();
    assert_eq!(header(&response, "allow"), "GET,HEAD");
    problem_of(response, 405).await;
    server.problem("/api/v1/accounts/%ff", 400).await;
}

#[tokio::test]
async fn a_database_that_is_away_is_a_problem_that_does_not_quote_it() {
    let server = serve(local(), nowhere()).await;
    let problem = server.problem("/api/v1/accounts", 503).await;
    assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
}
