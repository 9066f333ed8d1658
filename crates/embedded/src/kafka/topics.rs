//! The topics on disk: a folder for each, with a file of settings and a folder per partition.
//!
//! Holds: a topic appears and disappears whole. It is built under a name that no topic can have and
//! renamed into place; it is renamed away before it is removed; leftovers of either are swept at start.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use tokio::sync::Notify;

use super::codec::{replace_file, sync_folder_of};
use super::log::{Limits, Log};
use super::{Config, lock, read, write};

/// No topic name may hold this.
const LEFTOVER: char = '~';
const SETTINGS_FILE: &str = "topic";
/// Partitions that one topic may have.
const MOST_PARTITIONS: i32 = 1_024;

/// A refusal: the protocol's error and what was wrong.
pub type Refusal = (ResponseError, String);

/// One topic.
pub struct Topic {
    pub name: String,
    pub settings: Settings,
    pub partitions: Vec<Arc<Mutex<Log>>>,
    /// Told after every append to any of the partitions.
    pub appended: Arc<Notify>,
}

impl Topic {
    /// The log of a partition.
    pub fn partition(&self, index: i32) -> Option<&Arc<Mutex<Log>>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// What a topic sets for itself; `None` follows the broker.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Settings {
    retention_ms: Option<i64>,
    retention_bytes: Option<i64>,
    segment_bytes: Option<i64>,
    max_message_bytes: Option<i64>,
}

impl Settings {
    /// Takes over one setting by its Kafka name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let fixed = |only: &str| match value == only {
            true => Ok(()),
            false => Err((
                ResponseError::InvalidConfig,
                format!("{name} can only be {only}, not {value}"),
            )),
        };
        let number = |least: i64| match value.parse::<i64>() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err((
                ResponseError::InvalidConfig,
                format!("{name}: {value} is not a number from {least} up"),
            )),
        };
        match name {
            "retention.ms" => self.retention_ms = number(-1)?,
            "retention.bytes" => self.retention_bytes = number(-1)?,
            "segment.bytes" => self.segment_bytes = number(1024)?,
            "max.message.bytes" => self.max_message_bytes = number(1)?,
            "cleanup.policy" => fixed("delete")?,
            "compression.type" => fixed("producer")?,
            "message.timestamp.type" => fixed("CreateTime")?,
            "min.insync.replicas" => fixed("1")?,
            _ => {
                return Err((
                    ResponseError::InvalidConfig,
                    format!("the setting {name} is not known here"),
                ));
            }
        }
        Ok(())
    }

    /// Every setting as Kafka names it, its value in force, and whether the topic set it itself.
    pub fn list(&self, config: &Config) -> [(&'static str, String, bool); 8] {
        let limits = self.limits(config);
        let age = limits.retention_age.map_or(-1, |age| age.as_millis() as i64);
        let bytes = limits.retention_bytes.map_or(-1, |bytes| bytes as i64);
        let message = self.max_message_bytes(config);
        [
            ("retention.ms", age.to_string(), self.retention_ms.is_some()),
            (
                "retention.bytes",
                bytes.to_string(),
                self.retention_bytes.is_some(),
            ),
            (
                "segment.bytes",
                limits.segment_bytes.to_string(),
                self.segment_bytes.is_some(),
            ),
            (
                "max.message.bytes",
                message.to_string(),
                self.max_message_bytes.is_some(),
            ),
            ("cleanup.policy", "delete".to_owned(), false),
            ("compression.type", "producer".to_owned(), false),
            ("message.timestamp.type", "CreateTime".to_owned(), false),
            ("min.insync.replicas", "1".to_owned(), false),
        ]
    }

    /// The limits in force.
    pub fn limits(&self, config: &Config) -> Limits {
        let unless_unbounded = |own: i64| u64::try_from(own).ok();
        Limits {
            segment_bytes: self.segment_bytes.map_or(config.segment_bytes, |own| own as u64),
            retention_bytes: self
                .retention_bytes
                .map_or(config.retention_bytes, unless_unbounded),
            retention_age: match self.retention_ms {
                Some(own) => unless_unbounded(own).map(Duration::from_millis),
                None => config.retention_age,
            },
        }
    }

    /// The largest batch that is accepted, in bytes.
    pub fn max_message_bytes(&self, config: &Config) -> usize {
        self.max_message_bytes
            .map_or(config.max_message_bytes, |own| own as usize)
    }

    fn own(&self) -> impl Iterator<Item = (&'static str, i64)> {
        let all = [
            ("retention.ms", self.retention_ms),
            ("retention.bytes", self.retention_bytes),
            ("segment.bytes", self.segment_bytes),
            ("max.message.bytes", self.max_message_bytes),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

/// All topics.
pub struct Topics {
    folder: PathBuf,
    epoch: i32,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Held while a topic is made, grown or removed.
    changing: Mutex<()>,
}

impl Topics {
    /// Opens every topic under `folder`. Blocks.
    pub fn open(folder: PathBuf, epoch: i32) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut by_name = BTreeMap::new();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.contains(LEFTOVER) {
                std::fs::remove_dir_all(entry.path())?;
                continue;
            }
            let (count, settings) = read_settings(&entry.path())?;
            let topic = open_topic(&entry.path(), &name, count, settings, epoch)?;
            by_name.insert(name, Arc::new(topic));
        }
        Ok(Topics {
            folder,
            epoch,
            by_name: RwLock::new(by_name),
            changing: Mutex::new(()),
        })
    }

    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        read(&self.by_name).get(name).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Topic>> {
        read(&self.by_name).values().cloned().collect()
    }

    /// Makes a topic, or only tells whether it could be made. Blocks.
    pub fn create(&self, name: &str, count: i32, settings: Settings, pretend: bool) -> Result<(), Refusal> {
        if !is_valid_name(name) {
            let detail = "a topic name is 1 to 249 of a-z A-Z 0-9 . _ -, and not . or ..";
            return Err((ResponseError::InvalidTopicException, detail.to_owned()));
        }
        check_count(count)?;
        let _changing = lock(&self.changing);
        if self.get(name).is_some() {
            return Err((
                ResponseError::TopicAlreadyExists,
                format!("topic {name} exists already"),
            ));
        }
        if pretend {
            return Ok(());
        }
        let make = || -> io::Result<Topic> {
            let building = self.folder.join(format!("{LEFTOVER}new"));
            if building.exists() {
                std::fs::remove_dir_all(&building)?;
            }
            std::fs::create_dir_all(&building)?;
            write_settings(&building, count, &settings)?;
            let place = self.folder.join(name);
            std::fs::rename(&building, &place)?;
            sync_folder_of(&place)?;
            open_topic(&place, name, count, settings, self.epoch)
        };
        let topic = make().map_err(|error| storage(name, &error))?;
        write(&self.by_name).insert(name.to_owned(), Arc::new(topic));
        Ok(())
    }

    /// Raises a topic's number of partitions, or only tells whether it could be raised. Blocks.
    pub fn grow(&self, name: &str, count: i32, pretend: bool) -> Result<(), Refusal> {
        check_count(count)?;
        let _changing = lock(&self.changing);
        let topic = self.get(name).ok_or_else(|| unknown(name))?;
        let present = topic.partitions.len() as i32;
        if count <= present {
            return Err((
                ResponseError::InvalidPartitions,
                format!("topic {name} has {present} partitions"),
            ));
        }
        if pretend {
            return Ok(());
        }
        let place = self.folder.join(name);
        let make = || -> io::Result<Topic> {
            let mut partitions = topic.partitions.clone();
            for index in present..count {
                partitions.push(open_partition(&place, index, self.epoch)?);
            }
            write_settings(&place, count, &topic.settings)?;
            let appended = Arc::clone(&topic.appended);
            Ok(Topic {
                name: name.to_owned(),
                settings: topic.settings,
                partitions,
                appended,
            })
        };
        let grown = make().map_err(|error| storage(name, &error))?;
        write(&self.by_name).insert(name.to_owned(), Arc::new(grown));
        Ok(())
    }

    /// Removes a topic and its records. Blocks.
    pub fn delete(&self, name: &str) -> Result<(), Refusal> {
        let _changing = lock(&self.changing);
        let topic = write(&self.by_name).remove(name).ok_or_else(|| unknown(name))?;
        for partition in &topic.partitions {
            lock(partition).delete();
        }
        topic.appended.notify_waiters();
        let leaving = self.folder.join(format!("{LEFTOVER}old"));
        let remove = || -> io::Result<()> {
            if leaving.exists() {
                std::fs::remove_dir_all(&leaving)?;
            }
            std::fs::rename(self.folder.join(name), &leaving)?;
            sync_folder_of(&leaving)?;
            std::fs::remove_dir_all(&leaving)
        };
        remove().map_err(|error| storage(name, &error))
    }
}

fn unknown(name: &str) -> Refusal {
    (
        ResponseError::UnknownTopicOrPartition,
        format!("there is no topic {name}"),
    )
}

fn storage(name: &str, error: &io::Error) -> Refusal {
    tracing::error!(topic = name, %error, "could not change the topic's files");
    (ResponseError::KafkaStorageError, format!("topic {name}: {error}"))
}

fn check_count(count: i32) -> Result<(), Refusal> {
    if (1..=MOST_PARTITIONS).contains(&count) {
        return Ok(());
    }
    let detail = format!("{count} partitions asked for, 1 to {MOST_PARTITIONS} are possible");
    Err((ResponseError::InvalidPartitions, detail))
}

/// Whether Kafka allows the name.
pub fn is_valid_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(allowed)
}

