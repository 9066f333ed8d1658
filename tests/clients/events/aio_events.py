"""Events by aiokafka, in every codec; prints how many it sent."""

import asyncio
import sys

from aiokafka import AIOKafkaProducer

from events import TOPIC, records

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


async def main():
    sent = 0
    for codec in CODECS:
        producer = AIOKafkaProducer(
            bootstrap_servers=sys.argv[1], compression_type=codec, enable_idempotence=True
        )
        await producer.start()
        waiting = [
            await producer.send(TOPIC, key=key, value=value, headers=headers)
            for key, value, headers in records(f"aio-{codec}")
        ]
        await asyncio.gather(*waiting)
        sent += len(waiting)
        await producer.stop()
    print(sent)


asyncio.run(main())
