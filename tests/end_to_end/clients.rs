//! Other people's Kafka clients against the embedded log, as product apps would use them. The Java
//! client is checked by hand: `tests/clients/kafka/README.md`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use tests::{Place, python, root};
use tokio::process::Command;

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

/// The folder under target/ in which npm has installed what the script needs.
async fn node_modules(scripts: &Path) -> anyhow::Result<std::path::PathBuf> {
    let folder = root().join("target/node-kafka");
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(scripts.join("package.json"), folder.join("package.json"))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"])
        .arg(&folder)
        .current_dir(&folder);
    passes("npm install (install Node.js with npm)", npm).await?;
    Ok(folder.join("node_modules"))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_other_languages_produce_and_consume() -> anyhow::Result<()> {
    let scripts = root().join("tests/clients/kafka");
    let python = python("kafka", &scripts.join("requirements.txt"))?;
    let modules = node_modules(&scripts).await?;
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
