//! A real browser, and in it Segment's own SDK on a page of another origin: what it sends arrives, each event
//! once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::{Place, browser, node_modules, root, wait_for};
use tokio::process::Command;

use crate::collector::made_key;

const LONG: Duration = Duration::from_secs(120);

/// Opens a page in Chromium until so many of its posts are answered; what it saw.
pub(crate) async fn open(page: &Path, query: &str, posts: usize) -> anyhow::Result<Value> {
    let scripts = root().join("tests/clients/browser");
    let modules = scripts.clone();
    let installed = tokio::task::spawn_blocking(move || node_modules("browser", &modules));
    let modules = installed.await??.join("node_modules");
    let mut driver = Command::new("node");
    driver.env("NODE_PATH", modules).arg(scripts.join("drive.js"));
    driver.arg(browser()?).arg(page).args([query, &posts.to_string()]);
    let run = driver.kill_on_drop(true).output();
    let output = tokio::time::timeout(LONG, run)
        .await
        .context("the browser does not end")?;
    let output = output.context("cannot run node")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the browser: {told}");
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(
        seen["elsewhere"] == Value::Array(Vec::new()),
        "left the machine: {seen}"
    );
    ensure!(seen["errors"] == Value::Array(Vec::new()), "errors: {seen}");
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_browser_sdk_arrives_from_a_page_of_another_origin() -> anyhow::Result<()> {
    let place = Place::new("[collector]\nkey_refresh_ms = 100\n")?;
    let _up = place.up().await?;
    let key = made_key(&place, "web", "browser").await?;
    let page = root().join("tests/clients/browser/sdk.html");
    // Each event by itself, and all of them in a batch.
    for (group, further, paths) in [
        ("single", "", &["/v1/g", "/v1/i", "/v1/p", "/v1/t"][..]),
        ("batched", "&batching=true", &["/v1/b"]),
    ] {
        let query = format!(
            "?collector=127.0.0.1:{}&key={key}&group={group}{further}",
            place.api
        );
        let seen = open(&page, &query, paths.len()).await?;
        // The SDK does not wait for one before it sends the next.
        let posted = seen["posted"].as_array().context("a list")?;
        let mut answered: Vec<&str> = posted.iter().filter_map(|post| post["path"].as_str()).collect();
        answered.sort_unstable();
        assert_eq!(answered, paths, "{seen}");
        assert!(posted.iter().all(|post| post["status"] == 200), "{seen}");

        let timeline = format!("/api/v1/accounts/{group}/timeline");
        let events = wait_for("the page's events", LONG, || async {
            let answer = place.get(&timeline).await?;
            let events = answer["events"].as_array().context("a list")?.clone();
            ensure!(events.len() >= 4, "{} of 4", events.len());
            Ok(Some(events))
        })
        .await?;
        let sent = seen["sent"].as_array().context("the ids")?;
        let kinds = [
            ("user", None),
            ("account", None),
            ("feature", Some("page:Home")),
            ("feature", Some("report_exported")),
        ];
        assert_eq!(sent.len(), kinds.len(), "{seen}");
        for (id, (event_type, name)) in sent.iter().zip(kinds) {
            let event = events.iter().find(|event| event["event_id"] == *id);
            let event = event.with_context(|| format!("{id} is not in {events:?}"))?;
            assert_eq!(event["type"], event_type, "{event}");
            assert_eq!(event["name"].as_str(), name, "{event}");
            assert_eq!(event["source"], "web", "{event}");
        }
        let rows = format!("SELECT count() FROM events WHERE account_id = '{group}'");
        assert_eq!(place.count(&rows).await?, 4, "each arrived once");
    }
    Ok(())
}
