//! `mimamori verify`

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use store::{Store, StoreMetrics};
use verify::{Definition, Difference, Known, Receipt, Report, Rows, Scope, Verifier};

use crate::cli::{Format, VerifyArgs};
use crate::config::{ConfigError, Loaded};
use crate::output::{self, Progress};

/// Differences shown to people; JSON has all.
const SHOWN: usize = 50;

/// A receipt, and whether the events still give what it says.
#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    receipt: Receipt,
    differences: Vec<Difference>,
}

pub async fn run(file: Option<&Path>, args: VerifyArgs, format: Option<Format>) -> anyhow::Result<()> {
    let mut loaded = Loaded::read(file)?;
    if let Some(url) = args.clickhouse_url {
        loaded.config.clickhouse.url = url;
    }
    loaded.config.resolve_secrets()?;
    let model = loaded.check()?;
    let at = args.at.as_deref().map(|text| time("--at", text)).transpose()?;
    let known_at = args
        .known_at
        .as_deref()
        .map(|text| time("--known-at", text))
        .transpose()?;
    let metrics = StoreMetrics::register(&prometheus::Registry::new())?;
    let store = Store::new(loaded.config.clickhouse, metrics);
    store.ping().await?;
    let verifier = Verifier::new(store, Definition::of(model.config(), &model));

    if let (Some(account), Some(known_at)) = (&args.account, known_at) {
        let known = verifier
            .as_known(account, at.unwrap_or(known_at), known_at)
            .await?;
        return output::result(format, &known, || known_lines(&known));
    }
    let scope = match (args.account.clone(), args.sample) {
        (Some(account), _) => Scope::Account(account),
        (None, Some(count)) => Scope::Sample(count, args.seed),
        (None, None) => Scope::All,
    };
    let rows = match (args.every_row, at) {
        (true, _) => Rows::Every,
        (false, Some(at)) => Rows::At(at),
        (false, None) => Rows::Newest,
    };
    let receipt = match &args.account {
        Some(account) if args.receipt => Some(verifier.receipt(account, at).await?),
        _ => None,
    };
    let mut progress = Progress::new("accounts", false);
    let verified = verifier
        .verify(&scope, rows, &mut |done, total| {
            progress.set("accounts", done, total);
        })
        .await;
    progress.finish();
    let report = verified?;
    let count = report.differences.len();
    let nothing_compared = report.evaluations == 0 && report.of_another_model > 0;
    match receipt {
        Some(receipt) => {
            let checked = Checked {
                receipt,
                differences: report.differences,
            };
            output::result(format, &checked, || receipt_lines(&checked))?;
        }
        None => output::result(format, &report, || report_lines(&report))?,
    }
    match count {
        0 if nothing_compared => anyhow::bail!(
            "no evaluation could be compared: another configuration made them all; give the one that did with --config"
        ),
        0 => Ok(()),
        1 => anyhow::bail!("one stored value is not what the events say"),
        _ => anyhow::bail!("{count} stored values are not what the events say"),
    }
}

fn time(flag: &str, text: &str) -> Result<i64, ConfigError> {
    let parsed = text.parse::<Timestamp>().map_err(|error| {
        ConfigError(format!(
            "{flag} {text:?} is not RFC 3339 such as 2026-11-01T00:00:00Z: {error}"
        ))
    })?;
    Ok(parsed.as_millisecond())
}

fn report_lines(report: &Report) -> String {
    let mut lines = difference_lines(&report.differences);
    lines.push(format!(
        "{} accounts, {} evaluations, {} days: {} differences",
        report.accounts,
        report.evaluations,
        report.days,
        report.differences.len()
    ));
    if report.of_another_model > 0 {
        lines.push(format!(
            "{} evaluations were passed over: another configuration made them",
            report.of_another_model
        ));
    }
    lines.join("\n")
}

fn difference_lines(differences: &[Difference]) -> Vec<String> {
    let mut lines: Vec<String> = differences
        .iter()
        .take(SHOWN)
        .map(|one| {
            format!(
                "{}  {}  {}.{}: stored {}, events say {}",
                one.account_id, one.at, one.table, one.column, one.stored, one.recomputed
            )
        })
        .collect();
    if differences.len() > SHOWN {
        lines.push(format!(
            "… and {} more (all of them with --format json)",
            differences.len() - SHOWN
        ));
    }
    lines
}

fn receipt_lines(checked: &Checked) -> String {
    let receipt = &checked.receipt;
    let mut lines = vec![
        format!("{} at {}", receipt.account_id, receipt.evaluated_at),
        format!(
            "watermark {}, covers offsets up to {}, model {}",
            receipt.watermark, receipt.cut_offset, receipt.model_hash
        ),
    ];
    lines.extend(row_lines("scores", &receipt.scores));
    lines.extend(driver_lines(&receipt.contributions));
    lines.extend(row_lines("numbers", &receipt.inputs));
    lines.extend([
        "".to_string(),
        "sql".to_string(),
        receipt.sql.clone(),
        String::new(),
    ]);
    lines.extend(difference_lines(&checked.differences));
    lines.push(if checked.differences.is_empty() {
        "the events say the same".to_string()
    } else {
        format!("{} differences", checked.differences.len())
    });
    lines.join("\n")
}

fn known_lines(known: &Known) -> String {
    let mut lines = vec![format!(
        "{} at {}, as known at {}",
        known.account_id,
        output::time(known.at),
        output::time(known.known_at)
    )];
    lines.extend(row_lines("scores", &known.scores));
    lines.extend(driver_lines(&known.contributions));
    lines.extend(row_lines("numbers", &known.inputs));
    lines.join("\n")
}

fn row_lines(title: &str, row: &serde_json::Map<String, Value>) -> Vec<String> {
    let mut lines = vec![String::new(), title.to_string()];
    lines.extend(row.iter().map(|(name, value)| match value {
        Value::Null => format!("  {name:<30} unknown"),
        Value::String(text) => format!("  {name:<30} {text}"),
        other => format!("  {name:<30} {other}"),
    }));
    lines
}

fn driver_lines(drivers: &Value) -> Vec<String> {
    let mut lines = vec![String::new(), "drivers".to_string()];
    for driver in drivers.as_array().into_iter().flatten() {
        let text = |field: &str| driver[field].as_str().unwrap_or_default().to_string();
        let points = driver["points"].as_f64().unwrap_or_default();
        let baseline = match &driver["baseline"] {
            Value::Null => String::new(),
            usual => format!(" (usually {usual})"),
        };
        lines.push(format!(
            "  {:<11} {:<28} {points:>+9.3}  {}{baseline}",
            text("score"),
            text("input"),
            driver["value"]
        ));
    }
    lines
}
