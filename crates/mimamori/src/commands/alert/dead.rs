//! `mimamori alert dead`

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::bail;
use serde_json::{Value, json};
use store::{DeadLetter, DeadLetterQuery, DeliveryRow, Replay, ReplayedDelivery};

use crate::cli::{DeadCommand, DeadFilterArgs, DeadListArgs, DeadReplayArgs, DeadShowArgs, Format};
use crate::commands::keys::store;
use crate::commands::rejected::filter;
use crate::commands::rejected::text::{excerpt, visible, visible_lines};
use crate::commands::wall_ms;
use crate::config::ConfigError;
use crate::output;

/// Characters of an error that are listed at most; `show` has all.
const ERROR: usize = 100;

pub async fn run(file: Option<&Path>, command: DeadCommand, format: Option<Format>) -> anyhow::Result<()> {
    match command {
        DeadCommand::List(args) => list(file, args, format).await,
        DeadCommand::Show(args) => show(file, args, format).await,
        DeadCommand::Replay(args) => replay(file, args, format).await,
    }
}

fn query(filter: DeadFilterArgs, limit: u32) -> Result<DeadLetterQuery, ConfigError> {
    Ok(DeadLetterQuery {
        since: filter::time("--since", filter.since.as_deref(), wall_ms())?,
        destination: filter.destination,
        rule: filter.rule,
        account_id: filter.account,
        alert_id: None,
        limit,
    })
}

async fn list(file: Option<&Path>, args: DeadListArgs, format: Option<Format>) -> anyhow::Result<()> {
    let query = query(args.filter, args.limit)?;
    let (letters, total) = store(file, args.clickhouse_url)
        .await?
        .dead_letters(&query)
        .await?;
    let told = json!({
        "dead_letters": letters.iter().map(letter).collect::<Vec<_>>(),
        "total": total,
    });
    output::result(format, &told, || table(&letters, total))
}

fn letter(letter: &DeadLetter) -> Value {
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    json!({
        "alert_id": letter.alert_id, "destination": letter.destination, "attempts": letter.attempt,
        "http_status": letter.http_status, "at": output::time(letter.at), "error": letter.error,
        "episode_id": letter.episode_id, "account_id": known(&letter.account_id), "rule": known(&letter.rule),
        "change": known(&letter.change), "replayable": letter.replayable,
    })
}

fn table(letters: &[DeadLetter], total: u64) -> String {
    if letters.is_empty() {
        return "there is no such dead letter".to_owned();
    }
    let mut lines = vec![format!(
        "{:<24}  {:<16}  {:<36}  {:<20}  {:<20}  {:>8}  {}",
        "given up", "destination", "alert", "account", "rule", "attempts", "error"
    )];
    lines.extend(letters.iter().map(|letter| {
        format!(
            "{:<24}  {:<16}  {:<36}  {:<20}  {:<20}  {:>8}  {}",
            output::time(letter.at),
            letter.destination,
            visible(&letter.alert_id),
            visible(&letter.account_id),
            visible(&letter.rule),
            letter.attempt,
            excerpt(letter.error.as_bytes(), ERROR)
        )
    }));
    if total > letters.len() as u64 {
        lines.push(format!("{} of {total}; --limit shows more", letters.len()));
    }
    lines.join("\n")
}

