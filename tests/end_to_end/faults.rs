//! What a person sees when something is in the way.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Output;
use std::time::Duration;

use anyhow::Context;
use tests::{Place, free_port};
use tokio::process::Command;

async fn ended(mut command: Command) -> anyhow::Result<Output> {
    tokio::time::timeout(Duration::from_secs(60), command.output())
        .await
        .context("it does not end by itself")?
        .context("cannot run")
}

fn error(output: &Output) -> String {
    assert!(!output.status.success(), "it should have failed");
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.starts_with("error:"))
        .collect()
}

#[tokio::test]
async fn a_taken_port_is_named() -> anyhow::Result<()> {
    for taken in ["--kafka-listen", "--clickhouse-listen", "--api-listen"] {
        let place = Place::new("")?;
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = held.local_addr()?.to_string();
        let mut command = place.command("up");
        command.arg("--data-dir").arg(place.path("data"));
        for flag in ["--kafka-listen", "--clickhouse-listen", "--api-listen"] {
            let free = format!("127.0.0.1:{}", free_port());
            command.args([flag, if flag == taken { &address } else { &free }]);
        }
        let told = error(&ended(command).await?);
        assert!(told.contains(&address), "{taken}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() -> anyhow::Result<()> {
    let nobody = format!("127.0.0.1:{}", free_port());
    let place = Place::new("")?;
    let mut kafka = place.up_command();
    kafka.args(["--kafka-brokers", &nobody]);
    let told = error(&ended(kafka).await?);
    assert!(told.contains(&nobody) && told.contains("Kafka"), "{told}");

    let place = Place::new("")?;
    let mut clickhouse = place.up_command();
    clickhouse.args(["--clickhouse-url", &format!("http://{nobody}")]);
    let told = error(&ended(clickhouse).await?);
    assert!(told.contains(&nobody) && told.contains("ClickHouse"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_another_process_holds_is_named() -> anyhow::Result<()> {
    let place = Place::new("")?;
    let _up = place.up().await?;
    let mut second = place.command("up");
    second.arg("--data-dir").arg(place.path("data"));
    for flag in ["--kafka-listen", "--clickhouse-listen", "--api-listen"] {
        second.args([flag, &format!("127.0.0.1:{}", free_port())]);
    }
    let told = error(&ended(second).await?);
    let folder = place.path("data");
    assert!(told.contains(folder.to_str().context("a plain path")?), "{told}");
    assert!(told.contains("process"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_2_and_is_named_with_its_line() -> anyhow::Result<()> {
    let place = Place::new("[aggregate]\nland_after = 5\n")?;
    let output = ended(place.up_command()).await?;
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("line 2") && told.contains("land_after"), "{told}");
    Ok(())
}
