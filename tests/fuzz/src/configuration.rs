//! The text of `mimamori.toml`.
//!
//! It is read, or refused in words that name the file; what passes the check makes a model that any account
//! can be evaluated with; what is shown of it can be read again and holds no secret.

use std::path::PathBuf;

use health::{Mode, Model, SegmentBaselines};
use serde_json::Value;

use crate::config::{Config, Loaded};
use crate::decode::RECEIVED_AT;
use crate::seeds;
use crate::wire::kind_of;

/// Secrets shorter than this may be part of something else.
const LEAST_SECRET: usize = 8;

/// A configuration, as TOML.
pub fn configuration(data: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(data) else {
        return "not text".to_string();
    };
    // Checking reads the files that a configuration names, and those of this machine are none of ours.
    if text.contains("file:") {
        return "names a file".to_string();
    }
    let loaded = match Loaded::layered(Some((PathBuf::from("mimamori.toml"), text.to_string()))) {
        Ok(loaded) => loaded,
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("mimamori.toml: "), "names no file: {error}");
            let what = error.lines().last().unwrap_or_default();
            return format!(
                "not read: {}",
                kind_of(what.split('`').next().unwrap_or_default())
            );
        }
    };
    let read: Config = toml::from_str(text).expect("it was read before");
    assert_eq!(plain(&read), plain(&loaded.config), "the layers changed it");
    check_shown(&loaded.config, text);
    match loaded.check() {
        Ok(model) => {
            evaluate(&model);
            "holds".to_string()
        }
        Err(error) => {
            let error = error.to_string();
            let field = error.split_once(": ").map_or("", |(_, behind)| behind);
            format!(
                "does not hold: {}",
                kind_of(field.split([':', '[']).next().unwrap_or_default())
            )
        }
    }
}

/// Evaluates the accounts that there are to be had.
pub(crate) fn evaluate(model: &Model) {
    for account in seeds::accounts() {
        let mut account = account.clone();
        for mode in [Mode::Live, Mode::Replay] {
            let segments = SegmentBaselines::default();
            let found = account.evaluate(RECEIVED_AT, mode, RECEIVED_AT, &segments, model);
            let scores = &found.scores;
            for score in [
                scores.health,
                scores.ttv,
                scores.activity,
                scores.adoption,
                scores.expansion,
            ] {
                assert!(
                    score.is_none_or(|score| (0.0..=100.0).contains(&score)),
                    "{scores:?}"
                );
            }
            assert!(
                scores.churn_risk.is_none_or(|risk| (0.0..=1.0).contains(&risk)),
                "{scores:?}"
            );
        }
    }
}

/// What `config show` prints is a configuration, the same but for its secrets.
fn check_shown(config: &Config, text: &str) {
    let masked = config.masked();
    let shown = toml::to_string(&masked).expect("a configuration can be shown");
    let again: Config = toml::from_str(&shown).unwrap_or_else(|error| panic!("{error}\n{shown}"));
    assert_eq!(plain(&again), plain(&masked), "shown as {shown}");

    let mut secrets = vec![&config.clickhouse.password];
    secrets.extend(
        config
            .alert
            .destinations
            .iter()
            .map(|destination| &destination.secret),
    );
    for secret in secrets {
        let stands_once = secret.len() >= LEAST_SECRET && text.matches(secret.as_str()).count() == 1;
        assert!(
            !stands_once || !shown.contains(secret.as_str()),
            "{secret:?} is shown"
        );
    }
}

fn plain(config: &Config) -> Value {
    serde_json::to_value(config).expect("a configuration is JSON")
}
