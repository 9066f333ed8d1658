"""confluent-kafka against a Kafka-compatible broker: see README.md."""

import sys
import time
import uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP = sys.argv[1]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PER_CODEC = 1000
PARTITIONS = 4
DEADLINE = time.monotonic() + 60


def produce(topic, codec, values):
    failures = []
    producer = Producer(
        {"bootstrap.servers": BOOTSTRAP, "compression.codec": codec, "enable.idempotence": True, "linger.ms": 5}
    )
    for value in values:
        producer.produce(
            topic,
            key=f"k{value}",
            value=value,
            headers=[("codec", codec.encode())],
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        producer.poll(0)
    left = producer.flush(30)
    assert left == 0 and not failures, f"{left} records left, {failures[:3]}"


def join(topic, group):
    consumer = Consumer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "partition.assignment.strategy": "cooperative-sticky",
        }
    )
    consumer.subscribe([topic])
    return consumer


def consume(consumers, count, seen):
    while len(seen) < count:
        assert time.monotonic() < DEADLINE, f"{len(seen)} of {count} records came"
        for consumer in consumers:
            for message in consumer.consume(500, timeout=0.1):
                assert not message.error(), message.error()
                value = message.value().decode()
                assert message.key().decode() == f"k{value}", (message.key(), value)
                codec = dict(message.headers())["codec"].decode()
                assert value.startswith(codec + "-"), (codec, value)
                seen.add(value)


def main():
    topic, group = f"confluent-{uuid.uuid4()}", f"g-{uuid.uuid4()}"
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(10)
    sent = set()
    for codec in CODECS:
        values = [f"{codec}-{number}" for number in range(PER_CODEC)]
        produce(topic, codec, values)
        sent.update(values)

    members, seen = [join(topic, group), join(topic, group)], set()
    shared = False
    while not shared:
        assert time.monotonic() < DEADLINE, "the partitions were never shared"
        consume(members, min(len(seen) + 1, len(sent)), seen)
        for member in members:
            member.poll(0.05) if len(seen) == len(sent) else None
        shared = all(len(member.assignment()) == PARTITIONS // 2 for member in members)
    consume(members, len(sent), seen)
    assert seen == sent, f"{len(sent - seen)} records are missing"

    # Positions are explicit: what was read so far, whoever read it.
    for member in members:
        ends = member.position(member.assignment())
        for place in ends:
            low, high = member.get_watermark_offsets(place)
            place.offset = high
        member.commit(offsets=ends, asynchronous=False)
        member.close()
    later = {f"none-{number}" for number in range(PER_CODEC, PER_CODEC + 100)}
    produce(topic, "none", sorted(later))
    third, again = join(topic, group), set()
    consume([third], len(later), again)
    assert again == later, "the group did not go on where it was"
    third.close()
    print("confluent-kafka: ok")


if __name__ == "__main__":
    main()
