//! Logs: for people on a terminal, JSON otherwise, always on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging by `filter`; one that cannot be understood is told and replaced by `info`.
pub fn start(filter: &str) {
    let (parsed, problem) = match EnvFilter::try_new(filter) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        logs.with_target(true).init();
    } else {
        logs.json().flatten_event(true).init();
    }
    if let Some(error) = problem {
        tracing::warn!(filter, %error, "--log cannot be understood, logging at info");
    }
}
