//! ClickHouse and Kafka fail in one way after the other under load: nothing is lost, nothing is doubled,
//! memory is bounded, and the workers work again soon after.

use faults::cluster::Kafka;
use faults::outages::{self, Outage, OutagesArgs};

#[tokio::test(flavor = "multi_thread")]
async fn outages_lose_nothing_and_are_over_when_they_are_over() -> anyhow::Result<()> {
    let summary = outages::run(&OutagesArgs {
        kafka: Kafka::Embedded,
        only: vec![
            Outage::Answers500,
            Outage::Hangs,
            Outage::DropsAnswers,
            Outage::CutsAnswers,
            Outage::Refuses,
            Outage::DiskFull,
            Outage::StandsStill,
            Outage::KafkaRestarts,
            Outage::KafkaIsGone,
        ],
        // Four to six seconds each, but for Kafka's, which is gone for twenty.
        minutes_down: 0.1,
        // The command asks for ten seconds. Here an unoptimised build shares its machine with who knows
        // what, and that it recovers by itself is the point.
        recovered_within: 45.0,
        rate: 1_000,
        accounts: 120,
        seed: 1,
        keep: false,
    })
    .await?;
    println!("{}", summary.lines());
    Ok(())
}
