"""Quix Streams: a stateful function for each event, its state in RocksDB on this machine.

Without changelog topics, which is its fastest form (and the embedded broker compacts no topic). Events come keyed
by account, as the topic has them, so nothing needs to be partitioned again.
"""

import logging
from importlib.metadata import version

import orjson
from quixstreams import Application
from quixstreams.models import Deserializer

import peer


class Json(Deserializer):
    """orjson, which is faster than the JSON that comes with it."""

    def __call__(self, value, ctx):
        return orjson.loads(value)


def fold(event, state):
    """The event's day with the event in it; None for a repeated event."""
    event_id = event["event_id"]
    if state.exists(event_id):
        return None
    state.set(event_id, 1)
    account, day = event["account_id"], event["occurred_at"][:10]
    cell = state.get(day) or {"events": 0, "logins": 0, "users": [], "features": {}}
    cell["events"] += 1
    if event["user_id"] not in cell["users"]:
        cell["users"].append(event["user_id"])
    if event["type"] == "login":
        cell["logins"] += 1
    else:
        features, name = cell["features"], event["name"]
        features[name] = features.get(name, 0) + 1
    state.set(day, cell)
    return account, day, cell


def main():
    options = peer.arguments(__doc__).parse_args()
    logging.getLogger("quixstreams").setLevel(logging.WARNING)
    app = Application(
        broker_address=options.brokers,
        consumer_group=options.group,
        auto_offset_reset="earliest",
        state_dir=options.folder,
        use_changelog_topics=False,
        loglevel="WARNING",
    )
    topic = app.topic(options.topic, value_deserializer=Json(), key_deserializer="bytes")
    newest = {}

    def keep(day):
        if day is not None:
            account, date, cell = day
            newest[account, date] = cell

    peer.ready(version("quixstreams"))
    app.dataframe(topic).apply(fold, stateful=True).update(keep)
    app.run(count=options.records, collect=False)
    peer.done()

    peer.write_answer(
        options.answer,
        (
            (account, day, cell["events"], cell["logins"], len(cell["users"]), cell["features"])
            for (account, day), cell in newest.items()
        ),
    )


if __name__ == "__main__":
    main()
