//! `mimamori alert dead` and `mimamori alert held`: what was not delivered, and the word that it waits for.
//!
//! These commands speak to ClickHouse alone; the alert role that runs sees there what was asked for.

mod dead;
mod held;

use std::path::Path;

use crate::cli::{AlertCommand, Format};

pub async fn run(file: Option<&Path>, command: AlertCommand, format: Option<Format>) -> anyhow::Result<()> {
    match command {
        AlertCommand::Dead(command) => dead::run(file, command, format).await,
        AlertCommand::Held(command) => held::run(file, command, format).await,
    }
}
