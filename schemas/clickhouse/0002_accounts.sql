-- What is known of accounts and their users. Every row is the whole truth at its version; the views
-- answer with the newest one.
CREATE TABLE accounts_versions
(
    account_id String,
    version UInt64 COMMENT 'The newest wins: the epoch of the worker in the upper 24 bits, a counter below',
    name Nullable(String),
    plan LowCardinality(Nullable(String)),
    segment LowCardinality(Nullable(String)),
    tier LowCardinality(String) COMMENT 'high, low or tech',
    stage LowCardinality(String) COMMENT 'trial, onboarding, adoption, expansion, renewal or churned',
    seats Nullable(UInt32),
    timezone Nullable(String) COMMENT 'IANA name; the configured default when NULL',
    owner Nullable(String) COMMENT 'The customer-success manager',
    mrr Nullable(Float64) COMMENT 'Monthly recurring revenue, in the currency of the contract',
    currency LowCardinality(Nullable(String)),
    started_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Contract or trial start, else sign-up, else first event',
    contract_ends_at Nullable(DateTime64(3, 'UTC')),
    churned_at Nullable(DateTime64(3, 'UTC')),
    first_event_at Nullable(DateTime64(3, 'UTC')),
    last_event_at Nullable(DateTime64(3, 'UTC')),
    updated_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY account_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW accounts AS
SELECT * EXCEPT (version) FROM accounts_versions FINAL;

CREATE TABLE users_versions
(
    account_id String,
    user_id String,
    version UInt64,
    role LowCardinality(String) COMMENT 'champion, decision_maker, admin or member; empty when not told',
    removed Bool,
    first_seen_at Nullable(DateTime64(3, 'UTC')),
    last_login_at Nullable(DateTime64(3, 'UTC')),
    last_active_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Last login or feature use',
    updated_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (account_id, user_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW users AS
SELECT * EXCEPT (version) FROM users_versions FINAL;

CREATE TABLE account_daily_versions
(
    account_id String,
    day Date COMMENT 'Day of the account''s own time zone',
    version UInt64,
    logins UInt32,
    events UInt32,
    active_users UInt32 COMMENT 'Distinct users with a login or a feature event',
    feature_uses Map(LowCardinality(String), UInt64) COMMENT 'Uses by feature',
    updated_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (account_id, day)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW account_daily AS
SELECT * EXCEPT (version) FROM account_daily_versions FINAL WHERE events > 0;
