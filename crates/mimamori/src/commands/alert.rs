//! `mimamori alert`: the role, and what looks after its destinations.
//!
//! `dead` and `held` speak to ClickHouse alone; the alert role that runs sees there what was asked for.

mod dead;
mod held;

use std::path::Path;

use alert::{Language, Trial, TrialError};
use anyhow::bail;

use super::role;
use crate::cli::{AlertArgs, AlertCommand, AlertTestArgs, Format, MessageLanguage};
use crate::config::{ConfigError, Loaded};
use crate::output;
use crate::roles::Role;

pub async fn run(file: Option<&Path>, args: AlertArgs, format: Option<Format>) -> anyhow::Result<()> {
    match args.command {
        None => role(Role::Alert, file, &args.role).await,
        Some(AlertCommand::Test(args)) => test(file, args, format).await,
        Some(AlertCommand::Dead(command)) => dead::run(file, command, format).await,
        Some(AlertCommand::Held(command)) => held::run(file, command, format).await,
    }
}

async fn test(file: Option<&Path>, args: AlertTestArgs, format: Option<Format>) -> anyhow::Result<()> {
    let config = Loaded::read(file)?.config.alert;
    let language = args.language.map(|language| match language {
        MessageLanguage::En => Language::En,
        MessageLanguage::Ja => Language::Ja,
        MessageLanguage::Both => Language::Both,
    });
    let tried = match alert::trial(&config, &args.destination, language).await {
        Ok(tried) => tried,
        Err(error @ (TrialError::Config(_) | TrialError::Unknown { .. })) => {
            return Err(ConfigError(error.to_string()).into());
        }
        Err(error) => return Err(error.into()),
    };
    output::result(format, &tried, || lines(&tried))?;
    if !tried.delivered {
        bail!(
            "the sample did not arrive at {}: {}",
            tried.destination,
            tried.error
        );
    }
    Ok(())
}

/// What was sent and what came back, for people.
fn lines(tried: &Trial) -> String {
    let mut lines = vec![
        format!(
            "destination  {} ({} at {})",
            tried.destination, tried.kind, tried.host
        ),
        format!("sample       {}", tried.alert_id),
    ];
    let status = tried
        .http_status
        .map_or_else(String::new, |status| format!(", HTTP {status}"));
    let came_back = if tried.delivered {
        "delivered"
    } else {
        "not delivered"
    };
    lines.push(format!(
        "came back    {came_back}{status}, after {} ms",
        tried.duration_ms
    ));
    if !tried.error.is_empty() {
        lines.push(format!("error        {}", tried.error));
    }
    if !tried.reference.is_empty() {
        lines.push(format!("called there {}", tried.reference));
    }
    for sent in &tried.sent {
        let shown = serde_json::to_string_pretty(sent).unwrap_or_default();
        lines.push(format!("\nsent\n{shown}"));
    }
    // A receiver's answer may hold what a terminal would obey.
    let told = lines.join("\n");
    told.chars()
        .filter(|letter| *letter == '\n' || !letter.is_control())
        .collect()
}
