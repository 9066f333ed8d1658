-- What became of the accounts that were alarmed about (docs/outcome.md), for episodes that opened at a time or
-- later, of one rule or of all, and with the health after some days or others. All of it bounds what is read.
--
-- Each part gives one row of an episode or an account whatever rows are there twice, so that an episode
-- is one row. Scores are those of the midnights (UTC), which are restated when late events come.
CREATE OR REPLACE VIEW alert_outcomes_of AS
WITH
    (SELECT least(max(evaluated_at), now64(3)) FROM scores_newest) AS known_until,
    episode AS
    (
        SELECT episode_id, any(account_id) AS account_id, any(rule) AS rule,
               argMinIf(alert_id, at, change = 'opened') AS opening,
               argMinIf(severity, at, change = 'opened') AS severity,
               argMinIf(said, at, change = 'opened') AS told,
               minIf(at, change = 'opened') AS opened_at,
               minOrNullIf(at, change = 'acknowledged') AS acknowledged_at,
               minOrNullIf(at, change = 'resolved') AS ended_at,
               argMinIf(said.account.stage, at, change = 'resolved') AS stage_at_end
        FROM
        (
            -- Every change of an episode is as late as its opening or later.
            SELECT episode_id, alert_id, account_id, rule, severity, change, at,
                   JSONExtract(if(change IN ('opened', 'resolved'), payload, ''), 'Tuple(kind String, account Tuple(tier String, stage String, segment Nullable(String)), scores Tuple(health Nullable(Float64)))') AS said
            FROM alerts_versions
            WHERE at >= {since:DateTime64(3, 'UTC')} AND ({rule:String} = '' OR rule = {rule:String})
        )
        GROUP BY episode_id
        HAVING countIf(change = 'opened') > 0 AND countIf(change = 'retracted') = 0
    ),
    delivery AS
    (
        SELECT alert_id, anyIf(variant, variant != '') AS variant,
               minOrNullIf(at, status IN ('delivered', 'digested')) AS told_at,
               multiIf(isNotNull(told_at), 'told', countIf(status = 'held_out') > 0, 'held_out',
                       countIf(status = 'shadow') > 0, 'shadow', '') AS arm
        FROM deliveries_versions FINAL
        WHERE alert_id IN
        (
            SELECT alert_id FROM alerts_versions
            WHERE change = 'opened' AND at >= {since:DateTime64(3, 'UTC')} AND ({rule:String} = '' OR rule = {rule:String})
        )
        GROUP BY alert_id
    ),
    deed AS
    (
        SELECT account_id, JSONExtractString(properties, 'episode_id') AS episode_id,
               minOrNullIf(occurred_at, name = 'acknowledged') AS acknowledged_at,
               argMinIf(JSONExtractString(properties, 'by'), occurred_at, name = 'acknowledged') AS acknowledged_by,
               minOrNullIf(occurred_at, name = 'resolved') AS declared_at,
               argMinIf(JSONExtractString(properties, 'by'), occurred_at, name = 'resolved') AS declared_by,
               argMaxIf(JSONExtractString(properties, 'playbook'), occurred_at, JSONExtractString(properties, 'playbook') != '') AS playbook,
               uniqExact(event_id) AS deeds
        FROM events
        -- They are dated by another clock.
        WHERE type = 'action' AND occurred_at >= {since:DateTime64(3, 'UTC')} - toIntervalDay(1)
        GROUP BY account_id, episode_id
    ),
    asked AS
    (
        SELECT episode_id, account_id, days,
               toDateTime64(toStartOfDay(due) - toIntervalDay(missing), 3, 'UTC') AS midnight,
               cityHash64(account_id, midnight) AS place
        FROM
        (
            SELECT episode_id, account_id, days, at + toIntervalDay(days) AS due
            FROM alerts_versions
            ARRAY JOIN {days:Array(UInt16)} AS days
            WHERE change = 'opened' AND due <= known_until
              AND at >= {since:DateTime64(3, 'UTC')} AND ({rule:String} = '' OR rule = {rule:String})
        )
        ARRAY JOIN [0, 1, 2] AS missing
    ),
    later AS
    (
        -- Of the midnights asked for the newest that has a row, and of its rows the newest. The hash spares
        -- nearly all rows the join.
        SELECT episode_id,
               argMaxIf(tuple(health), (midnight, version), days = 7).1 AS health_7d,
               argMaxIf(tuple(health), (midnight, version), days = 30).1 AS health_30d,
               argMaxIf(tuple(health), (midnight, version), days = 60).1 AS health_60d
        FROM
        (
            SELECT account_id, evaluated_at, version, health, cityHash64(account_id, evaluated_at) AS place
            FROM scores_versions
            WHERE is_daily AND place IN (SELECT place FROM asked)
              AND evaluated_at >= {since:DateTime64(3, 'UTC')} AND evaluated_at <= known_until
        ) AS score
        JOIN asked ON asked.place = score.place
        WHERE asked.account_id = score.account_id AND asked.midnight = score.evaluated_at
        GROUP BY episode_id
    ),
    joined AS
    (
        SELECT episode.episode_id AS episode_id, episode.account_id AS account_id, episode.rule AS rule,
               if(episode.told.kind = '', 'at_risk', episode.told.kind) AS kind, episode.severity AS severity,
               episode.opened_at AS opened_at, delivery.arm AS arm, delivery.variant AS variant,
               episode.told.account.tier AS tier, episode.told.account.stage AS stage,
               episode.told.account.segment AS segment, delivery.told_at AS told_at,
               coalesce(least(episode.acknowledged_at, deed.acknowledged_at), episode.acknowledged_at,
                        deed.acknowledged_at) AS acknowledged_at,
               deed.acknowledged_by AS acknowledged_by, episode.ended_at AS resolved_at,
               -- The change follows the deed within seconds, and the two were dated by two clocks.
               multiIf(isNull(episode.ended_at), '', episode.stage_at_end = 'churned', 'churned',
                       ifNull(deed.declared_at <= episode.ended_at + toIntervalMinute(1), false), 'declared',
                       'cleared') AS resolution,
               if(resolution = 'declared', deed.declared_by, '') AS resolved_by,
               deed.playbook AS playbook, deed.deeds AS actions,
               episode.told.scores.health AS health_at_opening,
               arrayMap(days -> episode.opened_at + toIntervalDay(days), [7, 30, 60]) AS dues,
               arrayMap(due -> if(due > known_until, NULL,
                   resolution IN ('cleared', 'declared') AND ifNull(episode.ended_at <= due, false)), dues) AS recovered,
               arrayMap(due -> if(due > known_until, NULL,
                   arrayLast(entry -> entry.2 <= due, account.stage_history).1 != 'churned'), dues) AS retained,
               later.health_7d AS health_7d, later.health_30d AS health_30d, later.health_60d AS health_60d
        FROM episode
        LEFT JOIN delivery ON delivery.alert_id = episode.opening
        LEFT JOIN deed ON deed.account_id = episode.account_id AND deed.episode_id = episode.episode_id
        LEFT JOIN (SELECT account_id, stage_history FROM accounts_versions FINAL) AS account
            ON account.account_id = episode.account_id
        LEFT JOIN later ON later.episode_id = episode.episode_id
    )
