//! `mimamori rebuild`

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use aggregate::{RebuildError, RebuildOptions, RebuildPlan, RebuildWiring, Rebuilding, Rebuilt};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use store::{Store, StoreMetrics};

use crate::cli::{Format, RebuildArgs, ServerArgs};
use crate::config::{ConfigError, Loaded};
use crate::demo::{self, Demo};
use crate::engines::Engines;
use crate::output::{self, Progress};
use crate::shutdown;

/// What a rebuild did, and how long this run of it took.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    rebuilt: Rebuilt,
    seconds: f64,
    events_per_second: u64,
    /// What `aggregate.partitions` has to be from now on.
    aggregate_partitions: i32,
}

pub async fn run(file: Option<&Path>, args: RebuildArgs, format: Option<Format>) -> anyhow::Result<()> {
    let since = args.from.as_deref().map(time).transpose()?;
    if args.partitions.is_some_and(|partitions| partitions < 1) {
        return Err(ConfigError("--partitions must be at least 1".to_string()).into());
    }
    let can_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !args.yes && !can_ask {
        return Err(ConfigError("there is no terminal to ask on: give --yes".to_string()).into());
    }
    let (_stop, shutdown) = shutdown::watch_signals()?;
    let mut loaded = Loaded::read(file)?;
    let servers = ServerArgs {
        api_listen: None,
        kafka_brokers: args.kafka_brokers,
        clickhouse_url: args.clickhouse_url,
    };
    super::apply(&servers, &mut loaded);
    if let Some(data_dir) = &args.data_dir {
        loaded.config.embedded.data_dir.clone_from(data_dir);
    }
    loaded.config.resolve_secrets()?;
    // The customers of a demo are judged by what fits them, as `up` does it.
    if !loaded.names_health && Demo::find(&loaded.config.embedded.data_dir)?.is_some() {
        loaded.config.health = demo::health();
    }
    let model = Arc::new(loaded.check()?);

    let mut engines = Engines::default();
    let ended = async {
        start(&mut engines, &mut loaded).await?;
        let config = &loaded.config;
        let metrics = StoreMetrics::register(&prometheus::Registry::new())?;
        let store = Store::new(config.clickhouse.clone(), metrics);
        store.ping().await?;
        store.migrate().await?;
        stream::check_broker(&config.kafka).await?;
        let wiring = RebuildWiring {
            kafka: config.kafka.clone(),
            ingest_group: config.ingest.group.clone(),
            store,
            model,
        };
        let options = RebuildOptions {
            since,
            partitions: args.partitions,
        };
        let begun = Instant::now();
        let planned = Rebuilding::plan(config.aggregate.clone(), wiring, &options, super::wall_ms());
        let rebuilding = planned.await.map_err(|error| match error {
            RebuildError::Config(problem) => anyhow::Error::new(ConfigError(problem)),
            other => other.into(),
        })?;
        if !args.yes && !is_wanted(rebuilding.what())? {
            anyhow::bail!("nothing was changed");
        }
        for line in told_before(rebuilding.what()) {
            eprintln!("{line}");
        }
        let mut progress = Progress::new("accounts", false);
        let mut tell = |what: &str, done: u64, total: u64| progress.set(what, done, total);
        let rebuilt = rebuilding.run(shutdown, &mut tell).await;
        progress.finish();
        let rebuilt = rebuilt?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Report {
            events_per_second: (rebuilt.events_now as f64 / seconds.max(1e-9)) as u64,
            seconds,
            aggregate_partitions: rebuilt.partitions,
            rebuilt,
        })
    };
    let ended: anyhow::Result<Report> = ended.await;
    engines.shutdown().await;
    let report = ended?;
    output::result(format, &report, || {
        lines(&report, loaded.config.aggregate.partitions)
    })
}

