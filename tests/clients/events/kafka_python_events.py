"""Events by kafka-python, in every codec, keyed and to random partitions; prints how many it sent."""

import random
import sys

from kafka import KafkaProducer
from kafka.partitioner import DefaultPartitioner

from events import TOPIC, records

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


def anywhere(_key, all_partitions, _available):
    return random.choice(all_partitions)


def main():
    sent = 0
    for codec in CODECS:
        for name, partitioner in [("default", DefaultPartitioner()), ("random", anywhere)]:
            producer = KafkaProducer(
                bootstrap_servers=sys.argv[1], compression_type=codec, acks="all", partitioner=partitioner
            )
            futures = [
                producer.send(TOPIC, key=key, value=value, headers=headers)
                for key, value, headers in records(f"kafka-python-{codec}-{name}")
            ]
            producer.flush(30)
            for future in futures:
                future.get(30)
            sent += len(futures)
            producer.close()
    print(sent)


main()
