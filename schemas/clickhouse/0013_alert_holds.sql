-- What the breaker holds back until somebody says so, and what people have asked the alert workers for.
CREATE TABLE alert_holds_versions
(
    hold_id String COMMENT 'Follows from the name and the first alert that was held; the webhook-id of its summary',
    name String COMMENT 'rule: and the rule, or cause: and the input of the strongest driver',
    status LowCardinality(String) COMMENT 'tripped; released: what it held is told; dropped: what it held is not told',
    since DateTime64(3, 'UTC') COMMENT 'When it tripped',
    at DateTime64(3, 'UTC') COMMENT 'When it got this status',
    accounts UInt32 COMMENT 'Accounts whose episodes opened within the window, when it tripped',
    accounts_total UInt64 COMMENT 'Accounts that the worker watched over then',
    destinations Array(String) COMMENT 'Those that its summary goes to',
    summary String COMMENT 'The body of its summary' CODEC(ZSTD(1)),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY hold_id
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW alert_holds AS
SELECT * EXCEPT (version, summary) FROM alert_holds_versions FINAL;

-- A worker looks here once a second: the rows that it is to deal with are in the other tables.
CREATE TABLE alert_requests
(
    what LowCardinality(String) COMMENT 'replay: deliveries to the destination are to be tried again; holds: alert_holds has changed',
    destination String COMMENT 'Of a replay',
    requested_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'By the clock of the server'
)
ENGINE = MergeTree
ORDER BY requested_at
TTL toDateTime(requested_at) + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
