"""The embedded ClickHouse through clickhouse-connect.

Takes the server's host and port, asserts as it goes, and prints `done` at the end.
"""

import datetime
import sys

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError

host, port = sys.argv[1], int(sys.argv[2])


def check(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


for compress in (False, True, "lz4", "gzip"):
    client = clickhouse_connect.get_client(host=host, port=port, compress=compress)
    client.command("CREATE DATABASE IF NOT EXISTS python")
    client.command("DROP TABLE IF EXISTS python.visits")
    client.command(
        "CREATE TABLE python.visits (id UInt64, name String, at DateTime64(3, 'UTC'), score Nullable(Float64),"
        " tags Array(LowCardinality(String))) ENGINE = MergeTree ORDER BY id"
    )
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    columns = ["id", "name", "at", "score", "tags"]
    rows = [
        [n, f"見守り {n}", start + datetime.timedelta(seconds=n), None if n % 3 == 0 else n / 8, ["a", "b"][: n % 3]]
        for n in range(20_000)
    ]
    summary = client.insert("visits", rows, column_names=columns, database="python")
    check(summary.written_rows, len(rows))

    check(client.command("SELECT count() FROM python.visits"), len(rows))
    result = client.query("SELECT * FROM python.visits ORDER BY id")
    check(list(result.column_names), columns)
    check(len(result.result_rows), len(rows))
    # Times of UTC come back without their zone.
    wanted = [[id, name, at.replace(tzinfo=None), score, tags] for id, name, at, score, tags in rows]
    check([list(row) for row in result.result_rows], wanted)

    found = client.query(
        "SELECT name FROM python.visits WHERE id = {id:UInt64} AND name != {name:String}",
        parameters={"id": 5, "name": "O'Brien"},
    )
    check(found.result_rows, [("見守り 5",)])
    check(client.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).result_rows, [(1,)])

    with client.query_row_block_stream("SELECT number FROM numbers(500000)") as stream:
        check(sum(len(block) for block in stream), 500_000)

    # A client has a session of its own: what is set in it stays.
    client.command("CREATE TEMPORARY TABLE mine (a UInt8)")
    client.command("INSERT INTO mine VALUES (1), (2)")
    check(client.command("SELECT sum(a) FROM mine"), 3)

    for sql, code in [("SELECT nosuch", "UNKNOWN_IDENTIFIER"), ("SELECT * FROM nosuch", "UNKNOWN_TABLE")]:
        try:
            client.query(sql)
        except DatabaseError as error:
            assert code in str(error), error
        else:
            raise AssertionError(f"{sql} succeeded")
    try:
        client.query("SELECT throwIf(number = 900000) FROM numbers(1000000)")
    except Exception as error:
        assert "395" in str(error) or "throwIf" in str(error), error
    else:
        raise AssertionError("a failure after the first rows went unnoticed")
    client.close()

print("done")
