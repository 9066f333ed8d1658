//! A killed worker goes on with the states that it had saved.

use faults::cluster::Kafka;
use faults::recovery::{self, RecoveryArgs};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_reads_its_states_and_goes_on() -> anyhow::Result<()> {
    let summary = recovery::run(&RecoveryArgs {
        accounts: 2_000,
        events: 3,
        session_ms: 6_000,
        seed: 1,
        kafka: Kafka::Embedded,
        keep: false,
    })
    .await?;
    println!("{}", summary.lines());
    let killed = summary.killed();
    assert!(
        killed.until_scored < 60.0,
        "{} s after the kill, of which the group's session is 6 s",
        killed.until_scored
    );
    Ok(())
}
