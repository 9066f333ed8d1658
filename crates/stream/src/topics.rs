//! The names of the topics, and what each is made with.

use crate::admin::TopicSpec;

/// Raw events as product apps send them, in any accepted format and with any key.
pub const RAW: &str = "usage.events";
/// Accepted events: protobuf, key = account id.
pub const EVENTS: &str = "mimamori.events";
/// Alert changes: protobuf, key = account id.
pub const ALERTS: &str = "mimamori.alerts";
/// Rejected input: the original bytes, with the reason in the headers.
pub const REJECTED: &str = "mimamori.rejected";

/// Default partition count of [`EVENTS`] (and of the topics beside it).
pub const DEFAULT_PARTITIONS: i32 = 16;

/// The four topics. `partitions` is that of [`EVENTS`], where a differing count is an error: an
/// account's state lives with the partition that its key hashes to.
///
/// [`EVENTS`], [`ALERTS`] and [`REJECTED`] take records of up to 4 MiB, so that no raw record that
/// a default broker accepted is too large to be kept with its headers once it was rejected.
pub fn all(partitions: i32) -> Vec<TopicSpec> {
    let wide = || vec![("max.message.bytes".to_owned(), "4194304".to_owned())];
    vec![
        TopicSpec::new(RAW, partitions),
        TopicSpec {
            config: wide(),
            partitions_must_match: true,
            ..TopicSpec::new(EVENTS, partitions)
        },
        TopicSpec {
            config: wide(),
            ..TopicSpec::new(ALERTS, partitions.min(4))
        },
        TopicSpec {
            config: wide(),
            ..TopicSpec::new(REJECTED, partitions.min(4))
        },
    ]
}
