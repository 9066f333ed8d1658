//! The demo: synthetic customers, their history at the first start and their lives from there on.
//!
//! A file in the data folder says which customers they are. While it says that their history is not
//! complete, a start sends all of it again: the ids are the same, so nothing counts twice.

use std::path::{Path, PathBuf};

use anyhow::Context;
use health::{HealthConfig, MilestoneConfig};
use serde::{Deserialize, Serialize};
use stream::{KafkaConfig, Producer, topics};
use tokio::sync::watch;
use tracing::info;

use crate::output::Progress;

/// Events a second while the demo goes on, as a multiple of what such customers would do.
const LIVE_SPEED: f64 = 10.0;

/// By which day of onboarding each milestone of the synthetic customers is expected.
const EXPECTED_DAYS: [f64; 5] = [1.0, 3.0, 7.0, 10.0, 14.0];

/// What the data folder knows of its demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    accounts: usize,
    months: u32,
    seed: u64,
    until_ms: i64,
    complete: bool,
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("demo.json")
}

impl Demo {
    /// The demo of this data folder, if it has had one.
    pub fn find(data_dir: &Path) -> anyhow::Result<Option<Demo>> {
        let path = file(data_dir);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let demo =
            serde_json::from_str(&text).with_context(|| format!("{} is not a demo's", path.display()))?;
        Ok(Some(demo))
    }

    /// A new one whose history ends now.
    pub fn begin(data_dir: &Path, now_ms: i64) -> anyhow::Result<Demo> {
        let simulated = simulate::Config::demo(now_ms);
        let demo = Demo {
            accounts: simulated.accounts,
            months: simulated.months,
            seed: simulated.seed,
            until_ms: now_ms,
            complete: false,
        };
        demo.save(data_dir)?;
        Ok(demo)
    }

    fn save(&self, data_dir: &Path) -> anyhow::Result<()> {
        let path = file(data_dir);
        let beside = path.with_extension("json.new");
        let text = serde_json::to_string_pretty(self)?;
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    fn simulated(&self) -> simulate::Config {
        simulate::Config {
            accounts: self.accounts,
            months: self.months,
            seed: self.seed,
            ..simulate::Config::demo(self.until_ms)
        }
    }

    /// Sends the history, unless it was sent, and then what happens from there on.
    pub async fn run(
        mut self,
        data_dir: PathBuf,
        kafka: KafkaConfig,
        shutdown: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let producer = Producer::new(&kafka)?;
        let config = self.simulated();
        let mut simulation = simulate::simulate(&config)?;
        if !self.complete {
            let mut progress = Progress::new("customers' history", false);
            let mut tell = |done, total| progress.set("customers' history", done, total);
            let sent = simulate::send(
                &mut simulation,
                &producer,
                topics::RAW,
                None,
                &mut tell,
                shutdown.clone(),
            );
            let summary = sent.await?;
            progress.finish();
            if !summary.complete {
                return Ok(());
            }
            info!(
                records = summary.sent,
                accounts = summary.accounts,
                "the customers' history is sent"
            );
            let truth = data_dir.join("truth.csv");
            simulate::write_truth(&truth, simulation.truth())
                .with_context(|| format!("cannot write {}", truth.display()))?;
            self.complete = true;
            self.save(&data_dir)?;
        }
        let mut live = simulate::live(&config, self.until_ms)?.with_speed(LIVE_SPEED);
        simulate::send_live(
            &mut live,
            &producer,
            topics::RAW,
            crate::commands::wall_ms,
            shutdown,
        )
        .await?;
        Ok(())
    }
}

/// What is expected of the synthetic customers: their product's features and milestones.
pub fn health() -> HealthConfig {
    let milestones = simulate::MILESTONES.iter().zip(EXPECTED_DAYS);
    let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    HealthConfig {
        timezone: "Asia/Tokyo".to_string(),
        key_features: owned(&simulate::KEY_FEATURES),
        advanced_features: owned(&simulate::ADVANCED_FEATURES),
        sticky_actions: owned(&simulate::STICKY_ACTIONS),
        value_event: simulate::VALUE_EVENT.to_string(),
        milestones: milestones
            .map(|(name, expected_days)| MilestoneConfig {
                name: name.to_string(),
                expected_days,
            })
            .collect(),
        ..HealthConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Demo::find(folder.path()).unwrap().is_none());
        let begun = Demo::begin(folder.path(), 1_795_309_323_004).unwrap();
        let found = Demo::find(folder.path()).unwrap().unwrap();
        assert_eq!(found.simulated(), begun.simulated());
        assert!(!found.complete);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(file(folder.path()), "{").unwrap();
        let error = Demo::find(folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains("demo.json"), "{error:#}");
    }

    #[test]
    fn what_is_expected_of_the_customers_passes_the_models_check() {
        health::Model::new(health()).unwrap();
    }
}
