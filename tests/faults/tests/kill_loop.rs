//! Processes are killed and stopped at random moments under load: nothing is lost, nothing is doubled.

use faults::cluster::Kafka;
use faults::kill_loop::{self, KillLoopArgs};

#[tokio::test(flavor = "multi_thread")]
async fn thirty_kills_lose_nothing_and_double_nothing() -> anyhow::Result<()> {
    let summary = kill_loop::run(&KillLoopArgs {
        kills: 30,
        seed: 1,
        kafka: Kafka::Embedded,
        rate: 2_000,
        accounts: 120,
        every_ms: 2_500,
        session_ms: 3_000,
        keep: false,
    })
    .await?;
    println!("{}", summary.lines());
    Ok(())
}
