//! On how many brokers an acknowledged record is: the promise that nothing accepted is lost is only as
//! good as that.
//!
//! `acks=all` waits for the replicas that are in step, and `min.insync.replicas` says how many these
//! must be. Kafka's own default is 1: a topic of three replicas of which two lag then acknowledges what
//! one broker alone holds.

use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::metadata::Metadata;
use tracing::{debug, warn};

use crate::admin::{Lookout, TopicSpec, blocking};
use crate::config::KafkaConfig;
use crate::context::Context;
use crate::error::Error;

/// The topic's setting.
pub(crate) const MIN_IN_SYNC: &str = "min.insync.replicas";
/// Topics that are made with so many replicas …
const ENOUGH_REPLICAS: i32 = 3;
/// … are made with so many that must be in step: one broker may be away.
const IN_SYNC: &str = "2";

/// What a topic that is made with so many replicas gets beside its own settings.
pub(crate) fn settings(replicas: i32) -> Option<(&'static str, &'static str)> {
    (replicas >= ENOUGH_REPLICAS).then_some((MIN_IN_SYNC, IN_SYNC))
}

/// Warns of topics of which one broker alone may hold what it acknowledged though there are more
/// brokers. Nothing depends on it: what cannot be asked is passed over.
pub(crate) async fn look(config: &KafkaConfig, specs: &[TopicSpec]) {
    match problems(config, specs).await {
        Ok(problems) => {
            for problem in problems {
                warn!("{problem}");
            }
        }
        Err(error) => debug!(%error, "cannot ask for the replicas of the topics"),
    }
}

async fn problems(config: &KafkaConfig, specs: &[TopicSpec]) -> Result<Vec<String>, Error> {
    let (brokers, topics) = {
        let (config, specs) = (config.clone(), specs.to_vec());
        blocking(move || {
            let metadata = Lookout::new(&config)?.metadata(None, config.request_timeout())?;
            Ok((metadata.brokers().len(), replicas(&metadata, &specs)))
        })
        .await?
    };
    // The admin client cannot fetch a token.
    if brokers < 2 || config.oauth_token_file.is_some() {
        return Ok(Vec::new());
    }
    let admin: AdminClient<Context> = config.client()?.create_with_context(Context::new(config))?;
    let options = AdminOptions::new().request_timeout(Some(config.request_timeout()));
    let asked: Vec<ResourceSpecifier<'_>> = topics
        .iter()
        .map(|(name, _)| ResourceSpecifier::Topic(name))
        .collect();
    let answers = admin.describe_configs(&asked, &options).await?;
    let mut problems = Vec::new();
    for answer in answers.iter().flatten() {
        let topic = topics
            .iter()
            .find(|(name, _)| answer.specifier == OwnedResourceSpecifier::Topic(name.clone()));
        let setting = answer.get(MIN_IN_SYNC).and_then(|entry| entry.value.as_deref());
        let in_sync = setting.and_then(|value| value.parse().ok());
        if let (Some((name, replicas)), Some(in_sync)) = (topic, in_sync) {
            problems.extend(problem(name, *replicas, in_sync, brokers));
        }
    }
    Ok(problems)
}

/// The fewest replicas of a partition of each topic.
fn replicas(metadata: &Metadata, specs: &[TopicSpec]) -> Vec<(String, usize)> {
    let topics = metadata.topics().iter();
    let ours = topics.filter(|topic| specs.iter().any(|spec| spec.name == topic.name()));
    ours.filter_map(|topic| {
        let fewest = topic
            .partitions()
            .iter()
            .map(|found| found.replicas().len())
            .min()?;
        Some((topic.name().to_owned(), fewest))
    })
    .collect()
}

fn problem(topic: &str, replicas: usize, in_sync: usize, brokers: usize) -> Option<String> {
    let what_to_do = if replicas < 2 {
        format!("it has one replica and there are {brokers} brokers: give it 3")
    } else if in_sync < 2 {
        format!("it has {replicas} replicas but {MIN_IN_SYNC} is {in_sync}: set that to 2")
    } else {
        return None;
    };
    Some(format!(
        "what topic {topic} has acknowledged may be on one broker alone: {what_to_do}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_whose_records_may_be_on_one_broker_alone_is_named_with_what_to_do() {
        let alone = problem("usage.events", 1, 1, 3).unwrap();
        assert_eq!(
            alone,
            "what topic usage.events has acknowledged may be on one broker alone: it has one replica and there \
             are 3 brokers: give it 3"
        );
        let lax = problem("usage.events", 3, 1, 3).unwrap();
        assert!(lax.ends_with("it has 3 replicas but min.insync.replicas is 1: set that to 2"));
        assert_eq!(problem("usage.events", 3, 2, 3), None);
        assert_eq!(problem("usage.events", 2, 2, 2), None);
    }

    #[test]
    fn only_topics_that_can_spare_a_broker_demand_two() {
        assert_eq!(settings(-1), None, "the broker chooses");
        assert_eq!(settings(2), None, "one broker away would stop everything");
        assert_eq!(settings(3), Some(("min.insync.replicas", "2")));
    }
}
