//! The ways in: over Kafka, or over HTTP.

use stream::Producer;

use super::Refused;
use super::posting::Posting;
use super::sending::Sending;
use crate::config::{Config, ConfigError};
use crate::ndjson::Line;

/// Where lines go.
pub enum Way {
    Kafka {
        producer: Producer,
        brokers: String,
        topic: String,
        source: Option<String>,
    },
    Http {
        url: String,
        key: Option<String>,
    },
}

/// The lines of one file on their way.
pub enum OnTheWay {
    Kafka(Sending),
    Http(Box<Posting>),
}

impl Way {
    /// To the raw topic, which is made if it is not there.
    pub async fn to_kafka(config: &Config, source: Option<String>) -> anyhow::Result<Way> {
        let kafka = &config.kafka;
        stream::check_broker(kafka).await?;
        stream::ensure_topics(kafka, &config.topics()).await?;
        Ok(Way::Kafka {
            producer: Producer::new(kafka)?,
            brokers: kafka.brokers.clone(),
            topic: config.ingest.topic.clone(),
            source,
        })
    }

    /// To the collector at `url`, or where the configuration has it.
    pub fn to_http(config: &Config, url: Option<String>, key: Option<String>) -> anyhow::Result<Way> {
        let url = url.unwrap_or_else(|| format!("http://{}", config.api.listen));
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ConfigError(format!("--url {url:?} must begin with http:// or https://")).into());
        }
        let key = match key.as_deref().map(|key| (key, key.strip_prefix("file:"))) {
            Some((_, Some(path))) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigError(format!("--key: cannot read {path}: {error}")))?;
                Some(text.trim_end().to_owned())
            }
            Some((key, None)) => Some(key.to_owned()),
            None => None,
        };
        Ok(Way::Http { url, key })
    }

    /// Where they go, for people.
    pub fn name(&self) -> &str {
        match self {
            Way::Kafka { topic, .. } => topic,
            Way::Http { url, .. } => url,
        }
    }

    /// What a note must have been made for, to hold.
    pub fn destination(&self) -> String {
        match self {
            Way::Kafka { brokers, topic, .. } => format!("{topic} at {brokers}"),
            Way::Http { url, .. } => url.clone(),
        }
    }

    /// Begins with a file whose first `skip` lines have arrived.
    pub fn begin(&self, skip: u64) -> anyhow::Result<OnTheWay> {
        Ok(match self {
            Way::Kafka {
                producer,
                topic,
                source,
                ..
            } => OnTheWay::Kafka(Sending::new(producer.clone(), topic, source.as_deref(), skip)),
            Way::Http { url, key } => OnTheWay::Http(Box::new(Posting::new(url, key.as_deref(), skip)?)),
        })
    }
}

impl OnTheWay {
    /// How many lines have arrived.
    pub fn sent(&self) -> u64 {
        match self {
            OnTheWay::Kafka(sending) => sending.sent(),
            OnTheWay::Http(posting) => posting.sent(),
        }
    }

    /// The line up to which every one has arrived, or cannot.
    pub fn settled_line(&self) -> u64 {
        match self {
            OnTheWay::Kafka(sending) => sending.settled_line(),
            OnTheWay::Http(posting) => posting.settled_line(),
        }
    }

    /// The lines that were not taken.
    pub fn into_refused(self) -> Vec<Refused> {
        match self {
            OnTheWay::Kafka(sending) => sending.into_refused(),
            OnTheWay::Http(posting) => posting.into_refused(),
        }
    }

    /// Sends a line on its way.
    ///
    /// # Errors
    /// Names the line, or lines, that could not be sent.
    pub async fn send(&mut self, line: &Line) -> anyhow::Result<()> {
        match self {
            OnTheWay::Kafka(sending) => sending.send(line).await,
            OnTheWay::Http(posting) => posting.send(line).await,
        }
    }

    /// Waits until every line has arrived.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        match self {
            OnTheWay::Kafka(sending) => sending.settle().await,
            OnTheWay::Http(posting) => posting.settle().await,
        }
    }
}
