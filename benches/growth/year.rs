//! A year of inserts, as the worker sends them: each second a small part for each table. A month is as many
//! seconds as are asked for, so that parts and partitions come and go as in a year; what grows with the rows of a
//! month alone is not seen.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use benches::quantile;
use faults::cluster::{Cluster, Kafka, Role, Sql};
use serde::Serialize;

/// Accounts to whom things happen.
const ACCOUNTS: u64 = 10_000;
/// Of so many events of a second one account is evaluated.
const EVENTS_OF_AN_EVALUATION: u64 = 5;
/// How long merges may go on after a month before it is measured.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

/// A month of it.
#[derive(Debug, Serialize)]
pub struct Month {
    /// Counted from 1.
    month: u64,
    /// Rows of events so far.
    events: u64,
    /// An insert of events, milliseconds.
    insert_p50_ms: f64,
    insert_p99_ms: f64,
    /// Parts of all tables …
    parts: u64,
    /// … and of that partition of a table that has the most.
    most_parts: u64,
    /// Seconds of ClickHouse's processor time for a million events, evaluations and merges included.
    cpu_per_million: f64,
    /// The newest evaluation of each account that has one, milliseconds.
    newest_ms: f64,
    /// The last fifty events of an account, as the page asks for them, milliseconds.
    timeline_ms: f64,
}

/// Lives twelve months of so many seconds each, with so many events a second.
pub async fn measure(folder: &Path, seconds: u64, rate: u64) -> anyhow::Result<Vec<Month>> {
    let mut months = Vec::new();
    if seconds == 0 {
        return Ok(months);
    }
    std::fs::create_dir_all(folder)?;
    let mut cluster = Cluster::start(folder, Kafka::Embedded, "").await?;
    // It makes the tables.
    cluster.add(Role::Aggregate, "aggregate")?;
    cluster.wait_ready("aggregate").await?;
    let sql = cluster.sql();
    for month in 1..=12 {
        eprintln!("month {month} of 12");
        let before = cluster.clickhouse.cpu()?;
        let mut took = Vec::new();
        for second in 0..seconds {
            took.push(insert(&sql, month, second, seconds, rate).await?);
        }
        tokio::time::sleep(SETTLES_WITHIN).await;
        let used = cluster.clickhouse.cpu()?.saturating_sub(before);
        let parts = "SELECT count() FROM system.parts WHERE active AND database = currentDatabase()";
        let most = "SELECT max(parts) FROM (SELECT count() AS parts FROM system.parts \
                    WHERE active AND database = currentDatabase() GROUP BY table, partition)";
        let newest = "SELECT count(), avg(health) FROM account_scores_latest";
        let timeline = format!(
            "SELECT event_id, user_id, type, name, occurred_at, received_at, source, properties \
             FROM events WHERE account_id = 'account-000007' \
             AND occurred_at >= toDateTime64('2025-{month:02}-28', 3, 'UTC') - toIntervalDay(31) \
             ORDER BY occurred_at DESC, event_id LIMIT 1 BY event_id LIMIT 50 FORMAT Null"
        );
        took.sort_by(f64::total_cmp);
        let events = sql.count("SELECT count() FROM events").await?;
        ensure!(
            events == month * seconds * rate,
            "{events} rows of {} events",
            month * seconds * rate
        );
        months.push(Month {
            month,
            events,
            insert_p50_ms: quantile::of_sorted(&took, 0.5),
            insert_p99_ms: quantile::of_sorted(&took, 0.99),
            parts: sql.count(parts).await?,
            most_parts: sql.count(most).await?,
            cpu_per_million: used.as_secs_f64() / (seconds * rate) as f64 * 1e6,
            newest_ms: best_of(&sql, newest).await?,
            timeline_ms: best_of(&sql, &timeline).await?,
        });
    }
    Ok(months)
}

