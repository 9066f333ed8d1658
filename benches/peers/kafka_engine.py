"""ClickHouse's own Kafka engine: a table that reads the topic, and a materialized view that lands its rows.

It runs in this process, in the very library that `mimamori up` embeds (26.7): the embedded server refuses
engines that reach outside. `--parse` is how a record is read: as JSONEachRow, or as one text (RawBLOB) that a
single JSONExtract takes apart, which saves what JSONEachRow costs for each message.
"""

import ctypes
import time

import clickhouse_days
import peer

COLUMNS = "event_id String, account_id String, user_id String, type String, name String, {at}, properties String"
EVENT = COLUMNS.format(at="occurred_at String")

SOURCES = {
    "json-each-row": (
        COLUMNS.format(at="occurred_at DateTime64(3, 'UTC')"),
        "JSONEachRow",
        "SELECT * FROM usage_topic",
    ),
    "raw-blob": (
        "line String",
        "RawBLOB",
        f"""
        SELECT
            event.event_id AS event_id,
            event.account_id AS account_id,
            event.user_id AS user_id,
            event.type AS type,
            event.name AS name,
            parseDateTime64BestEffort(event.occurred_at, 3, 'UTC') AS occurred_at,
            event.properties AS properties
        FROM (SELECT JSONExtract(line, 'Tuple({EVENT})') AS event FROM usage_topic)
        """,
    ),
}


class ClickHouse:
    """The engine as a library in this process."""

    def __init__(self, library, folder):
        self.library = ctypes.CDLL(library)
        pointer = ctypes.c_void_p
        for name, result, arguments in [
            ("connect", ctypes.POINTER(pointer), [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]),
            ("query", pointer, [pointer, ctypes.c_char_p, ctypes.c_char_p]),
            ("result_buffer", pointer, [pointer]),
            ("result_length", ctypes.c_size_t, [pointer]),
            ("result_error", ctypes.c_char_p, [pointer]),
            ("destroy_query_result", None, [pointer]),
            ("close_conn", None, [ctypes.POINTER(pointer)]),
        ]:
            function = getattr(self.library, f"chdb_{name}")
            function.restype, function.argtypes = result, arguments
        given = (ctypes.c_char_p * 2)(b"clickhouse", f"--path={folder}".encode())
        self.connection = self.library.chdb_connect(len(given), given)
        if not self.connection:
            raise RuntimeError(f"the engine does not start on {folder}")

    def run(self, statement):
        result = self.library.chdb_query(self.connection[0], statement.encode(), b"TSVRaw")
        try:
            if error := self.library.chdb_result_error(result):
                raise RuntimeError(f"{statement}: {error.decode(errors='replace')}")
            length = self.library.chdb_result_length(result)
            return ctypes.string_at(self.library.chdb_result_buffer(result), length) if length else b""
        finally:
            self.library.chdb_destroy_query_result(result)


    def close(self):
        self.library.chdb_close_conn(self.connection)


def source(options):
    """The table that reads the topic, and the view that lands what it reads."""
    columns, form, landing = SOURCES[options.parse]
    return [
        f"""
        CREATE TABLE usage_topic ({columns}) ENGINE = Kafka
        SETTINGS
            kafka_broker_list = '{options.brokers}',
            kafka_topic_list = '{options.topic}',
            kafka_group_name = '{options.group}',
            kafka_format = '{form}',
            kafka_num_consumers = 2,
            kafka_thread_per_consumer = 1,
            kafka_max_block_size = 131072,
            kafka_poll_max_batch_size = 131072,
            kafka_flush_interval_ms = {options.flush_ms},
            date_time_input_format = 'best_effort'
        """,
        f"CREATE MATERIALIZED VIEW usage_landing TO usage_raw AS {landing}",
    ]


def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--library", required=True, help="libchdb.so")
    parser.add_argument("--parse", choices=sorted(SOURCES), default="raw-blob")
    parser.add_argument("--days", choices=["view", "query"], default="view")
    parser.add_argument("--flush-ms", type=int, default=1_000, help="a block is landed at least so often")
    options = parser.parse_args()
    clickhouse = ClickHouse(options.library, options.folder)
    for statement in clickhouse_days.tables(options.days):
        clickhouse.run(statement)

    peer.ready(clickhouse.run("SELECT version()").decode().strip())
    for statement in source(options):
        clickhouse.run(statement)
    while int(clickhouse.run(clickhouse_days.progress(options.days))) < options.records:
        time.sleep(0.1)
    answer = clickhouse.run(clickhouse_days.question(options.days))
    peer.done()

    with open(options.answer, "wb") as file:
        file.write(answer)
    for table in ["usage_landing", "usage_topic"]:
        clickhouse.run(f"DROP TABLE {table} SYNC")
    clickhouse.close()


if __name__ == "__main__":
    main()
