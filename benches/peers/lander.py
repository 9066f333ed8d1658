"""A plain lander: batches of raw JSON go from Kafka to ClickHouse as they are; ClickHouse parses and counts.

Offsets are committed after the rows are in, so a crash in between lands a batch twice; the days still count
each id once.
"""

import http.client
import urllib.parse
from importlib.metadata import version

from confluent_kafka import Consumer

import clickhouse_days
import peer

BATCH = 100_000


class ClickHouse:
    """Statements over HTTP, one after the other over one connection."""

    def __init__(self, url):
        address = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(address.hostname, address.port)

    def run(self, statement, body=b""):
        query = urllib.parse.urlencode(
            {"query": statement, "date_time_input_format": "best_effort"}
        )
        self.connection.request("POST", f"/?{query}", body)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{statement}: {text.decode(errors='replace')}")
        return text


def land(consumer, clickhouse, records):
    seen = 0
    while seen < records:
        batch = []
        while len(batch) < BATCH and seen + len(batch) < records:
            for message in consumer.consume(10_000, timeout=1.0):
                if message.error():
                    raise RuntimeError(message.error())
                batch.append(message.value())
        clickhouse.run("INSERT INTO usage_raw FORMAT JSONEachRow", b"\n".join(batch))
        consumer.commit(asynchronous=False)
        seen += len(batch)


def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--clickhouse", required=True, help="URL of a ClickHouse with nothing in it")
    parser.add_argument("--days", choices=["view", "query"], default="view")
    options = parser.parse_args()
    clickhouse = ClickHouse(options.clickhouse)
    for statement in clickhouse_days.tables(options.days):
        clickhouse.run(statement)
    consumer = Consumer(
        {
            "bootstrap.servers": options.brokers,
            "group.id": options.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )

    peer.ready(version("confluent-kafka"))
    consumer.subscribe([options.topic])
    land(consumer, clickhouse, options.records)
    answer = clickhouse.run(clickhouse_days.question(options.days))
    peer.done()

    with open(options.answer, "wb") as file:
        file.write(answer)
    consumer.close()


if __name__ == "__main__":
    main()