/// Starts the engines of the data folder in place of servers that are not named, at addresses of their own.
async fn start(engines: &mut Engines, loaded: &mut Loaded) -> anyhow::Result<()> {
    let mut embedded = loaded.config.embedded.clone();
    let url = loaded.config.clickhouse.url.trim_end_matches('/').to_string();
    let kafka_listen = embedded.kafka_listen.to_string();
    let embeds_kafka = !loaded.names_brokers || loaded.config.kafka.brokers == kafka_listen;
    let embeds_clickhouse =
        !loaded.names_clickhouse || url == format!("http://{}", embedded.clickhouse_listen);
    if (embeds_kafka || embeds_clickhouse) && !embedded.data_dir.is_dir() {
        anyhow::bail!(
            "there is no data folder {}: name it with --data-dir, or the servers with --kafka-brokers and \
             --clickhouse-url",
            embedded.data_dir.display()
        );
    }
    embedded.kafka_listen.set_port(0);
    embedded.clickhouse_listen.set_port(0);
    if embeds_kafka {
        loaded.config.kafka.brokers = engines.start_kafka(&embedded).await?;
    }
    if embeds_clickhouse {
        let password = loaded.config.clickhouse.password.clone();
        loaded.config.clickhouse.url = engines.start_clickhouse(&embedded, &password).await?;
    }
    Ok(())
}

/// A time given as RFC 3339 or as a date.
fn time(text: &str) -> Result<i64, ConfigError> {
    let instant = text.parse::<Timestamp>().ok();
    let instant = instant.or_else(|| {
        let date: Date = text.parse().ok().filter(|_| text.len() == "2026-11-01".len())?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    instant.map(Timestamp::as_millisecond).ok_or_else(|| {
        ConfigError(format!(
            "--from {text:?} is neither a date such as 2026-11-01 nor RFC 3339 such as 2026-11-01T00:00:00Z"
        ))
    })
}

fn is_wanted(plan: &RebuildPlan) -> anyhow::Result<bool> {
    let what = if plan.goes_on {
        "go on with the rebuild of"
    } else {
        "rebuild"
    };
    let mut stderr = std::io::stderr().lock();
    write!(
        stderr,
        "{what} {} accounts from {} events, for {} partitions of mimamori.events? [y/N] ",
        plan.accounts, plan.events, plan.partitions
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What is worth knowing before it begins.
fn told_before(plan: &RebuildPlan) -> Vec<String> {
    let mut lines = Vec::new();
    if plan.goes_on {
        lines.push("going on with the rebuild that was not finished".to_string());
    }
    if plan.gives_up_another {
        lines.push(
            "a rebuild with other parameters was not finished: it is given up, this one begins anew"
                .to_string(),
        );
    }
    if let Some(before) = plan.partitions_before.filter(|before| *before != plan.partitions) {
        lines.push(format!(
            "the partitions of mimamori.events become {} from {before}: {} records are looked through first",
            plan.partitions, plan.to_land
        ));
    }
    if plan.detached > 0 {
        lines.push(format!(
            "{} events stand in the log no more where they were read, and are detached from it",
            plan.detached
        ));
    }
    if plan.lost > 0 {
        lines.push(format!(
            "{} records of mimamori.events were removed from the log before they were read; what of them were \
             no repeats is lost",
            plan.lost
        ));
    }
    lines
}

fn lines(report: &Report, configured: i32) -> String {
    let rebuilt = &report.rebuilt;
    let mut lines = vec![format!(
        "{} accounts rebuilt from {} events: {} days, {} rows",
        rebuilt.accounts, rebuilt.events, rebuilt.days, rebuilt.rows
    )];
    if rebuilt.accounts_now < rebuilt.accounts {
        lines.push(format!(
            "of them {} accounts from {} events by this run",
            rebuilt.accounts_now, rebuilt.events_now
        ));
    }
    if rebuilt.landed > 0 {
        lines.push(format!("{} events landed from the log first", rebuilt.landed));
    }
    lines.push(format!(
        "{:.1} s, {} events/s",
        report.seconds, report.events_per_second
    ));
    if rebuilt.partitions != configured {
        lines.push(format!(
            "set aggregate.partitions = {} before the roles start",
            rebuilt.partitions
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_is_a_date_or_rfc_3339() {
        let november = 1_793_491_200_000;
        assert_eq!(time("2026-11-01").unwrap(), november);
        assert_eq!(time("2026-11-01T09:00:00+09:00").unwrap(), november);
        for wrong in ["", "yesterday", "2026-11", "1793491200000"] {
            let told = time(wrong).unwrap_err().to_string();
            assert!(told.contains("--from") && told.contains("2026-11-01"), "{told}");
        }
    }
}
