-- What customers did: one row an accepted event.
--
-- `aggregate` inserts an event once; the key makes a row that is inserted again all the same (a
-- retried batch whose answer was lost after the deduplication window) collapse on merge.
CREATE TABLE events
(
    event_id String COMMENT 'Unique within the account',
    account_id String,
    user_id String COMMENT 'Empty when the event names no user',
    type LowCardinality(String) COMMENT 'login, feature, milestone, account, user, contract, ticket, survey, engagement or error',
    name LowCardinality(String) COMMENT 'The feature, milestone, change… that the type speaks of',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened' CODEC(DoubleDelta, ZSTD(1)),
    received_at DateTime64(3, 'UTC') COMMENT 'When mimamori received it' CODEC(DoubleDelta, ZSTD(1)),
    source LowCardinality(String) COMMENT 'Where it came in',
    properties String COMMENT 'A JSON object; empty when there are none' CODEC(ZSTD(1)),
    kafka_partition Int32 COMMENT 'Where the event stands in the topic mimamori.events' CODEC(ZSTD(1)),
    kafka_offset Int64 CODEC(Delta, ZSTD(1)),
    INDEX kafka_offset_range kafka_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (account_id, event_id)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
