//! Events over HTTP, from the first `curl` to ClickHouse, with write keys made by command.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{Place, python, root, wait_for};

/// What `mimamori keys` prints, as JSON.
async fn keys(place: &Place, arguments: &[&str]) -> anyhow::Result<Value> {
    let mut command = place.command("keys");
    command.args(arguments);
    command.args([
        "--clickhouse-url",
        &format!("http://127.0.0.1:{}", place.clickhouse),
    ]);
    let output = command
        .args(["--format", "json"])
        .stderr(Stdio::piped())
        .output()
        .await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "keys {arguments:?}: {told}");
    serde_json::from_slice(&output.stdout).context("one JSON value")
}

/// The status that the collector answers to an event.
async fn post(place: &Place, key: Option<&str>, body: &Value) -> anyhow::Result<u16> {
    let url = format!("http://127.0.0.1:{}/v1/events", place.api);
    let mut request = reqwest::Client::new().post(url).body(body.to_string());
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    Ok(request.send().await?.status().as_u16())
}

fn login(id: &str) -> Value {
    let at = "2026-11-01T00:00:00Z";
    json!({"event_id": id, "account_id": "curl", "user_id": "u", "type": "login", "occurred_at": at})
}

/// Makes a write key, and waits until the collector knows it and wants one.
pub(crate) async fn made_key(place: &Place, source: &str, kind: &str) -> anyhow::Result<String> {
    let made = keys(place, &["create", "--source", source, "--kind", kind]).await?;
    let key = made["key"].as_str().context("the key")?.to_owned();
    wait_for("the key's being known", Duration::from_secs(60), || async {
        let is_known = post(place, Some(&key), &json!([])).await? == 200;
        let is_wanted = post(place, None, &json!([])).await? == 401;
        Ok((is_known && is_wanted).then_some(()))
    })
    .await?;
    Ok(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_over_http_are_counted_once_under_the_source_of_their_key() -> anyhow::Result<()> {
    let place = Place::new("[collector]\nkey_refresh_ms = 100\n[ingest]\nmax_age_days = 0\n")?;
    let _up = place.up().await?;
    for _ in 0..2 {
        assert_eq!(
            post(&place, None, &login("first")).await?,
            200,
            "open on loopback"
        );
    }

    let key = &made_key(&place, "python", "server").await?;

    let script = root().join("tests/clients/http/segment_sdk.py");
    let requirements = root().join("tests/clients/http/requirements.txt");
    let made_python = tokio::task::spawn_blocking(move || python("http", &requirements)).await?;
    let python = made_python.context("no Python with the SDK")?;
    let mut sdk = tokio::process::Command::new(python);
    sdk.arg(script)
        .arg(format!("http://127.0.0.1:{}", place.api))
        .args([key, "1000"]);
    let output = sdk
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run the SDK")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the SDK: {told}");
    let sent: Vec<String> = serde_json::from_slice(&output.stdout)?;
    assert_eq!(sent.len(), 1_000);

    wait_for("every event", Duration::from_secs(60), || async {
        let landed = place.count("SELECT count() FROM events").await?;
        ensure!(landed >= 1_001, "{landed} of 1001");
        assert_eq!(landed, 1_001, "rows of events");
        Ok(Some(()))
    })
    .await?;
    let by_source = "SELECT groupArray((source, n)) FROM
        (SELECT source, count() AS n FROM events GROUP BY source ORDER BY source)";
    assert_eq!(place.query(by_source).await?, "[('http',1),('python',1000)]");

    let listed = keys(&place, &["list"]).await?;
    let id = listed[0]["id"].as_str().context("the id")?.to_owned();
    assert!(!listed.to_string().contains(key.as_str()), "a key is shown once");
    let stored = place.query("SELECT * FROM write_keys FORMAT JSONEachRow").await?;
    assert!(!stored.contains(key.as_str()), "only its hash is stored");
    assert_eq!(post(&place, Some(key), &login("second")).await?, 200);
    let revoked = keys(&place, &["revoke", &id]).await?;
    assert!(revoked[0]["revoked_at"].is_string(), "{revoked}");
    wait_for("the key's end", Duration::from_secs(20), || async {
        Ok((post(&place, Some(key), &login("third")).await? == 401).then_some(()))
    })
    .await?;
    Ok(())
}
