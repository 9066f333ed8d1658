//! `mimamori simulate`

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;
use stream::Producer;

use crate::cli::{Format, SimulateArgs};
use crate::config::{ConfigError, Loaded};
use crate::output::{self, Progress};
use crate::{demo, shutdown};

pub async fn run(file: Option<&Path>, args: SimulateArgs, format: Option<Format>) -> anyhow::Result<()> {
    if args.print_health {
        #[derive(serde::Serialize)]
        struct Section {
            health: health::HealthConfig,
        }
        let section = Section {
            health: demo::health(),
        };
        let text = toml::to_string(&section)?;
        // It is to be written to a file: TOML unless JSON is asked for.
        return output::result(format.or(Some(Format::Table)), &section, || text);
    }
    let mut loaded = Loaded::read(file)?;
    if let Some(brokers) = args.kafka_brokers {
        loaded.config.kafka.brokers = brokers;
    }
    let until_ms = match &args.until {
        None => super::wall_ms(),
        Some(text) => text
            .parse::<Timestamp>()
            .map_err(|error| {
                ConfigError(format!(
                    "--until {text:?} is not RFC 3339 such as 2026-11-01T00:00:00Z: {error}"
                ))
            })?
            .as_millisecond(),
    };
    if args.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(ConfigError("--rate must be above 0".to_string()).into());
    }
    let config = simulate::Config {
        accounts: args.accounts,
        months: args.months,
        seed: args.seed,
        until_ms,
        duplicates: args.duplicates,
        late: args.late,
        malformed: args.malformed,
        ..simulate::Config::default()
    };
    let mut simulation = simulate::simulate(&config).map_err(|error| ConfigError(error.to_string()))?;
    let kafka = &loaded.config.kafka;
    stream::check_broker(kafka).await?;
    stream::ensure_topics(kafka, &loaded.config.topics()).await?;
    let producer = Producer::new(kafka)?;
    let (_stop, shutdown) = shutdown::watch_signals()?;

    let mut progress = Progress::new("records", false);
    let mut tell = |done, total| progress.set("records", done, total);
    let sent = simulate::send(
        &mut simulation,
        &producer,
        &loaded.config.ingest.topic,
        args.rate,
        &mut tell,
        shutdown.clone(),
    );
    let summary = sent.await?;
    progress.finish();
    simulate::write_truth(&args.truth, simulation.truth())
        .with_context(|| format!("cannot write {}", args.truth.display()))?;
    let mut went_on = 0;
    if args.live && summary.complete {
        let mut live = simulate::live(&config, until_ms)?.with_speed(args.live_speed);
        went_on = simulate::send_live(
            &mut live,
            &producer,
            &loaded.config.ingest.topic,
            super::wall_ms,
            shutdown,
        )
        .await?;
    }
    let found = json!({
        "topic": loaded.config.ingest.topic, "sent": summary.sent, "distinct": summary.distinct, "accounts": summary.accounts,
        "seconds": summary.seconds, "complete": summary.complete, "sent_live": went_on, "truth": args.truth,
    });
    output::result(format, &found, || {
        let rate = summary.sent as f64 / summary.seconds.max(0.001);
        let cut = if summary.complete { "" } else { " (cut short)" };
        format!(
            "{} records{cut}, {} distinct events of {} accounts, sent to {} in {:.1} s ({rate:.0}/s)\ntruth: {}",
            summary.sent,
            summary.distinct,
            summary.accounts,
            loaded.config.ingest.topic,
            summary.seconds,
            args.truth.display(),
        )
    })
}
