use std::time::Duration;

use anyhow::Context;
use tests::{Place, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_named_take_the_place_of_the_embedded_engines() -> anyhow::Result<()> {
    let first = Place::new("")?;
    let _first_up = first.up().await?;
    let second = Place::new(&format!(
        "[kafka]\nbrokers = \"127.0.0.1:{}\"\n[clickhouse]\nurl = \"http://127.0.0.1:{}\"\n",
        first.kafka, first.clickhouse
    ))?;
    let _second_up = second.up().await?;
    for engine in ["kafka", "clickhouse"] {
        let folder = second.path("data").join(engine);
        assert!(
            !folder.exists(),
            "{} was made though a server is named",
            folder.display()
        );
    }

    // The two share the work of one group, and what is sent comes through whoever has it.
    let mut simulate = second.command("simulate");
    simulate.args([
        "--accounts",
        "8",
        "--months",
        "1",
        "--kafka-brokers",
        &format!("127.0.0.1:{}", first.kafka),
    ]);
    let output = simulate.output().await?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).context("a result in JSON")?;
    let distinct = told["distinct"].as_i64().context("a number of distinct events")?;
    wait_for("every event", Duration::from_secs(60), || async {
        let landed = first.count("SELECT count() FROM events").await?;
        anyhow::ensure!(landed >= distinct, "{landed} of {distinct}");
        assert_eq!(landed, distinct, "rows of events");
        Ok(Some(()))
    })
    .await?;
    let listed = wait_for("scores of every account", Duration::from_secs(60), || async {
        let listed = second.get("/api/v1/accounts").await?;
        Ok((listed["total"] == told["accounts"]).then_some(listed))
    });
    listed.await?;
    Ok(())
}
