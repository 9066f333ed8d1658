"""aiokafka against a Kafka-compatible broker: see README.md."""

import asyncio
import sys
import time
import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

BOOTSTRAP = sys.argv[1]
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
PER_CODEC = 1000
PARTITIONS = 4
DEADLINE = time.monotonic() + 60


async def produce(topic, codec, values):
    producer = AIOKafkaProducer(
        bootstrap_servers=BOOTSTRAP, compression_type=codec, enable_idempotence=True, linger_ms=5
    )
    await producer.start()
    try:
        sent = [await producer.send(topic, key=f"k{value}".encode(), value=value.encode()) for value in values]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def join(topic, group):
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=BOOTSTRAP,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        heartbeat_interval_ms=300,
    )
    await consumer.start()
    return consumer


async def read_once(consumers, seen):
    for consumer in consumers:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            for record in records:
                value = record.value.decode()
                assert record.key.decode() == f"k{value}", (record.key, value)
                seen.add(value)


async def main():
    topic, group = f"aio-{uuid.uuid4()}", f"g-{uuid.uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    sent = set()
    for codec in CODECS:
        values = [f"{codec}-{number}" for number in range(PER_CODEC)]
        await produce(topic, codec, values)
        sent.update(values)

    # Both are started at once: a member that is not polled holds up the other's rebalance.
    members, seen = await asyncio.gather(join(topic, group), join(topic, group)), set()
    while len(seen) < len(sent) or any(len(member.assignment()) != PARTITIONS // 2 for member in members):
        assert time.monotonic() < DEADLINE, f"{len(seen)} of {len(sent)} records came"
        await read_once(members, seen)
    assert seen == sent
    for member in members:
        ends = await member.end_offsets(list(member.assignment()))
        await member.commit(ends)
        await member.stop()

    later = {f"None-{number}" for number in range(PER_CODEC, PER_CODEC + 100)}
    await produce(topic, None, sorted(later))
    third, again = await join(topic, group), set()
    while len(again) < len(later):
        assert time.monotonic() < DEADLINE, f"{len(again)} of {len(later)} records came"
        await read_once([third], again)
    assert again == later, "the group did not go on where it was"
    await third.stop()
    print("aiokafka: ok")


if __name__ == "__main__":
    asyncio.run(main())
