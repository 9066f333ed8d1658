//! Who works on a topic, and growing it.

use stream::{StartFrom, TopicReader, group_members, grow_topic};

use crate::support::{GROUP, bed, join};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_the_members_that_joined_it_and_none_after_they_left() {
    let bed = bed("layout", 2).await;
    let config = bed.config();
    assert_eq!(group_members(&config, GROUP).await.unwrap(), 0);
    let mut member = join(&config, "layout", StartFrom::Committed);
    member.assigned().await;
    assert_eq!(group_members(&config, GROUP).await.unwrap(), 1);
    assert_eq!(group_members(&config, "another").await.unwrap(), 0);
    member.handle.shutdown().await;
    assert_eq!(group_members(&config, GROUP).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_grows_and_never_shrinks() {
    let bed = bed("layout", 2).await;
    let config = bed.config();
    grow_topic(&config, "layout", 5).await.unwrap();
    let reader = TopicReader::open(&config, GROUP, "layout").await.unwrap();
    assert_eq!(reader.spans().len(), 5);
    let refused = grow_topic(&config, "layout", 3).await.unwrap_err().to_string();
    assert!(
        refused.contains("topic layout") && refused.contains('3'),
        "{refused}"
    );
}
