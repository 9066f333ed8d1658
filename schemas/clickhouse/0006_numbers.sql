-- Every number and every score, one row an evaluation; docs/numbers.md defines them. NULL means unknown.
--
-- What the tables of before held follows from the events and is written anew. The new ones have names
-- of their own, so that this may be repeated without dropping a row that was written after it.
DROP VIEW IF EXISTS account_metrics_to_newest;
DROP VIEW IF EXISTS account_scores_to_newest;
DROP TABLE IF EXISTS account_metrics_newest;
DROP TABLE IF EXISTS account_scores_newest;
DROP TABLE IF EXISTS account_metrics_versions;
DROP TABLE IF EXISTS account_scores_versions;

-- The columns are described in the views. An evaluation that is done again for the same instant, after a
-- crash or because late events came, replaces its row.
CREATE TABLE metrics_versions
(
    account_id String CODEC(ZSTD(1)),
    evaluated_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    version UInt64 CODEC(Delta, ZSTD(1)),
    watermark DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    cut_offset Int64 CODEC(Delta, ZSTD(1)),
    is_daily Bool CODEC(ZSTD(1)),
    logins_1d UInt32 CODEC(ZSTD(1)),
    logins_7d UInt32 CODEC(ZSTD(1)),
    logins_28d UInt32 CODEC(ZSTD(1)),
    logins_90d UInt32 CODEC(ZSTD(1)),
    logins_prior_28d Nullable(UInt32) CODEC(ZSTD(1)),
    logins_trend Nullable(Float64) CODEC(ZSTD(1)),
    logins_week_ratio Nullable(Float64) CODEC(ZSTD(1)),
    logins_per_user_28d Nullable(Float64) CODEC(ZSTD(1)),
    days_since_last_login Nullable(Int32) CODEC(ZSTD(1)),
    days_since_last_active Nullable(Int32) CODEC(ZSTD(1)),
    workdays_since_last_login Nullable(Int32) CODEC(ZSTD(1)),
    workdays_since_last_active Nullable(Int32) CODEC(ZSTD(1)),
    active_users_1d UInt32 CODEC(ZSTD(1)),
    active_users_7d UInt32 CODEC(ZSTD(1)),
    active_users_28d UInt32 CODEC(ZSTD(1)),
    active_users_prior_28d Nullable(UInt32) CODEC(ZSTD(1)),
    active_users_trend Nullable(Float64) CODEC(ZSTD(1)),
    stickiness Nullable(Float64) CODEC(ZSTD(1)),
    segment_stickiness Nullable(Float64) CODEC(ZSTD(1)),
    relative_stickiness Nullable(Float64) CODEC(ZSTD(1)),
    seats Nullable(UInt32) CODEC(ZSTD(1)),
    seat_utilisation Nullable(Float64) CODEC(ZSTD(1)),
    key_features_used_28d Nullable(UInt32) CODEC(ZSTD(1)),
    feature_breadth Nullable(Float64) CODEC(ZSTD(1)),
    advanced_features_used_28d Nullable(UInt32) CODEC(ZSTD(1)),
    usage_28d UInt64 CODEC(ZSTD(1)),
    usage_prior_28d Nullable(UInt64) CODEC(ZSTD(1)),
    usage_trend Nullable(Float64) CODEC(ZSTD(1)),
    feature_depth Nullable(Float64) CODEC(ZSTD(1)),
    usage_z Nullable(Float64) CODEC(ZSTD(1)),
    top_user_share Nullable(Float64) CODEC(ZSTD(1)),
    ttv_days Nullable(Float64) CODEC(ZSTD(1)),
    ttv_running_days Nullable(Float64) CODEC(ZSTD(1)),
    milestones_done Nullable(UInt32) CODEC(ZSTD(1)),
    milestones_total Nullable(UInt32) CODEC(ZSTD(1)),
    account_age_days Nullable(Float64) CODEC(ZSTD(1)),
    days_in_stage Nullable(Float64) CODEC(ZSTD(1)),
    sticky_actions Nullable(UInt32) CODEC(ZSTD(1)),
    open_tickets UInt32 CODEC(ZSTD(1)),
    oldest_open_ticket_days Nullable(Float64) CODEC(ZSTD(1)),
    oldest_unanswered_ticket_days Nullable(Float64) CODEC(ZSTD(1)),
    open_ticket_age_days Nullable(Float64) CODEC(ZSTD(1)),
    open_escalations Nullable(UInt32) CODEC(ZSTD(1)),
    escalations_90d UInt32 CODEC(ZSTD(1)),
    tickets_opened_90d UInt32 CODEC(ZSTD(1)),
    nps Nullable(Float64) CODEC(ZSTD(1)),
    csat Nullable(Float64) CODEC(ZSTD(1)),
    last_nps Nullable(Float64) CODEC(ZSTD(1)),
    days_since_last_nps Nullable(Int32) CODEC(ZSTD(1)),
    champion_days_silent Nullable(Int32) CODEC(ZSTD(1)),
    decision_maker_days_silent Nullable(Int32) CODEC(ZSTD(1)),
    champions_removed_28d UInt32 CODEC(ZSTD(1)),
    new_departments_28d Nullable(UInt32) CODEC(ZSTD(1)),
    mrr Nullable(Float64) CODEC(ZSTD(1)),
    days_to_renewal Nullable(Int32) CODEC(ZSTD(1)),
    days_to_discount_end Nullable(Int32) CODEC(ZSTD(1)),
    downgrades_28d UInt32 CODEC(ZSTD(1)),
    errors_7d UInt32 CODEC(ZSTD(1)),
    errors_usual_7d Nullable(Float64) CODEC(ZSTD(1)),
    errors_trend Nullable(Float64) CODEC(ZSTD(1)),
    empty_searches_28d UInt32 CODEC(ZSTD(1)),
    engagements_28d UInt32 CODEC(ZSTD(1)),
    usual_gap_workdays Nullable(Float64) CODEC(ZSTD(1)),
    onboarding_state LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    unused_key_features Array(LowCardinality(String)) CODEC(ZSTD(1)),
    milestones Array(Tuple(String, String, Nullable(DateTime64(3, 'UTC')), Nullable(Float64))) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(evaluated_at)
ORDER BY (account_id, evaluated_at)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE OR REPLACE VIEW account_metrics
(
    account_id String COMMENT 'The account',
    evaluated_at DateTime64(3, 'UTC') COMMENT 'The instant that the row speaks of',
    watermark DateTime64(3, 'UTC') COMMENT 'The newest event time that the worker had read of the partition',
    cut_offset Int64
        COMMENT 'Offset in the partition of the account of the last event that the row covers; -1 before any',
    is_daily Bool
        COMMENT 'Whether it is the row of a midnight (UTC), which is restated when late events come',
    logins_1d UInt32 COMMENT 'Login events on the local day; count',
    logins_7d UInt32 COMMENT 'Login events in 7 local days; count',
    logins_28d UInt32 COMMENT 'Login events in 28 local days; count',
    logins_90d UInt32 COMMENT 'Login events in 90 local days; count',
    logins_prior_28d Nullable(UInt32)
        COMMENT 'Login events in the 28 local days before; count; NULL while the life is too short',
    logins_trend Nullable(Float64)
        COMMENT 'logins_28d / logins_prior_28d; ratio, 1 = unchanged; NULL when that is NULL or 0',
    logins_week_ratio Nullable(Float64)
        COMMENT 'logins_7d / (logins_28d / 4); ratio; NULL when logins_28d is 0',
    logins_per_user_28d Nullable(Float64)
        COMMENT 'logins_28d / active_users_28d, 0 when nobody was active in 28 days but somebody before; logins per user; NULL when nobody was ever active',
    days_since_last_login Nullable(Int32)
        COMMENT 'Local days from the last login of any user; NULL without one',
    days_since_last_active Nullable(Int32) COMMENT 'Local days from the last active day; NULL without one',
    workdays_since_last_login Nullable(Int32)
        COMMENT 'Working days strictly between the last login and the local day; NULL without one',
    workdays_since_last_active Nullable(Int32)
        COMMENT 'Working days strictly between the last active day and the local day; NULL without one',
    active_users_1d UInt32 COMMENT 'Distinct users with a login or feature event on the local day; users',
    active_users_7d UInt32 COMMENT 'Distinct active users in 7 local days; users',
    active_users_28d UInt32 COMMENT 'Distinct active users in 28 local days; users',
    active_users_prior_28d Nullable(UInt32)
        COMMENT 'Distinct active users in the 28 local days before; users; NULL while the life is too short',
    active_users_trend Nullable(Float64)
        COMMENT 'active_users_28d / active_users_prior_28d; ratio; NULL when that is NULL or 0',
    stickiness Nullable(Float64)
        COMMENT 'Sum of daily active users of 28 days / 28 / active_users_28d; 0 to 1; NULL when nobody was active',
    segment_stickiness Nullable(Float64)
        COMMENT 'Median stickiness of the segment that the evaluation was given (segment_baselines); 0 to 1; NULL when the segment has too few accounts',
    relative_stickiness Nullable(Float64)
        COMMENT 'stickiness / segment_stickiness; ratio, 1 = as its segment; NULL when either is NULL, or the latter 0',
    seats Nullable(UInt32) COMMENT 'Seats of the contract, else of the account; seats; NULL when not told',
    seat_utilisation Nullable(Float64)
        COMMENT 'active_users_28d / seats; ratio, may exceed 1; NULL when seats is unknown',
    key_features_used_28d Nullable(UInt32)
        COMMENT 'Configured key features used in 28 days; count; NULL when none are configured',
    feature_breadth Nullable(Float64)
        COMMENT 'key_features_used_28d / configured key features; 0 to 1; NULL when none are configured',
    advanced_features_used_28d Nullable(UInt32)
        COMMENT 'Configured advanced features used in 28 days; count; NULL when none are configured',
    usage_28d UInt64 COMMENT 'Feature uses in 28 days, an event counts properties.count, by default 1; uses',
    usage_prior_28d Nullable(UInt64)
        COMMENT 'Feature uses in the 28 days before; uses; NULL while the life is too short',
    usage_trend Nullable(Float64) COMMENT 'usage_28d / usage_prior_28d; ratio; NULL when that is NULL or 0',
    feature_depth Nullable(Float64)
        COMMENT 'usage_28d / active_users_28d; uses per user; NULL when nobody was active',
    usage_z Nullable(Float64)
        COMMENT '(uses of 7 days - median of the weeks before) / max(1.4826 MAD, root of max(median, 1)); standard deviations; NULL with fewer than 4 whole weeks before',
    top_user_share Nullable(Float64)
        COMMENT 'Greatest share of one user in the uses of 28 days that name a user; 0 to 1; NULL without such a use',
    ttv_days Nullable(Float64)
        COMMENT 'From the start to the first value event; days; NULL until it has happened',
    ttv_running_days Nullable(Float64)
        COMMENT 'From the start to the evaluation; days; NULL once the value event has happened',
    milestones_done Nullable(UInt32)
        COMMENT 'Configured milestones reached; count; NULL when none are configured',
    milestones_total Nullable(UInt32) COMMENT 'Configured milestones; count; NULL when none are configured',
    account_age_days Nullable(Float64)
        COMMENT 'From the start to the evaluation; days; NULL without an event',
    days_in_stage Nullable(Float64) COMMENT 'Since the stage was entered; days; NULL when it never was',
    sticky_actions Nullable(UInt32)
        COMMENT 'Configured sticky actions done; count; NULL when none are configured',
    open_tickets UInt32 COMMENT 'Tickets whose newest opened is newer than the newest resolved; count',
    oldest_open_ticket_days Nullable(Float64)
        COMMENT 'Since the oldest open ticket was last opened; days; NULL when none is open',
    oldest_unanswered_ticket_days Nullable(Float64)
        COMMENT 'The same among those without a reply since; days; NULL when there are none',
    open_ticket_age_days Nullable(Float64)
        COMMENT 'oldest_open_ticket_days, 0 when none is open but one was opened in 90 days; days; NULL when none was',
    open_escalations Nullable(UInt32)
        COMMENT 'Open tickets escalated since they were opened; count; NULL when none is open and none was opened in 90 days',
    escalations_90d UInt32 COMMENT 'Escalated tickets in 90 days; count',
    tickets_opened_90d UInt32 COMMENT 'Opened tickets in 90 days; count',
    nps Nullable(Float64)
        COMMENT '100 * sum of w * s / sum of w over the responses of 90 days, s = 1 from 9, -1 up to 6, else 0, w = 1 - age / 90; -100 to 100; NULL without a response',
    csat Nullable(Float64)
        COMMENT 'Sum of w * score / sum of w over the responses of 90 days, w = 1 - age / 90; 1 to 5; NULL without a response',
    last_nps Nullable(Float64) COMMENT 'Score of the newest NPS response; 0 to 10; NULL without one',
    days_since_last_nps Nullable(Int32) COMMENT 'Since that response; local days; NULL without one',
    champion_days_silent Nullable(Int32)
        COMMENT 'Least local days since the last activity among the champions not removed; local days; NULL without one',
    decision_maker_days_silent Nullable(Int32)
        COMMENT 'The same among decision makers; local days; NULL without one',
    champions_removed_28d UInt32
        COMMENT 'Champions of whom removed was stated true in 28 days and still is; users',
    new_departments_28d Nullable(UInt32)
        COMMENT 'Departments first active in 28 days; count; NULL when none is known or the account itself is that new',
    mrr Nullable(Float64)
        COMMENT 'Monthly recurring revenue as told, not converted; currency of the contract; NULL when not told',
    days_to_renewal Nullable(Int32)
        COMMENT 'To the end of the contract, negative when over; local days; NULL when not told',
    days_to_discount_end Nullable(Int32)
        COMMENT 'To the end of the discount, negative when over; local days; NULL when not told',
    downgrades_28d UInt32 COMMENT 'Contract events downgraded and option_removed in 28 days; count',
    errors_7d UInt32 COMMENT 'Error events in 7 days; count',
    errors_usual_7d Nullable(Float64)
        COMMENT 'Error events of the 28 days before those / 4; count a week; NULL while the life is too short',
    errors_trend Nullable(Float64) COMMENT 'errors_7d / errors_usual_7d; ratio; NULL when that is NULL or 0',
    empty_searches_28d UInt32 COMMENT 'Engagement events with results = 0 in 28 days; count',
    engagements_28d UInt32 COMMENT 'Engagement events in 28 days; count',
    usual_gap_workdays Nullable(Float64)
        COMMENT 'Working days without activity between the first and last active day of 90 days / (active days - 1); working days; NULL with fewer than 2 active days',
    onboarding_state LowCardinality(Nullable(String))
        COMMENT 'done, on_track, behind or stalled: the worst of the milestones; NULL when none are configured',
    unused_key_features Array(LowCardinality(String))
        COMMENT 'configured key features without a use in 28 days; names, in the order configured',
    milestones Array(Tuple(name String, state String, reached_at Nullable(DateTime64(3, 'UTC')), dwell_days Nullable(Float64)))
        COMMENT 'Every configured milestone in the order configured: name, state (done, on_track, behind, stalled), when it was reached, and the days from the step before to it, up to the evaluation for the one that is waited for'
)
AS SELECT * EXCEPT (version) REPLACE (
    CAST(milestones, 'Array(Tuple(name String, state String, reached_at Nullable(DateTime64(3, ''UTC'')), dwell_days Nullable(Float64)))') AS milestones
) FROM metrics_versions FINAL;

-- The newest evaluation of each account, kept apart so that the page need not read the history. The
-- later instant wins, and of one instant the newer version.
CREATE TABLE metrics_newest
ENGINE = ReplacingMergeTree(rank)
ORDER BY account_id AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM metrics_versions;

CREATE MATERIALIZED VIEW metrics_to_newest TO metrics_newest AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM metrics_versions;

CREATE OR REPLACE VIEW account_metrics_latest AS
SELECT * EXCEPT (version, rank) REPLACE (
    CAST(milestones, 'Array(Tuple(name String, state String, reached_at Nullable(DateTime64(3, ''UTC'')), dwell_days Nullable(Float64)))') AS milestones
) FROM metrics_newest FINAL
COMMENT 'The newest row of account_metrics of each account; the columns are described there';

CREATE TABLE scores_versions
(
    account_id String CODEC(ZSTD(1)),
    evaluated_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    version UInt64 CODEC(Delta, ZSTD(1)),
    watermark DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    cut_offset Int64 CODEC(Delta, ZSTD(1)),
    is_daily Bool CODEC(ZSTD(1)),
    health Nullable(Float64) CODEC(ZSTD(1)),
    ttv Nullable(Float64) CODEC(ZSTD(1)),
    activity Nullable(Float64) CODEC(ZSTD(1)),
    adoption Nullable(Float64) CODEC(ZSTD(1)),
    sentiment Nullable(Float64) CODEC(ZSTD(1)),
    support Nullable(Float64) CODEC(ZSTD(1)),
    churn_risk Nullable(Float64) CODEC(ZSTD(1)),
    expansion Nullable(Float64) CODEC(ZSTD(1)),
    confidence Float64 CODEC(ZSTD(1)),
    band LowCardinality(String) CODEC(ZSTD(1)),
    stage LowCardinality(String) CODEC(ZSTD(1)),
    tier LowCardinality(String) CODEC(ZSTD(1)),
    drivers Array(Tuple(String, String, Nullable(Float64), Nullable(Float64), Float64)) CODEC(ZSTD(1)),
    model_hash String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(evaluated_at)
ORDER BY (account_id, evaluated_at)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE OR REPLACE VIEW account_scores
(
    account_id String COMMENT 'The account',
    evaluated_at DateTime64(3, 'UTC') COMMENT 'The instant that the row speaks of',
    watermark DateTime64(3, 'UTC') COMMENT 'The newest event time that the worker had read of the partition',
    cut_offset Int64
        COMMENT 'Offset in the partition of the account of the last event that the row covers; -1 before any',
    is_daily Bool
        COMMENT 'Whether it is the row of a midnight (UTC), which is restated when late events come',
    health Nullable(Float64)
        COMMENT 'Weighted mean of the known components ttv, activity, adoption, sentiment and support; 0 to 100, 100 is well; NULL when none is known or the account has churned',
    ttv Nullable(Float64)
        COMMENT 'How soon the first value came, or how long it is waited for; 0 to 100, 100 is well',
    activity Nullable(Float64) COMMENT 'Recency, reach and trend of use; 0 to 100, 100 is well',
    adoption Nullable(Float64) COMMENT 'Breadth and depth of feature use; 0 to 100, 100 is well',
    sentiment Nullable(Float64) COMMENT 'nps and csat; 0 to 100, 100 is well',
    support Nullable(Float64) COMMENT 'Age and escalation of open tickets; 0 to 100, 100 is well',
    churn_risk Nullable(Float64)
        COMMENT '1 / (1 + exp(-z)), z = base + log-odds of every known input; probability of churn within 30 days, 1 is bad',
    expansion Nullable(Float64)
        COMMENT 'How likely the account is to grow, not part of health; 0 to 100, 100 is likely',
    confidence Float64 COMMENT 'Share of the weights of health whose component was known; 0 to 1',
    band LowCardinality(String) COMMENT 'red, yellow, green, or unknown without health',
    stage LowCardinality(String) COMMENT 'trial, onboarding, adoption, expansion, renewal or churned',
    tier LowCardinality(String) COMMENT 'Touch tier: high, low or tech',
    drivers Array(Tuple(score String, input String, value Nullable(Float64), baseline Nullable(Float64), points Float64))
        COMMENT 'What moved each score, strongest first within each: score (health, churn_risk, expansion), input, its value, what is usual for the account, and points: above or below 50, of churn_risk log-odds',
    model_hash String COMMENT 'Of the model and the configuration'
)
AS SELECT * EXCEPT (version) REPLACE (
    CAST(drivers, 'Array(Tuple(score String, input String, value Nullable(Float64), baseline Nullable(Float64), points Float64))') AS drivers
) FROM scores_versions FINAL;

CREATE TABLE scores_newest
ENGINE = ReplacingMergeTree(rank)
ORDER BY account_id AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM scores_versions;

CREATE MATERIALIZED VIEW scores_to_newest TO scores_newest AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM scores_versions;

CREATE OR REPLACE VIEW account_scores_latest AS
SELECT * EXCEPT (version, rank) REPLACE (
    CAST(drivers, 'Array(Tuple(score String, input String, value Nullable(Float64), baseline Nullable(Float64), points Float64))') AS drivers
) FROM scores_newest FINAL
COMMENT 'The newest row of account_scores of each account; the columns are described there';

CREATE OR REPLACE VIEW account_milestones AS
SELECT account_id, evaluated_at, position, milestone.name AS name, milestone.state AS state,
       milestone.reached_at AS reached_at, milestone.dwell_days AS dwell_days
FROM account_metrics_latest
ARRAY JOIN milestones AS milestone, arrayEnumerate(milestones) AS position
COMMENT 'Account and configured milestone: where it stands now; the columns are those of account_metrics.milestones';

ALTER TABLE accounts_versions
    ADD COLUMN IF NOT EXISTS stage_since Nullable(DateTime64(3, 'UTC'))
        COMMENT 'When the stage was entered; NULL when it never was' AFTER stage,
    ADD COLUMN IF NOT EXISTS stage_history Array(Tuple(String, DateTime64(3, 'UTC')))
        COMMENT 'Every stage so far and when it was entered, oldest first' AFTER stage_since;

CREATE OR REPLACE VIEW accounts AS
SELECT * EXCEPT (version) REPLACE (
    CAST(stage_history, 'Array(Tuple(stage String, entered_at DateTime64(3, ''UTC'')))') AS stage_history
) FROM accounts_versions FINAL;

CREATE OR REPLACE VIEW stage_transitions AS
SELECT account_id, entry.stage AS stage, entry.entered_at AS entered_at, position
FROM accounts
ARRAY JOIN stage_history AS entry, arrayEnumerate(stage_history) AS position
COMMENT 'Account and stage entered, as it is known now: late events correct it; position counts from 1';

ALTER TABLE users_versions
    ADD COLUMN IF NOT EXISTS department LowCardinality(Nullable(String))
        COMMENT 'As user events told; NULL when not told' AFTER role;

CREATE OR REPLACE VIEW users AS
SELECT * EXCEPT (version) FROM users_versions FINAL;

-- What is usual in a segment, computed now and then over the newest numbers of its accounts.
CREATE TABLE segment_baselines
(
    computed_at DateTime64(3, 'UTC') COMMENT 'When' CODEC(DoubleDelta, ZSTD(1)),
    segment String COMMENT 'Empty for accounts without one' CODEC(ZSTD(1)),
    stickiness Nullable(Float64)
        COMMENT 'Median stickiness of its accounts that have not churned; NULL when too few have any' CODEC(ZSTD(1)),
    accounts UInt32 COMMENT 'How many accounts it is the median of' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (segment, computed_at)
SETTINGS non_replicated_deduplication_window = 1000;

-- Percentiles lie on a line between the two accounts next to them.
CREATE OR REPLACE VIEW ttv_cohorts
(
    start_month Date COMMENT 'First day of the month (UTC) of the start',
    segment Nullable(String) COMMENT 'As it is now; NULL when not told',
    plan Nullable(String) COMMENT 'As it is now; NULL when not told',
    accounts UInt64 COMMENT 'Accounts that started',
    reached UInt64 COMMENT 'Of them, those whose value event has happened',
    waiting UInt64 COMMENT 'Of them, those that wait for it and have not churned',
    ttv_days_p25 Nullable(Float64) COMMENT 'Quarter of ttv_days of those that reached it; days',
    ttv_days_median Nullable(Float64) COMMENT 'Median of ttv_days of those that reached it; days',
    ttv_days_p75 Nullable(Float64) COMMENT 'Three quarters of ttv_days of those that reached it; days',
    ttv_days_p90 Nullable(Float64) COMMENT 'Nine tenths of ttv_days of those that reached it; days',
    waiting_days_median Nullable(Float64) COMMENT 'Median of ttv_running_days of those that wait; days'
)
AS SELECT assumeNotNull(toStartOfMonth(a.started_at)) AS start_month,
          CAST(a.segment, 'Nullable(String)') AS segment, CAST(a.plan, 'Nullable(String)') AS plan,
          count() AS accounts,
          count(m.ttv_days) AS reached,
          countIf(isNotNull(m.ttv_running_days) AND a.stage != 'churned') AS waiting,
          quantileExactInclusive(0.25)(m.ttv_days) AS ttv_days_p25,
          quantileExactInclusive(0.5)(m.ttv_days) AS ttv_days_median,
          quantileExactInclusive(0.75)(m.ttv_days) AS ttv_days_p75,
          quantileExactInclusive(0.9)(m.ttv_days) AS ttv_days_p90,
          quantileExactInclusive(0.5)(if(a.stage = 'churned', NULL, m.ttv_running_days)) AS waiting_days_median
FROM accounts AS a
JOIN account_metrics_latest AS m ON m.account_id = a.account_id
WHERE isNotNull(a.started_at)
GROUP BY start_month, segment, plan;