async fn show(file: Option<&Path>, args: DeadShowArgs, format: Option<Format>) -> anyhow::Result<()> {
    let rows = store(file, args.clickhouse_url)
        .await?
        .deliveries_of(&args.alert_id)
        .await?;
    let body = rows.iter().rev().find(|row| !row.body.is_empty());
    let body: Option<Value> = body.and_then(|row| serde_json::from_str(&row.body).ok());
    if rows.is_empty() {
        bail!(
            "no delivery of alert {:?} is known: mimamori alert dead list tells the ids",
            args.alert_id
        );
    }
    let told = json!({
        "alert_id": args.alert_id,
        "attempts": rows.iter().map(attempt).collect::<Vec<_>>(),
        "body": body,
    });
    output::result(format, &told, || {
        let mut lines = vec![format!(
            "{:<24}  {:<16}  {:>7}  {:<10}  {:>6}  {}",
            "at", "destination", "attempt", "status", "answer", "error"
        )];
        lines.extend(rows.iter().map(|row| {
            format!(
                "{:<24}  {:<16}  {:>7}  {:<10}  {:>6}  {}",
                output::time(row.at),
                row.destination,
                row.attempt,
                row.status,
                row.http_status
                    .map_or_else(|| "-".to_owned(), |status| status.to_string()),
                visible(&row.error)
            )
        }));
        let body = body
            .as_ref()
            .and_then(|body| serde_json::to_string_pretty(body).ok());
        lines.push(body.map_or_else(
            || "\nits body was not kept".to_owned(),
            |body| format!("\n{}", visible_lines(&body)),
        ));
        lines.join("\n")
    })
}

fn attempt(row: &DeliveryRow) -> Value {
    json!({
        "destination": row.destination, "attempt": row.attempt, "status": row.status,
        "http_status": row.http_status, "at": output::time(row.at), "duration_ms": row.duration_ms, "error": row.error,
        "next_attempt_at": row.next_attempt_at.map(output::time),
    })
}

async fn replay(file: Option<&Path>, args: DeadReplayArgs, format: Option<Format>) -> anyhow::Result<()> {
    let query = query(args.filter, 0)?;
    let store = store(file, args.clickhouse_url).await?;
    let now = wall_ms();
    let deliveries = if args.all {
        store.replay_all(&query, now).await?
    } else {
        store
            .replay(&args.alert_ids, query.destination.as_deref(), now)
            .await?
    };
    let found: BTreeSet<&str> = deliveries
        .iter()
        .map(|delivery| delivery.alert_id.as_str())
        .collect();
    let unknown: Vec<&String> = args
        .alert_ids
        .iter()
        .filter(|id| !found.contains(id.as_str()))
        .collect();
    let replayed = deliveries
        .iter()
        .filter(|delivery| delivery.outcome.is_under_way())
        .count();
    let told = json!({ "deliveries": deliveries, "unknown": unknown, "replayed": replayed });
    output::result(format, &told, || outcomes(&deliveries, &unknown, replayed))?;
    // An alert that was named, and that other destinations have, is on its way all the same.
    let missing = args
        .alert_ids
        .iter()
        .filter(|id| {
            let mut of_alert = deliveries.iter().filter(|delivery| delivery.alert_id == **id);
            !of_alert.any(|delivery| delivery.outcome.is_under_way())
        })
        .count();
    let refused = deliveries.len() - replayed;
    if missing > 0 || (args.all && refused > 0) {
        let count = if args.all { refused } else { missing };
        bail!("{count} of what was asked for could not be replayed");
    }
    Ok(())
}

fn outcomes(deliveries: &[ReplayedDelivery], unknown: &[&String], replayed: usize) -> String {
    let words = |outcome| match outcome {
        Replay::Replayed => "is tried again",
        Replay::Waiting => "waits for its next attempt already",
        Replay::Delivered => "not replayed: the receiver has it",
        Replay::Overtaken => "not replayed: the receiver has a later change of its episode",
        Replay::NoBody => "not replayed: its body was not kept",
        Replay::NotFailed => "not replayed: it did not fail, it is held, suppressed or the like",
    };
    let mut lines: Vec<String> = deliveries
        .iter()
        .map(|delivery| {
            format!(
                "{:<36}  {:<16}  {}",
                visible(&delivery.alert_id),
                delivery.destination,
                words(delivery.outcome)
            )
        })
        .collect();
    lines.extend(
        unknown
            .iter()
            .map(|id| format!("{:<36}  no delivery of it is known", visible(id))),
    );
    lines.push(format!("{replayed} on their way"));
    lines.join("\n")
}
