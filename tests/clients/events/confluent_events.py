"""Events by confluent-kafka, in every codec and with every partitioner; prints how many it sent."""

import sys

from confluent_kafka import Producer

from events import TOPIC, records

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PARTITIONERS = ["random", "consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a_random"]


def main():
    sent = 0
    for codec in CODECS:
        for partitioner in PARTITIONERS:
            failures = []
            producer = Producer(
                {
                    "bootstrap.servers": sys.argv[1],
                    "compression.codec": codec,
                    "partitioner": partitioner,
                    "enable.idempotence": True,
                }
            )
            for key, value, headers in records(f"confluent-{codec}-{partitioner}"):
                told = lambda error, _: failures.append(error) if error else None
                producer.produce(TOPIC, key=key, value=value, headers=headers, on_delivery=told)
                sent += 1
            left = producer.flush(30)
            assert left == 0 and not failures, f"{left} records left, {failures[:3]}"
    print(sent)


main()