fn open_topic(place: &Path, name: &str, count: i32, settings: Settings, epoch: i32) -> io::Result<Topic> {
    let partitions = (0..count).map(|index| open_partition(place, index, epoch));
    Ok(Topic {
        name: name.to_owned(),
        settings,
        partitions: partitions.collect::<io::Result<_>>()?,
        appended: Arc::new(Notify::new()),
    })
}

fn open_partition(place: &Path, index: i32, epoch: i32) -> io::Result<Arc<Mutex<Log>>> {
    Ok(Arc::new(Mutex::new(Log::open(
        &place.join(index.to_string()),
        epoch,
    )?)))
}

fn write_settings(place: &Path, count: i32, settings: &Settings) -> io::Result<()> {
    let mut text = format!("partitions={count}\n");
    for (name, value) in settings.own() {
        writeln!(text, "{name}={value}").map_err(io::Error::other)?;
    }
    replace_file(&place.join(SETTINGS_FILE), text.as_bytes())
}

fn read_settings(place: &Path) -> io::Result<(i32, Settings)> {
    let path = place.join(SETTINGS_FILE);
    let broken = |what: &str| {
        let detail = format!("{}: {what}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, detail)
    };
    let text = std::fs::read_to_string(&path).map_err(|error| broken(&error.to_string()))?;
    let mut count = None;
    let mut settings = Settings::default();
    for line in text.lines() {
        let (name, value) = line.split_once('=').ok_or_else(|| broken("a line without ="))?;
        match name {
            "partitions" => count = value.parse().ok(),
            _ => settings.set(name, value).map_err(|(_, detail)| broken(&detail))?,
        }
    }
    Ok((
        count.ok_or_else(|| broken("the number of partitions is missing"))?,
        settings,
    ))
}
