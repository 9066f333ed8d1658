//! Looking for the broker and its topics, and making the topics that are missing.
//!
//! A topic that exists is never changed.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;

use crate::config::KafkaConfig;
use crate::context::Context;
use crate::copies;
use crate::error::Error;

/// What a topic is to be made with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicSpec {
    /// The topic's name.
    pub name: String,
    /// Its number of partitions.
    pub partitions: i32,
    /// Configuration entries, such as `retention.ms`.
    pub config: Vec<(String, String)>,
    /// Whether a topic that exists with another number of partitions is an error.
    pub partitions_must_match: bool,
}

impl TopicSpec {
    /// A topic with the broker's defaults; another number of partitions is borne.
    pub fn new(name: impl Into<String>, partitions: i32) -> TopicSpec {
        TopicSpec {
            name: name.into(),
            partitions,
            config: Vec::new(),
            partitions_must_match: false,
        }
    }
}

/// The version of librdkafka, such as `2.12.1`.
pub fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

/// What librdkafka was compiled with: `ssl`, `sasl_scram`, `lz4` and so on.
pub fn librdkafka_features() -> Vec<String> {
    let features = ClientConfig::new()
        .create_native_config()
        .and_then(|native| native.get("builtin.features"));
    features.map_or_else(
        |_| Vec::new(),
        |features| {
            features
                .trim_end_matches('\0')
                .split(',')
                .map(|feature| feature.trim().to_owned())
                .collect()
        },
    )
}

/// Waits for a broker to answer, at most `kafka.connect_timeout_ms`.
///
/// # Errors
/// [`Error::NoBroker`] when none does; [`Error::Config`] when the configuration cannot be used.
pub async fn check_broker(config: &KafkaConfig) -> Result<(), Error> {
    let config = config.clone();
    blocking(move || {
        Lookout::new(&config)?
            .metadata(None, config.connect_timeout())
            .map(drop)
    })
    .await
}

/// Makes the topics that are missing and waits until the broker serves them. Warns of topics that do
/// not keep what they acknowledge on two brokers where there are several.
///
/// With OAUTHBEARER the topics must exist: the client library's admin client cannot fetch a token.
///
/// # Errors
/// [`Error::NoBroker`] when no broker answers; [`Error::Topic`] when one cannot be made;
/// [`Error::PartitionCount`] when a topic exists with another number of partitions than a spec
/// with `partitions_must_match` has.
pub async fn ensure_topics(config: &KafkaConfig, specs: &[TopicSpec]) -> Result<(), Error> {
    make_missing(config, specs).await?;
    copies::look(config, specs).await;
    Ok(())
}

async fn make_missing(config: &KafkaConfig, specs: &[TopicSpec]) -> Result<(), Error> {
    let missing = {
        let (config, specs) = (config.clone(), specs.to_vec());
        blocking(move || {
            let metadata = Lookout::new(&config)?.metadata(None, config.connect_timeout())?;
            missing(&metadata, &specs)
        })
        .await?
    };
    if missing.is_empty() {
        return Ok(());
    }

    let admin: AdminClient<Context> = config.client()?.create_with_context(Context::new(config))?;
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|spec| {
            let replication = TopicReplication::Fixed(config.topic_replication);
            let topic = NewTopic::new(&spec.name, spec.partitions, replication);
            let own = spec.config.iter();
            own.map(|(name, value)| (name.as_str(), value.as_str()))
                .chain(copies::settings(config.topic_replication))
                .fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(config.request_timeout()))
        .operation_timeout(Some(config.request_timeout()));
    for made in admin.create_topics(&topics, &options).await? {
        match made {
            // Another process was quicker.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(Error::Topic {
                    topic,
                    reason: format!("cannot be made: {code}"),
                });
            }
        }
    }

    let (config, specs) = (config.clone(), specs.to_vec());
    blocking(move || {
        let lookout = Lookout::new(&config)?;
        let deadline = Instant::now() + config.request_timeout();
        loop {
            let metadata = lookout.metadata(None, config.request_timeout())?;
            let Some(spec) = missing_or_leaderless(&metadata, &specs)? else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                let reason = "was made, but the broker does not serve it".to_owned();
                return Err(Error::Topic {
                    topic: spec.name,
                    reason,
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    })
    .await
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Error::Client(error.to_string())),
    }
}

/// The specs of which no topic exists.
fn missing(metadata: &Metadata, specs: &[TopicSpec]) -> Result<Vec<TopicSpec>, Error> {
    let mut missing = Vec::new();
    for spec in specs {
        match partitions(metadata, &spec.name) {
            None => missing.push(spec.clone()),
            Some(found) if found != spec.partitions && spec.partitions_must_match => {
                return Err(Error::PartitionCount {
                    topic: spec.name.clone(),
                    found,
                    asked: spec.partitions,
                });
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

fn missing_or_leaderless(metadata: &Metadata, specs: &[TopicSpec]) -> Result<Option<TopicSpec>, Error> {
    if let Some(spec) = missing(metadata, specs)?.into_iter().next() {
        return Ok(Some(spec));
    }
    let leaderless = |spec: &&TopicSpec| {
        let topic = metadata.topics().iter().find(|topic| topic.name() == spec.name);
        topic.is_none_or(|topic| topic.partitions().iter().any(|partition| partition.leader() < 0))
    };
    Ok(specs.iter().find(leaderless).cloned())
}

fn partitions(metadata: &Metadata, name: &str) -> Option<i32> {
    let topic = metadata.topics().iter().find(|topic| topic.name() == name)?;
    let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
    (topic.error().is_none() && count > 0).then_some(count)
}

/// A client that only asks for metadata.
pub(crate) struct Lookout {
    consumer: BaseConsumer<Context>,
    brokers: String,
}

impl Lookout {
    pub(crate) fn new(config: &KafkaConfig) -> Result<Lookout, Error> {
        let consumer = config.client()?.create_with_context(Context::new(config))?;
        Ok(Lookout {
            consumer,
            brokers: config.brokers.clone(),
        })
    }

    pub(crate) fn metadata(&self, topic: Option<&str>, timeout: Duration) -> Result<Metadata, Error> {
        let deadline = Instant::now() + timeout;
        self.serve(Duration::ZERO);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self
                .consumer
                .fetch_metadata(topic, left.min(Duration::from_millis(500)))
            {
                Ok(metadata) => return Ok(metadata),
                Err(error) => {
                    self.serve(Duration::from_millis(50));
                    if Instant::now() >= deadline {
                        let last = self.consumer.context().last_error();
                        let reason = if last.is_empty() { error.to_string() } else { last };
                        let brokers = self.brokers.clone();
                        return Err(Error::NoBroker {
                            brokers,
                            seconds: timeout.as_secs_f64(),
                            reason,
                        });
                    }
                }
            }
        }
    }

    /// Lets the callbacks run, for errors and for the token of OAUTHBEARER. One poll serves one of them.
    fn serve(&self, at_least: Duration) {
        let until = Instant::now() + at_least;
        for _ in 0..50 {
            drop(self.consumer.poll(Duration::ZERO));
        }
        while Instant::now() < until {
            drop(self.consumer.poll(Duration::from_millis(5)));
        }
    }
}
