//! Logs: for people on a terminal, JSON otherwise, always on standard error.

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging by `filter`; one that cannot be understood is told and replaced by `info`.
pub fn start(filter: &str) {
    let (parsed, problem) = match filter.parse::<Targets>() {
        Ok(parsed) => (parsed, None),
        Err(error) => (Targets::new().with_default(LevelFilter::INFO), Some(error)),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() {
        lines.boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(parsed))
        .init();
    if let Some(error) = problem {
        tracing::warn!(filter, %error, "--log cannot be understood, logging at info");
    }
}
