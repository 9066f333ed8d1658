//! The harness itself: its processes die when killed, stand still when stopped, and come back.

use std::time::Duration;

use faults::cluster::{Cluster, Kafka, Role};
use tests::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_killed_stopped_and_started_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut cluster = Cluster::start(folder.path(), Kafka::Embedded, "").await?;
    cluster.add(Role::Ingest, "ingest-1")?;
    cluster.add(Role::Aggregate, "aggregate-1")?;
    cluster.wait_ready("ingest-1").await?;
    cluster.wait_ready("aggregate-1").await?;
    assert_eq!(cluster.sql().count("SELECT count() FROM events").await?, 0);

    let worker = cluster.role("aggregate-1")?;
    assert!(worker.memory_kib()?.now > 1_000);
    worker.stop()?;
    assert!(worker.is_running());
    let asked = tokio::time::timeout(Duration::from_secs(1), cluster.get("aggregate-1", "/healthz")).await;
    assert!(
        asked.is_err() || asked.is_ok_and(|answer| answer.is_err()),
        "a stopped process answered"
    );
    cluster.role("aggregate-1")?.wake()?;
    wait_for("an answer", Duration::from_secs(10), || async {
        Ok(Some(cluster.get("aggregate-1", "/healthz").await?))
    })
    .await?;

    let worker = cluster.role("aggregate-1")?;
    worker.kill().await?;
    assert!(!worker.is_running());
    worker.start()?;
    cluster.wait_ready("aggregate-1").await?;
    assert_eq!(cluster.role("aggregate-1")?.starts, 2);

    cluster.clickhouse.kill().await?;
    assert!(cluster.sql().query("SELECT 1").await.is_err());
    cluster.start_clickhouse().await?;
    assert_eq!(cluster.sql().count("SELECT count() FROM events").await?, 0);

    let kafka = cluster.kafka.as_mut().expect("the embedded log was asked for");
    kafka.kill().await?;
    cluster.start_kafka().await?;
    cluster.wait_ready("ingest-1").await
}
