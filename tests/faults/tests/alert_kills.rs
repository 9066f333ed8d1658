//! Alert workers are killed while their destinations misbehave: every change arrives or is a dead letter,
//! under one id, and in order.

use faults::alert_kills::{self, AlertKillsArgs};
use faults::cluster::Kafka;

#[tokio::test(flavor = "multi_thread")]
async fn eight_kills_of_the_alert_workers_lose_no_alert_and_reorder_none() -> anyhow::Result<()> {
    let summary = alert_kills::run(&AlertKillsArgs {
        kills: 8,
        seed: 1,
        workers: 2,
        kafka: Kafka::Embedded,
        rate: 200,
        accounts: 40,
        every_ms: 3_000,
        session_ms: 3_000,
        keep: false,
    })
    .await?;
    println!("{}", summary.lines());
    Ok(())
}
