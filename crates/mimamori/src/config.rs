//! The configuration: built-in defaults < `mimamori.toml` < environment `MIMAMORI__SECTION__KEY` <
//! flags. A key that nobody knows is an error.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::locate::locate;

/// Looked for when no file is named.
const DEFAULT_FILE: &str = "mimamori.toml";

/// Everything that can be configured; each section is described where it is used.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub kafka: stream::KafkaConfig,
    pub clickhouse: store::ClickHouseConfig,
    pub embedded: EmbeddedConfig,
    pub health: health::HealthConfig,
    pub ingest: ingest::Config,
    pub aggregate: aggregate::Config,
    pub alert: alert::Config,
    pub api: api::Config,
    pub collector: api::CollectorConfig,
}

/// Section `[embedded]`: the engines that `up` starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// Folder of their data. Default `./mimamori-data`.
    pub data_dir: PathBuf,
    /// Where the Kafka log listens. Default `127.0.0.1:9092`.
    pub kafka_listen: SocketAddr,
    /// Milliseconds between two syncs of the Kafka log to the disk, which is what a power cut can
    /// cost; 0 syncs before every acknowledgement. Default 1000.
    pub kafka_fsync_ms: u64,
    /// Hours for which the Kafka log keeps records; 0 keeps them for good. Default 168.
    pub kafka_retention_hours: u64,
    /// Bytes that the Kafka log keeps of a partition; 0 is no bound. Default 0.
    pub kafka_retention_bytes: u64,
    /// Where ClickHouse listens. Default `127.0.0.1:8123`.
    pub clickhouse_listen: SocketAddr,
    /// Most memory that ClickHouse takes, in bytes. Default 2147483648.
    pub clickhouse_max_memory_bytes: u64,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        EmbeddedConfig {
            data_dir: PathBuf::from("./mimamori-data"),
            kafka_listen: SocketAddr::from(([127, 0, 0, 1], 9092)),
            kafka_fsync_ms: 1_000,
            kafka_retention_hours: 168,
            kafka_retention_bytes: 0,
            clickhouse_listen: SocketAddr::from(([127, 0, 0, 1], 8123)),
            clickhouse_max_memory_bytes: 2 << 30,
        }
    }
}

/// The configuration cannot be read or worked with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// A configuration, and what of it somebody has set.
pub struct Loaded {
    pub config: Config,
    /// Whether `kafka.brokers` was set by file, environment or flag.
    pub names_brokers: bool,
    /// Whether `clickhouse.url` was.
    pub names_clickhouse: bool,
    /// Whether anything of `[health]` was.
    pub names_health: bool,
    /// The file and its text.
    file: Option<(PathBuf, String)>,
}

impl Loaded {
    /// Reads file and environment; the flags are the caller's to add.
    ///
    /// # Errors
    /// Names the file with line and column, or the variable.
    pub fn read(file: Option<&Path>) -> Result<Loaded, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let Some(file) = file.or_else(|| default.is_file().then_some(default)) else {
            return Loaded::layered(None);
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError(format!("cannot read {}: {error}", file.display())))?;
        Loaded::layered(Some((file.to_path_buf(), text)))
    }

    /// Lays the environment over the file's text, if there is a file.
    pub fn layered(file: Option<(PathBuf, String)>) -> Result<Loaded, ConfigError> {
        let mut layers = config::Config::builder();
        if let Some((file, text)) = &file {
            // Read on its own first: this error knows the line and the column.
            let in_file = |error: toml::de::Error| {
                ConfigError(format!("{}: {}", file.display(), error.to_string().trim_end()))
            };
            toml::from_str::<Config>(text).map_err(in_file)?;
            // The layers hold whole numbers of 63 bits.
            toml::from_str::<toml::Table>(text).map_err(in_file)?;
            layers = layers.add_source(config::File::from_str(text, config::FileFormat::Toml));
        }
        let environment = config::Environment::with_prefix("MIMAMORI")
            .prefix_separator("__")
            .separator("__");
        layers = layers.add_source(environment.try_parsing(true));
        let from_environment = |error: config::ConfigError| {
            ConfigError(format!("environment variables MIMAMORI__SECTION__KEY: {error}"))
        };
        let layered = layers.build().map_err(from_environment)?;
        let names = |key: &str| layered.get::<config::Value>(key).is_ok();
        let (names_brokers, names_clickhouse) = (names("kafka.brokers"), names("clickhouse.url"));
        let names_health = names("health");
        let config: Config = layered.try_deserialize().map_err(from_environment)?;
        Ok(Loaded {
            config,
            names_brokers,
            names_clickhouse,
            names_health,
            file,
        })
    }

    /// Checks what can be checked without any server.
    ///
    /// # Errors
    /// Names the field, where it stands in the file, and what would be right.
    pub fn check(&self) -> Result<health::Model, ConfigError> {
        self.config.check().map_err(|ConfigError(message)| {
            let place = self.file.as_ref().and_then(|(file, text)| {
                let (path, _) = message.split_once(": ")?;
                let (line, column) = locate(text, path)?;
                Some(format!("{}, line {line}, column {column}: ", file.display()))
            });
            ConfigError(place.unwrap_or_default() + &message)
        })
    }
}

