//! Everything that is derived is made anew from the events: after the states were lost, for another number
//! of partitions, and for a log that was lost or lost its end.

mod servers;

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::{Place, wait_for};
use tokio::io::{AsyncBufReadExt, BufReader};

use servers::{LONG, Role, Servers, answer, health, send, simulate, until};

/// What is derived, as sums over all rows: equal sums, equal rows. Only midnights among the evaluations;
/// the others depend on when they were made.
const DERIVED: [&str; 5] = [
    "SELECT count(), sum(cityHash64(account_id, day, logins, events, active_users, mapSort(feature_uses))) FROM account_daily",
    "SELECT count(), sum(cityHash64(toString(tuple(* EXCEPT updated_at)))) FROM accounts",
    "SELECT count(), sum(cityHash64(toString(tuple(* EXCEPT updated_at)))) FROM users",
    "SELECT count(), sum(cityHash64(toString(tuple(* EXCEPT (watermark, cut_offset))))) FROM account_metrics WHERE is_daily",
    "SELECT count(), sum(cityHash64(toString(tuple(* EXCEPT (watermark, cut_offset))))) FROM account_scores WHERE is_daily",
];

/// The workers' states and where they go on.
const STATES: &str = "
    SELECT (SELECT (count(), sum(cityHash64(partition, account_id, offset, state))) FROM account_state FINAL),
           (SELECT groupArray((partition, next_offset, watermark, partitions, accounts))
            FROM (SELECT * FROM checkpoints FINAL ORDER BY partition))";

/// Tables that hold nothing that does not follow from the events, and the states.
const FOLLOWS: [&str; 8] = [
    "account_state",
    "accounts_versions",
    "users_versions",
    "account_daily_versions",
    "metrics_versions",
    "scores_versions",
    "metrics_newest",
    "scores_newest",
];

/// Midnights without a row, and rows that do not know of all that happened before them.
const NOT_STATED: &str = "
    WITH happened AS
    (
        SELECT account_id, min(least(occurred_at, received_at)) AS first_at FROM events GROUP BY account_id
    )
    SELECT sum(toInt64(dateDiff('day', first_at, now64(3, 'UTC')))) -
           (SELECT count() FROM account_metrics WHERE is_daily)
    FROM happened";

async fn derived(place: &Place) -> anyhow::Result<Vec<String>> {
    let mut sums = Vec::new();
    for sql in DERIVED {
        sums.push(place.query(sql).await?);
    }
    Ok(sums)
}

async fn landed(place: &Place) -> anyhow::Result<i64> {
    place
        .count("SELECT uniqExact(account_id, event_id) FROM events")
        .await
}

async fn has_landed(place: &Place, expected: i64) -> anyhow::Result<()> {
    wait_for("all events in ClickHouse", LONG, || async {
        let landed = landed(place).await?;
        ensure!(landed == expected, "{landed} of {expected} events landed");
        Ok(Some(()))
    })
    .await
    .with_context(|| place.end_of_log())?;
    assert_eq!(place.count("SELECT count() FROM events FINAL").await?, expected);
    Ok(())
}

/// Waits until every account's past is stated and everything is saved.
async fn has_settled(place: &Place) -> anyhow::Result<()> {
    wait_for("every account's past", LONG, || async {
        let missing = place.count(NOT_STATED).await?;
        ensure!(missing <= 0, "{missing} midnights have no row");
        let lacks = "SELECT count() FROM (SELECT account_id FROM events GROUP BY account_id HAVING account_id NOT IN \
                     (SELECT account_id FROM account_scores_latest))";
        let lacks = place.count(lacks).await?;
        ensure!(lacks == 0, "{lacks} accounts have no scores");
        Ok(Some(()))
    })
    .await
}

/// Everything that is stored is what the events say, for every account.
async fn the_proof_holds(place: &Place) -> anyhow::Result<Value> {
    let url = format!("http://127.0.0.1:{}", place.clickhouse);
    let accounts = place.count("SELECT uniqExact(account_id) FROM events").await?;
    // What was folded last may still be on its way into the tables.
    wait_for("the proof", LONG, || async {
        let report = answer(place, "verify", &["--all", "--clickhouse-url", &url]).await?;
        assert_eq!(report["differences"], Value::Array(Vec::new()));
        assert_eq!(report["accounts"], accounts);
        assert_eq!(report["evaluations"], accounts, "{report}");
        assert_eq!(report["of_another_model"], 0);
        Ok(Some(report))
    })
    .await
}

