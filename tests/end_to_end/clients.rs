//! Other people's Kafka clients against the embedded log, as product apps would use them: that they
//! can produce and consume, and that the events they send arrive. That Java's client consumes is checked
//! by hand: `tests/clients/kafka/README.md`.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use tests::{Place, free_ports, node_modules, python, root, wait_for};
use tokio::process::Command;

/// The exit code of `deploy/local/kafka` where Apache Kafka cannot be fetched.
const NOT_TO_BE_HAD: i32 = 3;

async fn passes(what: &str, mut command: Command) -> anyhow::Result<()> {
    let run = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(180), run).await;
    let output = output
        .with_context(|| format!("{what} does not end"))?
        .with_context(|| format!("cannot run {what}"))?;
    let told = [output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat();
    ensure!(output.status.success(), "{what}: {}\n{told}", output.status);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_other_languages_produce_and_consume() -> anyhow::Result<()> {
    let scripts = root().join("tests/clients/kafka");
    let python = python("kafka", &scripts.join("requirements.txt"))?;
    let modules = node_modules("kafka", &scripts)?.join("node_modules");
    let place = Place::new("")?;
    let _up = place.up().await?;
    let bootstrap = format!("127.0.0.1:{}", place.kafka);
    for script in ["confluent.py", "aio.py"] {
        let mut command = Command::new(&python);
        command.arg(scripts.join(script)).arg(&bootstrap);
        passes(script, command).await?;
    }
    let mut command = Command::new("node");
    command
        .arg(scripts.join("kafkajs.js"))
        .arg(&bootstrap)
        .env("NODE_PATH", modules);
    passes("kafkajs.js", command).await
}

/// What a script prints, which has to end well.
async fn printed(what: &str, mut command: Command) -> anyhow::Result<String> {
    let run = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(180), run).await;
    let output = output
        .with_context(|| format!("{what} does not end"))?
        .with_context(|| format!("cannot run {what}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}\n{told}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_every_client_codec_partitioner_and_format_count_once() -> anyhow::Result<()> {
    let scripts = root().join("tests/clients/events");
    let python = python("events", &scripts.join("requirements.txt"))?;
    let modules = node_modules("events", &scripts)?.join("node_modules");
    let place = Place::new("")?;
    let _up = place.up().await?;
    let bootstrap = format!("127.0.0.1:{}", place.kafka);

    let mut sent: i64 = 0;
    for script in [
        "confluent_events.py",
        "kafka_python_events.py",
        "aio_events.py",
        "kafkajs_events.js",
    ] {
        let mut command = if script.ends_with(".js") {
            let mut node = Command::new("node");
            node.env("NODE_PATH", &modules);
            node
        } else {
            Command::new(&python)
        };
        command.arg(scripts.join(script)).arg(&bootstrap);
        let count = printed(script, command).await?;
        sent += count
            .parse::<i64>()
            .with_context(|| format!("{script} printed {count:?}"))?;
    }
    ensure!(sent > 1_000, "only {sent} events were sent");

    wait_for("every event", Duration::from_secs(60), || async {
        let landed = place.count("SELECT uniqExact(event_id) FROM events").await?;
        Ok((landed >= sent).then_some(()))
    })
    .await?;
    let is_as_meant = "count() = uniqExact(event_id) AND countIf(type != 'login') = 0 \
                       AND uniqExact(account_id) = 7 AND min(match(account_id, '^acme-[0-6]$'))";
    assert_eq!(place.count("SELECT count() FROM events").await?, sent);
    assert_eq!(
        place.count(&format!("SELECT {is_as_meant} FROM events")).await?,
        1
    );
    // An account is in one partition, whatever the keys were.
    let scattered = "SELECT max(partitions) FROM \
                     (SELECT uniqExact(kafka_partition) AS partitions FROM events GROUP BY account_id)";
    assert_eq!(place.count(scattered).await?, 1);

    // The embedded log has no transactions, and says so before anything is sent.
    let mut command = Command::new(&python);
    command.arg(scripts.join("transaction.py")).arg(&bootstrap);
    assert_eq!(printed("transaction.py", command).await?, "refused");
    assert_eq!(place.count("SELECT count() FROM events").await?, sent);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_aborted_is_never_seen() -> anyhow::Result<()> {
    let scripts = root().join("tests/clients/events");
    let python = python("events", &scripts.join("requirements.txt"))?;
    let place = Place::new("")?;
    // Apache Kafka takes two: for clients, and for itself as a controller.
    let port = free_ports(2);
    let bootstrap = format!("127.0.0.1:{port}");
    let mut kafka = Command::new(root().join("deploy/local/kafka"));
    kafka.args(["up", "--port", &port.to_string(), "--while-pid"]);
    kafka.arg(std::process::id().to_string());
    // The transactions' own topic is on one broker, too.
    kafka.args(["--set", "transaction.state.log.replication.factor=1"]);
    kafka.args(["--set", "transaction.state.log.min.isr=1", "--data-dir"]);
    let started = kafka.arg(place.path("kafka")).kill_on_drop(true).output();
    let started = tokio::time::timeout(Duration::from_secs(600), started).await??;
    if started.status.code() == Some(NOT_TO_BE_HAD) {
        // Past the capture of the tests' output: nobody shall think that it was tried.
        writeln!(
            std::io::stderr(),
            "\nTRANSACTIONS WERE NOT TRIED: Apache Kafka cannot be had\n"
        )?;
        return Ok(());
    }
    let told = String::from_utf8_lossy(&started.stderr);
    ensure!(started.status.success(), "deploy/local/kafka: {told}");

    let mut up = place.command("up");
    up.args(["--kafka-brokers", &bootstrap, "--data-dir"])
        .arg(place.path("data"));
    up.args(["--clickhouse-listen", &format!("127.0.0.1:{}", place.clickhouse)]);
    up.args(["--api-listen", &format!("127.0.0.1:{}", place.api)]);
    let log = std::fs::File::create(place.path("log"))?;
    let _up = up.stdout(log.try_clone()?).stderr(log).spawn()?;
    wait_for("readiness", Duration::from_secs(120), || async {
        let status = reqwest::get(format!("http://127.0.0.1:{}/readyz", place.api))
            .await?
            .status();
        Ok(status.is_success().then_some(()))
    })
    .await
    .with_context(|| place.end_of_log())?;

    let mut command = Command::new(&python);
    command.arg(scripts.join("transaction.py")).arg(&bootstrap);
    assert_eq!(printed("transaction.py", command).await?, "sent");
    // One partition's records are read in their order: what comes after the aborted ones is the sign that
    // they were passed over.
    let mut command = Command::new(&python);
    command.arg(scripts.join("confluent_events.py")).arg(&bootstrap);
    let later: i64 = printed("confluent_events.py", command).await?.parse()?;
    wait_for("what was sent later", Duration::from_secs(60), || async {
        let landed = place
            .count("SELECT count() FROM events WHERE event_id LIKE 'confluent-%'")
            .await?;
        Ok((landed == later).then_some(()))
    })
    .await?;
    let of = |label: &str| format!("SELECT count() FROM events WHERE event_id LIKE '{label}-%'");
    assert_eq!(place.count(&of("committed")).await?, 20);
    assert_eq!(place.count(&of("aborted")).await?, 0);
    Ok(())
}
