-- Rebuilds: making the states and all that is derived anew from the events alone. While the newest is
-- not finished, no worker takes a partition.
CREATE TABLE rebuilds
(
    started_at DateTime64(3, 'UTC') COMMENT 'When it was begun; its name',
    version UInt64,
    model_hash String COMMENT 'Of the model and the configuration',
    since Nullable(DateTime64(3, 'UTC')) COMMENT 'The first midnight whose row is made anew; NULL is all',
    partitions Int32 COMMENT 'Partitions that the topic mimamori.events is to have',
    first_version UInt64 COMMENT 'Rows that it writes have at least this version; 0 until the first',
    next_offsets Array(Int64) COMMENT 'Up to where each partition is folded; empty until events and log are in step',
    watermarks Array(Int64) COMMENT 'The newest time folded of each partition, milliseconds; 0 when there is none',
    done_until String COMMENT 'The last account that is done; empty before the first',
    accounts UInt64 COMMENT 'Accounts done',
    events UInt64 COMMENT 'Events folded',
    days UInt64 COMMENT 'Rows of account_daily written',
    rows UInt64 COMMENT 'Rows of any table written',
    finished_at Nullable(DateTime64(3, 'UTC'))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY started_at
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