/// No rule has two open episodes of an account, and no id stands for two changes. A worker that was killed
/// before it had saved that it told of a change tells of it again, in the same words under the same id.
async fn no_alert_is_doubled(place: &Place) -> anyhow::Result<()> {
    let doubled = "SELECT count() FROM
        (
            SELECT countIf(change = 'opened') - countIf(change IN ('resolved', 'retracted')) AS open
            FROM alerts GROUP BY account_id, rule HAVING open > 1
        )";
    assert_eq!(place.count(doubled).await?, 0, "episodes beside one that is open");
    let told = "SELECT count() - uniqExact(alert_id) FROM (SELECT DISTINCT * FROM alerts_versions)";
    assert_eq!(place.count(told).await?, 0, "ids of two changes");
    Ok(())
}

/// The same, and no change was told twice: all workers before were stopped, none was killed.
async fn nobody_is_told_twice(place: &Place) -> anyhow::Result<()> {
    no_alert_is_doubled(place).await?;
    let twice = "SELECT count() - uniqExact(alert_id) FROM alerts_versions";
    assert_eq!(place.count(twice).await?, 0, "changes told twice");
    Ok(())
}

/// Waits until every account was evaluated by a worker that began at or after this time.
async fn all_are_evaluated_since(place: &Place, since: &str) -> anyhow::Result<()> {
    wait_for("evaluations of now", LONG, || async {
        let behind = format!("SELECT count() FROM account_scores_latest WHERE evaluated_at <= '{since}'");
        let behind = place.count(&behind).await?;
        ensure!(behind == 0, "{behind} accounts were not evaluated since");
        Ok(Some(()))
    })
    .await
}

