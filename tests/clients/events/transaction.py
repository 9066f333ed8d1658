"""A transactional producer: 20 events committed, 20 aborted. Prints `sent`, or `refused`
when the log has no transactions."""

import json
import sys

from confluent_kafka import KafkaException, Producer

from events import TOPIC, native

PER_TRANSACTION = 20


def produce(producer, label):
    for number in range(PER_TRANSACTION):
        value = json.dumps(native(f"{label}-{number}", f"acme-{number % 7}"))
        producer.produce(TOPIC, value=value)


def main():
    producer = Producer({"bootstrap.servers": sys.argv[1], "transactional.id": "mimamori-check"})
    try:
        producer.init_transactions(15)
    except KafkaException as refused:
        print("refused", refused, file=sys.stderr)
        print("refused")
        return
    producer.begin_transaction()
    produce(producer, "committed")
    producer.commit_transaction(30)
    producer.begin_transaction()
    produce(producer, "aborted")
    producer.flush(30)
    producer.abort_transaction(30)
    print("sent")


main()