/// Inserts what a second brings; how long the events took, milliseconds.
async fn insert(sql: &Sql, month: u64, second: u64, seconds: u64, rate: u64) -> anyhow::Result<f64> {
    // The seconds of a month lie evenly in it.
    let at = format!(
        "toDateTime64('2025-{month:02}-01 00:00:00', 3, 'UTC') + toIntervalSecond({})",
        second * 28 * 86_400 / seconds
    );
    let first = (month * seconds + second) * rate;
    let events = format!(
        "INSERT INTO events SELECT concat(hex(cityHash64(number)), '-', toString(number)), \
         concat('account-', leftPad(toString(cityHash64(number, 1) % {ACCOUNTS}), 6, '0')) AS account, \
         concat('user-', toString(cityHash64(number, 2) % 10), '-', account), 'feature', \
         arrayElement(['report', 'export', 'share', 'search', 'import'], 1 + cityHash64(number, 3) % 5), \
         {at} + toIntervalMillisecond(number % 1000), {at} + toIntervalSecond(1), 'usage.events', \
         concat('{{\"duration_ms\":', toString(number % 900), ',\"device\":\"desktop\"}}'), \
         number % 16, number FROM numbers({first}, {rate})"
    );
    let began = Instant::now();
    sql.query(&events).await?;
    let took = began.elapsed();
    let evaluations = rate / EVENTS_OF_AN_EVALUATION;
    let whose = format!(
        "SELECT concat('account-', leftPad(toString(cityHash64(number, 4) % {ACCOUNTS}), 6, '0')) AS account_id, \
         {at} AS evaluated_at, number AS version, {at} AS watermark, number AS cut_offset"
    );
    let from = format!("FROM numbers({first}, {evaluations})");
    let scores = format!(
        "INSERT INTO scores_versions (account_id, evaluated_at, version, watermark, cut_offset, health, churn_risk, \
         confidence, band, stage, tier, drivers, model_hash) {whose}, cityHash64(number, 5) % 1000 / 10, \
         cityHash64(number, 6) % 1000 / 1000, 1, 'green', 'adoption', 'tech', \
         [('health', 'usage_trend', cityHash64(number, 7) % 1000 / 100, 1., -5.)], 'bench' {from}"
    );
    sql.query(&scores).await?;
    let metrics = format!(
        "INSERT INTO metrics_versions (account_id, evaluated_at, version, watermark, cut_offset, logins_1d, logins_7d, \
         logins_28d, usage_28d, stickiness, usage_trend) {whose}, number % 9, number % 50, number % 200, \
         cityHash64(number, 8) % 5000, cityHash64(number, 9) % 1000 / 1000, cityHash64(number, 9) % 200 / 100 {from}"
    );
    sql.query(&metrics).await?;
    let daily = format!(
        "INSERT INTO account_daily_versions (account_id, day, version, logins, events, active_users, feature_uses, \
         updated_at) SELECT account_id, toDate(evaluated_at), version, number % 5, number % 40, number % 7, \
         map('report', number % 11, 'export', number % 3), evaluated_at FROM ({whose}, number {from})"
    );
    sql.query(&daily).await?;
    Ok(took.as_secs_f64() * 1e3)
}

/// The quickest of some times that a question is asked, milliseconds.
async fn best_of(sql: &Sql, question: &str) -> anyhow::Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let began = Instant::now();
        sql.query(question).await?;
        best = best.min(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}

/// For people.
pub fn table(months: &[Month]) -> String {
    let mut text = String::new();
    if months.is_empty() {
        return text;
    }
    text.push_str(
        "| month | events | insert p50, ms | p99 | parts | of one partition | CPU-s per million | newest, ms | timeline, ms |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for month in months {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {} | {} | {:.1} | {:.1} | {:.1} |",
            month.month,
            month.events,
            month.insert_p50_ms,
            month.insert_p99_ms,
            month.parts,
            month.most_parts,
            month.cpu_per_million,
            month.newest_ms,
            month.timeline_ms
        );
    }
    text.push('\n');
    text
}