SELECT episode_id, account_id, rule, kind, severity, opened_at, arm, variant, tier, stage, segment, told_at,
       acknowledged_at, acknowledged_by, resolved_at, resolution, resolved_by, playbook, actions, health_at_opening,
       recovered[1] AS recovered_7d, recovered[2] AS recovered_30d, recovered[3] AS recovered_60d,
       retained[1] AS retained_7d, retained[2] AS retained_30d, retained[3] AS retained_60d,
       health_7d, health_30d, health_60d
FROM joined
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW alert_outcomes
(
    episode_id String COMMENT 'The episode; those that were retracted are left out',
    account_id String COMMENT 'The account',
    rule LowCardinality(String) COMMENT 'The rule that opened it',
    kind LowCardinality(String) COMMENT 'at_risk or opportunity',
    severity LowCardinality(String) COMMENT 'At its opening: info, warning or critical',
    opened_at DateTime64(3, 'UTC') COMMENT 'When its opening was found and could be told; the days are counted from here',
    arm LowCardinality(String)
        COMMENT 'told: the opening was delivered to somebody; held_out: its account is in the holdout of the rule; shadow: the rule only records; empty: none of these, it waits, failed or was suppressed',
    variant LowCardinality(String) COMMENT 'Of the rule, that the account was put into; empty when it has none',
    tier LowCardinality(String) COMMENT 'At the opening: high, low or tech',
    stage LowCardinality(String) COMMENT 'At the opening: trial, onboarding, adoption, expansion or renewal',
    segment Nullable(String) COMMENT 'At the opening; NULL when not told',
    told_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the opening was first delivered; NULL when it was not',
    acknowledged_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When somebody first acknowledged it; NULL when nobody has',
    acknowledged_by String COMMENT 'Who that was; empty when not told',
    resolved_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it ended; NULL while it is open',
    resolution LowCardinality(String)
        COMMENT 'How it ended: cleared, declared (by a person), churned; empty while it is open',
    resolved_by String COMMENT 'Who declared it resolved; empty when nobody has',
    playbook String COMMENT 'The one named last in what people did about it; empty without one',
    actions UInt64 COMMENT 'What people did about it; count',
    health_at_opening Nullable(Float64) COMMENT 'Of the evaluation that opened it; 0 to 100; NULL when unknown',
    recovered_7d Nullable(Bool)
        COMMENT 'Whether it ended, other than by churn, within 7 days; NULL before they have passed',
    recovered_30d Nullable(Bool) COMMENT 'The same of 30 days',
    recovered_60d Nullable(Bool) COMMENT 'The same of 60 days',
    retained_7d Nullable(Bool)
        COMMENT 'Whether the stage of the account 7 days after the opening is another than churned; NULL before they have passed',
    retained_30d Nullable(Bool) COMMENT 'The same of 30 days',
    retained_60d Nullable(Bool) COMMENT 'The same of 60 days',
    health_7d Nullable(Float64)
        COMMENT 'Of the last midnight (UTC) 7 days after the opening, or of one of the two before where it has no row; 0 to 100; NULL before they have passed, when unknown or when the account has churned',
    health_30d Nullable(Float64) COMMENT 'The same of 30 days',
    health_60d Nullable(Float64) COMMENT 'The same of 60 days'
)
AS SELECT * FROM alert_outcomes_of(since = '1970-01-01 00:00:00', rule = '', days = [7, 30, 60]);

-- Values that came later than the tables.
ALTER TABLE events
    COMMENT COLUMN type 'login, feature, milestone, account, user, contract, ticket, survey, engagement, error or action';

ALTER TABLE alerts_versions
    COMMENT COLUMN change 'opened, escalated, acknowledged, resolved or retracted';
