-- One row an evaluation of an account. NULL means unknown. An evaluation that is done again after a
-- crash, for the same instant, replaces its row.
CREATE TABLE account_metrics_versions
(
    account_id String,
    evaluated_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    version UInt64 CODEC(Delta, ZSTD(1)),
    watermark DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    logins_1d UInt32 COMMENT 'Logins on the local day of the evaluation',
    logins_7d UInt32 COMMENT 'Logins on that day and the 6 before',
    logins_28d UInt32,
    logins_90d UInt32,
    days_since_last_login Nullable(Int32) COMMENT 'Local days from the last login to the evaluation; 0 on the same day',
    days_since_last_active Nullable(Int32) COMMENT 'Local days from the last login or feature use',
    active_users_1d UInt32 COMMENT 'Distinct users with a login or feature event',
    active_users_7d UInt32,
    active_users_28d UInt32,
    stickiness Nullable(Float64) COMMENT 'Mean daily active users over 28 days divided by active_users_28d',
    seats Nullable(UInt32),
    seat_utilisation Nullable(Float64) COMMENT 'active_users_28d divided by seats',
    key_features_used_28d Nullable(UInt32),
    feature_breadth Nullable(Float64) COMMENT 'Key features used in 28 days divided by key features',
    feature_depth Nullable(Float64) COMMENT 'usage_28d divided by active_users_28d',
    unused_key_features Array(LowCardinality(String)),
    usage_28d UInt64 COMMENT 'Feature uses in 28 days',
    usage_trend Nullable(Float64) COMMENT 'usage_28d divided by the uses in the 28 days before; unknown before day 56',
    ttv_days Nullable(Float64) COMMENT 'Days from the start to the first value event',
    ttv_running_days Nullable(Float64) COMMENT 'Days since the start while no value event has happened',
    milestones_done Nullable(UInt32),
    milestones_total Nullable(UInt32),
    onboarding_state LowCardinality(Nullable(String)) COMMENT 'done, on_track, behind or stalled',
    open_tickets UInt32,
    oldest_open_ticket_days Nullable(Float64),
    mrr Nullable(Float64),
    days_to_renewal Nullable(Int32)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(evaluated_at)
ORDER BY (account_id, evaluated_at)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE VIEW account_metrics AS
SELECT * EXCEPT (version) FROM account_metrics_versions FINAL;

CREATE TABLE account_scores_versions
(
    account_id String,
    evaluated_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    version UInt64 CODEC(Delta, ZSTD(1)),
    watermark DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    health Nullable(Float64) COMMENT '0–100, 100 is well: weighted mean of the known components',
    ttv Nullable(Float64) COMMENT '0–100',
    activity Nullable(Float64) COMMENT '0–100',
    adoption Nullable(Float64) COMMENT '0–100',
    sentiment Nullable(Float64) COMMENT '0–100',
    support Nullable(Float64) COMMENT '0–100',
    churn_risk Nullable(Float64) COMMENT 'Probability of churn within 30 days; 1 is bad',
    expansion Nullable(Float64) COMMENT '0–100',
    confidence Float64 COMMENT 'Share of the weights whose component was known',
    band LowCardinality(String) COMMENT 'red, yellow, green or unknown',
    stage LowCardinality(String),
    tier LowCardinality(String),
    drivers Array(Tuple(String, String, Nullable(Float64), Float64))
        COMMENT 'What moved each score, strongest first, as (score, input, value, points): points of health above or below 50, or log-odds of churn_risk above or below the base rate',
    model_hash String COMMENT 'Of the model and the configuration'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(evaluated_at)
ORDER BY (account_id, evaluated_at)
SETTINGS non_replicated_deduplication_window = 1000;

-- The views name the elements of a driver, which the client that inserts cannot.
CREATE VIEW account_scores AS
SELECT * EXCEPT (version) REPLACE (
    CAST(drivers, 'Array(Tuple(score String, input String, value Nullable(Float64), points Float64))') AS drivers
) FROM account_scores_versions FINAL;

-- The newest evaluation of each account, kept apart so that the page need not read the history. The
-- later instant wins, and of one instant the newer version.
CREATE TABLE account_scores_newest
ENGINE = ReplacingMergeTree(rank)
ORDER BY account_id AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM account_scores_versions;

CREATE MATERIALIZED VIEW account_scores_to_newest TO account_scores_newest AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM account_scores_versions;

CREATE VIEW account_scores_latest AS
SELECT * EXCEPT (version, rank) REPLACE (
    CAST(drivers, 'Array(Tuple(score String, input String, value Nullable(Float64), points Float64))') AS drivers
) FROM account_scores_newest FINAL;

CREATE TABLE account_metrics_newest
ENGINE = ReplacingMergeTree(rank)
ORDER BY account_id AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM account_metrics_versions;

CREATE MATERIALIZED VIEW account_metrics_to_newest TO account_metrics_newest AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM account_metrics_versions;

CREATE VIEW account_metrics_latest AS
SELECT * EXCEPT (version, rank) FROM account_metrics_newest FINAL;
