//! What the page asks for, over more and more events. They are those of the pipeline's bench over a year, made
//! more: first the accounts, then the events of each.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use benches::pipeline;
use benches::quantile;
use benches::workload::Workload;
use faults::cluster::{Cluster, Role, Sql};
use faults::wall_ms;
use serde::Serialize;

/// Records that go through the pipeline.
const RECORDS: u64 = 500_000;
/// Accounts that they are of …
const ACCOUNTS: u64 = 5_000;
/// … and how often there is each in the end.
const COPIES: u64 = 10;
/// Days over which they happened.
const DAYS: i64 = 360;
/// How often each question is asked, of one account after the other.
const TIMES: usize = 40;
/// The tables whose rows are an account's.
const OF_ACCOUNTS: [&str; 6] = [
    "events",
    "account_daily_versions",
    "users_versions",
    "accounts_versions",
    "metrics_versions",
    "scores_versions",
];

/// One question over so many events.
#[derive(Debug, Serialize)]
pub struct Asked {
    /// Rows of events.
    events: u64,
    /// What was asked for.
    path: &'static str,
    /// How long it took, milliseconds.
    p50_ms: f64,
    p99_ms: f64,
}

/// The questions that the page asks; `{id}` is an account's id.
const QUESTIONS: [&str; 9] = [
    "/api/v1/accounts?sort=churn_risk&order=desc&limit=100&offset=0",
    "/api/v1/accounts?sort=health&order=asc&limit=100&offset=0&search=000123",
    "/api/v1/accounts/{id}",
    "/api/v1/accounts/{id}/scores?step=day&limit=500",
    "/api/v1/accounts/{id}/timeline?limit=50",
    "/api/v1/alerts?limit=50",
    "/api/v1/alerts/outcome?days=60",
    "/api/v1/journey",
    "/api/v1/ttv",
];

/// Asks over each of these numbers of events, in millions.
pub async fn measure(folder: &Path, millions: &[u64]) -> anyhow::Result<Vec<Asked>> {
    let mut asked = Vec::new();
    if millions.is_empty() {
        return Ok(asked);
    }
    std::fs::create_dir_all(folder)?;
    let workload = Workload {
        records: RECORDS,
        accounts: ACCOUNTS as usize,
        days: DAYS,
        end: wall_ms() - 3_600_000,
        seed: 1,
    };
    eprintln!("{RECORDS} records through the pipeline");
    let config = "[aggregate]\nhistory_days = 30\n";
    let mut cluster = pipeline::filled(folder, config, workload).await?;
    pipeline::run(&mut cluster, workload, &workload.truth()).await?;
    for name in ["ingest", "aggregate"] {
        cluster.role(name)?.kill().await?;
    }
    cluster.add(Role::Api, "api")?;
    cluster.wait_ready("api").await?;
    let sql = cluster.sql();
    for table in OF_ACCOUNTS {
        for copy in 1..COPIES {
            sql.query(&format!(
                "INSERT INTO {table} SELECT * REPLACE (concat(account_id, '-{copy}') AS account_id) \
                 FROM (SELECT * FROM {table} WHERE NOT match(account_id, '-[0-9]$'))"
            ))
            .await?;
        }
    }
    let mut copies = 1;
    let of_one_copy = sql.count("SELECT count() FROM events FINAL").await?;
    for wanted in millions {
        while copies * of_one_copy < wanted * 1_000_000 {
            eprint!("\r{} million events ", copies * of_one_copy / 1_000_000);
            sql.query(&format!(
                "INSERT INTO events SELECT * REPLACE (concat(event_id, '+{copies}') AS event_id, \
                 occurred_at - toIntervalSecond({copies} * 61) AS occurred_at) \
                 FROM (SELECT * FROM events WHERE position(event_id, '+') = 0) SETTINGS max_insert_threads = 2"
            ))
            .await?;
            copies += 1;
        }
        eprintln!("\r{} million events: asking", copies * of_one_copy / 1_000_000);
        let events = sql.count("SELECT count() FROM events").await?;
        ensure!(
            events >= wanted * 1_000_000,
            "there are {events} events, not {wanted} million"
        );
        asked.extend(ask(&cluster, &sql).await?);
    }
    Ok(asked)
}

async fn ask(cluster: &Cluster, sql: &Sql) -> anyhow::Result<Vec<Asked>> {
    let events = sql.count("SELECT count() FROM events").await?;
    let mut asked = Vec::new();
    for path in QUESTIONS {
        let mut took = Vec::with_capacity(TIMES);
        for time in 0..TIMES {
            let id = format!("account-{:06}", time * 97 % ACCOUNTS as usize);
            let began = Instant::now();
            let (status, text) = cluster.get("api", &path.replace("{id}", &id)).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(status == 200, "{path} of {id} answered {status}: {text}");
        }
        took.sort_by(f64::total_cmp);
        asked.push(Asked {
            events,
            path,
            p50_ms: quantile::of_sorted(&took, 0.5),
            p99_ms: quantile::of_sorted(&took, 0.99),
        });
    }
    Ok(asked)
}

/// For people.
pub fn table(asked: &[Asked]) -> String {
    let mut text = String::from("| events | asked for | p50, ms | p99, ms |\n|---:|---|---:|---:|\n");
    for one in asked {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | `{}` | {:.1} | {:.1} |",
            one.events, one.path, one.p50_ms, one.p99_ms
        );
    }
    text
}
