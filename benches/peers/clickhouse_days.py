"""Raw events and days of accounts in ClickHouse, as a knowledgeable user would keep them.

The days come in two forms:

- `view`: a materialized view folds each block as it lands, and a query merges the states. Each day of an account
  has one set of feature and event id, so that repeats count once, and everything but the users is counted from it;
  a set for each number, or rows for each feature, cost more.
- `query`: nothing is kept but the raw rows, and the query counts them all, each time it is asked.
"""

RAW = """
CREATE TABLE usage_raw
(
    event_id String,
    account_id String,
    user_id String,
    type LowCardinality(String),
    name LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    properties String
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (account_id, occurred_at)
"""

VIEW = [
    """
CREATE TABLE usage_days
(
    account_id String,
    day Date,
    records SimpleAggregateFunction(sum, UInt64),
    ids AggregateFunction(groupUniqArray, Tuple(LowCardinality(String), String)),
    users AggregateFunction(uniqExact, String)
)
ENGINE = AggregatingMergeTree
ORDER BY (account_id, day)
""",
    """
CREATE MATERIALIZED VIEW usage_days_view TO usage_days AS
SELECT
    account_id,
    toDate(occurred_at) AS day,
    count() AS records,
    groupUniqArrayState((name, event_id)) AS ids,
    uniqExactState(user_id) AS users
FROM usage_raw
GROUP BY account_id, day
""",
]

QUESTIONS = {
    "view": """
WITH arrayFilter(name -> name != 'login', arrayDistinct(names)) AS used
SELECT
    account_id,
    day,
    length(names) AS events,
    countEqual(names, 'login') AS logins,
    users,
    toJSONString(mapFromArrays(used, arrayMap(name -> countEqual(names, name), used))) AS features
FROM
(
    SELECT account_id, day, groupUniqArrayMerge(ids).1 AS names, uniqExactMerge(users) AS users
    FROM usage_days
    GROUP BY account_id, day
)
""",
    "query": """
SELECT
    account_id,
    day,
    count() AS events,
    countIf(type = 'login') AS logins,
    uniqExact(user_id) AS users,
    toJSONString(sumMapIf(map(name, 1), type != 'login')) AS features
FROM
(
    SELECT account_id, toDate(occurred_at) AS day, user_id, type, name
    FROM usage_raw
    LIMIT 1 BY account_id, event_id
)
GROUP BY account_id, day
""",
}


def tables(days):
    """The statements that make the tables, with the days in this form."""
    return [RAW, *VIEW] if days == "view" else [RAW]


def progress(days):
    """The query that says how many records are in."""
    return "SELECT sum(records) FROM usage_days" if days == "view" else "SELECT count() FROM usage_raw"


def question(days):
    """The query whose rows are those of the answer file."""
    return QUESTIONS[days] + "SETTINGS output_format_json_quote_64bit_integers = 0 FORMAT TSVRaw"
