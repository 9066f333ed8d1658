//! A `mimamori up`, a producer, and `mimamori rejected` asked about it.

use std::process::{Output, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;
use stream::{KafkaConfig, Outgoing, Producer, TopicReader, topics};
use tests::{Place, wait_for};
use tokio::io::AsyncWriteExt;

use super::LONG;

/// A place with a producer beside it.
pub struct Bed {
    pub place: Place,
    kafka: KafkaConfig,
    producer: Producer,
}

impl Bed {
    pub fn new() -> anyhow::Result<Bed> {
        let place = Place::new("")?;
        let kafka = KafkaConfig::at(format!("127.0.0.1:{}", place.kafka));
        let producer = Producer::new(&kafka)?;
        Ok(Bed {
            place,
            kafka,
            producer,
        })
    }

    pub async fn send(
        &self,
        topic: &str,
        key: &str,
        headers: &[(&str, &[u8])],
        payload: &[u8],
    ) -> anyhow::Result<()> {
        let outgoing = Outgoing {
            topic,
            key: Some(key.as_bytes()),
            headers,
            payload,
            ..Outgoing::default()
        };
        self.producer.send_record(&outgoing)?.await?;
        Ok(())
    }

    /// `mimamori rejected …`, and what it was given on standard input.
    pub async fn run(&self, arguments: &[&str], input: &[u8]) -> anyhow::Result<Output> {
        let mut command = self.place.command("rejected");
        command
            .args(arguments)
            .args(["--kafka-brokers", &self.kafka.brokers, "--log", "warn"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("its input is piped")?;
        // One that wants no input may be gone already.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        let ended = tokio::time::timeout(LONG, child.wait_with_output()).await;
        Ok(ended.with_context(|| format!("{arguments:?} does not end"))??)
    }

    /// The same, its result in JSON and its exit code.
    pub async fn ask(&self, arguments: &[&str]) -> anyhow::Result<(i32, Value)> {
        let output = self.run(arguments, b"").await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let result =
            serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}: {told}"))?;
        Ok((output.status.code().context("it was killed")?, result))
    }

    pub async fn list(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let (code, found) = self.ask(&[&["list"], arguments].concat()).await?;
        ensure!(code == 0, "list {arguments:?} ended with {code}: {found}");
        Ok(found)
    }

    /// The addresses of all records, by what their values hold.
    pub async fn address_of(&self, marker: &str) -> anyhow::Result<String> {
        let found = self.list(&[]).await?;
        let records = found["records"].as_array().context("a list of records")?;
        let record = records.iter().find(|record| {
            record["excerpt"]
                .as_str()
                .is_some_and(|excerpt| excerpt.contains(marker))
        });
        let record = record.with_context(|| format!("{marker} is not in {found:#}"))?;
        Ok(record["address"].as_str().context("an address")?.to_string())
    }

    /// How many records were ever sent to the raw topic.
    pub async fn raw_records(&self) -> anyhow::Result<i64> {
        let reader = TopicReader::open(&self.kafka, "mimamori-ingest", topics::RAW).await?;
        Ok(reader.spans().iter().map(|span| span.end).sum())
    }

    pub async fn arrives(&self, event_id: &str) -> anyhow::Result<()> {
        let landed = wait_for(event_id, LONG, || async {
            let landed = self.landed(event_id).await?;
            Ok((landed > 0).then_some(landed))
        });
        assert_eq!(landed.await?, 1, "{event_id}");
        Ok(())
    }

    pub async fn landed(&self, event_id: &str) -> anyhow::Result<i64> {
        let sql = format!("SELECT count() FROM events WHERE event_id = '{event_id}'");
        self.place.count(&sql).await
    }

    pub async fn metric(&self, line: &str) -> anyhow::Result<f64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.place.api);
        let text = reqwest::get(url).await?.text().await?;
        let value = text.lines().find_map(|found| found.strip_prefix(line));
        Ok(value.unwrap_or("0").trim().parse()?)
    }
}
