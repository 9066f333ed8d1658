-- The workers' state; not for users. A row that is acknowledged is on disk.
CREATE TABLE account_state
(
    partition Int32 COMMENT 'Of the topic mimamori.events',
    account_id String,
    version UInt64,
    offset Int64 COMMENT 'The last offset folded into the state',
    state String COMMENT 'Protobuf of the health crate' CODEC(ZSTD(3)),
    saved_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (partition, account_id)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE checkpoints
(
    partition Int32,
    version UInt64,
    next_offset Int64 COMMENT 'Every offset below is landed and folded into saved states',
    watermark DateTime64(3, 'UTC') COMMENT 'The newest occurred_at read',
    partitions Int32 COMMENT 'Partitions that the topic had; accounts move when it changes',
    saved_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY partition
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