/// An event that is new counts once, one that was had not at all.
async fn events_count_once(servers: &Servers, aggregate: &Role, prefix: &str) -> anyhow::Result<()> {
    let place = &servers.place;
    let before = landed(place).await?;
    let accounts = place
        .query("SELECT account_id FROM accounts ORDER BY account_id")
        .await?;
    let accounts: Vec<&str> = accounts.lines().collect();
    let repeats = aggregate.metric("mimamori_aggregate_duplicates_total").await?;
    for _ in 0..2 {
        send(place, &accounts, 5, prefix).await?;
    }
    let sent = 5 * accounts.len();
    has_landed(place, before + sent as i64).await?;
    wait_for("the repeats", LONG, || async {
        let seen = aggregate.metric("mimamori_aggregate_duplicates_total").await? - repeats;
        ensure!(seen >= sent as f64, "{seen} of {sent} repeats were seen");
        Ok(Some(()))
    })
    .await?;
    has_landed(place, before + sent as i64).await?;
    the_proof_holds(place).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_were_lost_are_made_anew_whenever_it_is_killed_and_nobody_is_told_twice()
-> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let place = &servers.place;
    let settings = format!(
        "[aggregate]\nrebuild_accounts = 2\nrebuild_tasks = 2\n{}",
        health().await?
    );
    servers.configure(&settings)?;
    let ingest = servers.role("ingest").await?;
    let aggregate = servers.role("aggregate").await?;
    let sent = simulate(place, 11, &until()?).await?;
    let distinct = sent["distinct"].as_i64().context("a number")?;
    has_landed(place, distinct).await?;
    has_settled(place).await?;
    the_proof_holds(place).await?;
    wait_for("an alert", LONG, || async {
        Ok((place.count("SELECT count() FROM alerts").await? > 0).then_some(()))
    })
    .await?;
    let told = servers_refuse(&servers).await?;
    assert!(told.contains("stop the aggregate role first"), "{told}");
    aggregate.stop().await?;
    let before = derived(place).await?;

    // Everything but the events, the alerts and the checkpoints is lost.
    for table in FOLLOWS {
        place.query(&format!("TRUNCATE TABLE {table}")).await?;
    }
    let refusal = servers.refusal("aggregate").await?;
    assert!(refusal.contains("mimamori rebuild"), "{refusal}");

    kill_a_rebuild_midway(place).await?;
    let refusal = servers.refusal("aggregate").await?;
    assert!(refusal.contains("a rebuild is not finished"), "{refusal}");

    let rebuilt = answer(place, "rebuild", &["--yes"]).await?;
    assert_eq!(rebuilt["accounts"], sent["accounts"]);
    assert_eq!(rebuilt["events"], distinct);
    assert_eq!(rebuilt["detached"], 0);
    let now = rebuilt["accounts_now"].as_u64().context("a number")?;
    assert!(
        0 < now && now < sent["accounts"].as_u64().context("a number")?,
        "it went on where it was killed: {rebuilt}"
    );
    assert_eq!(derived(place).await?, before, "as the workers had made it");
    the_proof_holds(place).await?;

    // One run gives what the two gave.
    let states = place.query(STATES).await?;
    let rebuilt = answer(place, "rebuild", &["--yes"]).await?;
    assert_eq!(rebuilt["accounts_now"], sent["accounts"]);
    assert_eq!(derived(place).await?, before);
    assert_eq!(place.query(STATES).await?, states);

    // By another model, from some day on: all that is newest is of that one.
    servers.configure(&settings.replace("red_up_to = 50.0", "red_up_to = 40.0"))?;
    let from = place.query("SELECT today() - 10").await?;
    let rebuilt = answer(place, "rebuild", &["--yes", "--from", &from]).await?;
    assert_eq!(rebuilt["accounts_now"], sent["accounts"]);
    the_proof_holds(place).await?;
    let models = format!(
        "SELECT uniqExactIf(model_hash, evaluated_at < '{from}'), uniqExactIf(model_hash, evaluated_at >= '{from}'),
                uniqExact(model_hash) FROM account_scores WHERE is_daily"
    );
    assert_eq!(place.query(&models).await?, "1\t1\t2");

    let since = place.query("SELECT now64(3, 'UTC')").await?;
    let aggregate = servers.role("aggregate").await?;
    all_are_evaluated_since(place, &since).await?;
    nobody_is_told_twice(place).await?;
    events_count_once(&servers, &aggregate, "after").await?;
    nobody_is_told_twice(place).await?;
    aggregate.stop().await?;

    // A worker died while it landed: of what lies above a checkpoint, some has landed and some has not.
    let all = landed(place).await?;
    let torn = torn_landing(place).await?;
    let rebuilt = answer(place, "rebuild", &["--yes"]).await?;
    assert!(
        rebuilt["events"].as_i64() < Some(all - torn),
        "not what lies above: {rebuilt}"
    );
    assert_eq!(landed(place).await?, all - torn);
    the_proof_holds(place).await?;
    let aggregate = servers.role("aggregate").await?;
    has_landed(place, all).await?;
    the_proof_holds(place).await?;
    aggregate.kill().await?;
    ingest.kill().await
}

/// Sets the checkpoint of the fullest partition back, and takes away every other event that landed above it;
/// returns how many those were.
async fn torn_landing(place: &Place) -> anyhow::Result<i64> {
    let fullest = "SELECT partition, next_offset FROM checkpoints FINAL ORDER BY next_offset DESC LIMIT 1";
    let fullest = place.query(fullest).await?;
    let (partition, next_offset) = fullest.split_once('\t').context("two columns")?;
    let cut = next_offset.parse::<i64>()? - 200;
    place
        .query(&format!(
            "INSERT INTO checkpoints SELECT * REPLACE ({cut} AS next_offset, version + 1 AS version)
             FROM checkpoints FINAL WHERE partition = {partition}"
        ))
        .await?;
    let before = landed(place).await?;
    place
        .query(&format!(
            "ALTER TABLE events DELETE WHERE kafka_partition = {partition} AND kafka_offset >= {cut} AND kafka_offset % 2 = 0
             SETTINGS mutations_sync = 2"
        ))
        .await?;
    let torn = before - landed(place).await?;
    ensure!(torn > 50, "only {torn} events were taken away");
    Ok(torn)
}

/// What a rebuild says that is refused.
async fn servers_refuse(servers: &Servers) -> anyhow::Result<String> {
    let refused = answer(&servers.place, "rebuild", &["--yes", "--partitions", "24"]).await;
    let refused = refused.err().context("it should have been refused")?;
    Ok(format!("{refused:#}"))
}

