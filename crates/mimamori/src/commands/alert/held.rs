//! `mimamori alert held`

use std::path::Path;

use serde_json::{Value, json};
use store::{HeldCount, HoldEnd, HoldRow, tripped_names};

use crate::cli::{Format, HeldCommand, HeldEndArgs, HeldListArgs};
use crate::commands::keys::store;
use crate::commands::rejected::text::visible;
use crate::commands::wall_ms;
use crate::output;

pub async fn run(file: Option<&Path>, command: HeldCommand, format: Option<Format>) -> anyhow::Result<()> {
    match command {
        HeldCommand::List(args) => list(file, args, format).await,
        HeldCommand::Release(args) => end(file, args, format, HoldEnd::Released).await,
        HeldCommand::Drop(args) => end(file, args, format, HoldEnd::Dropped).await,
    }
}

/// Alerts that wait for the end of `hold`.
fn waiting(hold: &HoldRow, counts: &[HeldCount]) -> u64 {
    let reason = hold.reason();
    let of_hold = counts.iter().filter(|count| count.reason == reason);
    of_hold.map(|count| count.alerts).sum()
}

async fn list(file: Option<&Path>, args: HeldListArgs, format: Option<Format>) -> anyhow::Result<()> {
    let store = store(file, args.clickhouse_url).await?;
    let counts = store.held_counts(None).await?;
    let mut holds = store.holds().await?;
    holds.retain(|hold| hold.is_tripped() || waiting(hold, &counts) > 0);
    let told: Vec<Value> = holds.iter().map(|hold| shown(hold, &counts)).collect();
    output::result(format, &told, || table(&holds, &counts))
}

async fn end(
    file: Option<&Path>,
    args: HeldEndArgs,
    format: Option<Format>,
    end: HoldEnd,
) -> anyhow::Result<()> {
    let store = store(file, args.clickhouse_url).await?;
    let holds = store.holds().await?;
    let meant = tripped_names(&holds, &args.name);
    let [name] = meant.as_slice() else {
        let tripped: Vec<&str> = holds
            .iter()
            .filter(|hold| hold.is_tripped())
            .map(|hold| hold.name.as_str())
            .collect();
        anyhow::bail!(
            "{:?} {}; what has tripped: {}",
            args.name,
            if meant.is_empty() {
                "has not tripped"
            } else {
                "is more than one name"
            },
            if tripped.is_empty() {
                "nothing".to_owned()
            } else {
                tripped.join(", ")
            }
        );
    };
    let counts = store.held_counts(None).await?;
    let ended = store.end_holds(name, end, wall_ms()).await?;
    let told: Vec<Value> = ended.iter().map(|hold| shown(hold, &counts)).collect();
    output::result(format, &told, || {
        let alerts: u64 = ended.iter().map(|hold| waiting(hold, &counts)).sum();
        match end {
            HoldEnd::Released => {
                format!("{name} is released: {alerts} alerts are told, but what is over meanwhile")
            }
            HoldEnd::Dropped => format!("{name} is dropped: {alerts} alerts are told to nobody"),
        }
    })
}

fn shown(hold: &HoldRow, counts: &[HeldCount]) -> Value {
    json!({
        "hold_id": hold.hold_id, "name": hold.name, "status": hold.status, "since": output::time(hold.since),
        "at": output::time(hold.at), "accounts": hold.accounts, "accounts_total": hold.accounts_total,
        "destinations": hold.destinations, "alerts": waiting(hold, counts),
        "summary": serde_json::from_str::<Value>(&hold.summary).ok(),
    })
}

fn table(holds: &[HoldRow], counts: &[HeldCount]) -> String {
    if holds.is_empty() {
        return "nothing is held".to_owned();
    }
    let mut lines = vec![format!(
        "{:<32}  {:<9}  {:<24}  {:>13}  {:>7}  {}",
        "name", "status", "since", "accounts", "alerts", "destinations"
    )];
    lines.extend(holds.iter().map(|hold| {
        format!(
            "{:<32}  {:<9}  {:<24}  {:>13}  {:>7}  {}",
            visible(&hold.name),
            hold.status,
            output::time(hold.since),
            format!("{} of {}", hold.accounts, hold.accounts_total),
            waiting(hold, counts),
            hold.destinations.join(", ")
        )
    }));
    lines.join("\n")
}
