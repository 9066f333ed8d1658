//! What a change of a topic's layout has to know and to do: who still works on it, and growing it.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::admin::blocking;
use crate::config::KafkaConfig;
use crate::context::Context;
use crate::error::Error;

/// The pause between two looks whether a topic has grown.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How many members a consumer group has; none when there is no such group. One that was killed is a
/// member for as long as its session lasts.
///
/// # Errors
/// [`Error::Client`] when the broker does not answer in time.
pub async fn group_members(config: &KafkaConfig, group: &str) -> Result<usize, Error> {
    let (config, group) = (config.clone(), group.to_owned());
    blocking(move || {
        let consumer = client(&config)?;
        let listed = consumer.fetch_group_list(Some(&group), config.request_timeout())?;
        let ours = listed.groups().iter().filter(|listed| listed.name() == group);
        Ok(ours.map(|listed| listed.members().len()).sum())
    })
    .await
}

/// Gives a topic more partitions, so that it has `partitions`, and waits until the broker serves them.
///
/// # Errors
/// [`Error::Topic`] when the broker refuses, as it does for a count that is not greater.
pub async fn grow_topic(config: &KafkaConfig, topic: &str, partitions: i32) -> Result<(), Error> {
    let admin: AdminClient<Context> = config.client()?.create_with_context(Context::new(config))?;
    let options = AdminOptions::new()
        .request_timeout(Some(config.request_timeout()))
        .operation_timeout(Some(config.request_timeout()));
    let count = usize::try_from(partitions).unwrap_or(0);
    let refused = |reason: String| Error::Topic {
        topic: topic.to_owned(),
        reason: format!("cannot be given {partitions} partitions: {reason}"),
    };
    let wanted = [NewPartitions::new(topic, count)];
    for grown in admin.create_partitions(&wanted, &options).await? {
        grown.map_err(|(_, code)| refused(code.to_string()))?;
    }

    let (config, name) = (config.clone(), topic.to_owned());
    let is_served = blocking(move || {
        let consumer = client(&config)?;
        let deadline = Instant::now() + config.request_timeout();
        loop {
            let metadata = consumer.fetch_metadata(Some(&name), config.request_timeout())?;
            let topics = metadata.topics().iter();
            let served = topics
                .filter(|topic| topic.name() == name)
                .flat_map(|topic| topic.partitions())
                .filter(|partition| partition.leader() >= 0);
            if served.count() >= count {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    })
    .await?;
    if is_served {
        Ok(())
    } else {
        Err(refused("the broker does not serve them".to_owned()))
    }
}

/// A client that only asks.
fn client(config: &KafkaConfig) -> Result<BaseConsumer<Context>, Error> {
    let consumer: BaseConsumer<Context> = config.client()?.create_with_context(Context::new(config))?;
    // Serves the callbacks: errors, and the token of OAUTHBEARER.
    while consumer.poll(Duration::ZERO).is_some() {}
    Ok(consumer)
}