/// Begins a rebuild and kills it when it is done with some accounts and not with others.
async fn kill_a_rebuild_midway(place: &Place) -> anyhow::Result<()> {
    let mut command = place.command("rebuild");
    command.args(["--yes", "--log", "info,aggregate=debug"]);
    let mut rebuild = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let stderr = rebuild.stderr.take().context("it is piped")?;
    let mut lines = BufReader::new(stderr).lines();
    let mut batches = 0;
    while batches < 3 {
        let line = tokio::time::timeout(LONG, lines.next_line()).await??;
        let line = line.context("it ended before it could be killed")?;
        batches += usize::from(line.contains("made anew"));
    }
    rebuild.kill().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_move_to_the_partitions_of_a_topic_that_has_grown() -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let place = &servers.place;
    let settings = health().await?;
    servers.configure(&settings)?;
    let ingest = servers.role("ingest").await?;
    let aggregate = servers.role("aggregate").await?;
    let until = until()?;
    let first = simulate(place, 11, &until).await?;
    has_landed(place, first["distinct"].as_i64().context("a number")?).await?;
    has_settled(place).await?;
    aggregate.stop().await?;

    // More comes in that nobody lands; its accounts are partly the same.
    let accepted = ingest.metric("mimamori_ingest_events_total").await?;
    let second = simulate(place, 12, &until).await?;
    let more = second["sent"].as_f64().context("a number")?;
    wait_for("all of it accepted", LONG, || async {
        let accepted = ingest.metric("mimamori_ingest_events_total").await? - accepted;
        ensure!(accepted >= more, "{accepted} of {more}");
        Ok(Some(()))
    })
    .await?;
    let refused = servers_refuse(&servers).await?;
    assert!(refused.contains("stop the ingest role first"), "{refused}");
    ingest.stop().await?;

    let before = landed(place).await?;
    let rebuilt = answer(place, "rebuild", &["--yes", "--partitions", "24"]).await?;
    let all = landed(place).await?;
    assert_eq!(rebuilt["landed"], all - before);
    assert!(all > before, "{rebuilt}");
    assert_eq!(rebuilt["events"], all);
    assert_eq!(rebuilt["aggregate_partitions"], 24);
    assert!(rebuilt["detached"].as_i64() > Some(0), "{rebuilt}");
    the_proof_holds(place).await?;
    let misplaced =
        "SELECT count() FROM account_state FINAL WHERE partition != kafkaMurmurHash(account_id) % 24";
    assert_eq!(place.count(misplaced).await?, 0);
    let doubled = "SELECT count() - uniqExact(account_id) FROM account_state FINAL";
    assert_eq!(place.count(doubled).await?, 0);

    servers.configure(&format!("[aggregate]\npartitions = 24\n{settings}"))?;
    let ingest = servers.role("ingest").await?;
    let aggregate = servers.role("aggregate").await?;
    // All of it once more changes nothing.
    let again = simulate(place, 11, &until).await?["sent"]
        .as_f64()
        .context("a number")?
        + simulate(place, 12, &until).await?["sent"]
            .as_f64()
            .context("a number")?;
    wait_for("the repeats", LONG, || async {
        let seen = aggregate.metric("mimamori_aggregate_duplicates_total").await?;
        ensure!(seen >= again, "{seen} of {again} repeats were seen");
        Ok(Some(()))
    })
    .await?;
    has_landed(place, all).await?;
    assert_eq!(aggregate.metric("mimamori_aggregate_events_total").await?, 0.0);
    the_proof_holds(place).await?;
    events_count_once(&servers, &aggregate, "after").await?;
    assert_eq!(place.count(misplaced).await?, 0);
    assert_eq!(place.count(doubled).await?, 0);
    no_alert_is_doubled(place).await?;
    aggregate.kill().await?;
    ingest.kill().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_end_and_grew_again_is_told_from_the_one_that_was_read() -> anyhow::Result<()> {
    let mut servers = Servers::start().await?;
    servers.configure(&health().await?)?;
    let ingest = servers.role("ingest").await?;
    let aggregate = servers.role("aggregate").await?;
    let sent = simulate(&servers.place, 11, &until()?).await?;
    let distinct = sent["distinct"].as_i64().context("a number")?;
    has_landed(&servers.place, distinct).await?;
    aggregate.stop().await?;
    ingest.stop().await?;
    let kept = servers.place.path("kept");
    servers.stop_kafka().await?;
    copy(&servers.log_folder(), &kept)?;

    // This stands at the log's end, is landed and folded …
    servers.start_kafka().await?;
    let ingest = servers.role("ingest").await?;
    let aggregate = servers.role("aggregate").await?;
    let accounts = servers.place.query("SELECT account_id FROM accounts").await?;
    let accounts: Vec<&str> = accounts.lines().collect();
    send(&servers.place, &accounts, 20, "lost").await?;
    let lost = 20 * accounts.len() as i64;
    has_landed(&servers.place, distinct + lost).await?;
    aggregate.stop().await?;
    ingest.stop().await?;

    // … and is gone from the log after a power cut. Other events come to stand in its place.
    servers.stop_kafka().await?;
    std::fs::remove_dir_all(servers.log_folder())?;
    copy(&kept, &servers.log_folder())?;
    servers.start_kafka().await?;
    let ingest = servers.role("ingest").await?;
    let accepted = ingest.metric("mimamori_ingest_events_total").await?;
    send(&servers.place, &accounts, 30, "anew").await?;
    let anew = 30 * accounts.len() as i64;
    wait_for("all of it accepted", LONG, || async {
        let accepted = ingest.metric("mimamori_ingest_events_total").await? - accepted;
        ensure!(accepted >= anew as f64, "{accepted} of {anew}");
        Ok(Some(()))
    })
    .await?;
    // The checkpoint lies below the end of the log, and yet it must not be gone on from.
    let refusal = servers.refusal("aggregate").await?;
    assert!(refusal.contains("lost its end"), "{refusal}");
    assert!(refusal.contains("mimamori rebuild"), "{refusal}");

    let place = &servers.place;
    let rebuilt = answer(place, "rebuild", &["--yes"]).await?;
    assert_eq!(
        rebuilt["detached"], lost,
        "all of what was lost, and nothing else: {rebuilt}"
    );
    assert_eq!(rebuilt["events"], distinct + lost);
    the_proof_holds(place).await?;
    let aggregate = servers.role("aggregate").await?;
    has_landed(place, distinct + lost + anew).await?;
    the_proof_holds(place).await?;
    events_count_once(&servers, &aggregate, "after").await?;
    aggregate.kill().await?;
    ingest.kill().await
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    let status = std::process::Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(to)
        .status()?;
    ensure!(status.success(), "cannot copy {}", from.display());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_lost_is_begun_anew_and_what_comes_then_counts() -> anyhow::Result<()> {
    let place = Place::new(&health().await?)?;
    let mut up = place.up().await?;
    let until = until()?;
    let sent = simulate(&place, 11, &until).await?;
    let distinct = sent["distinct"].as_i64().context("a number")?;
    has_landed(&place, distinct).await?;
    has_settled(&place).await?;
    let accounts = place.query("SELECT account_id FROM accounts").await?;
    let accounts: Vec<&str> = accounts.lines().collect();
    up.kill().await?;
    std::fs::remove_dir_all(place.path("data/kafka"))?;

    let data = place.path("data");
    let data = data.to_str().context("a plain path")?;
    let rebuilt = answer(&place, "rebuild", &["--yes", "--data-dir", data]).await?;
    assert_eq!(rebuilt["events"], distinct);
    assert_eq!(rebuilt["detached"], distinct, "{rebuilt}");

    // New events take the offsets that the old ones had; the old ones are sent again, too.
    let mut up = place.up().await?;
    the_proof_holds(&place).await?;
    send(&place, &accounts, 20, "after").await?;
    has_landed(&place, distinct + 20 * accounts.len() as i64).await?;
    simulate(&place, 11, &until).await?;
    let metrics = format!("http://127.0.0.1:{}/metrics", place.api);
    wait_for("the repeats", LONG, || async {
        let text = reqwest::get(&metrics).await?.text().await?;
        let repeats = text
            .lines()
            .find_map(|line| line.strip_prefix("mimamori_aggregate_duplicates_total "));
        let repeats: i64 = repeats.unwrap_or("0").parse()?;
        ensure!(repeats >= distinct, "{repeats} of {distinct} repeats were seen");
        Ok(Some(()))
    })
    .await?;
    has_landed(&place, distinct + 20 * accounts.len() as i64).await?;
    the_proof_holds(&place).await?;
    no_alert_is_doubled(&place).await?;
    up.kill().await?;
    Ok(())
}
