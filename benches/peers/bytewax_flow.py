"""Bytewax: events keyed by account, one stateful logic for each account, in one worker.

Without a recovery store, which is its fastest form: what it knows is gone with the process.
"""

from importlib.metadata import version

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main

import peer


class Day:
    """What an account did on a day."""

    __slots__ = ("events", "logins", "users", "features")

    def __init__(self):
        self.events = 0
        self.logins = 0
        self.users = set()
        self.features = {}


class Account(StatefulBatchLogic):
    """The ids that an account has had, and its days."""

    def __init__(self):
        self.ids = set()
        self.days = {}

    def on_batch(self, events):
        ids, days = self.ids, self.days
        for event in events:
            event_id = event["event_id"]
            if event_id in ids:
                continue
            ids.add(event_id)
            date = event["occurred_at"][:10]
            day = days.get(date)
            if day is None:
                day = days[date] = Day()
            day.events += 1
            day.users.add(event["user_id"])
            if event["type"] == "login":
                day.logins += 1
            else:
                features, name = day.features, event["name"]
                features[name] = features.get(name, 0) + 1
        return [], StatefulBatchLogic.RETAIN

    def on_eof(self):
        return list(self.days.items()), StatefulBatchLogic.RETAIN

    def snapshot(self):
        return self.ids, self.days


class Kept(DynamicSink, StatelessSinkPartition):
    """Keeps what comes in this process."""

    def __init__(self):
        self.items = []

    def build(self, step_id, worker_index, worker_count):
        return self

    def write_batch(self, items):
        self.items.extend(items)


def parsed(messages):
    events = (orjson.loads(message.value) for message in messages)
    return [(event["account_id"], event) for event in events]


def main():
    options = peer.arguments(__doc__).parse_args()
    kept = Kept()
    source = KafkaSource([options.brokers], [options.topic], tail=False, batch_size=10_000)
    flow = Dataflow("usage")
    events = op.flat_map_batch("parse", op.input("events", flow, source), parsed)
    days = op.stateful_batch("accounts", events, lambda _: Account())
    op.output("days", days, kept)

    peer.ready(version("bytewax"))
    cli_main(flow)
    peer.done()

    peer.write_answer(
        options.answer,
        (
            (account, date, day.events, day.logins, len(day.users), day.features)
            for account, (date, day) in kept.items
        ),
    )


if __name__ == "__main__":
    main()