impl Config {
    /// Reads the secrets that are given as `file:PATH` and that no worker reads itself.
    pub fn resolve_secrets(&mut self) -> Result<(), ConfigError> {
        if let Some(path) = self.clickhouse.password.strip_prefix("file:") {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError(format!("clickhouse.password: cannot read {path}: {error}")))?;
            self.clickhouse.password = text.trim_end().to_string();
        }
        Ok(())
    }

    /// The topics that the roles work between.
    pub fn topics(&self) -> Vec<stream::TopicSpec> {
        let mut topics = stream::topics::all(self.aggregate.partitions);
        for topic in &mut topics {
            if topic.name == stream::topics::RAW {
                topic.name.clone_from(&self.ingest.topic);
            }
        }
        topics
    }

    /// Checks what can be checked without any server.
    ///
    /// # Errors
    /// Names the field and what would be right.
    pub fn check(&self) -> Result<health::Model, ConfigError> {
        self.kafka
            .validate()
            .map_err(|error| ConfigError(error.to_string()))?;
        self.ingest
            .validate()
            .map_err(|error| ConfigError(error.to_string()))?;
        if let Some(problem) = self.clickhouse.problem() {
            return Err(ConfigError(problem));
        }
        let (insert, session) = (
            self.clickhouse.insert_timeout_seconds,
            self.kafka.session_timeout_ms,
        );
        if insert.saturating_mul(1000) >= session {
            return Err(ConfigError(format!(
                "clickhouse.insert_timeout_seconds: {insert} s is not shorter than kafka.session_timeout_ms \
                 ({session} ms): a worker that loses its partitions could still be writing when the next one \
                 owns them; give less, or a longer session"
            )));
        }
        if let Some(problem) = self.aggregate.problem() {
            return Err(ConfigError(problem));
        }
        self.api
            .validate()
            .map_err(|error| ConfigError(error.to_string()))?;
        if let Some(problem) = self.collector.problem() {
            return Err(ConfigError(problem));
        }
        self.alert
            .validate()
            .map_err(|error| ConfigError(error.to_string()))?;
        let model =
            health::Model::new(self.health.clone()).map_err(|error| ConfigError(error.to_string()))?;
        let rules: Vec<_> = model.rules().collect();
        self.alert
            .check_rules(&rules)
            .map_err(|error| ConfigError(error.to_string()))?;
        Ok(model)
    }

    /// The configuration with its secrets masked, for people to see.
    pub fn masked(&self) -> Config {
        const MASK: &str = "***";
        let mask = |secret: &mut String| {
            if !secret.is_empty() && !secret.starts_with("file:") {
                *secret = MASK.to_string();
            }
        };
        let mut masked = self.clone();
        mask(&mut masked.clickhouse.password);
        for (name, value) in &mut masked.kafka.properties {
            if stream::is_secret_property(name) {
                mask(value);
            }
        }
        for destination in &mut masked.alert.destinations {
            *destination = destination.masked();
        }
        mask(&mut masked.ingest.privacy.key);
        for key in &mut masked.api.api_keys {
            let shown = format!("{key:?}");
            *key = api::ApiKey::new(shown.trim_matches('"'));
        }
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Loaded, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mimamori.toml");
        std::fs::write(&file, text).unwrap();
        Loaded::read(Some(&file))
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_file_line_and_key() {
        let error = read("[kafka]\nbrokers = \"a:1\"\nbroker = \"b:2\"\n")
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("mimamori.toml"), "{error}");
        assert!(error.contains("line 3"), "{error}");
        assert!(error.contains("unknown field `broker`"), "{error}");
    }

    #[test]
    fn a_number_that_is_too_large_is_named_with_its_place_in_the_file() {
        let text = "[embedded]\nkafka_fsync_ms = 9223372036854775808\n";
        let error = read(text).err().unwrap().to_string();
        assert!(error.contains("mimamori.toml"), "{error}");
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_value_that_cannot_be_worked_with_is_named_with_its_place_in_the_file() {
        let text = "[health]\nkey_features = [\"a\"]\n\n[[health.rules]]\nname = \"mine\"\nseverity = \"warning\"\nwhen = \"days_since_last_logn > 3\"\n";
        let error = read(text).unwrap().check().err().unwrap().to_string();
        assert!(
            error.contains("mimamori.toml, line 7, column 8: health.rules[0].when"),
            "{error}"
        );
        assert!(
            error.contains("line 1, column 1"),
            "where in the condition: {error}"
        );
        assert!(
            error.contains("days_since_last_login"),
            "what would be right: {error}"
        );
    }

    /// The guide's annotated file is the defaults, but for the rule that it shows.
    #[test]
    fn the_guide_tells_every_key_with_its_default() {
        let guide = include_str!("../../../docs/configuration.md");
        let (_, from) = guide
            .split_once("## Every key with its default\n\n```toml\n")
            .unwrap();
        let (text, _) = from.split_once("\n```").unwrap();
        let mut told = read(text).unwrap().config;
        assert_eq!(told.health.rules.len(), 1);
        told.health.rules.clear();
        let defaults = Config::default();
        let plain = |config: &Config| serde_json::to_value(config).unwrap();
        assert_eq!(plain(&told), plain(&defaults));
        let keys = |config: &Config| {
            let sections = plain(config);
            let sections = sections.as_object().unwrap().clone().into_iter();
            let all = sections.flat_map(|(section, value)| {
                let keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
                keys.into_iter().map(move |key| (section.clone(), key))
            });
            all.collect::<Vec<_>>()
        };
        for (section, key) in keys(&defaults) {
            let is_told = text.contains(&format!("\n{key} = "))
                || text.contains(&format!("\n# {key} = "))
                || text.contains(&format!("[{section}.{key}"))
                || text.contains(&format!("[[{section}.{key}]]"));
            assert!(is_told, "{section}.{key} is not in docs/configuration.md");
        }
    }

    #[test]
    fn a_route_of_a_rule_that_is_not_there_is_named_with_its_place_in_the_file() {
        let text = "[[alert.routes]]\nrules = [\"falling_usage\", \"champion_remved\"]\n";
        let error = read(text).unwrap().check().err().unwrap().to_string();
        assert!(
            error.contains(
                "mimamori.toml, line 2, column 27: alert.routes[0].rules[1]: there is no rule \
                 \"champion_remved\"; did you mean champion_removed?"
            ),
            "{error}"
        );
    }

    /// What the guide to routing shows can be worked with.
    #[test]
    fn the_examples_of_the_guide_to_routing_are_accepted() {
        let guide = include_str!("../../../docs/routing.md");
        let examples: Vec<&str> = guide
            .split("```toml\n")
            .skip(1)
            .filter_map(|behind| behind.split_once("\n```"))
            .map(|(text, _)| text)
            .collect();
        assert!(examples.len() >= 4);
        for text in examples {
            read(text).unwrap().check().unwrap();
        }
    }

    #[test]
    fn what_the_file_says_is_taken_and_the_rest_is_default() {
        let loaded = read("[clickhouse]\nurl = \"http://ch:8123\"\n[[health.milestones]]\nname = \"a\"\nexpected_days = 3\n")
            .unwrap();
        assert_eq!(loaded.config.clickhouse.url, "http://ch:8123");
        assert_eq!(loaded.config.clickhouse.database, "mimamori");
        assert_eq!(loaded.config.health.milestones[0].expected_days, 3.0);
        assert!(loaded.names_clickhouse && loaded.names_health && !loaded.names_brokers);
    }

    #[test]
    fn an_insert_that_could_outlast_the_session_is_refused() {
        let text = "[kafka]\nsession_timeout_ms = 12000\n[clickhouse]\ninsert_timeout_seconds = 12\n";
        let error = read(text).unwrap().check().err().unwrap().to_string();
        assert!(
            error.contains("mimamori.toml, line 4, column 26: clickhouse.insert_timeout_seconds: 12 s"),
            "{error}"
        );
        assert!(error.contains("kafka.session_timeout_ms (12000 ms)"), "{error}");
        read(&text.replace("= 12\n", "= 11\n")).unwrap().check().unwrap();
    }

    #[test]
    fn the_defaults_pass_their_own_check_and_can_be_shown_and_read_again() {
        let config = Config::default();
        config.check().unwrap();
        let shown = toml::to_string(&config.masked()).unwrap();
        let again: Config = toml::from_str(&shown).unwrap();
        assert_eq!(again.health, config.health);
    }

    #[test]
    fn no_secret_is_shown() {
        let loaded = read(
            "[clickhouse]\npassword = \"hunter2\"\n[api]\napi_keys = [\"k-hunter2\", \"file:/run/key\"]\n\
             [kafka.properties]\n\"sasl.password\" = \"hunter2\"\n\
             [ingest.privacy]\nkey = \"hunter2 and more\"\n\
             [[alert.destinations]]\nname = \"x\"\nurl = \"https://x.example\"\nsecret = \"whsec_hunter2\"\n\
             headers = { Authorization = \"Bearer hunter2\" }\n\
             [[alert.destinations]]\nkind = \"slack\"\nurl = \"https://hooks.slack.com/services/hunter2\"\n\
             [[alert.destinations]]\nkind = \"salesforce\"\ntoken = \"hunter2\"\nclient_secret = \"hunter2\"\n\
             routing_key = \"hunter2\"\nprevious_secret = \"hunter2\"\npassword = \"hunter2\"\n",
        )
        .unwrap();
        let shown = toml::to_string(&loaded.config.masked()).unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("file:/run/key"));
        assert!(shown.contains("***"));
    }
}
