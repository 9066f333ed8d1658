-- Write keys: who may send events over HTTP, and as which source. A key itself is kept nowhere, only its
-- SHA-256. A row of a higher version takes the place of one of a lower.
CREATE TABLE write_keys
(
    key_id String COMMENT 'Names the key; part of it, and no secret',
    version UInt64,
    key_hash String COMMENT 'SHA-256 of the whole key, in hexadecimal',
    source String COMMENT 'What its events are labelled with',
    kind LowCardinality(String) COMMENT 'server or browser',
    rate_limit UInt32 COMMENT 'Events a second; 0 is no bound',
    daily_quota UInt64 COMMENT 'Events a day in UTC; 0 is no bound',
    created_at DateTime64(3, 'UTC'),
    revoked_at Nullable(DateTime64(3, 'UTC'))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY key_id
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
