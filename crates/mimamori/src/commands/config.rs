//! `mimamori config`

mod sample;

use std::path::Path;

use crate::cli::{ConfigCommand, Format};
use crate::config::{Config, ConfigError, Loaded};
use crate::output;

pub fn run(file: Option<&Path>, command: ConfigCommand, format: Option<Format>) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Show => show(file, format),
        ConfigCommand::Check(args) => {
            let mut loaded = Loaded::read(file)?;
            loaded.config.resolve_secrets()?;
            let model = loaded.check()?;
            let door = loaded.config.ingest.door();
            let door = door.map_err(|error| ConfigError(error.to_string()))?;
            if let Some(sample) = &args.sample {
                return sample::run(&loaded.config, &door, sample, args.source.as_deref(), format);
            }
            let found = serde_json::json!({ "ok": true, "model_hash": model.hash() });
            output::result(format, &found, || {
                format!("the configuration can be worked with (model {})", model.hash())
            })
        }
    }
}

fn show(file: Option<&Path>, format: Option<Format>) -> anyhow::Result<()> {
    let shown: Config = Loaded::read(file)?.config.masked();
    let text = toml::to_string(&shown)?;
    // It may be redirected into a file: TOML, unless JSON is asked for.
    output::result(format.or(Some(Format::Table)), &shown, || text)
}
