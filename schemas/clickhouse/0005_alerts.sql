-- An alert's changes and the attempts to deliver them.
CREATE TABLE alerts_versions
(
    alert_id String COMMENT 'Of this change; the webhook-id',
    episode_id String,
    account_id String,
    rule LowCardinality(String),
    severity LowCardinality(String) COMMENT 'info, warning or critical',
    change LowCardinality(String) COMMENT 'opened, escalated, resolved or retracted',
    at DateTime64(3, 'UTC'),
    reason String COMMENT 'One sentence, English',
    reason_ja String COMMENT 'One sentence, Japanese',
    payload String COMMENT 'The data of the webhook: a JSON object',
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(at)
ORDER BY (account_id, alert_id)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW alerts AS
SELECT * EXCEPT (version) FROM alerts_versions FINAL;

CREATE TABLE deliveries_versions
(
    alert_id String,
    destination LowCardinality(String),
    attempt UInt32 COMMENT 'From 1; 0 is a delivery that was set aside before the first',
    status LowCardinality(String) COMMENT 'delivered, retrying or failed',
    http_status Nullable(UInt16) COMMENT 'NULL when no answer came',
    at DateTime64(3, 'UTC'),
    duration_ms UInt32,
    error String COMMENT 'Empty when delivered',
    next_attempt_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it will be tried again',
    body String COMMENT 'The body to send again; empty when none will be' CODEC(ZSTD(1)),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(at)
ORDER BY (alert_id, destination, attempt)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW deliveries AS
SELECT * EXCEPT (version, body) FROM deliveries_versions FINAL;
